"""Look whether the store is well, and save what is sound of one that is not."""

from __future__ import annotations

import argparse
import os
import platform

from penstock import __version__, wiring
from penstock.cli import exits, places
from penstock.cli.streams import show
from penstock.core.errors import StoreError


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    places.add_option(parser)
    parser.add_argument(
        "--salvage",
        metavar="FILE",
        help="copy what is sound into a new store; the damaged one stays as it is",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Looks; gives the exit code."""
    place = places.place(arguments.store)
    path = wiring.store_path(place.word)
    assert path is not None
    path = os.path.realpath(path)
    if arguments.salvage is not None:
        return _salvage(path, arguments.salvage)
    show(f"Penstock {__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}\n")
    notes: list[str] = []
    try:
        wrong, notes = wiring.diagnosis(path)
    except StoreError as error:
        wrong = [str(error)]
    _say("store", path)
    for name, ending in (("size", ""), ("log", "-wal")):
        if os.path.isfile(path + ending):
            _say(name, f"{os.path.getsize(path + ending) / 1e6:,.1f} MB")
    for line in notes:
        _say("note", line)
    for line in wrong:
        _say("WRONG", line)
    if not wrong:
        show("the store is well\n")
        return exits.SUCCEEDED
    return exits.STORE


def _say(name: str, text: str) -> None:
    show(wiring.shown(f"{name:5}  {text}") + "\n")


def _salvage(path: str, to: str) -> int:
    with places.refusing():
        left = wiring.salvage(path, to)
    for line in left:
        _say("lost", line)
    show(wiring.shown(f"what is sound of {path} is in {to}") + "\n")
    return exits.STORE if left else exits.SUCCEEDED
