"""Follow a run that another process drives, until it ends. To stop watching does not stop the run."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from penstock import wiring
from penstock.cli import exits, places, signals
from penstock.cli.event_json import as_json_line
from penstock.cli.streams import complain, gone, show
from penstock.core.events import RunResumed
from penstock.core.stream import VIEWS, Progress, Update, ValueOf, lens_of

from .show import what_is_next

if TYPE_CHECKING:
    from penstock.core.history import History, StoredRun


_NONSENSE = (LookupError, TypeError, ValueError, AttributeError)
"""What an event may raise that says what cannot be: who can write to the store can write anything there."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("run", metavar="RUN", help="its id, the beginning of it, or: last")
    places.add_option(parser)
    parser.add_argument(
        "--view",
        choices=VIEWS,
        default=VIEWS[0],
        help="all that happens, or only values as they come, updates of steps, or how far it is",
    )
    parser.add_argument("--from-start", action="store_true", help="begin with what has happened before")
    parser.add_argument("--json", action="store_true", help="write a JSON object for each event, one a line")


def execute(arguments: argparse.Namespace) -> int:
    """Follows; gives the exit code that the run would have given."""
    place = places.place(arguments.store)
    with places.history(place) as history:
        run = places.find(history, arguments.run)
        with signals.orderly() as asked:
            try:
                if arguments.json or arguments.view != VIEWS[0]:
                    _tell(history, run, arguments)
                else:
                    _draw(history, run, place.word, from_start=arguments.from_start)
            except KeyboardInterrupt:
                run = history.run(run.run_id)
                complain(wiring.shown(f"run {run.run_id} is not watched any more{_goes_on(run)}"))
                return exits.TERMINATED if asked.terminated else exits.INTERRUPTED
        if gone():
            return exits.SUCCEEDED
        run = history.run(run.run_id)
        if not arguments.json:
            for text in wiring.shown_run(run, sys.stdout):
                show(text)
        if run.is_cut_off:
            complain(wiring.shown(f"run {run.run_id} was cut off: {run.owner or 'nobody'} drives it no more"))
        for line in what_is_next(run, place):
            complain(wiring.shown(line))
    return exits.of_status(run.status)


def _goes_on(run: StoredRun) -> str:
    return f"; it goes on in {run.owner}" if run.is_driven else ""


def _news(history: History, run: StoredRun) -> tuple[Iterator[Any], Callable[[], Iterator[Any]]]:
    """What has happened to a run so far, and, once that has been read, what makes the rest as it comes."""
    from penstock.core.following import SoFar
    from penstock.core.history import coming

    so_far = SoFar(history.reader, run.story)
    return iter(so_far), lambda: coming(run, so_far.position)


def _draw(history: History, run: StoredRun, store: str, *, from_start: bool) -> None:
    """Shows the run as `penstock run` does. When it goes on anew meanwhile, the picture is made anew."""
    again = True
    while again:
        run = history.run(run.run_id)
        if not from_start and not run.is_driven:
            return  # nothing will come, and the page says how it stands
        before, coming = _news(history, run)
        if run.is_driven:
            complain(wiring.shown(f"{run.owner} drives run {run.run_id}; Ctrl-C ends only the watching"))
        progress = wiring.followed(run.outline, sys.stdout, store=store)
        with progress:
            for event in before:
                _take(progress.observer if from_start else progress.tally, event)
            again = False
            for event in coming():
                if isinstance(event, RunResumed):
                    again = True
                    break
                _take(progress.observer, event)
                if gone():
                    return
        from_start = False


def _take(observer: Callable[[Any], None], event: Any) -> None:
    with suppress(*_NONSENSE):
        observer(event)


def _tell(history: History, run: StoredRun, arguments: argparse.Namespace) -> None:
    """Writes the items of a view, one a line."""
    text = as_json_line if arguments.json else _words
    lens = lens_of(arguments.view, run.outline)

    def items(event: Any) -> list[Any]:
        with suppress(*_NONSENSE):
            return list(lens(event))
        return []

    before, coming = _news(history, run)
    for event in before:
        for item in items(event):  # also where nothing is shown: it counts
            if arguments.from_start:
                show(text(item))
    for event in coming():
        for item in items(event):
            show(text(item))
        if gone():
            return


def _words(item: Any) -> str:
    """An item of a view for people."""
    from penstock.core.codec_preview import preview

    match item:
        case ValueOf(path, value):
            said = f"{path}  {preview(value, 200)}"
        case Update(path, status, reason, at):
            when = time.strftime("%H:%M:%S", time.localtime(at))
            why = f": {reason}" if reason else ""
            said = f"{when}  {'run' if path is None else path}  {status.value}{why}"
        case Progress(path, done, total, failed, words):
            of = "" if total is None else f" of {total:,g}"
            bad = f", {failed:,} failed" if failed else ""
            said = f"{'run' if path is None else path}  {done:,g}{of}{bad}{f'  {words}' if words else ''}"
        case _:
            said = str(item)
    return wiring.shown(said) + "\n"
