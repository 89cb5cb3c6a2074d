"""`python -m bench.peers`: makes the environments, measures, prints, and writes the page.

Every figure is of a fresh process with a fresh database. The peers and Penstock's own run of the same shape
take turns, so that a ratio compares two things measured within the same minute. What cannot be installed or
fails is named; the rest still stands.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.page import with_peers
from bench.peers import measuring
from bench.peers.environments import ROOT, Environment, Failed, environment, lock
from bench.peers.page import Results, a_process, a_step, page, times
from bench.peers.rows import PEERS, chosen

PAGE = ROOT / "docs" / "performance-peers.md"
PERFORMANCE = PAGE.with_name("performance.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what can be measured; 1 if something could not be."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 steps, once; writes no page")
    parser.add_argument("--only", action="append", metavar="PEER", choices=PEERS, help=", ".join(PEERS))
    parser.add_argument("--out", type=Path, help="write the page here, whatever was measured")
    parser.add_argument("--lock", action="store_true", help="compile the pins anew, and measure nothing")
    asked = parser.parse_args(arguments)
    peers = asked.only or PEERS
    if asked.lock:
        for peer in peers:
            lock(peer)
        return 0
    began = time.perf_counter()
    results = measured(peers, asked.quick)
    print(f"{time.perf_counter() - began:.0f} s")
    write(results, asked.out, whole=not asked.quick and not asked.only)
    return 1 if results.failures else 0


def measured(peers: Sequence[str], quick: bool) -> Results:
    """All rows of these peers that can be measured, printed as they come."""
    there: dict[str, Environment] = {}
    failures: list[str] = []
    for peer in peers:
        try:
            there[peer] = environment(peer)
        except Failed as failed:
            failures.append(f"{peer}: could not be installed: {failed}")
    rows, starts = chosen(list(there), quick)
    found: list[measuring.Measured] = []
    started: list[measuring.Started] = []
    for row in rows:
        try:
            one = measuring.measure(row, there[row.peer])
        except Failed as failed:
            failures.append(f"{row.work}: {failed}")
            continue
        print(f"  {row.work} | {a_step(one.own)} | {a_step(one.peer)} | {times(one.ratio)}", flush=True)
        found.append(one)
    for start in starts:
        try:
            own = measuring.start(start, there[start.peer])
        except Failed as failed:
            failures.append(f"{start.title}, cold start: {failed}")
            continue
        print(f"  {start.title}: cold start | {a_process(own.own)} | {a_process(own.peer)}", flush=True)
        started.append(own)
    for failure in failures:
        print(f"not measured: {failure}")
    return Results(found, started, failures)


def write(results: Results, out: Path | None, *, whole: bool) -> None:
    """Writes the page: to `docs` if all was asked for, and then its tables to `docs/performance.md` too."""
    if not results.rows or not (out or whole):
        return
    text = page(results)
    target = out or PAGE
    target.write_text(text, encoding="utf-8")
    print(f"written: {target.name}")
    if target == PAGE and PERFORMANCE.exists():
        PERFORMANCE.write_text(with_peers(PERFORMANCE.read_text("utf-8"), text), encoding="utf-8")
        print(f"written: {PERFORMANCE.name}, its last section")


if __name__ == "__main__":
    sys.exit(main())
