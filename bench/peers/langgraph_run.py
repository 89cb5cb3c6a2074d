"""LangGraph: `python -m bench.peers.langgraph_run SHAPE HOW STEPS PATH`.

In memory, how is ``invoke`` (nodes are functions, in its pool of threads) or ``ainvoke`` (nodes are
coroutines). With its SqliteSaver it is one of its durabilities, ``sync`` or ``async``, of functions.

It has no values along edges: nodes read and write a shared state, which is one channel for the chain, a list
to which every node adds for the wide graph and the map, and a merged mapping otherwise. A map is its `Send`.
The shape ``loop`` is the chain as one node that is run over and over: a checkpoint grows with the number of
nodes, so it may be cheaper.
"""

from __future__ import annotations

import asyncio
import operator
import uuid
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from bench import graphs
from bench.peers.apart import WARM_UP, Asked, asked, report

Node = Callable[[Any], dict[str, Any]]


class Counted(TypedDict):
    x: int


class Listed(TypedDict):
    x: int
    values: Annotated[list[int], operator.add]
    total: int


class Merged(TypedDict):
    values: Annotated[dict[str, Any], operator.or_]


def first(state: Counted) -> dict[str, Any]:
    return {"x": 1}


def one(state: Counted) -> dict[str, Any]:
    return {"x": state["x"] + 1}


def item(state: Listed) -> dict[str, Any]:
    return {"values": [state["x"] + 1]}


def total(state: Listed) -> dict[str, Any]:
    return {"total": sum(state["values"])}


def later(node: Node) -> Any:
    """The same node as a coroutine."""

    async def call(state: Any) -> dict[str, Any]:
        return node(state)

    return call


class Made:
    """A graph in the making, of nodes of one colour."""

    def __init__(self, state: type[Any], job: Asked) -> None:
        self.graph: Any = StateGraph(state)
        self.colour: Callable[[Node], Any] = later if job.how == "ainvoke" else lambda node: node

    def add(self, name: str, node: Any, *needs: str) -> None:
        """A node; several needs are waited for together."""
        self.graph.add_node(name, node if asyncio.iscoroutinefunction(node) else self.colour(node))
        self.graph.add_edge(list(needs) if len(needs) > 1 else needs[0] if needs else START, name)


def chain(job: Asked, steps: int) -> Any:
    made = Made(Counted, job)
    for at in range(steps):
        made.add(f"s{at}", *((one, f"s{at - 1}") if at else (first,)))
    return made.graph


def loop(job: Asked, steps: int) -> Any:
    made = Made(Counted, job)
    made.add("step", one)
    made.graph.add_conditional_edges("step", lambda state: END if state["x"] >= steps else "step")
    return made.graph


def wide(job: Asked, steps: int) -> Any:
    made = Made(Listed, job)
    made.add("s0", first)
    middle = [f"s{at}" for at in range(1, steps - 1)]
    for name in middle:
        made.add(name, item, "s0")
    made.add("end", total, *middle)
    return made.graph


def mapped(job: Asked, items: int) -> Any:
    made = Made(Listed, job)
    made.add("list", first)
    made.graph.add_node("item", made.colour(item))
    made.graph.add_conditional_edges("list", lambda state: [Send("item", {"x": at}) for at in range(items)])
    made.add("total", total, "item")
    return made.graph


def merged(job: Asked, steps: int) -> Any:
    """Any graph: each node adds its value, by its name, to one mapping."""
    made = Made(Merged, job)
    family = graphs.COROUTINE if job.how == "ainvoke" else graphs.SYNC
    dag = graphs.dag(job.shape, steps, family)
    for name, needs in dag.needs.items():
        wrapped = _awaiting if family is graphs.COROUTINE else _calling
        made.add(name, wrapped(name, dag.calls[name], needs), *needs)
    return made.graph


def _calling(name: str, call: Callable[..., Any], needs: tuple[str, ...]) -> Any:
    def node(state: Merged) -> dict[str, Any]:
        return {"values": {name: call(*[state["values"][need] for need in needs])}}

    return node


def _awaiting(name: str, call: Callable[..., Any], needs: tuple[str, ...]) -> Any:
    async def node(state: Merged) -> dict[str, Any]:
        return {"values": {name: await call(*[state["values"][need] for need in needs])}}

    return node


def value(job: Asked, state: dict[str, Any]) -> Any:
    if job.shape in ("chain", "loop"):
        return state["x"]
    if job.shape in ("wide", "map"):
        return state["total"]
    return graphs.outcome(graphs.GRAPHS[job.shape](job.steps).needs, state["values"])


def measure(job: Asked, saver: Any, **given: Any) -> None:
    """Once to warm up, and once that counts."""
    make = {"chain": chain, "loop": loop, "wide": wide, "map": mapped}.get(job.shape, merged)
    begin: Any = {"x": 0} if job.shape in ("chain", "loop") else {"values": {}}
    if job.shape in ("wide", "map"):
        begin = {"x": 0, "values": [], "total": 0}
    with asyncio.Runner() as runner:

        def run(graph: Any, steps: int) -> Any:
            config = {"configurable": {"thread_id": str(uuid.uuid4())}, "recursion_limit": steps + 100}
            if job.how == "ainvoke":
                return runner.run(graph.ainvoke(begin, config))
            return graph.invoke(begin, config, **given)

        run(make(job, WARM_UP).compile(checkpointer=saver), WARM_UP)
        graph = make(job, job.steps).compile(checkpointer=saver)
        distributions = ("langgraph", "langgraph-checkpoint-sqlite")
        report(job, lambda: value(job, run(graph, job.steps)), distributions)


def main() -> None:
    job = asked()
    if job.how in ("invoke", "ainvoke"):
        measure(job, None)
    else:
        with SqliteSaver.from_conn_string(str(job.path)) as saver:
            measure(job, saver, durability=job.how)


if __name__ == "__main__":
    main()
