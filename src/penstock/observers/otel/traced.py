"""An observer that makes spans of the events of a run, and counts its attempts.

A run has one span; so has each step, each item of a map, below the span of its step, and each attempt. Links
lead to what a step took its values from. What was skipped is told in events of the run's span: it has neither
a time nor a length, and ten thousand skipped items would be as many spans of nothing.

Spans are known by their ids before the attempt begins, and are complete when it has ended: an attempt may be
entered in its own thread before the news of its start has come here, or after.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Link, Span

from penstock.core import events
from penstock.core.model import Failure, NodePath, RunStatus

from .carried import ARRIVES, packed
from .meters import Meters
from .spans import MOST, Moment, Spans, Story, exception_of

if TYPE_CHECKING:
    from penstock.core.inside import Inside

_KNOWN: Final = 20_000
"""Steps and items that are remembered when they have ended: what follows from them comes soon."""


class _Ended(NamedTuple):
    """A step, or an item, that has ended."""

    at: float
    link: Link


class _Attempt:
    """An attempt that is under way."""

    __slots__ = ("number", "span")

    def __init__(self, span: Span, number: int) -> None:
        self.span = span
        self.number = number


class _Step:
    """A step, or an item, that has begun and not ended."""

    __slots__ = ("began", "failed", "ready", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.began: float | None = None
        self.ready: float | None = None  # when its next attempt is due
        self.failed = 0


class _Map:
    """A step that is mapped: what is known of all of its items."""

    __slots__ = ("began", "ended", "failed", "items", "links", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.began: float | None = None
        self.ended = 0.0
        self.items = self.failed = 0
        self.links: list[Link] = []


class _Within:
    """Makes a span the current one; one such is made for every attempt."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> None:
        self._token = attach(trace.set_span_in_context(self._span))

    def __exit__(self, *_: object) -> None:
        detach(self._token)


class TracedRun:
    """Follows one run.

    Args:
        run_id: Of the run.
        flow: Name of its flow.
        spans: Makes the spans.
        meters: Counts.
        around: What the caller of the run is in.

    Attributes:
        flow: As given.
        arrives: For attempts that are made in another process; see `Door`.
    """

    arrives = ARRIVES

    def __init__(self, run_id: str, flow: str, spans: Spans, meters: Meters, around: Context) -> None:
        self.flow = flow
        self._run_id = run_id
        self._spans = spans
        self._meters = meters
        self._around = around
        self._root = spans.root(f"run {flow}", around)
        self._began: float | None = None
        self._now = 0.0
        self._said: dict[str, Any] = {"penstock.run.id": run_id, "penstock.flow": flow}
        self._moments: list[Moment] = []
        self._skipped = 0
        self._error = ""
        self._over = False
        self._needs: Mapping[str, tuple[str, ...]] = {}
        self._steps: dict[NodePath, _Step] = {}
        self._maps: dict[str, _Map] = {}
        self._attempts: dict[tuple[NodePath, int], _Attempt] = {}
        self._handed: dict[tuple[NodePath, int], float] = {}
        self._used: dict[tuple[NodePath, int], events.Measured] = {}
        self._known: dict[tuple[str, tuple[int | str, ...]], _Ended] = {}
        self._folds = {
            events.RunStarted: self._run_started,
            events.RunResumed: self._run_resumed,
            events.CancelAsked: self._cancel_asked,
            events.DeadlineReached: self._deadline_reached,
            events.RunFinished: self._run_finished,
            events.NodeStarted: self._started,
            events.NodeSucceeded: self._succeeded,
            events.NodeRetrying: self._retrying,
            events.NodeFailed: self._failed,
            events.NodeCancelled: self._cancelled,
            events.NodeSkipped: self._was_skipped,
            events.RestSkipped: self._rest_was_skipped,
            events.NodeWaiting: self._waiting,
            events.NodeFolded: self._folded,
            events.NodeInterrupted: self._interrupted,
            events.Measured: self._measured,
        }

    def __call__(self, event: Any) -> None:
        fold: Any = self._folds.get(type(event))
        if fold is not None and not self._over:
            fold(event)

    @property
    def in_flight(self) -> int:
        """Attempts that are handed out."""
        return len(self._handed)

    # --- around attempts, in their own threads ------------------------------------------------------------

    @property
    def door(self) -> TracedRun:
        """What is entered around each attempt; see `attendance.Door`."""
        return self

    def enter(self, inside: Inside, /) -> _Within:
        """Makes the span of an attempt the current one, for all that its step records."""
        return _Within(self._attempt(inside.path, inside.token, inside.attempt).span)

    def carry(self, inside: Inside, /) -> Mapping[str, str]:
        """The same for another process, as texts."""
        span = self._attempt(inside.path, inside.token, inside.attempt).span
        return packed(trace.set_span_in_context(span, self._around))

    def _attempt(self, path: NodePath, token: int, number: int) -> _Attempt:
        found = self._attempts.get((path, token))
        if found is None:
            span = self._spans.open(f"attempt {path.node}", self._step(path).span)
            found = self._attempts.setdefault((path, token), _Attempt(span, number))
        return found

    def _step(self, path: NodePath) -> _Step:
        found = self._steps.get(path)
        if found is None:
            id, items = path
            if items:
                span = self._spans.open(f"item {id}", self._map(id).span)
            else:
                span = self._spans.open(f"step {id}", self._root)
            found = self._steps.setdefault(path, _Step(span))
        return found

    def _map(self, id: str) -> _Map:
        found = self._maps.get(id)
        if found is None:
            found = self._maps.setdefault(id, _Map(self._spans.open(f"step {id}", self._root)))
        return found

    # --- the run ------------------------------------------------------------------------------------------

    def _run_started(self, event: events.RunStarted) -> None:
        self._began = self._now = event.at
        self._needs = dict(event.shape)
        self._said |= {f"penstock.tag.{name}": text for name, text in event.tags.items()}
        if event.parent is not None:
            self._said["penstock.run.parent"] = event.parent
        self._meters.began(self)

    def _run_resumed(self, event: events.RunResumed) -> None:
        self._began = self._now = event.at
        self._said["penstock.resumed"] = True
        self._said["penstock.crashed"] = event.crashed

    def _cancel_asked(self, event: events.CancelAsked) -> None:
        self._now = event.at
        self._said["penstock.reason"] = event.reason
        self._moment("cancel asked", {"penstock.reason": event.reason})

    def _deadline_reached(self, event: events.DeadlineReached) -> None:
        self._now = event.at
        self._error = "its deadline passed"
        self._moment("deadline reached", {})

    def _moment(self, name: str, attributes: Mapping[str, Any]) -> None:
        if len(self._moments) < MOST:
            self._moments.append(Moment(name, self._now, attributes))

    def _run_finished(self, event: events.RunFinished) -> None:
        self._end(event.status.value, event.at)
        if event.status is RunStatus.FAILED and not self._error:
            self._error = "the run failed"

    def end_of_run(self) -> None:
        """Ends what is open of a run of which nothing more is heard: it was put down, or cut off."""
        if not self._over and self._began is not None:
            waits = any(step.began is not None for step in self._steps.values()) and not self._handed
            self._end("waiting" if waits else "cut off", max(time.time(), self._now))

    def _end(self, status: str, at: float) -> None:
        self._over = True
        self._meters.over(self)
        for path, step in self._steps.items():
            if step.began is not None:
                self._close_step(path, step, step.began, at, "waiting")
        self._steps.clear()
        for id, whole in self._maps.items():
            said = {**self._of(NodePath(id)), "penstock.items": whole.items, "penstock.failed": whole.failed}
            began = self._began if whole.began is None else whole.began
            self._spans.close(whole.span, Story(began or at, whole.ended or at, said))
        if status == "failed" and not self._error:
            self._error = "the run failed"
        self._said["penstock.status"] = status
        if self._skipped:
            self._said["penstock.skipped"] = self._skipped
        began = self._began if self._began is not None else at
        self._spans.close(self._root, Story(began, at, self._said, self._moments, (), self._error))

    # --- steps and attempts -------------------------------------------------------------------------------

    def _started(self, event: events.NodeStarted) -> None:
        path, token, at = event
        step = self._step(path)
        if (path, token) not in self._attempts:
            self._attempt(path, token, step.failed + 1)
        self._handed[path, token] = self._now = at

    def _succeeded(self, event: events.NodeSucceeded) -> None:
        path, token, _, _, source, began, ended = event
        self._now = ended
        self._ended(path, token, began, ended, "succeeded", None)
        step = self._steps.pop(path, None) or self._step_anew(path)
        if source != "run":
            self._close_step(path, step, began, ended, "succeeded", source=source)
        else:
            self._close_step(path, step, began, ended, "succeeded")

    def _retrying(self, event: events.NodeRetrying) -> None:
        path, token, failure, due, began, ended = event
        self._now = ended
        step = self._step(path)
        if step.began is None:
            step.began = began
        self._ended(path, token, began, ended, "failed", failure, due)
        step.ready = due
        step.failed += 1
        self._meters.retrying(self.flow, path.node)

    def _failed(self, event: events.NodeFailed) -> None:
        path, token, failure, began, ended = event
        self._now = ended
        self._ended(path, token, began, ended, "failed", failure)
        step = self._steps.pop(path, None) or self._step_anew(path)
        self._close_step(path, step, began, ended, "failed", failure)

    def _cancelled(self, event: events.NodeCancelled) -> None:
        path, token, abandoned, began, ended = event
        self._now = max(self._now, ended)
        self._ended(path, token, began, ended, "cancelled", None)
        step = self._steps.pop(path, None) or self._step_anew(path)
        self._close_step(path, step, began, ended, "abandoned" if abandoned else "cancelled")

    def _step_anew(self, path: NodePath) -> _Step:
        step = self._step(path)
        del self._steps[path]
        return step

    def _ended(
        self,
        path: NodePath,
        token: int,
        began: float,
        ended: float,
        status: str,
        failure: Failure | None,
        due: float | None = None,
    ) -> None:
        """Closes the span of an attempt, if there was one: gates and conditions have none."""
        key = (path, token)
        attempt, handed = self._attempts.pop(key, None), self._handed.pop(key, None)
        if attempt is None or handed is None:
            return
        queued = max(0.0, began - min(self._ready(path), handed))
        said = self._of(path)
        said["penstock.attempt"] = attempt.number if failure is None else failure.attempt
        said["penstock.status"] = status
        said["penstock.queued"] = queued
        used = self._used.pop(key, None)
        if used is not None:
            said |= _used(used)
        if failure is None:
            self._spans.close(attempt.span, Story(began, ended, said))
        else:
            said["penstock.reason"] = failure.kind
            if due is not None:
                said["penstock.retry.delay"] = max(0.0, due - ended)
            told = (Moment("exception", ended, exception_of(failure)),)
            self._spans.close(attempt.span, Story(began, ended, said, told, (), str(failure)))
        outcome = status if failure is None or failure.kind != "timeout" else "timeout"
        self._meters.ended(self.flow, path.node, outcome, ended - began, queued)

    def _ready(self, path: NodePath) -> float:
        """Since when an attempt could have begun."""
        step = self._steps.get(path)
        if step is not None and step.ready is not None:
            return step.ready
        found = self._began or 0.0
        for need in self._needs.get(path.node, ()):
            took = self._taken(need, path.items)
            if took is not None:
                found = max(found, took.at)
            elif need in self._maps:
                found = max(found, self._maps[need].ended)
        return found

    def _taken(self, need: str, items: tuple[int | str, ...]) -> _Ended | None:
        """What an item takes of a step: its own item of the same map, or that of a map around it, or the
        step; None if it is a map as a whole, or is not remembered."""
        for size in range(len(items), -1, -1):
            found = self._known.get((need, items[:size]))
            if found is not None:
                return found
        return None

    def _close_step(
        self,
        path: NodePath,
        step: _Step,
        began: float,
        ended: float,
        status: str,
        failure: Failure | None = None,
        source: str = "",
    ) -> None:
        id, items = path
        if step.began is not None:
            began = step.began
        said = self._of(path)
        said["penstock.status"] = status
        if step.failed:
            said["penstock.retries"] = step.failed
        if source:
            said["penstock.source"] = source
        if failure is not None:
            said["penstock.reason"] = failure.kind
        error = "" if failure is None else str(failure)
        self._spans.close(step.span, Story(began, ended, said, (), self._links_of(path), error))
        link = Link(step.span.get_span_context())
        self._known[path] = _Ended(ended, link)
        if len(self._known) > _KNOWN:
            del self._known[next(iter(self._known))]
        if not items:
            return
        whole = self._map(id)
        if whole.began is None or began < whole.began:
            whole.began = began
        whole.ended = max(whole.ended, ended)
        whole.items += 1
        whole.failed += failure is not None
        if len(whole.links) < MOST:
            whole.links.append(link)

    def _of(self, path: NodePath) -> dict[str, Any]:
        """What is said of every span of a step."""
        said = {"penstock.run.id": self._run_id, "penstock.flow": self.flow, "penstock.step": path.node}
        if path.items:
            said["penstock.path"] = str(path)
        return said

    def _links_of(self, path: NodePath) -> list[Link]:
        """Links to what a step, or an item, takes its values from."""
        links: list[Link] = []
        for need in self._needs.get(path.node, ()):
            took = self._taken(need, path.items)
            if took is not None:
                links.append(took.link)
            elif need in self._maps:
                whole = self._maps[need]
                links.append(Link(whole.span.get_span_context()))
                links += whole.links
        return links[:MOST]

    def _was_skipped(self, event: events.NodeSkipped) -> None:
        self._steps.pop(event.path, None)
        self._skip(str(event.path), event.cause.value, event.because, 1)

    def _rest_was_skipped(self, event: events.RestSkipped) -> None:
        for id in event.nodes:
            self._skip(f"{id}[{event.first}…]", event.cause.value, event.because, event.size)

    def _skip(self, path: str, cause: str, because: NodePath | None, many: int) -> None:
        self._skipped += many
        said: dict[str, Any] = {"penstock.path": path, "penstock.reason": cause}
        if because is not None:
            said["penstock.because"] = str(because)
        if many > 1:
            said["penstock.items"] = many
        self._moment("skipped", said)

    def _waiting(self, event: events.NodeWaiting) -> None:
        self._step(event.path).began = self._now = event.at

    def _folded(self, event: events.NodeFolded) -> None:
        """A fold gives its slot back until more items have ended: what it has done so far was an attempt."""
        handed = self._handed.get((event.path, event.token))
        if handed is not None:
            step = self._step(event.path)
            if step.began is None:
                step.began = handed
            self._ended(event.path, event.token, handed, max(handed, self._now), "folded", None)

    def _interrupted(self, event: events.NodeInterrupted) -> None:
        self._attempts.pop((event.path, event.token), None)
        self._handed.pop((event.path, event.token), None)

    def _measured(self, event: events.Measured) -> None:
        self._used[event.path, event.token] = event


def _used(used: events.Measured) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if used.cpu is not None:
        said["penstock.cpu"] = used.cpu
    if used.memory is not None:
        said["penstock.memory"] = used.memory
        said["penstock.memory.exact"] = used.exact
    return said
