"""Answers to gates, from when they are given until the machine takes them."""

# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

import pytest

from penstock.core.answers import Answer, Answers
from penstock.core.errors import InputError
from tests.core.play import Play, answers, each, node, ok


def takes_bool(answer):
    if not isinstance(answer, bool):
        raise TypeError("an answer is bool")


def gate(id, *needs):
    return node(id, *needs, kind="gate")._replace(call=takes_bool)


def test_one_to_an_open_gate_is_due():
    play = Play(gate("g"))
    given = Answers(play.machine.state)
    given.give(Answer("g", True))
    ((reply, answer),) = given.due()
    assert reply[1:] == (play.number("g"), True)
    assert answer.letter == 0


def test_one_that_comes_early_waits():
    play = Play(node("a"), gate("g", "a"))
    given = Answers(play.machine.state)
    given.give(Answer("g", True))
    assert given.due() == []
    play.step(ok("a"))
    assert len(given.due()) == 1


def test_the_first_one_counts_wherever_it_came():
    play = Play(gate("g"))
    given = Answers(play.machine.state)
    given.give(Answer("g", True, 7))
    given.give(Answer("g", False))
    ((reply, answer),) = given.due()
    assert (reply[2], answer.letter) == (True, 7)


def test_it_counts_even_if_the_machine_has_not_taken_it_yet():
    """What is written down of it must be the one that the machine takes."""
    play = Play(gate("g"))
    given = Answers(play.machine.state)
    given.give(Answer("g", True))
    assert len(given.due()) == 1
    given.give(Answer("g", False))
    assert given.due() == [], "the other one is on its way"
    play.step(answers("g", True))
    assert given.due() == []


def test_items_are_named_by_their_paths():
    play = Play(node("s"), gate("g", each("s")))
    given = Answers(play.machine.state)
    given.give(Answer("g[1]", True))
    play.step(ok("s", ["a", "b"]))
    ((reply, _),) = given.due()
    assert reply[1] == play.number("g[1]")


@pytest.mark.parametrize(
    ("where", "said"), [("approv", "did you mean"), ("zzz", "its gates: approve"), ("a", "no gate 'a'")]
)
def test_a_gate_that_is_not_there(where, said):
    given = Answers(Play(gate("approve"), node("a")).machine.state)
    with pytest.raises(InputError, match=said):
        given.give(Answer(where, True))


def test_one_of_the_wrong_type_is_refused_where_it_is_given():
    given = Answers(Play(gate("g")).machine.state)
    with pytest.raises(InputError, match=r"gate 'g': an answer is bool"):
        given.give(Answer("g", "yes"))
    assert given.due() == []
