"""Who follows a run: the observers that come with Penstock, and for each run its own of those for many."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from penstock.core.errors import InputError
from penstock.core.graph import Graph
from penstock.core.model import RunOptions
from penstock.core.ports import Follows, Observer, Upcoming
from penstock.core.storage import Store, StoreWord

from .stores import open

if TYPE_CHECKING:
    from penstock.core.keeping import Kept
    from penstock.core.outline import Outline


def progress(stream: TextIO | None = None, *, live: bool | None = None) -> Observer:
    """An observer that shows runs while they go on: ``RunOptions(observers=[penstock.progress()])``.

    It may be given to any number of runs, also to several at once.

    Args:
        stream: Where; None for standard error, or in a notebook the cell.
        live: A table that is drawn in place, or else lines; None chooses by where it is.
    """
    from penstock.observers.face import Shown

    return Shown(stream, live=live)


def followed(
    graph: Graph | Outline,
    stream: TextIO | None,
    *,
    live: bool | None = None,
    store: StoreWord = None,
    here: bool = False,
) -> Any:
    """A `penstock.observers.progress.Progress` of a run of this graph: its observer, counts and summary.

    Args:
        graph: What runs.
        stream: Where it is shown; None for nowhere.
        live: A table that is drawn in place, or else lines; None chooses by where it is.
        store: Has how long earlier runs took.
        here: The run goes on in this process.
    """
    from penstock.observers.progress import Progress

    def expected() -> Mapping[str, float]:
        with open(store) as history:
            return _expected(history.reader, graph.name)

    return Progress(graph, stream, live=live, expected=None if store is None else expected, here=here)


def tracing(tracer_provider: Any = None, meter_provider: Any = None) -> Observer:
    """An observer that makes OpenTelemetry's traces and metrics of runs: ``observers=[penstock.tracing()]``.

    A span is made for each run, step, item and attempt; within a step, the span of its attempt is the current
    one. It may be given to any number of runs.

    Args:
        tracer_provider: Makes the tracer; None for the one that is set up for the process when a run begins.
        meter_provider: Makes the meter; the same.

    Raises:
        InputError: OpenTelemetry is not installed.
    """
    try:
        from penstock.observers.otel import Tracing
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise InputError("tracing needs OpenTelemetry; say: pip install 'penstock[otel]'") from None
    return Tracing(sys.modules["penstock"].__version__, tracer_provider, meter_provider)


@contextmanager
def exporting(warn: Callable[[str], object]) -> Iterator[Observer]:
    """As `tracing`, where nobody may have set up who takes the traces: then it is done here, as the variables
    of OpenTelemetry say.

    Args:
        warn: Takes what is to be said to people.

    Raises:
        InputError: OpenTelemetry, or an exporter, is not installed.
    """
    observer = tracing()
    from penstock.observers.otel.setup import exporting

    with exporting(warn):
        yield observer


def for_one_run(options: RunOptions, run_id: str, graph: Graph, kept: Kept | None) -> RunOptions:
    """The options, where observers that follow many runs have given one for this run alone."""
    if not any(isinstance(one, Follows) for one in options.observers):
        return options
    run = Upcoming(run_id, graph)
    if kept is not None:
        run = run._replace(expected=partial(_expected, kept.store, graph.name), story=kept.story)
    known: dict[str, Any] = {name: getattr(options, name) for name in RunOptions._fields}
    known["observers"] = [one.for_run(run) if isinstance(one, Follows) else one for one in options.observers]
    return RunOptions(**known)


def _expected(store: Store, flow: str) -> Mapping[str, float]:
    """How long the steps of a flow took in earlier runs."""
    from penstock.core.expected import expected

    return expected(store, flow)
