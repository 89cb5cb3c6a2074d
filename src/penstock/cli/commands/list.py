"""Find flows, without importing anything: files are read, never run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

from penstock import wiring
from penstock.cli import exits
from penstock.cli.exits import Misuse
from penstock.cli.streams import complain, show


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("path", metavar="PATH", nargs="?", default=".", help="a folder or file")


def execute(arguments: argparse.Namespace) -> int:
    """Lists; gives the exit code."""
    path = Path(arguments.path)
    if not path.exists():
        raise Misuse(f"there is no file or folder {arguments.path!r}")
    rows = []
    for one in wiring.discover(path):
        if hasattr(one, "reason"):
            complain(wiring.shown(f"{one.file}: not read: {' '.join(one.reason.split())}"))
        else:
            rows.append(_row(one))
    if not rows:
        complain(f"no flow in {path}")
        return exits.SUCCEEDED
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, steps, *rest in rows:
        cells = [f"{name:{widths[0]}}", f"{steps:>{widths[1]}}"]
        cells += [f"{cell:{width}}" for cell, width in zip(rest, widths[2:], strict=True)]
        show(_fit("  ".join(cells).rstrip()) + "\n")
    return exits.SUCCEEDED


def _row(one: Any) -> tuple[str, ...]:
    steps = "? steps" if one.steps is None else f"{one.steps:,} step{'' if one.steps == 1 else 's'}"
    cells = (one.name, steps, f"{one.file}:{one.line}", one.variable, one.doc)
    return tuple(wiring.shown(cell) for cell in cells)


def _fit(line: str) -> str:
    if not sys.stdout.isatty():
        return line
    wide = get_terminal_size().columns
    return line if len(line) <= wide else line[: wide - 1] + "…"
