"""Limits of scope process: all or none, in order, over runs and threads; what is around a run helps it."""

# mypy: disable-error-code="no-untyped-call"

import asyncio
import gc
import os
import random
import threading
import time

import pytest

from penstock.core.errors import InputError
from penstock.core.model import Limit, LimitUse, Rate
from penstock.core.shared import HOLDING, Registry, registry_of


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def limit(name="api", capacity=1, rate=None):
    return Limit(name, capacity, rate, scope="process")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def registry(clock):
    return Registry(clock)


class Run:
    """A run as the registry sees it: it asks, and hears of what it was granted."""

    def __init__(self, registry, *limits, inside=None):
        token = HOLDING.set(inside)
        self.member = registry.join(limits)
        HOLDING.reset(token)
        self.granted = []

    def ask(self, name, *uses):
        wanted = [use if isinstance(use, LimitUse) else LimitUse(use) for use in uses]
        return self.member.acquire(wanted, lambda: self.granted.append(name))


# --- permits ----------------------------------------------------------------------------------------------


def test_what_is_free_is_held_at_once_and_nobody_is_told(registry):
    api = limit(capacity=2)
    run = Run(registry, api)
    assert [run.ask(name, api).held for name in "abc"] == [True, True, False]
    assert run.granted == []


def test_a_release_in_one_run_wakes_another(registry):
    api = limit()
    one, other = Run(registry, api), Run(registry, Limit(*api.__reduce__()[1]))
    held, waits = one.ask("held", api), other.ask("waits", api)
    assert (waits.held, other.member.delay()) == (False, None)
    held.release()
    held.release()
    assert (waits.held, other.granted, one.granted) == (True, ["waits"], [])


def test_limits_of_the_run_itself_are_passed_over(registry):
    own = Limit("own", capacity=1)
    run = Run(registry, own)
    assert [run.ask("a", own).held, run.ask("b", own).held] == [True, True]


def test_r08_nobody_overtakes_at_a_limit(registry):
    api = limit(capacity=3)
    run = Run(registry, api)
    held = run.ask("held", api)
    run.ask("large", api.take(3))
    run.ask("small", api)
    assert run.granted == []
    held.release()
    assert run.granted == ["large"]


def test_r12_all_or_none_in_whatever_order_they_are_given(registry):
    a, b = limit("a"), limit("b")
    run = Run(registry, a, b)
    only_b = run.ask("b", b)
    run.ask("both", b, a)
    late = run.ask("a", a)
    assert not late.held  # a is free, and "both" came first
    only_b.release()
    assert run.granted == ["both"]


def test_r12_who_is_first_at_one_limit_waits_for_those_before_it_at_another(registry):
    a, b = limit("a"), limit("b", capacity=2)
    run = Run(registry, a, b)
    one, _ = run.ask("one", b), run.ask("two", b)
    run.ask("large", b.take(2))
    run.ask("both", a, b)
    one.release()
    registry.poll()
    assert run.granted == []


def test_one_release_may_grant_several(registry):
    a, b = limit("a", capacity=2), limit("b")
    run = Run(registry, a, b)
    held = run.ask("held", a.take(2))
    run.ask("one", a)
    run.ask("two", a, b)
    run.ask("three", b)
    held.release()
    assert run.granted == ["one", "two"]


def test_weights_are_counted(registry):
    api = limit(capacity=4)
    run = Run(registry, api)
    three = run.ask("three", api.take(3))
    assert run.ask("one", api).held
    run.ask("two", api.take(2))
    three.release()
    assert run.granted == ["two"]


def test_s17_whoever_withdraws_lets_the_next_one_through(registry):
    api = limit(capacity=2)
    run = Run(registry, api)
    held = run.ask("held", api)
    large = run.ask("large", api.take(2))
    small = run.ask("small", api)
    assert not small.held
    large.withdraw()
    assert run.granted == ["small"]
    held.release()
    small.release()
    assert run.ask("all", api.take(2)).held
    assert run.granted == ["small"]


def test_r11_a_run_that_ends_holds_nothing_and_waits_for_nothing(registry):
    api = limit()
    one, other = Run(registry, api), Run(registry, api)
    one.ask("held", api)
    waits = one.ask("waits", api)
    other.ask("other", api)
    one.member.leave()
    assert other.granted == ["other"]
    other.member.leave()
    assert one.granted == []
    assert not waits.held
    assert registry._gauges == {}


def test_two_runs_at_the_same_time_must_agree(registry):
    run = Run(registry, limit(capacity=1))
    with pytest.raises(InputError) as caught:
        Run(registry, limit("other"), limit(capacity=2))
    assert "limit called 'api' of scope 'process', and they differ" in str(caught.value)
    assert "capacity=1" in str(caught.value)
    assert "capacity=2" in str(caught.value)
    assert "other" not in registry._gauges
    run.member.leave()
    assert Run(registry, limit(capacity=2)).ask("two", limit(capacity=2).take(2)).held


# --- rates ------------------------------------------------------------------------------------------------


def test_r15_a_rate_holds_in_every_window_over_all_runs(registry, clock):
    api = limit(capacity=None, rate=Rate(2, per=10.0))
    one, other = Run(registry, api), Run(registry, api)
    assert one.ask("a", api).held
    clock.now += 4
    other.ask("b", api).release()
    other.ask("c", api)
    one.ask("d", api)
    assert (one.member.delay(), other.member.delay()) == (6.0, 6.0)
    clock.now += 6
    registry.poll()
    assert (other.granted, one.granted) == (["c"], [])
    assert one.member.delay() == 4.0
    clock.now += 4
    registry.poll()
    assert one.granted == ["d"]
    assert one.member.delay() is None


def test_a_delay_is_asked_for_only_where_time_is_all_that_lacks(registry, clock):
    api = limit(capacity=1, rate=Rate(1, per=10.0))
    run = Run(registry, api)
    held = run.ask("a", api)
    run.ask("b", api)
    assert run.member.delay() is None
    held.release()
    assert run.member.delay() == 10.0
    clock.now += 20
    assert run.member.delay() == 0.0
    registry.poll()
    assert run.granted == ["b"]


def test_who_waits_behind_another_at_a_rate_wakes_for_both(registry, clock):
    """The first may be of a run whose engine is busy: the next one's engine polls for it."""
    api = limit(capacity=None, rate=Rate(1, per=10.0))
    busy, other = Run(registry, api), Run(registry, api)
    busy.ask("a", api)
    busy.ask("b", api)
    other.ask("c", api)
    assert other.member.delay() == 10.0
    clock.now += 10
    registry.poll()
    assert busy.granted == ["b"]
    assert other.member.delay() == 10.0


def test_a_rate_is_remembered_when_nobody_uses_it_and_when_its_value_changes(registry, clock):
    api = limit(capacity=None, rate=Rate(1, per=10.0))
    run = Run(registry, api)
    run.ask("a", api)
    run.member.leave()
    faster = limit(capacity=None, rate=Rate(1, per=5.0))
    run = Run(registry, faster)
    assert not run.ask("b", faster).held
    assert run.member.delay() == 5.0


# --- runs inside attempts ---------------------------------------------------------------------------------


def test_r09_an_inner_run_uses_what_the_attempt_around_it_holds(registry):
    api = limit()
    outer = Run(registry, api)
    lease = outer.ask("outer", api)
    for _ in range(5):  # as deep as you like
        inner = Run(registry, api, inside=lease)
        lease = inner.ask("inner", api)
        assert lease.held


def test_what_is_borrowed_is_counted_against_the_lender(registry):
    api = limit(capacity=3)
    outer = Run(registry, api)
    around = outer.ask("outer", api.take(2))
    other = outer.ask("other", api)
    inner = Run(registry, api, inside=around)
    one, two, _ = (inner.ask(name, api) for name in ("one", "two", "three"))
    assert (one.held, two.held, inner.granted) == (True, True, [])
    one.release()
    assert inner.granted == ["three"]
    inner.ask("four", api)
    other.release()
    assert inner.granted == ["three", "four"]


def test_an_inner_attempt_that_takes_more_than_is_held_around_it_goes_alone(registry):
    api = limit(capacity=3)
    around = Run(registry, api).ask("outer", api)
    inner = Run(registry, api, inside=around)
    large = inner.ask("large", api.take(3))
    small = inner.ask("small", api)
    assert (large.held, small.held) == (True, True)  # one for the lender, and two were free
    assert not inner.ask("more", api.take(2)).held
    large.release()
    assert inner.granted == ["more"]


def test_two_runs_that_hold_half_each_and_have_inner_runs_do_not_wait_for_each_other(registry):
    api = limit(capacity=2)
    for _ in range(2):
        around = Run(registry, api).ask("outer", api)
        assert Run(registry, api, inside=around).ask("inner", api).held


def test_who_works_for_a_holder_goes_before_those_who_wait_for_it(registry):
    a, b = limit("a", capacity=None, rate=Rate(100)), limit("b")
    around = Run(registry, a, b).ask("holds b", b)
    stranger = Run(registry, a, b)
    stranger.ask("both", a, b)
    inner = Run(registry, a, inside=around)
    assert inner.ask("inner", a).held
    around.release()
    assert stranger.granted == ["both"]


def test_what_is_lent_when_its_holder_ends_is_given_back_by_the_last_borrower(registry):
    api = limit()
    outer = Run(registry, api)
    around = outer.ask("outer", api)
    inner = Run(registry, api, inside=around)
    borrowed = inner.ask("inner", api)
    late = inner.ask("late", api)
    outer.ask("next", api)
    around.release()
    outer.ask("last", api)
    assert (inner.granted, outer.granted) == ([], [])
    borrowed.release()
    assert (inner.granted, outer.granted) == (["late"], [])  # which had nothing to borrow from any more
    late.release()
    assert outer.granted == ["next"]


def test_what_was_given_back_is_not_lent_any_more(registry):
    api = limit()
    outer = Run(registry, api)
    around = outer.ask("outer", api)
    inner = Run(registry, api, inside=around)
    around.release()
    assert inner.ask("inner", api).held
    assert not outer.ask("next", api).held


def test_inner_runs_wait_for_rates_too(registry, clock):
    api = limit(capacity=1, rate=Rate(1, per=10.0))
    around = Run(registry, api).ask("outer", api)
    inner = Run(registry, api, inside=around)
    borrowed = inner.ask("inner", api)
    assert inner.member.delay() == 10.0
    clock.now += 10
    registry.poll()
    assert inner.granted == ["inner"]
    inner.ask("another", api)
    assert inner.member.delay() is None  # for what it borrows, it waits for its brother
    borrowed.release()
    assert inner.member.delay() == 10.0


def test_the_attempt_around_is_found_by_its_context(registry):
    api = limit()
    lease = Run(registry, api).ask("outer", api)
    seen = []

    def step(**arguments):
        seen.append(registry.join([api]).inside)
        return arguments

    async def astep(**arguments):
        await asyncio.sleep(0)
        return step(**arguments)

    def elements():
        step()
        yield 1

    async def aelements():
        try:
            step()
            yield 1
            yield 2
        finally:
            seen.append("closed")

    async def main():
        assert await lease.around(astep, is_async=True)(x=1) == {"x": 1}
        stream = lease.around(aelements, is_async=True, stream=True)()
        assert await anext(stream) == 1
        await stream.aclose()

    import contextvars

    assert contextvars.copy_context().run(lease.around(step), x=1) == {"x": 1}
    assert contextvars.copy_context().run(lambda: list(lease.around(elements, stream=True)())) == [1]
    asyncio.run(main())
    assert seen == [lease, lease, lease, lease, "closed"]
    assert registry.join([api]).inside is None
    assert lease.around(astep, is_async=True).__name__ == "astep"


# --- many at a time ---------------------------------------------------------------------------------------


def test_r11_permits_equal_capacity_after_any_mix_of_threads():
    limits = [limit("a", 1), limit("b", 2), limit("c", 3)]
    registry = Registry()
    held = {one.name: 0 for one in limits}
    most = dict(held)
    lock = threading.Lock()

    def work(seed):
        luck = random.Random(seed)
        member = registry.join(limits)
        for _ in range(200):
            uses = [
                one.take(luck.randint(1, one.capacity)) for one in luck.sample(limits, luck.randint(1, 3))
            ]
            told = threading.Event()
            lease = member.acquire(uses, told.set)
            if not lease.held and luck.random() < 0.2:
                lease.withdraw()
                continue
            assert lease.held or told.wait(30)
            with lock:
                for one, weight in uses:
                    held[one.name] += weight
                    most[one.name] = max(most[one.name], held[one.name])
            with lock:
                for one, weight in uses:
                    held[one.name] -= weight
            lease.release()
        member.leave()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert all(most[one.name] <= (one.capacity or 0) for one in limits)
    assert registry._gauges == {}


def test_ten_thousand_that_wait_are_granted_in_order(registry):
    api = limit()
    run = Run(registry, api)
    leases = [run.ask(number, api) for number in range(10_000)]
    for lease in leases:
        assert lease.held
        lease.release()
    assert run.granted == list(range(1, 10_000))
    assert not run.member.waits
    assert not run.member.leases


def test_ten_thousand_can_leave_at_once(registry):
    api = limit()
    run = Run(registry, api)
    for number in range(10_000):
        run.ask(number, api)
    run.member.leave()
    assert run.granted == []
    assert not run.member.waits


# --- the process ------------------------------------------------------------------------------------------


def test_runs_on_the_time_that_passes_share_one_registry():
    assert registry_of() is registry_of(None)
    before = time.monotonic()
    assert before <= registry_of()._clock() <= time.monotonic()


def test_runs_on_a_clock_of_their_own_share_it_among_themselves_only():
    clock, other = Clock(), Clock()
    assert registry_of(clock) is registry_of(clock)
    assert registry_of(clock) is not registry_of(other)
    assert registry_of(clock) is not registry_of()
    clock.now = 7.0
    assert registry_of(clock)._clock() == 7.0
    assert registry_of(clock.__call__)._clock() == 7.0
    from penstock.core import shared

    before = len(shared._OTHERS)
    del clock
    gc.collect()
    assert len(shared._OTHERS) == before - 1


def test_s22_a_forked_child_begins_with_an_empty_registry():
    api = limit("of the fork")
    run = Run(registry_of(), api)
    run.ask("held", api)
    with registry_of()._lock:  # somebody is at it in the moment of the fork
        child = os.fork()
        if not child:
            fresh = Run(registry_of(), limit("of the fork", capacity=2))
            os._exit(0 if fresh.ask("mine", limit("of the fork", capacity=2)).held else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not run.ask("waits", api).held
    run.member.leave()
