"""`IdleWatch`: who has been silent for too long, told once, and only of attempts that have begun."""

from __future__ import annotations

from penstock.core import commands as c
from penstock.core.idle import IdleWatch


def began(i: int, token: int = 1) -> c.Reply:
    return (c.BEGAN, i, token, 0.0)


def yielded(i: int, token: int = 1) -> c.Reply:
    return (c.YIELDED, i, token, "element", None)


def ended(i: int, token: int = 1) -> c.Reply:
    return (c.ENDED, i, token, c.OK, None, None, 0.0, 0.0)


def watching(*seconds: float, begun: bool = True) -> IdleWatch:
    idle = IdleWatch()
    for i, patience in enumerate(seconds):
        idle.watch(i, 1, patience)
        if begun:
            idle.hear([began(i)], 0.0)
    return idle


def test_it_counts_from_the_real_start_and_not_from_the_hand_out():
    idle = watching(5.0, begun=False)
    assert bool(idle)
    assert idle.next_time() is None
    assert idle.overdue(100.0, ()) == []
    idle.hear([began(0)], 100.0)
    assert idle.next_time() == 105.0
    assert idle.overdue(104.75, ()) == []
    assert idle.overdue(105.0, ()) == [(c.IDLED, 0, 1)]


def test_it_says_so_once():
    idle = watching(5.0)
    assert idle.overdue(6.0, ()) == [(c.IDLED, 0, 1)]
    assert idle.overdue(60.0, ()) == []
    assert not idle
    assert idle.next_time() is None


def test_a_sign_of_life_starts_it_anew():
    idle = watching(5.0)
    idle.beat(0, 4.0)
    assert idle.overdue(8.75, ()) == []
    assert idle.next_time() == 9.0
    assert idle.overdue(9.0, ()) == [(c.IDLED, 0, 1)]


def test_an_element_is_a_sign_of_life():
    idle = watching(5.0)
    idle.hear([yielded(0)], 3.0)
    assert idle.next_time() == 8.0


def test_one_that_has_ended_is_watched_no_more():
    idle = watching(5.0)
    idle.hear([ended(0)], 3.0)
    assert not idle
    assert idle.overdue(100.0, ()) == []


def test_what_another_attempt_says_is_no_sign():
    idle = watching(5.0)
    idle.watch(0, 2, 5.0)
    idle.hear([began(0, 1), yielded(0, 1), ended(0, 1)], 3.0)
    assert idle.next_time() is None, "the second has not begun"
    idle.hear([began(0, 2)], 4.0)
    idle.hear([yielded(0, 1)], 8.0)
    assert idle.overdue(9.0, ()) == [(c.IDLED, 0, 2)]


def test_the_next_attempt_does_not_inherit_the_signs_of_the_one_before():
    idle = watching(5.0)
    idle.beat(0, 100.0)
    idle.watch(0, 2, 5.0)
    assert idle.next_time() is None


def test_a_beat_of_an_attempt_before_it_began_does_no_harm():
    """A heartbeat comes from the attempt's own thread and may be here before the news that it began."""
    idle = watching(5.0, begun=False)
    idle.beat(0, 2.0)
    idle.hear([began(0)], 3.0)
    assert idle.next_time() == 8.0


def test_a_stream_that_waits_for_its_consumers_is_not_to_blame():
    idle = watching(5.0, 5.0)
    assert idle.overdue(5.0, {0: 1}) == [(c.IDLED, 1, 1)]
    assert idle.next_time() == 10.0, "it counts from when it may go on"
    assert idle.overdue(10.0, {}) == [(c.IDLED, 0, 1)]


def test_a_stream_that_is_paused_before_it_began_still_waits_for_that():
    idle = watching(5.0, begun=False)
    assert idle.overdue(50.0, {0: 1}) == []
    assert idle.next_time() is None


def test_the_next_time_is_that_of_the_first():
    idle = watching(5.0, 3.0, 9.0)
    assert idle.next_time() == 3.0
    assert idle.overdue(5.0, ()) == [(c.IDLED, 0, 1), (c.IDLED, 1, 1)]
    assert idle.next_time() == 9.0


def test_others_replies_are_none_of_its_business():
    idle = watching(5.0)
    idle.hear([ended(7), (c.ASKED, "cancel"), (c.HURRIED,), (c.GRANTED, 0)], 1.0)
    assert idle.next_time() == 5.0
