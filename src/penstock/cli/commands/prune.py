"""Delete old runs with their values, but none that is driven, or waits for an answer."""

from __future__ import annotations

import argparse

from penstock import wiring
from penstock.cli import exits, places
from penstock.cli.streams import show


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--keep",
        required=True,
        metavar="AGE|N",
        help="what stays: the newest N runs, or those that have changed since so long ago: 30d, 12h, 45m, 2w",
    )
    places.add_option(parser)
    parser.add_argument("--waiting", action="store_true", help="delete those that wait for an answer too")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")


def execute(arguments: argparse.Namespace) -> int:
    """Deletes; gives the exit code."""
    with places.history(places.place(arguments.store)) as history:
        gone = history.prune(arguments.keep, waiting=arguments.waiting, dry_run=arguments.dry_run)
    if arguments.dry_run:
        for run in gone:
            show(wiring.shown(f"{run.run_id}  {run.flow}") + "\n")
    runs = f"{len(gone):,} run{'' if len(gone) == 1 else 's'}"
    show(f"{runs} would be deleted\n" if arguments.dry_run else f"{runs} deleted\n")
    return exits.SUCCEEDED
