"""What makes the needs and options of nodes valid beyond their names: circles, triggers, limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from .amounts import is_whole, shown
from .errors import GraphError, nearest
from .model import TRIGGERS, Accepts, Condition, Limit, Node

_BFS_BUDGET = 2_000_000
"""Edges looked at in search of a shorter circle; past it the best one so far is shown."""

APART = ("dask", "executor", "processes", "ray")
"""Names of runners whose attempts are made in other processes."""

SYNC_ONLY = ("inline", "threads", *APART)
"""Names of runners that take no coroutines."""


def find_cycle(left: Iterable[int], parents: Sequence[tuple[int, ...]]) -> list[int]:
    """One shortest circle among the nodes left over by a topological sort, in the direction of the data."""
    inside = set(left)
    needs = {node: [p for p in parents[node] if p in inside] for node in inside}
    _trim(needs)
    best = _any_cycle(needs)
    budget = _BFS_BUDGET
    for start in sorted(needs):
        if len(best) == 3 or budget < 0:
            break
        came: dict[int, int] = {}
        queue = deque([start])
        while queue and start not in came:
            node = queue.popleft()
            budget -= len(needs[node])
            for parent in needs[node]:
                if parent not in came:
                    came[parent] = node
                    queue.append(parent)
        if start in came:
            cycle = [start, came[start]]
            while cycle[-1] != start:
                cycle.append(came[cycle[-1]])
            if len(cycle) < len(best):
                best = cycle
    return best


def _trim(needs: dict[int, list[int]]) -> None:
    """Takes away what hangs below the circles, again and again, until only they and links between remain."""
    users = dict.fromkeys(needs, 0)
    for mine in needs.values():
        for parent in mine:
            users[parent] += 1
    todo = [node for node, count in users.items() if not count]
    while todo:
        for parent in needs.pop(todo.pop()):
            users[parent] -= 1
            if not users[parent]:
                todo.append(parent)


def _any_cycle(needs: dict[int, list[int]]) -> list[int]:
    """Walks up from the first node until one comes twice; every node has a parent here, so one must."""
    walk = [min(needs)]
    seen = {walk[0]: 0}
    while True:
        parent = needs[walk[-1]][0]
        if parent in seen:
            return [parent, *reversed(walk[seen[parent] :])]
        seen[parent] = len(walk)
        walk.append(parent)


def check_node(node: Node, limits: dict[str, Limit]) -> None:
    """The options of one node against each other and against the limits met so far.

    Raises:
        GraphError: They do not fit; the message names the step, the option and the way out.
    """
    trigger = node.trigger
    if trigger != "all_succeeded":
        _check_trigger(node)
    if node.kind == "gate" and trigger == "always":
        raise GraphError(f"step {node.id!r}: a gate cannot be clean-up; a stopped run waits for nobody")
    if node.kind == "gather":
        (need,) = node.needs if len(node.needs) == 1 else (None,)
        if need is None or need.how != "gather" or need.levels != 1 or need.failures not in ("raise", "drop"):
            raise GraphError(
                f"step {node.id!r}: a fold takes the items of one map, one level deep, with failures='raise' "
                "or 'drop'"
            )
        if node.shared is not None:
            raise GraphError(f"step {node.id!r}: a fold sees nothing of what the run's steps share")
    if node.limits:
        _check_limits(node, limits)
    if node.is_async and node.runner in SYNC_ONLY:
        raise GraphError(
            f"step {node.id!r}: runner={node.runner!r} calls plain functions, and this one is async; "
            "leave runner= out, or give 'aio'"
        )
    if node.runner == "aio" and not node.is_async:
        raise GraphError(
            f"step {node.id!r}: runner='aio' awaits async functions, and this one is not async; "
            "leave runner= out, or write 'async def'"
        )
    if node.timeout is not None and node.runner == "inline":
        raise GraphError(
            f"step {node.id!r}: an inline step cannot be stopped, so it takes no timeout; "
            "leave out runner='inline' or the timeout"
        )


def check_volatile(
    nodes: Sequence[Node], parents: Sequence[tuple[int, ...]], runner_of: Callable[[Node], str | None]
) -> None:
    """Whether a value that cannot leave this process stays in it.

    Raises:
        GraphError: A node that gives one, or takes one, runs in processes.
    """
    for position, node in enumerate(nodes):
        if node.volatile and runner_of(node) in APART:
            raise GraphError(
                f"step {node.id!r}: its value is volatile, so it cannot be made in another process; "
                "give it runner='threads', or leave out volatile="
            )
        for need, parent in zip(node.needs, parents[position], strict=True):
            if nodes[parent].volatile and need.how != "after" and runner_of(node) in APART:
                raise GraphError(
                    f"step {node.id!r}: it takes the value of {need.node!r}, which is volatile, "
                    "so it cannot run in another process; give it runner='threads'"
                )


def _check_trigger(node: Node) -> None:
    trigger = node.trigger
    if not isinstance(trigger, Condition) and trigger not in TRIGGERS:
        raise GraphError(
            f"step {node.id!r}: there is no trigger {trigger!r}{nearest(str(trigger), TRIGGERS)}\n"
            f"(one of {', '.join(TRIGGERS)}, or a function)"
        )
    if trigger in ("any_succeeded", "all_failed") and not node.needs:
        raise GraphError(f"step {node.id!r}: trigger {trigger!r} never holds for a step that needs nothing")
    for need in node.needs:
        if need.how != "after" and need.accepts is Accepts.NOTHING:
            name = trigger if isinstance(trigger, str) else "of your own"
            raise GraphError(
                f"step {node.id!r}: with the trigger {name!r} it may start when {need.node!r} has no value;\n"
                f"give {need.param!r} a default, or take it with outcome({need.node}) or "
                f"optional({need.node}, default)"
            )


def _check_limits(node: Node, limits: dict[str, Limit]) -> None:
    names = set()
    for limit, weight in node.limits:
        known = limits.setdefault(limit.name, limit)
        if known != limit:
            raise GraphError(
                f"step {node.id!r}: two limits called {limit.name!r} differ: {known} and {limit}"
            )
        if limit.name in names:
            raise GraphError(f"step {node.id!r}: limit {limit.name!r} stands twice; use take(2)")
        names.add(limit.name)
        most = min(bound for bound in (limit.capacity, limit.rate and limit.rate.starts) if bound is not None)
        if not is_whole(weight) or weight < 1:
            raise GraphError(
                f"step {node.id!r}: it takes an int of at least 1 of limit {limit.name!r}, "
                f"not {shown(weight)}"
            )
        if weight > most:
            raise GraphError(
                f"step {node.id!r}: takes {weight} of limit {limit.name!r}, which has only {most}"
            )
