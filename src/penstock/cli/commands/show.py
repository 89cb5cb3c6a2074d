"""Show a run that is kept: its steps, what failed and what came out. Nothing of its code is imported."""

from __future__ import annotations

import argparse
import json
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

from penstock import wiring
from penstock.cli import exits, places
from penstock.cli.exits import Misuse
from penstock.cli.streams import show
from penstock.core.history import plain
from penstock.core.model import RunStatus

from .runs import brief

if TYPE_CHECKING:
    from penstock.core.history import StoredRun
    from penstock.core.stored import StoredNode


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("run", metavar="RUN", help="its id, the beginning of it, or: last")
    places.add_option(parser)
    parser.add_argument("--step", metavar="PATH", help="only this step, or item of one, with its attempts")
    parser.add_argument("--events", action="store_true", help="all that has happened, in order")
    parser.add_argument("--json", action="store_true", help="write one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    """Shows; gives the exit code."""
    place = places.place(arguments.store)
    with places.history(place) as history:
        run = places.find(history, arguments.run)
        try:
            if arguments.json:
                show(json.dumps(_whole(run, arguments.step), allow_nan=False) + "\n")
                return exits.SUCCEEDED
            for text in wiring.shown_run(run, sys.stdout, step=arguments.step, events=arguments.events):
                show(text)
        except KeyError as error:
            raise Misuse(str(error)) from None
        if arguments.step is None and not arguments.events:
            for line in ["", *lines] if (lines := what_is_next(run, place)) else []:
                show(wiring.shown(line) + "\n")
    return exits.SUCCEEDED


def what_is_next(run: StoredRun, place: places.Place) -> list[str]:
    """What may be done about a run that has not succeeded."""
    lines = [
        f"to answer: {places.approve_line(place, run.run_id, gate.path, gate.takes)}"
        for gate in run.waiting
        if not gate.answered
    ]
    if run.status is not RunStatus.SUCCEEDED and not run.is_driven:
        lines.append(f"to go on: {places.resume_line(place, run.run_id)}")
    return lines


def _whole(run: StoredRun, path: str | None) -> dict[str, Any]:
    """A run as JSON has it; of a step its attempts too."""
    if path is not None:
        return {
            "run_id": run.run_id,
            **_node(run.node(path)),
            "path": path,
            "tries": [
                {**one._asdict(), "failure": None if one.failure is None else str(one.failure)}
                for one in run.attempts(path)
            ],
            "output": _plain(run, path) if path in run.outputs else None,
        }
    outputs = {id: _plain(run, id) for id in run.outputs}
    return {
        **brief(run),
        "reason": run.reason or None,
        "inputs": {name: run.preview(name, 300) for name in run.inputs},
        "nodes": {id: _node(node) for id, node in run.nodes.items()},
        "outputs": {id: found["value"] for id, found in outputs.items() if "value" in found},
        "outputs_left_out": [id for id, found in outputs.items() if "value" not in found],
        "waiting": [gate._asdict() for gate in run.waiting],
    }


def _node(node: StoredNode) -> dict[str, Any]:
    told: dict[str, Any] = {
        "status": node.status.value,
        "source": node.source,
        "duration": node.duration,
        "attempts": node.attempts,
        "reason": node.reason or None,
    }
    if node.counts is not None:
        told["items"] = {"total": sum(node.counts.values())}
        told["items"] |= {status.value: count for status, count in node.counts.items()}
        bad = [] if node.items is None else list(islice(node.items.failed(), 5))
        if bad:
            told["failures"] = {one.path: str(one.failure) for one in bad}
    return told


def _plain(run: StoredRun, id: str) -> dict[str, Any]:
    """The value of an output, if JSON has words for all of it, and a short text of it in any case."""
    told: dict[str, Any] = {"preview": run.preview(id, 300)}
    data = plain(run, id)
    return told if data is None else {"value": data[0], **told}
