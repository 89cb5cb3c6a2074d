"""Rates and what is left, from looks at a given time."""

from itertools import pairwise

import pytest

from penstock.observers.pace import Pace, about, per


def looked(pace: Pace, until: float, done: float, every: float = 0.5, begin: float = 0.0) -> None:
    steps = int((until - begin) / every)
    for number in range(1, steps + 1):
        pace.look(begin + number * every, done * number / steps)


def test_a_steady_pace_is_told_as_it_is():
    pace = Pace(0.0)
    looked(pace, 20, 2000)
    assert pace.rate(20, 2000) == pytest.approx(100, rel=0.01)
    assert pace.left(20, 2000, 5000) == pytest.approx(30, rel=0.02)


def test_a_change_of_pace_is_seen_within_seconds():
    pace = Pace(0.0)
    looked(pace, 60, 6000)
    for number in range(1, 13):
        pace.look(60 + number, 6000 + 10 * number)
    rate = pace.rate(72, 6120)
    assert rate == pytest.approx(10, rel=0.1)


def test_slow_items_are_counted_over_a_longer_time():
    """One item a minute: the last five seconds know nothing of it."""
    pace = Pace(0.0)
    for second in range(1, 1201):
        pace.look(float(second), float(second // 60))
    rate = pace.rate(1200, 20)
    assert rate == pytest.approx(1 / 60, rel=0.2)


def test_a_long_time_takes_little_room():
    pace = Pace(0.0)
    for second in range(100_000):
        pace.look(float(second), second / 2)
    assert len(pace._looks) <= 64
    assert pace.rate(100_000, 50_000) == pytest.approx(0.5, rel=0.1)


def test_nothing_is_said_that_is_not_known():
    pace = Pace(0.0)
    assert pace.rate(0.0, 0) is None
    assert pace.rate(10.0, 0) is None
    assert pace.left(0.5, 1, 100) is None
    looked(pace, 10, 100)
    assert pace.left(10, 100, 100) is None


def test_what_is_left_does_not_jump():
    pace = Pace(0.0)
    looked(pace, 10, 100)
    told = [pace.left(10, 100, 1000)]
    for number in range(1, 40):  # in bursts: twenty at once every two seconds
        now = 10 + number / 10
        done = 100 + 20 * (number // 20)
        pace.look(now, done)
        told.append(pace.left(now, done, 1000))
    known = [one for one in told if one is not None]
    assert len(known) == len(told)
    assert max(abs(one - other) for one, other in pairwise(known)) < 8


@pytest.mark.parametrize(
    ("rate", "text"),
    [(1204.4, "1,204/s"), (9.96, "10/s"), (3.21, "3.2/s"), (0.5, "30/min"), (0.01, "36/h"), (1e-9, "1/h")],
)
def test_rates_in_words(rate, text):
    assert per(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1 s"), (3.4, "3 s"), (12, "10 s"), (58, "1 min"), (95, "1.5 min"), (1000, "17 min"),
        (3590, "1 h"), (4300, "1 h 10 min"), (86_000, "23 h 50 min"), (200_000, "2.3 days"),
    ],
)  # fmt: skip
def test_times_are_told_as_exactly_as_they_are_known(seconds, text):
    assert about(seconds) == text
