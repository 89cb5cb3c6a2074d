"""A call under `pdb`: it stops in the first line of the user's function, not in what surrounds it."""

from __future__ import annotations

import asyncio
import pdb
from bdb import BdbQuit
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from functools import partial
from types import CodeType, FrameType, FunctionType, MethodType, TracebackType
from typing import TYPE_CHECKING, Any

from penstock.core.returned import Written

if TYPE_CHECKING:
    from penstock.core.reenact import Reenactment

_PACKAGE = __name__.partition(".")[0]
_AROUND = (_PACKAGE, "asyncio")


class Debugger(pdb.Pdb):
    """Stops where one of some functions begins; from there on it is `pdb` as it is known.

    Args:
        codes: The code of those functions.
    """

    def __init__(self, codes: set[CodeType]) -> None:
        super().__init__()
        self.prompt = "(pdb) "
        self.arrived = self.left = False
        self._codes = codes

    def stop_here(self, frame: FrameType) -> bool:
        """Whether to stop in this frame."""
        if self.arrived:
            return super().stop_here(frame)
        return frame.f_code in self._codes

    def set_quit(self) -> None:
        """The user leaves."""
        self.left = True
        super().set_quit()

    def user_call(self, frame: FrameType, argument_list: Any) -> None:
        """A function is called: where it begins is its first line, not the call of it."""
        if self.arrived:
            super().user_call(frame, argument_list)

    def user_line(self, frame: FrameType) -> None:
        """A line is about to be run."""
        self.arrived = True
        super().user_line(frame)


def codes_of(call: Callable[..., Any]) -> set[CodeType]:
    """The code of the user's functions that a call leads to, through whatever is wrapped around them."""
    found: set[CodeType] = set()
    todo: list[Any] = [call]
    seen: set[int] = set()
    for one in todo:  # grows while it is read
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, partial):
            todo += [one.func, *filter(callable, one.args), *filter(callable, one.keywords.values())]
        elif hasattr(type(one), "__penstock_code__"):
            todo += one.__penstock_code__()
        elif isinstance(one, MethodType):
            todo += [
                one.__func__,
                *([one.__self__] if hasattr(type(one.__self__), "__penstock_code__") else []),
            ]
        elif hasattr(one, "__wrapped__"):
            todo.append(one.__wrapped__)
        elif isinstance(one, FunctionType):
            if not _is_ours(one.__module__):
                found.add(one.__code__)
        elif isinstance(one, type) or not _is_ours(type(one).__module__):
            kind = one if isinstance(one, type) else type(one)
            for base in kind.__mro__:
                if not _is_ours(base.__module__):
                    todo += [value for value in vars(base).values() if isinstance(value, FunctionType)]
    return found


def _is_ours(module: str | None) -> bool:
    return (module or "").partition(".")[0] == _PACKAGE


def perform(made: Reenactment) -> Any:
    """Makes the attempt in this thread; gives what it gives.

    Raises:
        BaseException: Whatever it raises.
    """
    call, arguments, keeper = made.call, made.arguments, made.keeper
    if not made.node.is_async:
        try:
            value = call(**arguments)
            return list(value) if made.node.stream and isinstance(value, Iterable) else value
        finally:
            if keeper is not None:
                keeper.close()

    async def awaited() -> Any:
        try:
            value = call(**arguments)
            if made.node.stream and isinstance(value, AsyncIterable):
                return [element async for element in value]
            return await value
        finally:
            if keeper is not None:
                await keeper.aclose()

    return asyncio.run(awaited())


def debug(made: Reenactment) -> Any:
    """Makes the attempt under `pdb`, which stops at its first line.

    Raises:
        bdb.BdbQuit: The user has left.
        BaseException: Whatever it raises.
    """
    debugger = Debugger(codes_of(made.node.call))
    ended: Any = debugger.runcall(_ending, made)
    if debugger.left:  # whatever has become of the exception that says so
        raise BdbQuit
    value, error = ended
    if error is not None:
        raise error
    return value


def _ending(made: Reenactment) -> tuple[Any, BaseException | None]:
    """As `perform`; an error is given, so that no frame of a debugger is in its traceback."""
    try:
        return perform(made), None
    except BaseException as error:
        return None, error.with_traceback(users_part(error.__traceback__))


def users_part(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from the first frame on that is neither ours nor of the event loop."""
    part = trace
    while part is not None and part.tb_frame.f_globals.get("__name__", "").partition(".")[0] in _AROUND:
        part = part.tb_next
    return part if part is not None else trace


def post_mortem(trace: TracebackType | None) -> None:
    """Opens `pdb` where an exception was raised."""
    debugger = pdb.Pdb()
    debugger.prompt = "(pdb) "
    debugger.reset()
    debugger.interaction(None, trace)


def parts_of(value: Any) -> tuple[Any, Mapping[Any, Any]]:
    """What a call has given, and what it has written into what the steps share."""
    return (value.value, value.writes) if isinstance(value, Written) else (value, {})
