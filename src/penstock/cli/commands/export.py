"""Write a run with all its values into one file, to be read by: penstock import."""

from __future__ import annotations

import argparse

from penstock import wiring
from penstock.cli import exits, places
from penstock.cli.streams import show


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("run", metavar="RUN", help="its id, the beginning of it, or: last")
    parser.add_argument("file", metavar="FILE", help="is made; one that is there is not overwritten")
    places.add_option(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Writes; gives the exit code."""
    with places.history(places.place(arguments.store)) as history:
        run = places.find(history, arguments.run)
        history.export(run.run_id, arguments.file)
    show(wiring.shown(f"run {run.run_id} is in {arguments.file}") + "\n")
    return exits.SUCCEEDED
