"""`Elements`: what a value must be so that a map can be made of it, what its elements are called, how far a
stream may go."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core import commands as c
from penstock.core.context import RunLink
from penstock.core.elements import Elements
from penstock.core.errors import InputError
from penstock.core.model import Failure
from penstock.core.usercode import UserCode
from penstock.flow import Flow
from penstock.flow import each as each_of
from tests.core.play import Play, each, fails, node, ok, yields


def shout(word: str) -> str:
    return word.upper()


class Made:
    """`Elements` for a play, with a note of whom it lets go on and whom it ends."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.gone_on: list[tuple[int, int, int]] = []
        self.stopped: list[tuple[int, int]] = []
        self.elements = Elements(
            play.machine,
            lambda *how: self.gone_on.append(how),
            lambda *how: self.stopped.append(how),
            UserCode(RunLink("run", None)),
        )

    def checked(self, *replies: c.Reply) -> list[c.Reply]:
        return self.elements.checked(replies)


def length(word: Any) -> int:
    return len(word)


def itself(element: Any) -> Any:
    return element


def by(id: str, key: Any, part: str | int | None = None):
    return each(id)._replace(key=key, part=part)


def value(of: Any, path: int = 0, result: int = c.OK) -> c.Reply:
    return (c.ENDED, path, 1, result, of, None, 1.0, 2.0)


def listed(key: Any = None, part: str | int | None = None) -> Made:
    return Made(Play(node("s"), node("m", by("s", key, part))))


def failure_in(replies: list[c.Reply]) -> Failure:
    """The one failure that stands in place of a value."""
    (reply,) = replies
    assert reply[:4] == (c.ENDED, 0, 1, c.FAILED)
    assert reply[6:] == (1.0, 2.0)
    failure: Failure = reply[4]
    assert not failure.retryable
    return failure


class TestLists:
    @pytest.mark.parametrize("of", [[1, 2], (1, 2), []])
    def test_a_list_and_a_tuple_pass(self, of):
        assert listed().checked(value(of)) == [value(of)]

    @pytest.mark.parametrize("of", ["ab", b"ab", {"a": 1}, {1, 2}, 5, None, range(3)])
    def test_f01_anything_else_is_refused_by_name(self, of):
        failure = failure_in(listed().checked(value(of)))
        assert failure.type == "TypeError"
        kind = type(of).__name__
        assert failure.text == (
            f"'m' maps over the value of s, which is of type {kind}; return a list or a tuple"
        )

    def test_an_iterator_is_told_how_to_be_one(self):
        failure = failure_in(listed().checked(value(iter([1]))))
        assert "annotate s to return Iterator[...]" in failure.text

    def test_what_is_not_mapped_over_may_be_anything(self):
        made = Made(Play(node("a"), node("s"), node("m", each("s"))))
        a = made.play.number("a")
        assert made.checked(value("text", a)) == [value("text", a)]

    def test_failures_and_other_replies_pass(self):
        made = listed()
        replies = [value(None, result=c.FAILED), (c.BEGAN, 0, 1, 0.0), (c.ASKED, "why")]
        assert made.checked(*replies) == replies


class TestKeys:
    def test_they_come_before_the_value(self):
        made = listed(itself)
        scope = 1
        assert made.checked(value(["b", "a"])) == [(c.KEYED, 0, scope, ["b", "a"]), value(["b", "a"])]

    def test_of_a_part_of_the_element(self):
        made = listed(itself, part="id")
        (named, _) = made.checked(value([{"id": 7}, {"id": "x"}]))
        assert named[3] == [7, "x"]

    def test_f07_two_equal_keys_are_a_failure_that_names_both_elements(self):
        failure = failure_in(listed(length).checked(value(["aa", "b", "cc"])))
        assert (failure.type, failure.text) == (
            "DuplicateKey",
            "two elements of s, number 0 and 2, have the key 2 in 'm'; a key must tell them apart",
        )

    @pytest.mark.parametrize("wrong", [1.5, None, True, ("a",), b"a", [1]])
    def test_a_key_is_a_text_or_a_number(self, wrong):
        failure = failure_in(listed(itself).checked(value([wrong])))
        assert failure.text == (
            f"the key of 'm' returned {type(wrong).__name__}; it must return a str or an int"
        )

    @pytest.mark.parametrize(("one", "other"), [(1, "1"), ("-7", -7)])
    def test_d10_a_number_and_a_text_that_read_alike_are_refused(self, one, other):
        failure = failure_in(listed(itself).checked(value([one, "01", other])))
        assert failure.text == (
            f"two elements of s, number 0 and 2, have the keys {one!r} and {other!r} in 'm', "
            "which read alike; a key must tell them apart"
        )

    def test_a_key_that_raises(self):
        failure = failure_in(listed(length).checked(value([5])))
        assert (failure.type, failure.note) == ("TypeError", "in the key of 'm'")

    def test_a_part_that_is_not_there(self):
        assert failure_in(listed(itself, part="id").checked(value([{}]))).type == "KeyError"

    def test_each_map_has_its_own(self):
        made = Made(
            Play(node("s"), node("m", by("s", itself)), node("k", by("s", length)), node("i", each("s")))
        )
        replies = made.checked(value(["b", "aa"]))
        assert [reply[3] for reply in replies[:-1]] == [["b", "aa"], [1, 2]]


class TestGivenInstead:
    """Values given by hand in place of an attempt are named as well."""

    def test_they_are_named(self):
        made = listed(length)
        assert made.elements.given({"s": ["a", "bb"]}) == [(c.KEYED, 0, 1, [1, 2])]

    def test_what_nobody_names_is_left_alone(self):
        made = listed()
        assert made.elements.given({"s": [1], "m": [2]}) == []

    def test_elements_that_cannot_be_told_apart_are_refused(self):
        with pytest.raises(InputError, match="override: DuplicateKey: two elements of s, number 0 and 1"):
            listed(length).elements.given({"s": ["a", "b"]})

    def test_a_run_that_is_given_them_names_its_items(self):
        flow = Flow("flow")

        @flow.step
        def words() -> list[str]:
            raise AssertionError("it is given")

        flow.add(shout, name="shout", word=each_of(words, key=length))
        result = flow.run(override={"words": ["a", "bb"]})
        assert [item.path for item in result.nodes["shout"].items or ()] == ["shout[1]", "shout[2]"]
        with pytest.raises(InputError, match="in 'shout'; a key must tell them apart"):
            flow.run(override={"words": ["a", "b"]})


def test_s09_an_interrupted_key_cancels_the_run_and_what_it_was_a_key_of():
    def key(element: Any) -> Any:
        raise KeyboardInterrupt

    assert listed(key).checked(value(["a", "b"])) == [
        (c.ASKED, "interrupted"),
        (c.ENDED, 0, 1, c.CANCELLED, None, None, 1.0, 2.0),
    ]


class TestKeysOfStreams:
    def poured(self, key: Any = itself, **how: Any) -> Made:
        return Made(Play(node("s", stream=True, **how), node("m", by("s", key)), node("i", each("s"))))

    def element(self, of: Any, token: int = 1) -> c.Reply:
        return (c.YIELDED, 0, token, of, None)

    def test_each_element_gets_its_own(self):
        made = self.poured()
        assert made.checked(self.element("b"), self.element("a")) == [
            (c.YIELDED, 0, 1, "b", ("b", None)), (c.YIELDED, 0, 1, "a", ("a", None)),
        ]  # fmt: skip

    def test_a_double_ends_the_stream_as_a_failure(self):
        made = self.poured()
        (first, reply) = made.checked(self.element("a"), self.element("a"))
        assert first[0] == c.YIELDED
        assert (reply[0], reply[3], reply[4].type) == (c.ENDED, c.FAILED, "DuplicateKey")
        assert made.stopped == [(0, 1)]

    def test_s09_an_interrupt_ends_the_stream_and_no_more_keys_are_asked_for(self):
        asked: list[Any] = []

        def key(element: Any) -> Any:
            asked.append(element)
            raise KeyboardInterrupt

        made = self.poured(key)
        first, reply = made.checked(self.element("a"), self.element("b"))
        assert first == (c.ASKED, "interrupted")
        assert reply[:5] == (c.ENDED, 0, 1, c.CANCELLED, None)
        assert (asked, made.stopped) == (["a"], [(0, 1)])

    def test_a_stream_that_starts_over_names_only_what_is_new(self):
        made = self.poured(attempts=2)
        made.checked(self.element("a"))
        made.play.step(yields("s", "a", keys=("a", None)), fails("s"))
        names = [reply[4] for reply in made.checked(self.element("a", 2), self.element("b", 2))]
        assert names == [(None, None), ("b", None)]

    def test_an_element_of_an_old_attempt_is_dropped(self):
        made = self.poured(attempts=2)
        made.play.step(fails("s"))
        assert made.checked(self.element("a", 1)) == []

    def test_without_keys_nothing_is_looked_at(self):
        made = Made(Play(node("s", stream=True), node("m", each("s"))))
        assert made.checked(self.element("a")) == [self.element("a")]


class TestGoingOn:
    def poured(self, slots: int) -> Made:
        made = Made(
            Play(node("s", stream=True), node("m", each("s"), runner="right"), capacities={"right": slots})
        )
        made.elements.started(0, 1)
        return made

    def test_at_first_it_may_go_as_far_as_its_consumers_allow(self):
        made = self.poured(2)
        assert made.elements.pouring
        made.elements.grant()
        made.elements.grant()
        assert made.gone_on == [(0, 1, 4)], "told once"

    def test_it_is_told_of_more_when_it_has_none_left(self):
        made = self.poured(2)
        made.elements.grant()
        made.play.step(yields("s", 1), yields("s", 2))
        made.elements.grant()
        assert made.gone_on == [(0, 1, 4)], "two places are not worth telling"
        made.play.step(yields("s", 3))
        made.play.step(ok("m[0]"), ok("m[1]"))
        made.play.step(yields("s", 4))
        made.elements.grant()
        assert made.gone_on[1:] == [(0, 1, 8)]

    def test_or_when_it_is_much(self):
        made = self.poured(20)
        made.elements.grant()
        made.play.step(*[yields("s", at) for at in range(17)])
        made.elements.grant()
        assert made.gone_on == [(0, 1, 40), (0, 1, 57)]

    def test_one_that_has_ended_is_forgotten(self):
        made = self.poured(2)
        made.play.step(ok("s"))
        made.elements.grant()
        assert (made.gone_on, made.elements.pouring) == ([], False)

    def test_so_is_an_attempt_that_another_has_followed(self):
        made = Made(Play(node("s", stream=True, attempts=2), node("m", each("s"))))
        made.elements.started(0, 1)
        made.play.step(fails("s"))
        made.elements.grant()
        assert not made.elements.pouring
