"""Draw a flow, without running it."""

from __future__ import annotations

import argparse
import sys

from penstock import wiring
from penstock.cli import exits
from penstock.cli.streams import show
from penstock.cli.target import HELP, load, shape

FORMS = ("text", "mermaid", "dot")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("target", metavar="TARGET", help=HELP)
    parser.add_argument("--format", "-f", choices=FORMS, default="text", help="text by default")


def execute(arguments: argparse.Namespace) -> int:
    """Draws; gives the exit code."""
    graph, _ = shape(load(arguments.target))
    show(wiring.drawing(graph, arguments.format, rough=not _shows(sys.stdout.encoding, "●◆│─├╯")))
    return exits.SUCCEEDED


def _shows(encoding: str | None, signs: str) -> bool:
    try:
        signs.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
