"""What every runner must do: `core.ports.Runner`, written out as tests for pytest.

A runner's own test class inherits `RunnerContract`, gives it a rig, and says what it can do. What it says it
cannot is skipped, never weakened.

    class TestMine(RunnerContract):
        def make(self) -> Rig:
            return MineRig(MineRunner())

        def park(self, rig: Rig) -> Callable[[], None]:
            ...
"""

from __future__ import annotations

import builtins
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from penstock.core import commands as c
from penstock.core.context import Context
from penstock.core.events import NodePath
from penstock.core.failures import RetryOn
from penstock.core.mailbox import Mailbox
from penstock.core.model import Failure
from penstock.core.ports import Runner, Work

from . import contract_steps as steps

_PACKAGE = Path(steps.__file__).parents[1]

PATIENCE = 20.0  # seconds until a test that waits for something fails; nothing ever waits that long


class Rig:
    """A runner, a mailbox, and the way in which somebody drives the two.

    Attributes:
        replies: All that the runner has posted, in order.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.mailbox = Mailbox()
        self.replies: list[c.Reply] = []
        self._next = 0

    def open(self) -> None:
        self.runner.open(self.mailbox, time.monotonic)

    def until(self, done: Callable[[], bool]) -> None:
        """Drives the runner until `done`; fails the test if that does not come."""
        raise NotImplementedError

    def close(self) -> None:
        self.runner.close()

    def step(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call in the form that this runner takes."""
        return call

    def submit(
        self,
        call: Callable[..., Any],
        *,
        timed: bool = False,
        retry_on: RetryOn = None,
        context: Context | None = None,
        **arguments: Any,
    ) -> int:
        """Hands out one attempt; gives back its node, whose token is one more."""
        node = self._next
        self._next += 1
        work: Work = (node, node + 1, self.step(call), arguments, retry_on, context, timed)
        self.runner.submit(work)
        return node

    def stop(self, node: int, *, timeout: bool = False) -> None:
        self.runner.stop(node, node + 1, timeout=timeout)

    def abandon(self, node: int) -> None:
        self.runner.abandon(node, node + 1)

    def take(self) -> None:
        while self.mailbox.replies:
            self.replies.append(self.mailbox.replies.popleft())

    def of(self, node: int, kind: int) -> list[c.Reply]:
        self.take()
        return [reply for reply in self.replies if reply[0] == kind and reply[1] == node]

    def end(self, node: int) -> c.Reply:
        """Waits for the end of an attempt: (ENDED, node, token, result, payload, writes, began, ended)."""
        self.until(lambda: bool(self.of(node, c.ENDED)))
        (reply,) = self.of(node, c.ENDED)
        return reply

    def run(self, call: Callable[..., Any], **how: Any) -> tuple[int, Any]:
        """Makes one attempt: how it ended and with what."""
        reply = self.end(self.submit(call, **how))
        return reply[3], reply[4]

    def failure(self, call: Callable[..., Any], **how: Any) -> Failure:
        result, payload = self.run(call, **how)
        assert result == c.FAILED
        assert isinstance(payload, Failure)
        return payload


def context_of(path: str = "n") -> Context:
    return Context("run", NodePath(path), 1, lambda event: None)


NAMES = [
    name
    for name, kind in vars(builtins).items()
    if isinstance(kind, type)
    and issubclass(kind, BaseException)
    and name not in ("EnvironmentError", "IOError")
]


class RunnerContract:
    """Inherit, and give `make`.

    Attributes:
        same_objects: Values are passed by reference.
        interrupts: A KeyboardInterrupt in a step is taken as one of the user's own.
        timed: It says when a timed attempt begins.
    """

    same_objects: ClassVar[bool] = True
    interrupts: ClassVar[bool] = False
    timed: ClassVar[bool] = True

    def make(self) -> Rig:
        raise NotImplementedError

    def park(self, rig: Rig) -> Callable[[], None]:
        """Keeps the runner from beginning anything new; the function given back lets it go on."""
        raise NotImplementedError

    @pytest.fixture
    def rig(self) -> Iterator[Rig]:
        rig = self.make()
        rig.open()
        yield rig
        rig.close()

    # What comes back

    def test_a_result(self, rig: Rig) -> None:
        assert rig.run(steps.add, x=2, y=3) == (c.OK, 5)

    def test_none_is_a_result(self, rig: Rig) -> None:
        assert rig.run(steps.nothing) == (c.OK, None)

    def test_the_reply_names_its_attempt_and_its_times(self, rig: Rig) -> None:
        kind, node, token, result, payload, writes, began, ended = rig.end(rig.submit(steps.same, value="v"))
        assert (kind, node, token, result, payload, writes) == (c.ENDED, 0, 1, c.OK, "v", None)
        assert began <= ended

    def test_a_value_is_passed_by_reference(self, rig: Rig) -> None:
        if not self.same_objects:
            pytest.skip("this runner carries values elsewhere")
        value = object()
        assert rig.run(steps.same, value=value)[1] is value

    def test_every_attempt_ends_once(self, rig: Rig) -> None:
        many = [rig.submit(steps.add, x=i, y=1) for i in range(300)]
        rig.until(lambda: all(rig.of(node, c.ENDED) for node in many[-1:]))
        assert [rig.end(node)[4] for node in many] == [i + 1 for i in range(300)]
        rig.take()
        assert len([reply for reply in rig.replies if reply[0] != c.ROOM]) == 300

    def test_began_is_said_only_to_those_who_ask(self, rig: Rig) -> None:
        quiet, timed = rig.submit(steps.nothing), rig.submit(steps.nothing, timed=True)
        rig.end(quiet)
        rig.end(timed)
        assert rig.of(quiet, c.BEGAN) == []
        if not self.timed:
            return
        kinds = [reply[0] for reply in rig.replies if reply[1] == timed]
        assert kinds in ([c.BEGAN, c.ENDED], [c.ENDED])  # what ends at once need not say that it began
        for _, _, token, at in rig.of(timed, c.BEGAN):
            assert token == timed + 1
            assert at <= rig.end(timed)[7]

    def test_capacity_is_a_number(self, rig: Rig) -> None:
        assert rig.runner.capacity >= 1

    # What is written

    def test_writes_travel_with_the_value(self, rig: Rig) -> None:
        writes = {"a": 1, ("b", 2): [3], None: {"deep": "er"}}
        reply = rig.end(rig.submit(steps.write, value="v", writes=writes))
        assert reply[3:6] == (c.OK, "v", writes)

    def test_a_value_beside_writes_may_be_anything_even_nothing(self, rig: Rig) -> None:
        for value in (None, 0, [1], {"a": 1}, (), {}):
            reply = rig.end(rig.submit(steps.write, value=value, writes={"a": value}))
            assert reply[3:6] == (c.OK, value, {"a": value})
            assert type(reply[4]) is type(value)

    def test_writes_of_nothing_are_none(self, rig: Rig) -> None:
        reply = rig.end(rig.submit(steps.write, value="v", writes={}))
        assert reply[3:5] == (c.OK, "v")
        assert not reply[5]

    def test_writes_are_passed_by_reference(self, rig: Rig) -> None:
        if not self.same_objects:
            pytest.skip("this runner carries values elsewhere")
        value, written = object(), object()
        reply = rig.end(rig.submit(steps.write, value=value, writes={"a": written}))
        assert reply[4] is value
        assert reply[5]["a"] is written

    def test_each_attempt_has_its_own_writes_and_no_others(self, rig: Rig) -> None:
        """Nothing of an attempt stays behind in whatever has made it."""
        many = []
        for i in range(60):
            many.append(rig.submit(steps.write, value=i, writes={"i": i}))
            many.append(rig.submit(steps.same, value=i))
            many.append(rig.submit(steps.write_and_fail, writes={"i": i}))
        ends = [rig.end(node)[3:6] for node in many]
        assert ends[0::3] == [(c.OK, i, {"i": i}) for i in range(60)]
        assert ends[1::3] == [(c.OK, i, None) for i in range(60)]
        assert {(result, writes) for result, _, writes in ends[2::3]} == {(c.FAILED, None)}

    def test_r05_writes_of_a_failed_attempt_are_dropped(self, rig: Rig) -> None:
        reply = rig.end(rig.submit(steps.write_and_fail, writes={"a": 1}, retry_on=(ValueError,)))
        assert (reply[3], reply[5]) == (c.FAILED, None)
        assert (reply[4].type, reply[4].text, reply[4].retryable) == ("ValueError", "the text", True)

    def test_d16_an_awaitable_beside_writes_is_refused(self, rig: Rig) -> None:
        reply = rig.end(rig.submit(steps.write_forgotten, writes={"a": 1}))
        assert (reply[3], reply[5]) == (c.FAILED, None)
        text = "the step returned a coroutine, not its result; did you forget await?"
        assert (reply[4].type, reply[4].text) == ("TypeError", text)
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)

    @pytest.mark.parametrize("writes", [None, 5, [("a", 1)], "ab"])
    def test_writes_that_are_no_mapping_fail_their_step(self, rig: Rig, writes: Any) -> None:
        failure = rig.failure(steps.write, value="v", writes=writes)
        assert failure.type == "TypeError"
        assert failure.text.startswith("the writes of a step are a mapping, not ")
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)

    def test_writes_that_cannot_be_read_fail_their_step(self, rig: Rig) -> None:
        """Here, and not where the run goes on from them."""
        failure = rig.failure(steps.write_unreadable, retry_on=(ValueError,))
        assert (failure.type, failure.text, failure.retryable) == ("ValueError", "the text", True)
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)

    def test_writes_inside_writes_are_refused(self, rig: Rig) -> None:
        failure = rig.failure(steps.write, value=steps.write("v", {"a": 1}), writes={"b": 2})
        assert failure.type == "TypeError"
        assert "await" not in failure.text

    # What goes wrong

    def test_a_failure_is_kept_as_text(self, rig: Rig) -> None:
        failure = rig.failure(steps.raise_value)
        assert (failure.kind, failure.type, failure.text) == ("error", "ValueError", "the text")
        assert "raise_value" in failure.trace
        files = re.findall(r'File "([^"]+)"', failure.trace)
        assert steps.__file__ in files
        ours = [file for file in files if Path(file).is_relative_to(_PACKAGE) and file != steps.__file__]
        assert ours == [], "frames of Penstock say nothing to its users"
        assert not failure.retryable

    @pytest.mark.parametrize(
        ("call", "type_", "text"),
        [
            (steps.raise_odd, "Odd", "1 and too"),
            (steps.raise_stuck, "Stuck", "stuck"),
            (steps.raise_base, "Base", "base"),
            (steps.exit_now, "SystemExit", "3"),
            (steps.raise_group, "ExceptionGroup", "several (2 sub-exceptions)"),
        ],
    )
    def test_s06_s07_s29_odd_exceptions_fail_their_step(
        self, rig: Rig, call: Callable[..., Any], type_: str, text: str
    ) -> None:
        failure = rig.failure(call)
        assert (failure.type.rpartition(".")[2], failure.text) == (type_, text)
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2), "the runner is none the worse"

    @pytest.mark.parametrize("call", [steps.raise_mute, steps.raise_lying])
    def test_s29_a_text_that_cannot_be_had(self, rig: Rig, call: Callable[..., Any]) -> None:
        assert rig.failure(call).text.startswith("<its text cannot be had")
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)

    def test_s29_a_text_that_ends_the_interpreter(self, rig: Rig) -> None:
        assert rig.failure(steps.raise_rude).text.startswith("<its text cannot be had")

    def test_a_huge_text_is_cut(self, rig: Rig) -> None:
        failure = rig.failure(steps.raise_huge)
        assert len(failure.text) < 100_000
        assert len(failure.trace) < 100_000

    @pytest.mark.parametrize("name", NAMES)
    def test_s06_every_built_in_exception_fails_its_step(self, rig: Rig, name: str) -> None:
        if name == "KeyboardInterrupt" and self.interrupts:
            pytest.skip("taken as an interrupt")
        failure = rig.failure(steps.raise_named, name=name)
        assert failure.type in (
            name,
            "RuntimeError" if name == "StopIteration" else name,
            "OSError",
            "ExceptionGroup",
        )
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)

    def test_a_recursion_without_end(self, rig: Rig) -> None:
        assert rig.failure(steps.fall).type == "RecursionError"
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)

    def test_wrong_arguments(self, rig: Rig) -> None:
        assert rig.failure(steps.add, x=1).type == "TypeError"

    @pytest.mark.parametrize(
        ("call", "retry_on", "retryable"),
        [
            (steps.raise_value, (ValueError,), True),
            (steps.raise_value, (KeyError,), False),
            (steps.raise_value, (Exception,), True),
            (steps.raise_value, None, False),
            (steps.raise_value, steps.says_yes, True),
            (steps.raise_value, steps.says_truthy, False),
            (steps.raise_value, steps.breaks, False),
            (steps.exit_now, (BaseException,), False),
            (steps.raise_base, (BaseException,), True),
        ],
    )
    def test_r03_r04_whether_to_try_again_is_judged_where_the_exception_is(
        self, rig: Rig, call: Callable[..., Any], retry_on: RetryOn, retryable: bool
    ) -> None:
        assert rig.failure(call, retry_on=retry_on).retryable is retryable

    def test_r04_a_predicate_that_ends_the_interpreter(self, rig: Rig) -> None:
        assert not rig.failure(steps.raise_value, retry_on=steps.exits).retryable

    # Context variables

    def test_s24_variables_are_inherited_and_isolated(self) -> None:
        rig = self.make()
        token = steps.MARK.set("the caller's")
        try:
            rig.open()
        finally:
            steps.MARK.reset(token)
        assert rig.run(steps.read_mark) == (c.OK, "the caller's")
        assert rig.run(steps.write_mark, text="the step's") == (c.OK, "the step's")
        assert [rig.run(steps.read_mark)[1] for _ in range(50)] == ["the caller's"] * 50
        rig.close()
        assert steps.MARK.get() == "unset"

    def test_s24_siblings_see_nothing_of_each_other(self, rig: Rig) -> None:
        many = [rig.submit(steps.write_mark, text=str(i)) for i in range(100)]
        last = rig.submit(steps.read_mark)
        assert [rig.end(node)[4] for node in many] == [str(i) for i in range(100)]
        assert rig.end(last)[4] == "unset"

    # Stopping

    def test_what_has_not_begun_is_given_back(self, rig: Rig) -> None:
        release = self.park(rig)
        try:
            waiting = [rig.submit(steps.add, x=1, y=1, timed=True) for _ in range(3)]
            rig.stop(waiting[1])
            assert rig.end(waiting[1])[3] == c.RETURNED
        finally:
            release()
        assert [rig.end(waiting[0])[3], rig.end(waiting[2])[3]] == [c.OK, c.OK]
        assert rig.of(waiting[1], c.BEGAN) == []
        assert len(rig.of(waiting[1], c.ENDED)) == 1

    def test_all_that_has_not_begun_is_given_back(self, rig: Rig) -> None:
        release = self.park(rig)
        try:
            waiting = [rig.submit(steps.nothing) for _ in range(10)]
            for node in reversed(waiting):
                rig.stop(node, timeout=True)
            assert [rig.end(node)[3] for node in waiting] == [c.RETURNED] * 10
        finally:
            release()
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)

    def test_a_stop_of_nothing_is_nothing(self, rig: Rig) -> None:
        rig.stop(77)
        rig.abandon(77)
        node = rig.submit(steps.nothing)
        rig.end(node)
        rig.stop(node)
        rig.abandon(node)
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)
        assert len(rig.of(node, c.ENDED)) == 1

    def test_a_stop_of_another_token_is_nothing(self, rig: Rig) -> None:
        release = self.park(rig)
        try:
            node = rig.submit(steps.nothing)
            rig.runner.stop(node, node + 2, timeout=False)
            rig.runner.abandon(node, node + 2)
        finally:
            release()
        assert rig.end(node)[3] == c.OK

    def test_closed_unused(self) -> None:
        rig = self.make()
        rig.open()
        rig.close()
