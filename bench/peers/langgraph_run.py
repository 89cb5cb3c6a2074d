"""LangGraph and its SqliteSaver: `python -m bench.peers.langgraph_run chain|loop|wide HOW STEPS PATH`.

How is one of its durabilities, ``sync`` or ``async``. It has no values along edges: nodes read and write a
shared state. The chain has one channel; the wide graph collects in a list to which every node adds. The loop
is one node that is run over and over: a checkpoint grows with the number of nodes, so it may be cheaper.
"""

from __future__ import annotations

import operator
import uuid
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from bench.peers.apart import WARM_UP, asked, report


class State(TypedDict):
    x: int
    values: Annotated[list[int], operator.add]
    total: int


def first(state: State) -> dict[str, Any]:
    return {"x": 1}


def one(state: State) -> dict[str, Any]:
    return {"x": state["x"] + 1}


def item(state: State) -> dict[str, Any]:
    return {"values": [state["x"] + 1]}


def total(state: State) -> dict[str, Any]:
    return {"total": sum(state["values"])}


def chain(steps: int) -> Any:
    class Chained(TypedDict):
        x: int

    graph = StateGraph(Chained)
    names = [f"s{at}" for at in range(steps)]
    for at, name in enumerate(names):
        graph.add_node(name, one if at else first)
        graph.add_edge(names[at - 1] if at else START, name)
    graph.add_edge(names[-1], END)
    return graph


def loop(steps: int) -> Any:
    class Looped(TypedDict):
        x: int

    graph = StateGraph(Looped)
    graph.add_node("step", one)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda state: END if state["x"] >= steps else "step")
    return graph


def wide(steps: int) -> Any:
    graph = StateGraph(State)
    graph.add_node("s0", first)
    graph.add_edge(START, "s0")
    middle = [f"s{at}" for at in range(1, steps - 1)]
    for name in middle:
        graph.add_node(name, item)
        graph.add_edge("s0", name)
    graph.add_node("end", total)
    graph.add_edge(middle, "end")
    graph.add_edge("end", END)
    return graph


def main() -> None:
    job = asked()
    make: Callable[[int], Any] = {"chain": chain, "loop": loop, "wide": wide}[job.shape]
    given: dict[str, Any] = {"x": 0} if job.shape != "wide" else {"x": 0, "values": [], "total": 0}
    with SqliteSaver.from_conn_string(str(job.path)) as saver:

        def run(graph: Any, steps: int) -> int:
            config = {"configurable": {"thread_id": str(uuid.uuid4())}, "recursion_limit": steps + 10}
            state = graph.invoke(given, config, durability=job.how)
            return int(state["total" if job.shape == "wide" else "x"])

        run(make(WARM_UP).compile(checkpointer=saver), WARM_UP)
        graph = make(job.steps).compile(checkpointer=saver)  # its own row in other tables; not timed here
        report(job, lambda: run(graph, job.steps), ("langgraph", "langgraph-checkpoint-sqlite"))


if __name__ == "__main__":
    main()
