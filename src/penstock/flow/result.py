"""The result of a flow's run, typed by its steps; and the handle of one that is still running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, overload

from penstock.core.errors import nearest
from penstock.core.model import NodeStatus
from penstock.core.result import NodeResult, RunResult
from penstock.core.visible import visible

from .markers import Source
from .step import FlowLike

if TYPE_CHECKING:
    from penstock.core.handle import AsyncReader, Handle, Reader
    from penstock.core.stream import Item, Progress, Told, Update, ValueOf

T = TypeVar("T")


class NoValue(KeyError):
    """There is no value to be had: `result[...]` says why. Its text is shown as it is, not as a repr."""

    def __str__(self) -> str:
        return str(self.args[0])


class FlowResult(RunResult):
    """A `RunResult` that knows its flow.

    >>> result = flow.run(path="orders.csv")
    >>> result[total]               # what `total` returned, typed
    >>> result.items(enrich)        # of a mapped step: a list
    """

    __slots__ = ("_flow",)

    def __init__(self, result: RunResult, flow: FlowLike) -> None:
        for name in RunResult.__slots__:  # all of it, also what the core adds one day
            setattr(self, name, getattr(result, name))
        self._flow = flow

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows: the flow in the colours of how it went."""
        from penstock.wiring import pictured

        return pictured(self, self._flow.graph, self.nodes)

    @overload
    def __getitem__(self, step: Source[T]) -> T: ...
    @overload
    def __getitem__(self, step: str) -> Any: ...
    def __getitem__(self, step: Source[Any] | str) -> Any:
        """The value of a step, given as itself or by its id.

        Raises:
            KeyError: There is no such step in the run, it did not succeed, or its value was not kept.
            TypeError: The step is mapped; use `items`.
        """
        node = self._node(step)
        if node.items is not None:
            raise TypeError(
                f"step {node.path!r} is mapped, so it has many values; say result.items({node.path})"
            )
        if node.path in self.outputs:
            return self.outputs[node.path]
        return self._loaded(node)

    @overload
    def items(self, step: Source[T]) -> list[T]: ...
    @overload
    def items(self, step: str) -> list[Any]: ...
    def items(self, step: Source[Any] | str) -> list[Any]:
        """The values of a mapped step: its successes, in input order.

        Raises:
            KeyError: There is no such step in the run, it did not succeed, or its values were not kept.
            TypeError: The step is not mapped.
        """
        node = self._node(step)
        if node.path in self.outputs and node.items is not None:
            return list(self.outputs[node.path])
        if node.items is None and node.status is NodeStatus.SUCCEEDED:
            raise TypeError(
                f"step {node.path!r} is not mapped, so it has one value; say result[{node.path!r}]"
            )
        return list(self._loaded(node))

    def _loaded(self, node: NodeResult) -> Any:
        """A value that was not kept in memory, from the run's store if it has one."""
        if self.load is None or node.status is not NodeStatus.SUCCEEDED:
            self._no_value(node)
        return self.load(node.path)

    def _node(self, step: Source[Any] | str) -> NodeResult:
        id = step
        if isinstance(step, Source):
            flow = step.flow
            if flow is not None and flow is not self._flow:
                raise NoValue(
                    f"step {step.id!r} belongs to flow {flow.name!r}, "
                    f"and this is a run of {self._flow.name!r}"
                )
            id = step.id
        if not isinstance(id, str):
            raise NoValue(f"a result is asked for steps or their ids, not for {id!r}")
        node = self.nodes.get(id)
        if node is not None:
            return node
        if id in self._flow.steps:
            raise NoValue(f"step {id!r} was not part of this run; its targets or overrides left it out")
        raise NoValue(f"there is no step {id!r}{nearest(id, self.nodes)}")

    def _no_value(self, node: NodeResult) -> NoReturn:
        if node.status is NodeStatus.SUCCEEDED:
            raise NoValue(
                f"the value of step {node.path!r} was not kept, for its consumers have had it; "
                "define the step with keep=True, name it in targets, or give the run a store"
            )
        reason = f": {node.reason}" if node.reason else ""
        raise NoValue(visible(f"step {node.path!r} has no value, it is {node.status.value}{reason}"))


class FlowHandle:
    """A run that goes on by itself; made by `Flow.start`.

    Attributes:
        run_id: Its id.
    """

    __slots__ = ("_flow", "_handle", "run_id")

    def __init__(self, handle: Handle, flow: FlowLike) -> None:
        self._handle = handle
        self._flow = flow
        self.run_id: str = handle.run_id

    def __repr__(self) -> str:
        return f"<handle of run {self.run_id} of flow {self._flow.name!r}>"

    @property
    def done(self) -> bool:
        """Whether the run has ended."""
        return self._handle.done

    @overload
    def events(self, view: Literal["all"] = ...) -> Reader[Told]: ...
    @overload
    def events(self, view: Literal["values"]) -> Reader[ValueOf]: ...
    @overload
    def events(self, view: Literal["updates"]) -> Reader[Update]: ...
    @overload
    def events(self, view: Literal["progress"]) -> Reader[Progress]: ...
    @overload
    def events(self, view: str) -> Reader[Item]: ...
    def events(self, view: str = "all") -> Reader[Any]:
        """Its events from the start, as they come; ends with the run. Each call makes a reader of its own.

        Args:
            view: ``all`` of them; ``values`` as steps succeed; ``updates`` of what stands differently;
                ``progress`` of steps, and of the run as a whole.

        Raises:
            InputError: There is no such view.
        """
        return self._handle.events(view)

    @overload
    def stream(self, view: Literal["all"] = ...) -> AsyncReader[Told]: ...
    @overload
    def stream(self, view: Literal["values"]) -> AsyncReader[ValueOf]: ...
    @overload
    def stream(self, view: Literal["updates"]) -> AsyncReader[Update]: ...
    @overload
    def stream(self, view: Literal["progress"]) -> AsyncReader[Progress]: ...
    @overload
    def stream(self, view: str) -> AsyncReader[Item]: ...
    def stream(self, view: str = "all") -> AsyncReader[Any]:
        """The same for an ``async for``, on whatever event loop runs there. Whoever is cancelled in it only
        ends their reading; the run goes on.

        Raises:
            InputError: There is no such view.
        """
        return self._handle.stream(view)

    def __aiter__(self) -> AsyncReader[Told]:
        return self._handle.stream()

    def cancel(self, reason: str = "") -> None:
        """Asks it to end: running attempts are cancelled, nothing new is started. Returns at once."""
        self._handle.cancel(reason)

    def answer(self, gate: Source[T] | str, value: T) -> None:
        """Answers a gate, given as itself or by its path. It may not be open yet; the first answer counts.

        Raises:
            InputError: There is no such gate, or it takes another kind of answer.
        """
        self._handle.answer(gate.id if isinstance(gate, Source) else gate, value)

    def result(self, timeout: float | None = None) -> FlowResult:
        """Waits for its end.

        Args:
            timeout: Seconds to wait; None for as long as it takes.

        Raises:
            TimeoutError: It was not over in time; it goes on.
        """
        return FlowResult(self._handle.result(timeout), self._flow)
