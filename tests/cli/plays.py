"""Runs as plays of events, for what is told of them: no engine, no clock."""

import time
from collections.abc import Iterable
from typing import Any

from penstock.core import events as e
from penstock.core.graph import Graph
from penstock.core.model import Abandoned, Failure, Need, Node, RunStatus, SkipCause
from penstock.observers.lines import Lines
from penstock.observers.tally import Tally

P = e.NodePath


def call() -> None: ...


def chain() -> Graph:
    """load, parse (needs load), save (needs parse)."""
    return Graph(
        "chain",
        [
            Node("load", call),
            Node("parse", call, (Need("load", "use", "x"),)),
            Node("save", call, (Need("parse", "use", "x"),)),
        ],
    )


def mapped() -> Graph:
    """files, parse (each of files), check (per item), report (gathers)."""
    return Graph(
        "mapped",
        [
            Node("files", call),
            Node("parse", call, (Need("files", "each", "x"),)),
            Node("check", call, (Need("parse", "use", "x"),)),
            Node("report", call, (Need("check", "gather", "x", failures="drop"),)),
        ],
    )


def begin(graph: Graph, at: float = 0.0) -> e.RunStarted:
    shape = tuple((node.id, tuple(need.node for need in node.needs)) for node in graph.nodes)
    return e.RunStarted("r1", graph.name, shape, 1, {}, None, (), {}, {}, None, at)


def finish(status: RunStatus = RunStatus.SUCCEEDED, at: float = 9.0) -> e.RunFinished:
    return e.RunFinished(status, at)


def start(path: P, at: float, token: int = 1) -> e.NodeStarted:
    return e.NodeStarted(path, token, at)


def succeed(path: P, at: float, token: int = 1, source: str = "run") -> e.NodeSucceeded:
    return e.NodeSucceeded(path, token, None, None, source, at, at)


def broken(text: str = "no", attempt: int = 1) -> Failure:
    trace = (
        f'Traceback (most recent call last):\n  File "app.py", line 7, in work\n    x\nValueError: {text}\n'
    )
    return Failure("error", "ValueError", text, trace, attempt=attempt)


def fail(path: P, at: float, text: str = "no", attempt: int = 1) -> e.NodeFailed:
    return e.NodeFailed(path, attempt, broken(text, attempt), at, at)


def retry(path: P, at: float, due: float, attempt: int = 1) -> e.NodeRetrying:
    return e.NodeRetrying(path, attempt, broken("try again", attempt), due, at, at)


def skip(path: P, cause: SkipCause = SkipCause.UPSTREAM, because: P | None = None) -> e.NodeSkipped:
    return e.NodeSkipped(path, cause, because)


def cancelled(path: P, at: float, abandoned: str | None = None) -> e.NodeCancelled:
    left = None if abandoned is None else Abandoned(abandoned, str(path))
    return e.NodeCancelled(path, 1, left, at, at)


def tally(graph: Graph, play: Iterable[Any]) -> Tally:
    """What has been counted after a play."""
    found = Tally(graph)
    for event in play:
        found(event)
    return found


def lines(graph: Graph, play: Iterable[Any]) -> list[str]:
    """What has been said after a play."""
    found = Lines(Tally(graph), clock=time.gmtime)
    for event in play:
        found(event)
    return found.drain()
