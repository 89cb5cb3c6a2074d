"""The bag that holds what is open: one opens it while others wait, and all is closed in the reverse order.

See `resources.py` for whose bag it is. What opens and closes a resource runs in a copy of the context of the
attempt that came first: variables that it sets are seen by itself alone, when it closes too. An async one
lives in a task of its own, because much of what is entered in one task (a task group, a cancel scope) cannot
be left in another.

A plain one that was opened in the thread that closes the bag is closed there, because much (a connection,
what belongs to an event loop) wants to be left where it was entered; an interrupt may be raised in it. One
that was opened in another thread, which has ended meanwhile, is closed in a thread of its own and left behind
if that takes too long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import Context as Variables
from contextvars import copy_context
from copy import copy
from queue import Empty, SimpleQueue
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any

from .apart import Apart
from .failures import said_by
from .model import Resource
from .visible import a_kind

if TYPE_CHECKING:
    import asyncio

Pairs = Sequence[tuple[str, Resource]]
"""Pairs (parameter, resource)."""

CLOSE_WITHIN = 30.0
"""Seconds that a resource may take to close."""

_HURRIED_WITHIN = 1.0
"""Seconds that a resource has to end after it was cancelled, and to close after the run was hurried."""

_PIECE = 0.5
"""Seconds: a signal that comes in the instant before a thread goes to sleep is not seen before it wakes."""


class Bag:
    """What was opened for one run, or by one worker.

    Attributes:
        opened: What is open, in the order in which it was.
        closed: Nothing more may be opened.
        busy: One is being closed in the thread that closes the bag: an interrupt may be raised in it.
    """

    def __init__(self) -> None:
        self.opened: list[Slot] = []
        self.closed = False
        self.busy = False
        self._hurried = False
        self._wake: Callable[[], object] = bool  # tells who waits for a closing that it is to be left behind
        self._slots: dict[Any, Slot] = {}
        self._lock = threading.Lock()
        self._warnings: list[str] = []

    def find(self, resource: Resource, inputs: Mapping[str, Any], run: str) -> Slot:
        """The place of a resource. Where it was opened with other inputs it is closed, to be opened again.

        A worker has one of each at a time: what an earlier run has left in it would otherwise pile up.

        Args:
            resource: Which.
            inputs: All that it and what it is made of take, by name.
            run: Tells whose inputs they are; empty where it is not known.
        """
        key = _key(resource)
        slot = self._slots.get(key)
        if slot is not None and not slot.suits(inputs, run):
            self._close_with_users(slot)
            slot = None
        if slot is None:
            parts = [(param, self.find(part, inputs, run)) for param, part in resource.resources]
            slot = self._slots.setdefault(key, Slot(resource, inputs, run, parts))
        return slot

    def open(self, slot: Slot) -> Any:
        """The value of a resource, which is opened first if need be.

        Several may come at a time: one opens it, and the others wait. If it fails, it fails for all of them,
        and who comes later tries again.
        """
        while True:
            opening, mine = self._claim(slot)
            if opening is None:
                return slot.value
            if mine:
                try:
                    arguments = {
                        param: part.value if part.ready else self.open(part) for param, part in slot.parts
                    }
                    variables = copy_context()
                    done = variables.run(_enter, slot.resource, {**slot.arguments(), **arguments})
                except BaseException as error:
                    slot.failed(opening, error)
                    raise
                self._keep(slot, opening, done, variables)
                return slot.value
            opening.wait()
            if opening.error is not None:
                raise _again(opening.error)

    async def aopen(self, slot: Slot) -> Any:
        """The same for an async step: who waits lets the event loop go on."""
        while True:
            opening, mine = self._claim(slot)
            if opening is None:
                return slot.value
            if mine:
                variables = copy_context()
                done: Opened | None = None
                try:
                    arguments = slot.arguments()
                    for param, part in slot.parts:
                        arguments[param] = part.value if part.ready else await self.aopen(part)
                    if not slot.resource.is_async:
                        done = variables.run(_enter, slot.resource, arguments)
                except BaseException as error:
                    slot.failed(opening, error)
                    raise
                if done is not None:
                    self._keep(slot, opening, done, variables)
                    return slot.value
                opening.begin(self._host(slot, opening, arguments))
            await opening.awaited(slot)
            if opening.error is not None:
                raise _again(opening.error)

    def _claim(self, slot: Slot) -> tuple[Opening | None, bool]:
        """Who opens it, and whether that is the caller; nobody if it is open."""
        with slot.lock:
            if slot.ready:
                return None, False
            if self.closed:
                raise RuntimeError(f"resource {slot.resource.id!r} is asked for after the end of the run")
            if slot.opening is not None:
                return slot.opening, False
            slot.opening = Opening()
            return slot.opening, True

    def _keep(self, slot: Slot, opening: Opening, done: Opened, variables: Variables) -> None:
        """Notes that a resource is open; one that comes too late is closed at once."""
        slot.variables, slot.thread = variables, get_ident()
        if self._opened(slot, opening, done):
            opening.finish()
            return
        variables.run(_leave, slot.resource, done)
        opening.finish()
        raise RuntimeError(f"resource {slot.resource.id!r} was opened after the end of the run")

    def _opened(self, slot: Slot, opening: Opening, done: Opened) -> bool:
        with self._lock, slot.lock:
            if self.closed or slot.opening is not opening:
                if slot.opening is opening:
                    slot.opening = None
                return False
            slot.done, slot.value = done, done[0]
            slot.opening, slot.ready = None, True
            self.opened.append(slot)
            return True

    async def _host(self, slot: Slot, opening: Opening, arguments: dict[str, Any]) -> list[str]:
        """The life of an async resource, in a task of its own; gives what went wrong at its end."""
        import asyncio

        try:
            done = await _aenter(slot.resource, arguments)
        except BaseException as error:
            slot.failed(opening, error)
            return []
        slot.end = asyncio.get_running_loop().create_future()
        slot.host = asyncio.current_task()
        kept = self._opened(slot, opening, done)
        opening.finish()
        if kept:
            try:
                await slot.end
            except asyncio.CancelledError:  # the loop is being cleared: there is no better moment to come
                pass
        return await _aleave(slot.resource, done)

    def hurry(self) -> None:
        """What is being closed is left behind at once, what comes after it soon. From any thread, and from a
        signal handler."""
        self._hurried = True
        self._wake()

    def close(self, within: float) -> list[str]:
        """See `Keeper.close`."""
        for slot in self._last_first():
            self._warnings += slot.in_use()
            if slot.host is not None:
                self._warnings.append(f"resource {slot.resource.id!r} is not closed: its event loop is gone")
            elif slot.thread == get_ident():
                self._leave_here(slot)
            else:
                bell: SimpleQueue[bool] = SimpleQueue()
                self._wake = lambda bell=bell: bell.put(False)  # type: ignore[misc]  # mypy cannot infer it
                limit = self._limit(within)
                call = slot.leave_apart(lambda bell=bell: bell.put(True))  # type: ignore[misc]
                self._warnings += _left(slot.resource, call, _heard(bell, limit), limit)
        self._wake = bool
        return self._said()

    async def aclose(self, within: float) -> list[str]:
        """See `Keeper.aclose`."""
        import asyncio

        cancelled: asyncio.CancelledError | None = None
        for slot in self._last_first():
            self._warnings += slot.in_use()
            try:
                if slot.host is not None:
                    await self._end(slot, slot.host, within)
                elif slot.thread == get_ident():
                    self._leave_here(slot)
                else:
                    await self._leave_apart(slot, within)
            except (
                asyncio.CancelledError
            ) as error:  # whoever waits is in a hurry; what is open is not forgotten
                cancelled, self._hurried = error, True
        for slot in self._slots.values():
            tasks = [*slot.given_up, slot.opening.task if slot.opening is not None else None]
            for task in tasks:
                if task is None or task.done():
                    continue
                if not await _cancelled(task):
                    self._warnings.append(_deaf(slot.resource))
                elif not task.cancelled():
                    self._warnings += task.result()
        self._wake = bool
        if cancelled is not None:
            raise cancelled
        return self._said()

    def _leave_here(self, slot: Slot) -> None:
        try:
            self.busy = True
            self._warnings += slot.leave()
        except KeyboardInterrupt:
            self._warnings.append(_interrupted(slot.resource))
        finally:
            self.busy = False

    async def _leave_apart(self, slot: Slot, within: float) -> None:
        """Closes a plain one in a thread of its own, while the event loop goes on."""
        import asyncio

        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        hurried = self._listen()
        call = slot.leave_apart(lambda: _tell(loop, ended))
        try:
            came, limit = await self._wait(ended, hurried, within)
        except asyncio.CancelledError:
            self._warnings.append(_interrupted(slot.resource))
            raise
        self._warnings += _left(slot.resource, call, came, limit)

    async def _end(self, slot: Slot, host: asyncio.Task[list[str]], within: float) -> None:
        """Ends an async resource; one that takes too long is cancelled, and soon left alone."""
        import asyncio

        hurried = self._listen()
        if slot.end is not None:
            _set(slot.end)
        try:
            came, limit = await self._wait(host, hurried, within)
        except asyncio.CancelledError:
            host.cancel()
            raise
        if came:
            self._warnings += [] if host.cancelled() else host.result()
            return
        late = f"resource {slot.resource.id!r} did not close within {limit:g} s"
        self._warnings.append(late if came is None else _interrupted(slot.resource))
        if not await _cancelled(host):
            self._warnings.append(_deaf(slot.resource))

    def _listen(self) -> asyncio.Future[None]:
        """A future that `hurry` sets; to be had before that begins which is hurried."""
        import asyncio

        loop = asyncio.get_running_loop()
        hurried: asyncio.Future[None] = loop.create_future()
        self._wake = lambda: _tell(loop, hurried)
        return hurried

    async def _wait(
        self, ended: asyncio.Future[Any], hurried: asyncio.Future[None], within: float
    ) -> tuple[bool | None, float]:
        """Whether something has ended (no: it was hurried; None: it took too long), and how long it had."""
        import asyncio

        limit = self._limit(within)
        end = monotonic() + limit
        while not (ended.done() or hurried.done()):
            piece = min(_PIECE, end - monotonic())
            if piece <= 0:
                return None, limit
            await asyncio.wait((ended, hurried), timeout=piece, return_when=asyncio.FIRST_COMPLETED)
        return ended.done(), limit

    def _limit(self, within: float) -> float:
        return min(within, _HURRIED_WITHIN) if self._hurried else within

    def _last_first(self) -> Iterator[Slot]:
        with self._lock:
            self.closed = True
        while self.opened:
            yield self.opened.pop()

    def _said(self) -> list[str]:
        for slot in self._slots.values():
            if slot.opening is not None:
                self._warnings.append(
                    f"resource {slot.resource.id!r} is still being opened, by an attempt that was abandoned; "
                    "it is closed as soon as it is open"
                )
        said, self._warnings = self._warnings, []
        return said

    def _close_with_users(self, slot: Slot) -> None:
        """Closes a worker's resource, and before it what is made of it."""
        key = _key(slot.resource)
        for other in [*reversed(self.opened)]:
            if key in _keys(other.resource):
                self.opened.remove(other)
                self._warnings += other.in_use() + other.leave()
        for known in [known for known, other in self._slots.items() if key in _keys(other.resource)]:
            del self._slots[known]


Opened = tuple[Any, Any, bool]
"""The value, what gave it, and whether that is an iterator (otherwise it is a context manager)."""


class Slot:
    """The place of one resource in a bag.

    Attributes:
        resource: Which it is.
        parts: The places of those that it is made of, by parameter.
        ready: It is open, and `value` what it gave.
        opening: The try to open it that is going on.
        done: What closes it.
        variables: What it was opened in.
        thread: The thread that has opened it.
        given_up: Tasks that were to open it, and were cancelled when nobody waited for them any more.
        host: The task in which it lives, if it is async; `end` tells it to close.
        holders: Who has it now, and how texts call them.
    """

    __slots__ = (
        "_inputs", "_run", "done", "end", "given_up", "holders", "host", "lock", "opening", "parts", "ready",
        "resource", "thread", "value", "variables",
    )  # fmt: skip

    def __init__(
        self, resource: Resource, inputs: Mapping[str, Any], run: str, parts: list[tuple[str, Slot]]
    ) -> None:
        self.resource = resource
        self.parts = parts
        self.lock = threading.Lock()
        self.ready = False
        self.value: Any = None
        self.opening: Opening | None = None
        self.done: Opened = (None, None, False)
        self.variables = Variables()
        self.thread = 0
        self.given_up: list[asyncio.Task[list[str]]] = []
        self.host: asyncio.Task[list[str]] | None = None
        self.end: asyncio.Future[None] | None = None
        self.holders: dict[object, str] = {}
        self._inputs = inputs
        self._run = run

    def arguments(self) -> dict[str, Any]:
        """What it takes of the run's inputs, by parameter."""
        return {param: self._inputs[name] for param, name in self.resource.inputs if name in self._inputs}

    def suits(self, inputs: Mapping[str, Any], run: str) -> bool:
        """Whether it is, or would be, opened with these inputs."""
        if run and run == self._run:
            return True
        names = inputs_of((("", self.resource),))
        if not all(_same(self._inputs.get(name), inputs.get(name)) for name in names):
            return False
        self._run = run
        return True

    def failed(self, opening: Opening, error: BaseException) -> None:
        """Notes that it could not be opened. What ends only the one who tried is no failure for others."""
        with self.lock:
            if self.opening is opening:
                self.opening = None
        opening.error = error if isinstance(error, Exception) else None
        opening.finish()

    def in_use(self) -> list[str]:
        """Says who still has it, as it is closed."""
        return [
            f"resource {self.resource.id!r} is closed while {holder} still has it: the attempt was abandoned"
            for holder in [*self.holders.values()]
        ]

    def leave(self) -> list[str]:
        """Closes it, in this thread; gives what went wrong."""
        self.ready = False
        return self.variables.run(_leave, self.resource, self.done)

    def leave_apart(self, ended: Callable[[], object]) -> Apart:
        """Begins to close it in a thread of its own; `ended` is called there at the end."""
        call = Apart(self.leave, f"penstock-close-{self.resource.id}")
        try:
            call.start(ended)
        except RuntimeError as error:  # no more threads can be had
            call.value = [_not_closed(self.resource, error)]
            ended()
        return call


class Opening:
    """One try to open a resource, and those who wait for its end.

    Attributes:
        error: Why it failed; None if it has not.
        task: Where it is made, if it is async.
    """

    __slots__ = ("_done", "_lock", "_waiting", "error", "task")

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.task: asyncio.Task[list[str]] | None = None
        self._lock = threading.Lock()
        self._done = False
        self._waiting: list[Callable[[], object]] = []

    def begin(self, host: Any) -> None:
        """Starts the task of an async resource, in a copy of the caller's context."""
        import asyncio

        self.task = asyncio.get_running_loop().create_task(host, name="penstock-resource")

    def finish(self) -> None:
        """Tells all who wait."""
        with self._lock:
            self._done = True
            waiting, self._waiting = self._waiting, []
        for tell in waiting:
            tell()

    def wait(self) -> None:
        """Waits for the end in this thread."""
        bell = threading.Lock()
        bell.acquire()
        if self._ask(bell.release):
            bell.acquire()

    async def awaited(self, slot: Slot) -> None:
        """Waits for the end on the event loop. When the last one who waits is cancelled, so is the try."""
        import asyncio

        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def tell() -> None:
            _tell(loop, future)

        if not self._ask(tell):
            return
        try:
            await future
        except asyncio.CancelledError:
            with self._lock:
                if tell in self._waiting:
                    self._waiting.remove(tell)
                alone = not self._waiting and not self._done
            if alone and self.task is not None:
                with slot.lock:
                    if slot.opening is self:
                        slot.opening = None
                    slot.given_up.append(self.task)
                self.task.cancel()
            raise

    def _ask(self, tell: Callable[[], object]) -> bool:
        """Whether there is anything to wait for; `tell` is then called at the end."""
        with self._lock:
            if not self._done:
                self._waiting.append(tell)
            return not self._done


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _tell(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
    """Sets a future from any thread."""
    try:
        loop.call_soon_threadsafe(_set, future)
    except RuntimeError:  # the loop was closed: nobody waits any more
        pass


def inputs_of(resources: Pairs) -> set[str]:
    """Names of the run's inputs that resources take, and those that they are made of."""
    found: set[str] = set()
    for _, resource in resources:
        found.update(name for _, name in resource.inputs)
        found |= inputs_of(resource.resources)
    return found


def _key(resource: Resource) -> Any:
    """What tells one resource from all others; the functions live as long as it does."""
    parts = tuple([(param, _key(part)) for param, part in resource.resources])
    return resource.id, id(resource.call), resource.inputs, parts, resource.scope


def _keys(resource: Resource) -> list[Any]:
    """Of a resource and all that it is made of."""
    found = [_key(resource)]
    for _, part in resource.resources:
        found += _keys(part)
    return found


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # arrays compare to arrays, and anything may raise
        return False


def _again(error: Exception) -> Exception:
    """The same error for another attempt: a traceback that two threads add to would be nobody's."""
    try:
        other = copy(error)
    except Exception:
        return error
    return other.with_traceback(error.__traceback__) if type(other) is type(error) else error


# --- opening and closing ----------------------------------------------------------------------------------


def _enter(resource: Resource, arguments: dict[str, Any]) -> Opened:
    try:
        made = resource.call(**arguments)
        cls = type(made)
        if hasattr(cls, "__enter__") and hasattr(cls, "__exit__"):
            return cls.__enter__(made), made, False
        if hasattr(cls, "__next__"):
            value = next(made, made)
            if value is made:
                raise RuntimeError(f"resource {resource.id!r} has yielded nothing")
            return value, made, True
        raise _neither(resource, made, "")
    except BaseException as error:
        _note(resource, error)
        raise


async def _aenter(resource: Resource, arguments: dict[str, Any]) -> Opened:
    try:
        made = resource.call(**arguments)
        cls = type(made)
        if hasattr(cls, "__aenter__") and hasattr(cls, "__aexit__"):
            return await cls.__aenter__(made), made, False
        if hasattr(cls, "__anext__"):
            try:
                return await cls.__anext__(made), made, True
            except StopAsyncIteration:
                raise RuntimeError(f"resource {resource.id!r} has yielded nothing") from None
        raise _neither(resource, made, "async ")
    except BaseException as error:
        _note(resource, error)
        raise


def _neither(resource: Resource, made: Any, word: str) -> TypeError:
    if hasattr(made, "__await__"):
        getattr(made, "close", bool)()  # or Python warns, later and elsewhere, that it was never awaited
    return TypeError(
        f"resource {resource.id!r} returned {a_kind(made)}; "
        f"yield the value, once, or return {'an ' if word else 'a '}{word}context manager"
    )


def _note(resource: Resource, error: BaseException) -> None:
    """Says in the traceback what this was for: it is the failure of a step that may not even name it."""
    note = f"(while the resource {resource.id!r} was opened)"
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def _leave(resource: Resource, done: Opened) -> list[str]:
    _, made, iterates = done
    try:
        if not iterates:
            type(made).__exit__(made, None, None, None)
        elif next(made, made) is not made:
            getattr(made, "close", bool)()
            return [_twice(resource)]
    except KeyboardInterrupt:
        return [_interrupted(resource)]
    except BaseException as error:
        return [_not_closed(resource, error)]
    return []


async def _aleave(resource: Resource, done: Opened) -> list[str]:
    _, made, iterates = done
    try:
        if not iterates:
            await type(made).__aexit__(made, None, None, None)
            return []
        try:
            await type(made).__anext__(made)
        except StopAsyncIteration:
            return []
        if hasattr(made, "aclose"):
            await made.aclose()
        return [_twice(resource)]
    except BaseException as error:
        return [_not_closed(resource, error)]


async def _cancelled(task: asyncio.Task[list[str]]) -> bool:
    """Cancels the life of an async resource and waits a little; whether it has ended."""
    import asyncio

    task.cancel()
    if (await asyncio.wait((task,), timeout=_HURRIED_WITHIN))[0]:
        return True
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is told of
    return False


def _heard(bell: SimpleQueue[bool], within: float) -> bool | None:
    """What the bell says; None if it says nothing."""
    end = monotonic() + within
    while (piece := min(_PIECE, end - monotonic())) > 0:
        try:
            return bell.get(timeout=piece)
        except Empty:
            pass
    return None


def _left(resource: Resource, call: Apart, came: bool | None, limit: float) -> list[str]:
    """What there is to say of a closing in a thread of its own, once nobody waits for it any more."""
    if came:
        said: list[str] = call.value
        return said
    if came is None:
        return [f"resource {resource.id!r} did not close within {limit:g} s and is left behind"]
    return [_interrupted(resource)]


def _deaf(resource: Resource) -> str:
    return f"resource {resource.id!r} goes on although it was cancelled, and is left behind"


def _interrupted(resource: Resource) -> str:
    return f"resource {resource.id!r} was interrupted while it closed, and is left behind"


def _twice(resource: Resource) -> str:
    return f"resource {resource.id!r} has yielded twice; what follows its one yield closes it"


def _not_closed(resource: Resource, error: BaseException) -> str:
    return f"resource {resource.id!r} failed to close: {said_by(error)}"
