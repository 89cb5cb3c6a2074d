"""From words to parts: the one place that knows which runner a name means and puts an engine together."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping, MutableMapping, Sequence
from contextlib import nullcontext
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TextIO, cast

from penstock.core.amounts import shown as shown_value
from penstock.core.checks import check_volatile
from penstock.core.engine import Engine
from penstock.core.errors import GraphError, InputError, nearest
from penstock.core.graph import Graph
from penstock.core.handle import Handle
from penstock.core.model import NOTHING, Node, RunOptions
from penstock.core.plan import Plan
from penstock.core.ports import RUNNERS, Pool, Runner, no_runner
from penstock.core.result import RunResult
from penstock.core.shells import run_here, run_on_loop
from penstock.core.stand_ins import STAND_INS
from penstock.core.subgraph import restrict
from penstock.core.views import Ended, result_of

if TYPE_CHECKING:
    from pathlib import Path

    from penstock.config import Config
    from penstock.core.hooks import Hook


def make_runner(name: str, options: RunOptions) -> Runner:
    """A fresh runner by its name, for one run.

    Raises:
        InputError: There is no such runner.
    """
    if name == "threads":
        from penstock.runners.threads import ThreadRunner

        return ThreadRunner()
    if name == "inline":
        from penstock.runners.inline import InlineRunner

        return InlineRunner()
    if name == "aio":
        from penstock.runners.aio import AioRunner

        return AioRunner()
    if name == "processes":
        from penstock.runners.processes import own_runner

        return own_runner(options)
    raise no_runner(name)


def threads(size: int) -> Runner:
    """What ``runner=None`` stands for, with at least so many threads; for one run."""
    from penstock.runners.threads import ThreadRunner

    made = ThreadRunner()
    if made.size < size:
        made = ThreadRunner(size)
    made.is_usual = True
    return made


def processes(size: int | None = None, *, kill_grace: float = 0.0, prefetch: int | None = None) -> Pool:
    """A pool of worker processes, to be lent to runs: ``with processes(4) as pool: flow.run(runner=pool)``.

    Args:
        size: Processes at most; by default as many as there are processors.
        kill_grace: Seconds between SIGTERM and SIGKILL for an attempt past its time; 0 kills at once.
        prefetch: Attempts that wait in the workers' pipes, beyond those that run; None for a good number.
    """
    from penstock.runners.processes import ProcessPool

    return ProcessPool(size, kill_grace=kill_grace, prefetch=prefetch)


_DEFAULTS = RunOptions()


class Prepared:
    """A run that is ready to begin."""

    def __init__(
        self,
        graph: Graph,
        inputs: Mapping[str, Any],
        *,
        targets: Sequence[str] | None = None,
        override: Mapping[str, Any] | None = None,
        runner: str | Runner | Pool | None = None,
        options: RunOptions | None = None,
        shared: MutableMapping[Any, Any] | None = None,
        hooks: Sequence[Hook] = (),
    ) -> None:
        self._hooks = hooks
        if options is None:
            options = _DEFAULTS
        elif not isinstance(options, RunOptions):
            raise InputError(_not_options(options))
        stand_ins, clock = STAND_INS.get(), None
        if stand_ins is not None:
            options, clock = stand_ins.options(options), stand_ins.clock()
        apart = runner == "processes"  # then no step runs in this process, not even one that is alone
        ours = runner is None or isinstance(runner, str) or getattr(runner, "is_usual", False)
        self._own_runners = stand_ins is None and not apart and ours
        given = _lent(runner, options)
        name = given.name if given is not None else cast("str | None", runner)
        awaiting = ("aio",) if given is None or not given.awaits else ("aio", given.name)
        part = restrict(graph, targets, override)
        inputs = {name: value for name, value in complete(graph, inputs).items() if name in part.inputs}
        plan = _plan(part, name, awaiting, tuple(targets or ()))
        self.runners: dict[str, Runner] = {
            name: given if given is not None and name == given.name else make_runner(name, options)
            for name in plan.runners
        }
        if stand_ins is not None:
            self.runners = {name: stand_ins.runner(name, usual) for name, usual in self.runners.items()}
        self.inline: Any = self.runners.get("inline") or make_runner("inline", options)
        self.engine = Engine(
            plan,
            inputs,
            options,
            self.runners,
            _run_id(),
            override=override,
            targets=targets,
            clock=clock,
        )
        if shared is not None:
            self.engine.machine.state.shared = shared
        for one in self.runners.values():
            self._listen(one)
        self._known = None if stand_ins is None else stand_ins.ready(self)

    def run(self, *, alone: bool = True) -> RunResult:
        """Runs to the end in this thread.

        Args:
            alone: The caller waits here, so a step that is alone may run here too.
        """
        if self._known is not None:
            return self._known
        from penstock.core.interrupts import interrupts

        engine, inline = self.engine, self.inline
        engine.open(inline)
        main = threading.current_thread() is threading.main_thread()
        with interrupts(engine, self._raises) if main else nullcontext():
            if self.engine.plan.needs_loop or "aio" in self.runners:
                _run_loop(self._on_loop())
            else:
                if alone and self._own_runners:
                    engine.use_lone_runner(inline.make)
                run_here(engine, inline.pump)
        result = self.result()
        if self._hooks:
            from penstock.core.hooks import run_hooks

            result.warnings += tuple(run_hooks(self._hooks, result))
        return result

    def _listen(self, runner: Any) -> None:
        """Lets a runner that has more to say than its replies say it in the run's warnings."""
        if hasattr(runner, "warn"):
            runner.warn = self.engine.warn
        if hasattr(runner, "slow"):
            runner.slow = self.engine.note_slow

    def _raises(self, seen: int) -> bool:
        """Whether the so-many-th interrupt may be raised in the engine's thread: plain code of the user runs.

        An async step that holds the event loop is given until the second one: if it lets go of it soon, it is
        cancelled in order.
        """
        if self.inline.busy or self.engine.busy:
            return True
        return seen > 1 and getattr(self.runners.get("aio"), "busy", False)

    async def arun(self) -> RunResult:
        """Runs to the end on the running loop."""
        if self._known is not None:
            return self._known
        self.engine.open(self.inline)
        try:
            await self._on_loop()
        finally:
            ended = self.engine.machine.state.finished is not None  # of a cancelled caller too
            result = self.result() if ended else None
            if result is not None and self._hooks:
                from penstock.core.hooks import arun_hooks

                result.warnings += tuple(await arun_hooks(self._hooks, result))
        assert result is not None
        return result

    async def _on_loop(self) -> None:
        aio: Any = self.runners.get("aio")
        await run_on_loop(
            self.engine,
            self.inline.pump if "inline" in self.runners else None,
            aio.drive if aio is not None else None,
            aio.closed if aio is not None else None,
        )

    def ended(self) -> Ended:
        """The nodes that have ended, told as they come."""
        return Ended(self.engine.machine.state)

    def is_late(self) -> bool:
        """Whether the run's deadline has passed, and stopped it."""
        return self.engine.machine.state.expired

    def result(self) -> RunResult:
        """What the run has come to."""
        engine = self.engine
        return result_of(
            engine.machine.state,
            engine.run_id,
            abandoned=engine.abandoned,
            warnings=engine.warnings,
            now=engine.clock(),
        )


def _lent(runner: object, options: RunOptions) -> Runner | None:
    """The runner that the caller lends, or one of the pool that they lend; None if there is but a name.

    Raises:
        InputError: It is none of these.
    """
    if runner is None or isinstance(runner, str):
        if runner is not None and runner not in RUNNERS:
            raise no_runner(runner)
        return None
    if isinstance(runner, Pool):
        return runner.for_run(options)
    if isinstance(runner, type) or not isinstance(runner, Runner):
        raise InputError(
            f"runner takes the name of a runner (one of {', '.join(RUNNERS)}), a runner or a pool, "
            f"not {shown_value(runner)}"
        )
    return runner


def run(graph: Graph, inputs: Mapping[str, Any], **how: Any) -> RunResult:
    """Runs a graph to its end and waits for it, inside a running event loop too.

    Args:
        graph: What runs.
        inputs: By name.
        how: `targets`, `override`, `runner`, `options`, `hooks`; see `Prepared`.

    Raises:
        InputError: What was given does not fit the graph; nothing has started.
    """
    return run_prepared(Prepared(graph, inputs, **how))


def run_prepared(prepared: Prepared) -> RunResult:
    """As `run`, of a run that its caller has put together, so as to cancel it or look at it meanwhile."""
    if not _in_loop():
        return prepared.run()
    return _run_beside_loop(prepared)


async def arun(graph: Graph, inputs: Mapping[str, Any], **how: Any) -> RunResult:
    """As `run`, on the running event loop. A cancelled caller cancels the run, and waits for its end."""
    return await Prepared(graph, inputs, **how).arun()


def start(graph: Graph, inputs: Mapping[str, Any], **how: Any) -> Handle:
    """As `run`, in a thread of its own; gives the handle at once."""
    return _in_thread(Prepared(graph, inputs, **how), alone=False)


def drawing(graph: Graph, form: str = "text", *, rough: bool = False) -> str:
    """A graph drawn as ``text``, ``mermaid`` or ``dot``.

    Args:
        graph: What is drawn.
        form: One of the three.
        rough: Draw the text with ASCII signs only.

    Raises:
        InputError: There is no such form.
    """
    if form == "text":
        from penstock.draw.text import text

        return text(graph, rough=rough)
    if form == "mermaid":
        from penstock.draw.mermaid import mermaid

        return mermaid(graph)
    if form == "dot":
        from penstock.draw.dot import dot

        return dot(graph)
    forms = ("text", "mermaid", "dot")
    raise InputError(f"there is no form {form!r}{nearest(form, forms)} (one of {', '.join(forms)})")


def progress(graph: Graph, stream: TextIO | None, *, live: bool | None = None) -> Any:
    """A `penstock.observers.progress.Progress` of a run of this graph: its observer, counts and summary."""
    from penstock.observers.progress import Progress

    return Progress(graph, stream, live=live)


def discover(path: Path) -> Iterator[Any]:
    """What `penstock.discovery.discover` finds below a path, without importing any of it."""
    from penstock.discovery import discover

    return discover(path)


def configured() -> Config:
    """What `penstock.config.load` finds, for a face that was asked for it; a run call never is.

    Raises:
        InputError: There is something wrong with it.
    """
    from penstock.config import load

    return load()


def shown(text: str) -> str:
    """One line of somebody's text as a terminal may have it: nothing in it can move the cursor."""
    from penstock.core.visible import one_line

    return one_line(text)


def complete(graph: Graph, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs with their defaults.

    Raises:
        InputError: One is missing or unknown.
    """
    for name in inputs:
        if name not in graph.inputs:
            raise InputError(
                f"{graph.name!r} takes no input {name!r}{nearest(name, graph.inputs)}"
                f" (it takes {', '.join(sorted(graph.inputs)) or 'none'})"
            )
    found = {name: each.default for name, each in graph.inputs.items() if each.default is not NOTHING}
    return {**found, **inputs}


def _not_options(given: object) -> str:
    said = f"options takes RunOptions, not {shown_value(given)}"
    if isinstance(given, Mapping) and all(isinstance(name, str) for name in given):
        words = ", ".join(f"{name}={shown_value(value)}" for name, value in given.items())
        return f"{said}; say options=RunOptions({words})"
    return f"{said}; say options=RunOptions(...), or leave it out"


def _check_place(node: Node, runner: str) -> None:
    """Whether a step may run where the run would have it; what the graph alone could tell, it has told.

    Raises:
        GraphError: It may not, and has asked for it.
        InputError: It may not, and the run has asked for it.
    """
    wrong = InputError if node.runner is None else GraphError
    if runner == "inline" and node.timeout is not None:
        raise wrong(
            f"step {node.id!r} has a timeout, and runner='inline' cannot stop a step; "
            f"leave out runner=, or give that step runner='threads'"
        )
    if runner == "processes" and node.kind == "step":
        from penstock.core.resources import check_processes
        from penstock.runners.processes import check_function

        try:
            check_function(node.call)
            check_processes(node)
        except (TypeError, ValueError) as error:
            raise wrong(f"step {node.id!r}: runner='processes': {error}") from None


def check_processes(graph: Graph) -> None:
    """Whether the steps that ask for processes may run there; for faces, when a graph is built.

    Raises:
        GraphError: One may not.
    """
    for node in graph.nodes:
        if node.runner == "processes":
            _check_place(node, "processes")


def _check_volatile(graph: Graph, plan: Plan) -> None:
    """Whether values that cannot leave this process stay in it, now that every step has its runner.

    Raises:
        InputError: One does not.
    """
    try:
        check_volatile(
            graph.nodes, graph.parents, lambda node: plan.runners[plan.runner[plan.index[node.id]]]
        )
    except GraphError as error:
        raise InputError(f"with runner='processes': {error}") from None


def _plan(graph: Graph, runner: str | None, awaiting: tuple[str, ...], targets: tuple[str, ...]) -> Plan:
    """The compiled graph, kept as long as the graph is."""
    key = (runner, awaiting, targets)
    plan = graph.compiled.get(key)
    if plan is None:
        plan = Plan(graph, runner=runner, awaiting=awaiting, targets=targets)
        if not {"inline", "processes"}.isdisjoint(plan.runners):
            for node, code in zip(plan.nodes, plan.runner, strict=True):
                _check_place(node, plan.runners[code])
        if "processes" in plan.runners and any(node.volatile for node in graph.nodes):
            _check_volatile(graph, plan)
        graph.compiled[key] = plan
    return plan


def _run_id() -> str:
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(4).hex()}"


def _in_loop() -> bool:
    """Whether an event loop runs in this thread, without importing asyncio to find out that none does."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def _in_thread(prepared: Prepared, *, alone: bool) -> Handle:
    handle = Handle(prepared.engine)

    def go() -> None:
        try:
            handle.finish(prepared.run(alone=alone), None)
        except BaseException as error:
            handle.finish(None, error)

    variables = copy_context()
    name = f"penstock-run-{prepared.engine.run_id}"
    threading.Thread(target=variables.run, args=(go,), name=name, daemon=True).start()
    return handle


def _run_beside_loop(prepared: Prepared) -> RunResult:
    """Runs to the end in another thread, while this one, with its event loop, waits.

    No step runs in that thread unless it asks to, for there no interrupt could end it. If something holds
    that thread up even so, the third interrupt leaves the run behind.
    """
    from penstock.core.interrupts import interrupts

    waits = False
    with interrupts(prepared.engine, lambda seen: waits and seen > 2) as ours:
        handle = _in_thread(prepared, alone=False)
        try:
            waits = True
            result = handle.result()
            waits = False
        except KeyboardInterrupt:
            waits = False
            if ours:
                raise
            handle.cancel("interrupted")  # somebody else's handler has raised it
            result = handle.result()
    return result


def _run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine on a loop of its own.

    Unlike `asyncio.run` it does not wait for tasks that refuse to end: those were abandoned, and reported.
    """
    import asyncio

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main)
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
