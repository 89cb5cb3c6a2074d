"""What people are shown: drawings, pages and lines, each made by the part that knows how."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TextIO

from penstock.core.errors import InputError, PenstockError, nearest
from penstock.core.graph import Graph

if TYPE_CHECKING:
    from pathlib import Path

    from penstock.config import Config
    from penstock.core.history import StoredRun
    from penstock.core.kept_notes import LogLine
    from penstock.core.outline import Outline


def drawing(
    graph: Graph | Outline,
    form: str = "text",
    *,
    rough: bool = False,
    nodes: Mapping[str, Any] | None = None,
    group: bool | None = None,
    theme: Literal["auto", "light", "dark"] = "auto",
) -> str:
    """A graph drawn as ``text``, ``mermaid``, ``dot`` or ``svg``.

    Args:
        graph: What is drawn: a graph, or the outline of one.
        form: One of the four.
        rough: Draw the text with ASCII signs only.
        nodes: The nodes of a result or of a stored run, whose statuses an SVG shows.
        group: Of an SVG: True draws what is alike, every sub-flow and every map as one box; None does so
            where it makes a large graph readable.
        theme: Of an SVG.

    Raises:
        InputError: There is no such form.
    """
    from penstock.core.outline import outline_of

    outline = outline_of(graph) if isinstance(graph, Graph) else graph
    if form == "text":
        from penstock.draw.text import text

        if not isinstance(graph, Graph):
            return text(outline, rough=rough)
        taken = {node.id: list(dict.fromkeys(name for _, name in node.inputs)) for node in graph.nodes}
        return text(outline, inputs=tuple(graph.inputs.values()), taken=taken, rough=rough)
    if form == "mermaid":
        from penstock.draw.mermaid import mermaid

        return mermaid(outline)
    if form == "dot":
        from penstock.draw.dot import dot

        return dot(outline)
    if form == "svg":
        from penstock.core.standings import standings
        from penstock.draw.svg import svg

        return svg(outline, statuses=None if nodes is None else standings(nodes), group=group, theme=theme)
    forms = ("text", "mermaid", "dot", "svg")
    raise InputError(f"there is no form {form!r}{nearest(form, forms)} (one of {', '.join(forms)})")


def pictured(
    shown: object, graph: Callable[[], Graph], nodes: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """What a notebook shows of a flow, or of its result, by the names of media types: a picture.

    Args:
        shown: The thing, whose repr is the text.
        graph: Makes its graph; one that is not valid is told of instead.
        nodes: Of a result.
    """
    try:
        return {"text/plain": repr(shown), "image/svg+xml": drawing(graph(), "svg", nodes=nodes)}
    except PenstockError as error:
        return {"text/plain": f"{shown!r}\n{error}"}


def shown_runs(runs: Sequence[StoredRun], stream: TextIO) -> str:
    """A table of stored runs, as that stream can show it."""
    from penstock.observers import stored
    from penstock.observers.marks import Signs

    return stored.text(stored.table(runs, Signs(stream.encoding), time.time()), stream)


def shown_run(
    run: StoredRun, stream: TextIO, *, step: str | None = None, events: bool = False
) -> Iterator[str]:
    """A stored run as that stream can show it, in parts: all of it, one step, or its events.

    Raises:
        KeyError: There is no such step.
    """
    from penstock.observers import stored
    from penstock.observers.marks import Signs

    signs = Signs(stream.encoding)
    if events:
        for line in stored.events(run):
            yield stored.text([line], stream)
    else:
        yield stored.text(stored.page(run, signs) if step is None else stored.step(run, step, signs), stream)


def log_text(stream: TextIO, names: Iterable[str] = ()) -> Callable[[LogLine], str]:
    """What makes text of log lines, as that stream can show them, aligned with the longest of these names."""
    from penstock.observers.logged import LogText

    return LogText(stream, names)


def discover(path: Path) -> Iterator[Any]:
    """What `penstock.discovery.discover` finds below a path, without importing any of it."""
    from penstock.discovery import discover

    return discover(path)


def configured() -> Config:
    """What `penstock.config.load` finds, for a face that was asked for it; a run call never is.

    Raises:
        InputError: There is something wrong with it.
    """
    from penstock.config import load

    return load()


def shown(text: str) -> str:
    """One line of somebody's text as a terminal may have it: nothing in it can move the cursor."""
    from penstock.core.visible import one_line

    return one_line(text)
