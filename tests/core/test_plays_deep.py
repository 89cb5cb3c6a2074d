"""Plays of long chains, wide stars and deep maps: nothing recurses, or costs the square of its size."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from penstock.core import commands as c
from penstock.core import events
from penstock.core.graph import Graph
from penstock.core.machine import Machine
from penstock.core.model import Node, OnFailure, RunOptions
from penstock.core.plan import Plan
from tests.core.play import Play, each, fails, gather, node, ok

MANY = 100_000


@contextmanager
def shallow(frames: int = 60) -> Iterator[None]:
    """Whatever recurses by as much as a hundred levels fails in here."""
    before, depth, frame = sys.getrecursionlimit(), 0, sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    sys.setrecursionlimit(depth + frames + 40)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def machine_of(nodes: list[Node], on_failure: OnFailure = "stop") -> Machine:
    with shallow():
        machine = Machine(Plan(Graph("deep", nodes)), RunOptions(on_failure=on_failure))
        machine.begin(events.RunStarted("r", "deep", (), 0, {}, None, (), {}, {}, None, 0.0))
    return machine


def play_out(machine: Machine) -> int:
    """Lets every attempt succeed at once; gives back how many steps of the machine that took."""
    steps = 0
    replies: list[c.Reply] = []
    with shallow():
        while machine.state.finished is None:
            todo = machine.step(replies, 0.0)
            replies = [(c.ENDED, i, token, c.OK, None, None, 0.0, 0.0) for _, i, token, *_ in todo]
            machine.log.clear()
            steps += 1
    return steps


def test_s25_a_chain_of_100_000_steps():
    chain = [node("n0"), *[node(f"n{i}", f"n{i - 1}") for i in range(1, MANY)]]
    machine = machine_of(chain)
    assert play_out(machine) == MANY + 1
    assert machine.state.finished == "succeeded"


def test_s25_a_failure_skips_a_chain_of_100_000_steps():
    chain = [node("n0"), *[node(f"n{i}", f"n{i - 1}") for i in range(1, MANY)]]
    cases: list[tuple[OnFailure, int]] = [("continue", 1), ("stop", 1)]
    for on_failure, cause in cases:
        machine = machine_of(chain, on_failure)
        with shallow():
            machine.step([], 0.0)
            machine.step([machine_failure()], 0.0)
        assert machine.state.finished == "failed"
        assert set(machine.state.skips.values()) == {(cause, 0)}
        assert len(machine.state.skips) == MANY - 1


def test_s26_a_star_of_100_000_steps():
    star = [node("hub"), *[node(f"n{i}", "hub") for i in range(MANY)]]
    machine = machine_of([*star, node("end", *[f"n{i}" for i in range(MANY)])])
    assert play_out(machine) == 4
    assert machine.state.finished == "succeeded"


def test_s26_a_star_with_few_slots():
    many = 20_000
    star = [node("hub"), *[node(f"n{i}", "hub") for i in range(many)]]
    plan = Plan(Graph("star", star))
    machine = Machine(plan, RunOptions(max_concurrency=1))
    machine.begin(events.RunStarted("r", "star", (), 0, {}, None, (), {}, {}, None, 0.0))
    assert play_out(machine) == many + 2


def test_s26_a_map_of_100_000_items():
    play = Play(node("s"), node("m", each("s")), node("g", gather("m")), checked=False)
    with shallow(90):
        play.step(ok("s", list(range(MANY))))
        assert len(play.commands) == MANY
    first = play.number("m[0]")
    replies: list[c.Reply] = [(c.ENDED, first + i, 1, c.OK, i, None, 0.0, 0.0) for i in range(MANY)]
    with shallow():
        todo = play.machine.step(replies, 0.0)
    assert [command[:3] for command in todo] == [(c.START, play.number("g"), 1)]


def test_chained_maps_1_200_deep_in_one_map():
    """A chain of steps inside one map: it grows with each element and closes from end to end."""
    chain = [node("m0", each("s")), *[node(f"m{i}", f"m{i - 1}") for i in range(1, 1_200)]]
    machine = machine_of([node("s"), *chain, node("g", gather("m1199"))])
    replies: list[c.Reply] = []
    with shallow():
        while machine.state.finished is None:
            todo = machine.step(replies, 0.0)
            machine.log.clear()
            replies = [(c.ENDED, i, token, c.OK, [1, 2], None, 0.0, 0.0) for _, i, token, *_ in todo]
    assert machine.state.finished == "succeeded"


def test_maps_that_follow_each_other_1_200_times():
    """Each map gathered and opened again by the next: 1,200 maps in a row."""
    nodes = [node("s0")]
    for i in range(1_200):
        nodes += [node(f"m{i}", each(f"s{i}")), node(f"s{i + 1}", gather(f"m{i}"))]
    machine = machine_of(nodes)
    replies: list[c.Reply] = []
    with shallow():
        while machine.state.finished is None:
            todo = machine.step(replies, 0.0)
            machine.log.clear()
            replies = [(c.ENDED, i, token, c.OK, [1], None, 0.0, 0.0) for _, i, token, *_ in todo]
    assert machine.state.finished == "succeeded"


def test_empty_maps_that_follow_each_other_1_200_times_close_in_one_step():
    nodes = [node("s0")]
    for i in range(1_200):
        nodes += [node(f"m{i}", each(f"s{i}")), node(f"s{i + 1}", gather(f"m{i}"))]
    machine = machine_of(nodes, "continue")
    with shallow():
        machine.step([], 0.0)
        machine.step([machine_failure()], 0.0)
    assert machine.state.finished == "failed"


def test_maps_inside_maps_300_deep():
    nodes = [node("s"), node("m0", each("s"))]
    nodes += [node(f"m{i}", each(f"m{i - 1}")) for i in range(1, 300)]
    machine = machine_of([*nodes, node("g", gather("m299", levels=300))])
    replies: list[c.Reply] = []
    with shallow():
        while machine.state.finished is None:
            todo = machine.step(replies, 0.0)
            machine.log.clear()
            replies = [(c.ENDED, i, token, c.OK, [1], None, 0.0, 0.0) for _, i, token, *_ in todo]
    assert machine.state.finished == "succeeded"


def test_a_failure_falls_through_maps_inside_maps():
    play = Play(
        node("s"), node("m0", each("s")), *[node(f"m{i}", each(f"m{i - 1}")) for i in range(1, 100)],
        node("g", gather("m99", levels=100)), on_failure="continue", checked=False,
    )  # fmt: skip
    play.step(ok("s", [1]))
    with shallow(90):
        play.step(fails("m0[0]"))
    assert play.told[-2:] == ["g skipped, upstream: m0[0]", "run failed"]


def machine_failure() -> c.Reply:
    from penstock.core.model import Failure

    return (c.ENDED, 0, 1, c.FAILED, Failure("error", "Error", "", retryable=False), None, 0.0, 0.0)
