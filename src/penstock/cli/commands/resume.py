"""Let a run go on that was cut off, waits, failed or was cancelled: what is done is not done again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from penstock import wiring
from penstock.cli import context, driving, exits, given, hints, places
from penstock.cli.driving import Drive, Keeping, conduct, options_of
from penstock.cli.exits import Misuse
from penstock.cli.streams import complain
from penstock.cli.target import HELP, load, shape
from penstock.core.errors import InputError
from penstock.core.model import RunStatus

if TYPE_CHECKING:
    from penstock.core.history import StoredRun


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("run", metavar="RUN", help="its id, the beginning of it, or: last")
    parser.add_argument(
        "target", metavar="TARGET", nargs="?", help=f"where its code is, if that has to be said: {HELP}"
    )
    places.add_option(parser)
    driving.add_inputs(parser)
    parser.add_argument(
        "--on-change",
        choices=("keep", "rerun"),
        help="what is done about finished steps whose code has changed",
    )
    parser.add_argument(
        "--rerun",
        action="append",
        default=[],
        metavar="STEP",
        help="run this step and what follows from it again; may be repeated",
    )
    driving.add_options(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Goes on; gives the exit code."""
    place = places.place(arguments.store)
    with places.history(place) as history:
        run = places.find(history, arguments.run)
        if run.status is RunStatus.SUCCEEDED:
            if arguments.rerun:
                raise Misuse(f"run {run.run_id} has succeeded, and is not changed any more; start a new one")
            complain(wiring.shown(f"run {run.run_id} has succeeded: there is nothing left to do"))
            return exits.SUCCEEDED
        if run.is_driven:
            raise Misuse(f"{run.owner} drives run {run.run_id}", exits.STORE)
        _ = run.story  # read as long as the store is open: it is needed while the run goes on
    return conduct(arguments.json, lambda: _prepared(arguments, place, run))


def _prepared(arguments: argparse.Namespace, place: places.Place, run: StoredRun) -> Drive:
    try:
        config = wiring.configured()
    except InputError as error:
        raise Misuse(str(error)) from None
    words = arguments.target
    if words is None:
        words = hints.usable(run.target, place)
        if words is None:
            raise Misuse(_say_target(place, run))
        complain(wiring.shown(f"going on with {run.target}"))
    target = load(words)
    graph, known = shape(target)
    if not driving.takes_store(target):
        raise Misuse(f"{target.where}:{target.name} cannot be kept in a store")
    inputs = given.inputs(known, arguments.input, arguments.input_file)
    if arguments.context is not None:
        inputs = context.context(arguments.context, target, known, inputs)
    hint = hints.hint_of(words, target, place)
    said = {} if arguments.max_concurrency is None else {"max_concurrency": arguments.max_concurrency}
    if config.workdir is not None:
        said["workdir"] = config.workdir
    if arguments.on_change is not None:
        said["on_change"] = arguments.on_change
    return Drive(
        target=target,
        graph=graph,
        known=known,
        inputs=inputs,
        targets=None,
        said={},
        how=lambda **observers: {
            "runner": arguments.runner or config.runner,
            "options": options_of(run, rerun=arguments.rerun, **said, **observers),
        },
        configured={"runner": None if arguments.runner else config.runner},
        keeping=Keeping(place, run.run_id, hint, arguments.target, run),
        looks=driving.looks(arguments),
    )


def _say_target(place: places.Place, run: StoredRun) -> str:
    again = places.resume_line(place, run.run_id)
    if run.target is None:
        return f"run {run.run_id} does not say where its code is\nsay it: {again} TARGET"
    return (
        f"run {run.run_id} was made with {run.target!r}, which is not in this project\n"
        f"if you know what it is, say it yourself: {again} TARGET"
    )
