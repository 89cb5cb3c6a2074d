"""Write the report of a run that is kept: one HTML file. Nothing of its code is imported."""

from __future__ import annotations

import argparse

from penstock import wiring
from penstock.cli import exits, places
from penstock.cli.exits import Misuse
from penstock.cli.streams import show
from penstock.core.files import write_whole


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("run", metavar="RUN", help="its id, the beginning of it, or: last")
    places.add_option(parser)
    parser.add_argument(
        "--output", "-o", metavar="FILE", help="report-RUN.html by default; - for standard output"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Writes; gives the exit code."""
    place = places.place(arguments.store)
    with places.history(place) as history:
        run = places.find(history, arguments.run)
        html = wiring.report(run, where=history.where, option=place.option)
    if arguments.output == "-":
        show(html)
        return exits.SUCCEEDED
    path = arguments.output or f"report-{name_of(run.run_id)}.html"
    write(path, html)
    show(wiring.shown(f"the report is in {path}") + "\n")
    return exits.SUCCEEDED


def write(path: str, html: str) -> None:
    """Writes the file.

    Raises:
        Misuse: It cannot be written.
    """
    try:
        write_whole(path, html)
    except OSError as error:
        raise Misuse(f"the report cannot be written to {path!r}: {error.strerror or error}") from None


def name_of(run_id: str) -> str:
    """An id as a part of a file's name: ids may have signs in them that mean something there."""
    kept = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "_" for sign in run_id)
    return kept[:100] or "run"
