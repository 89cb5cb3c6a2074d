"""G: graphs as they are given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from penstock import Flow, RunOptions, RunStatus, each, gather, use
from penstock.core.errors import GraphError, InputError
from tests.engine.tools import other, statuses

HUGE = """
from bench.memory import resident_peak
from penstock.core.graph import Graph
from penstock.core.model import Need, Node

def nothing(**needs):
    return None

def size(many, wide):
    nodes = [Node("s0", nothing)]
    for at in range(1, many):
        above = {{max(0, at - 1 - 7 * n) for n in range(wide)}}
        nodes.append(Node(f"s{{at}}", nothing, tuple(Need(f"s{{one}}", "use", f"n{{one}}") for one in above)))
    return nodes

graph = Graph("huge", size({nodes}, {needs}))
print(len(graph.nodes))
print(resident_peak())
"""


@pytest.mark.parametrize(
    ("nodes", "needs", "most"),
    [
        (20_000, 3, 150_000_000),
        pytest.param(1_000_000, 1, 1_500_000_000, marks=pytest.mark.slow),
        pytest.param(100_000, 20, 1_500_000_000, marks=pytest.mark.slow),
    ],
)
def test_g06_huge_graphs_are_checked_in_the_memory_that_they_take(nodes, needs, most):
    """A check that looked at pairs of nodes would not end before the interpreter is killed."""
    with other(HUGE.format(nodes=nodes, needs=needs)) as process:
        code, said = process.end()
    assert (code, int(said[0])) == (0, nodes), process.errors
    assert int(said[1]) < most


def takes(x: int) -> int:
    return x


def takes_two(x: int, *, y: int) -> int:
    return x + y


def takes_any(x: int, **more: int) -> int:
    return x + sum(more.values())


def has_default(x: int = 5) -> int:
    return x


def only_positional(x: int, /) -> int:
    return x


def gives(value: int) -> Callable[[], int]:
    return lambda: value


def _add_and_run(flow: Flow, call: Any, sources: dict[str, Any]) -> Any:
    flow.add(call, name="step", **{name: use(source) for name, source in sources.items()})
    return flow.run()


WRONG: list[tuple[Any, dict[str, Any], str]] = [
    (takes, {}, "'x'"),
    (takes, {"x": 1, "y": 2}, "'y'"),
    (takes_two, {"x": 1}, "'y'"),
    (takes_two, {"y": 1}, "'x'"),
    (has_default, {"z": 1}, "'z'"),
    (only_positional, {"x": 1}, "'x'"),
]
RIGHT: list[tuple[Any, dict[str, Any], int]] = [
    (takes, {"x": 1}, 1),
    (takes_two, {"x": 1, "y": 2}, 3),
    (takes_any, {"x": 1}, 1),
    (takes_any, {"x": 1, "more": 2, "and_more": 3}, 6),
    (has_default, {}, 5),
    (has_default, {"x": 1}, 1),
]


@pytest.mark.parametrize(("call", "given", "named"), WRONG)
def test_g09_missing_and_superfluous_parameters_are_refused_before_anything_runs(call, given, named):
    """A missing one that no step provides is an input of the run, which the call must give."""
    ran: list[int] = []
    flow = Flow("flow")
    flow.add(lambda: ran.append(1), name="first")
    sources = {name: flow.add(gives(value), name=f"of {name}") for name, value in given.items()}
    with pytest.raises((GraphError, InputError), match=named):
        _add_and_run(flow, call, sources)
    assert ran == []


@pytest.mark.parametrize(("call", "given", "value"), RIGHT)
def test_g09_what_fits_is_called_with_it(call, given, value):
    flow = Flow("flow")
    sources = {name: flow.add(gives(value), name=f"of {name}") for name, value in given.items()}
    assert _add_and_run(flow, call, sources)["step"] == value


def test_g11_runs_of_one_flow_at_a_time_that_fail_in_different_places():
    """Fifty on one loop; each has its own failures, skips, retries and values."""
    flow = Flow("flow")

    async def numbers(n: int) -> list[int]:
        await asyncio.sleep(0)
        return list(range(n))

    async def item(number: int, n: int) -> int:
        await asyncio.sleep(0)
        if number == n - 1 and n % 5 == 0:
            raise LookupError(str(n))
        return number

    step = flow.add(item, name="item", number=each(flow.add(numbers, name="numbers")))
    flow.add(lambda items: sum(items), name="total", items=gather(step))

    async def main() -> list[Any]:
        options = RunOptions(on_failure="continue")
        return await asyncio.gather(*(flow.arun(n=n, options=options) for n in range(1, 51)))

    for n, result in enumerate(asyncio.run(main()), 1):
        items = result.nodes["item"].items
        assert items is not None
        assert len(items) == n
        if n % 5 == 0:
            assert result.status is RunStatus.FAILED
            assert statuses(result)["total"] == "skipped"
            assert [one.failure.text for one in items if one.failure is not None] == [str(n)]
        else:
            assert result["total"] == sum(range(n))
