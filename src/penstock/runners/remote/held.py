"""Values that stay with the engine, and how they get into the arguments of other attempts."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from io import BytesIO
from pickle import PickleBuffer
from typing import Any

from penstock.core.returned import Away
from penstock.core.secrets import travelling
from penstock.runners.processes.frames import Parcel

from .bundle import Stayed


class Held(Away):
    """Stands for a value in the driver, where only steps that the same engine runs take it.

    Pickled, it leaves as many empty buffers as its value has parts. A worker puts the parts in their places,
    and what unpickles them gets the value.

    Attributes:
        kept: What holds the value at the engine.
        number: Of the attempt that has made it.
        stayed: Its size and parts.
    """

    __slots__ = ("kept", "number", "stayed")

    def __init__(self, kept: Any, number: int, stayed: Stayed) -> None:
        self.kept = kept
        self.number = number
        self.stayed = stayed

    def __repr__(self) -> str:
        return f"<a value of {self.stayed.size:,} bytes that has stayed with the engine>"

    def __reduce__(self) -> tuple[Any, ...]:
        marks: _Marks | None = getattr(_marks, "of", None)
        if marks is None:
            raise TypeError(f"{self!r} cannot be pickled for anything but that engine")
        places = [PickleBuffer(marks.mark(self, part)) for part in range(self.stayed.parts)]
        return taken, tuple(places)


def taken(body: Any, *buffers: Any) -> Any:
    """The value, in the child that takes it."""
    return pickle.loads(body, buffers=buffers)  # noqa: S301 - made by a child of our own


class _Marks:
    """The places in one pickle where values are to go."""

    def __init__(self) -> None:
        self.held: list[Held] = []
        self._places: dict[int, tuple[int, int]] = {}  # by identity: which value, which part
        self._alive: list[bytearray] = []

    def mark(self, held: Held, part: int) -> bytearray:
        """An empty buffer that stands for a part of a value."""
        if held not in self.held:
            self.held.append(held)
        empty = bytearray()
        self._alive.append(empty)
        self._places[id(empty)] = (self.held.index(held), part)
        return empty

    def place(self, raw: memoryview) -> tuple[int, int] | None:
        """What a buffer stands for; None if it is one."""
        return self._places.get(id(raw.obj))


_marks = threading.local()


class Packed:
    """Arguments as they travel.

    Attributes:
        parcel: They.
        held: Values that the engine has, and brings.
        loads: Where they go: each as (buffer, index of the value in `held`, part).
    """

    def __init__(self, parcel: Parcel, held: list[Held], loads: list[tuple[int, int, int]]) -> None:
        self.parcel = parcel
        self.held = held
        self.loads = loads


def pack(value: Any, pickler: Callable[..., pickle.Pickler], large: int) -> Packed:
    """Pickles arguments in which there may be values that are held; raises whatever pickling raises.

    Args:
        value: They.
        pickler: Makes what pickles them.
        large: Bytes from which a buffer travels beside the pickle.
    """
    marks, buffers, loads = _Marks(), list[memoryview](), list[tuple[int, int, int]]()

    def beside(buffer: PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not in one piece
            return True
        place = marks.place(raw)
        if place is not None:
            loads.append((len(buffers), *place))
        elif raw.nbytes < large:
            return True
        buffers.append(raw)
        return False

    out = BytesIO()
    before, _marks.of = getattr(_marks, "of", None), marks
    try:
        with travelling():
            pickler(out, 5, buffer_callback=beside).dump(value)
    finally:
        _marks.of = before
    body = out.getvalue()
    return Packed(Parcel([body], len(body), buffers), marks.held, loads)


def plain(body: bytes) -> Packed:
    """Arguments that are one pickle, and nothing else."""
    return Packed(Parcel([body], len(body), []), [], [])
