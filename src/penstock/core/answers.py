"""Answers to gates: they may come before the gate is open, and from anywhere."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from .commands import ANSWERED, Reply
from .errors import InputError, nearest
from .machine.state import WAITING, State
from .model import Node, NodePath


class Answer(NamedTuple):
    """What somebody said to a gate.

    Attributes:
        gate: Path of the gate, as text.
        value: The answer.
        letter: Id of the letter that brought it; 0 if it came by hand.
    """

    gate: str
    value: Any
    letter: int = 0


class Answers:
    """The answers of one run, until its machine takes them. The first one to a gate counts.

    Args:
        state: The run's state; read only.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._given: deque[Answer] = deque()
        self._early: dict[str, Answer] = {}
        self._on_its_way: set[int] = set()  # gates whose answer the machine has not taken yet

    def give(self, answer: Answer) -> None:
        """Leaves an answer; from any thread.

        Raises:
            InputError: There is no such gate, or it takes another kind of answer.
        """
        check_answer(self._gate(answer.gate), answer)
        self._given.append(answer)

    def _gate(self, gate: str) -> Node:
        nodes = self._state.plan.graph.nodes
        gates = {node.id: node for node in nodes if node.kind == "gate"}
        found = gates.get(gate) or gates.get(gate.rpartition("[")[0])
        if found is None:
            some = f" (its gates: {', '.join(gates)})" if gates else "; it has none"
            raise InputError(f"there is no gate {gate!r} in this run{nearest(gate, gates)}{some}")
        return found

    def due(self) -> list[tuple[Reply, Answer]]:
        """The answers that the machine can take now; in the engine's thread."""
        while self._given:
            answer = self._given.popleft()
            self._early.setdefault(answer.gate, answer)
        if not self._early:
            return []
        state, found = self._state, []
        at = state.status.find(WAITING)
        while at >= 0:
            path: NodePath = state.path(at)
            answer_at = self._early.pop(str(path), None)
            if answer_at is not None and at not in self._on_its_way:
                self._on_its_way.add(at)
                found.append(((ANSWERED, at, answer_at.value), answer_at))
            at = state.status.find(WAITING, at + 1)
        return found


def check_answer(gate: Node, answer: Answer) -> None:
    """Lets an answer pass that the gate takes.

    Raises:
        InputError: It takes another kind.
    """
    try:
        gate.call(answer.value)
    except (TypeError, ValueError) as error:
        raise InputError(f"gate {answer.gate!r}: {error}") from None
