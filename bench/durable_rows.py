"""Rows about runs that are recorded: against raw SQLite on the same disk, and against the same run in memory.

Every repetition has a database of its own, made and opened before the clock starts and closed after it has
stopped, on both sides. At level `power` the clock is the wall's, for what is waited for is the disk.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench import durable_floors as floors
from bench import measure, shapes
from bench.durable_floors import Level, Raw, fresh_folder
from bench.measure import Call, Clock, Line, Pairs, Scale, Spread, micros, number, once
from bench.shapes import COROUTINE, NAPPING, SYNC, Family, Shape
from penstock import Flow, RunOptions, use

IN_FLIGHT = 64
LISTED = 50
MB = 1_000_000

Side = Callable[[Path], AbstractContextManager[Call]]
"""Makes ready in a folder what is to be timed."""

LEVELS: dict[Level, tuple[float, float]] = {"process": (1.7, 1.35), "power": (1.2, 1.05)}
"""Must and aim of a durable chain."""

CLOCKS: dict[Level, Clock] = {"process": "cpu", "power": "wall"}


# --- both sides -------------------------------------------------------------------------------------------


def open_store(path: Path) -> Any:
    """A store, as the engine opens it."""
    from penstock.stores.sqlite import SqliteStore

    return SqliteStore(path)


def stored(flow: Flow, store: Any, *, run_id: str, level: str = "process", most: int | None = None) -> Any:
    """A recorded run; of a run that has ended, its result."""
    given: dict[str, Any] = {"durability": level, "max_concurrency": most}
    return flow.run(store=store, run_id=run_id, options=RunOptions(**given))


def raw_side(level: Level, steps: int) -> Side:
    """The floor: a row and a commit a step."""
    rows = floors.bodies(steps)

    @contextmanager
    def ready(folder: Path) -> Iterator[Call]:
        raw = Raw(folder / "raw.db", level)
        try:
            yield lambda: floors.commit_each(raw, rows)
        finally:
            raw.close()

    return ready


def own_side(flow: Flow, level: Level, most: int | None = None) -> Side:
    """A recorded run."""

    @contextmanager
    def ready(folder: Path) -> Iterator[Call]:
        with open_store(folder / "own.db") as store:
            yield lambda: stored(flow, store, run_id="measured", level=level, most=most)

    return ready


def whole_raw(level: Level, steps: int) -> Side:
    """The floor, opening and closing its database too."""
    rows = floors.bodies(steps)

    @contextmanager
    def ready(folder: Path) -> Iterator[Call]:
        def call() -> None:
            raw = Raw(folder / "raw.db", level)
            floors.commit_each(raw, rows)
            raw.close()

        yield call

    return ready


def whole_own(flow: Flow, level: Level) -> Side:
    """A recorded run whose store is named, not given."""

    @contextmanager
    def ready(folder: Path) -> Iterator[Call]:
        yield lambda: stored(flow, f"sqlite:///{folder / 'own.db'}", run_id="measured", level=level)

    return ready


def alternate(first: Side, second: Side, pairs: int) -> Pairs:
    """A B A B …, each in a folder of its own, once before it counts."""
    found = Pairs([], [])
    for side in (first, second):
        with fresh_folder() as folder, side(folder) as call:
            call()
    for _ in range(pairs):
        for side, into in ((first, found.first), (second, found.second)):
            with fresh_folder() as folder, side(folder) as call:
                into.append(once(call))
    return found


def line(
    section: str,
    work: str,
    found: Pairs,
    steps: int,
    must: float | None = None,
    aim: float | None = None,
    clock: Clock = "cpu",
) -> Line:
    """A row by one of the clocks."""
    first, second = (micros(times, steps, clock) for times in found)
    return Line(section, work, first, second, found.ratio(clock), must=must, aim=aim)


def checked(flow: Flow, shape: Shape) -> Flow:
    """The flow, once it has given in a store what it gives without one."""
    last = [*shape.needs][-1]
    with fresh_folder() as folder, open_store(folder / "own.db") as store:
        kept = stored(flow, store, run_id="compared").outputs[last]
        again = stored(flow, store, run_id="compared").outputs[last]
    if not kept == again == flow.run().outputs[last]:
        raise AssertionError(f"{shape.name}: a recorded run gives {kept!r}, then {again!r}")
    return flow


# --- chains and wide graphs -------------------------------------------------------------------------------


def chains(scale: Scale) -> Iterator[Line]:
    """A chain: nothing can be recorded together, so it is a commit a step on both sides."""
    steps = scale.small
    shape = shapes.chain(steps)
    section = "Durable chains"
    for level, (must, aim) in LEVELS.items():
        for words, family in (("coroutines", COROUTINE), ("functions", SYNC)):
            flow = checked(shapes.flow_of(shape, family), shape)
            pairs = scale.pairs * (2 if level == "process" else 1)
            found = alternate(raw_side(level, steps), own_side(flow, level), pairs)
            work = f"chain, {steps:,}, {words}, level `{level}`"
            yield line(section, work, found, steps, must, aim, CLOCKS[level])
    flow = shapes.flow_of(shape, COROUTINE)
    found = alternate(whole_raw("process", steps), whole_own(flow, "process"), scale.pairs)
    yield line(section, f"chain, {steps:,}, coroutines, the files made and closed too", found, steps)
    yield appends(scale)


def appends(scale: Scale) -> Line:
    """The store alone: pages of one row, appended to a run."""
    from penstock.core.storage import Page

    steps = scale.small
    rows = floors.bodies(steps)

    @contextmanager
    def ready(folder: Path) -> Iterator[Call]:
        with open_store(folder / "own.db") as store:
            claim = store.create(*_entry("appended"), Page(1, ["[]"]))

            def call() -> None:
                for at, row in enumerate(rows, 2):
                    store.append(claim, Page(at, (row,)))

            yield call

    found = alternate(raw_side("process", steps), ready, scale.pairs)
    return line("Durable chains", f"{steps:,} rows appended to the store, no run, `process`", found, steps)


def wide(scale: Scale) -> Iterator[Line]:
    """A wide graph at level `power`: what ends together is recorded together."""
    shape = shapes.wide(scale.items)
    steps = len(shape.needs)
    for words, family, most in (
        (f"coroutines, capped at {IN_FLIGHT}", COROUTINE, IN_FLIGHT),
        (f"`sleep(0)`, capped at {IN_FLIGHT}", NAPPING, IN_FLIGHT),
        ("coroutines, uncapped", COROUTINE, None),
    ):
        flow = checked(shapes.flow_of(shape, family), shape)
        found = alternate(raw_side("power", steps), own_side(flow, "power", most), scale.rounds)
        work = f"wide, {steps:,}, {words}, level `power`"
        yield line("Durable wide graphs, beside a commit a step", work, found, steps, 0.1, 0.04, "wall")


def maps(scale: Scale) -> Iterator[Line]:
    """A large map, recorded, against the same map in memory."""
    items = scale.large
    section = "Durable maps, beside the same in memory"
    clock: Clock
    for words, family, clock, must in (
        ("coroutine", COROUTINE, "cpu", 4.0),
        ("functions in threads", SYNC, "wall", None),
    ):
        flow = shapes.map_flow(items, family)

        @contextmanager
        def in_memory(folder: Path, flow: Flow = flow) -> Iterator[Call]:
            yield flow.run

        found = alternate(in_memory, own_side(flow, "process"), scale.large_pairs)
        yield line(section, f"map of {items:,}, {words}", found, items, must, clock=clock)


# --- resuming ---------------------------------------------------------------------------------------------


class Written(NamedTuple):
    """A run on disk.

    Attributes:
        path: Of its database.
        flow: What has been run.
        outputs: What it gave.
    """

    path: Path
    flow: Flow
    outputs: Any


def resume(scale: Scale) -> Iterator[Line]:
    """Going on with a run that has ended, and with one that was killed in its last step."""
    section = "Resuming, beside reading and decoding the rows"
    steps = scale.large
    for make in (shapes.layered, shapes.chain, shapes.wide):
        shape = make(steps)
        with fresh_folder() as folder:
            flow = shapes.flow_of(shape, COROUTINE)
            path = folder / "own.db"
            with open_store(path) as store:
                result = stored(flow, store, run_id="measured")
            written = Written(path, flow, dict(result.outputs))
            del result
            found = alternate(_reading(path), _finished(written), scale.large_pairs)
        work = f"a finished run, {shape.name}, {len(shape.needs):,}"
        yield line(section, work, found, len(shape.needs), 6.0, 3.0)
    with fresh_folder() as folder:
        path = folder / "cut.db"
        _kill(path, steps)
        found = alternate(_reading(path), _going_on(path, steps), scale.large_pairs)
    yield line(section, f"a chain killed in its last step, {steps:,}", found, steps)


def _reading(path: Path) -> Side:
    """The floor; it copies nothing, for it changes nothing."""

    @contextmanager
    def ready(_folder: Path) -> Iterator[Call]:
        yield lambda: floors.read_all(path)

    return ready


def _finished(written: Written) -> Side:
    @contextmanager
    def ready(_folder: Path) -> Iterator[Call]:
        with open_store(written.path) as store:

            def call() -> None:
                result = stored(written.flow, store, run_id="measured")
                if result.outputs != written.outputs:
                    raise AssertionError("a resumed run gives something else")

            yield call

    return ready


def _going_on(path: Path, steps: int) -> Side:
    flow = _cut_flow(steps)

    @contextmanager
    def ready(folder: Path) -> Iterator[Call]:
        for file in path.parent.glob(f"{path.name}*"):  # its log, and what else a crash leaves
            shutil.copy(file, folder / file.name)
        with open_store(folder / path.name) as store:

            def call() -> None:
                result = stored(flow, store, run_id="measured")
                if result.outputs["last"] != steps:
                    raise AssertionError("a resumed run gives something else")

            yield call

    return ready


fatal = False
"""Whether the last step of `cut` kills its process."""


def _last(x: int) -> int:
    if fatal:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)
    return x + 1


def _cut_flow(steps: int) -> Flow:
    flow = Flow("cut")
    before: Any = flow.add(COROUTINE.none, name="s0")
    for at in range(1, steps - 1):
        before = flow.add(COROUTINE.one, name=f"s{at}", x=use(before))
    flow.add(_last, name="last", x=use(before))
    return flow


def cut(path: str, steps: int) -> None:
    """In a process of its own: a run that does not live to see its end."""
    global fatal
    fatal = True
    stored(_cut_flow(steps), f"sqlite:///{path}", run_id="measured")


def _kill(path: Path, steps: int) -> None:
    code = "import sys; from bench.durable_rows import cut; cut(sys.argv[1], int(sys.argv[2]))"
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(steps)], cwd=root, capture_output=True, text=True
    )
    if done.returncode != -9:
        raise AssertionError(f"the run was to be killed, and ended with {done.returncode}: {done.stderr}")


# --- on disk ----------------------------------------------------------------------------------------------


def sizes(scale: Scale) -> Iterator[Line]:
    """What a step takes on disk, all of the file counted: rows, indexes, catalog and free space."""
    for words, flow, steps in _sized(scale):
        with fresh_folder() as folder:
            path = folder / "own.db"
            with open_store(path) as store:
                stored(flow, store, run_id="measured")
            text = floors.letters(path)
            per_step = sum(one.stat().st_size for one in folder.rglob("*") if one.is_file()) / steps
        yield Line(
            "The journal on disk",
            f"bytes a step, {words}, {steps:,}, values of a few digits included",
            f"{number(text / steps)} bytes of text",
            f"{number(per_step)} bytes",
            Spread(per_step, per_step, per_step),
            " bytes",
            must=300.0,
        )


def _sized(scale: Scale) -> Iterator[tuple[str, Flow, int]]:
    family: Family = COROUTINE
    for make in (shapes.chain, shapes.wide, shapes.layered):
        shape = make(scale.items)
        yield shape.name, shapes.flow_of(shape, family), len(shape.needs)
    yield "map", shapes.map_flow(scale.items, family), scale.items


def listing(scale: Scale) -> Iterator[Line]:
    """The newest 50 runs of a small journal and of a large one."""
    large = 1_000 * MB if scale.large >= 100_000 else 20 * MB
    if floors.free() < 3 * large:
        print(f"  not measured: listing, for there is no room for a journal of {large // MB:,} MB")
        return
    with fresh_folder() as folder:
        small_path, large_path = folder / "small.db", folder / "large.db"
        fill(small_path, runs=100, size=MB // 100)
        began = time.perf_counter()
        fill(large_path, runs=1_000, size=large // 1_000)
        filled = time.perf_counter() - began
        held = large_path.stat().st_size
        work = f"a journal of {held // MB:,} MB (written in {number(filled)} s) ÷ one of 1 MB"
        with open_store(small_path) as few, open_store(large_path) as many:
            listed = _taking_turns(lambda: _list(few), lambda: _list(many), scale.pairs)
        yield line("Listing 50 runs", f"{work}, both open", listed, LISTED, 3.0)
        opened = _taking_turns(
            lambda: _open_and_list(small_path), lambda: _open_and_list(large_path), scale.pairs
        )
        yield line("Listing 50 runs", f"{work}, opened and closed too", opened, LISTED, 3.0)


def _taking_turns(first: Call, second: Call, pairs: int) -> Pairs:
    first()
    second()
    return measure.alternate(first, second, pairs)


def _open_and_list(path: Path) -> None:
    with open_store(path) as store:
        _list(store)


def _list(store: Any) -> None:
    if len(store.runs(limit=LISTED)) != LISTED:
        raise AssertionError(f"there are not {LISTED} runs")


def fill(path: Path, runs: int, size: int) -> None:
    """Writes that many runs of that many bytes, in rows of 100 KB at most."""
    from penstock.core.storage import Page

    body = "x" * min(size, 100_000)
    with open_store(path) as store:
        for at in range(runs):
            claim = store.create(*_entry(f"run-{at}"), Page(1, [body]))
            rest = size // len(body) - 1
            if rest:
                store.append(claim, Page(2, [body] * rest))
            store.append(claim, Page(2 + rest, ["[]"], status="succeeded"))


def _entry(run_id: str) -> tuple[Any, Any, float]:
    """What a run is created with: its entry, its owner, and how long the claim holds."""
    import os
    import socket

    from penstock.core.storage import Owner, RunEntry

    owner = Owner(socket.gethostname(), "", os.getpid(), "")
    entry = RunEntry(run_id, "bench", "running", time.time(), time.time(), {"made": "by the bench"})
    return entry, owner, 3_600.0
