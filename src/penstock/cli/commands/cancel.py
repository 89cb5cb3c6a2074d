"""Cancel a run, whichever process drives it."""

from __future__ import annotations

import argparse

from penstock import wiring
from penstock.cli import exits, places
from penstock.cli.streams import show


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("run", metavar="RUN", help="its id, the beginning of it, or: last")
    places.add_option(parser)
    parser.add_argument("--reason", metavar="TEXT", default="", help="why, for those who look at it later")


def execute(arguments: argparse.Namespace) -> int:
    """Cancels; gives the exit code."""
    with places.history(places.place(arguments.store)) as history:
        run = places.find(history, arguments.run)
        if run.cancel(arguments.reason):
            show(wiring.shown(f"run {run.run_id} is cancelled") + "\n")
        else:
            show(wiring.shown(f"{run.owner} was asked to cancel run {run.run_id}") + "\n")
    return exits.SUCCEEDED
