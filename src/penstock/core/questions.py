"""Questions to user code, put inside a turn: conditions, and triggers of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from . import commands
from .attempts import Attempts
from .commands import DECIDE, DECIDED, Command, Reply
from .failures import failure_of
from .machine import Machine
from .machine.state import PENDING
from .mailbox import Mailbox
from .model import Condition, Failure, Node
from .usercode import UserCode

Later = Callable[[Coroutine[Any, Any, None]], None]
"""Awaits a coroutine, and lets the turn go on meanwhile."""


class Questions:
    """Asks what the machine wants to know.

    Args:
        machine: Where the run stands.
        attempts: Knows what a condition is called with.
        user: Calls it.
        mailbox: Where answers go that are awaited.

    Attributes:
        later: See `Later`; None where there is no event loop.
    """

    __slots__ = ("_attempts", "_machine", "_mailbox", "_user", "later")

    def __init__(self, machine: Machine, attempts: Attempts, user: UserCode, mailbox: Mailbox) -> None:
        self._machine = machine
        self._attempts = attempts
        self._user = user
        self._mailbox = mailbox
        self.later: Later | None = None

    def put(self, todo: list[Command], clock: Callable[[], float]) -> list[Command]:
        """Answers questions inside the turn, so that they are recorded with what raised them.

        Args:
            todo: What the machine wants.
            clock: The run's clock.

        Returns:
            What else it wants, and what follows from the answers.
        """
        done: list[Command] = []
        status = self._machine.state.status
        while todo:
            answers: list[Reply] = []
            later: list[Command] = []  # one question was interrupted: the others may be needless now
            interrupted = False
            for command in todo:
                if command[0] != DECIDE:
                    done.append(command)
                elif interrupted:
                    later.append(command)
                else:
                    replies = self._ask(command[1], command[2])
                    interrupted = len(replies) > 1
                    answers += replies
            todo = self._machine.step(answers, clock()) if answers else []
            todo += [command for command in later if status[command[1]] == PENDING]
        return done

    def _ask(self, i: int, what: int) -> list[Reply]:
        """The answer to a question; none yet if it is awaited; the interrupt first, if there was one."""
        node = self._node(i)
        condition = node.when if what == commands.WHEN else node.trigger
        assert isinstance(condition, Condition)
        try:
            arguments = self._attempts.question(i, condition, outcomes=what == commands.TRIGGER)
            answer = self._user.run(condition.call, **arguments)
            if condition.is_async or hasattr(answer, "__await__"):
                if self.later is None:
                    getattr(answer, "close", bool)()
                    raise TypeError("an async condition needs a run on an event loop; use arun()")
                self._user.context().run(self.later, self._await_answer(i, what, answer))
                return []
        except BaseException as error:
            reply: Reply = (DECIDED, i, what, failure_of(error, kind="condition"))
            if isinstance(error, KeyboardInterrupt):
                return [(commands.ASKED, "interrupted"), reply]
            return [reply]
        return [(DECIDED, i, what, self._as_bool(answer, node.id, what))]

    async def _await_answer(self, i: int, what: int, answer: Any) -> None:
        try:
            value = await answer
        except BaseException as error:
            self._mailbox.post((DECIDED, i, what, failure_of(error, kind="condition")))
            return
        self._mailbox.post((DECIDED, i, what, self._as_bool(value, self._node(i).id, what)))

    def _node(self, i: int) -> Node:
        state = self._machine.state
        return state.plan.nodes[state.plan.node[state.site[i]]]

    @staticmethod
    def _as_bool(answer: Any, node: str, what: int) -> bool | Failure:
        if isinstance(answer, bool):
            return answer
        word = "when" if what == commands.WHEN else "trigger"
        text = f"{word} of {node!r} returned {type(answer).__name__}, not a bool"
        return Failure("condition", "TypeError", text, retryable=False)
