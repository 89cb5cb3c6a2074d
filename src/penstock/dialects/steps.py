"""Steps that depend on each other by name: ``executor.step("load", depends_on=["transform"])``.

What runs, waits and tries again is the engine; this file only translates, there and back.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack, overload

from penstock.core import events
from penstock.core.amounts import check_seconds, is_whole, shown
from penstock.core.errors import GraphError, InputError, nearest
from penstock.core.graph import Graph
from penstock.core.model import Failure, Need, Node, NodeStatus, RetryPolicy, RunOptions, SkipCause, Timeout
from penstock.core.names import normal_id
from penstock.wiring import Prepared
from penstock.wiring import run as run_graph

if TYPE_CHECKING:
    from penstock.core.ports import Pool, Runner
    from penstock.core.result import NodeResult

    _RunsOn = str | Runner | Pool | None

__all__ = ["PipelineConfig", "PipelineExecutor", "StepConfig", "StepResult", "StepStatus"]

F = TypeVar("F", bound=Callable[..., Any])
_LOG = logging.getLogger(__name__)


class StepStatus(enum.StrEnum):
    """Where a step stands; prints as its value."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    RETRYING = "retrying"


_WORDS = {"ready": "pending", "waiting": "pending", "succeeded": "success", "cancelled": "failed"}
"""The core's words for statuses, where they are others."""


@dataclass(slots=True)
class StepResult:
    """How one step ended or, while the run goes on, where it stands.

    Attributes:
        step_name: The step.
        status: Its status.
        output: What it returned; None unless it succeeded.
        error: Why it did not succeed, else None.
        started_at: When its first attempt began; of a step that was never started, when that was decided.
        finished_at: When its last attempt ended; as long as it has not, the moment of the look.
        duration_ms: Milliseconds between the two.
        retries: How many times it was tried again.
    """

    step_name: str
    status: StepStatus
    output: Any
    error: str | None
    started_at: datetime
    finished_at: datetime
    duration_ms: float
    retries: int


@dataclass(frozen=True)
class PipelineConfig:
    """How a pipeline runs.

    Attributes:
        name: What people call it.
        max_concurrent: Steps that run at the same time, at most; None for no bound.
        stop_on_first_failure: The first failure ends the run: running steps are cancelled, others skipped.
        jitter: ``full`` spreads the waits before retries, ``none`` keeps them exact.

    Raises:
        TypeError: A flag is none.
        ValueError: A value is out of range; the message names it.
    """

    name: str = "pipeline"
    max_concurrent: int | None = 5
    stop_on_first_failure: bool = False
    jitter: Literal["full", "none"] = "none"

    def __post_init__(self) -> None:
        normal_id(self.name, "pipeline")
        most = self.max_concurrent
        if most is not None and not (is_whole(most) and most > 0):
            raise ValueError(f"PipelineConfig: max_concurrent is an int from 1, or None, not {shown(most)}")
        if not isinstance(stop := self.stop_on_first_failure, bool):
            raise TypeError(f"PipelineConfig: stop_on_first_failure is True or False, not {shown(stop)}")
        RetryPolicy(jitter=self.jitter)  # says what is wrong with it


@dataclass(frozen=True)
class StepConfig:
    """One step, defined.

    Attributes:
        name: Unique in its pipeline.
        func: What is called, async or not.
        depends_on: The steps it waits for.
        retries: Extra calls after the first one failed.
        retry_delay: Seconds before the first retry, twice as many before the next, and so on.
        timeout: Seconds for one attempt; None for no bound.
        skip_on_error: When a dependency fails it is skipped, where otherwise it fails too.
        on_failure: Called with the exception after each attempt that failed; may be async.

    Raises:
        TypeError: Something is of the wrong type.
        ValueError: A value is out of range, or a parameter of the function that nothing would fill.
    """

    name: str
    func: Callable[..., Any]
    depends_on: tuple[str, ...] = ()
    retries: int = 0
    retry_delay: float = 1.0
    timeout: float | None = None
    skip_on_error: bool = False
    on_failure: Callable[[Exception], Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", normal_id(self.name))
        where = f"Step {self.name!r}"
        if not callable(self.func):
            raise TypeError(f"{where}: func is a function, not {shown(self.func)}")
        if inspect.isgeneratorfunction(self.func) or inspect.isasyncgenfunction(self.func):
            raise TypeError(f"{where}: a step returns its output, and this function yields; return a list")
        object.__setattr__(self, "depends_on", _names(self.depends_on, where, "depends_on"))
        if not is_whole(self.retries) or self.retries < 0:
            raise ValueError(f"{where}: retries counts the extra calls, from 0, not {shown(self.retries)}")
        check_seconds(where, "retry_delay", self.retry_delay)
        if self.timeout is not None:
            check_seconds(where, "timeout", self.timeout, above=True)
        if not isinstance(self.skip_on_error, bool):
            raise TypeError(f"{where}: skip_on_error is True or False, not {shown(self.skip_on_error)}")
        if self.on_failure is not None and not callable(self.on_failure):
            raise TypeError(
                f"{where}: on_failure takes a function of the error, not {shown(self.on_failure)}"
            )


class _Options(TypedDict, total=False):
    retries: int
    retry_delay: float
    timeout: float | None
    skip_on_error: bool
    on_failure: Callable[[Exception], Any] | None


class PipelineExecutor:
    """Steps, and their runs, one at a time.

    Args:
        config: How it runs; None for a `PipelineConfig` as it is by default.

    Attributes:
        config: As given.
    """

    def __init__(self, config: PipelineConfig | None = None) -> None:
        if config is not None and not isinstance(config, PipelineConfig):
            raise TypeError(f"PipelineExecutor takes a PipelineConfig(name=...), not {shown(config)}")
        self.config = config or PipelineConfig()
        self._steps: dict[str, _Step] = {}
        self._graph: Graph | None = None
        self._run: _Run | None = None
        self._taken = threading.Lock()
        self._told = False  # whether anybody is to be told of failures, which takes a loop

    @overload
    def step(self, name: F, /) -> F: ...

    @overload
    def step(
        self, name: str | None = None, depends_on: Iterable[str] | None = None, **options: Unpack[_Options]
    ) -> Callable[[F], F]: ...

    def step(self, name: Any = None, depends_on: Any = None, **options: Any) -> Any:
        """Makes a step of the function below it, which stays what it is.

        Args:
            name: The name of the step; None for that of the function.
            depends_on: The steps it waits for.
            options: The rest of a `StepConfig`: retries, retry_delay, timeout, skip_on_error, on_failure.

        Raises:
            TypeError: Something is of the wrong type.
            ValueError: There is a step of that name already, or an option is out of range.
        """
        if callable(name):
            self.add_step(None, name, depends_on, **options)
            return name

        def add(func: F) -> F:
            self.add_step(name, func, depends_on, **options)
            return func

        return add

    def add_step(
        self,
        name: str | None = None,
        func: Callable[..., Any] | None = None,
        depends_on: Iterable[str] | None = None,
        **options: Unpack[_Options],
    ) -> PipelineExecutor:
        """Adds a step, and gives the pipeline; see `step` for the arguments and the errors."""
        for word in options:
            if word not in _Options.__annotations__:
                raise TypeError(f"a step has no option {word!r}{nearest(word, _Options.__annotations__)}")
        named = getattr(func, "__name__", None) if name is None else name
        if named is None or func is None:
            raise TypeError(f"add_step takes a name and a function, not {shown(func)} alone")
        config = StepConfig(named, func, () if depends_on is None else depends_on, **options)  # type: ignore[arg-type]
        if config.name in self._steps:
            raise ValueError(f"Step {config.name!r} already exists; give one of the two another name")
        self._steps[config.name] = _Step(config)
        self._graph = None
        self._told |= config.on_failure is not None
        return self

    def graph(self) -> Graph:
        """The graph that the steps make.

        Raises:
            GraphError: A dependency is unknown, or they run in a circle (`CycleError`); it is a ValueError.
        """
        if self._graph is None:
            for step in self._steps.values():
                for name in step.config.depends_on:
                    if name not in self._steps:
                        text = f"Step {step.config.name!r} depends on unknown step {name!r}"
                        raise GraphError(f"{text}{nearest(name, self._steps)}")
            nodes = [step.node(self.config.jitter) for step in self._steps.values()]
            self._graph = Graph(self.config.name, nodes)
        return self._graph

    async def run(
        self, steps: Iterable[str] | None = None, *, runner: _RunsOn = None, options: RunOptions | None = None
    ) -> dict[str, StepResult]:
        """Runs the steps on the running loop; functions that are not async run in threads.

        Args:
            steps: Names of the wanted ones; what they depend on runs too. None for all.
            runner: Where the attempts run; None for the usual place.
            options: What the run has besides; the failure policy is that of the `PipelineConfig`.

        Returns:
            The results by name, failed and skipped ones too.

        Raises:
            ValueError: A name or a dependency is unknown, or the dependencies run in a circle.
            RuntimeError: It runs already.
        """
        with self._turn():
            run = self._prepared(steps, runner, options)
            return run.results() if run.prepared is None else await run.arun()

    def run_sync(
        self, steps: Iterable[str] | None = None, *, runner: _RunsOn = None, options: RunOptions | None = None
    ) -> dict[str, StepResult]:
        """As `run`, and waits for the end, inside a running event loop too."""
        with self._turn():
            run = self._prepared(steps, runner, options)
            if run.prepared is None:
                return run.results()
            if not self._told and asyncio._get_running_loop() is None:
                run.prepared.run()
                return run.ended()
            # As the one step of another run, which finds a loop for it: beside the one that runs here, too.
            whole = Graph(self.config.name, [Node("pipeline", run.arun, is_async=True)])
            run_graph(whole, {}).raise_for_failure()
            return run.results()

    def get_results(self) -> dict[str, StepResult]:
        """The results of the last run, or of the one that goes on, as it stands; empty before the first."""
        return {} if self._run is None else self._run.results()

    def reset(self) -> None:
        """Forgets the last run; the steps stay.

        Raises:
            RuntimeError: It runs.
        """
        with self._turn():
            self._run = None

    def visualize(self) -> str:
        """The steps by level as text and, once it was run, how each one stands.

        Raises:
            GraphError: The steps do not make a graph.
        """
        results = self.get_results()
        lines = [f"Pipeline: {self.config.name}", "=" * 40]
        for number, level in enumerate(self.graph().levels()):
            lines.append(f"Level {number}:")
            for name in level:
                needs = self._steps[name].config.depends_on
                line = f"  - {name} <- [{', '.join(needs)}]" if needs else f"  - {name}"
                if self._run is not None:
                    line += f" [{results[name].status if name in results else StepStatus.PENDING}]"
                lines.append(line)
        return "\n".join(lines)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Only one run at a time; a second one is refused, and never waits."""
        if not self._taken.acquire(blocking=False):
            raise RuntimeError("Pipeline is already running")
        try:
            yield
        finally:
            self._taken.release()

    def _prepared(self, steps: Iterable[str] | None, runner: _RunsOn, options: RunOptions | None) -> _Run:
        """A run that is ready to begin; without anything `prepared` where no step is wanted.

        Raises:
            ValueError: It cannot be.
        """
        graph = self.graph()
        targets = None if steps is None else _names(steps, f"Pipeline {self.config.name!r}", "steps")
        for name in targets or ():
            if name not in self._steps:
                text = f"Pipeline {self.config.name!r} has no step {name!r}"
                raise InputError(f"{text}{nearest(name, self._steps)}")
        run = _Run(self._steps)
        if targets is None or targets:
            given = RunOptions() if options is None else options
            if isinstance(given, RunOptions):
                given = _merged(given, self.config, [run] if self._told else [])
            run.prepared = Prepared(graph, {}, targets=targets, runner=runner, options=given)
            for step in self._steps.values() if self._told else ():
                step.reset()
        self._run = run
        return run


class _Step:
    """A step and what it takes to call it.

    Attributes:
        config: Its definition.
        raised: What its last attempt raised, for `on_failure`; the run itself keeps failures as text only.
        telling: The async `on_failure` of its last attempt; the next one, if it is async too, waits for it.
    """

    def __init__(self, config: StepConfig) -> None:
        self.config = config
        self._is_async = _is_async(config.func)
        self._needs, self._positions = _binding(config)
        self.reset()

    def reset(self) -> None:
        """Forgets the last run."""
        self.raised: Exception | None = None
        self.telling: asyncio.Task[None] | None = None

    def node(self, jitter: Literal["full", "none"]) -> Node:
        """Its node in a graph."""
        config = self.config
        call: Callable[..., Any] = config.func
        if self._positions:
            call = partial(_by_position, call, self._positions)
        if config.on_failure is not None:
            call = self._noting(call)
        retry = None
        if config.retries:
            retry = RetryPolicy(config.retries + 1, config.retry_delay, inf, 2.0, jitter=jitter)
        timeout = None if config.timeout is None else Timeout(config.timeout)
        how: Any = {"is_async": self._is_async, "retry": retry, "timeout": timeout, "keep": True}
        return Node(config.name, call, self._needs, **how)

    def _noting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call; the step notes what it raises."""

        def noting(**outputs: Any) -> Any:
            try:
                return call(**outputs)
            except Exception as error:
                self.raised = error
                raise

        async def noting_async(**outputs: Any) -> Any:
            if self.telling is not None and self.config.timeout is None:  # a timeout would run out meanwhile
                await asyncio.wait([self.telling])
            try:
                return await call(**outputs)
            except Exception as error:
                self.raised = error
                raise

        return noting_async if self._is_async else noting

    def text_of(self, failure: Failure) -> str:
        """The failure of an attempt in the words of this dialect."""
        text = failure.text or failure.type
        if self.config.timeout is not None and text == f"no result after {self.config.timeout:g} s":
            text = f"Step timed out after {self.config.timeout}s"
        return f"{text} ({failure.note})" if failure.note else text


class _Run:
    """One run and its results; where somebody is to be told of failures also an observer of its events.

    Args:
        steps: All steps of the pipeline, by name.

    Attributes:
        steps: As given.
        prepared: What runs; None before it is ready, and after its end.
    """

    def __init__(self, steps: Mapping[str, _Step]) -> None:
        self.steps = dict(steps)
        self.prepared: Prepared | None = None
        self._results: dict[str, StepResult] = {}
        self._telling: set[asyncio.Task[None]] = set()

    def __call__(self, event: Any) -> None:
        if isinstance(event, (events.NodeFailed, events.NodeRetrying)):
            step = self.steps[event.path.node]
            if step.config.on_failure is not None:
                self._tell(step, step.config.on_failure, event.failure)

    async def arun(self) -> dict[str, StepResult]:
        """Runs to the end on the running loop, and to that of every `on_failure`."""
        assert self.prepared is not None
        try:
            await self.prepared.arun()
        finally:
            if self._telling:
                await asyncio.wait(self._telling)
            self.ended()
        return self.results()

    def ended(self) -> dict[str, StepResult]:
        """The results, now that it has come to its end."""
        self._results, self.prepared = self._translated(), None
        return self.results()

    def results(self) -> dict[str, StepResult]:
        """The results as they stand."""
        return dict(self._results) if self.prepared is None else self._translated()

    def _tell(self, step: _Step, on_failure: Callable[[Exception], Any], failure: Failure) -> None:
        """Tells somebody of an attempt that failed; what they do or raise changes nothing."""
        error, step.raised = step.raised, None
        if failure.kind == "timeout":
            error = TimeoutError(step.text_of(failure))
        try:
            said = on_failure(error or RuntimeError(str(failure)))
        except Exception:
            _LOG.exception("on_failure of step %r raised", step.config.name)
            return
        if inspect.isawaitable(said):
            step.telling = asyncio.get_running_loop().create_task(_awaited(step.config.name, said))
            self._telling.add(step.telling)

    def _translated(self) -> dict[str, StepResult]:
        assert self.prepared is not None
        nodes, graph = self.prepared.result().nodes, self.prepared.engine.plan.graph
        found: dict[str, StepResult] = {}
        rest: dict[str, NodeResult] = {}
        good, done, at, tz = NodeStatus.SUCCEEDED, StepStatus.SUCCESS, datetime.fromtimestamp, UTC
        end, last = at(0, tz), 0.0
        for node in nodes.values():
            name, status, _, value, _, _, _, attempts, _, _, _, began, ended = node
            if status is good and began is not None and ended is not None:
                start = end if began == last else at(began, tz)  # one that follows another at once
                end, last = at(ended, tz), ended
                took, retries = (ended - began) * 1000.0, attempts - 1
                found[name] = StepResult(name, done, value, None, start, end, took, retries)
            else:
                rest[name] = node
        if not rest:
            return found
        now = self.prepared.engine.clock()
        for position in graph.order:  # whoever speaks of its dependencies comes after them
            name = graph.nodes[position].id
            if name in rest:
                found[name] = self._result(rest[name], now, found)
        return {name: found[name] for name in nodes}

    def _result(self, node: NodeResult, now: float, found: Mapping[str, StepResult]) -> StepResult:
        """The result of a step of which there is more to say than that it succeeded."""
        step, error = self.steps[node.path], None
        status = StepStatus(_WORDS.get(node.status.value, node.status.value))
        if node.failure is not None:
            error = step.text_of(node.failure)
        elif node.status is NodeStatus.CANCELLED:
            error = "Step cancelled"
        elif node.skip is not None:
            status, error = _why_not(step.config, node, found)
            if node.skip.cause is SkipCause.UPSTREAM:
                now = max(found[name].finished_at.timestamp() for name in step.config.depends_on)
        began = node.began or now
        ended = node.ended or max(began, now)
        retries = max(node.attempts - 1, 0)
        return StepResult(node.path, status, node.value, error, *_times(began, ended), retries)


def _times(began: float, ended: float) -> tuple[datetime, datetime, float]:
    at = datetime.fromtimestamp
    return at(began, UTC), at(ended, UTC), (ended - began) * 1000.0


def _why_not(step: StepConfig, node: NodeResult, found: Mapping[str, StepResult]) -> tuple[StepStatus, str]:
    """What a step that was never started shows, and why."""
    if node.skip is not None and node.skip.cause is SkipCause.UPSTREAM:
        first = {found[name].status: name for name in reversed(step.depends_on)}
        if StepStatus.FAILED not in first:
            return StepStatus.SKIPPED, f"Skipped due to skipped dependency {first[StepStatus.SKIPPED]!r}"
        if step.skip_on_error:
            return StepStatus.SKIPPED, f"Skipped due to failed dependency {first[StepStatus.FAILED]!r}"
        return StepStatus.FAILED, f"Dependency {first[StepStatus.FAILED]!r} failed"
    return StepStatus.SKIPPED, f"Skipped because {node.reason or 'the run stopped'}"


def _merged(given: RunOptions, config: PipelineConfig, observers: list[Any]) -> RunOptions:
    """The options of a run, with what the pipeline says; only a bound on concurrency may be another one."""
    fields: dict[str, Any] = {name: getattr(given, name) for name in RunOptions._fields}
    fields["on_failure"] = "stop" if config.stop_on_first_failure else "continue"
    if given.max_concurrency is None:
        fields["max_concurrency"] = config.max_concurrent
    fields["observers"] = (*observers, *given.observers)
    return RunOptions(**fields)


def _names(given: Any, where: str, what: str) -> tuple[str, ...]:
    """A list of step names, each once.

    Raises:
        TypeError: It is none.
    """
    if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
        hint = f"; say {what}=[{given!r}]" if isinstance(given, str) else ""
        raise TypeError(f"{where}: {what} is a list of step names, not {shown(given)}{hint}")
    for name in (names := tuple(given)):
        if not isinstance(name, str):
            raise TypeError(f"{where}: {what} is a list of step names, and {shown(name)} is none")
    return tuple(dict.fromkeys([normal_id(name) for name in names]))


def _binding(step: StepConfig) -> tuple[tuple[Need, ...], tuple[tuple[str, Any], ...]]:
    """The needs, with their parameters, and what is passed by position: its key and its default.

    A parameter named like a dependency takes its output; of the rest, those that can be passed by position
    take what is left, in order. Then ``**kwargs`` takes all that is still left, or else ``*args``.

    Raises:
        ValueError: A parameter without a default would get nothing.
    """
    try:
        params = list(inspect.signature(step.func).parameters.values())
    except (TypeError, ValueError):  # built in, without a signature
        params = [inspect.Parameter("outputs", inspect.Parameter.VAR_POSITIONAL)]
    kinds = {param.kind for param in params}
    plain = [p for p in params if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    taken = {p.name: p.name for p in plain if p.name in step.depends_on}  # by dependency
    left = [name for name in step.depends_on if name not in taken]
    for p in plain:
        if p.name not in taken and p.kind is not p.KEYWORD_ONLY and left:
            taken[left.pop(0)] = p.name
    filled = set(taken.values())
    for p in plain:
        if p.name not in filled and p.default is p.empty:
            text = f"Step {step.name!r} takes {p.name!r}, and none of its dependencies is left to give it"
            raise GraphError(f"{text} (depends_on={list(step.depends_on)})")
    rest = left if kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL} else []
    taken.update({name: name for name in rest})
    if inspect.Parameter.VAR_KEYWORD in kinds:
        rest = []
    placed = [p for p in plain if p.kind is p.POSITIONAL_ONLY or (rest and p.kind is not p.KEYWORD_ONLY)]
    needs = [Need(name, "use" if name in taken else "after", taken.get(name)) for name in step.depends_on]
    return tuple(needs), (*((p.name, p.default) for p in placed), *((name, None) for name in rest))


def _by_position(call: Callable[..., Any], positions: Iterable[tuple[str, Any]], /, **outputs: Any) -> Any:
    return call(*[outputs.pop(name, default) for name, default in positions], **outputs)


def _is_async(call: Callable[..., Any]) -> bool:
    """Whether what it returns is to be awaited, of an object too that is called like a function."""
    own = call if isinstance(call, type) else type(call).__call__
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(own)


async def _awaited(name: str, said: Any) -> None:
    try:
        await said
    except Exception:
        _LOG.exception("on_failure of step %r raised", name)
