"""One step by itself: its function called as a run would call it, with values that the test gives."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from pathlib import Path
from typing import Any

from penstock.core.context import Context
from penstock.core.errors import InputError, nearest
from penstock.core.events import Logged, NodePath, Progressed
from penstock.core.graph import Graph
from penstock.core.model import NOTHING, Accepts, Node

from .waiting import awaited


class FakeContext(Context):
    """A step's context that remembers what it is told.

    Args:
        attempt: The number that the step sees.
        path: Whose it is.
        cancelled: Whether the step was asked to stop; `ask_to_stop` says so later.
        workdir: The step's folder; without one it has none.

    Attributes:
        logs: What was logged, as (message, fields).
        progressed: What progress was reported, as (done, total, text).
        heartbeats: How often the step has said that it is alive, by whatever means.
    """

    __slots__ = ("heartbeats", "logs", "progressed")

    def __init__(
        self,
        *,
        attempt: int = 1,
        path: str = "step",
        run_id: str = "test",
        cancelled: bool = False,
        workdir: Path | None = None,
    ) -> None:
        self.logs: list[tuple[str, dict[str, Any]]] = []
        self.progressed: list[tuple[float, float | None, str]] = []
        self.heartbeats = 0
        folder = None if workdir is None else _Folder(Path(workdir))
        super().__init__(run_id, _path(path), attempt, self._note, beat=self._count, folder=folder)
        if cancelled:
            self.ask_to_stop()

    def _the_folder(self) -> Any:
        if self._folder is None:
            raise RuntimeError(
                f"{self!r} has no folder; give the step one with FakeContext(workdir=tmp_path), "
                "as the argument for its Context"
            )
        return self._folder

    def _note(self, event: Any) -> None:
        if isinstance(event, Logged):
            self.logs.append((event.message, dict(event.fields)))
        elif isinstance(event, Progressed):
            self.progressed.append((event.done, event.total, event.text))

    def _count(self) -> None:
        self.heartbeats += 1


class _Folder:
    """A folder that is the step's own before and after its end."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        return self._path

    @property
    def published(self) -> Path:
        return self._path

    def travel(self) -> Any:
        return None


def run_step(flow: Any, step: Any, /, **fakes: Any) -> Any:
    """Calls the function of one step with these values, once: nothing is retried, limited or timed.

        assert run_step(flow, enrich, order=Order(1)) == Priced(1, 20)

    A coroutine function is awaited; the elements of a stream come as a list. Where the step asks for a
    `Context` and none is given it gets a `FakeContext`.

    Args:
        flow: The flow, or graph.
        step: The step, or its id.
        fakes: By parameter: what stands in for what the step needs, for resources and inputs. What has a
            default in a run may be left out.

    Returns:
        What the function returned.

    Raises:
        InputError: There is no such step, it has no such parameter, or a value is missing.
    """
    call, arguments = _call(flow, step, fakes)
    return awaited(_listed(call(**arguments)))


async def arun_step(flow: Any, step: Any, /, **fakes: Any) -> Any:
    """The same as `run_step` on the running event loop."""
    call, arguments = _call(flow, step, fakes)
    value = _listed(call(**arguments))
    return await value if hasattr(value, "__await__") else value


def _call(flow: Any, step: Any, fakes: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    graph = flow if isinstance(flow, Graph) else flow.graph()
    id = str(getattr(step, "id", step))
    if id not in graph.index:
        near = nearest(id, graph.index) or _those(graph.index)
        raise InputError(f"{graph.name!r} has no step {id!r}{near}")
    node = graph.nodes[graph.index[id]]
    if node.kind == "gate":
        raise InputError(f"{id!r} is a gate: it waits for an answer, and calls nothing")
    wanted = _defaults(graph, node)
    arguments = {param: value for param, (value, _) in wanted.items() if value is not NOTHING}
    wrong = [param for param in fakes if param not in wanted]
    # A parameter that is bound by the flow, or was left to its own default there, can be given all the same.
    wrong = [param for param in wrong if param not in _params(node)]
    if wrong:
        raise InputError(
            f"step {id!r} takes no {wrong[0]!r}{nearest(wrong[0], wanted)} (it takes {_list(wanted)})"
        )
    arguments.update(fakes)
    missing = [
        f"{param!r} ({what})" for param, (_, what) in wanted.items() if what and param not in arguments
    ]
    if missing:
        raise InputError(f"step {id!r} needs {', '.join(missing)}; give run_step a value for each")
    if node.context is not None and node.context not in fakes:
        arguments[node.context] = FakeContext(path=id)
    if node.kind == "gather":
        return _fold, {"node": node, "arguments": arguments}
    return node.call, arguments


def _defaults(graph: Graph, node: Node) -> dict[str, tuple[Any, str]]:
    """By parameter: the value that it has without a fake, and what it would come from if it must be given."""
    bound = dict(node.bound or {})
    found: dict[str, tuple[Any, str]] = {param: (value, "") for param, value in bound.items()}
    for param, name in node.inputs:
        default = graph.inputs[name].default
        found[param] = (default, "" if default is not NOTHING else f"the input {name!r}")
    for need in node.needs:
        if need.param is None:
            continue
        can_do_without = need.how != "outcome" and bool(need.accepts & Accepts.CONDITION)
        what = "" if can_do_without else f"{need.how} of {need.node!r}"
        found[need.param] = (need.default, what)
    for param, resource in node.resources:
        found[param] = (NOTHING, f"the resource {resource.id!r}")
    if node.context is not None:
        found[node.context] = (NOTHING, "")
    if node.shared is not None:
        found[node.shared] = (NOTHING, "what the run's steps share")
    return found


def _params(node: Node) -> set[str]:
    from inspect import signature

    try:
        return set(signature(node.call).parameters)
    except (TypeError, ValueError):
        return set()


def _fold(node: Node, arguments: dict[str, Any]) -> Any:
    """A fold takes the items one after another, each with what it has made of those before."""
    (param,) = [need.param for need in node.needs if need.param is not None]
    value = arguments.get("initial")
    for item in arguments[param]:
        value = node.call(value, item)
    return value


def _listed(value: Any) -> Any:
    """What a stream gives, as a list; anything else as it is."""
    if hasattr(value, "__next__"):
        made: Iterable[Any] = value
        return list(made)
    if hasattr(value, "__anext__"):
        return _all(value)
    return value


async def _all(stream: AsyncIterable[Any]) -> list[Any]:
    return [element async for element in stream]


def _path(path: str) -> NodePath:
    """``parse[3]`` in its parts."""
    node, bracket, items = path.removesuffix("]").rpartition("[")
    if not bracket or not path.endswith("]"):
        return NodePath(path)
    return NodePath(node, tuple(int(item) if item.isdigit() else item for item in items.split(",")))


def _those(ids: Mapping[str, int]) -> str:
    """What there is instead, if it is not too much."""
    if not ids:
        return "; it has none"
    return f" (it has {', '.join(list(ids)[:8])}{' …' if len(ids) > 8 else ''})"


def _list(wanted: Mapping[str, Any]) -> str:
    return ", ".join(wanted) or "nothing"
