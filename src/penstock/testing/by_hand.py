"""Runs whose attempts wait until the test answers: nothing happens but what the test says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Generic, NoReturn, TypeVar, overload

from penstock.core.amounts import is_whole, shown
from penstock.core.commands import (
    ANSWERED,
    BEGAN,
    CANCELLED,
    ENDED,
    FAILED,
    GONE,
    OK,
    STREAM,
    TIMED,
    YIELDED,
)  # fmt: skip
from penstock.core.context import Context
from penstock.core.errors import nearest
from penstock.core.failures import failure_of
from penstock.core.graph import Graph
from penstock.core.machine.state import STATUSES, WAITING
from penstock.core.mailbox import Mailbox
from penstock.core.model import RunOptions
from penstock.core.ports import Runnable, Runner, Work
from penstock.core.result import RunResult
from penstock.core.returned import Written, taken_apart
from penstock.core.stand_ins import STAND_INS

from .clock import FakeClock, check_advance
from .faults import made_error
from .glue import is_glue, node_of
from .running import Runs, make_run, seeded
from .waiting import Waiter

Result = TypeVar("Result", covariant=True)

_CAPACITY = 1_000
_MANY = 100_000  # turns in which a run comes to rest, if it ever does


class NotWaiting(AssertionError):
    """The test has answered an attempt that does not wait for an answer."""


class ManualRunner:
    """Makes no attempt: it keeps them until somebody says how they end.

    An attempt that is asked to stop ends at once, as cancelled; a stubborn one goes on until it is answered
    or given up.

    Args:
        capacity: Attempts at a time, of each kind of runner that the flow uses.
        stubborn: Ids of the steps whose attempts do not let themselves be stopped.

    Attributes:
        waiting: The attempts that wait, by (node, token), in the order of their start.
        stopping: Those of them that were asked to stop, and are stubborn.
        abandoned: Those that were given up since.
        allowed, given: By (node, token) of a stream: elements that it may give, and has given.
    """

    name = "manual"
    awaits = True

    def __init__(self, capacity: int = _CAPACITY, *, stubborn: Iterable[str] = ()) -> None:
        if not is_whole(capacity) or capacity < 1:
            raise ValueError(f"ManualRunner: capacity is an int of at least 1, not {shown(capacity)}")
        self.capacity = capacity
        self.stubborn = frozenset([stubborn] if isinstance(stubborn, str) else stubborn)
        self.waiting: dict[tuple[int, int], Work] = {}
        self.stopping: set[tuple[int, int]] = set()
        self.abandoned: set[tuple[int, int]] = set()
        self.allowed: dict[tuple[int, int], int] = {}
        self.given: dict[tuple[int, int], int] = {}
        self.is_stubborn: Callable[[int], bool] = lambda node: False
        self._clock: Callable[[], float]
        self._mailbox: Mailbox

    def open(self, mailbox: Mailbox, clock: Callable[[], float]) -> None:
        self._mailbox = mailbox
        self._clock = clock

    def submit(self, work: Work) -> None:
        node, token, kind = work[0], work[1], work[6]
        self.waiting[node, token] = work
        if kind & TIMED:
            self._mailbox.post((BEGAN, node, token, self._clock()))

    def stop(self, node: int, token: int, *, timeout: bool) -> None:
        key = node, token
        if key not in self.waiting:
            return
        context = self.waiting[key][5]
        if context is not None:
            context.ask_to_stop()
        if self.is_stubborn(node):
            self.stopping.add(key)
        else:
            del self.waiting[key]
            self._end(key, CANCELLED, None)

    def abandon(self, node: int, token: int) -> None:
        key = node, token
        if key in self.waiting and key not in self.abandoned:
            self.abandoned.add(key)
            self._end(key, CANCELLED, ("manual", ""))

    def go_on(self, node: int, token: int, upto: int) -> None:
        self.allowed[node, token] = max(upto, self.allowed.get((node, token), 0))

    def close(self) -> None:
        self.waiting.clear()

    def end(self, key: tuple[int, int], result: int, payload: Any, writes: Any = None) -> None:
        """The answer for an attempt that waits."""
        del self.waiting[key]
        self.stopping.discard(key)
        if key in self.abandoned:
            self._mailbox.post((GONE, *key))
        else:
            self._end(key, result, payload, writes)

    def _end(self, key: tuple[int, int], result: int, payload: Any, writes: Any = None) -> None:
        now = self._clock()
        self._mailbox.post((ENDED, *key, result, payload, writes, now, now))


class ManualRun(Generic[Result]):
    """A run that a test drives, in its own thread; made by `manual`.

    Attempts are named by step, by its id, or by the path of an item: ``parse[3]``. What is no step of the
    flow's author (an input that is mapped over, a fold) is made at once.

    Attributes:
        clock: The run's clock: it moves when the test says so, and never else.
    """

    def __init__(self, flow: Any, how: dict[str, Any], runner: ManualRunner, clock: FakeClock) -> None:
        self.clock = clock
        self._flow = flow
        self._how = how
        self._runner = runner
        self._closed = False
        self._done: RunResult | None = None
        place = _Manual(clock, runner)
        try:
            _under(place, flow, how)
        except _Caught as caught:
            self._prepared = caught.prepared
        else:
            raise TypeError(f"{flow!r} was run without the wiring of Penstock")
        self._engine = self._prepared.engine
        self._state = self._engine.machine.state
        stubborn = runner.stubborn
        runner.is_stubborn = lambda node: self._state.path(node).node in stubborn
        self._waiter = Waiter()
        self._engine.questions.later = self._waiter.awaited
        self._engine.begin()
        self._turn()

    def __enter__(self) -> ManualRun[Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<manual run of {self._engine.plan.graph.name!r}: {self._shown()}>"

    @property
    def started(self) -> list[str]:
        """The paths of the attempts that wait for an answer, in the order of their start."""
        return [self._path(key) for key in self._runner.waiting if key not in self._runner.abandoned]

    @property
    def stopping(self) -> list[str]:
        """Those of them that were asked to stop and are stubborn."""
        return [self._path(key) for key in self._runner.stopping if key not in self._runner.abandoned]

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self._state.finished is not None

    @property
    def result(self) -> Result:
        """The result, as the flow's own `run` would give it.

        Raises:
            NotWaiting: The run has not ended.
        """
        if not self.done:
            raise NotWaiting(f"the run has not ended: {self._shown()}")
        assert self._done is not None
        result: Result = _under(_Known(self.clock, self._runner, self._done), self._flow, self._how)
        return result

    def status(self, step: Any) -> str:
        """How a step, or an item, stands: ``pending``, ``running``, ``retrying``, …"""
        return str(STATUSES[self._state.status[self._number(step)]].value)

    def arguments(self, step: Any) -> dict[str, Any]:
        """What the waiting attempt would be called with."""
        return dict(self._runner.waiting[self._waiting(step)][3])

    def context(self, step: Any) -> Context | None:
        """The context of the waiting attempt, if it asks for one: what the step would log can be logged."""
        return self._runner.waiting[self._waiting(step)][5]

    def finish(self, step: Any, value: Any = None) -> None:
        """The attempt succeeds; a stream is exhausted."""
        key, writes = self._waiting(step), None
        if type(value) is Written:
            value, writes = taken_apart(value)
        self._runner.end(key, OK, None if self._runner.waiting[key][6] & STREAM else value, writes)
        self._turn()

    def fail(self, step: Any, error: BaseException | type[BaseException] = Exception) -> None:
        """The attempt fails with this error, which is retried if the step's policy says so."""
        made = made_error("fail", error, "the test says so")
        key = self._waiting(step)
        self._runner.end(key, FAILED, failure_of(made, self._runner.waiting[key][4]))
        self._turn()

    def call(self, step: Any) -> None:
        """The attempt is really made, here and now."""
        key = self._waiting(step)
        if self._runner.waiting[key][6] & STREAM:
            raise TypeError(f"{self._path(key)!r} is a stream; give its elements by yield_, and finish it")
        self._make(key)
        self._turn()

    def yield_(self, step: Any, *elements: Any) -> None:
        """The stream gives elements.

        Raises:
            NotWaiting: It is no stream, or held back because its consumers are too far behind.
        """
        for element in elements:
            key = self._waiting(step)
            if not self._runner.waiting[key][6] & STREAM:
                raise NotWaiting(f"{self._path(key)!r} is no stream, so it gives no elements; finish it")
            given = self._runner.given.get(key, 0)
            if given >= self._runner.allowed.get(key, 0):
                raise NotWaiting(
                    f"the stream {self._path(key)!r} is held back after {given} elements, "
                    f"until its consumers have begun more of them"
                )
            self._runner.given[key] = given + 1
            self._engine.mailbox.post((YIELDED, *key, element, None))
            self._turn()

    def answer(self, gate: Any, value: Any) -> None:
        """Somebody answers a gate."""
        number = self._number(gate)
        if self._state.status[number] != WAITING:
            raise NotWaiting(f"{_name(gate)!r} does not wait for an answer, it is {self.status(gate)}")
        self._engine.mailbox.post((ANSWERED, number, value))
        self._turn()

    def advance(self, seconds: float) -> None:
        """Time passes; what is due meanwhile happens at its time."""
        check_advance(seconds)
        until = self.clock() + seconds
        while not self.done:
            alarm = self._alarm()
            if alarm is None or alarm > until:
                break
            self._move(alarm)
        self._move(until)

    def time_out(self, step: Any) -> None:
        """Time passes until the attempt is ended by a timeout, or by the run's deadline.

        Raises:
            NotWaiting: Nothing would ever end it.
        """
        key = self._waiting(step)
        while self._state.token[key[0]] == key[1] and not self.done:
            alarm = self._alarm()
            if alarm is None:
                raise NotWaiting(f"{self._path(key)!r} has no timeout that would end it")
            self._move(alarm)
            if key not in self._runner.waiting or key in self._runner.stopping | self._runner.abandoned:
                return

    def cancel(self, reason: str = "") -> None:
        """Somebody asks for the run to be cancelled."""
        self._engine.cancel(reason)
        self._turn()

    def hurry(self) -> None:
        """The second Ctrl-C: what was asked to stop is given up now."""
        self._engine.hurry()
        self._turn()

    def close(self) -> None:
        """Ends it where it stands; nothing of it goes on."""
        if self._closed:
            return
        self._closed = True
        nodes = self._engine.plan.nodes
        self._engine.close()
        if any(resource.is_async for node in nodes for _, resource in node.resources):
            self._waiter.awaited(self._engine.aclose_resources())
        else:
            self._engine.close_resources()
        self._waiter.close()

    def _turn(self) -> None:
        engine = self._engine
        if self._closed and not self.done:
            raise NotWaiting(self._shown())
        for _ in range(_MANY):
            if self.done:
                if self._done is None:  # time may go on, and is no more the run's
                    self._done = self._prepared.result()
                return
            engine.turn([])
            for key in [key for key in self._runner.waiting if is_glue(node_of(engine, key[0]))]:
                self._make(key)
            if not engine.mailbox.replies and not engine.unsaid and not self.done:
                return
        raise AssertionError(f"the run does not come to rest: {self._shown()}")

    def _make(self, key: tuple[int, int]) -> None:
        work, writes = self._runner.waiting[key], None
        try:
            value = self._waiter.awaited(work[2](**work[3]))
            if type(value) is Written:
                value, writes = taken_apart(value)
        except Exception as error:
            self._runner.end(key, FAILED, failure_of(error, work[4]))
        else:
            self._runner.end(key, OK, value, writes)

    def _alarm(self) -> float | None:
        wait = self._engine.next_alarm()
        if wait is None:
            return None
        now: float = self.clock()
        alarm: float | None = self._engine.machine.next_alarm()
        # the machine's own number, where it is meant: a sum may miss it by the last bit
        return alarm if alarm is not None and math.isclose(alarm, now + wait, abs_tol=1e-9) else now + wait

    def _move(self, when: float) -> None:
        self.clock.timeline.advance_to(when)
        self._turn()

    def _path(self, key: tuple[int, int]) -> str:
        return str(self._state.path(key[0]))

    def _number(self, step: Any) -> int:
        name = _name(step)
        for number in range(len(self._state.status)):
            if str(self._state.path(number)) == name:
                return number
        ids = [node.id for node in self._engine.plan.nodes]
        raise NotWaiting(f"the run has no step or item {name!r}{nearest(name, ids)}")

    def _waiting(self, step: Any) -> tuple[int, int]:
        name = _name(step)
        for key in self._runner.waiting:
            if self._path(key) == name:
                return key
        self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        number = self._number(name)
        if self._closed and not self.done:
            raise NotWaiting(f"no attempt of {name!r} waits for an answer: {self._shown()}")
        status = STATUSES[self._state.status[number]].value
        raise NotWaiting(f"no attempt of {name!r} waits for an answer, it is {status}; {self._shown()}")

    def _shown(self) -> str:
        if self.done:
            return f"it has ended as {self._state.finished}"
        if self._closed:
            return "the run was closed before its end, and goes on no more"
        waiting = self.started
        names = ", ".join(waiting[:10]) + (f" and {len(waiting) - 10} more" if len(waiting) > 10 else "")
        return f"these wait: {names}" if waiting else "nothing waits for an answer"


def _name(step: Any) -> str:
    name = step if isinstance(step, str) else getattr(step, "id", None)
    if not isinstance(name, str):
        raise TypeError(f"a step, its id, or the path of an item is meant, not {step!r}")
    return name


@overload
def manual(
    flow: Runs[Result], /, *, runner: ManualRunner | None = ..., clock: FakeClock | None = ...,
    options: RunOptions | None = ..., targets: Any = ..., override: Mapping[Any, Any] | None = ...,
    **inputs: Any,
) -> ManualRun[Result]: ...  # fmt: skip
@overload
def manual(
    flow: Runnable | Graph, /, *, runner: ManualRunner | None = ..., clock: FakeClock | None = ...,
    options: RunOptions | None = ..., targets: Any = ..., override: Mapping[Any, Any] | None = ...,
    **inputs: Any,
) -> ManualRun[RunResult]: ...  # fmt: skip
def manual(
    flow: Any, /, *, runner: ManualRunner | None = None, clock: FakeClock | None = None, **how: Any
) -> Any:
    """Begins a run whose attempts wait until the test answers them.

        with manual(flow, path="orders.csv") as run:
            assert run.started == ["extract"]
            run.finish("extract", ["a", "b"])
            run.fail("enrich[1]", ConnectionError)

    Args:
        flow: A flow, a graph, or anything else that can be run.
        runner: Where the attempts wait; one with much room by default.
        clock: The clock; a fresh one at 0 s by default.
        how: `options`, `targets`, `override` as of `Flow.run`, and the inputs.
    """
    return ManualRun(flow, how, runner or ManualRunner(), clock or FakeClock())


class _Caught(BaseException):
    """The run was put together, and goes no further by itself."""

    def __init__(self, prepared: Any) -> None:
        self.prepared = prepared


class _Manual:
    """Puts the attempts of a run into the hands of the test."""

    def __init__(self, clock: FakeClock, runner: ManualRunner) -> None:
        self._clock = clock
        self._runner = runner

    def clock(self) -> Callable[[], float]:
        return self._clock

    def options(self, options: RunOptions) -> RunOptions:
        return seeded(options)

    def runner(self, name: str, usual: Runner) -> Runner:
        return self._runner

    def ready(self, prepared: Any) -> RunResult | None:
        raise _Caught(prepared)


class _Known(_Manual):
    """Lets the flow be run once more, to give what the run has come to in its own words."""

    def __init__(self, clock: FakeClock, runner: ManualRunner, result: RunResult) -> None:
        super().__init__(clock, runner)
        self._result = result

    def ready(self, prepared: Any) -> RunResult | None:
        return self._result


def _under(place: _Manual, flow: Any, how: dict[str, Any]) -> Any:
    token = STAND_INS.set(place)
    try:
        return make_run(flow, dict(how))
    finally:
        STAND_INS.reset(token)
