"""Runs: put together from a graph, options and parts, and driven to their end."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Coroutine, Mapping, MutableMapping, Sequence
from contextlib import nullcontext
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from penstock.core.checks import APART
from penstock.core.engine import Engine
from penstock.core.errors import InputError
from penstock.core.graph import Graph
from penstock.core.handle import Handle
from penstock.core.model import RunOptions, RunStatus
from penstock.core.ports import AtOnce, Observer, Runner
from penstock.core.result import RunResult
from penstock.core.shells import run_here, run_on_loop
from penstock.core.stand_ins import STAND_INS
from penstock.core.storage import StoreWord
from penstock.core.subgraph import restrict
from penstock.core.views import Ended, result_of

from .fitting import earlier, not_options, plan_of, run_inputs
from .reports import page_of
from .runners import lent_runner, make_runner
from .stores import codec_for, open_store, stored_run, value_in
from .watchers import for_one_run

if TYPE_CHECKING:
    from penstock.core.aside import Aside
    from penstock.core.hooks import Hook
    from penstock.core.keeping import Kept
    from penstock.core.ports import RunsOn

_DEFAULTS = RunOptions()


class Prepared:
    """A run that is ready to begin.

    Attributes:
        hooks: What is called with its result, in order.
        inputs: As the run has them, however it came to them.
    """

    _over: float | None = None  # when it ended, if it had before
    _aside: Aside | None = None

    def __init__(
        self,
        graph: Graph,
        inputs: Mapping[str, Any],
        *,
        targets: Sequence[str] | None = None,
        override: Mapping[str, Any] | None = None,
        runner: RunsOn = None,
        options: RunOptions | None = None,
        shared: MutableMapping[Any, Any] | None = None,
        kept: Kept | None = None,
    ) -> None:
        self.hooks: Sequence[Hook] = ()
        self._graph = graph
        if options is not None and not isinstance(options, RunOptions):
            raise InputError(not_options(options))
        if kept is not None:
            targets, override, options = kept.again(graph, inputs, targets, override, options)
        options = options or _DEFAULTS
        stand_ins, clock = STAND_INS.get(), None
        if stand_ins is not None:
            options, clock = stand_ins.options(options), stand_ins.clock()
        ours = runner is None or isinstance(runner, str) or getattr(runner, "is_usual", False)
        given = lent_runner(runner, options)
        name = given.name if given is not None else cast("str | None", runner)
        apart = name in APART  # then no step runs in this process, not even one that is alone
        self._own_runners = stand_ins is None and not apart and ours
        awaiting = ("aio",) if given is None or not given.awaits else ("aio", given.name)
        part = restrict(graph, targets, override)
        self.inputs = inputs = run_inputs(graph, part, inputs, kept)
        durations = earlier(part, kept) if stand_ins is None else {}
        plan = plan_of(part, name, awaiting, tuple(targets or ()), durations)
        self.runners: dict[str, Runner] = {
            name: given if given is not None and name == given.name else make_runner(name, options)
            for name in plan.runners
        }
        if stand_ins is not None:
            self.runners = {name: stand_ins.runner(name, usual) for name, usual in self.runners.items()}
        self.inline: Any = self.runners.get("inline") or make_runner("inline", options)
        run_id = kept.run_id if kept is not None else new_run_id()
        options = for_one_run(options, run_id, graph, kept)
        self.engine = Engine(
            plan,
            inputs,
            options,
            self.runners,
            run_id,
            given=(override, targets),
            clock=clock,
            durable=kept.durable(plan, inputs, options) if kept is not None else None,
        )
        if options.observers and stand_ins is None:  # whose plays depend on no other thread
            self._stand_aside(options.observers)
        if shared is not None:
            self.engine.machine.state.shared = shared
        for one in self.runners.values():
            self._listen(one)
        self._known = None if stand_ins is None else stand_ins.ready(self)
        if kept is not None and kept.is_over:
            self._known = self._recorded(kept)

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
        try:
            with interrupts(engine, self._raises) if main else nullcontext():
                if self.engine.plan.needs_loop or "aio" in self.runners:
                    _run_loop(self._on_loop())
                else:
                    if alone and self._own_runners:
                        engine.lone = inline.make
                    run_here(engine, inline.pump)
        finally:
            if self._aside is not None:
                self._aside.finish(engine.options.grace)
        result = self.result()
        if self.hooks:
            from penstock.core.hooks import run_hooks

            result.warnings += tuple(run_hooks(self.hooks, result))
        return result

    def _recorded(self, kept: Kept) -> RunResult:
        """What a run has come to that is over already."""
        kept.replay(self.engine.machine.state)
        self._over = kept.ended
        result = self.result()
        kept.close()
        return result

    def _stand_aside(self, observers: Sequence[Observer]) -> None:
        """Has observers told in a thread of their own, but for those that are to be told at once."""
        others = [one for one in observers if not isinstance(one, AtOnce)]
        if others:
            from penstock.core.aside import Aside

            self._aside = Aside(others, self.engine.run_id)
            self.engine.add_observer(self._aside.hear, instead_of=others)

    def _listen(self, runner: Any) -> None:
        """Lets a runner that has more to say than its replies say it in the run's warnings."""
        if hasattr(runner, "warn"):
            runner.warn = self.engine.warnings.append
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
        if self.engine.durable is not None:
            self.engine.durable.awaits_commits = True
        try:
            await self._on_loop()
        finally:
            if self._aside is not None:
                await self._aside.afinish(self.engine.options.grace)
            put_down = self.engine.durable is not None and self.engine.durable.parked
            result = self.result() if put_down or self.engine.finished else None  # of a cancelled caller too
            if result is not None and self.hooks:
                from penstock.core.hooks import arun_hooks

                result.warnings += tuple(await arun_hooks(self.hooks, result))
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
        result = result_of(
            engine.machine.state,
            engine.run_id,
            abandoned=engine.abandoned,
            warnings=engine.warnings if self._aside is None else engine.warnings + self._aside.warnings,
            now=engine.clock() if self._over is None else self._over,
        )
        if engine.durable is not None:
            if engine.durable.parked:
                result.status = RunStatus.WAITING
            store = engine.durable.store
            where = store.url if store.durable else store
            result.load = partial(value_in, where, engine.run_id, self._graph)
            result.stored = partial(stored_run, where, engine.run_id)
        result.usage = engine.usage
        url = "" if engine.durable is None else engine.durable.store.url
        result.page = partial(page_of, self._graph, engine.options.max_concurrency, url)
        return result


def prepared(
    graph: Graph,
    inputs: Mapping[str, Any],
    *,
    store: StoreWord = None,
    run_id: str | None = None,
    target: str | None = None,
    hooks: Sequence[Hook] = (),
    own: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
    **how: Any,
) -> Prepared:
    """A run that is ready to begin, or to go on.

    Args:
        graph: What runs.
        inputs: By name.
        store: Where it is kept: a store, or what `open_store` takes; None for nowhere.
        run_id: Of the run; one that the store knows goes on. None for a new run.
        target: What the command line was given to find the graph; kept with the run.
        hooks: What is called with the result, in order.
        own: What a face keeps with the run besides the inputs of its graph; see `Kept`.
        how: See `Prepared`.

    Raises:
        InputError: What was given does not fit the graph; nothing has started.
        StoreError: The store cannot be used.
        RunBusy: Another process drives the run.
        RunExists: The run was given something else.
        GraphChanged: The code is not what a finished part of the run was made with.
    """
    if store is None:
        if run_id is not None:
            raise InputError("run_id names a run of a store; say store='runs.db' too")
        made = Prepared(graph, inputs, **how)
        made.hooks = hooks
        return made
    from penstock.core.keeping import Kept

    opened, ours = open_store(store)
    kept = Kept(
        opened, codec_for(opened, graph), new_run_id() if run_id is None else run_id, target, owned=ours
    )
    kept.version = sys.modules["penstock"].__version__
    try:
        if own is not None:
            kept.own = own
        if run_id is not None:
            kept.look()
        made = Prepared(graph, inputs, kept=kept, **how)
    except BaseException:
        kept.release()
        raise
    made.hooks = hooks
    return made


def run(graph: Graph, inputs: Mapping[str, Any], **how: Any) -> RunResult:
    """Runs a graph to its end and waits for it, inside a running event loop too.

    Args:
        graph: What runs.
        inputs: By name.
        how: `targets`, `override`, `runner`, `options`, `hooks`, `store`, `run_id`; see `prepared`.

    Raises:
        InputError: What was given does not fit the graph; nothing has started.
    """
    return run_prepared(prepared(graph, inputs, **how))


def run_prepared(prepared: Prepared) -> RunResult:
    """As `run`, of a run that its caller has put together, so as to cancel it or look at it meanwhile."""
    if not _in_loop():
        return prepared.run()
    return _run_beside_loop(prepared)


async def arun(graph: Graph, inputs: Mapping[str, Any], **how: Any) -> RunResult:
    """As `run`, on the running event loop. A cancelled caller cancels the run, and waits for its end."""
    return await prepared(graph, inputs, **how).arun()


def start(graph: Graph, inputs: Mapping[str, Any], **how: Any) -> Handle:
    """As `run`, in a thread of its own; gives the handle at once."""
    return _in_thread(prepared(graph, inputs, **how), alone=False)


def new_run_id() -> str:
    """An id for a new run: when it was begun, and what tells it from others."""
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
