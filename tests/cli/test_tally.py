"""The counts per step, folded from plays of events."""

import random
from typing import Any

import pytest

from penstock.core import events as e
from penstock.core.graph import Graph
from penstock.core.model import Need, Node, NodeStatus, RunOptions, SkipCause
from penstock.core.outline import outline_of
from penstock.flow import Flow, each, gather, use
from penstock.observers.rows import KEPT_FAILURES
from penstock.observers.tally import Tally
from tests.cli.plays import (
    P,
    begin,
    call,
    cancelled,
    chain,
    fail,
    mapped,
    retry,
    skip,
    start,
    succeed,
    tally,
)  # fmt: skip

S = NodeStatus


def statuses(graph: Graph, *play: object) -> list[NodeStatus]:
    return [row.status for row in tally(graph, play).rows.values()]


def test_a_step_runs_through_its_statuses():
    load = P("load")
    play: list[Any] = [
        begin(chain()),
        start(load, 1.0),
        retry(load, 2.0, 3.0),
        start(load, 3.0, 2),
        e.NodeWaiting(load, 3, 3.5),
        succeed(load, 4.0, 3),
    ]
    expected = [S.PENDING, S.RUNNING, S.RETRYING, S.RUNNING, S.RUNNING, S.SUCCEEDED]
    found = []
    for length in range(1, len(play) + 1):
        found.append(tally(chain(), play[:length]).rows["load"].status)
    assert found == expected
    row = tally(chain(), play).rows["load"]
    assert (row.attempts, row.began, row.ended, row.succeeded, row.done) == (2, 1.0, 4.0, 1, 1)
    assert (row.running, row.retrying, row.waiting) == ({}, {}, {})


def test_every_way_to_end():
    load, parse, save = P("load"), P("parse"), P("save")
    assert statuses(
        chain(),
        begin(chain()),
        start(load, 1),
        fail(load, 2),
        skip(parse, because=load),
        skip(save, because=load),
    ) == [S.FAILED, S.SKIPPED, S.SKIPPED]
    assert statuses(chain(), begin(chain()), start(load, 1), cancelled(load, 2)) == [
        S.CANCELLED,
        S.PENDING,
        S.PENDING,
    ]
    assert (
        statuses(chain(), begin(chain()), start(load, 1), retry(load, 2, 9), cancelled(load, 3))[0]
        is S.CANCELLED
    )
    assert statuses(chain(), begin(chain()), e.NodeWaiting(load, 1, 1))[0] is S.WAITING
    assert statuses(chain(), begin(chain()), succeed(load, 1, 0, "override"))[0] is S.SUCCEEDED


def test_an_attempt_that_was_given_back_does_not_count():
    row = tally(chain(), [begin(chain()), start(P("load"), 1), e.NodeInterrupted(P("load"), 1)]).rows["load"]
    assert (row.attempts, row.status) == (0, S.PENDING)


def test_a_map_counts_its_items():
    graph = mapped()
    play: list[Any] = [
        begin(graph),
        start(P("files"), 0),
        succeed(P("files"), 1),
        e.NodeExpanded(P("parse"), 3),
    ]
    for item in range(3):
        play.append(start(P("parse", (item,)), 1))
    play += [succeed(P("parse", (0,)), 2), fail(P("parse", (1,)), 2)]
    play += [skip(P("check", (1,)), because=P("parse", (1,)))]
    found = tally(graph, play)
    parse, check = found.rows["parse"], found.rows["check"]
    assert (parse.total, parse.done, parse.failed, parse.status) == (3, 2, 1, S.RUNNING)
    assert (check.total, check.done, check.skipped, check.status) == (3, 1, 1, S.RUNNING)
    assert found.last_failed is not None
    assert found.last_failed[0] == "parse[1]"
    assert found.counts() == {S.SUCCEEDED: 1, S.RUNNING: 2, S.PENDING: 1}
    for event in (succeed(P("parse", (2,)), 3), succeed(P("check", (0,)), 3), succeed(P("check", (2,)), 4)):
        found(event)
    assert (parse.status, parse.finished) == (S.FAILED, True)
    assert (check.status, check.finished) == (S.SUCCEEDED, True)


def test_a_map_of_nothing_is_over_at_once():
    graph = mapped()
    found = tally(graph, [begin(graph), succeed(P("files"), 1), e.NodeExpanded(P("parse"), 0)])
    assert [row.status for row in found.rows.values()] == [S.SUCCEEDED, S.SUCCEEDED, S.SUCCEEDED, S.PENDING]


def test_a_map_that_never_opened_is_skipped_as_a_whole():
    graph = mapped()
    files = P("files")
    play: list[Any] = [begin(graph), start(files, 0), fail(files, 1), skip(P("parse"), because=files)]
    assert statuses(graph, *play)[:2] == [S.FAILED, S.SKIPPED]


def test_a_map_in_a_map_is_over_when_the_outer_one_is():
    graph = Graph(
        "nested",
        [
            Node("folders", call),
            Node("files", call, (Need("folders", "each", "x"),)),
            Node("lines", call, (Need("files", "each", "x"),)),
        ],
    )
    found = tally(graph, [begin(graph), succeed(P("folders"), 1), e.NodeExpanded(P("files"), 2)])
    for event in (
        succeed(P("files", (0,)), 2),
        e.NodeExpanded(P("lines", (0,)), 2),
        succeed(P("lines", (0, 0)), 3),
        succeed(P("lines", (0, 1)), 3),
    ):
        found(event)
    lines = found.rows["lines"]
    assert (lines.total, lines.done, lines.finished) == (2, 2, False)
    for other in (
        fail(P("files", (1,)), 4),
        skip(P("lines", (1,)), because=P("files", (1,))),
    ):
        found(other)
    assert (lines.total, lines.done, lines.finished, lines.status) == (2, 2, True, S.SUCCEEDED)


def test_a_stream_has_as_many_items_as_came():
    graph = mapped()
    files = P("files")
    found = tally(graph, [begin(graph), start(files, 0), e.NodeExpanded(P("parse"), None)])
    for position in range(2):
        found(e.NodeYielded(files, 1, position, "x"))
        found(succeed(P("parse", (position,)), 1))
    parse = found.rows["parse"]
    assert (parse.total, parse.finished, parse.status) == (2, False, S.RUNNING)
    found(succeed(files, 2))
    assert (parse.finished, parse.status) == (True, S.SUCCEEDED)


def test_a_look_costs_what_has_changed():
    """Of many steps, only those that an event touched are looked at again."""
    graph = Graph("many", [Node(f"n{number}", call) for number in range(1000)])
    found = tally(graph, [begin(graph)])
    found.look()
    found(start(P("n7"), 1))
    found(start(P("n7"), 1, 2))
    assert len(found._touched) == 1
    found.look()
    assert list(found.busy) == ["n7"]
    assert found.counts() == {S.RUNNING: 1, S.PENDING: 999}
    found(fail(P("n7"), 2))
    assert found.counts() == {S.FAILED: 1, S.PENDING: 999}
    assert (list(found.busy), list(found.broken)) == ([], ["n7"])


@pytest.mark.parametrize("seed", range(20))
def test_counts_that_are_kept_are_counts_that_are_made_anew(seed):
    rnd = random.Random(seed)
    flow = Flow("random")

    @flow.step
    def source() -> list[int]:
        return list(range(20))

    @flow.step
    def work(n: int = each(source)) -> int:
        if rnd.random() < 0.2:
            raise ValueError("no")
        return n

    @flow.step
    def after(n: int = use(work)) -> list[int]:
        return [n] * (n % 3)

    @flow.step
    def inner(n: int = each(after)) -> int:
        return n

    @flow.step
    def total(ns: list[int] = gather(inner, failures="drop")) -> int:
        return len(ns)

    found = Tally(flow.graph())
    seen: list[dict[NodeStatus, int]] = []

    def compare(event: object) -> None:
        found(event)
        if rnd.random() < 0.3:
            anew: dict[NodeStatus, int] = {}
            for row in found.rows.values():
                anew[row.status] = anew.get(row.status, 0) + 1
            assert found.counts() == anew
            seen.append(anew)

    result = flow.run(options=RunOptions(observers=(compare,), on_failure="continue"))
    assert result.warnings == ()
    assert seen


def test_what_an_item_said_goes_with_it_whatever_others_do():
    play: list[Any] = [begin(mapped()), succeed(P("files"), 1), e.NodeExpanded(P("parse"), 3)]
    items = [P("parse", (number,)) for number in range(3)]
    play += [start(item, 1) for item in items]
    play += [e.Logged(items[0], 1, "half way", {}), e.Progressed(items[0], 1, 2, "")]
    play += [retry(items[2], 2, 3), fail(items[1], 2)]
    found = tally(mapped(), play)
    row = found.rows["parse"]
    assert (len(row.said), len(row.told), len(row.retrying)) == (1, 1, 1)
    for event in (succeed(items[0], 3), start(items[2], 3, 2), succeed(items[2], 4, 2)):
        found(event)
    assert (row.said, row.told, row.retrying, row.running) == ({}, {}, {}, {})
    assert row.quiet


def test_an_outline_is_counted_like_its_graph():
    play: list[Any] = [begin(mapped()), succeed(P("files"), 1), e.NodeExpanded(P("parse"), 2)]
    play += [start(P("parse", (0,)), 1), succeed(P("parse", (0,)), 2)]
    ours, theirs = Tally(outline_of(mapped())), Tally(mapped())
    for event in play:
        ours(event)
        theirs(event)
    assert ours.counts() == theirs.counts()
    assert [row.total for row in ours.rows.values()] == [None, 2, 2, None]


def test_few_failures_are_kept_and_all_are_counted():
    graph = mapped()
    play: list[Any] = [begin(graph), succeed(P("files"), 0), e.NodeExpanded(P("parse"), 100)]
    play += [fail(P("parse", (item,)), 1, str(item)) for item in range(100)]
    row = tally(graph, play).rows["parse"]
    assert row.failed == 100
    assert [path for path, _ in row.failures] == [f"parse[{item}]" for item in range(KEPT_FAILURES)]


def test_a_run_of_a_part_shows_that_part():
    graph = chain()
    part = begin(graph)._replace(shape=(("load", ()), ("parse", ("load",))))
    assert list(tally(graph, [part]).rows) == ["load", "parse"]


def test_what_it_does_not_know_changes_nothing():
    found = tally(chain(), [begin(chain())])
    found(object())
    found(e.Logged(P("load"), 1, "x", {}))
    assert found.counts() == {S.PENDING: 3}


@pytest.fixture
def flow() -> Flow:
    flow = Flow("real")

    @flow.step
    def folders() -> list[int]:
        return [3, 0, 2]

    @flow.step
    def files(folder: int = each(folders)) -> list[int]:
        if folder == 2:
            raise ValueError("no")
        return list(range(folder))

    @flow.step
    def size(file: int = each(files)) -> int:
        return 1

    @flow.step
    def check(size: int = use(size)) -> int:
        return size

    @flow.step
    def sums(sizes: list[int] = gather(check, failures="drop")) -> int:
        return sum(sizes)

    @flow.step(when=lambda total: False)
    def never(total: list[int] = gather(sums, failures="drop")) -> None: ...

    return flow


def test_the_counts_are_those_of_the_result(flow):
    """What the tally makes of a real run's events agrees with what the engine says itself."""
    found = Tally(flow.graph())
    result = flow.run(options=RunOptions(observers=(found,), on_failure="continue"))
    assert result.warnings == ()
    assert found.status is result.status
    for id, row in found.rows.items():
        node = result.nodes[id]
        if node.items is None:
            assert row.status is node.status, id
        else:
            assert row.finished, id
    assert {id: row.total for id, row in found.rows.items()} == {
        "folders": None, "files": 3, "size": 3, "check": 3, "sums": 3, "never": None,
    }  # fmt: skip
    assert found.rows["files"].failed == 1
    assert found.rows["never"].skip is not None
    assert found.rows["never"].skip.cause is SkipCause.CONDITION
