"""The run report: what is known of a run, its graph drawn, and the page made of both."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from penstock.core.errors import PenstockError
from penstock.core.graph import Graph
from penstock.core.result import RunResult

if TYPE_CHECKING:
    from penstock.core.history import StoredRun

LOOKED_AT = 60
"""Values that are asked for a picture of themselves."""


def report(run: StoredRun, *, where: str = "", option: str = "", target: str | None = None) -> str:
    """The report of a stored run: one HTML page.

    Args:
        run: The run.
        where: The store, for people.
        option: What commands need to find the store, after a blank; empty if nothing.
        target: What they need to find the code; None if the run itself says so.

    Raises:
        StoreError: The run cannot be read.
    """
    from penstock.report.collect import collect

    found = collect(run, store=where, option=option, target=target)
    return _page(found, run.outputs)


def page_of(graph: Graph, workers: int | None, url: str, result: RunResult) -> str:
    """The report of a run that has just been: from its store, if it has one, and otherwise from memory.

    Args:
        graph: What has run.
        workers: `max_concurrency` of the run.
        url: Of its store; empty if it has none.
        result: What it has come to.

    Raises:
        StoreError: The run cannot be read.
    """
    if result.stored is not None:
        from penstock.report.collect import collect

        path = url.removeprefix("sqlite:///")
        option = f" --store {shlex.quote(path)}" if path != url else ""
        with result.stored() as run:
            found = collect(run, store=path, option=option)
    else:
        from penstock.core.outline import outline_of
        from penstock.report.live import collect_result

        found = collect_result(result, outline_of(graph), workers=workers, usage=result.usage)
    warnings = dict.fromkeys((*found.warnings, *result.warnings))
    return _page(found._replace(warnings=tuple(warnings)), result.outputs)


def _page(found: Any, values: Mapping[str, Any]) -> str:
    from penstock.draw.svg import svg
    from penstock.report.captured import figures
    from penstock.report.page import page

    shown, left_out = figures(_seen(values))
    found = found._replace(figures=shown, dropped=(*found.dropped, *left_out))
    drawn = svg(found.outline, statuses=found.standings, ids_prefix="graph-") if found.outline.nodes else ""
    return page(found, drawn, version=sys.modules["penstock"].__version__)


def _seen(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The first values; one that is of a class that is not known here has no picture here either."""
    for name, _ in zip(values, range(LOOKED_AT), strict=False):
        try:
            yield name, values[name]
        except (PenstockError, KeyError):
            continue
