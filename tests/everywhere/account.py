"""What a run says of itself, in a form in which runs by different runners must be equal; and whether its
journal is sound."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from penstock.core import events
from penstock.core.entries import fact_of, started_of
from penstock.core.graph import Graph
from penstock.core.history import History, StoredRun
from penstock.core.invariants import check, differences
from penstock.core.machine import Machine
from penstock.core.machine.apply import apply
from penstock.core.machine.facts import BEGUN
from penstock.core.machine.state import State
from penstock.core.model import Failure, RunOptions
from penstock.core.plan import Plan
from penstock.core.result import RunResult


class Line(NamedTuple):
    """Something that happened to a step or an item.

    Attributes:
        path: Of it.
        attempt: Which attempt it was, as the step is charged for them; 0 for none.
        status: What it came to.
        source: Where the value comes from; of a skip, its cause.
        digest: Of the value, or of the failure.
    """

    path: str
    attempt: int
    status: str
    source: str
    digest: str


def account(run: StoredRun) -> frozenset[Line]:
    """All that its journal says of steps and items, but for when it was."""
    found = list(_lines(run.events(decode=False)))
    assert len(set(found)) == len(found), "something is said twice"
    return frozenset(found)


def _lines(told: Iterable[Any]) -> Iterator[Line]:
    charged: Counter[str] = Counter()
    for event in told:
        path = str(getattr(event, "path", ""))
        match event:
            case events.NodeSucceeded():
                charged[path] += 1
                yield Line(path, charged[path], "succeeded", event.source, digest(event.value))
            case events.NodeRetrying() | events.NodeFailed():
                charged[path] += 1
                status = "failed" if isinstance(event, events.NodeFailed) else "retrying"
                yield Line(path, charged[path], status, event.failure.kind, digest(_told(event.failure)))
            case events.NodeSkipped():
                yield Line(path, 0, "skipped", event.cause.value, digest(str(event.because)))
            case events.NodeCancelled():
                yield Line(path, 0, "cancelled", "", "")
            case events.NodeDecided():
                yield Line(path, 0, event.what, "", digest(event.value))
            case events.NodeYielded():
                yield Line(path, 0, f"element {event.position}", "", digest(event.element))
            case events.NodeExpanded() if event.size is not None:
                yield Line(path, 0, "expanded", "", digest([event.size, event.keys]))


def digest(data: Any) -> str:
    """Of what is stored of a value."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _told(failure: Failure) -> list[Any]:
    """What of a failure is the same wherever it was: of the traceback the line of the user's that raised."""
    last = [line for line in failure.trace.splitlines() if line.startswith('  File "')][-1:]
    return [failure.kind, failure.type, failure.text, failure.attempt, [line.strip() for line in last]]


def journal_problems(
    history: History, run: StoredRun, result: RunResult, graph: Graph, told: Sequence[Any], runner: str | None
) -> list[str]:
    """What is wrong with a run's journal: nothing, if a second machine that is fed with it comes to the same.

    Args:
        history: Where the run is kept.
        run: It.
        result: What the run has come to.
        graph: What was run.
        told: What an observer was told, in order.
        runner: Of the steps that name none.
    """
    plan, codec = Plan(graph, runner=runner), history.codec
    written = Machine(plan, RunOptions())
    story = run.story
    apply(written.state, (BEGUN, started_of(story.started, codec.decode)))
    problems = []
    for entry in story.entries:
        apply(written.state, fact_of(written.state, entry, codec.decode))
        problems += [f"after {entry[:3]}: {problem}" for problem in unsound(written.state)]
    heard, more = folded(graph, told, runner)
    problems += more
    problems += [
        f"the journal and what was told differ in {part}" for part in differences(written.state, heard)
    ]
    problems += [
        f"{path} is {status} in the result, and not so in the journal"
        for path, status in statuses(result).items()
        if run.node(path).status.value != status
    ]
    return problems


def folded(graph: Graph, told: Iterable[Any], runner: str | None) -> tuple[Any, list[str]]:
    """The state that the events of a run make of a fresh machine, and where it was not sound on the way."""
    machine, problems = Machine(Plan(graph, runner=runner), RunOptions()), list[str]()
    for event in told:
        if isinstance(event, (events.Progressed, events.Logged, events.Measured)):
            continue
        machine.apply(event)
        problems += [f"after {type(event).__name__}: {problem}" for problem in unsound(machine.state)]
    return machine.state, problems


def unsound(state: State) -> list[str]:
    """What is wrong with a state. That something could run is not: no event says how much room there was."""
    return [problem for problem in check(state) if not problem.endswith("is idle")]


def statuses(result: RunResult) -> dict[str, str]:
    """By path, of steps and of items."""
    found = {}
    for node in result.nodes.values():
        found[node.path] = node.status.value
        for item in node.items or ():
            found[item.path] = item.status.value
    return found
