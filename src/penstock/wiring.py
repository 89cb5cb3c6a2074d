"""From words to parts: the one place that knows which runner a name means and puts an engine together."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import nullcontext
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TextIO

from penstock.core.engine import Engine
from penstock.core.errors import InputError, nearest
from penstock.core.graph import Graph
from penstock.core.handle import Handle
from penstock.core.model import NOTHING, RunOptions
from penstock.core.plan import Plan
from penstock.core.ports import Runner
from penstock.core.result import RunResult
from penstock.core.shells import run_here, run_on_loop
from penstock.core.subgraph import restrict
from penstock.core.views import result_of

if TYPE_CHECKING:
    from pathlib import Path

RUNNERS = ("aio", "inline", "threads")


def make_runner(name: str) -> Runner:
    """A fresh runner by its name.

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
    raise InputError(f"there is no runner {name!r}{nearest(name, RUNNERS)} (one of {', '.join(RUNNERS)})")


class Prepared:
    """A run that is ready to begin."""

    def __init__(
        self,
        graph: Graph,
        inputs: Mapping[str, Any],
        *,
        targets: Sequence[str] | None = None,
        override: Mapping[str, Any] | None = None,
        runner: str | Runner | None = None,
        options: RunOptions | None = None,
    ) -> None:
        options = options or RunOptions()
        given: Mapping[str, Runner] = {}
        self._own_runners = runner is None or isinstance(runner, str)
        if runner is not None and not isinstance(runner, str):
            given, runner = {"given": runner}, "given"
        part = restrict(graph, targets, override)
        inputs = {name: value for name, value in complete(graph, inputs).items() if name in part.inputs}
        plan = _plan(part, runner, tuple(targets or ()))
        if runner == "inline":
            for node in plan.nodes:
                if node.timeout is not None and not node.is_async and node.runner is None:
                    raise InputError(
                        f"step {node.id!r} has a timeout, and runner='inline' cannot stop a step; "
                        f"leave out runner=, or give that step runner='threads'"
                    )
        self.runners: dict[str, Runner] = {
            name: given[name] if name in given else make_runner(name) for name in plan.runners
        }
        self.inline: Any = self.runners.get("inline") or make_runner("inline")
        self.engine = Engine(
            plan,
            inputs,
            options,
            self.runners,
            _run_id(),
            override=override,
            targets=targets,
        )

    def run(self, *, alone: bool = True) -> RunResult:
        """Runs to the end in this thread.

        Args:
            alone: The caller waits here, so a step that is alone may run here too.
        """
        from penstock.core.interrupts import interrupts

        engine, inline = self.engine, self.inline
        inline.open(engine.mailbox, engine.clock)
        main = threading.current_thread() is threading.main_thread()
        with interrupts(engine, self._busy, self._blocked) if main else nullcontext():
            if self.engine.plan.needs_loop or "aio" in self.runners:
                _run_loop(self._on_loop())
            else:
                if alone and self._own_runners:
                    engine.use_lone_runner(inline.make)
                run_here(engine, inline.pump)
        return self.result()

    def _busy(self) -> bool:
        """Whether plain code of the user runs in the engine's thread, where an interrupt may be raised."""
        return bool(self.inline.busy) or self.engine.busy

    def _blocked(self) -> bool:
        """Whether an async step holds the event loop; if it lets go of it soon, it is cancelled in order."""
        return getattr(self.runners.get("aio"), "busy", False)

    async def arun(self) -> RunResult:
        """Runs to the end on the running loop."""
        self.inline.open(self.engine.mailbox, self.engine.clock)
        await self._on_loop()
        return self.result()

    async def _on_loop(self) -> None:
        aio: Any = self.runners.get("aio")
        await run_on_loop(
            self.engine,
            self.inline.pump if "inline" in self.runners else None,
            aio.drive if aio is not None else None,
            aio.closed if aio is not None else None,
        )

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


def run(graph: Graph, inputs: Mapping[str, Any], **how: Any) -> RunResult:
    """Runs a graph to its end and waits for it, inside a running event loop too.

    Args:
        graph: What runs.
        inputs: By name.
        how: `targets`, `override`, `runner`, `options`; see `Prepared`.

    Raises:
        InputError: What was given does not fit the graph; nothing has started.
    """
    prepared = Prepared(graph, inputs, **how)
    if not _in_loop():
        return prepared.run()
    handle = _in_thread(prepared, alone=True)
    try:
        return handle.result()
    except KeyboardInterrupt:
        handle.cancel("interrupted")
        return handle.result()


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


def shown(text: str) -> str:
    """One line of somebody's text as a terminal may have it: nothing in it can move the cursor."""
    from penstock.observers.page import clean

    return clean(text)


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


def _plan(graph: Graph, runner: str | None, targets: tuple[str, ...]) -> Plan:
    """The compiled graph, kept as long as the graph is."""
    key = (runner, targets)
    plan = graph.compiled.get(key)
    if plan is None:
        plan = graph.compiled[key] = Plan(graph, runner=runner, targets=targets)
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
