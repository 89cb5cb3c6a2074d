"""Rows about memory. Each figure comes from a fresh process: `python -m bench.memory WHAT SHAPE STEPS`."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from bench.measure import Line, Scale, Spread, number

ROOT = Path(__file__).resolve().parents[1]
SECTION = "Memory"


def memory(scale: Scale) -> Iterator[Line]:
    """Bytes per step and per item, values excluded: every step gives None."""
    for shape in ("chain", "wide", "layered"):
        floor = _ask("floor", shape, scale.large)
        own = _ask("run", shape, scale.large)
        kept = own["graph"] + own["plan"] + own["machine"]
        yield _line(
            f"graph, plan and machine, {shape}, {scale.large:,}",
            f"{number(floor['kept'])} KB",
            f"{number(own['graph'])} + {number(own['plan'])} + {number(own['machine'])} KB",
            kept,
            must=0.8,
            aim=0.5,
        )
        yield _line(
            f"at its peak, the flow's definitions too, {shape}, {scale.large:,}",
            f"{number(floor['peak'])} KB",
            f"{number(own['flow'])} + … = {number(own['peak'])} KB",
            own["peak"],
        )
    floor, own = _ask("floor-rss", "layered", scale.large), _ask("run-rss", "layered", scale.large)
    yield _line(
        f"resident set, all of it, layered, {scale.large:,}",
        f"{number(floor['rss'])} KB",
        f"{number(own['rss'])} KB",
        own["rss"],
    )
    floor, own = _ask("floor", "map", scale.large), _ask("map", "map", scale.large)
    yield _line(
        f"an item of a map of {scale.large:,}",
        f"{number(floor['kept'])} KB",
        f"{number(own['machine'])} KB (at its peak {number(own['peak'])})",
        own["machine"],
    )


def _line(
    work: str, floor: str, own: str, kb: float, must: float | None = None, aim: float | None = None
) -> Line:
    return Line(SECTION, work, floor, own, Spread(kb, kb, kb), " KB", must, aim)


def _ask(what: str, shape: str, steps: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.memory", what, shape, str(steps)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


# --- inside the process of its own ------------------------------------------------------------------------


def _probe(what: str, name: str, steps: int) -> dict[str, float]:
    from bench import shapes

    if what == "map":
        return _probe_map(steps)
    if name == "map":
        shape = shapes.wide(steps)
    else:
        shape = {"chain": shapes.chain, "wide": shapes.wide, "layered": shapes.layered}[name](steps)
    run = _probe_floor if what.startswith("floor") else _probe_run
    if what.endswith("rss"):
        gc.collect()
        before = resident_peak()
        _, resident = run(shape, lambda: float(resident_peak()))
        return {"rss": (resident - before) / steps / 1000}
    tracemalloc.start()
    marks, peak = run(shape, lambda: float(tracemalloc.get_traced_memory()[0]))
    return {**{key: value / steps / 1000 for key, value in marks.items()}, "peak": peak / steps / 1000}


def _probe_floor(shape: Any, size: Callable[[], float]) -> tuple[dict[str, float], float]:
    """What `graphlib` and a dict hold at the end of a run."""
    from bench import shapes

    calls, needs = shapes.dag_of(shape, shapes.EMPTY)
    gc.collect()
    before = size()
    values: dict[str, Any] = {}
    sorter = TopologicalSorter(needs)
    for step in sorter.static_order():
        values[step] = calls[step](*[values[need] for need in needs[step]])
    peak = _peak(size) - (before if tracemalloc.is_tracing() else 0.0)
    return {"kept": size() - before}, peak


def _probe_run(shape: Any, size: Callable[[], float]) -> tuple[dict[str, float], float]:
    """The stages of a run, and what each of them leaves."""
    from bench import shapes
    from penstock.core.model import RunOptions
    from penstock.core.plan import Plan
    from penstock.wiring import Prepared

    Prepared(shapes.flow_of(shapes.wide(10), shapes.EMPTY).graph(), {}, runner="inline").run()  # imports
    gc.collect()
    start = size()
    flow = shapes.flow_of(shape, shapes.EMPTY)
    flow_mark = size()
    graph = flow.graph()
    gc.collect()
    graph_mark = size()
    plan = Plan(graph, runner="inline")
    gc.collect()
    plan_mark = size()
    del plan
    gc.collect()
    prepared = Prepared(graph, {}, runner="inline", options=RunOptions())
    result = prepared.run()
    gc.collect()
    end = size()
    assert result.status.value == "succeeded"
    marks = {
        "flow": flow_mark - start,
        "graph": graph_mark - flow_mark,
        "plan": plan_mark - graph_mark,
        "machine": end - plan_mark,
    }
    peak = _peak(size) - (start if tracemalloc.is_tracing() else 0.0)
    return marks, peak


def _probe_map(items: int) -> dict[str, float]:
    from bench import shapes
    from penstock import Flow, each, gather
    from penstock.wiring import Prepared

    elements: list[None] = [None] * items
    flow = Flow("map")

    def source() -> list[None]:
        return elements

    def total(values: list[None]) -> int:
        return len(values)

    whole = flow.add(source)
    item = flow.add(shapes.EMPTY.one, name="item", x=each(whole))
    flow.add(total, values=gather(item))
    graph = flow.graph()
    Prepared(shapes.map_flow(10, shapes.SYNC).graph(), {}, runner="inline").run()
    tracemalloc.start()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    prepared = Prepared(graph, {}, runner="inline")
    result = prepared.run()
    gc.collect()
    now, peak = tracemalloc.get_traced_memory()
    assert result.outputs["total"] == items
    return {"machine": (now - before) / items / 1000, "peak": (peak - before) / items / 1000}


def _peak(size: Callable[[], float]) -> float:
    return float(tracemalloc.get_traced_memory()[1]) if tracemalloc.is_tracing() else size()


def resident_peak() -> int:
    """Bytes of this process in memory, at their most so far.

    Not `ru_maxrss` where it can be helped: under Linux it begins with the size of the parent.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(found["VmHWM"].split()[0]) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    print(json.dumps(_probe(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
