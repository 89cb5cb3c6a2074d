"""What every runner must do with streams: the last part of `core.ports.Runner`, as tests for pytest.

A runner's own test class inherits `StreamContract` beside `RunnerContract`.

    class TestMine(StreamContract, RunnerContract):
        ...
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from penstock.core import commands as c
from penstock.core.context import Context
from penstock.core.failures import RetryOn
from penstock.core.ports import Work

from . import contract_steps as steps
from . import stream_steps as streams
from .contract import Rig

_PACKAGE = Path(streams.__file__).parents[1]


class StreamContract:
    """Mix it into a class that inherits `RunnerContract`.

    Attributes:
        parks_streams: A runner that is parked begins no stream either.
    """

    parks_streams: ClassVar[bool] = True

    def make(self) -> Rig:
        raise NotImplementedError

    def park(self, rig: Rig) -> Callable[[], None]:
        raise NotImplementedError

    def stream(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The generator function in the form that this runner takes."""
        return call

    def begin(
        self,
        rig: Rig,
        call: Callable[..., Any],
        *,
        upto: int = 0,
        timed: bool = False,
        retry_on: RetryOn = None,
        context: Context | None = None,
        **arguments: Any,
    ) -> int:
        """Hands out a stream and lets it go on; gives back its node."""
        node = rig._next
        rig._next += 1
        kind = c.STREAM | (c.TIMED if timed else 0)
        work: Work = (node, node + 1, self.stream(call), arguments, retry_on, context, kind)
        rig.runner.submit(work)
        if upto:
            rig.runner.go_on(node, node + 1, upto)
        return node

    @staticmethod
    def go_on(rig: Rig, node: int, upto: int) -> None:
        rig.runner.go_on(node, node + 1, upto)

    @staticmethod
    def elements(rig: Rig, node: int) -> list[Any]:
        """What it has given so far."""
        for reply in rig.of(node, c.YIELDED):
            assert (reply[2], reply[4]) == (node + 1, None)
        return [reply[3] for reply in rig.of(node, c.YIELDED)]

    def wait_for(self, rig: Rig, node: int, many: int) -> None:
        """Until so many elements have come; then, after something else has been made, there are no more."""
        rig.until(lambda: len(self.elements(rig, node)) >= many)
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)
        assert len(self.elements(rig, node)) == many

    @pytest.fixture
    def seen(self, tmp_path: Path) -> str:
        return str(tmp_path / "seen")

    # What comes back

    def test_a_stream_gives_its_elements_in_order_and_then_ends(self, rig: Rig) -> None:
        node = self.begin(rig, streams.count_to, upto=1_000, many=300)
        assert rig.end(node)[3:6] == (c.OK, None, None)
        assert self.elements(rig, node) == list(range(300))
        assert [reply[0] for reply in rig.replies if reply[1] == node][-1] == c.ENDED

    def test_an_empty_stream(self, rig: Rig) -> None:
        node = self.begin(rig, streams.count_to, upto=1, many=0)
        assert rig.end(node)[3:5] == (c.OK, None)
        assert self.elements(rig, node) == []

    def test_what_a_generator_returns_is_nobodys(self, rig: Rig) -> None:
        node = self.begin(rig, streams.with_a_result, upto=10)
        assert rig.end(node)[3:5] == (c.OK, None)
        assert self.elements(rig, node) == ["element"]

    def test_a_stream_says_that_it_began_before_its_first_element(self, rig: Rig) -> None:
        node = self.begin(rig, streams.count_to, upto=10, timed=True, many=3)
        began, ended = rig.end(node)[6:]
        assert [reply[0] for reply in rig.replies if reply[1] == node] == [c.BEGAN, *[c.YIELDED] * 3, c.ENDED]
        assert began <= ended

    def test_a_long_stream(self, rig: Rig) -> None:
        node = self.begin(rig, streams.count_to, upto=5_000, many=4_000)
        assert rig.end(node)[3] == c.OK
        assert self.elements(rig, node) == list(range(4_000))

    # Room

    def test_nothing_is_made_before_it_may_go_on(self, rig: Rig, seen: str) -> None:
        node = self.begin(rig, streams.count_to, many=3, seen=seen)
        self.wait_for(rig, node, 0)
        assert streams.noted(seen) == []
        self.go_on(rig, node, 1)
        self.wait_for(rig, node, 1)
        assert streams.noted(seen) == ["begin", "0"]

    def test_it_never_makes_more_than_it_may(self, rig: Rig, seen: str) -> None:
        node = self.begin(rig, streams.count_to, many=100, seen=seen)
        for upto in (1, 2, 10, 11, 60):
            self.go_on(rig, node, upto)
            self.wait_for(rig, node, upto)
            assert streams.noted(seen)[-1] == str(upto - 1)
        self.go_on(rig, node, 1_000)
        assert rig.end(node)[3] == c.OK
        assert self.elements(rig, node) == list(range(100))

    def test_one_that_has_made_all_it_may_does_not_look_whether_there_is_more(
        self, rig: Rig, seen: str
    ) -> None:
        node = self.begin(rig, streams.count_to, upto=3, many=3, seen=seen)
        self.wait_for(rig, node, 3)
        assert rig.of(node, c.ENDED) == []
        assert "end" not in streams.noted(seen)
        self.go_on(rig, node, 4)
        assert rig.end(node)[3] == c.OK

    def test_room_may_come_before_the_stream_has_begun(self, rig: Rig) -> None:
        release = self.park(rig)
        node = self.begin(rig, streams.count_to, upto=2, many=5)
        self.go_on(rig, node, 4)
        release()
        self.wait_for(rig, node, 4)
        self.go_on(rig, node, 9)
        assert rig.end(node)[3] == c.OK

    def test_room_never_shrinks(self, rig: Rig) -> None:
        node = self.begin(rig, streams.count_to, upto=5, many=10)
        self.go_on(rig, node, 2)
        self.wait_for(rig, node, 5)
        self.go_on(rig, node, 3)
        self.wait_for(rig, node, 5)
        self.go_on(rig, node, 8)
        self.go_on(rig, node, 6)
        self.wait_for(rig, node, 8)
        self.go_on(rig, node, 20)
        assert rig.end(node)[3] == c.OK

    def test_room_for_nothing_is_nothing(self, rig: Rig) -> None:
        self.go_on(rig, 77, 5)
        node = self.begin(rig, streams.count_to, upto=5, many=2)
        rig.runner.go_on(node, node + 2, 9)
        assert rig.end(node)[3] == c.OK
        self.go_on(rig, node, 50)
        plain = rig.submit(steps.nothing)
        self.go_on(rig, plain, 5)
        assert rig.end(plain)[3] == c.OK
        assert len(rig.of(node, c.ENDED)) == 1

    def test_streams_that_wait_keep_nobody_from_working(self, rig: Rig) -> None:
        waiting = [self.begin(rig, streams.count_to, upto=1, many=2) for _ in range(20)]
        rig.until(lambda: all(self.elements(rig, node) for node in waiting))
        many = [rig.submit(steps.add, x=i, y=1) for i in range(100)]
        assert [rig.end(node)[4] for node in many] == [i + 1 for i in range(100)]
        for node in reversed(waiting):
            self.go_on(rig, node, 3)
            assert rig.end(node)[3] == c.OK

    def test_many_streams_at_a_time(self, rig: Rig) -> None:
        nodes = [self.begin(rig, streams.count_to, many=30) for _ in range(10)]

        def gave(many: int) -> bool:
            return all(len(self.elements(rig, node)) == many for node in nodes)

        for upto in range(1, 32):
            for node in nodes:
                self.go_on(rig, node, upto)
            rig.until(partial(gave, min(upto, 30)))
        assert [rig.end(node)[3] for node in nodes] == [c.OK] * 10
        assert [self.elements(rig, node) for node in nodes] == [list(range(30))] * 10

    # What goes wrong

    @pytest.mark.parametrize("position", [0, 1, 5])
    def test_a_failure_within_keeps_what_came_before(self, rig: Rig, position: int) -> None:
        node = self.begin(rig, streams.fail_at, upto=50, position=position, retry_on=(ValueError,))
        result, failure = rig.end(node)[3:5]
        assert (result, failure.type, failure.text, failure.retryable) == (
            c.FAILED,
            "ValueError",
            "the text",
            True,
        )
        assert "fail_at" in failure.trace
        files = re.findall(r'File "([^"]+)"', failure.trace)
        ours = [file for file in files if Path(file).is_relative_to(_PACKAGE) and file != streams.__file__]
        assert ours == [], "frames of Penstock say nothing to its users"
        assert self.elements(rig, node) == list(range(position))
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)

    def test_s06_an_exit_within_fails_its_step(self, rig: Rig) -> None:
        node = self.begin(rig, streams.exit_within, upto=50)
        assert rig.end(node)[4].type == "SystemExit"
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)

    def test_an_iterator_that_is_no_generator(self, rig: Rig) -> None:
        node = self.begin(rig, streams.Countdown, upto=2, left=3)
        self.wait_for(rig, node, 2)
        self.go_on(rig, node, 9)
        assert rig.end(node)[3] == c.OK
        assert self.elements(rig, node) == [2, 1, 0]

    def test_one_that_breaks_is_closed_and_says_what_broke(self, rig: Rig, seen: str) -> None:
        node = self.begin(rig, streams.Breaks, upto=9, left=2, seen=seen)
        assert rig.end(node)[4].text == "it broke"
        assert self.elements(rig, node) == [1, 0]
        assert streams.noted(seen) == ["closed"]

    def test_a_call_that_raises_gives_no_stream(self, rig: Rig) -> None:
        node = self.begin(rig, streams.raise_at_once, upto=50)
        assert rig.end(node)[4].text == "no iterator"

    @pytest.mark.parametrize(("call", "kind"), [(streams.give_list, "a list"), (streams.give_none, "None")])
    def test_what_is_no_iterator_is_refused(self, rig: Rig, call: Callable[..., Any], kind: str) -> None:
        node = self.begin(rig, call, upto=50)
        failure = rig.end(node)[4]
        assert failure.type == "TypeError"
        assert f"returned {kind}, not an " in failure.text
        assert "yield" in failure.text

    # Stopping

    def test_s18_one_that_waits_is_closed_when_it_is_stopped(self, rig: Rig, seen: str) -> None:
        for timeout in (False, True):
            node = self.begin(rig, streams.count_to, upto=3, many=10, seen=seen)
            self.wait_for(rig, node, 3)
            rig.stop(node, timeout=timeout)
            assert rig.end(node)[3:5] == (c.CANCELLED, None)
            assert streams.noted(seen)[-1] == "end", "it was closed before its end was told"
            self.go_on(rig, node, 50)
            assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)
            assert self.elements(rig, node) == [0, 1, 2]
            assert len(rig.of(node, c.ENDED)) == 1

    def test_s18_one_that_waits_for_its_first_element_never_begins(self, rig: Rig, seen: str) -> None:
        node = self.begin(rig, streams.count_to, many=10, seen=seen)
        rig.run(steps.nothing)
        rig.stop(node)
        assert rig.end(node)[3:5] in ((c.CANCELLED, None), (c.RETURNED, None))
        assert streams.noted(seen) == []

    def test_room_and_a_stop_at_once_is_a_stop(self, rig: Rig, seen: str) -> None:
        node = self.begin(rig, streams.count_to, upto=2, many=10, seen=seen)
        self.wait_for(rig, node, 2)
        rig.stop(node)
        self.go_on(rig, node, 50)
        assert rig.end(node)[3:5] == (c.CANCELLED, None)
        assert self.elements(rig, node) == [0, 1]
        assert streams.noted(seen)[-1] == "end"

    def test_a_stream_that_has_not_begun_is_given_back(self, rig: Rig, seen: str) -> None:
        if not self.parks_streams:
            pytest.skip("streams begin in a parked runner too")
        release = self.park(rig)
        try:
            node = self.begin(rig, streams.count_to, upto=5, timed=True, many=10, seen=seen)
            rig.stop(node)
            assert rig.end(node)[3] == c.RETURNED
            self.go_on(rig, node, 7)
        finally:
            release()
        rig.run(steps.nothing)
        assert rig.of(node, c.BEGAN) == []
        assert streams.noted(seen) == []

    def test_a_failure_in_the_closing_fails_the_step(self, rig: Rig) -> None:
        node = self.begin(rig, streams.fail_when_closed, upto=2)
        self.wait_for(rig, node, 2)
        rig.stop(node)
        result, failure = rig.end(node)[3:5]
        assert (result, failure.type) == (c.FAILED, "KeyError")

    def test_one_that_refuses_to_be_closed_fails(self, rig: Rig) -> None:
        node = self.begin(rig, streams.refuse_to_close, upto=2)
        self.wait_for(rig, node, 2)
        rig.stop(node)
        result, failure = rig.end(node)[3:5]
        assert (result, failure.type) == (c.FAILED, "RuntimeError")
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)

    def test_s18_closing_the_runner_closes_what_waits(self, seen: str) -> None:
        rig = self.make()
        rig.open()
        node = self.begin(rig, streams.count_to, upto=1, many=10, seen=seen)
        self.wait_for(rig, node, 1)
        rig.close()
        assert streams.noted(seen) == ["begin", "0", "end"]

    # Context variables

    def test_s24_a_stream_has_variables_of_its_own(self, rig: Rig) -> None:
        nodes = [self.begin(rig, streams.keep_mark, text=str(i)) for i in range(5)]
        for upto in range(1, 23):
            for node in nodes:
                self.go_on(rig, node, upto)
            many = [rig.submit(steps.write_mark, text="another") for _ in range(3)]
            for node in many:
                rig.end(node)
        for i, node in enumerate(nodes):
            assert rig.end(node)[3] == c.OK
            assert self.elements(rig, node) == ["unset", *[str(i)] * 20]
        assert rig.run(steps.read_mark) == (c.OK, "unset")
