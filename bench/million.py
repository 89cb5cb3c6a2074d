"""Rows about a map of a million items. Each is of a fresh process: `python -m bench.million WHAT N`."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.measure import Line, Scale, Spread, median, number, once, spread
from bench.memory import ROOT, resident_peak
from bench.shapes import COROUTINE, SYNC, Family

FEW = 10_000
SIZE = 10_000
SECTION = "A very large map"


def million(scale: Scale) -> Iterator[Line]:
    """What an item costs, in time and in memory, and how soon a cancelled run is quiet."""
    many = scale.million
    for how in ("coroutine", "inline"):
        yield _cost(how, many, scale.rounds)
    kept = _ask("kept", many)["kb"]
    yield _memory(f"memory an item, all results kept, {many:,} items", f"{number(kept)} KB", kept)
    stream = _ask("fold", many)["kb"]
    yield _memory(f"memory an item, a stream folded, {many:,} items", f"{number(stream)} KB", stream)
    fewer, some = many // 20, many // 10  # both fill all the room between the stream and its items
    few, more = _ask("heavy", fewer), _ask("heavy", some)
    growth = (more["mb"] - few["mb"]) * 1000 / (some - fewer)
    yield _memory(
        f"memory an item more, a stream of {SIZE // 1000} KB each folded",
        f"{number(few['mb'])} MB at {fewer:,}, {number(more['mb'])} MB at {some:,}",
        growth,
    )
    yield _quiet(many, scale.rounds)


def _cost(how: str, many: int, rounds: int) -> Line:
    few, all_of_them = zip(
        *[(_ask(how, FEW)["us"], _ask(how, many)["us"]) for _ in range(rounds)], strict=True
    )
    return Line(
        SECTION,
        f"{how}: an item of {many:,} ÷ an item of {FEW:,}",
        f"{number(median(list(few)))} µs",
        f"{number(median(list(all_of_them)))} µs",
        spread([b / a for a, b in zip(few, all_of_them, strict=True)]),
        must=1.6,
        aim=1.1,
    )


def _memory(work: str, own: str, kb: float) -> Line:
    return Line(SECTION, work, "–", own, Spread(kb, kb, kb), " KB", must=1.2, aim=0.5)


def _quiet(many: int, rounds: int) -> Line:
    found = [_ask("cancel", many) for _ in range(rounds)]
    quiet, whole = median([one["quiet"] for one in found]), median([one["whole"] for one in found])
    return Line(
        SECTION,
        f"from a cancel at half of {many:,} items to the result ÷ the time of the whole run",
        f"{number(whole)} s",
        f"{number(quiet * 1e3)} ms",
        spread([100 * one["quiet"] / one["whole"] for one in found]),
        " %",
        must=5.0,
        aim=2.0,
    )


def _ask(what: str, items: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.million", what, str(items)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


# --- inside the process of its own ------------------------------------------------------------------------


def _probe(what: str, items: int) -> dict[str, float]:
    if what in ("coroutine", "inline"):
        return {"us": _time(items, COROUTINE if what == "coroutine" else SYNC)}
    if what == "cancel":
        return _cancel(items)
    flow, end, count = {"kept": _kept, "fold": _folded, "heavy": _heavy}[what](items)
    _warm_up(what)
    gc.collect()
    before = resident_peak()
    result = flow.run()
    grown = resident_peak() - before
    if result.outputs[end] != count:
        raise AssertionError(f"{what}: {result.outputs[end]}, not {count}")
    return {"kb": grown / items / 1000, "mb": grown / 1e6}


def _warm_up(what: str) -> None:
    """Has all imported and compiled that the measured run will use."""
    flow, _, _ = {"kept": _kept, "fold": _folded, "heavy": _heavy}[what](10)
    flow.run()


def _time(items: int, family: Family) -> float:
    """Microseconds of the processor for an item; the source's and the sum's included."""
    from bench import shapes

    flow = shapes.map_flow(items, family)
    runner = None if family is COROUTINE else "inline"
    shapes.map_flow(10, family).run(runner=runner)
    times = [once(lambda: flow.run(runner=runner))[1] for _ in range(max(1, 100_000 // items))]
    return median(times) / items * 1e6


def _kept(items: int) -> tuple[Any, str, Any]:
    from penstock import Flow, each, gather

    flow = Flow("kept")
    whole = flow.add(_numbers, name="numbers", n=items)
    item = flow.add(COROUTINE.one, name="item", x=each(whole), keep=True)
    flow.add(_length, name="end", values=gather(item), runner="inline")
    return flow, "end", items


def _folded(items: int) -> tuple[Any, str, Any]:
    return _fold("folded", _stream, COROUTINE.one, _add, items), "end", items * (items + 1) // 2


def _heavy(items: int) -> tuple[Any, str, Any]:
    return _fold("heavy", _stream, _filled, _add_length, items), "end", items * SIZE


def _fold(
    name: str, source: Callable[..., Any], call: Callable[..., Any], add: Callable[..., Any], items: int
) -> Any:
    from penstock import Flow, each, fold

    flow = Flow(name)
    stream: Any = flow.add(source, name="stream", n=items)
    item: Any = flow.add(call, name="item", x=each(stream))
    flow.add(_same, name="end", total=fold(item, add, 0), runner="inline")
    return flow


def _cancel(items: int) -> dict[str, float]:
    """The whole run, and then one that is cancelled when half of its items have been made."""
    from penstock import Flow, each, gather

    made = 0
    half = threading.Event()

    async def item(x: int) -> int:
        nonlocal made
        made += 1
        if made == items // 2:
            half.set()
        return x + 1

    flow = Flow("cancel")
    whole = flow.add(_numbers, name="numbers", n=items)
    mapped = flow.add(item, x=each(whole))
    flow.add(_length, name="end", values=gather(mapped), runner="inline")
    seconds = once(flow.run)[0]
    made = 0
    half.clear()
    gc.collect()
    handle = flow.start()
    half.wait()
    asked = time.perf_counter()
    handle.cancel("half is enough")
    result = handle.result()
    quiet = time.perf_counter() - asked
    if result.status.value != "cancelled":
        raise AssertionError(f"the run has {result.status.value}")
    return {"quiet": quiet, "whole": seconds}


def _numbers(n: int) -> list[int]:
    return list(range(n))


def _stream(n: int) -> Iterator[int]:
    yield from range(n)


async def _filled(x: int) -> bytes:
    return bytes(SIZE)


def _length(values: list[int]) -> int:
    return len(values)


def _add(so_far: int, value: int) -> int:
    return so_far + value


def _add_length(so_far: int, value: bytes) -> int:
    return so_far + len(value)


def _same(total: int) -> int:
    return total


if __name__ == "__main__":
    print(json.dumps(_probe(sys.argv[1], int(sys.argv[2]))))
