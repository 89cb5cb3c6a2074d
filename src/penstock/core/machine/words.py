"""Facts in public words, and the way back: who watches or replays a run needs it, and no other."""

from __future__ import annotations

from typing import Any, Final

from .. import events
from ..model import RunStatus
from .facts import (
    AGAIN,
    BEGUN,
    CANCEL,
    CAUSES,
    DECIDED,
    EXPIRED,
    FINISHED,
    FOLDED,
    REST_SKIPPED,
    SKIPPED,
    SOURCES,
    STARTED,
    SUCCEEDED,
    WAITING,
    Fact,
)
from .state import State

_NODE_EVENTS: Final[tuple[type[Any], ...]] = (
    events.NodeStarted, events.NodeSucceeded, events.NodeRetrying, events.NodeFailed, events.NodeSkipped,
    events.NodeCancelled, events.NodeExpanded, events.NodeYielded, events.NodeDecided, events.NodeWaiting,
    events.NodeInterrupted, events.NodePaused, events.NodeResumed, events.AttemptReleased,
)  # fmt: skip
_KINDS: Final = {cls: kind for kind, cls in enumerate(_NODE_EVENTS)}
new: Any = tuple.__new__  # makes a named tuple without the cost of its own __new__; two are made per step
_WHATS: Final = ("trigger", "when")


def to_event(state: State, fact: Fact) -> events.Event:
    """The event that says the same in public words."""
    kind = fact[0]
    event: events.Event
    if kind == STARTED:
        event = new(events.NodeStarted, (state.path(fact[1]), fact[2], fact[3]))
        return event
    if kind == SUCCEEDED:
        _, node, token, source, value, writes, began, ended = fact
        fields = (state.path(node), token, value, writes, SOURCES[source], began, ended)
        event = new(events.NodeSucceeded, fields)
        return event
    if kind == SKIPPED:
        _, node, cause, because = fact
        path = None if because is None else state.path(because)
        return events.NodeSkipped(state.path(node), CAUSES[cause], path)
    if kind == DECIDED:
        _, node, what, value = fact
        return events.NodeDecided(state.path(node), _WHATS[what], value)
    if kind == CANCEL:
        return events.CancelAsked(fact[1], fact[2])
    if kind == BEGUN:
        begun: events.RunStarted = fact[1]
        return begun
    if kind == AGAIN:
        resumed: events.RunResumed = fact[1]
        return resumed
    if kind == WAITING:
        _, i, token, now, due = fact
        node = state.plan.nodes[state.plan.node[state.site[i]]]
        takes = getattr(node.call, "takes", "")
        return events.NodeWaiting(state.path(i), token, now, due, node.doc, takes)
    if kind == FINISHED:
        return events.RunFinished(RunStatus(fact[1]), fact[2])
    if kind == EXPIRED:
        return events.DeadlineReached(fact[1])
    if kind == REST_SKIPPED:
        return _rest_skipped(state, fact)
    if kind == FOLDED:
        return events.NodeFolded(state.path(fact[1]), fact[2], fact[3])
    event = new(_NODE_EVENTS[kind], (state.path(fact[1]), *fact[2:]))
    return event


def _rest_skipped(state: State, fact: Fact) -> events.RestSkipped:
    _, group, first, cause, because = fact
    fan = state.fan_of_group(group)
    assert fan is not None
    ids = tuple(state.plan.nodes[node].id for node in state.plan.levels[fan.scope].position)
    path = None if because is None else state.path(because)
    return events.RestSkipped(state.path(group), ids, first, len(fan.rows) - first, CAUSES[cause], path)


def from_event(state: State, event: events.Event) -> Fact:
    """The fact of an event, in the numbers of this machine.

    Raises:
        KeyError: The event names a node, or an item, that this machine has not.
    """
    if isinstance(event, events.RunStarted):
        return (BEGUN, event)
    if isinstance(event, events.RunResumed):
        return (AGAIN, event)
    if isinstance(event, events.CancelAsked):
        return (CANCEL, event.reason, event.at)
    if isinstance(event, events.RunFinished):
        return (FINISHED, event.status.value, event.at)
    if isinstance(event, events.DeadlineReached):
        return (EXPIRED, event.at)
    node = state.find(event.path)
    if isinstance(event, events.NodeSucceeded):
        _, token, value, writes, source, began, ended = event
        return (SUCCEEDED, node, token, SOURCES.index(source), value, writes, began, ended)
    if isinstance(event, events.NodeSkipped):
        because = None if event.because is None else state.find(event.because)
        return (SKIPPED, node, CAUSES.index(event.cause), because)
    if isinstance(event, events.NodeDecided):
        return (DECIDED, node, _WHATS.index(event.what), event.value)
    if isinstance(event, events.RestSkipped):
        because = None if event.because is None else state.find(event.because)
        return (REST_SKIPPED, node, event.first, CAUSES.index(event.cause), because)
    if isinstance(event, events.NodeWaiting):
        return (WAITING, node, event.token, event.at, event.due)
    if isinstance(event, events.NodeFolded):
        return (FOLDED, node, event.token, event.upto)
    return (_KINDS[type(event)], node, *event[1:])
