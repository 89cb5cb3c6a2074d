"""How values that JSON has no word for are written: as forms.

A form is a JSON object whose first key begins with "$" and says what it is; the set of such words is closed.
A dict of the user's whose keys could be mistaken for one is written as a form itself, so no data is ever
taken for a word of ours. A form is at most two levels of JSON for one level of the value. `codec_read` reads
them.
"""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from json.encoder import JSONEncoder
from typing import TYPE_CHECKING, Any

from .model import NOTHING, Abandoned, Failure, NodePath, NodeStatus, Ok, RunStatus, Skip, SkipCause
from .record import Record
from .secrets import Secret

if TYPE_CHECKING:
    from .storage import Values

DEEPEST = 200  # levels of a value
LARGE = 1 << 1999  # ints from here on are written in hexadecimal: Python may refuse to read longer decimals
LEAST = -LARGE
LONG = 1 << 20  # characters from which a text is kept apart from the value that it stands in
WEIGHT = 64  # bytes that a list or dict counts for: fewer than it takes in memory

PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")  # two characters that JSON would join into one

Form = Any
Handler = Callable[["Writer", Any, int], Form]


class Refused(Exception):
    """Something cannot be written. It gathers where, on its way out.

    Args:
        reason: What it is: "is an open socket".
        way_out: What can be done.
    """

    def __init__(self, reason: str, way_out: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.way_out = way_out
        self.trail: list[tuple[int, str]] = []  # (id of a container, the step into it), from the inside out

    def within(self, container: Any, step: str) -> None:
        self.trail.append((id(container), step))


class Writer:
    """Writes one value that is more than plain JSON.

    Args:
        how: What writes the values of a type.
        values: Where large parts go; None to keep them in the text.
        blobs: Receives the digests of those.
        inline: Bytes of a part that stay in the text.
        most: Bytes of the whole.
        secrets: Whether a `Secret` leaves a mark instead of being refused.

    Attributes:
        tag: What a class of the application's is called; see `Codec`.
    """

    __slots__ = ("blobs", "how", "inline", "most", "secrets", "size", "tag", "values")

    def __init__(
        self,
        how: dict[type, Handler],
        tag: Callable[[type], str],
        *,
        values: Values | None,
        blobs: list[str],
        inline: int,
        most: int,
        secrets: bool,
    ) -> None:
        self.how = how
        self.tag = tag
        self.values = values
        self.blobs = blobs
        self.inline = inline
        self.most = most
        self.secrets = secrets
        self.size = 0

    def write(self, value: Any, depth: int = 1) -> Form:
        """The form of a value; `depth` counts the levels from the outermost."""
        return self.how[type(value)](self, value, depth)

    def enter(self, depth: int) -> None:
        """Begins a level.

        Raises:
            Refused: It is one too many.
        """
        if depth > DEEPEST:
            raise Refused("", f"a stored value is at most {DEEPEST} levels deep")
        self.grow(WEIGHT)

    def grow(self, size: int) -> None:
        self.size += size
        if self.size > self.most:
            raise too_large(self.most)

    def items(self, value: Iterable[Any], depth: int, step: str = "") -> list[Form]:
        """The forms of all elements, in order."""
        self.enter(depth)
        how, depth = self.how, depth + 1
        out: list[Form] = []
        try:
            for item in value:
                out.append(how[type(item)](self, item, depth))
        except Refused as refused:
            refused.within(value, step or f"[{len(out)}]")
            raise
        return out

    def fields(self, owner: Any, fields: dict[str, Any], depth: int, step: str = ".{}") -> dict[str, Form]:
        """The forms of what has a name."""
        self.enter(depth)
        out = {}
        for name, item in fields.items():
            try:
                out[name] = self.write(item, depth + 1)
            except Refused as refused:
                refused.within(owner, step.format(name))
                raise
        return out

    def room(self, size: int) -> None:
        """Asks whether there is room for so many bytes, before they are made.

        Raises:
            Refused: There is not.
        """
        if size > self.most:
            raise too_large(self.most)

    def raw(self, body: bytes | bytearray | memoryview) -> Form:
        """Bytes: as text, or kept apart if they are many."""
        self.room(len(body))
        if self.values is None or len(body) * 4 <= self.inline * 3:
            self.grow(len(body))
            return b64encode(body).decode("ascii")
        digest = self.values.put(body if type(body) is bytes else bytes(body))
        self.blobs.append(digest)
        return {"$blob": digest, "size": len(body)}


def too_large(most: int) -> Refused:
    return Refused(
        "",
        f"a stored value is at most {most:,} bytes; write it to a file and return its path, or mark the step "
        "volatile=True",
    )


_canonical = JSONEncoder(
    ensure_ascii=True, check_circular=False, allow_nan=False, separators=(",", ":"), sort_keys=True
).encode


def _same(writer: Writer, value: Any, depth: int) -> Form:
    return value


def _int(writer: Writer, value: int, depth: int) -> Form:
    return value if LEAST < value < LARGE else {"$int": format(value, "x")}


def _float(writer: Writer, value: float, depth: int) -> Form:
    return value if value - value == 0 else {"$float": repr(value)}


def _str(writer: Writer, value: str, depth: int) -> Form:
    if len(value) > LONG and writer.values is not None:
        writer.room(len(value))
        return {"$str": writer.raw(value.encode("utf-8", "surrogatepass"))}
    writer.grow(len(value))
    if not value.isascii() and PAIR.search(value):
        return {"$str": writer.raw(value.encode("utf-8", "surrogatepass"))}
    return value


def _list(writer: Writer, value: list[Any], depth: int) -> Form:
    return writer.items(value, depth)


def _tuple(writer: Writer, value: tuple[Any, ...], depth: int) -> Form:
    return {"$tuple": writer.items(value, depth)}


def _set(writer: Writer, value: frozenset[Any], depth: int) -> list[Form]:
    kinds = set(map(type, value))
    if kinds == {str} or kinds == {int}:
        return writer.items(sorted(value), depth, "{}")
    return sorted(writer.items(value, depth, "{}"), key=_canonical)


def _plain_key(key: Any) -> bool:
    return type(key) is str and key[:1] != "$" and len(key) <= LONG and not PAIR.search(key)


def _key_step(key: Any) -> str:
    if type(key) is str and key.isidentifier():
        return f".{key}"
    kind = type(key)
    shown = repr(key) if kind in (str, int, float, bool, bytes, type(None)) else f"<{kind.__name__}>"
    return f"[{shown if len(shown) <= 40 else shown[:39] + '…'}]"


def _pairs(writer: Writer, value: dict[Any, Any], depth: int) -> list[Form]:
    """Keys and values in turn."""
    writer.enter(depth)
    how, inner = writer.how, depth + 1
    out = []
    for key, item in value.items():
        try:
            out.append(how[type(key)](writer, key, inner))
        except Refused as refused:
            refused.within(value, f"{{key {_key_step(key)[1:-1] or '?'}}}")
            raise
        try:
            out.append(how[type(item)](writer, item, inner))
        except Refused as refused:
            refused.within(value, _key_step(key))
            raise
    return out


def _dict(writer: Writer, value: dict[Any, Any], depth: int) -> Form:
    if not all(map(_plain_key, value)):
        return {"$dict": _pairs(writer, value, depth)}
    writer.enter(depth)
    how, inner = writer.how, depth + 1
    out = {}
    for key, item in value.items():
        writer.grow(len(key))
        try:
            out[key] = how[type(item)](writer, item, inner)
        except Refused as refused:
            refused.within(value, _key_step(key))
            raise
    return out


def _no_more(value: Any) -> None:
    """Refuses attributes that somebody has set on an instance."""
    more = getattr(value, "__dict__", None)
    if more:
        raise Refused(f"has an attribute {next(iter(more))!r}, which would be lost")


def _of_dict(word: str) -> Handler:
    def write(writer: Writer, value: dict[Any, Any], depth: int) -> Form:
        _no_more(value)
        return {word: _pairs(writer, value, depth)}

    return write


FACTORIES: dict[str, Any] = {
    kind.__name__: kind for kind in (list, dict, set, tuple, int, float, str, bool, bytes)
}


def _defaultdict(writer: Writer, value: defaultdict[Any, Any], depth: int) -> Form:
    factory = value.default_factory
    name = None if factory is None else getattr(factory, "__name__", "")
    if name is not None and FACTORIES.get(name) is not factory:
        raise Refused(
            "is a defaultdict whose default_factory is a function",
            f"a stored one is one of {', '.join(FACTORIES)}; or return a plain dict: dict(...)",
        )
    _no_more(value)
    return {"$defaultdict": _pairs(writer, value, depth), "factory": name}


def _deque(writer: Writer, value: deque[Any], depth: int) -> Form:
    return {"$deque": writer.items(value, depth), "maxlen": value.maxlen}


def _secret(writer: Writer, value: Secret[Any], depth: int) -> Form:
    if writer.secrets:
        return {"$secret": True}
    raise Refused(
        "is a Secret, which is never stored",
        "a step that needs it takes it as an input; do not return it, or mark the step volatile=True",
    )


def _record(writer: Writer, value: Record, depth: int) -> Form:
    cls = type(value)
    fields = {name: getattr(value, name) for name in cls._fields}
    return {"$penstock": cls.__name__, "fields": writer.fields(value, fields, depth)}


def _our_tuple(writer: Writer, value: Any, depth: int) -> Form:
    return {"$penstock": type(value).__name__, "fields": writer.fields(value, value._asdict(), depth)}


def _our_enum(writer: Writer, value: Any, depth: int) -> Form:
    return {"$penstock": type(value).__name__, "name": value.name}


def _range(writer: Writer, value: range, depth: int) -> Form:
    return {"$range": [_int(writer, part, depth) for part in (value.start, value.stop, value.step)]}


def _slice(writer: Writer, value: slice, depth: int) -> Form:
    return {"$slice": writer.items((value.start, value.stop, value.step), depth)}


def _complex(writer: Writer, value: complex, depth: int) -> Form:
    return {"$complex": [repr(value.real), repr(value.imag)]}


def _zone(tz: Any) -> Form:
    """A time zone; it must lead back to an equal one."""
    if tz is None:
        return None
    cls = type(tz)
    if cls is getattr(sys.modules.get("datetime"), "timezone", None):
        offset, *name = tz.__getinitargs__()
        return {"$timezone": [offset.days, offset.seconds, offset.microseconds, *name]}
    if cls is getattr(sys.modules.get("zoneinfo"), "ZoneInfo", None):
        if tz.key is not None and tz.__reduce__()[1][1] and ZONE.fullmatch(tz.key):
            return {"$zone": tz.key}
        raise Refused("has a time zone that was not made by ZoneInfo('…')", "make it so")
    raise Refused(
        f"has a time zone of type {cls.__module__}.{cls.__qualname__}, which no codec knows",
        "use zoneinfo.ZoneInfo or datetime.timezone",
    )


ZONE = re.compile(r"[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*")


def _time(word: str) -> Handler:
    def write(writer: Writer, value: Any, depth: int) -> Form:
        form = {word: value.replace(tzinfo=None, fold=0).isoformat()}
        if value.tzinfo is not None:
            form["tz"] = _zone(value.tzinfo)
        if value.fold:
            form["fold"] = 1
        return form

    return write


def _of(word: str, part: Callable[[Any], Form]) -> Handler:
    return lambda writer, value, depth: {word: part(value)}


def _fraction(writer: Writer, value: Any, depth: int) -> Form:
    return {"$fraction": [_int(writer, value.numerator, 0), _int(writer, value.denominator, 0)]}


def _path(writer: Writer, value: Any, depth: int) -> Form:
    return {"$path": _str(writer, str(value), depth), "of": type(value).__name__}


BUILTIN: dict[type, Handler] = {
    type(None): _same,
    bool: _same,
    int: _int,
    float: _float,
    str: _str,
    list: _list,
    dict: _dict,
    tuple: _tuple,
    set: lambda writer, value, depth: {"$set": _set(writer, value, depth)},
    frozenset: lambda writer, value, depth: {"$frozenset": _set(writer, value, depth)},
    bytes: lambda writer, value, depth: {"$bytes": writer.raw(value)},
    bytearray: lambda writer, value, depth: {"$bytearray": writer.raw(value)},
    complex: _complex,
    range: _range,
    slice: _slice,
    deque: _deque,
    defaultdict: _defaultdict,
    Counter: _of_dict("$counter"),
    OrderedDict: _of_dict("$ordereddict"),
    Secret: _secret,
    **dict.fromkeys((Ok, Failure, Skip), _record),
    **dict.fromkeys((Abandoned, NodePath), _our_tuple),
    **dict.fromkeys((NodeStatus, RunStatus, SkipCause), _our_enum),
    type(NOTHING): _our_enum,
}

PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
OURS = (Ok, Failure, Skip, Abandoned, NodePath, NodeStatus, RunStatus, SkipCause, type(NOTHING))

LATER: dict[str, tuple[str, Handler]] = {
    "datetime": ("datetime", _time("$datetime")),
    "time": ("datetime", _time("$time")),
    "date": ("datetime", _of("$date", str)),
    "timedelta": ("datetime", _of("$timedelta", lambda d: [d.days, d.seconds, d.microseconds])),
    "timezone": ("datetime", lambda writer, value, depth: _zone(value)),
    "ZoneInfo": ("zoneinfo", lambda writer, value, depth: _zone(value)),
    "Decimal": ("decimal", _of("$decimal", str)),
    "Fraction": ("fractions", _fraction),
    "UUID": ("uuid", _of("$uuid", str)),
    **dict.fromkeys(PATHS, ("pathlib", _path)),
}
"""By name of a class: its module, and what writes it. Nothing is imported: who has a value has the module."""
