"""How forms are read: the other half of `codec_write`, which says what a form is.

Whatever the data, reading it gives a value or one of our errors; no name in it is looked up outside the
tables here, and no code of the application runs but what it has registered.
"""

from __future__ import annotations

import binascii
import os
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Protocol

from .codec_write import DEEPEST, FACTORIES, OURS, PATHS, ZONE, Form, Writer
from .errors import CannotDecode, StoreError
from .secrets import MISSING_SECRET

if TYPE_CHECKING:
    from .storage import Values


_DIGEST = re.compile(r"[0-9a-f]{64}")


Read = Callable[["Reader", dict[str, Any], int], Any]


class Socket(Protocol):
    """What writes and reads the types of another library. The words of its forms begin with its name."""

    def encode(self, writer: Writer, value: Any, depth: int) -> Form:
        """The form of a value.

        Raises:
            Refused: It would not come back as it was.
        """

    def decode(self, reader: Reader, data: dict[str, Any], depth: int) -> Any:
        """The value of a form; its word is the first key."""


class Reader:
    """Reads what a `Writer` has written.

    Args:
        words: Finds what reads a form that is not built in.
        values: Where large parts are.
        parse: Makes data of the JSON text of a large part.

    Attributes:
        cls: The class that has a name here; see `Codec`.
    """

    __slots__ = ("cls", "parse", "values", "words")

    def __init__(
        self,
        words: Callable[[str, dict[str, Any]], Read],
        cls: Callable[[str], type],
        *,
        values: Values | None,
        parse: Callable[[bytes], Any],
    ) -> None:
        self.words = words
        self.cls = cls
        self.values = values
        self.parse = parse

    def read(self, data: Any, depth: int = 1) -> Any:
        """The value of a form. Data without forms inside is the value itself, and not copied."""
        kind = type(data)
        if kind is list:
            return self.items(data, depth)
        if kind is dict:
            word = next(iter(data), "")
            return self._form(word, data, depth) if word[:1] == "$" else self.fields(data, depth)
        return data

    def items(self, data: Any, depth: int) -> list[Any]:
        """The elements of a list."""
        if type(data) is not list:
            raise ValueError("a list is missing")
        if depth > DEEPEST:
            raise too_deep()
        kinds = set(map(type, data))
        if list not in kinds and dict not in kinds:
            return data
        out = data
        for i, item in enumerate(data):
            kind = type(item)
            if kind is dict:
                word = next(iter(item), "")
                is_form = word[:1] == "$"
                value = self._form(word, item, depth + 1) if is_form else self.fields(item, depth + 1)
            elif kind is list:
                value = self.items(item, depth + 1)
            else:
                continue
            if value is not item:
                if out is data:
                    out = data.copy()
                out[i] = value
        return out

    def fields(self, data: Any, depth: int) -> dict[str, Any]:
        """What has a name: of a dict, or in a form."""
        if type(data) is not dict:
            raise ValueError("the fields are missing")
        if depth > DEEPEST:
            raise too_deep()
        out = data
        for key, item in data.items():
            kind = type(item)
            if kind is dict:
                word = next(iter(item), "")
                is_form = word[:1] == "$"
                value = self._form(word, item, depth + 1) if is_form else self.fields(item, depth + 1)
            elif kind is list:
                value = self.items(item, depth + 1)
            else:
                continue
            if value is not item:
                if out is data:
                    out = data.copy()
                out[key] = value
        return out

    def raw(self, data: Any) -> bytes:
        """Bytes, from where they are kept."""
        if type(data) is str:
            return binascii.a2b_base64(data, strict_mode=True)
        digest, size = data["$blob"], data["size"]
        if type(digest) is not str or not _DIGEST.fullmatch(digest):
            raise ValueError("a digest is missing")
        if self.values is None:
            raise CannotDecode("a large value lies in a store that is not open here")
        body = self.values.get(digest)
        if len(body) != size:
            raise CannotDecode(f"the large value {digest} has {len(body):,} bytes and should have {size:,}")
        return body

    def _form(self, word: str, data: dict[str, Any], depth: int) -> Any:
        try:
            read = FORMS.get(word) or self.words(word, data)
            return read(self, data, depth)
        except (CannotDecode, StoreError, RecursionError, MemoryError):
            raise
        except Exception as error:
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise CannotDecode(f"a stored {word[1:]} makes no sense ({said[:200]})") from error


def too_deep() -> CannotDecode:
    return CannotDecode(f"a stored value is more than {DEEPEST} levels deep, which none of ours is")


def _text(data: Any) -> str:
    if type(data) is not str:
        raise ValueError("a text is missing")
    return data


def _whole(data: Any) -> int:
    if type(data) is dict:
        data = int(_text(data["$int"]), 16)
    if type(data) is not int:
        raise ValueError("an int is missing")
    return data


def _wholes(data: Any, count: int) -> Iterator[int]:
    if type(data) is not list or len(data) != count:
        raise ValueError(f"{count} ints are missing")
    return map(_whole, data)


def _filled(made: Any, items: list[Any]) -> Any:
    """A dict of some kind with keys and values that come in turn, of which no two keys may be equal."""
    for key, value in zip(items[::2], items[1::2], strict=True):
        made[key] = value
    if len(made) * 2 != len(items):
        raise ValueError("two keys are equal")
    return made


def _read_dict(kind: Any, word: str, reader: Reader, data: dict[str, Any], depth: int) -> Any:
    return _filled(kind(), reader.items(data[word], depth))


def _read_set(kind: Any, word: str, reader: Reader, data: dict[str, Any], depth: int) -> Any:
    made = kind(reader.items(data[word], depth))
    if len(made) != len(data[word]):
        raise ValueError("two elements are equal")
    return made


def _read_defaultdict(reader: Reader, data: dict[str, Any], depth: int) -> Any:
    factory = None if data["factory"] is None else FACTORIES[data["factory"]]
    return _filled(defaultdict(factory), reader.items(data["$defaultdict"], depth))


def _read_deque(reader: Reader, data: dict[str, Any], depth: int) -> Any:
    return deque(reader.items(data["$deque"], depth), data["maxlen"])


def _read_float(reader: Reader, data: dict[str, Any], depth: int) -> float:
    return float(_text(data["$float"]))


def _read_complex(reader: Reader, data: dict[str, Any], depth: int) -> complex:
    real, imag = data["$complex"]
    return complex(float(_text(real)), float(_text(imag)))


def _is_zone(key: str) -> bool:
    """Whether there is a time zone of this name. `ZoneInfo` would look for a module of that name."""
    import zoneinfo

    if any(os.path.isfile(os.path.join(folder, key)) for folder in zoneinfo.TZPATH):
        return True
    return key in _zones()


@cache
def _zones() -> set[str]:
    import zoneinfo

    return zoneinfo.available_timezones()


def _read_zone(data: Any) -> Any:
    if data is None:
        return None
    if "$zone" in data:
        from zoneinfo import ZoneInfo

        key = _text(data["$zone"])
        if not ZONE.fullmatch(key):
            raise ValueError(f"{key[:40]!r} is no time zone")
        if not _is_zone(key):
            raise CannotDecode(
                f"the time zone {key!r} is not known to this machine; install its time zones, or: "
                "pip install tzdata"
            )
        return ZoneInfo(key)
    from datetime import timedelta, timezone

    days, seconds, micros, *name = data["$timezone"]
    offset = timedelta(*_wholes([days, seconds, micros], 3))
    return timezone(offset, *map(_text, name)) if name else timezone(offset)


def _read_time(reader: Reader, data: dict[str, Any], depth: int) -> Any:
    import datetime

    kind: Any = datetime.datetime if "$datetime" in data else datetime.time
    made = kind.fromisoformat(_text(data["$datetime" if "$datetime" in data else "$time"]))
    return made.replace(tzinfo=_read_zone(data.get("tz")), fold=_whole(data.get("fold", 0)))


def _read_date(reader: Reader, data: dict[str, Any], depth: int) -> Any:
    from datetime import date

    return date.fromisoformat(_text(data["$date"]))


def _read_timedelta(reader: Reader, data: dict[str, Any], depth: int) -> Any:
    from datetime import timedelta

    return timedelta(*_wholes(data["$timedelta"], 3))


def _read_decimal(reader: Reader, data: dict[str, Any], depth: int) -> Any:
    from decimal import Decimal

    return Decimal(_text(data["$decimal"]))


def _read_fraction(reader: Reader, data: dict[str, Any], depth: int) -> Any:
    from fractions import Fraction

    return Fraction(*_wholes(data["$fraction"], 2))


def _read_uuid(reader: Reader, data: dict[str, Any], depth: int) -> Any:
    from uuid import UUID

    return UUID(_text(data["$uuid"]))


def _read_path(reader: Reader, data: dict[str, Any], depth: int) -> Any:
    import pathlib

    if data["of"] not in PATHS:
        raise ValueError("no kind of path")
    return getattr(pathlib, data["of"])(_text(reader.read(data["$path"], depth)))


_OURS: dict[str, Any] = {cls.__name__: cls for cls in OURS}


def _read_ours(reader: Reader, data: dict[str, Any], depth: int) -> Any:
    cls = _OURS[data["$penstock"]]
    if "name" in data:
        return cls.__members__[data["name"]]
    return cls(**reader.fields(data["fields"], depth))


def _read_blob(reader: Reader, data: dict[str, Any], depth: int) -> Any:
    return reader.read(reader.parse(reader.raw(data)), depth)


FORMS: dict[str, Read] = {
    "$blob": _read_blob,
    "$int": lambda reader, data, depth: _whole(data),
    "$float": _read_float,
    "$str": lambda reader, data, depth: reader.raw(data["$str"]).decode("utf-8", "surrogatepass"),
    "$bytes": lambda reader, data, depth: reader.raw(data["$bytes"]),
    "$bytearray": lambda reader, data, depth: bytearray(reader.raw(data["$bytearray"])),
    "$tuple": lambda reader, data, depth: tuple(reader.items(data["$tuple"], depth)),
    "$set": partial(_read_set, set, "$set"),
    "$frozenset": partial(_read_set, frozenset, "$frozenset"),
    "$dict": partial(_read_dict, dict, "$dict"),
    "$counter": partial(_read_dict, Counter, "$counter"),
    "$ordereddict": partial(_read_dict, OrderedDict, "$ordereddict"),
    "$defaultdict": _read_defaultdict,
    "$deque": _read_deque,
    "$complex": _read_complex,
    "$range": lambda reader, data, depth: range(*_wholes(data["$range"], 3)),
    "$slice": lambda reader, data, depth: slice(*reader.items(data["$slice"], depth)),
    "$datetime": _read_time,
    "$time": _read_time,
    "$date": _read_date,
    "$timedelta": _read_timedelta,
    "$timezone": lambda reader, data, depth: _read_zone(data),
    "$zone": lambda reader, data, depth: _read_zone(data),
    "$decimal": _read_decimal,
    "$fraction": _read_fraction,
    "$uuid": _read_uuid,
    "$path": _read_path,
    "$secret": lambda reader, data, depth: MISSING_SECRET,
    "$penstock": _read_ours,
}
"""The words of forms that are built in. Those of classes are `Codec`'s, others their socket's."""
