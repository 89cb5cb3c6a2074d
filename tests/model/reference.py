"""The reference model: judges whether the history of a run is one that the semantics allow.

It reads the facts in the order of recording and recomputes, naively, what each was allowed to be. As every
start, end and skip must follow from the ends before it and from the script, a history without a stop has only
one legal final state, whatever its schedule. It must never import anything of the package under test.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.model import spec as given
from tests.model.spec import Fact, GraphSpec, Instance, Need, Path, Script, Step, Values

Fate = tuple[str, Instance | None]  # start, fail, or the cause of a skip; with the causing instance
START: Fate = ("start", None)
FAIL: Fate = ("fail", None)
TIME = {"started": 4, "succeeded": 4, "cancelled": 4, "retrying": 4, "failed": 5}  # where a fact has its time
ENDED = ("succeeded", "failed", "skipped", "cancelled")


def verify(spec: GraphSpec, script: Script, history: Sequence[Fact], values: Values) -> list[str]:
    """List the violations of a history; an empty list means that it is legal."""
    judge = _Judge(spec, script, values)
    for index, fact in enumerate(history):
        judge.see(index, fact)
    unended = [] if judge.finished else ["the run: it never finished"]
    extra = [f"{one}: has a value without a success" for one in values if one not in judge.values]
    return judge.found + unended + extra


def tolerated(spec: GraphSpec, node: str) -> bool:
    """Say whether a failure of this step is let pass: it neither fails nor stops the run."""
    scope = given.scopes(spec)
    home, reached, judges = scope[node], [node], list[bool]()
    for parent in reached:  # grows while it is read
        below = [(step.id, need) for step in spec.steps for need in step.needs if need.parent == parent]
        for consumer, need in below:
            if need.accepts("F"):
                judges.append(True)
            elif need.how == "gather" and len(given.seen_at(need, scope[parent])) < len(home):
                judges.append(need.policy != "raise")
            elif need.is_data and not home:
                judges.append(False)
            elif need.is_data and consumer not in reached:
                reached.append(consumer)
    return any(step.optional for step in spec.steps if step.id == node) or (bool(judges) and all(judges))


@dataclass
class _Life:
    """What the history has told of one instance; a group that never came to be has one, at its outer path."""

    status: str = "pending"  # pending, running, retrying, given back, or one of ENDED
    token: int = 0
    charged: int = 0  # attempts that ended in a retry
    started: float = 0.0  # when the last attempt did
    begun: int = -1  # its place in the history
    due: float = 0.0
    why: str = ""  # the kind of a failure, the cause of a skip
    because: Instance | None = None
    decided: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class _End:
    """How a need has ended: class S, F, C or X, the root cause, the first cause that is no cancellation."""

    verdict: str
    because: Instance | None = None
    failure: Instance | None = None


class _Judge:
    """What the facts so far amount to; `one`, `step` and `life` are those of the fact at hand."""

    def __init__(self, spec: GraphSpec, script: Script, values: Values) -> None:
        self.spec, self.script, self.committed = spec, script, values
        self.steps = {step.id: step for step in spec.steps}
        self.limits = {limit.name: limit for limit in spec.limits}
        self.scope = given.scopes(spec)
        self.found: list[str] = []
        self.lives: defaultdict[Instance, _Life] = defaultdict(_Life)
        self.values: dict[Instance, object] = {}  # recomputed, never taken from the run
        self.opened: dict[Instance, int] = {}  # (head, outer path) -> elements
        self.starts: list[tuple[float, Step]] = []
        self.now = float("-inf")
        self.failed = False  # by an untolerated failure before any cancel
        self.stoppers: list[Instance | None] = []  # the failure that stopped the run, None for a cancel
        self.halted = -1  # where running attempts were last told to stop; a drain lets them be
        self.finished = False

    def see(self, index: int, fact: Fact) -> None:
        """Judge one fact, then believe it, so that one violation brings few others in its train."""
        if self.finished:
            self.found.append(f"the run: {fact} was recorded after it finished")
        self.index = index
        if len(fact) > 2:
            if fact[1] not in self.steps:
                self.found.append(f"{fact[1]}: there is no such node")
                return
            self.one: Instance = (fact[1], fact[2])
            self.step, self.life = self.steps[fact[1]], self.lives[self.one]
        if fact[0] in TIME and fact[TIME[fact[0]]] < self.now:
            self._wrong(f"recorded with a time before {self.now}")
        self.now = fact[TIME[fact[0]]] if fact[0] in TIME else self.now
        match fact:
            case ("expanded", _, path, count):
                self._expanded((self.step.source or "", path), count)
            case ("started", _, _, token, _):
                self._started(token)
            case ("decided", _, _, what, value):
                self._decided(what, value)
            case ("succeeded" | "cancelled" as what, _, _, token, _):
                self._ended(token, (what, ""))
            case ("retrying", _, _, token, now, due):
                if due != now + self.step.delay:
                    self._wrong(f"retry due at {due}, not at {now} + {self.step.delay}")
                self._ended(token, ("retrying", ""))
                self.life.due = due
            case ("failed", _, _, 0, "condition", _):
                self._condition_failed()
            case ("failed", _, _, token, kind, _):
                self._ended(token, ("failed", kind))
            case ("interrupted", _, _, token):
                self._ended(token, ("given back", ""))
            case ("skipped", _, path, cause, because):
                self._skipped(path, (cause, because))
            case ("cancel_asked",):
                if None in self.stoppers or self.spec.cancel_after is None or index < self.spec.cancel_after:
                    self.found.append("the run: a cancel was recorded that nobody asked")
                self.stoppers.append(None)
                self.halted = index
            case ("finished", status):
                self._finished(status)
            case _:
                self.found.append(f"{fact}: no fact that the model knows")

    def _expanded(self, source: Instance, count: int) -> None:
        if self.one in self.opened:
            self._wrong("map opened twice")
        if not self._exists(*source) or self.lives[source].status != "succeeded":
            self._wrong("map opened though its source has not succeeded")
        elif count != self.script.size(*source):
            self._wrong(f"map opened with {count}, its source returned {self.script.size(*source)}")
        self.opened[self.one] = count

    def _decided(self, what: str, value: bool) -> None:
        if what in self.life.decided:
            self._wrong(f"{what} decided twice")
        elif self._may_move(f"{what} decided"):
            fate = self._trigger()
            if what == "when" and self.step.when:
                if fate != START or not self._agreed("trigger"):
                    self._wrong("when decided though its trigger does not hold")
                fate = self._answer("when")
            elif what == "when" or self.step.trigger != "callable":
                self._wrong(f"{what} decided, which it does not have")
            if fate == FAIL or value is not (fate == START):
                self._wrong(f"{what} decided as {value}, its answer leads to {fate}")
        self.life.decided[what] = value

    def _condition_failed(self) -> None:
        if self._may_move("failed by its condition"):
            asked = "when" if self._trigger() == START else "trigger"
            early = asked == "when" and not self._agreed("trigger")
            if self._fate() != FAIL or asked in self.life.decided or early:
                self._wrong("failed by a condition that did not raise")
        self.life.status, self.life.why = "failed", "condition"
        self._judge_failure()

    def _started(self, token: int) -> None:
        life, now = self.life, self.now
        if token != life.token + 1:
            self._wrong(f"started with token {token} after token {life.token}")
        if life.status == "retrying":
            if now < life.due or self.halted >= 0:
                self._wrong(f"retried at {now}, due at {life.due}, or after the stop")
        elif self._may_move("started") and (self._fate() != START or not self._agreed("trigger", "when")):
            self._wrong(f"started though its rules say {self._fate()}, decided {life.decided}")
        life.status, life.token, life.started, life.begun = "running", token, now, self.index
        self.starts.append((now, self.step))
        self._slots()

    def _slots(self) -> None:
        running = [self.steps[node] for (node, _), life in self.lives.items() if life.status == "running"]
        if len(running) > (self.spec.max_concurrency or len(running)):
            self._wrong("started beyond max_concurrency")
        if [step.runner for step in running].count(self.step.runner) > self.spec.capacities[self.step.runner]:
            self._wrong(f"started beyond the capacity of runner {self.step.runner}")
        for name, _ in self.step.limits:
            capacity, rate = self.limits[name].capacity, self.limits[name].rate
            if capacity is not None and sum(dict(step.limits).get(name, 0) for step in running) > capacity:
                self._wrong(f"started beyond the capacity of limit {name!r}")
            if rate is not None:
                window = [step for at, step in self.starts if self.now < at + rate[1]]
                if sum(dict(step.limits).get(name, 0) for step in window) > rate[0]:
                    self._wrong(f"started beyond the rate of limit {name!r}")

    def _ended(self, token: int, how: tuple[str, str]) -> None:
        life = self.life
        if token != life.token or life.status not in ("running", "retrying", "given back"):
            self._wrong(f"{how} of token {token} recorded while it was {life.status} with token {life.token}")
            return
        if how not in (legal := self._endings()):
            self._wrong(f"{how} from {life.status} at {self.now}, legal were {legal}")
        life.status, life.why = how
        life.charged += how[0] == "retrying"
        if how[0] == "succeeded":
            self._value()
        if how[0] == "failed":
            self._judge_failure()

    def _endings(self) -> list[tuple[str, str]]:
        """List how the attempt may end now: of itself once its time has come, or as it was told to stop."""
        life, legal, attempt = self.life, list[tuple[str, str]](), self.life.charged + 1
        if life.status != "running":
            return [("cancelled", "")] if life.charged and self.halted >= 0 else []
        kind, duration = given.natural_end(self.step, self.script, self.one[1], attempt)
        if self.now >= life.started + duration:
            retry = kind != "fatal" and attempt < self.step.max_attempts and self.halted < 0
            failure = ("retrying", "") if retry else ("failed", "timeout" if kind == "timeout" else "error")
            legal.append(("succeeded", "") if kind == "ok" else failure)
        if life.begun < self.halted:
            told = self.script.cleanup(*self.one, attempt)
            ends = {"cancelled": ("cancelled", ""), "ok": ("succeeded", ""), "error": ("failed", "error")}
            legal += [ends[told], ("given back", "")]
        return legal

    def _judge_failure(self) -> None:
        if not tolerated(self.spec, self.step.id):
            self.failed = self.failed or None not in self.stoppers
            if self.spec.on_failure != "continue" and not self.stoppers:
                self.stoppers.append(self.one)
                self.halted = self.index if self.spec.on_failure == "stop" else -1

    def _skipped(self, path: Path, how: Fate) -> None:
        group = len(path) < len(self.scope[self.step.id])
        if self.life.status not in ("pending", "given back"):
            self._wrong(f"skipped while it was {self.life.status}")
        elif not group and not (self._exists(*self.one) and self._needs_ended()):
            self._wrong("skipped before all its needs ended")
        elif how not in (legal := self._group_skips(path) if group else self._skips()):
            self._wrong(f"skipped as {how}, legal were {legal}")
        self.life.status, self.life.why, self.life.because = "skipped", *how

    def _skips(self) -> list[Fate]:
        if False in self.life.decided.values():
            return [("CONDITION", self.one)]
        if self.stoppers and self.step.trigger != "always":
            for end in self._not_accepted("F"):
                if end.failure is not None:
                    return [("UPSTREAM", end.failure), ("UPSTREAM", end.because)]
            return [("STOPPED", stopper) for stopper in self.stoppers]
        fate = self._trigger()
        return [] if fate in (START, FAIL) or self.step.trigger == "callable" else [fate]

    def _group_skips(self, path: Path) -> list[Fate]:
        source = (self.steps[self.scope[self.step.id][len(path)]].source or "", path)
        if not self._exists(*source) or self.lives[source].status not in ENDED:
            return []
        end = self._end_of(source)
        if self.stoppers and end.failure is None:
            return [("STOPPED", stopper) for stopper in self.stoppers]
        return {"F": [("UPSTREAM", end.because)], "C": [("CONDITION", end.because)]}.get(end.verdict, [])

    def _finished(self, status: str) -> None:
        right = "FAILED" if self.failed else "CANCELLED" if None in self.stoppers else "SUCCEEDED"
        if status != right:
            self.found.append(f"the run: finished as {status}, not as {right}")
        self.finished = True
        for one in [(node, path) for node in self.steps for path in self._paths(node, ())]:
            if self.lives[one].status not in ENDED:
                self.found.append(f"{one}: left {self.lives[one].status} at the end of the run")

    # The rules: what becomes of the instance at hand when its needs have ended and the run is not stopping

    def _may_move(self, what: str) -> bool:
        """Say whether the instance may be decided on or started at all."""
        reasons = {
            f"while it was {self.life.status}": self.life.status not in ("pending", "given back"),
            "though its map has no such item": not self._exists(*self.one),
            "before all its needs ended": not self._needs_ended(),
            "after the run stopped": bool(self.stoppers) and self.step.trigger != "always",
        }
        for reason in [reason for reason, holds in reasons.items() if holds]:
            self._wrong(f"{what} {reason}")
        return not any(reasons.values())

    def _agreed(self, *asked: str) -> bool:
        has = {"trigger": self.step.trigger == "callable", "when": self.step.when}
        return all(self.life.decided.get(what, False) for what in asked if has[what])

    def _fate(self) -> Fate:
        fate = self._trigger()
        return self._answer("when") if fate == START and self.step.when else fate

    def _answer(self, what: str) -> Fate:
        answer = self.script.decide(*self.one, "when" if what == "when" else "trigger")
        return FAIL if answer == "raise" else START if answer else ("CONDITION", self.one)

    def _trigger(self) -> Fate:
        ends = [self._end(need) for need in self.step.needs]
        failed = [("UPSTREAM", end.because) for end in ends if end.verdict == "F"]
        blank = [("CONDITION", end.because) for end in ends if end.verdict == "C"]
        match self.step.trigger:
            case "callable":
                return self._answer("trigger")
            case "none_failed":
                return (*failed, START)[0]
            case "any_succeeded":
                return START if "S" in [end.verdict for end in ends] else (*failed, *blank, START)[0]
            case "all_failed":
                return START if len(failed) == len(ends) else ("CONDITION", self.one)
            case "all_succeeded":
                failed = [("UPSTREAM", end.because) for end in self._not_accepted("F")]
                blank = [("CONDITION", end.because) for end in self._not_accepted("C")]
                return (*failed, *blank, START)[0]
        return START

    def _not_accepted(self, verdict: str) -> list[_End]:
        ends = [self._end(need) for need in self.step.needs if not need.accepts(verdict)]
        return [end for end in ends if end.verdict == verdict]

    def _end(self, need: Need) -> _End:
        outer = self._outer(need)
        if need.how != "gather" or self.lives[need.parent, outer].status == "skipped":
            return self._end_of((need.parent, outer))
        ends = [self._end_of(one) for one in self._below(need)]
        if need.policy != "raise" or all(end.verdict in "SC" for end in ends):
            return _End("S")
        because = [end.because for end in ends if end.verdict == "F"]
        failure = [end.failure for end in ends if end.failure is not None]
        return _End("F" if because else "X", (*because, None)[0], (*failure, None)[0])

    def _end_of(self, one: Instance) -> _End:
        life = self.lives[one]
        if life.status in ("failed", "cancelled"):
            return _End("F", one, one if life.status == "failed" else None)
        if life.status == "skipped":
            verdict = {"UPSTREAM": "F", "CONDITION": "C"}.get(life.why, "X")
            return _End(verdict, life.because, life.because if verdict == "F" else None)
        return _End("S")

    def _exists(self, node: str, path: Path) -> bool:
        opened = [self.opened.get((head, path[:at]), 0) for at, head in enumerate(self.scope.get(node, ()))]
        return len(path) == len(opened) and all(at < count for at, count in zip(path, opened, strict=True))

    def _outer(self, need: Need) -> Path:
        return self.one[1][: len(given.seen_at(need, self.scope[need.parent]))]

    def _below(self, need: Need) -> list[Instance]:
        return [(need.parent, path) for path in self._paths(need.parent, self._outer(need))]

    def _needs_ended(self) -> bool:
        return all(self.lives[one].status in ENDED for need in self.step.needs for one in self._below(need))

    def _paths(self, node: str, outer: Path) -> Iterator[Path]:
        """Give where a node lives under `outer`: its items, or the outer path of a map that is not open."""
        heads = self.scope[node]
        if len(outer) == len(heads) or (heads[len(outer)], outer) not in self.opened:
            yield outer
        else:
            for index in range(self.opened[heads[len(outer)], outer]):
                yield from self._paths(node, (*outer, index))

    def _value(self) -> None:
        args = {f"n{at}": self._arg(need) for at, need in enumerate(self.step.needs) if need.is_data}
        size = self.script.size(*self.one) if self.step.id in self.spec.sources() else None
        self.values[self.one] = given.expected_value(*self.one, args, size)
        if self.committed.get(self.one, "nothing") != self.values[self.one]:
            self._wrong(f"its value is not what {args} gives")

    def _arg(self, need: Need) -> object:
        one = (need.parent, self._outer(need))
        if need.how == "gather":
            return self._gathered(need, one[1])
        value = self._outcome(one) if need.how == "outcome" else self.values.get(one, "default")
        return value[self.one[1][-1]] if need.how == "each" and isinstance(value, list) else value

    def _gathered(self, need: Need, outer: Path) -> list[object]:
        heads, found = self.scope[need.parent], list[object]()
        for index in range(self.opened.get((heads[len(outer)], outer), 0)):
            path = (*outer, index)
            if len(path) < len(heads) and (heads[len(path)], path) in self.opened:
                found.append(self._gathered(need, path))
            elif need.policy == "keep" or (need.parent, path) in self.values:
                outcome = self._outcome((need.parent, path))
                found.append(outcome if need.policy == "keep" else outcome[1])
        return found

    def _outcome(self, one: Instance) -> tuple[str, object]:
        life = self.lives[one]
        if life.status == "succeeded":
            return "ok", self.values.get(one)
        return ("skipped" if life.status == "skipped" else "failed"), life.why or life.status

    def _wrong(self, rule: str) -> None:
        self.found.append(f"{self.one[0]}{list(self.one[1])}: {rule}")
