"""Add the run of a file that penstock export has written. Nothing in it is run."""

from __future__ import annotations

import argparse

from penstock import wiring
from penstock.cli import exits, places
from penstock.cli.streams import show


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="as penstock export has written it")
    places.add_option(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Adds; gives the exit code."""
    place = places.place(arguments.store)
    places.prepare(place)
    with places.refusing():
        store, _ = wiring.open_store(place.word)  # made, if there is none
        with store, wiring.open(store) as history:
            run = history.import_(arguments.file)
    show(wiring.shown(f"run {run.run_id} of {run.flow} is there now") + "\n")
    return exits.SUCCEEDED
