"""How long a run may still take."""

from typing import Any

import pytest

from penstock.core import events as e
from penstock.core.graph import Graph
from penstock.core.model import Need, Node
from penstock.observers.forecast import Forecast
from tests.cli.plays import P, begin, call, chain, start, succeed, tally


def nothing(row: Any) -> None:
    return None


def test_it_is_the_longest_way_through_what_is_left():
    graph = Graph(
        "diamond",
        [
            Node("a", call),
            Node("b", call, (Need("a"),)),
            Node("c", call, (Need("a"),)),
            Node("d", call, (Need("b"), Need("c"))),
        ],
    )
    expected = {"a": 10.0, "b": 5.0, "c": 20.0, "d": 1.0, "": 31.0}
    found = tally(graph, [begin(graph), start(P("a"), 0)])
    assert Forecast(found, expected).left(4.0, nothing) == pytest.approx(6 + 20 + 1)
    for event in (succeed(P("a"), 10), start(P("b"), 10), start(P("c"), 10)):
        found(event)
    assert Forecast(found, expected).left(12.0, nothing) == pytest.approx(18 + 1)
    left = Forecast(found, expected).left(12.0, lambda row: 2.0 if row.id == "c" else None)
    assert left == pytest.approx(3 + 1)


def test_what_cannot_run_at_the_same_time_takes_longer_than_the_longest_way():
    graph = Graph("wide", [Node(f"n{number}", call) for number in range(40)])
    expected = {f"n{number}": 2.0 for number in range(40)} | {"": 20.0}
    found = tally(graph, [begin(graph)])
    assert Forecast(found, expected).left(0.0, nothing) == pytest.approx(20.0)  # 4 at a time, as before
    bound = tally(graph, [begin(graph)._replace(options={"max_concurrency": 1})])
    assert Forecast(bound, expected).left(0.0, nothing) == pytest.approx(80.0)


def test_nothing_is_said_where_most_of_it_is_unknown():
    found = tally(chain(), [begin(chain()), start(P("load"), 0)])
    assert Forecast(found).left(1.0, nothing) is None
    assert Forecast(found, {"load": 3.0}).left(1.0, nothing) is None


def test_without_earlier_runs_many_steps_go_by_their_pace():
    graph = Graph("many", [Node(f"n{number}", call) for number in range(100)])
    found = tally(graph, [begin(graph)])
    forecast = Forecast(found)
    left = None
    for number in range(50):
        found(start(P(f"n{number}"), number))
        found(succeed(P(f"n{number}"), number + 1))
        left = forecast.left(number + 1.0, nothing)
    assert left == pytest.approx(50, rel=0.1)


def test_a_run_that_is_over_has_nothing_left():
    found = tally(chain(), [begin(chain())])
    found(e.RunFinished(found.status.SUCCEEDED, 5.0))
    assert Forecast(found, {"load": 1.0, "parse": 1.0, "save": 1.0}).left(6.0, nothing) is None


def test_l05_a_store_that_cannot_be_read_is_asked_once():
    asked = []

    def expected() -> dict[str, float]:
        asked.append(1)
        raise OSError("gone")

    found = tally(chain(), [begin(chain())])
    forecast = Forecast(found, expected)
    assert [forecast.left(now, nothing) for now in (1.0, 5.0, 9.0)] == [None] * 3
    assert len(asked) == 1


def test_it_is_added_up_seldom_where_that_takes_long():
    found = tally(chain(), [begin(chain())])
    times = iter(float(number) for number in range(100))  # each look takes a second
    forecast = Forecast(found, {"load": 50.0, "parse": 50.0, "save": 50.0}, clock=lambda: next(times))
    for now in range(20):
        forecast.left(float(now), nothing)
    assert next(times) == 2.0
