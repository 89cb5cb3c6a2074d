"""`python -m bench`: all rows, and the page. `--quick` and `--only` print, and leave the page as it is."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import (
    cost_rows,
    dialect_rows,
    durable_rows,
    engine_rows,
    kill_rows,
    layout_rows,
    makespan_rows,
    memory,
    million,
    observer_rows,
    page,
    pool_rows,
    process,
    run_rows,
    sleeping,
    stream_rows,
    traces,
)
from bench.measure import FULL, QUICK, Line, Scale

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
PEERS = PAGE.with_name("performance-peers.md")

ROWS: dict[str, Callable[[Scale], Iterator[Line]]] = {
    "coroutines": run_rows.coroutines,
    "coroutines-options": run_rows.coroutines_options,
    "suspending": run_rows.suspending,
    "inline": run_rows.inline,
    "inline-options": run_rows.inline_options,
    "threads": run_rows.threads,
    "pools": pool_rows.pools,
    "engines": engine_rows.engines,
    "maps": run_rows.maps,
    "streams": stream_rows.streams,
    "million": million.million,
    "values": run_rows.values,
    "dialects": dialect_rows.dialects,
    "define": cost_rows.define,
    "growth": cost_rows.growth,
    "memory": memory.memory,
    "process": process.process,
    "durable-chains": durable_rows.chains,
    "durable-wide": durable_rows.wide,
    "durable-maps": durable_rows.maps,
    "resume": durable_rows.resume,
    "journal-size": durable_rows.sizes,
    "listing": durable_rows.listing,
    "kill": kill_rows.kill,
    "watched": observer_rows.watched,
    "layout": layout_rows.layouts,
    "sleeping": sleeping.sleeping,
    "traces": traces.makespans,
    "makespan": makespan_rows.makespans,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, and writes the page if all was measured in full."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller graphs and fewer pairs: under 40 s")
    parser.add_argument("--only", action="append", metavar="NAME", choices=list(ROWS), help=", ".join(ROWS))
    parser.add_argument("--out", type=Path, help="write the page here, whatever was measured")
    asked = parser.parse_args(arguments)
    scale = QUICK if asked.quick else FULL
    began = time.perf_counter()
    lines = measure(scale, asked.only or list(ROWS))
    print(f"\n{page.summary(lines)}\n{time.perf_counter() - began:.0f} s")
    out: Path | None = asked.out or (PAGE if scale is FULL and not asked.only else None)
    if out is not None:
        write(out, lines, scale, with_traces=not asked.only or "traces" in asked.only)
        print(f"written: {out.name}")
    return 0


def measure(scale: Scale, names: Sequence[str]) -> list[Line]:
    """The rows of these names, printed as they come."""
    lines: list[Line] = []
    section = ""
    for name in names:
        for line in ROWS[name](scale):
            if line.section != section:
                section = line.section
                print(f"\n{section}")
            print(page.terminal(line), flush=True)
            lines.append(line)
    return lines


def write(out: Path, lines: Sequence[Line], scale: Scale, *, with_traces: bool) -> None:
    """Writes the page."""
    table: list[str] = []
    about = ""
    if with_traces:
        found, about = traces.load()
        table = list(traces.table(traces.play(found)))
    out.parent.mkdir(parents=True, exist_ok=True)
    text = page.page(lines, table, about, scale.name)
    peers = PEERS.read_text("utf-8") if PEERS.exists() else ""
    out.write_text(page.with_peers(text, peers), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
