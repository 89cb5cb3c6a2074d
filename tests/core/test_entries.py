"""Entries: every event as JSON and back, and facts as a journal holds them."""

# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.core import events
from penstock.core.codec import Codec
from penstock.core.entries import (
    SHED,
    Scribe,
    entry_of,
    event_of,
    fact_of,
    failure_entry,
    failure_from,
    last_time,
    path_entry,
    path_of,
    started_of,
    started_text,
    text_of,
)
from penstock.core.invariants import differences
from penstock.core.machine import facts
from penstock.core.machine.apply import apply
from penstock.core.model import NOTHING, Abandoned, Failure, NodePath, RunStatus, SkipCause
from tests.core.play import CANCEL, Play, after, each, fails, gather, node, ok, says, stopped, yields

P = NodePath("s", (1, "k"))
FAILURE = Failure(
    "error", "ValueError", "é\n", "trace", False, 3, 1.5, Abandoned("thread", "s[1]", "x.py:3"), "note"
)

PLAIN = [
    events.NodeExpanded(P, 3, ("a", 1, "b")),
    events.NodeExpanded(NodePath("s"), None),
    events.NodeStarted(P, 2, 1.25),
    events.NodeDecided(P, "when", True),
    events.NodeDecided(P, "trigger", False),
    events.NodeRetrying(P, 1, FAILURE, 9.0, 1.0, 2.0),
    events.NodeFailed(P, 1, FAILURE, 1.0, 2.0),
    events.NodeFailed(P, 0, Failure("condition", "E", ""), 1.0, 2.0),
    events.NodeSkipped(P, SkipCause.UPSTREAM, NodePath("x", (0,))),
    events.NodeSkipped(P, SkipCause.STOPPED, None),
    events.RestSkipped(NodePath("s"), ("s", "t"), 2, 40, SkipCause.STOPPED, NodePath("x")),
    events.RestSkipped(NodePath("s"), ("s",), 2, 40, SkipCause.STOPPED, None),
    events.NodeCancelled(P, 1, Abandoned("thread", "s", "x"), 1.0, 2.0),
    events.NodeCancelled(P, 1, None, 1.0, 2.0),
    events.NodeWaiting(P, 1, 1.0, 2.0, "Really?", "bool"),
    events.NodeWaiting(P, 1, 1.0),
    events.NodeInterrupted(P, 1),
    events.NodePaused(P, 1),
    events.NodeResumed(P, 1, 2.0),
    events.AttemptReleased(P, 1),
    events.CancelAsked("enough", 1.0),
    events.DeadlineReached(1.0),
    events.RunFinished(RunStatus.FAILED, 1.0),
    events.RunResumed(1.0, 0.5, (P, NodePath("a")), (NodePath("b"),), {"a": "digest"}, True),
    events.RunResumed(1.0, 0.0),
]


@pytest.mark.parametrize("event", PLAIN, ids=lambda event: type(event).__name__)
def test_every_event_comes_back(event):
    text = text_of(entry_of(event))
    assert text.isascii()
    assert event_of(json.loads(text), _no_value) == event


def _no_value(_: Any) -> Any:
    raise AssertionError("there is no value in it")


def test_a_fold_comes_back_as_one_that_starts_over():
    entry = entry_of(events.NodeFolded(NodePath("f"), 3, 17))
    assert entry == ["slice", "f", 3]
    assert event_of(entry, _no_value) == events.NodeFolded(NodePath("f"), 3, 0)


@pytest.mark.parametrize("path", [NodePath("a"), NodePath("a", (0,)), NodePath("a/é", ("k", 3, "0"))])
def test_paths(path):
    assert path_of(json.loads(text_of(path_entry(path)))) == path


@pytest.mark.parametrize("failure", [FAILURE, Failure("error", "E", ""), FAILURE.but(abandoned=None)])
def test_failures(failure):
    assert failure_from(json.loads(text_of(failure_entry(failure)))) == failure


def test_a_failure_says_only_what_there_is_to_say():
    assert failure_entry(Failure("error", "E", "")) == {"kind": "error", "type": "E", "text": ""}


def test_the_beginning_comes_back():
    event = events.RunStarted(
        "r", "flow", (("a", ()), ("b", ("a",))), 7, {"n": (1, 2)}, ("b",), ("a",), {"grace": 1.0},
        {"tag": "x"}, "parent", 12.5,
    )  # fmt: skip
    codec = Codec()
    text = started_text(event, {"n": codec.encode((1, 2))}, {"a": "d1", "b": "d1"}, {})
    word, fields = json.loads(text)
    assert word == "run"
    assert fields["code"] == {"d1": ["a", "b"]}
    assert started_of(fields, codec.decode) == event


def test_the_latest_moment_that_entries_speak_of():
    assert last_time([["start", "a", 1, 5.0], ["ok", "a", 1, None, 5.0, 7.0], ["open", "b", 1, None]]) == 7.0
    assert last_time([["open", "b", 1, None]]) is None
    assert last_time([["wait", "g", 1, 3.0, 99.0, "", ""]]) == 3.0, "not that of an alarm"


def plays() -> list[Play]:
    """One of each kind of fact, told to a machine."""
    one = Play(
        node("s"), node("i", each("s"), when=True), node("g", gather("i", "drop")), node("x", attempts=2),
        node("st", stream=True), node("e", each("st")), node("gate", kind="gate"), on_failure="continue",
    )  # fmt: skip
    one.step(ok("s", [1, 2, 3]))
    one.step(says("i[0]", "when", True), says("i[1]", "when", False), says("i[2]", "when", True))
    one.step(fails("i[0]"), ok("i[2]", "two"), fails("x"))
    one.step(yields("st", "a"), yields("st", {"b": (1,)}))
    one.step(CANCEL)
    one.step(stopped("st", left="thread 7"), ok("e[0]"))
    two = Play(node("a"), node("b", after("a")), override={"a": 5})
    two.step(ok("b"))
    return [one, two]


@pytest.mark.parametrize("number", range(2))
def test_facts_fold_to_the_same_state(number):
    """Through text, in the numbers of another machine."""
    play = plays()[number]
    codec = Codec()
    scribe = Scribe(play.machine.state, codec.encode, frozenset())
    twin, other = play.fresh(), play.fresh()
    for event in play.events:
        fact = _fact(other, event)
        apply(other.state, fact)
        if fact[0] == facts.BEGUN:
            apply(twin.state, fact)
            continue
        local = _fact(play.machine, event)
        for text in scribe.entries([local]):
            assert text.isascii()
            apply(twin.state, fact_of(twin.state, json.loads(text), codec.decode))
    assert differences(twin.state, other.state) == []


def _fact(machine: Any, event: Any) -> Any:
    from penstock.core.machine.words import from_event

    return from_event(machine.state, event)


def test_a_volatile_value_is_not_written():
    play = Play(node("a"))
    play.step(ok("a", 3))
    scribe = Scribe(play.machine.state, _no_value, frozenset({"a"}))
    (text,) = scribe.entries([(facts.SUCCEEDED, play.number("a"), 1, 0, object(), None, 1.0, 2.0)])
    entry = json.loads(text)
    assert entry[3] == SHED
    event = event_of(entry, _no_value)
    assert isinstance(event, events.NodeSucceeded)
    assert event.value is NOTHING


def test_what_was_encoded_when_it_was_heard_is_what_is_written():
    play = Play(node("a"))
    scribe = Scribe(play.machine.state, _no_value, frozenset())
    scribe.values[play.number("a")] = "[1]"
    scribe.writes[play.number("a")] = '{"k":1}'
    (text,) = scribe.entries([(facts.SUCCEEDED, play.number("a"), 1, 0, [1, 2], {"k": 2}, 1.0, 2.0)])
    assert json.loads(text)[3] == [1]
    assert json.loads(text)[6] == {"k": 1}
    assert not scribe.values
