from typing import TypedDict

from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    values: list[int]
    total: int


def load(state):
    return {"values": [1, 2, 3]}


def double(state):
    return {"values": [value * 2 for value in state["values"]]}


def total(state):
    return {"total": sum(state["values"])}


graph = StateGraph(State)
graph.add_node("load", load)
graph.add_node("double", double)
graph.add_node("add", total)
graph.add_edge(START, "load")
graph.add_edge("load", "double")
graph.add_edge("double", "add")
graph.add_edge("add", END)
print(graph.compile().invoke({})["total"])
