"""Show what the steps of a run have said: log records, printed lines, and what they log themselves."""

from __future__ import annotations

import argparse
import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from penstock import wiring
from penstock.cli import exits, places, signals
from penstock.cli.as_json import NotPlain, plain
from penstock.cli.driving import positive
from penstock.cli.exits import Misuse
from penstock.cli.streams import complain, gone, show
from penstock.core.events import LEVELS

if TYPE_CHECKING:
    from penstock.core.history import History, StoredRun
    from penstock.core.kept_notes import LogLine


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("run", metavar="RUN", help="its id, the beginning of it, or: last")
    parser.add_argument("step", metavar="STEP", nargs="?", help="only this step, or item of one: parse[3]")
    places.add_option(parser)
    parser.add_argument("--follow", "-f", action="store_true", help="go on as long as the run does")
    parser.add_argument("--level", choices=LEVELS, default=LEVELS[0], help="only what matters that much")
    parser.add_argument("--attempt", type=positive, metavar="N", help="only of this attempt, from 1")
    parser.add_argument("--tail", type=positive, metavar="N", help="only the last lines, as many at most")
    parser.add_argument("--json", action="store_true", help="write a JSON object for each, one a line")


def execute(arguments: argparse.Namespace) -> int:
    """Shows; gives the exit code."""
    with places.history(places.place(arguments.store)) as history:
        run = places.find(history, arguments.run)
        try:
            run.logs(arguments.step, limit=1)
        except KeyError as error:
            raise Misuse(str(error)) from None
        with signals.orderly() as asked:
            try:
                told = _show(history, run, arguments)
            except KeyboardInterrupt:
                return exits.TERMINATED if asked.terminated else exits.INTERRUPTED
    if not told:
        complain(wiring.shown(f"of run {run.run_id} no such lines are kept"))
    return exits.SUCCEEDED


def _show(history: History, run: StoredRun, arguments: argparse.Namespace) -> bool:
    """Shows lines; says whether there were any."""
    names = [f"{node.id}[0]" if node.scope else node.id for node in run.outline.nodes]
    text = wiring.log_text(sys.stdout, names if arguments.step is None else ())
    told = False
    for line in _lines(history, run, arguments):
        show(_as_json(line) if arguments.json else text(line))
        told = True
        if gone():
            break
    return told


def _lines(history: History, run: StoredRun, arguments: argparse.Namespace) -> Iterator[LogLine]:
    from penstock.core.following import follow_logs
    from penstock.core.kept_notes import log_lines

    after = 0

    def known() -> Iterator[LogLine]:
        nonlocal after
        for line in log_lines(history.reader, run.run_id, arguments.step):
            after = line.id
            yield line

    wanted = _wanted(known(), arguments)
    yield from wanted if arguments.tail is None else deque(wanted, arguments.tail)
    if arguments.follow:
        yield from _wanted(follow_logs(history.reader, run.run_id, arguments.step, after), arguments)


def _wanted(lines: Iterable[LogLine], arguments: argparse.Namespace) -> Iterator[LogLine]:
    least, attempt = LEVELS.index(arguments.level), arguments.attempt
    for line in lines:
        if LEVELS.index(line.level) >= least and attempt in (None, line.attempt):
            yield line


def _as_json(line: LogLine) -> str:
    told = line._asdict()
    try:
        told["fields"] = plain(dict(line.fields))
    except NotPlain:
        told["fields"] = {"text": repr(line.fields)}
    return json.dumps(told) + "\n"
