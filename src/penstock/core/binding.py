"""From committed values to the arguments of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .machine import judge
from .machine.facts import CAUSES
from .machine.state import CANCELLED, FAILED, SKIPPED, SUCCEEDED, State
from .model import NOTHING, Condition, Failure, Need, Ok, Outcome, Skip
from .plan import KEEP, SiteNeed

Arguments = dict[str, Any]


class Binder:
    """Makes the arguments of every call of one run.

    Args:
        state: The run's state; read only.
        inputs: The run's inputs, by name.
    """

    __slots__ = ("_inputs", "_state")

    def __init__(self, state: State, inputs: Mapping[str, Any]) -> None:
        self._state = state
        self._inputs = inputs

    def arguments(self, i: int) -> Arguments:
        """The keyword arguments of node or item `i`, but for its context.

        The engine makes those of the simplest nodes itself.
        """
        s = self._state
        plan = s.plan
        node = plan.node[s.site[i]]
        of = plan.nodes[node]
        arguments = dict(of.bound) if of.bound else {}
        for param, name in of.inputs:
            if name in self._inputs:
                arguments[param] = self._inputs[name]
        if plan.partial[node] or (plan.lenient[node] and s.hold[i]):
            self._one_by_one(i, node, arguments)
            return arguments
        for param, step in plan.wires[node]:
            arguments[param] = s.value[i + step]
        if node in plan.elements:
            arguments[plan.elements[node]] = s.fans[i - s.total].elements[s.element[i - s.total]]
        return arguments

    def _one_by_one(self, i: int, node: int, arguments: Arguments) -> None:
        """Adds what the needs bring where it is not simply values of the same row."""
        s = self._state
        of = s.plan.nodes[node]
        for need, seen in zip(of.needs, s.plan.needs_of(node), strict=True):
            if need.param is None or need.how == "after":
                continue
            value = self.value(i, need, seen)
            if value is not NOTHING:
                arguments[need.param] = value

    def value(self, i: int, need: Need, seen: SiteNeed) -> Any:
        """What a need brings; `NOTHING` where the parameter's own default is to be taken.

        Raises:
            LookupError: The value has no such part.
            TypeError: The value has no parts.
        """
        s = self._state
        if seen.element:
            element = s.fans[i - s.total].elements[s.element[i - s.total]]
            return element if need.part is None else element[need.part]
        number = judge.need_number(s, i, seen)
        if need.how == "outcome":
            return self.outcome(number)
        if s.status[number] != SUCCEEDED:
            return need.default
        if need.how == "gather":
            if judge.came_to(s, number, seen) != 0:
                return need.default
            return self._gather(number, need.levels, seen.failures)
        value = s.value[number]
        return value if need.part is None else value[need.part]

    def outcome(self, number: int) -> Outcome[Any]:
        """How a node ended, as a value for user code."""
        s = self._state
        status = s.status[number]
        if status == SUCCEEDED:
            return Ok(s.value[number])
        if status == FAILED:
            return s.failures[number][-1]
        if status == SKIPPED:
            cause, because = s.skip(number) or (0, None)
            return Skip(CAUSES[cause], None if because is None else str(s.path(because)))
        if status == CANCELLED:
            return Failure("cancelled", "CancelledError", "the run was stopped", retryable=False)
        raise AssertionError(f"{s.path(number)} has not ended")

    def _gather(self, group: int, levels: int, failures: int) -> list[Any]:
        s = self._state
        fan = s.fan_of_group(group)
        if fan is None:
            return []
        node = s.plan.node[s.site[group]]
        place = s.plan.levels[fan.scope].position[node]
        if levels > 1:
            inner = levels - 1
            lists: list[Any] = [
                self._lost(one, inner) if s.status[one] == SKIPPED else self._gather(one, inner, failures)
                for one in [row + place for row in fan.rows]
                if failures == KEEP or s.status[one] != SKIPPED
            ]
            if failures == KEEP and fan.broken is not None:
                lists.append(self._lost(fan.broken, inner))
            return lists
        rows = fan.rows
        if not s.hold[group] and isinstance(rows, range):
            if not rows:
                return []
            values = s.value[rows.start + place : rows.stop : rows.step]
            return [Ok(value) for value in values] if failures == KEEP else values
        if failures == KEEP:
            found: list[Any] = [self.outcome(row + place) for row in rows]
            if fan.broken is not None:
                found.append(self.outcome(fan.broken))
            return found
        return [s.value[row + place] for row in rows if s.status[row + place] == SUCCEEDED]

    def _lost(self, number: int, levels: int) -> Any:
        """A map of so many levels that never opened, for a gather: lists around one outcome."""
        found: Any = self.outcome(number)
        for _ in range(levels):
            found = [found]
        return found

    def question(self, i: int, condition: Condition, *, outcomes: bool) -> Arguments:
        """The keyword arguments of a condition.

        Args:
            i: Whose condition it is.
            condition: The condition.
            outcomes: Give `Outcome`s, as a trigger gets them, instead of values.
        """
        s = self._state
        node = s.plan.node[s.site[i]]
        of, seen = s.plan.nodes[node], s.plan.needs_of(node)
        arguments: Arguments = {
            param: self._inputs[name] for param, name in condition.inputs if name in self._inputs
        }
        for param, index in condition.needs:
            if outcomes and not seen[index].element:
                arguments[param] = self._any_outcome(i, of.needs[index], seen[index])
                continue
            value = self.value(i, of.needs[index], seen[index])
            if value is not NOTHING:
                arguments[param] = value
        return arguments

    def _any_outcome(self, i: int, need: Need, seen: SiteNeed) -> Outcome[Any]:
        s = self._state
        number = judge.need_number(s, i, seen)
        if not seen.group or s.status[number] != SUCCEEDED:
            return self.outcome(number)
        if judge.came_to(s, number, seen) == 0:
            return Ok(self._gather(number, need.levels, seen.failures))
        root = judge.root_cause(s, number, seen)
        return self.outcome(number if root is None else root)
