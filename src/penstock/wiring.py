"""From words to parts: the one place that knows which runner a name means and puts an engine together."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import nullcontext
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO, cast

from penstock.core.amounts import shown as shown_value
from penstock.core.checks import check_volatile
from penstock.core.engine import Engine
from penstock.core.errors import GraphError, InputError, nearest
from penstock.core.graph import Graph
from penstock.core.handle import Handle
from penstock.core.model import NOTHING, Node, RunOptions, RunStatus
from penstock.core.plan import Plan
from penstock.core.ports import RUNNERS, Pool, Runner, no_runner
from penstock.core.result import RunResult
from penstock.core.shells import run_here, run_on_loop
from penstock.core.stand_ins import STAND_INS
from penstock.core.storage import Store, StoreWord
from penstock.core.subgraph import restrict
from penstock.core.views import Ended, result_of

if TYPE_CHECKING:
    from pathlib import Path

    from penstock.config import Config
    from penstock.core.codec import Codec
    from penstock.core.history import History, StoredRun
    from penstock.core.hooks import Hook
    from penstock.core.keeping import Kept


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
    """A run that is ready to begin.

    Attributes:
        hooks: What is called with its result, in order.
        inputs: As the run has them, however it came to them.
    """

    _over: float | None = None  # when it ended, if it had before

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
        kept: Kept | None = None,
    ) -> None:
        self.hooks: Sequence[Hook] = ()
        self._graph = graph
        if options is not None and not isinstance(options, RunOptions):
            raise InputError(_not_options(options))
        if kept is not None:
            targets, override, options = kept.again(graph, inputs, targets, override, options)
        options = options or _DEFAULTS
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
        self.inputs = inputs = _inputs(graph, part, inputs, kept)
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
            kept.run_id if kept is not None else new_run_id(),
            given=(override, targets),
            clock=clock,
            durable=kept.durable(plan, inputs, options) if kept is not None else None,
        )
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
        with interrupts(engine, self._raises) if main else nullcontext():
            if self.engine.plan.needs_loop or "aio" in self.runners:
                _run_loop(self._on_loop())
            else:
                if alone and self._own_runners:
                    engine.lone = inline.make
                run_here(engine, inline.pump)
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
            warnings=engine.warnings,
            now=engine.clock() if self._over is None else self._over,
        )
        if engine.durable is not None:
            if engine.durable.parked:
                result.status = RunStatus.WAITING
            store = engine.durable.store
            where = store.url if store.durable else store
            result.load = partial(_load, where, engine.run_id, self._graph)
        return result


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
    kept = Kept(opened, _codec(opened, graph), new_run_id() if run_id is None else run_id, target, owned=ours)
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


def open_store(where: StoreWord, *, read_only: bool = False) -> tuple[Store, bool]:
    """A store, and whether it was opened by this call, and so must be closed by the caller.

    Args:
        where: A store; ``"sqlite:///runs.db"``, or the path alone, for a file of SQLite; ``"memory:"``.
        read_only: Nothing is made or written; one that is handed in is as it is.

    Raises:
        InputError: It is none of these.
        StoreError: It cannot be opened.
    """
    if isinstance(where, os.PathLike) or (isinstance(where, str) and where):
        word = os.fspath(where)
        if word == "memory:":
            from penstock.stores.memory import MemoryStore

            return MemoryStore(), True
        scheme, colon, path = word.partition("://")
        if not colon or scheme == "sqlite":
            from penstock.stores.sqlite import SqliteStore

            return SqliteStore(path.removeprefix("/") if colon else word, read_only=read_only), True
        raise InputError(f"there is no store {word!r}: say 'sqlite:///runs.db', a path, or 'memory:'")
    if isinstance(where, type) or not isinstance(where, Store):
        raise InputError(
            f"store takes a path, a word such as 'sqlite:///runs.db', or a store, not {shown_value(where)}"
        )
    return where, False


def _load(where: str | Store, run_id: str, graph: Graph, id: str) -> Any:
    """What a node has come to, from where the run is kept: the way to a value that is not in memory any more.

    Raises:
        StoreError: It cannot be read.
        KeyError: There is none.
    """
    from penstock.core.resume import value_of

    store, ours = open_store(where)
    try:
        return value_of(store, run_id, graph, id, _codec(store, graph).decode)
    finally:
        if ours:
            store.close()


def texts(graph: Graph) -> Callable[[Any], str]:
    """What makes the text of a value as a store of this graph's runs would have it; nothing is stored, and
    any thread may call it."""
    return _codec(None, graph).encode


def open(store: StoreWord, *, types: Iterable[type] = ()) -> History:
    """The runs of a store, to be looked at, answered, cancelled and tidied up; to be used in a ``with``.

    Args:
        store: What `open_store` takes. A file must be there; it is opened for writing when something is asked
            of a run, and not before.
        types: Classes of stored values that are not registered: then outputs can be decoded.

    Raises:
        InputError: It is no store, or `types` are no classes.
        StoreError: It cannot be opened.
    """
    from penstock.codecs import find
    from penstock.core.codec import Codec, types_of
    from penstock.core.history import History

    classes = [types] if isinstance(types, type) else list(types)
    for one in classes:
        if not isinstance(one, type):
            raise InputError(f"types is a list of classes, not of {shown_value(one)}")
    known = {found for one in classes for found in types_of(one)}
    opened, ours = open_store(store, read_only=True)
    return History(
        opened,
        Codec(opened, known, sockets=find),
        types=known,
        writable=(lambda: open_store(store)[0]) if ours else None,
        owned=ours,
    )


def _codec(store: Store | None, graph: Graph) -> Codec:
    from penstock.codecs import find
    from penstock.core.codec import Codec
    from penstock.core.keeping import types_in
    from penstock.core.recorder import PatientValues

    return Codec(None if store is None else PatientValues(store), types_in(graph), sockets=find)


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


def shown_runs(runs: Sequence[StoredRun], stream: TextIO) -> str:
    """A table of stored runs, as that stream can show it."""
    from penstock.observers import stored
    from penstock.observers.marks import Signs

    return stored.text(stored.table(runs, Signs(stream.encoding), time.time()), stream)


def shown_run(
    run: StoredRun, stream: TextIO, *, step: str | None = None, events: bool = False
) -> Iterator[str]:
    """A stored run as that stream can show it, in parts: all of it, one step, or its events.

    Raises:
        KeyError: There is no such step.
    """
    from penstock.observers import stored
    from penstock.observers.marks import Signs

    signs = Signs(stream.encoding)
    if events:
        for line in stored.events(run):
            yield stored.text([line], stream)
    else:
        yield stored.text(stored.page(run, signs) if step is None else stored.step(run, step, signs), stream)


def diagnosis(path: str) -> tuple[list[str], list[str]]:
    """What is wrong with a store in a file, and what else should be known of it, in lines for people.

    Raises:
        StoreError: It cannot be opened.
    """
    from penstock.stores.sqlite import SqliteStore
    from penstock.stores.sqlite.care import hazards

    with SqliteStore(path, read_only=True) as store:
        return store.check(), hazards()


def salvage(path: str, to: str) -> list[str]:
    """Copies what is sound of a store in a file into a new one; gives what was left out.

    Raises:
        StoreError: There is something at `to`, or nothing could be read.
    """
    from penstock.stores.sqlite import salvage

    return salvage(path, to)


def store_path(word: str) -> str | None:
    """The file that a word for a store stands for; None if it is in memory.

    Raises:
        InputError: It is no such word.
    """
    if word == "memory:":
        return None
    scheme, colon, path = word.partition("://")
    if colon and scheme != "sqlite":
        raise InputError(f"there is no store {word!r}: say 'sqlite:///runs.db', or a path")
    return path.removeprefix("/") if colon else word


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


def _inputs(graph: Graph, part: Graph, given: Mapping[str, Any], kept: Kept | None) -> Mapping[str, Any]:
    """The inputs of a run: those given, those that it had before, and defaults.

    Args:
        graph: Whole.
        part: What of it is run.
        given: By name.
        kept: The run, if it is kept somewhere.

    Raises:
        InputError: One is missing or unknown.
    """
    if kept is not None:
        given = kept.inputs(graph, given)
    inputs = {name: value for name, value in complete(graph, given).items() if name in part.inputs}
    if kept is None:
        return inputs
    inputs = {**kept.own_inputs(graph), **inputs}
    for name, one in part.inputs.items():
        if name not in inputs:
            user = f" (step {one.users[0]!r})" if one.users else ""
            raise InputError(f"flow {graph.name!r} needs the input {name!r}{user}")
    return inputs


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
    if runner == "inline" and node.timeout is not None and node.kind != "gate":
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
