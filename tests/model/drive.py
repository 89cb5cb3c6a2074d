"""Drives the real machine through a test graph on a fake clock, and writes its history in the model's words.

The driver plays engine, runners and user at once: attempts end as the script says, in an order that a dice of
its own chooses among those that are due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from penstock.core import commands as c
from penstock.core import events
from penstock.core.binding import Binder
from penstock.core.folds import Folds
from penstock.core.graph import Graph
from penstock.core.invariants import check, differences
from penstock.core.machine import Machine, decide
from penstock.core.model import (
    NOTHING,
    Accepts,
    Condition,
    Failure,
    Limit,
    Need,
    Node,
    Ok,
    Quorum,
    Rate,
    RetryPolicy,
    RunOptions,
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
        limit.name: Limit(
            limit.name,
            limit.capacity,
            Rate(*limit.rate) if limit.rate else None,
            "process" if limit.wide else "run",
        )
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
        timeout=Timeout(*times) if any(times := (step.timeout, step.total, step.idle)) else None,
        kind="gather" if step.fold else "step",
        stream=step.stream,
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
    failures = need.policy if isinstance(need.policy, str) else Quorum(need.policy)
    key = _no_call if need.keyed else None
    return Need(need.parent, need.how, param, failures=failures, levels=need.levels, key=key)


def _no_call(*_: Any, **__: Any) -> Any:
    raise AssertionError("the driver makes no calls")


Watch = Callable[[Machine], None]


@dataclass
class Producing:
    """A stream's attempt: what it gives, and how far it is."""

    token: int
    began: float
    elements: list[object]
    pace: float
    kind: given.Kind
    tail: float
    given: int = 0
    upto: int = 0
    busy: bool = False  # its next element, or its end, is on its way


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
        self._lists = spec.lists()
        self._steps = {step.id: step for step in spec.steps}
        self._due: list[tuple[float, float, int, c.Reply]] = []
        self._order = count()
        self._running: dict[int, tuple[int, float]] = {}
        self._producing: dict[int, Producing] = {}
        self._granted: set[int] = set()
        self._folds = Folds(self.machine.state)
        self._wide = {limit.name for limit in spec.limits if limit.wide}
        self.now = 1000.0
        self.bulk = dice.choice(
            (1, 2, 3, decide.BULK)
        )  # items worth skipping as one: small maps are to meet it

    def _machine(self) -> Machine:
        spec = self.spec
        options = RunOptions(
            on_failure=spec.on_failure,
            max_concurrency=spec.max_concurrency,
            deadline=spec.deadline,
            grace=spec.grace,
            retry_budget=spec.retry_budget,
            max_abandoned=spec.max_abandoned,
        )
        return Machine(self.plan, options, dict(zip(RUNNERS, spec.capacities, strict=True)))

    def play(self, most_turns: int = 20_000) -> Drive:
        """Drives the run to its end."""
        started = events.RunStarted("r", "random", (), self.spec.seed, {}, None, (), {}, {}, None, self.now)
        self.machine.begin(started)
        return self.go_on(most_turns)

    def go_on(self, most_turns: int = 20_000) -> Drive:
        """Drives a run that has begun to its end."""
        bulk = decide.BULK
        decide.BULK = self.bulk
        try:
            return self._play(most_turns)
        finally:
            decide.BULK = bulk

    def _play(self, most_turns: int) -> Drive:
        asked = self.machine.state.cancelled is not None
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
            self._produce()
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
        return self.facts(self.events)

    def facts(self, of: Iterable[events.Event]) -> list[Fact]:
        """Events in the model's words."""
        return [fact for event in of for fact in self._facts(event)]

    def _facts(self, event: events.Event) -> Iterator[Fact]:
        if not isinstance(event, events.RestSkipped):
            yield from as_facts(event)
            return
        (head, outer), nodes, first, size, cause, because = event
        for index in range(first, first + size):
            key = self.script.key(head, outer, index) if self._steps[head].keyed else index
            for node in sorted(nodes, key=self._depth):
                yield from as_facts(events.NodeSkipped(events.NodePath(node, (*outer, key)), cause, because))

    def _depth(self, node: str) -> int:
        """How many steps lie above a step: an order in which each comes after its needs."""
        above, todo = set[str](), [node]
        while todo:
            found = {need.parent for need in self._steps[todo.pop()].needs} - above
            above |= found
            todo += found
        return len(above)

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
                what: Any = "when" if command[2] == c.WHEN else "trigger"
                answer: Any = given.answer(self._steps[node], self.script, path, what)
                if answer == "raise":
                    answer = Failure("condition", "Error", "scripted")
                answers.append((c.DECIDED, i, command[2], answer))
            elif command[0] == c.START:
                self._start(i, command[2], node, path)
            elif command[0] == c.STOP:
                self._stop(i, command[2], node, path, command[3])
            elif command[0] == c.ABANDON:
                self._abandon(i, command[2], node, path)
            elif command[0] == c.GO_ON:
                continue  # streams are told after each turn how far they may go
            elif command[0] == c.ACQUIRE:
                self._acquire(i)
            else:
                self.problems.append(f"command {command} was not expected")
        return answers

    def _start(self, i: int, token: int, node: str, path: given.Path) -> None:
        step, attempt = self._steps[node], self._attempt(i)
        if any(name in self._wide for name, _ in step.limits):
            if i not in self._granted:
                self.problems.append(f"{node}{list(path)} was started before its limits were granted")
            self._granted.discard(i)
        kind, seconds = self.script.outcome(node, path, attempt)
        self._running[i] = (token, self.now)
        self._post(self.now, (c.BEGAN, i, token, self.now))
        if step.idle is not None and self.script.silent(node, path, attempt):
            self._post(self.now + step.idle, (c.IDLED, i, token))
        if step.stream:
            whole = self._whole(i, node, path)
            assert isinstance(whole, list)
            elements = whole[: self.script.yields(node, path, attempt)]
            pace = self.script.pace(node, path)
            tail = seconds - pace * len(elements)
            self._producing[i] = Producing(token, self.now, elements, pace, kind, tail)
        elif kind != "hang":
            self._post(self.now + seconds, self._end(i, token, kind, self.now, self.now + seconds))

    def _end(self, i: int, token: int, kind: given.Kind, began: float, ended: float) -> c.Reply:
        if kind == "ok":
            value = self._value(i, token, *self.machine.state.path(i))
            return (c.ENDED, i, token, c.OK, value, None, began, ended)
        failure = Failure("error", "Error", "scripted", retryable=kind == "error")
        return (c.ENDED, i, token, c.FAILED, failure, None, began, ended)

    def _produce(self) -> None:
        """Lets every stream bring its next element as far as it may by now, or come to its end."""
        state = self.machine.state
        for i, one in list(self._producing.items()):
            if state.token[i] != one.token or one.busy:
                continue
            news = self.machine.allowance(i)
            one.upto = one.upto if news is None else news
            if one.given == one.upto:
                continue  # nothing of it may run, not even to find out that there is no more
            if one.given == len(one.elements):
                one.busy = True
                if one.kind != "hang":
                    end = self.now + one.tail
                    self._post(end, self._end(i, one.token, one.kind, one.began, end))
            else:
                one.busy = True
                self._post(self.now + one.pace, (c.YIELDED, i, one.token, one.elements[one.given], None))
                one.given += 1

    def _named(self, reply: c.Reply) -> list[c.Reply]:
        """A reply with the keys of the elements that it brings."""
        i, plan = reply[1], self.plan
        scopes = plan.opens.get(self.machine.state.site[i], ())
        if not any(scope in plan.keys for scope in scopes):
            return [reply]
        node, path = self.machine.state.path(i)
        heads = {scope: self.graph.nodes[self.graph.scopes[scope].head].id for scope in scopes}

        def key(scope: int, index: int) -> Any:
            return self.script.key(heads[scope], path, index) if scope in plan.keys else None

        if reply[0] == c.YIELDED:
            index = self._producing[i].given - 1
            again = index < len(self.machine.state.streams.get(i, ()))
            return [(*reply[:4], tuple(None if again else key(scope, index) for scope in scopes))]
        if reply[3] != c.OK or self._steps[node].stream:
            return [reply]
        named = [scope for scope in scopes if scope in plan.keys]
        size = range(len(reply[4]))
        return [*((c.KEYED, i, scope, [key(scope, at) for at in size]) for scope in named), reply]

    def _stop(self, i: int, token: int, node: str, path: given.Path, why: int) -> None:
        attempt = self._attempt(i)
        how = self.script.cleanup(node, path, attempt)
        began = self._running[i][1]
        fresh = began == self.now and not (self._steps[node].stream and self._producing[i].given)
        if why == c.STOP_RUN and fresh and self.dice.random() < 0.5:
            reply: c.Reply = (c.ENDED, i, token, c.RETURNED, None, None, self.now, self.now)
        elif self._steps[node].clings:
            if why == c.STOP_TIMEOUT:
                self._abandon(i, token, node, path)
            return
        elif how == "cancelled" or why == c.STOP_TIMEOUT:
            reply = (c.ENDED, i, token, c.CANCELLED, None, None, began, self.now)
        else:
            reply = self._end(i, token, how, began, self.now)
        self._post(self.now, reply)

    def _abandon(self, i: int, token: int, node: str, path: given.Path) -> None:
        """Nothing ends it: it is left behind, and ends by itself some time, or never."""
        name = (f"thread of {node}", "where it was") if self._steps[node].clings else None
        self._post(self.now, (c.ENDED, i, token, c.CANCELLED, name, None, self._running[i][1], self.now))
        lasts = self.script.lingers(node, path, self._attempt(i))
        if lasts is not None and name is not None:
            self._post(self.now + lasts, (c.GONE, i, token))

    def _acquire(self, i: int) -> None:
        """Others hold the limit too: it may be granted at once, or some time later."""
        self._post(self.now + self.dice.choice((0.0, 0.0, 0.25, 1.0, 3.0)), (c.GRANTED, i))

    def _attempt(self, i: int) -> int:
        return len(self.machine.state.failures.get(i, ())) + 1

    def _value(self, i: int, token: int, node: str, path: given.Path) -> object:
        if self._steps[node].stream:
            return None
        if not self._steps[node].fold:
            return self._whole(i, node, path)
        begun = self._folds.arguments(i, token, self.plan.nodes[self.plan.index[node]])
        value = begun["so_far"]
        for item in begun["items"]:
            value = given.folded(node, path, value, item)
        return value

    def _whole(self, i: int, node: str, path: given.Path) -> object:
        arguments = self._arguments(i)
        args = {name: _plain(arguments[name]) for name in arguments}
        size = self.script.size(node, path) if node in self._lists else None
        return given.expected_value(node, path, args, size)

    def _arguments(self, i: int) -> dict[str, object]:
        return self._binder.arguments(i)

    def _post(self, when: float, reply: c.Reply) -> None:
        heappush(self._due, (when, self.dice.random(), next(self._order), reply))

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
            reply = heappop(self._due)[3]
            if reply[0] == c.GRANTED:
                self._granted.add(reply[1])
            elif reply[0] == c.YIELDED:
                self._producing[reply[1]].busy = self._producing[reply[1]].token != reply[2]
            elif reply[0] == c.ENDED:
                reply = self._folds.heard(reply)
            batch += self._named(reply) if reply[0] in (c.YIELDED, c.ENDED) else [reply]
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


def as_facts(event: events.Event) -> Iterator[Fact]:
    """An event as the reference model reads it; nothing for those that it does not judge."""
    match event:
        case events.RunStarted():
            yield ("begun", event.at)
        case events.NodeExpanded((node, path), size, keys):
            whole = None if size is None else [*range(size)] if keys is None else [*keys]
            yield ("expanded", node, path, whole)
        case events.NodeYielded((node, path), token, position):
            yield ("yielded", node, path, token, position)
        case events.NodePaused((node, path), token):
            yield ("paused", node, path, token)
        case events.NodeResumed((node, path), token, at):
            yield ("resumed", node, path, token, at)
        case events.NodeStarted((node, path), token, at):
            yield ("started", node, path, token, at)
        case events.NodeDecided((node, path), what, value):
            yield ("decided", node, path, what, value)
        case events.NodeSucceeded((node, path), token, _, _, _, _, ended):
            yield ("succeeded", node, path, token, ended)
        case events.NodeRetrying((node, path), token, failure, due, _, ended):
            if failure.abandoned is not None:
                yield ("abandoned", node, path, token)
            yield ("retrying", node, path, token, ended, due)
        case events.NodeFailed((node, path), token, failure, _, ended):
            if failure.abandoned is not None:
                yield ("abandoned", node, path, token)
            yield ("failed", node, path, token, failure.kind, ended)
        case events.NodeSkipped((node, path), cause, because):
            yield ("skipped", node, path, cause.value.upper(), None if because is None else tuple(because))
        case events.NodeCancelled((node, path), token, abandoned, _, ended):
            if abandoned is not None:
                yield ("abandoned", node, path, token)
            yield ("cancelled", node, path, token, ended)
        case events.AttemptReleased((node, path), token):
            yield ("released", node, path, token)
        case events.NodeFolded((node, path), token, upto):
            yield ("folded", node, path, token, upto)
        case events.NodeInterrupted((node, path), token):
            yield ("interrupted", node, path, token)
        case events.CancelAsked():
            yield ("cancel_asked",)
        case events.DeadlineReached(at):
            yield ("deadline", at)
        case events.RunFinished(status):
            yield ("finished", status.value.upper())


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
