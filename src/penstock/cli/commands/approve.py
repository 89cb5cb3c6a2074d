"""Answer a gate that a run waits at, or will."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from penstock import wiring
from penstock.cli import exits, places
from penstock.cli.exits import Misuse
from penstock.cli.streams import complain, show
from penstock.core.errors import nearest
from penstock.core.takes import answer_of

if TYPE_CHECKING:
    from penstock.core.history import StoredRun
    from penstock.core.stored import OpenGate


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("run", metavar="RUN", help="its id, the beginning of it, or: last")
    parser.add_argument("gate", metavar="GATE", nargs="?", help="which one, if more than one is open")
    places.add_option(parser)
    answers = parser.add_mutually_exclusive_group()
    answers.add_argument(
        "--value",
        metavar="VALUE",
        help="the answer: text where the gate takes str, otherwise JSON; by default true",
    )
    answers.add_argument("--no", action="store_true", help="the answer is false")
    parser.add_argument("--resume", action="store_true", help="let the run go on then")


def execute(arguments: argparse.Namespace) -> int:
    """Answers; gives the exit code."""
    place = places.place(arguments.store)
    with places.history(place) as history:
        run = places.find(history, arguments.run)
        open_gates = {gate.path: gate for gate in run.waiting}
        gate = arguments.gate or _only(run, list(open_gates))
        known = open_gates.get(gate)
        run.answer(gate, _answer(arguments, gate, known))
        driven = run.is_driven
        if known is not None and known.answered:
            complain(
                wiring.shown(f"gate {gate} had been given an answer before; the first one that fits counts")
            )
        show(wiring.shown(f"gate {gate} of run {run.run_id} is answered") + "\n")
    if arguments.resume and not driven:
        from . import resume

        parser = argparse.ArgumentParser()
        resume.configure(parser)
        words = [run.run_id] if place.said is None else [run.run_id, "--store", place.said]
        return resume.execute(parser.parse_args(words))
    if driven:
        show(wiring.shown(f"{run.owner} takes it") + "\n")
    else:
        show(wiring.shown(f"to go on: {places.resume_line(place, run.run_id)}") + "\n")
    return exits.SUCCEEDED


def _only(run: StoredRun, gates: list[str]) -> str:
    if len(gates) == 1:
        return gates[0]
    if not gates:
        raise Misuse(f"run {run.run_id} has no open gate; to answer one before it opens, name it")
    raise Misuse(f"{len(gates)} gates of run {run.run_id} are open, say which: {', '.join(gates)}")


def _answer(arguments: argparse.Namespace, gate: str, known: OpenGate | None) -> Any:
    if arguments.no:
        return False
    takes = known.takes if known is not None else ""
    if arguments.value is None:
        if takes and takes != "bool" and "bool" not in takes.split(" | "):
            raise Misuse(f"gate {gate!r} takes {takes}: give the answer with --value")
        return True
    try:
        return answer_of(arguments.value, takes)
    except ValueError:
        words = [word for word in ("true", "false") if takes == "bool"]
        near = nearest(arguments.value.lower(), words)
        raise Misuse(f"gate {gate!r} takes {takes}, not {arguments.value!r}{near}") from None
