"""Plays: a run told to the machine line by line. What is said comes in, what the machine answers is compared.

    play = Play(node("a"), node("b", "a"))
    assert play.commands == ["start a#1"]
    assert play.step(ok("a")) == ["start b#1"]
    assert play.told == ["a succeeded #1", "b started #1"]

Nothing runs here and no clock ticks. After each step the state is checked against its invariants, and a
second machine that has been fed with the events alone is compared with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.core import commands as c
from penstock.core import events
from penstock.core.graph import Graph
from penstock.core.invariants import check, differences
from penstock.core.machine import Machine
from penstock.core.machine.facts import SOURCES
from penstock.core.machine.state import STATUSES
from penstock.core.model import (
    Accepts,
    Condition,
    Failure,
    Limit,
    LimitUse,
    Need,
    Node,
    RetryPolicy,
    RunOptions,
    Timeout,
)
from penstock.core.plan import Plan

Said = tuple[Any, ...]
"""(kind of reply, path or None, token or None for the latest, what else the reply holds)."""


# What a graph is made of


def never(**_: Any) -> Any:
    raise AssertionError("a play makes no calls")


def _no_key(_: Any) -> str:
    raise AssertionError("a play says the keys itself")


def node(
    id: str,
    *needs: str | Need,
    attempts: int = 1,
    delay: float = 0.0,
    timeout: float | Timeout | None = None,
    when: bool = False,
    limits: Sequence[Limit | LimitUse] = (),
    runner: str = "left",
    **more: Any,
) -> Node:
    """A node; a need given as a word is a plain `use`."""
    wants = [Need(need, "use") if isinstance(need, str) else need for need in needs]
    return Node(
        id,
        never,
        tuple(
            need if need.how == "after" else need._replace(param=f"n{at}") for at, need in enumerate(wants)
        ),
        retry=RetryPolicy(attempts, delay, exponential_base=1.0, jitter="none") if attempts > 1 else None,
        timeout=timeout if timeout is None or isinstance(timeout, Timeout) else Timeout(timeout),
        when=Condition(never) if when else None,
        limits=tuple(each.take(1) if isinstance(each, Limit) else each for each in limits),
        runner=runner,
        **more,
    )


def each(id: str, *, keyed: bool = False) -> Need:
    """A call per element; a play says their keys itself."""
    return Need(id, "each", key=_no_key if keyed else None)


def gather(id: str, failures: Any = "raise", levels: int = 1) -> Need:
    return Need(id, "gather", failures=failures, levels=levels)


def fold(id: str, mapped: str, failures: Any = "raise", **more: Any) -> Node:
    """A node that takes the items of a map one by one."""
    return node(id, gather(mapped, failures), kind="gather", **more)


def outcome(id: str) -> Need:
    return Need(id, "outcome", accepts=Accepts.ANYTHING)


def optional(id: str) -> Need:
    return Need(id, "use", accepts=Accepts.ANYTHING, default="default")


def default(id: str) -> Need:
    """A parameter with a default of its own: a condition's skip is accepted, a failure is not."""
    return Need(id, "use", accepts=Accepts.CONDITION, default="default")


def after(id: str) -> Need:
    return Need(id, "after")


OWN_TRIGGER = Condition(never)


# What is said to the machine


def ok(
    path: str, value: Any = None, *, token: int | None = None, writes: Mapping[Any, Any] | None = None
) -> Said:
    return (c.ENDED, path, token, c.OK, value, writes)


def fails(
    path: str,
    *,
    token: int | None = None,
    retryable: bool = True,
    retry_after: float | None = None,
) -> Said:
    failure = Failure("error", "Error", "as the play says", retryable=retryable, retry_after=retry_after)
    return (c.ENDED, path, token, c.FAILED, failure, None)


def stopped(path: str, *, token: int | None = None, left: str | None = None) -> Said:
    """An attempt ended because it was told to; `left` names what could not be made to end."""
    return (c.ENDED, path, token, c.CANCELLED, left and (left, ""), None)


def returned(path: str, *, token: int | None = None) -> Said:
    return (c.ENDED, path, token, c.RETURNED, None, None)


def heard_late(said: Said, ended: float) -> Said:
    """The end of an attempt that had come at that time already."""
    return (*said, ended)


def began(path: str, *, token: int | None = None) -> Said:
    return (c.BEGAN, path, token)


def idles(path: str, *, token: int | None = None) -> Said:
    """An attempt has shown no sign of life for too long."""
    return (c.IDLED, path, token)


def yields(
    path: str,
    element: Any = None,
    *,
    token: int | None = None,
    keys: Sequence[int | str | None] | None = None,
) -> Said:
    return (c.YIELDED, path, token, element, keys)


def keyed(source: str, head: str, *keys: int | str) -> Said:
    """The keys of the elements of a map; said before the value of its source."""
    return (c.KEYED, source, None, head, list(keys))


def folds(path: str, upto: int, *, token: int | None = None) -> Said:
    """A slice of a fold is done: it has taken the items before `upto`."""
    return (c.FOLDED, path, token, upto)


def granted(path: str) -> Said:
    """The limits wider than the run are held for this node."""
    return (c.GRANTED, path, None)


def answers(path: str, value: Any) -> Said:
    return (c.ANSWERED, path, None, value)


def says(path: str, what: str, answer: bool | None) -> Said:
    """The answer to a condition; None for one that raised."""
    failure = Failure("condition", "Error", "as the play says", retryable=False)
    return (
        c.DECIDED,
        path,
        None,
        c.WHEN if what == "when" else c.TRIGGER,
        failure if answer is None else answer,
    )


def gone(path: str, token: int) -> Said:
    return (c.GONE, path, token)


CANCEL: Said = (c.ASKED, None, None, "the play says so")
HURRY: Said = (c.HURRIED, None, None)


class Play:
    """One run of one graph, stepped by hand.

    Attributes:
        now: The run's clock; `step(at=…)` moves it.
        commands: What the machine asked for in the latest step.
        told: What it recorded in the latest step.
        events: All events so far; `turns` is how many there were after each step.
    """

    def __init__(
        self,
        *nodes: Node,
        on_failure: str = "stop",
        max_concurrency: int | None = None,
        capacities: Mapping[str, int] | None = None,
        grace: float = 10.0,
        deadline: float | None = None,
        retry_budget: int | None = None,
        max_abandoned: int = 32,
        override: Mapping[str, Any] | None = None,
        seed: int = 0,
        keep_all: bool = True,
        checked: bool = True,
    ) -> None:
        self.plan = Plan(Graph("play", nodes), keep_all=keep_all)
        self._options: dict[str, Any] = {
            "on_failure": on_failure,
            "max_concurrency": max_concurrency,
            "capacities": capacities,
            "grace": grace,
            "deadline": deadline,
            "retry_budget": retry_budget,
            "max_abandoned": max_abandoned,
        }
        self.now = 0.0
        self._began: dict[tuple[int, int], float] = {}
        self.machine = self.fresh()
        self._shadow = self.fresh() if checked else None
        self.events: list[events.Event] = []
        self.turns: list[int] = []
        self.told: list[str] = []
        self.machine.begin(
            events.RunStarted("run", "play", (), seed, {}, None, tuple(override or ()), {}, {}, None, 0.0),
            override,
        )
        self.commands = self.step()

    def fresh(self) -> Machine:
        """Another machine of the same plan and options."""
        options = dict(self._options)
        capacities = options.pop("capacities", None)
        return Machine(self.plan, RunOptions(**options), capacities)

    def step(self, *said: Said, at: float | None = None) -> list[str]:
        """Lets time pass to `at`, says all this at once, and gives back the commands."""
        if at is not None:
            assert at >= self.now, "time never runs backwards"
            self.now = at
        commands = self.machine.step([self._reply(one) for one in said], self.now)
        new = [self.machine.event(fact) for fact in self.machine.drain()]
        self.events += new
        self.turns.append(len(self.events))
        self.told = [text_of(event) for event in new if not isinstance(event, events.RunStarted)]
        if self._shadow is not None:
            for event in new:
                self._shadow.apply(event)
            assert differences(self.machine.state, self._shadow.state) == []
            assert check(self.machine.state) == []
        self.commands = [self._text(command) for command in commands]
        return self.commands

    def number(self, path: str) -> int:
        """The machine's number of a node, or of an item as in ``parse[3]`` and ``parse[left]``."""
        found = re.fullmatch(r"(.*?)(?:\[(.+)\])?", path)
        assert found is not None
        words = found[2].split(",") if found[2] else []
        items = tuple(int(word) if word.isdigit() else word for word in words)
        return self.machine.state.find(events.NodePath(found[1], items))

    def status(self, path: str) -> str:
        return STATUSES[self.machine.state.status[self.number(path)]].value

    def statuses(self) -> dict[str, str]:
        """The status of every node; of a group, whether it is open."""
        return {each.id: self.status(each.id) for each in self.plan.graph.nodes}

    def value(self, path: str) -> Any:
        return self.machine.state.value[self.number(path)]

    def source(self, path: str) -> str:
        """How a success came about."""
        return self.machine.state.sources.get(self.number(path), SOURCES[0])

    @property
    def alarm(self) -> float | None:
        return self.machine.next_alarm()

    @property
    def finished(self) -> str | None:
        return self.machine.state.finished

    def story(self) -> list[str]:
        """Everything recorded so far."""
        return [text_of(event) for event in self.events if not isinstance(event, events.RunStarted)]

    def _reply(self, said: Said) -> c.Reply:
        kind, path, token, *rest = said
        if path is None:
            return (kind, *rest)
        i = self.number(path)
        token = self.machine.state.token[i] if token is None else token
        if kind == c.ENDED and len(rest) > 3:
            return (kind, i, token, *rest[:3], self._began[i, token], rest[3])
        if kind in (c.ENDED, c.FOLDED):
            return (kind, i, token, *rest, self._began.get((i, token), self.now), self.now)
        if kind == c.BEGAN:
            self._began[i, token] = self.now
            return (kind, i, token, self.now)
        if kind == c.KEYED:
            return (kind, i, self._scope_of_head(rest[0]), *rest[1:])
        if kind in (c.DECIDED, c.ANSWERED, c.GRANTED):
            return (kind, i, *rest)
        return (kind, i, token, *rest)

    def _scope_of_head(self, head: str) -> int:
        graph = self.plan.graph
        return [scope.head for scope in graph.scopes].index(graph.index[head])

    def _text(self, command: c.Command) -> str:
        kind, i, *rest = command
        path = str(self.machine.state.path(i))
        if kind == c.ACQUIRE:
            return f"acquire for {path}"
        token, *rest = rest
        if kind == c.DECIDE:
            return f"ask {'when' if token == c.WHEN else 'trigger'} of {path}"
        if kind == c.STOP:
            return f"stop {path}#{token}{' late' if rest[0] == c.STOP_TIMEOUT else ''}"
        word = {c.START: "start", c.ABANDON: "abandon", c.GO_ON: "go on"}[kind]
        return f"{word} {path}#{token}"


def text_of(event: events.Event) -> str:
    """An event as one line of a play."""
    match event:
        case events.NodeExpanded(path, size):
            return f"{path} opened{'' if size is None else f' with {size}'}"
        case events.NodeStarted(path, token):
            return f"{path} started #{token}"
        case events.NodeYielded(path, _, position):
            return f"{path} yielded {position}"
        case events.NodeDecided(path, what, value):
            return f"{path} {what} said {'yes' if value else 'no'}"
        case events.NodeSucceeded(path, token):
            return f"{path} succeeded #{token}"
        case events.NodeRetrying(path, token, _, due):
            return f"{path} retrying #{token} at {due:g}"
        case events.NodeFailed(path, token, failure):
            return f"{path} failed #{token} by {failure.kind}"
        case events.NodeSkipped(path, cause, because):
            return f"{path} skipped, {cause.value}: {because}"
        case events.RestSkipped(_, nodes, first, size, cause, because):
            return f"{'+'.join(nodes)} skipped {size} from {first}, {cause.value}: {because}"
        case events.NodeFolded(path, token, upto):
            return f"{path} folded {upto} #{token}"
        case events.DeadlineReached(at):
            return f"deadline reached at {at:g}"
        case events.NodeCancelled(path, token):
            return f"{path} cancelled #{token}"
        case events.NodeWaiting(path, token):
            return f"{path} waiting #{token}"
        case events.NodeInterrupted(path, token):
            return f"{path} given back #{token}"
        case events.NodePaused(path):
            return f"{path} paused"
        case events.NodeResumed(path):
            return f"{path} resumed"
        case events.AttemptReleased(path, token):
            return f"{path} released #{token}"
        case events.CancelAsked():
            return "cancel asked"
        case events.RunFinished(status):
            return f"run {status.value}"
    return type(event).__name__
