"""What steps share and somebody must close: opened at first use, closed last in, first out.

A `Keeper` has what one run opened; what a worker opened for itself stays with its thread until
`close_worker`. Nothing here is loaded by a run that uses no resource.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import update_wrapper
from threading import get_ident
from typing import Any

from .bags import CLOSE_WITHIN, Bag, Pairs, Slot, inputs_of
from .errors import GraphError
from .model import Node, Resource


def check_processes(node: Node) -> None:
    """Whether a node may run in another process, as far as its resources go.

    Raises:
        GraphError: One of them belongs to the run, which is here.
    """
    for _, resource in node.resources:
        if resource.scope != "worker":
            raise GraphError(
                f"step {node.id!r}: the resource {resource.id!r} belongs to the run, and the step is to run "
                "in another process;\nopen one in each process: @flow.resource(scope='worker')"
            )


class Keeper:
    """The resources of one run.

    To be made in the engine's thread. On the event loop, and in the engine's own thread, what is asked for
    once per worker is kept here too: for this run, each of them is one worker.

    Args:
        inputs: Those of the run, for resources that take some.
    """

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self.bag = Bag()
        self.thread = get_ident()
        self.run = os.urandom(8).hex()
        self._inputs = inputs

    def lend(
        self, call: Callable[..., Any], resources: Pairs, is_async: bool = False, stream: bool = False
    ) -> Callable[..., Any]:
        """What a runner calls in place of `call`: it opens the resources first, where the attempt is made.

        Worth keeping for all attempts of a node.

        Args:
            call: What an attempt calls.
            resources: What it takes beside its arguments, by parameter.
            is_async: It is awaited.
            stream: It gives an iterator, or an async iterator.
        """
        inputs = {name: self._inputs[name] for name in inputs_of(resources) if name in self._inputs}
        if not is_async:
            return LentCall(call, resources, inputs, self.run, self, stream)
        slots = [(param, self.bag.find(resource, inputs, self.run)) for param, resource in resources]
        lent = self._lend_stream(call, slots) if stream else self._lend_coroutine(call, slots)
        return update_wrapper(lent, call)

    def _lend_coroutine(self, call: Callable[..., Any], slots: list[tuple[str, Slot]]) -> Callable[..., Any]:
        async def lent(**arguments: Any) -> Any:
            me = object()
            try:
                for param, slot in slots:
                    arguments[param] = slot.value if slot.ready else await self.bag.aopen(slot)
                    slot.holders[me] = "a task"
                return await call(**arguments)
            finally:
                _let_go(slots, me)

        return lent

    def _lend_stream(self, call: Callable[..., Any], slots: list[tuple[str, Slot]]) -> Callable[..., Any]:
        async def lent(**arguments: Any) -> AsyncIterator[Any]:
            me = object()
            try:
                for param, slot in slots:
                    arguments[param] = slot.value if slot.ready else await self.bag.aopen(slot)
                    slot.holders[me] = "a task"
                elements = call(**arguments)
                try:
                    async for element in elements:
                        yield element
                finally:
                    close = getattr(elements, "aclose", None)
                    if close is not None:
                        await close()
            finally:
                _let_go(slots, me)

        return lent

    def close(self, within: float = CLOSE_WITHIN) -> list[str]:
        """Closes what is open. To be called once, in the engine's thread, after the last attempt.

        An attempt that was abandoned may still have a resource; that is closed all the same.

        Args:
            within: Seconds that each may take that was opened in another thread; one that takes more is left
                behind. What was opened in this thread is closed in it, and waited for.

        Returns:
            What went wrong, a line each.
        """
        return self.bag.close(within)

    async def aclose(self, within: float = CLOSE_WITHIN) -> list[str]:
        """The same for a run on an event loop.

        Args:
            within: See `close`; an async resource that takes more is cancelled, and then left behind.
        """
        return await self.bag.aclose(within)

    def hurry(self) -> None:
        """Gives up what is being closed; what is still to be closed has a second each. From any thread."""
        self.bag.hurry()


class LentCall:
    """A plain function and the resources it takes: opens what is not open yet, where it is called.

    Without a keeper, in another process, it takes resources of workers only. What travels there is `call`,
    `resources` with their functions, `inputs` and `run`.

    Attributes:
        call: The function.
        resources: What it takes, by parameter.
        inputs: The run's inputs that the resources take, by name.
        run: Tells whose inputs they are: one run's are not compared again and again.
        keeper: Has the resources of the run; None in another process.
        stream: The call gives an iterator.
    """

    __slots__ = ("_slots", "call", "inputs", "keeper", "resources", "run", "stream")

    def __init__(
        self,
        call: Callable[..., Any],
        resources: Pairs,
        inputs: Mapping[str, Any],
        run: str = "",
        keeper: Keeper | None = None,
        stream: bool = False,
    ) -> None:
        self.call = call
        self.resources = tuple(resources)
        self.inputs = inputs
        self.run = run
        self.keeper = keeper
        self.stream = stream
        self._slots: list[Slot | None] = [
            keeper.bag.find(resource, inputs, run) if keeper is not None and resource.scope == "run" else None
            for _, resource in self.resources
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        return LentCall, (self.call, self.resources, self.inputs, self.run)

    def __call__(self, /, **arguments: Any) -> Any:
        me = object()
        slots: list[tuple[str, Slot]] = []
        try:
            for (param, resource), slot in zip(self.resources, self._slots, strict=True):
                bag = self._bag(resource)
                if slot is None:
                    slot = bag.find(resource, self.inputs, self.run)
                arguments[param] = slot.value if slot.ready else bag.open(slot)
                slot.holders[me] = _thread()
                slots.append((param, slot))
            made = self.call(**arguments)
            return _held(made, slots) if self.stream and hasattr(type(made), "__next__") else made
        finally:
            _let_go(slots, me)

    def _bag(self, resource: Resource) -> Bag:
        keeper = self.keeper
        if keeper is not None and (resource.scope == "run" or get_ident() == keeper.thread):
            return keeper.bag
        if resource.scope == "run":
            raise RuntimeError(f"resource {resource.id!r} belongs to the run, which is in another process")
        return _workers_bag()


def _thread() -> str:
    return f"thread {threading.current_thread().name!r}"


def _held(elements: Iterator[Any], slots: list[tuple[str, Slot]]) -> Iterator[Any]:
    """The elements of a stream, which has its resources from the first one to its end."""
    me = object()
    try:
        for _, slot in slots:
            slot.holders[me] = _thread()
        yield from elements
    finally:
        _let_go(slots, me)


def _let_go(slots: list[tuple[str, Slot]], me: object) -> None:
    for _, slot in slots:
        slot.holders.pop(me, None)


# --- workers ----------------------------------------------------------------------------------------------

_local = threading.local()


def _workers_bag() -> Bag:
    bag: Bag | None = getattr(_local, "bag", None)
    if bag is None:
        bag = _local.bag = Bag()
    return bag


def open_in_worker() -> list[str]:
    """Ids of what the calling thread has open for itself as a worker, in the order in which it is closed."""
    bag: Bag | None = _local.__dict__.get("bag")
    return [] if bag is None else [slot.resource.id for slot in reversed(bag.opened)]


def close_worker() -> list[str]:
    """Closes what the calling thread has opened for itself as a worker; for runners, when a worker ends.

    Returns:
        What went wrong, a line each.
    """
    bag: Bag | None = _local.__dict__.pop("bag", None)
    return [] if bag is None else bag.close(CLOSE_WITHIN)


def _forget_worker() -> None:
    """In a forked child, what this thread had open belongs to the parent, which will close it."""
    _local.__dict__.pop("bag", None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_worker)
