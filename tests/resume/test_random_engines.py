"""The real engine, killed at random commits: what the graphs compute, and that nothing is computed twice."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import wiring
from penstock.core.entries import path_of
from penstock.core.graph import Graph
from penstock.core.model import RunOptions
from tests.test_random_graphs import LOST, MAPPED, Piece, evaluate, graph_of, pieces

from .mortal import Killed, MortalStore
from .tools import CALLS

EXAMPLES = max(60, int(os.environ.get("PENSTOCK_LIVES", "1000")) // 10)


def noting(graph: Graph) -> Graph:
    """The same graph, with steps that write down that they were called."""
    nodes = [
        node._replace(call=_noted(node.id, node.call)) if node.kind == "step" else node
        for node in graph.nodes
    ]
    return Graph(graph.name, nodes)


def _noted(id: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def noted(**arguments: Any) -> Any:
        CALLS.append(id)
        return call(**arguments)

    return noted


@settings(max_examples=EXAMPLES)
@given(
    pieces(), st.sampled_from((None, 1, 2)), st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=6)
)
def test_p1_p2_p4_a_killed_engine_computes_what_a_plain_evaluation_does(
    graph: list[Piece], most: int | None, kills: list[tuple[int, bool]]
) -> None:
    try:
        built = noting(graph_of(graph))
    except ValueError:
        return  # two maps whose items do not pair
    store, options = MortalStore(), RunOptions("continue", most, max_recoveries=100)
    CALLS.clear()
    result = None
    for at, is_after in [*kills, (None, False)]:
        store.die(at, after=is_after)
        try:
            result = wiring.run(built, {}, store=store, run_id="r", options=options)
            break
        except Killed:
            store.bury()
            entry = store.find("r")
            if entry is not None and entry.status == "failed":
                break  # it died after it had said its last, and would go on
    if result is None:
        return
    for position, value in evaluate(graph).items():
        node = result.nodes[f"s{position}"]
        if value is LOST:
            assert f"s{position}" not in result.outputs
        elif graph[position].kind in MAPPED:
            assert node.items is not None
            assert [LOST if item.value is None else item.value for item in node.items] == value
        else:
            assert result.outputs[f"s{position}"] == value
    _check_journal([entry for row in store.rows("r") for entry in json.loads(row)], graph)


def _check_journal(entries: list[Any], graph: list[Piece]) -> None:
    """Nothing was called that was not recorded, and nothing started again but what had been cut off."""
    counts: dict[str, Counter[Any]] = {word: Counter() for word in ("start", "cut", "ok", "slice")}
    for entry in entries:
        if entry[0] in counts:
            counts[entry[0]][path_of(entry[1])] += 1
    calls = Counter(CALLS)
    folds = {f"s{position}" for position, piece in enumerate(graph) if piece.kind == "fold"}
    for path, starts in counts["start"].items():
        assert counts["ok"][path] <= 1, path
        assert starts <= 1 + counts["cut"][path] + counts["slice"][path], path
    for id, called in calls.items():
        assert called <= sum(starts for path, starts in counts["start"].items() if path.node == id), id
    assert not folds & calls.keys()
