"""The executor: steps by name, and their runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any, TypeVar, Unpack, overload

from penstock.core.amounts import shown
from penstock.core.errors import GraphError, InputError, RunCancelled, nearest
from penstock.core.gate import Gate
from penstock.core.graph import Graph
from penstock.core.model import NOTHING, Input, Node, RunOptions, RunStatus
from penstock.core.ports import AtOnce, RunsOn
from penstock.core.result import RunResult
from penstock.core.storage import StoreWord
from penstock.wiring import Prepared, pictured, prepared
from penstock.wiring import run as run_graph

from .config import PipelineConfig, StepConfig, StepOptions, step_names
from .results import StepResult, StepStatus
from .run import Run
from .step import Step

F = TypeVar("F", bound=Callable[..., Any])


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
        self._steps: dict[str, Step] = {}
        self._graph: Graph | None = None
        self._run: Run | None = None
        self._taken = threading.Lock()
        self._told = False  # whether anybody is to be told of failures, which takes a loop

    @overload
    def step(self, name: F, /) -> F: ...

    @overload
    def step(
        self,
        name: str | None = None,
        depends_on: Iterable[str] | None = None,
        retries: int = 0,
        retry_delay: float = 1.0,
        timeout: float | None = None,
        skip_on_error: bool = False,
        on_failure: Callable[[Exception], Any] | None = None,
    ) -> Callable[[F], F]: ...

    def step(
        self, name: Any = None, depends_on: Any = None, retries: int = 0, retry_delay: float = 1.0,
        timeout: float | None = None, skip_on_error: bool = False,
        on_failure: Callable[[Exception], Any] | None = None,
    ) -> Any:  # fmt: skip
        """Makes a step of the function below it, which stays what it is.

        Args:
            name: The name of the step; None for that of the function.
            depends_on: The steps it waits for.
            retries, retry_delay, timeout, skip_on_error, on_failure: As of `StepConfig`.

        Raises:
            TypeError: Something is of the wrong type.
            ValueError: There is a step of that name already, or an option is out of range.
        """
        options = StepOptions(
            retries=retries, retry_delay=retry_delay, timeout=timeout, skip_on_error=skip_on_error,
            on_failure=on_failure,
        )  # fmt: skip
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
        **options: Unpack[StepOptions],
    ) -> PipelineExecutor:
        """Adds a step, and gives the pipeline; see `step` for the arguments and the errors."""
        for word in options:
            if word not in StepOptions.__annotations__:
                raise TypeError(f"a step has no option {word!r}{nearest(word, StepOptions.__annotations__)}")
        named = getattr(func, "__name__", None) if name is None else name
        if named is None or func is None:
            raise TypeError(f"add_step takes a name and a function, not {shown(func)} alone")
        config = StepConfig(named, func, () if depends_on is None else depends_on, **options)  # type: ignore[arg-type]
        if config.name in self._steps:
            raise ValueError(f"Step {config.name!r} already exists; give one of the two another name")
        self._steps[config.name] = Step(config)
        self._graph = None
        self._told |= config.on_failure is not None
        return self

    def add_gate(
        self, name: str, prompt: str = "", depends_on: Iterable[str] | None = None, *, type: Any = bool,
        timeout: float | None = None, default: Any = NOTHING, skip_on_error: bool = False,
    ) -> PipelineExecutor:  # fmt: skip
        """Adds a step that calls nothing, and waits until somebody has answered; its output is the answer.

        It is answered by `answer`, by ``penstock approve``, or through `penstock.open`. With a store, a run
        that waits for nothing else is put down, its step stays PENDING, and it goes on when it is resumed.

        Args:
            name: The name of the step.
            prompt: What is asked.
            depends_on: The steps it waits for.
            type: What an answer must be: a class such as bool or str, or a `Literal`.
            timeout: Seconds that it waits; then it fails, or gives `default`. None for as long as it takes.
            default: The answer when its time is over.
            skip_on_error: As of `StepConfig`.

        Returns:
            The pipeline.

        Raises:
            TypeError: Something is of the wrong type.
            ValueError: There is a step of that name already, or an option is out of range.
        """
        gate = Gate(f"Step {name!r}", prompt, type, timeout, default)
        return self.add_step(name, gate, depends_on, timeout=timeout, skip_on_error=skip_on_error)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows."""
        return pictured(self, self.graph)

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
        self, steps: Iterable[str] | None = None, *, store: StoreWord = None, run_id: str | None = None,
        runner: RunsOn = None, options: RunOptions | None = None,
    ) -> dict[str, StepResult]:  # fmt: skip
        """Runs the steps on the running loop; functions that are not async run in threads.

        Args:
            steps: Names of the wanted ones; what they depend on runs too. None for all.
            store: Where the run is kept, as of `Flow.run`.
            run_id: Its id: a run that the store knows goes on from where it was.
            runner: Where the attempts run; None for the usual place.
            options: What the run has besides; the failure policy is that of the `PipelineConfig`.

        Returns:
            The results by name, failed and skipped ones too.

        Raises:
            ValueError: A name or a dependency is unknown, or the dependencies run in a circle.
            RuntimeError: It runs already.
            StoreError: The store cannot be used; the run was cut off, and can be resumed.
        """
        with self._turn():
            run = self._prepared(steps, runner, options, {"store": store, "run_id": run_id})
            return run.results() if run.prepared is None else await run.arun()

    def run_sync(
        self, steps: Iterable[str] | None = None, *, store: StoreWord = None, run_id: str | None = None,
        runner: RunsOn = None, options: RunOptions | None = None,
    ) -> dict[str, StepResult]:  # fmt: skip
        """As `run`, and waits for the end, inside a running event loop too."""
        with self._turn():
            run = self._prepared(steps, runner, options, {"store": store, "run_id": run_id})
            if run.prepared is not None:
                self._run_here(run, run.prepared)
            return run.results()

    def run_with(
        self,
        inputs: Mapping[str, Any],
        *,
        targets: Iterable[str] | None = None,
        runner: RunsOn = None,
        options: RunOptions | None = None,
        **kept: Any,
    ) -> RunResult:
        """As `run_sync`, for the command line.

        Raises:
            InputError: An input was given, or there is no such target.
        """
        if inputs:
            name = next(iter(inputs))
            raise InputError(f"pipeline {self.config.name!r} takes no input {name!r}; it takes none")
        with self._turn():
            run = self._prepared(targets, runner, options, kept)
            if run.prepared is None:
                raise InputError("targets: the list is empty, so there is nothing to run")
            under_way = run.prepared
            self._run_here(run, under_way)
            result = under_way.result()
            if run.prepared is not None:  # cancelled twice, and so nobody waited for its end
                raise RunCancelled(f"run {result.run_id} cancelled", result)
            return result

    def inputs(self) -> tuple[Input, ...]:
        """The inputs of a run: none."""
        return ()

    def _run_here(self, run: Run, prepared: Prepared) -> None:
        if not self._told and asyncio._get_running_loop() is None:
            prepared.run()
            run.ended()
            return
        raised: list[Exception] = []

        async def pipeline() -> None:
            try:
                await run.arun()
            except Exception as error:  # of the run as a whole: of its store, say
                raised.append(error)

        # As the one step of another run, which finds a loop for it: beside the one that runs here, too.
        whole = Graph(self.config.name, [Node("pipeline", pipeline, is_async=True)])
        around = run_graph(whole, {})
        if raised:
            raise raised[0]
        if around.status is RunStatus.FAILED:  # of a cancelled one the results of the steps tell
            around.raise_for_failure()

    def answer(self, name: str, value: Any) -> None:
        """Answers a gate of the run that is under way; from any thread. It may not be open yet.

        Raises:
            InputError: No run is under way, there is no such gate, or it takes another kind of answer.
        """
        running = None if self._run is None else self._run.prepared
        if running is None:
            raise InputError("the pipeline does not run; penstock approve answers a run that is put down")
        running.engine.answer(name, value)

    def get_results(self) -> dict[str, StepResult]:
        """The results of the last run, or of the one that goes on, as it stands; empty before the first."""
        return {} if self._run is None else self._run.results()

    def report(self, path: str | PathLike[str]) -> None:
        """Writes the run report of the last run: one HTML file that needs nothing else.

        Raises:
            OSError: It cannot be written.
            RuntimeError: No run has ended yet.
            StoreError: The run's store cannot be read.
        """
        if self._run is None or self._run.last is None:
            raise RuntimeError("there is nothing to report yet: no run has ended")
        self._run.last.report(path)

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

    def _prepared(
        self,
        steps: Iterable[str] | None,
        runner: RunsOn,
        options: RunOptions | None,
        kept: Mapping[str, Any],
    ) -> Run:
        """A run that is ready to begin; without anything `prepared` where no step is wanted.

        Raises:
            ValueError: It cannot be.
        """
        graph = self.graph()
        targets = None if steps is None else step_names(steps, f"Pipeline {self.config.name!r}", "steps")
        for name in targets or ():
            if name not in self._steps:
                text = f"Pipeline {self.config.name!r} has no step {name!r}"
                raise InputError(f"{text}{nearest(name, self._steps)}")
        run = Run(self._steps)
        if targets is None or targets:
            given = RunOptions() if options is None else options
            if isinstance(given, RunOptions):
                given = _merged(given, self.config, [AtOnce(run)] if self._told else [])
            how = {"targets": targets, "runner": runner, "options": given, **kept}
            run.prepared = prepared(graph, {}, **how)
            for step in self._steps.values() if self._told else ():
                step.reset()
        self._run = run
        return run


def _merged(given: RunOptions, config: PipelineConfig, observers: list[Any]) -> RunOptions:
    """The options of a run, with what the pipeline says; only a bound on concurrency may be another one."""
    fields: dict[str, Any] = {name: getattr(given, name) for name in RunOptions._fields}
    fields["on_failure"] = "stop" if config.stop_on_first_failure else "continue"
    if given.max_concurrency is None:
        fields["max_concurrency"] = config.max_concurrent
    fields["observers"] = (*observers, *given.observers)
    return RunOptions(**fields)
