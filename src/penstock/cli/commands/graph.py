"""Draw a flow, without running it."""

from __future__ import annotations

import argparse
import sys
from typing import TextIO

from penstock import wiring
from penstock.cli import exits
from penstock.cli.exits import Misuse
from penstock.cli.streams import show
from penstock.cli.target import HELP, load, shape
from penstock.core.files import write_whole

FORMS = ("text", "mermaid", "dot", "svg")
THEMES = ("auto", "light", "dark")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("target", metavar="TARGET", help=HELP)
    parser.add_argument("--format", "-f", choices=FORMS, default="text", help="text by default")
    parser.add_argument(
        "--output", "-o", metavar="FILE", help="write it there; by default to standard output"
    )
    parser.add_argument(
        "--group",
        action=argparse.BooleanOptionalAction,
        help="svg: draw what is alike, sub-flows and maps as one box each, or nothing so; by default a large "
        "graph only, as far as it makes it readable",
    )
    parser.add_argument("--theme", choices=THEMES, default="auto", help="svg: auto by default")


def execute(arguments: argparse.Namespace) -> int:
    """Draws; gives the exit code."""
    graph, _ = shape(load(arguments.target))
    form, output = arguments.format, arguments.output
    if form == "svg" and output is None and _is_terminal(sys.stdout):
        raise Misuse("an SVG is no text to read: say --output FILE, or send it to another program")
    rough = output is None and not _shows(sys.stdout.encoding, "●◆│─├╯")
    drawn = wiring.drawing(graph, form, rough=rough, group=arguments.group, theme=arguments.theme)
    if output is None:
        show(drawn)
    else:
        try:
            write_whole(output, drawn)
        except OSError as error:
            raise Misuse(f"{output} cannot be written: {error.strerror or error}") from None
    return exits.SUCCEEDED


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def _shows(encoding: str | None, signs: str) -> bool:
    try:
        signs.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
