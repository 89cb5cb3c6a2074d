"""What people really give in place of the right thing: each is refused by name, with the way out."""

# mypy: disable-error-code="arg-type, call-overload, no-untyped-call, no-untyped-def"

import functools
import math
from typing import Any

import pytest

from penstock import Flow, GraphError, InputError, Limit, Rate, RetryAfter, RunOptions, Timeout, processes
from penstock.core.amounts import is_number, shown
from penstock.testing import FakeClock, Faults, ManualRunner, manual

HUGE = 10**400


def one() -> Flow:
    flow = Flow("one")
    flow.add(lambda: 1, name="a")
    return flow


RUNNER = (
    "runner takes the name of a runner (one of aio, dask, executor, inline, processes, ray, threads), "
    "an address such as 'dask://host:8786', a runner or a pool, not "
)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"options": {"grace": 1}}, "not {'grace': 1}; say options=RunOptions(grace=1)"),
        ({"options": {}}, "options takes RunOptions, not {}; say options=RunOptions()"),
        ({"options": []}, "options takes RunOptions, not []; say options=RunOptions(...), or leave it out"),
        ({"options": 0}, "options takes RunOptions, not 0;"),
        (
            {"override": ["a"]},
            "override takes a dict of values by step, not ['a']; say override={step: value}",
        ),
        ({"override": []}, "override takes a dict of values by step, not [];"),
        ({"override": 0}, "override takes a dict of values by step, not 0;"),
        ({"targets": 0}, "targets takes a list of steps, not 0; say targets=[step]"),
        ({"targets": {"a": 1}}, "targets takes a list of steps, not {'a': 1};"),
        ({"runner": 3}, RUNNER + "3"),
        ({"runner": 0}, RUNNER + "0"),
        ({"runner": []}, RUNNER + "[]"),
        ({"runner": ManualRunner}, RUNNER + "<class 'penstock.testing.by_hand.ManualRunner'>"),
        ({"runner": ""}, "there is no runner ''"),
    ],
    ids=str,
)
def test_a_run_call_says_what_it_takes(how, text):
    with pytest.raises(InputError) as refused:
        one().run(**how)
    assert text in str(refused.value)


@pytest.mark.parametrize("given", [0, [], "x", ()], ids=repr)
def test_the_defaults_of_a_flow_are_a_dict(given):
    with pytest.raises(GraphError) as refused:
        Flow("a", defaults=given)
    assert str(refused.value) == (
        f"flow 'a': defaults takes a dict of options, not {given!r}; say defaults={{'timeout': 60}}"
    )


async def watch(event):
    """An observer that nobody would await."""


def walk(event):
    yield event


class Watcher:
    async def __call__(self, event):
        """The same."""

    def plain(self, event):
        """A good one."""


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            {"observers": print},
            "observers is a list of functions, not <built-in function print>; say observers=[pri",
        ),
        ({"observers": "3"}, "observers is a list of functions, not '3'; say observers=[...]"),
        ({"observers": {}}, "observers is a list of functions, not {}"),
        ({"observers": None}, "observers is a list of functions, not None"),
        ({"observers": [3]}, "an observer is a function of an event, not 3"),
        ({"observers": [watch]}, "called, and never awaited or iterated, so <function watch"),
        ({"observers": [functools.partial(watch)]}, "never awaited"),
        ({"observers": iter([print, watch])}, "never awaited"),
        ({"observers": [walk]}, "never awaited or iterated"),
        ({"observers": [Watcher()]}, "give a plain function, which may hand the event on"),
        ({"tags": 5}, "tags is a dict of texts, not 5; say tags={'name': 'text'}"),
        ({"tags": {"a": 1}}, "tags is a dict of texts, not {'a': 1}"),
        ({"tags": {1: "a"}}, "tags is a dict of texts"),
        ({"workdir": "a\0b"}, "workdir is a path, and no path has a NUL character: 'a\\x00b'"),
        ({"context_vars": 5}, "context_vars is a list of names, each as 'module:name'"),
        ({"deadline": HUGE}, "RunOptions: deadline is too large, no clock counts so far"),
        ({"deadline": "3"}, "RunOptions: deadline must be more than 0 s, not '3'; say deadline=3"),
        ({"grace": HUGE}, "RunOptions: grace is too large, no clock counts so far"),
        ({"grace": math.nan}, "RunOptions: grace must be 0 s or more, not nan"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else next(iter(value)),
)
def test_options_of_a_run(given, text):
    with pytest.raises(ValueError, match="RunOptions: ") as refused:
        RunOptions(**given)
    assert text in str(refused.value)


def test_what_can_be_called_may_observe():
    good: tuple[Any, ...] = (print, Watcher().plain, Watcher, functools.partial(print), [].append)
    assert RunOptions(observers=iter(good)).observers == good
    assert RunOptions(context_vars=iter(["a:b"])).context_vars == ("a:b",)


@pytest.mark.parametrize("weight", [2.5, math.nan, "3", None, 0, -1, True], ids=repr)
def test_take_counts_permits(weight):
    with pytest.raises(ValueError, match="Limit 'x'") as refused:
        Limit("x", capacity=3).take(weight)
    assert str(refused.value) == (
        f"Limit 'x': take counts permits, so it is given an int of at least 1, not {weight!r}"
    )


@pytest.mark.parametrize("rate", [10, "ab", (1, 2, 3), (), 2.5], ids=repr)
def test_a_rate_says_how_it_is_written(rate):
    with pytest.raises(ValueError, match="Limit 'x'") as refused:
        Limit("x", rate=rate)
    assert f"not {rate!r}; say rate=Rate(10, per=1.0)" in str(refused.value)
    assert Limit("x", rate=(3, 2.0)).rate == Rate(3, 2.0)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: RetryAfter("3"), "RetryAfter: seconds must be 0 s or more, not '3'; say seconds=3"),
        (lambda: RetryAfter(None), "RetryAfter: seconds must be 0 s or more, not None"),
        (lambda: RetryAfter(HUGE), "RetryAfter: seconds is too large"),
        (lambda: processes(kill_grace="3"), "processes: kill_grace must be 0 s or more, not '3'; say"),
        (lambda: processes(prefetch="3"), "processes: prefetch is an int from 0 to "),
        (lambda: processes(prefetch=2.5), ", not 2.5"),
        (lambda: processes("3"), "processes: size is an int of at least 1, not '3'"),
        (lambda: processes(True), "processes: size is an int of at least 1, not True"),
        (lambda: ManualRunner("3"), "ManualRunner: capacity is an int of at least 1, not '3'"),
        (lambda: FakeClock().advance("3"), "a clock is advanced by 0 s or more, not '3'"),
        (lambda: FakeClock().advance(math.inf), "a clock is advanced by 0 s or more, not inf"),
        (lambda: FakeClock("3"), "FakeClock: start is a time in seconds, not '3'"),
        (lambda: FakeClock(math.nan), "FakeClock: start is a time in seconds, not nan"),
        (lambda: FakeClock(patience="3"), "FakeClock: patience must be 0 s or more, not '3'"),
        (lambda: Faults().delay("a", "3"), "faults: delay must be 0 s or more, not '3'"),
        (lambda: Faults().fail("a", times="3"), "times counts attempts, so it is an int of at least 1, not"),
        (lambda: Faults().fail("a", times=2.5), "so it is an int of at least 1, not 2.5"),
        (lambda: Faults().seeded(1, rate="x"), "a rate is a share from 0.0 to 1.0, not 'x'"),
        (lambda: Timeout(HUGE), "Timeout: attempt is too large, no clock counts so far"),
        (lambda: Timeout(total="5"), "Timeout: total must be more than 0 s, not '5'; say total=5"),
        (lambda: manual(one()).advance(-1), "a clock is advanced by 0 s or more, not -1"),
    ],
)  # fmt: skip
def test_numbers(call, text):
    with pytest.raises(ValueError, match=r".") as refused:
        call()
    assert text in str(refused.value)


def test_a_step_takes_no_timeout_that_no_clock_counts():
    with pytest.raises(GraphError, match="timeout takes seconds or a Timeout, not 1000"):
        Flow("a").add(lambda: 1, name="a", timeout=HUGE)


def test_a_delay_that_a_step_asks_for_wrongly_fails_it_by_name():
    flow = Flow("a")

    def busy():
        raise RetryAfter("3")

    flow.add(busy)
    assert "RetryAfter: seconds must be" in flow.run().nodes["busy"].reason


def test_seconds_that_are_odd_but_right():
    assert Timeout(math.inf).attempt == math.inf
    assert Timeout(1e300).attempt == 1e300
    assert is_number(10**300)
    assert not is_number(True)


def test_a_wrong_value_is_shown_whatever_it_is():
    class Rude:
        def __repr__(self):
            raise RuntimeError

    assert shown(Rude()) == "a value of type Rude"
    assert shown(10**6000) == "a value of type int"
    assert len(shown("x" * 100)) == 60
