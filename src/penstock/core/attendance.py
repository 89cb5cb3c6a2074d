"""What surrounds an attempt where it is made: who it is, what its step says, and what it uses.

A run that wants none of this has no `Attendance`, and its attempts are called as they are. One that does has
every call wrapped, in threads and tasks by `Attendance.around`, in another process by `arrive`: with the same
code, for whatever kind of call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from . import capture
from .events import Measured
from .inside import INSIDE, Inside, Say, Usage
from .meter import Meter, ProcessMeter, ThreadMeter
from .model import Node, NodePath
from .streaming import async_iterator_of, close, iterator_of


class Door(Protocol):
    """What wants to do something of its own around each attempt, such as a tracer.

    Attributes:
        arrives: ``"module:name"`` of what is called where an attempt arrives in another process: it takes the
            `Inside`, with what was carried there, and gives a context manager.
    """

    arrives: str

    def enter(self, inside: Inside, /) -> AbstractContextManager[Any]:
        """What is entered around an attempt in this process, where the attempt is made."""

    def carry(self, inside: Inside, /) -> Mapping[str, str]:
        """What travels with an attempt to another process."""


class Travelling(NamedTuple):
    """What an attempt that is attended to takes along to another process.

    Attributes:
        token: Tells it from all other hand-outs of its node.
        capture: What it prints and logs is wanted.
        profile: What it uses is wanted.
        doors: Pairs ("module:name", what was carried).
    """

    token: int
    capture: bool
    profile: bool
    doors: tuple[tuple[str, Mapping[str, str]], ...] = ()


class Attendance:
    """Attends to the attempts of one run.

    Args:
        run_id: Of the run.
        say: Tells the run something, from any thread.
        find: The path of one of the machine's numbers.
        capture: What steps print and log is wanted.
        profile: What they use is wanted.
        doors: What else is entered around each attempt.

    Attributes:
        capture: As given.
        is_plain: Nothing but what steps print and log is wanted.
    """

    __slots__ = (
        "_doors", "_entries", "_find", "_measured", "_open", "_profile", "_run_id", "_say", "_usage",
        "capture", "is_plain",
    )  # fmt: skip

    def __init__(
        self,
        run_id: str,
        say: Say,
        find: Callable[[int], NodePath],
        *,
        capture: bool,
        profile: bool,
        doors: Sequence[Door],
    ) -> None:
        self._run_id = run_id
        self._say = say
        self._find = find
        self.is_plain = not (profile or doors)
        self.capture = capture
        self._profile = profile
        self._doors = tuple(doors)
        self._entries = [door.enter for door in self._doors]
        self._open = False
        self._measured: list[Measured] = []
        self._usage: dict[tuple[str, int], Usage] = {}

    @property
    def usage(self) -> Mapping[tuple[str, int], Usage]:
        """What attempts have used, by path and token."""
        measured, self._measured = self._measured, []
        for path, token, cpu, memory, exact in measured:
            self._usage[str(path), token] = Usage(cpu, memory, exact)
        return self._usage

    def open(self) -> None:
        """The run begins."""
        if self.capture and not self._open:
            capture.begin()
            self._open = True

    def close(self) -> None:
        """The run is over."""
        if self._open:
            capture.end()
            self._open = False

    def around(self, path: NodePath, attempt: int, token: int, call: Callable[..., Any]) -> Attended:
        """An attempt that is made in this process."""
        inside = Inside(self._run_id, path, attempt, token, self.hear)
        meter = ThreadMeter() if self._profile else None
        return Attended(inside, call, self._entries, meter)

    def plain(self, i: int, attempt: int, token: int, of: Node) -> Callable[..., Any]:
        """What a runner calls in this process where nothing but what the step prints and logs is wanted."""
        made = _Plain(self._run_id, None, attempt, token, self._say)
        made.find, made.number, made.call = self._find, i, of.call
        return made.awaited if of.is_async else made.called

    def travelling(self, path: NodePath, attempt: int, token: int) -> Travelling:
        """What goes with an attempt that is made in another process."""
        inside = Inside(self._run_id, path, attempt, token, self.hear)
        carried = tuple([(door.arrives, dict(door.carry(inside))) for door in self._doors])
        return Travelling(token, self.capture, self._profile, carried)

    def hear(self, event: Any) -> None:
        """An attempt says something, wherever it is made."""
        if type(event) is Measured:
            self._measured.append(event)
        self._say(event)


def arrive(
    travelled: Travelling, run_id: str, path: NodePath, attempt: int, say: Say, call: Callable[..., Any]
) -> Attended:
    """An attempt that has come to this process, which is its own as long as it lasts.

    Args:
        travelled: What came with it.
        run_id: Of the run.
        path: Of the step, or the item.
        attempt: Its number.
        say: Sends an event back.
        call: What it calls.
    """
    if travelled.capture:
        capture.stay()
    carried: dict[str, str] = {}
    entries: list[Callable[[Inside], AbstractContextManager[Any]]] = []
    for word, texts in travelled.doors:
        module, _, name = word.partition(":")
        entries.append(getattr(import_module(module), name))
        carried |= texts
    inside = Inside(run_id, path, attempt, travelled.token, say, carried)
    meter: Meter | None = None
    if travelled.profile:
        meter = ProcessMeter()
    return Attended(inside, call, entries, meter)


class _Plain(Inside):
    """An attempt that is its own wrapper: one thing is made for it, and no path unless it says something."""

    __slots__ = ("call", "find", "number")

    call: Callable[..., Any]
    find: Callable[[int], NodePath]
    number: int

    def _find(self) -> NodePath:
        return self.find(self.number)

    def called(self, /, **arguments: Any) -> Any:
        INSIDE.set(self)
        try:
            return self.call(**arguments)
        finally:
            if self.lines:
                capture.finish(self)
            INSIDE.set(None)

    async def awaited(self, /, **arguments: Any) -> Any:
        INSIDE.set(self)
        try:
            return await self.call(**arguments)
        finally:
            if self.lines:
                capture.finish(self)
            INSIDE.set(None)


class Attended:
    """One attempt, and what surrounds it.

    Args:
        inside: Who it is.
        call: What it calls.
        entries: Each gives a context manager to be entered around it.
        meter: Measures what it uses, if anybody wants to know.
    """

    __slots__ = ("_call", "_entered", "_entries", "_inside", "_meter")

    def __init__(
        self,
        inside: Inside,
        call: Callable[..., Any],
        entries: Sequence[Callable[[Inside], AbstractContextManager[Any]]],
        meter: Meter | None,
    ) -> None:
        self._inside = inside
        self._call = call
        self._entries = entries
        self._meter = meter
        self._entered: list[AbstractContextManager[Any]] = []

    def wrapped(self, *, is_async: bool, stream: bool) -> Callable[..., Any]:
        """What a runner calls.

        Args:
            is_async: It is awaited.
            stream: It gives an iterator, or an async iterator.
        """
        if is_async:
            return self._gives if stream else self._awaited
        return self._yields if stream else self._plain

    def _plain(self, /, **arguments: Any) -> Any:
        self._begin()
        try:
            self._go_on()
            return self._call(**arguments)
        finally:
            self._rest()
            self._end()

    async def _awaited(self, /, **arguments: Any) -> Any:
        self._begin()
        try:
            if self._meter is None:
                return await self._call(**arguments)
            return await _Stretches(self._call(**arguments), self._meter)
        finally:
            self._end()

    def _yields(self, /, **arguments: Any) -> Iterator[Any]:
        self._begin()
        try:
            self._go_on()
            try:
                yield from self._metered(self._call(**arguments))
            finally:
                self._rest()
        finally:
            self._end()

    def _metered(self, elements: Any) -> Iterator[Any]:
        """Elements; the time that their takers have is not the stream's."""
        made = iterator_of(elements)
        try:
            for element in made:
                self._rest()
                yield element
                self._go_on()
        finally:
            close(made)

    async def _gives(self, /, **arguments: Any) -> AsyncIterator[Any]:
        self._begin()
        try:
            made = async_iterator_of(self._call(**arguments))
            try:
                if self._meter is None:
                    async for element in made:
                        yield element
                    return
                while True:
                    try:
                        yield await _Stretches(anext(made), self._meter)
                    except StopAsyncIteration:
                        return
            finally:
                ending = getattr(made, "aclose", None)
                if ending is not None:
                    await ending()
        finally:
            self._end()

    def _begin(self) -> None:
        INSIDE.set(self._inside)
        for enter in self._entries:
            try:
                entered = enter(self._inside)
                entered.__enter__()
            except Exception:  # whoever looks on cannot fail a step
                continue
            self._entered.append(entered)

    def _end(self) -> None:
        while self._entered:
            try:
                self._entered.pop().__exit__(None, None, None)
            except Exception:  # as above
                pass
        inside = self._inside
        if inside.lines:
            capture.finish(inside)
        if self._meter is not None:
            inside.tell(Measured(inside.path, inside.token, *self._meter.used()))
        INSIDE.set(None)

    def _go_on(self) -> None:
        if self._meter is not None:
            self._meter.begin()

    def _rest(self) -> None:
        if self._meter is not None:
            self._meter.halt()


class _Stretches:
    """Awaits something, and measures only the stretches in which it runs, not those in which it waits."""

    __slots__ = ("_awaitable", "_meter")

    def __init__(self, awaitable: Any, meter: Meter) -> None:
        self._awaitable = awaitable
        self._meter = meter

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._awaitable.__await__()
        meter, send, throw = self._meter, getattr(steps, "send", None), getattr(steps, "throw", None)
        sent: Any = None
        thrown: BaseException | None = None
        while True:
            meter.begin()
            try:
                if thrown is not None:
                    if throw is None:
                        raise thrown
                    waits_for = throw(thrown)
                else:
                    waits_for = next(steps) if sent is None or send is None else send(sent)
            except StopIteration as end:
                return end.value
            finally:
                meter.halt()
            sent = thrown = None
            try:
                sent = yield waits_for
            except GeneratorExit:
                close = getattr(steps, "close", None)
                if close is not None:
                    close()
                raise
            except BaseException as error:
                thrown = error
