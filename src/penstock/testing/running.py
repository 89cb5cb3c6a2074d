"""Runs on a fake clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, overload

from penstock import wiring
from penstock.core.errors import InputError, nearest
from penstock.core.graph import Graph
from penstock.core.model import RunOptions
from penstock.core.ports import Runnable, Runner
from penstock.core.result import RunResult
from penstock.core.stand_ins import STAND_INS

from .clock import FakeClock
from .faults import Faults
from .timeline import Pace
from .watched import Watched

Result = TypeVar("Result", covariant=True)


class Runs(Protocol[Result]):
    """A flow, as far as a test needs one: whatever has its own `run` and gives its own result."""

    def run(
        self,
        /,
        *,
        targets: Any = ...,
        override: Any = ...,
        runner: Any = ...,
        options: Any = ...,
        **inputs: Any,
    ) -> Result: ...


class RunsAsync(Protocol[Result]):
    """The same for `arun`."""

    async def arun(
        self,
        /,
        *,
        targets: Any = ...,
        override: Any = ...,
        runner: Any = ...,
        options: Any = ...,
        **inputs: Any,
    ) -> Result: ...


class _OnClock:
    """Puts runs on a clock.

    Args:
        clock: For all of them.
        faults: What goes wrong in them.
        strict: The first run is the one that is meant: its steps are those that faults name, and if it would
            wait for ever that is an error.
    """

    def __init__(self, clock: FakeClock, faults: Faults | None, *, strict: bool) -> None:
        self.shown = clock
        self._faults = faults
        self._strict = strict
        self.steps: dict[str, None] = {}
        self._runs = 0

    def clock(self) -> Callable[[], float]:
        return self.shown

    def options(self, options: RunOptions) -> RunOptions:
        return seeded(options)

    def runner(self, name: str, usual: Runner) -> Runner:
        return Watched(usual, self._faults if not (self._strict and self._runs) else None)

    def ready(self, prepared: Any) -> RunResult | None:
        self._runs += 1
        plan = prepared.engine.plan
        first = self._strict and self._runs == 1
        if self._faults is not None and first:
            where = ((node.id, plan.runners[plan.runner[at]]) for at, node in enumerate(plan.nodes))
            self._faults.check(plan.graph, where)
        self.steps.update(dict.fromkeys(plan.graph.index))
        pace = Pace(self.shown.timeline, prepared.engine, strict=first)
        for runner in prepared.runners.values():
            runner.pace = pace
        return None


def seeded(options: RunOptions) -> RunOptions:
    """The options with a seed of their own: two runs of a test differ in nothing."""
    if options.seed is not None:
        return options
    return RunOptions(**{**{name: getattr(options, name) for name in options.__match_args__}, "seed": 0})


@contextmanager
def stand_ins(*, clock: FakeClock | None = None, faults: Faults | None = None) -> Iterator[FakeClock]:
    """Puts every run that is begun inside on a fake clock: for code that calls `flow.run` itself.

        with stand_ins(faults=Faults().fail("load")) as clock:
            main()

    Args:
        clock: The clock; a fresh one by default.
        faults: What goes wrong, in any of the runs.

    Raises:
        InputError: At the end: a fault names a step that no run had.
    """
    on_clock = _OnClock(clock or FakeClock(), faults, strict=False)
    token = STAND_INS.set(on_clock)
    try:
        yield on_clock.shown
    finally:
        STAND_INS.reset(token)
    if faults is not None:
        for name in faults.steps():
            if name not in on_clock.steps:
                near = nearest(name, on_clock.steps)
                raise InputError(f"faults: no run had a step {name!r}{near}")


@overload
def run(
    flow: Runs[Result], /, *, clock: FakeClock | None = ..., runner: str | Runner | None = ...,
    options: RunOptions | None = ..., targets: Any = ..., override: Mapping[Any, Any] | None = ...,
    faults: Faults | None = ..., **inputs: Any,
) -> Result: ...  # fmt: skip
@overload
def run(
    flow: Runnable | Graph, /, *, clock: FakeClock | None = ..., runner: str | Runner | None = ...,
    options: RunOptions | None = ..., targets: Any = ..., override: Mapping[Any, Any] | None = ...,
    faults: Faults | None = ..., **inputs: Any,
) -> RunResult: ...  # fmt: skip
def run(
    flow: Any,
    /,
    *,
    clock: FakeClock | None = None,
    faults: Faults | None = None,
    **how: Any,
) -> Any:
    """Runs a flow to its end on a fake clock, with the seed 0 unless the options say another.

    Args:
        flow: A flow, a graph, or anything else that can be run.
        clock: The clock; a fresh one at 0 s by default.
        faults: What goes wrong.
        how: `runner`, `options`, `targets`, `override` as of `Flow.run`, and the inputs. Where an input is
            named like an argument of this function, use `stand_ins` and call the flow.

    Returns:
        What the flow's own `run` gives.

    Raises:
        RunStuck: It would never end: what is left of it hangs, and no timeout ends that.
    """
    with _placed(clock, faults):
        return make_run(flow, how)


def make_run(flow: Any, how: dict[str, Any]) -> Any:
    """Runs whatever can be run, with inputs and all else as keywords."""
    if hasattr(flow, "run"):
        return flow.run(**how)
    inputs, how = _split(how)
    if isinstance(flow, Graph):
        return wiring.run(flow, inputs, **how)
    return flow.run_with(inputs, **how)


@overload
async def arun(
    flow: RunsAsync[Result], /, *, clock: FakeClock | None = ..., runner: str | Runner | None = ...,
    options: RunOptions | None = ..., targets: Any = ..., override: Mapping[Any, Any] | None = ...,
    faults: Faults | None = ..., **inputs: Any,
) -> Result: ...  # fmt: skip
@overload
async def arun(
    flow: Graph, /, *, clock: FakeClock | None = ..., runner: str | Runner | None = ...,
    options: RunOptions | None = ..., targets: Any = ..., override: Mapping[Any, Any] | None = ...,
    faults: Faults | None = ..., **inputs: Any,
) -> RunResult: ...  # fmt: skip
async def arun(
    flow: Any,
    /,
    *,
    clock: FakeClock | None = None,
    faults: Faults | None = None,
    **how: Any,
) -> Any:
    """The same as `run` on the running event loop."""
    with _placed(clock, faults):
        if isinstance(flow, Graph):
            inputs, how = _split(how)
            return await wiring.arun(flow, inputs, **how)
        return await flow.arun(**how)


@contextmanager
def _placed(clock: FakeClock | None, faults: Faults | None) -> Iterator[None]:
    token = STAND_INS.set(_OnClock(clock or FakeClock(), faults, strict=True))
    try:
        yield
    finally:
        STAND_INS.reset(token)


def _split(how: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs, and the rest where something is said."""
    words = ("targets", "override", "runner", "options")
    inputs = {name: value for name, value in how.items() if name not in words}
    return inputs, {word: how[word] for word in words if how.get(word) is not None}
