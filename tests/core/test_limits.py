"""`Gauge`: never more than n starts in any window, and its three questions agree with each other."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.limits import Gauge, Gauges
from penstock.core.model import Limit, Rate
from tests.core.play import Play, node

PER = 10.0
quarters = st.integers(0, 60).map(lambda n: n / 4)


@st.composite
def limits(draw: st.DrawFn) -> Limit:
    capacity = draw(st.none() | st.integers(1, 5))
    rate = draw(st.integers(1, 5).map(lambda n: Rate(n, PER)) | (st.none() if capacity else st.nothing()))
    return Limit("api", capacity, rate)


def most(limit: Limit) -> int:
    return min(bound for bound in (limit.capacity, limit.rate and limit.rate.starts) if bound is not None)


steps = st.lists(st.tuples(quarters, st.integers(1, 5), st.booleans()), max_size=40)


@settings(max_examples=400)
@given(limits(), steps)
def test_r15_never_more_than_allowed_in_any_window_nor_at_a_time(limit, steps):
    gauge, now = Gauge(limit), 0.0
    starts: list[tuple[float, int]] = []
    held: list[int] = []
    for wait, weight, give_back in steps:
        now += wait
        weight = min(weight, most(limit))
        if give_back and held:
            gauge.give_back(held.pop())
        if gauge.fits(weight, now):
            gauge.take(weight, now)
            starts.append((now, weight))
            held.append(weight)
        assert limit.capacity is None or gauge.free == limit.capacity - sum(held) >= 0
    if limit.rate is not None:
        for begin, _ in starts:  # a window that begins at a start holds as many as any other can
            inside = sum(weight for at, weight in starts if begin <= at < begin + PER)
            assert inside <= limit.rate.starts


@settings(max_examples=400)
@given(limits(), steps, quarters)
def test_its_questions_agree(limit, steps, later):
    gauge, now = Gauge(limit), 0.0
    for wait, weight, give_back in steps:
        now += wait
        if gauge.fits(min(weight, most(limit)), now):
            gauge.take(min(weight, most(limit)), now)
            if give_back:
                gauge.give_back(min(weight, most(limit)))
    now += later
    room = gauge.room(now)
    for weight in range(1, most(limit) + 1):
        assert gauge.fits(weight, now) == (weight <= room)
        when = gauge.next_time(weight)
        permits = limit.capacity is None or gauge.free >= weight
        if when is None:
            over = limit.rate is not None and len(gauge.stamps) + weight > limit.rate.starts
            assert not permits or not over
        else:
            assert gauge.fits(weight, when)
            before = when - 0.25
            assert before < 0 or not gauge.fits(weight, before)


def test_weight_counts_on_both_sides():
    gauge = Gauge(Limit("api", 3, Rate(4, PER)))
    gauge.take(2, 0.0)
    assert (gauge.free, list(gauge.stamps), gauge.room(0.0)) == (1, [0.0, 0.0], 1)
    gauge.give_back(2)
    assert (gauge.free, gauge.room(0.0), gauge.room(PER)) == (3, 2, 3)
    assert (gauge.next_time(3), gauge.next_time(2)) == (PER, None)


def test_limits_wider_than_the_run_are_not_the_runs_to_measure():
    own, wide = Limit("own", 1), Limit("wide", 1, scope="process")
    play = Play(node("a", limits=[own.take(1), wide]), node("b", limits=[wide]))
    state, plan = play.machine.state, play.plan
    assert (list(state.gauges), state.names) == (["own"], ["own"])
    assert [plan.limits[play.number(id)] for id in "ab"] == [(("own", 1),), ()]
    assert [[use.limit for use in plan.wide[play.number(id)]] for id in "ab"] == [[wide], [wide]]


def test_a_start_that_takes_more_than_has_left_the_window_waits_for_the_youngest_it_needs():
    gauge = Gauge(Limit("api", None, Rate(3, PER)))
    for at in (0.0, 1.0, 2.0):
        gauge.take(1, at)
    assert [gauge.next_time(weight) for weight in (1, 2, 3)] == [10.0, 11.0, 12.0]
    assert [gauge.room(at) for at in (9.75, 10.0, 11.0, 12.0)] == [0, 1, 2, 3]


def test_only_what_is_taken_by_those_who_take_less_counts_as_taken_past_somebody():
    memory, card, calls = Limit("memory", 3), Limit("card", 1), Limit("calls", rate=Rate(9, PER))
    light, medium = (("memory", 1),), (("memory", 2),)
    both, timed = (("card", 1), ("memory", 3)), (("calls", 1), ("memory", 3))
    gauges = Gauges([memory, card, calls], [light, medium, both, timed])
    gauges.wait(1, "memory", light)
    gauges.wait(2, "memory", timed)
    for _ in range(5):
        gauges.pass_by(0, light)
    assert not gauges.keeps("memory"), "for one that takes the least, or waits for time, nothing is kept"
    gauges.wait(3, "memory", medium)
    gauges.wait(4, "memory", both)
    for _ in range(5):
        gauges.pass_by(0, medium)
        gauges.pass_by(3, medium)
    assert (gauges.owed, gauges.keeps("card"), gauges.keeps("memory")) == (4, True, True)
    assert gauges.enough(0.0)
    gauges["card"].take(1, 0.0)
    assert not gauges.enough(0.0)
    assert gauges.settle() == ["card", "memory"]
    assert not gauges.keeps("card")
    assert gauges["memory"].waiting == {}
