"""The reference model: judges whether the history of a run is one that the semantics allow.

It reads the facts in the order of recording and recomputes, naively, what each was allowed to be. As every
start, end and skip must follow from the ends before it and from the script, a history without a stop has only
one legal final state, whatever its schedule; only who gets a scarce retry depends on it. It must never import
anything of the package under test.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tests.model import spec as given
from tests.model.outlook import tolerated, unbounded
from tests.model.spec import Fact, GraphSpec, Instance, Need, Path, Script, Step, Values
from tests.model.world import ENDED, FAIL, START, End, Fate, World

How = tuple[str, str]  # what an attempt came to, and the kind of its failure
TIME = {
    "begun": 1, "deadline": 1, "started": 4, "succeeded": 4, "cancelled": 4, "retrying": 4, "resumed": 4,
    "failed": 5,
}  # fmt: skip


def verify(spec: GraphSpec, script: Script, history: Sequence[Fact], values: Values) -> list[str]:
    """List the violations of a history; an empty list means that it is legal."""
    judge = _Judge(spec, script, values)
    for index, fact in enumerate(history):
        judge.see(index, fact)
    unended = [] if judge.finished else ["the run: it never finished"]
    extra = [f"{one}: has a value without a success" for one in values if one not in judge.world.values]
    return judge.found + unended + extra


class _Judge:
    """Reads facts; `one`, `step`, `path` and `life` are those of the fact at hand."""

    def __init__(self, spec: GraphSpec, script: Script, values: Values) -> None:
        self.spec, self.script, self.committed = spec, script, values
        self.world = World(spec, script)
        self.limits = {limit.name: limit for limit in spec.limits}
        needs = [need for step in spec.steps for need in step.needs]
        self.quorums = [need for need in needs if need.quorum is not None]
        self.unbounded = unbounded(spec)
        self.found: list[str] = []
        self.starts: list[tuple[float, Step]] = []
        self.lingering: dict[tuple[Instance, int], Step] = {}
        self.left = 0  # attempts that were abandoned
        self.retries = 0
        self.now = float("-inf")
        self.deadline = inf
        self.failed = False  # by an untolerated failure before any cancel
        self.cancelled = self.expired = False
        self.stoppers: list[Instance | None] = []  # what stopped the run; None from outside
        self.halted = -1  # where running attempts were last told to stop; a drain lets them be
        self.halted_at = inf
        self.finished = False

    def see(self, index: int, fact: Fact) -> None:
        """Judge one fact, then believe it, so that one violation brings few others in its train."""
        if self.finished:
            self.found.append(f"the run: {fact} was recorded after it finished")
        self.index = index
        if len(fact) > 2:
            if fact[1] not in self.world.steps:
                self.found.append(f"{fact[1]}: there is no such node")
                return
            self.one: Instance = (fact[1], fact[2])
            self.path: Path = fact[2]
            self.step, self.life = self.world.steps[fact[1]], self.world.lives[self.one]
        self._tick(fact)
        match fact:
            case ("begun", at):
                self.deadline = inf if self.spec.deadline is None else at + self.spec.deadline
            case ("expanded", _, path, keys):
                self._expanded((self.step.source or "", path), keys)
            case ("yielded", _, _, token, position):
                self._yielded(token, position)
            case ("paused", _, _, token):
                self._paused(token)
            case ("resumed", _, _, token, _):
                self._resumed(token)
            case ("started", _, _, token, _):
                self._started(token)
            case ("decided", _, _, what, value):
                self._decided(what, value)
            case ("abandoned", _, _, token):
                self._abandoned(token)
            case ("released", _, _, token):
                if self.lingering.pop((self.one, token), None) is None:
                    self._wrong("released though it was not abandoned")
            case ("folded", _, _, token, upto):
                self._folded(token, upto)
            case ("succeeded" | "cancelled" as what, _, _, token, _):
                self._ended(token, (what, ""))
            case ("retrying", _, _, token, now, due):
                if due != now + self.step.delay:
                    self._wrong(f"retry due at {due}, not at {now} + {self.step.delay}")
                self._ended(token, ("retrying", ""))
                self.life.due = due
            case ("failed", _, _, 0, "condition", _):
                self._condition_failed()
            case ("failed", _, _, 0, kind, _):
                self._blocked(kind)
            case ("failed", _, _, token, kind, _):
                self._ended(token, ("failed", kind))
            case ("interrupted", _, _, token):
                self._ended(token, ("given back", ""))
            case ("skipped", _, path, cause, because):
                self._skipped(path, (cause, because))
            case ("cancel_asked",):
                if self.cancelled or self.spec.cancel_after is None or index < self.spec.cancel_after:
                    self.found.append("the run: a cancel was recorded that nobody asked")
                self.cancelled = True
                self._stop(None, halt=True)
            case ("deadline", at):
                self._expired(at)
            case ("finished", status):
                self._finished(status)
            case _:
                self.found.append(f"{fact}: no fact that the model knows")
        if fact[0] in (*ENDED, "expanded"):
            self._judge_quorums()

    def _tick(self, fact: Fact) -> None:
        if fact[0] not in TIME:
            return
        if fact[TIME[fact[0]]] < self.now:
            self.found.append(f"{fact}: recorded with a time before {self.now}")
        self.now = fact[TIME[fact[0]]]
        if self.now > self.deadline and not self.expired and self.halted < 0:
            self.found.append(f"{fact}: nothing was stopped at the deadline, {self.deadline}")

    # Maps and streams

    def _expanded(self, source: Instance, keys: Sequence[int | str] | None) -> None:
        world, step = self.world, self.world.steps[source[0]]
        here = (self.step.id, source[1])
        if here in world.opened:
            self._wrong("map opened twice")
        right = 0 if step.stream else self.script.size(*source)
        whole = [world.element(*here, index) for index in range(right)]
        if not world.exists(*source):
            self._wrong("map opened that has no source")
        elif step.stream and (keys is not None or world.lives[source].status != "running"):
            self._wrong(f"map of a stream opened with {keys} while that was {world.lives[source].status}")
        elif not step.stream and world.lives[source].status != "succeeded":
            self._wrong("map opened though its source has not succeeded")
        elif not step.stream and keys != whole:
            self._wrong(f"map opened with {keys}, its source returned {whole}")
        world.opened[here] = whole

    def _yielded(self, token: int, position: int) -> None:
        world, life, attempt = self.world, self.life, self.life.charged + 1
        if life.status != "running" or life.token != token:
            self._wrong(f"yielded by token {token} while it was {life.status} with token {life.token}")
        if position != life.given:
            self._wrong(f"element {position} came after {life.given}")
        if position >= self.script.yields(*self.one, attempt):
            self._wrong(f"element {position} came of an attempt that gives fewer")
        if self.halted < 0 and self.step.id not in self.unbounded and self._ahead() >= self._most_ahead():
            self._wrong(f"yielded though {self._ahead()} elements of it wait for their step")
        life.given += 1
        for head in world.heads(self.step.id):
            here = (head, self.path)
            if here not in world.opened:
                self._wrong(f"element {position} came before the map of {head} opened")
            world.opened.setdefault(here, []).append(world.element(head, self.path, position))

    def _ahead(self) -> int:
        """Count the elements of a stream whose first step has not begun, for its slowest consumer."""
        ahead = [0]
        for head in self.world.heads(self.step.id):
            keys = self.world.opened.get((head, self.path), [])
            lives = [self.world.lives[head, (*self.path, key)] for key in keys]
            waiting = [at for at, life in enumerate(lives) if life.status in ("pending", "given back")]
            ahead.append(len(keys) - waiting[0] if waiting else 0)
        return max(ahead)

    def _most_ahead(self) -> float:
        runners = {self.world.steps[head].runner for head in self.world.heads(self.step.id)}
        slots = min((self.spec.capacities[runner] for runner in runners), default=inf)
        for head in self.world.heads(self.step.id):
            for name, weight in self.world.steps[head].limits:
                slots = min(slots, (self.limits[name].capacity or inf) // weight)
        return 2 * min(slots, self.spec.max_concurrency or inf)

    def _unfolded(self) -> int:
        """Count what a fold could take: in a run that is stopping, nothing before the end of the map."""
        return 0 if self.stoppers else self.world.unfolded(self.one)

    def _paused(self, token: int) -> None:
        if self.life.status != "running" or self.life.token != token or not self.step.stream:
            self._wrong(f"paused with token {token} while it was {self.life.status}")
        if (waiting := max(self._ahead(), self._unfolded())) < self._most_ahead():
            self._wrong(f"paused though only {waiting} elements of it wait for their step or their fold")
        self.life.status, self.life.waited = "paused", True

    def _resumed(self, token: int) -> None:
        if self.life.status != "paused" or self.life.token != token:
            self._wrong(f"resumed with token {token} while it was {self.life.status}")
        if self.halted >= 0 and self.step.trigger != "always":
            self._wrong("resumed after the run stopped")
        if (waiting := max(self._ahead(), self._unfolded())) > self._most_ahead() / 2:
            self._wrong(f"resumed though {waiting} elements of it wait for their step or their fold")
        self.life.status = "running"
        self._slots(new=False)

    def _folded(self, token: int, upto: int) -> None:
        if not self.step.fold or self.life.status != "running" or self.life.token != token:
            self._wrong(f"folded with token {token} while it was {self.life.status}")
        need = self.step.needs[0]
        paths = list(self.world.paths(need.parent, self.world.outer(need, self.path)))
        if any(self.world.lives[need.parent, path].status not in ENDED for path in paths[:upto]):
            self._wrong(f"folded the first {upto} items, which have not all ended")
        self.life.status, self.life.folded = "sliced", upto

    # Decisions and starts

    def _decided(self, what: str, value: bool) -> None:
        if what in self.life.decided:
            self._wrong(f"{what} decided twice")
        elif self._may_move(f"{what} decided"):
            fate = self._trigger()
            if what == "when" and self.step.when:
                if fate != START or not self._agreed("trigger"):
                    self._wrong("when decided though its trigger does not hold")
                fate = self.world.answer(self.step, self.path, "when")
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

    def _blocked(self, kind: str) -> None:
        """Judge that a step was given up: what was abandoned holds its limits, and nothing else runs."""
        held = {name for step in self.lingering.values() for name, _ in step.limits}
        running = [one for one, life in self.world.lives.items() if life.status == "running"]
        if kind != "error" or running or not held & dict(self.step.limits).keys():
            self._wrong(f"failed as {kind} without an attempt, while {running} were running, held {held}")
        if self.life.status not in ("pending", "retrying") or not self.world.needs_ended(
            self.step, self.path
        ):
            self._wrong(
                f"failed without an attempt while it was {self.life.status}, or before its needs ended"
            )
        self.life.status, self.life.why = "failed", kind
        self._judge_failure()

    def _started(self, token: int) -> None:
        life, now = self.life, self.now
        if token != life.token + 1:
            self._wrong(f"started with token {token} after token {life.token}")
        if life.status == "retrying":
            if now < life.due or self.halted >= 0:
                self._wrong(f"retried at {now}, due at {life.due}, or after the stop")
        elif self.step.fold and self._may_slice():
            pass
        elif self._may_move("started") and (self._fate() != START or not self._agreed("trigger", "when")):
            self._wrong(f"started though its rules say {self._fate()}, decided {life.decided}")
        if life.status == "pending":
            life.first = now
        life.status, life.token, life.started, life.begun = "running", token, now, self.index
        life.waited = life.left = False
        self.starts.append((now, self.step))
        self._slots(new=True)

    def _may_slice(self) -> bool:
        """Say whether a fold may begin before all its items have ended: at least one must have come."""
        need = self.step.needs[0]
        outer = self.world.outer(need, self.path)
        opened = (self.world.scope[need.parent][len(outer)], outer) in self.world.opened
        good = self.world.exists(*self.one) and self.life.status in ("pending", "sliced", "given back")
        return good and opened and not self.stoppers and not self.world.needs_ended(self.step, self.path)

    def _slots(self, *, new: bool) -> None:
        lives = self.world.lives.items()
        running = [self.world.steps[node] for (node, _), life in lives if life.status == "running"]
        if len(running) > (self.spec.max_concurrency or len(running)):
            self._wrong("runs beyond max_concurrency")
        if [step.runner for step in running].count(self.step.runner) > self.spec.capacities[self.step.runner]:
            self._wrong(f"runs beyond the capacity of runner {self.step.runner}")
        holding = [*running, *self.lingering.values()]
        for name, _ in self.step.limits:
            capacity, rate = self.limits[name].capacity, self.limits[name].rate
            if self.limits[name].wide:
                continue  # others have their part of it: the driver watches what was granted
            if capacity is not None and sum(dict(step.limits).get(name, 0) for step in holding) > capacity:
                self._wrong(f"runs beyond the capacity of limit {name!r}")
            if rate is not None and new:
                window = [step for at, step in self.starts if self.now < at + rate[1]]
                if sum(dict(step.limits).get(name, 0) for step in window) > rate[0]:
                    self._wrong(f"started beyond the rate of limit {name!r}")

    # Ends

    def _ended(self, token: int, how: How) -> None:
        life = self.life
        if token != life.token or life.status not in (
            "running",
            "paused",
            "sliced",
            "retrying",
            "given back",
        ):
            self._wrong(f"{how} of token {token} recorded while it was {life.status} with token {life.token}")
            return
        if how not in (legal := self._endings()):
            self._wrong(f"{how} from {life.status} at {self.now}, legal were {legal}")
        life.status, life.why = how
        life.charged += how[0] == "retrying"
        self.retries += how[0] == "retrying"
        if how[0] == "succeeded":
            self._value()
        if how[0] == "failed":
            self._judge_failure()
        if life.left and self.left > self.spec.max_abandoned and self.halted < 0:
            self.failed = self.failed or not self.cancelled
            self._stop(self.one, halt=True)

    def _abandoned(self, token: int) -> None:
        life = self.life
        if not self.step.clings or life.status not in ("running", "paused") or life.token != token:
            self._wrong(f"abandoned with token {token} while it was {life.status}")
        life.left = True
        self.left += 1
        self.lingering[self.one, token] = self.step

    def _endings(self) -> list[How]:
        """List how the attempt may end now: of itself once its time has come, or as it was told to stop."""
        life, legal = self.life, list[How]()
        if life.status not in ("running", "paused"):
            return (
                [("cancelled", "")] if (life.charged or life.status == "sliced") and self.halted >= 0 else []
            )
        attempt = life.charged + 1
        kind, duration = self.script.outcome(*self.one, attempt)
        own = life.started + given.patience(self.step, self.script, self.path, attempt)
        over = min(own, self._last())
        if kind != "hang" and life.started + duration <= self.now <= over and life.status == "running":
            legal += [("succeeded", "")] if kind == "ok" else self._failures("error", final=kind == "fatal")
            if self.step.fold and kind == "ok" and not self.world.needs_ended(self.step, self.path):
                legal.remove(("succeeded", ""))
        forced = self._failures("timeout", final=self.now >= self._last()) if self.now >= over else []
        if own == self._last() <= self.now:  # either may be what ended it
            forced += self._failures("timeout", final=False)
        told = life.begun < self.halted and self.step.trigger != "always"
        if self.now >= self.halted_at + self.spec.grace and (self.step.clings or not told):
            forced.append(("failed", "timeout") if self.expired and told else ("cancelled", ""))
        if told and not self.step.clings:
            legal += self._told(attempt)
        elif told:
            legal.append(("given back", ""))
        if self.step.clings:  # it ends by itself, or must be left behind
            return forced if life.left else legal
        return legal + forced

    def _told(self, attempt: int) -> list[How]:
        """List how an attempt may end that was told to stop."""
        told = self.script.cleanup(*self.one, attempt)
        ended: How = ("failed", "timeout") if self.expired else ("cancelled", "")
        ends: dict[str, How] = {"cancelled": ended, "ok": ("succeeded", ""), "error": ("failed", "error")}
        return [ends[told], ("given back", "")]

    def _last(self) -> float:
        """Give when the time of all attempts together is over."""
        return (
            inf if self.step.total is None or self.life.first is None else self.life.first + self.step.total
        )

    def _failures(self, kind: str, *, final: bool) -> list[How]:
        """List what a failure of this kind may become now: it is tried again if anything allows it."""
        if final or self.life.charged + 1 >= self.step.max_attempts or self.halted >= 0:
            return [("failed", kind)]
        due, ends = self.now + self.step.delay, (self._last(), self.deadline)
        spent = self.spec.retry_budget is not None and self.retries >= self.spec.retry_budget
        legal: list[How] = []
        if spent:
            legal.append(("failed", kind))
        if any(due >= end for end in ends):
            legal.append(("failed", "retry_past_deadline"))
        return legal or [("retrying", "")]

    def _judge_failure(self) -> None:
        if not tolerated(self.spec, self.step.id):
            self._fail(self.one)

    def _fail(self, *by: Instance | None) -> None:
        self.failed = self.failed or not self.cancelled
        if self.spec.on_failure != "continue" and not self.stoppers:
            self._stop(*by, halt=self.spec.on_failure == "stop")

    def _stop(self, *by: Instance | None, halt: bool) -> None:
        self.stoppers += by
        if halt:
            self.halted, self.halted_at = self.index, min(self.halted_at, self.now)

    def _expired(self, at: float) -> None:
        if at < self.deadline or self.expired:
            self.found.append(f"the run: a deadline passed at {at}, and not at {self.deadline}")
        self.expired = True
        self.failed = self.failed or not self.cancelled
        self._stop(None, halt=True)

    def _judge_quorums(self) -> None:
        """Fail the run when a quorum has come out of reach: enough items may still be open to make it up.

        Where one fact does that to several, any of them may be named.
        """
        by = set[Instance | None]()
        for need in self.quorums if not (self.failed or self.cancelled) else ():
            if (self.world.scope[need.parent][0], ()) not in self.world.opened:
                continue
            for group, ends in self.world.groups(need.parent, ()):
                if self._lost(need, group, ends):
                    by |= {end.because for end in ends if end.verdict == "F"} or {(need.parent, group)}
        if by:
            self._fail(*by)

    def _lost(self, need: Need, group: Path, ends: list[End]) -> bool:
        world, heads, quorum = self.world, self.world.scope[need.parent], need.quorum or 0
        head, depth = heads[len(group)], len(heads) - need.levels
        if (head, group) not in world.opened or len(group) < len(heads) - 1:
            inside = len(group) > depth or (len(group) == depth and (head, group) in world.opened)
            return inside and ends[0].verdict == "F" and given.least(quorum, 1) > 0
        source = (world.source(head), group)
        if world.steps[source[0]].stream and world.lives[source].status not in ENDED:
            return False
        states = [world.lives[need.parent, path].status for path in world.paths(need.parent, group)]
        left_out = sum(end.verdict == "C" for end in ends)
        still = sum(state not in ENDED for state in states) + states.count("succeeded")
        return still < given.least(quorum, len(ends) - left_out)

    # Skips and the end of the run

    def _skipped(self, path: Path, how: Fate) -> None:
        group = len(path) < len(self.world.scope[self.step.id])
        if self.life.status not in ("pending", "given back", "sliced"):
            self._wrong(f"skipped while it was {self.life.status}")
        elif not group and not (
            self.world.exists(*self.one) and self.world.needs_ended(self.step, self.path)
        ):
            self._wrong("skipped before all its needs ended")
        elif how not in (legal := self._group_skips(path) if group else self._skips()) and (
            "UPSTREAM" not in dict(legal) or group or how[1] not in self.world.blamable(self.step, path)
        ):
            self._wrong(f"skipped as {how}, legal were {legal}")
        self.life.status, self.life.why, self.life.because = "skipped", *how

    def _skips(self) -> list[Fate]:
        if False in self.life.decided.values():
            return [("CONDITION", self.one)]
        if self.stoppers and self.step.trigger != "always":
            for end in self.world.not_accepted(self.step, self.path, "F"):
                if end.failure is not None:
                    return [("UPSTREAM", end.failure), ("UPSTREAM", end.because)]
            return [("STOPPED", stopper) for stopper in self.stoppers]
        fate = self._trigger()
        return [] if fate in (START, FAIL) or self.step.trigger == "callable" else [fate]

    def _group_skips(self, path: Path) -> list[Fate]:
        world = self.world
        source = (world.source(world.scope[self.step.id][len(path)]), path)
        if not world.exists(*source) or world.lives[source].status not in ENDED:
            return []
        end = world.end_of(source)
        if self.stoppers and end.failure is None:
            return [("STOPPED", stopper) for stopper in self.stoppers]
        return {"F": [("UPSTREAM", end.because)], "C": [("CONDITION", end.because)]}.get(end.verdict, [])

    def _finished(self, status: str) -> None:
        right = "FAILED" if self.failed else "CANCELLED" if self.cancelled else "SUCCEEDED"
        if status != right:
            self.found.append(f"the run: finished as {status}, not as {right}")
        self.finished = True
        for one in [(node, path) for node in self.world.steps for path in self.world.paths(node, ())]:
            if self.world.lives[one].status not in ENDED:
                self.found.append(f"{one}: left {self.world.lives[one].status} at the end of the run")

    # The instance at hand

    def _may_move(self, what: str) -> bool:
        """Say whether the instance may be decided on or started at all."""
        reasons = {
            f"while it was {self.life.status}": self.life.status not in ("pending", "given back", "sliced"),
            "though its map has no such item": not self.world.exists(*self.one),
            "before all its needs ended": not self.world.needs_ended(self.step, self.path),
            "after the run stopped": bool(self.stoppers) and self.step.trigger != "always",
        }
        for reason in [reason for reason, holds in reasons.items() if holds]:
            self._wrong(f"{what} {reason}")
        return not any(reasons.values())

    def _agreed(self, *asked: str) -> bool:
        has = {"trigger": self.step.trigger == "callable", "when": self.step.when}
        return all(self.life.decided.get(what, False) for what in asked if has[what])

    def _trigger(self) -> Fate:
        return self.world.trigger(self.step, self.path)

    def _fate(self) -> Fate:
        return self.world.fate(self.step, self.path)

    def _value(self) -> None:
        value = self.world.values[self.one] = self.world.value(self.step, self.path)
        if self.committed.get(self.one, "nothing") != value:
            self._wrong(f"its value is {self.committed.get(self.one, 'nothing')}, not {value}")

    def _wrong(self, rule: str) -> None:
        self.found.append(f"{self.one[0]}{list(self.one[1])}: {rule}")
