"""Drives the real machine through a test graph on a fake clock, and writes its history in the model's words.

The driver plays engine, runners and user at once: attempts end as the script says, in an order that a dice of
its own chooses among those that are due.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from random import Random
from typing import Any

from penstock.core import commands as c
from penstock.core import events
from penstock.core.binding import Binder
from penstock.core.graph import Graph
from penstock.core.invariants import check, differences
from penstock.core.machine import Machine
from penstock.core.model import (
    NOTHING,
    Accepts,
    Condition,
    Failure,
    Limit,
    Need,
    Node,
    Ok,
    Rate,
    RetryPolicy,
    Skip,
    Timeout,
)
from penstock.core.plan import Plan
from tests.model import spec as given
from tests.model.spec import Fact, GraphSpec, Script

RUNNERS = ("left", "right")


def graph_of(spec: GraphSpec) -> Graph:
    """The same graph in the core's words."""
    limits = {
        limit.name: Limit(limit.name, limit.capacity, Rate(*limit.rate) if limit.rate else None)
        for limit in spec.limits
    }
    return Graph("random", [_node(step, limits) for step in spec.steps])


def _node(step: given.Step, limits: Mapping[str, Limit]) -> Node:
    condition = Condition(lambda: True)
    return Node(
        step.id,
        _no_call,
        tuple(_need(need, f"n{at}") for at, need in enumerate(step.needs)),
        retry=RetryPolicy(step.max_attempts, step.delay, exponential_base=1.0, jitter="none"),
        timeout=None if step.timeout is None else Timeout(step.timeout),
        trigger=condition if step.trigger == "callable" else step.trigger,
        when=condition if step.when else None,
        optional=step.optional,
        runner=RUNNERS[step.runner],
        limits=tuple(limits[name].take(weight) for name, weight in step.limits),
        keep=True,
    )


def _need(need: given.Need, param: str) -> Need:
    if need.how == "after":
        return Need(need.parent, "after")
    if need.how == "optional":
        return Need(need.parent, "use", param, Accepts.ANYTHING, "default")
    if need.how == "outcome":
        return Need(need.parent, "outcome", param, Accepts.ANYTHING)
    if need.how == "use" and need.default:
        return Need(need.parent, "use", param, Accepts.CONDITION, "default")
    return Need(need.parent, need.how, param, failures=need.policy, levels=need.levels)


def _no_call(**_: Any) -> None:
    raise AssertionError("the driver makes no calls")


Watch = Callable[[Machine], None]


class Drive:
    """One run. `play` drives it to its end; the attributes tell what happened.

    Args:
        spec: The graph and its options.
        dice: Chooses among what could happen next.
        shadow: Feed a second machine with the events of each turn and compare the two.
        watch: Called after every turn.
    """

    def __init__(
        self, spec: GraphSpec, dice: Random, *, shadow: bool = False, watch: Watch | None = None
    ) -> None:
        self.spec, self.script, self.dice = spec, Script.of(spec), dice
        self.graph = graph_of(spec)
        self.plan = Plan(self.graph, keep_all=True)
        self.machine = self._machine()
        self.shadow = self._machine() if shadow else None
        self.watch = watch
        self.events: list[events.Event] = []
        self.turns: list[int] = []  # how many events there were after each turn
        self.values: dict[given.Instance, object] = {}
        self.problems: list[str] = []
        self._binder = Binder(self.machine.state, {})
        self._sources = spec.sources()
        self._steps = {step.id: step for step in spec.steps}
        self._due: list[tuple[float, float, int, int, c.Reply]] = []
        self._running: dict[int, tuple[int, float]] = {}
        self._limits = 0
        self.now = 1000.0

    def _machine(self) -> Machine:
        spec = self.spec
        return Machine(
            self.plan,
            on_failure=spec.on_failure,
            max_concurrency=spec.max_concurrency,
            capacities=dict(zip(RUNNERS, spec.capacities, strict=True)),
            grace=50.0,
        )

    def play(self, most_turns: int = 20_000) -> Drive:
        """Drives the run to its end."""
        started = events.RunStarted("r", "random", (), self.spec.seed, {}, None, (), {}, {}, None, self.now)
        self.machine.begin(started)
        asked = False
        replies: list[c.Reply] = []
        state = self.machine.state
        for _ in range(most_turns):
            if not asked and self.spec.cancel_after is not None and self._recorded >= self.spec.cancel_after:
                replies.append((c.ASKED, "test"))
                asked = True
            todo = self.machine.step(replies, self.now)
            decided = self._carry_out(todo)
            while decided:
                decided = self._carry_out(self.machine.step(decided, self.now))
            self._take_facts()
            if state.finished is not None:
                return self
            replies = self._next()
            if not replies and asked and self.machine.next_alarm() is None and not self._due:
                break
        self.problems.append("the run got stuck")
        return self

    @property
    def _recorded(self) -> int:
        return len(self.events) - 1 if self.events else 0

    def history(self) -> list[Fact]:
        """What happened, in the model's words."""
        return [fact for event in self.events if (fact := as_fact(event)) is not None]

    def _take_facts(self) -> None:
        new = [self.machine.event(fact) for fact in self.machine.drain()]
        self.events += new
        self.turns.append(len(self.events))
        self.problems += check(self.machine.state)
        if self.shadow is not None:
            for event in new:
                self.shadow.apply(event)
            self.problems += [
                f"replay differs in {part}" for part in differences(self.machine.state, self.shadow.state)
            ]
        if self.watch is not None:
            self.watch(self.machine)

    def _carry_out(self, todo: list[c.Command]) -> list[c.Reply]:
        """Plays the runners; gives back the answers that are due within the turn."""
        answers: list[c.Reply] = []
        for command in todo:
            i = command[1]
            node, path = self.machine.state.path(i)
            if command[0] == c.DECIDE:
                what = "when" if command[2] == c.WHEN else "trigger"
                answer: Any = self.script.decide(node, path, what)  # type: ignore[arg-type]
                if answer == "raise":
                    answer = Failure("condition", "Error", "scripted")
                answers.append((c.DECIDED, i, command[2], answer))
            elif command[0] == c.START:
                self._start(i, command[2], node, path)
            elif command[0] == c.STOP:
                self._stop(i, command[2], node, path, command[3])
            else:
                self.problems.append(f"command {command} was not expected")
        return answers

    def _start(self, i: int, token: int, node: str, path: given.Path) -> None:
        attempt = len(self.machine.state.failures.get(i, ())) + 1
        kind, seconds = self.script.outcome(node, path, attempt)
        self._running[i] = (token, self.now)
        self._post(self.now, (c.BEGAN, i, token, self.now))
        if kind == "hang":
            return
        end = self.now + seconds
        if kind == "ok":
            value = self._value(i, node, path)
            self._post(end, (c.ENDED, i, token, c.OK, value, None, self.now, end))
        else:
            failure = Failure("error", "Error", "scripted", retryable=kind == "error")
            self._post(end, (c.ENDED, i, token, c.FAILED, failure, None, self.now, end))

    def _stop(self, i: int, token: int, node: str, path: given.Path, why: int) -> None:
        attempt = len(self.machine.state.failures.get(i, ())) + 1
        how = self.script.cleanup(node, path, attempt)
        began = self._running[i][1]
        if why == c.STOP_RUN and began == self.now and self.dice.random() < 0.5:
            reply: c.Reply = (c.ENDED, i, token, c.RETURNED, None, None, self.now, self.now)
        elif how == "cancelled" or why == c.STOP_TIMEOUT:
            reply = (c.ENDED, i, token, c.CANCELLED, None, None, began, self.now)
        elif how == "ok":
            reply = (c.ENDED, i, token, c.OK, self._value(i, node, path), None, began, self.now)
        else:
            failure = Failure("error", "Error", "scripted", retryable=True)
            reply = (c.ENDED, i, token, c.FAILED, failure, None, began, self.now)
        self._post(self.now, reply)

    def _value(self, i: int, node: str, path: given.Path) -> object:
        step = self._steps[node]
        arguments = self._arguments(i)
        args = {name: _plain(arguments[name]) for name in arguments}
        size = self.script.size(node, path) if step.id in self._sources else None
        return given.expected_value(node, path, args, size)

    def _arguments(self, i: int) -> dict[str, object]:
        return self._binder.arguments(i)

    def _post(self, when: float, reply: c.Reply) -> None:
        heappush(self._due, (when, self.dice.random(), reply[1], reply[2], reply))

    def _next(self) -> list[c.Reply]:
        """Lets time pass until something happens; then takes some of what happens then."""
        alarm = self.machine.next_alarm()
        when = self._due[0][0] if self._due else None
        if when is None or (alarm is not None and alarm < when):
            if alarm is not None:
                self.now = max(self.now, alarm)
            return []
        self.now = max(self.now, when)
        batch: list[c.Reply] = []
        while self._due and self._due[0][0] <= self.now and (not batch or self.dice.random() < 0.6):
            batch.append(heappop(self._due)[4])
        return batch


def _plain(value: object) -> object:
    """Outcomes as the model writes them."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, Ok):
        return ("ok", value.value)
    if isinstance(value, Failure):
        return ("failed", value.kind)
    if isinstance(value, Skip):
        return ("skipped", value.cause.value.upper())
    return value


def as_fact(event: events.Event) -> Fact | None:
    """An event as the reference model reads it; None for those that it does not judge."""
    match event:
        case events.NodeExpanded((node, path), size):
            return ("expanded", node, path, size)
        case events.NodeStarted((node, path), token, at):
            return ("started", node, path, token, at)
        case events.NodeDecided((node, path), what, value):
            return ("decided", node, path, what, value)
        case events.NodeSucceeded((node, path), token, _, _, _, _, ended):
            return ("succeeded", node, path, token, ended)
        case events.NodeRetrying((node, path), token, _, due, _, ended):
            return ("retrying", node, path, token, ended, due)
        case events.NodeFailed((node, path), token, failure, _, ended):
            return ("failed", node, path, token, failure.kind, ended)
        case events.NodeSkipped((node, path), cause, because):
            return ("skipped", node, path, cause.value.upper(), None if because is None else tuple(because))
        case events.NodeCancelled((node, path), token, _, _, ended):
            return ("cancelled", node, path, token, ended)
        case events.NodeInterrupted((node, path), token):
            return ("interrupted", node, path, token)
        case events.CancelAsked():
            return ("cancel_asked",)
        case events.RunFinished(status):
            return ("finished", status.value.upper())
    return None


def committed(machine: Machine) -> dict[given.Instance, object]:
    """The values of all successes of a run, by node and path."""
    state = machine.state
    found: dict[given.Instance, object] = {}
    for i, value in enumerate(state.value):
        site = state.site[i]
        if state.status[i] == 5 and not state.plan.flags[site] & 1 and value is not NOTHING:
            node, path = state.path(i)
            found[node, path] = value
    return found
