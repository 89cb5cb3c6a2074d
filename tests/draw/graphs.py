"""Graphs to draw."""

from penstock.core.graph import Graph
from penstock.core.model import Accepts, Condition, Input, Limit, Need, Node, RetryPolicy, Timeout


def yes() -> bool:
    return True


def orders() -> Graph:
    """A map of two steps, a gather, a condition, and every option that a drawing tells of."""
    api = Limit("api", 2)
    return Graph(
        "orders",
        [
            Node("extract", yes, inputs=(("path", "path"),)),
            Node("enrich", yes, (Need("extract", "each", "x"),), retry=RetryPolicy(), timeout=Timeout(30)),
            Node("price", yes, (Need("enrich", "use", "x"),), limits=(api.take(2),)),
            Node("total", yes, (Need("price", "gather", "x"),), runner="inline"),
            Node("publish", yes, (Need("total", "use", "x"),), when=Condition(yes), optional=True),
            Node(
                "report",
                yes,
                (Need("total", "outcome", "x", Accepts.ANYTHING), Need("publish", "after")),
                trigger="always",
            ),
        ],
        [Input("path", str), Input("limit", int, 3)],
    )


def nested() -> Graph:
    """A map in a map."""
    return Graph(
        "nested",
        [
            Node("folders", yes),
            Node("files", yes, (Need("folders", "each", "x"),)),
            Node("lines", yes, (Need("files", "each", "x"),)),
            Node("count", yes, (Need("lines", "gather", "x"),)),
            Node("sum", yes, (Need("count", "gather", "x"),)),
        ],
    )


def wide(lanes: int) -> Graph:
    """Each of `lanes` sources is taken by two steps, in an order that keeps all of them open."""
    sources = [Node(f"s{number}", yes) for number in range(lanes)]
    takers = [Node(f"t{number}", yes, (Need(f"s{number}", "use", "x"),)) for number in range(lanes)]
    end = Node("end", yes, tuple(Need(f"t{number}", "after") for number in range(lanes)))
    return Graph("wide", [*sources, *takers, end])


def named(names: list[str]) -> Graph:
    """A chain of steps with these names, past the check of names: a drawing must not rely on it."""
    nodes = [
        Node(f"n{number}", yes, (Need(f"n{number - 1}", "use", "x"),) if number else ())
        for number in range(len(names))
    ]
    graph = Graph("named", nodes)
    graph.nodes = tuple(
        node._replace(
            id=names[number], needs=tuple(need._replace(node=names[number - 1]) for need in node.needs)
        )
        for number, node in enumerate(graph.nodes)
    )
    graph.index = {name: number for number, name in enumerate(names)}
    return graph
