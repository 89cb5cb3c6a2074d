"""List the runs that are kept, the newest first."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock import wiring
from penstock.cli import exits, places
from penstock.cli.streams import complain, show
from penstock.core.model import RunStatus

if TYPE_CHECKING:
    from penstock.core.history import History, StoredRun

CUT_OFF = "cut-off"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    places.add_option(parser)
    parser.add_argument("--flow", metavar="NAME", help="only those of this flow")
    parser.add_argument(
        "--status",
        choices=[*(one.value for one in RunStatus if one is not RunStatus.PENDING), CUT_OFF],
        help="only those of this status",
    )
    parser.add_argument("--tag", metavar="NAME=VALUE", help="only those with this tag")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="as many at most; 50 by default")
    parser.add_argument("--json", action="store_true", help="write a JSON object for each, one a line")


def execute(arguments: argparse.Namespace) -> int:
    """Lists; gives the exit code."""
    place = places.place(arguments.store)
    if place.said is None and not Path(place.word).exists():
        complain(f"no run is kept here yet; there is no {place.word}")
        return exits.SUCCEEDED
    with places.history(place) as history:
        found = _found(history, arguments)
    if arguments.json:
        for run in found:
            show(json.dumps(brief(run)) + "\n")
    elif found:
        show(wiring.shown_runs(found, sys.stdout))
    else:
        complain("no such run")
    return exits.SUCCEEDED


def _found(history: History, arguments: argparse.Namespace) -> list[StoredRun]:
    status = arguments.status
    wanted: dict[str, Any] = {"flow": arguments.flow, "tag": arguments.tag}
    if status not in (CUT_OFF, RunStatus.RUNNING.value):
        return history.runs(status=status, limit=arguments.limit, **wanted)
    every = history.runs(status=RunStatus.RUNNING, limit=None, **wanted)
    return [run for run in every if run.is_cut_off is (status == CUT_OFF)][: arguments.limit]


def brief(run: StoredRun) -> dict[str, Any]:
    """What is known of a run without reading its journal, as JSON has it."""
    return {
        "run_id": run.run_id,
        "flow": run.flow,
        "status": run.status.value,
        "cut_off": run.is_cut_off,
        "created": run.created,
        "ended": run.ended,
        "duration": run.duration,
        "tags": dict(run.tags),
        "parent": run.parent,
        "target": run.target,
        "about": dict(run.about),
    }
