"""Draw a flow, without running it."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from penstock import wiring
from penstock.cli import exits
from penstock.cli.exits import Misuse
from penstock.cli.streams import show
from penstock.cli.target import HELP, load, shape

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
        _write(Path(output), drawn)
    return exits.SUCCEEDED


def _write(path: Path, drawn: str) -> None:
    """Writes the file, or leaves what is there: a half-written drawing is none.

    Raises:
        Misuse: It cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(drawn, encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise Misuse(f"{path} cannot be written: {error.strerror or error}") from None


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
