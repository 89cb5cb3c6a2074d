"""What the tests of the codec share: a place for large values, and what counts as the same value."""

import dataclasses
import enum
import hashlib
import json
import math
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from penstock.core.codec import Codec, types_of
from penstock.core.errors import ValueLost
from penstock.core.model import NOTHING, Abandoned, Failure, Ok, Skip, SkipCause
from penstock.core.record import Record


class Shelf:
    """Keeps large values in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, body: bytes) -> str:
        assert type(body) is bytes
        digest = hashlib.sha256(body).hexdigest()
        self.kept[digest] = body
        return digest

    def get(self, digest: str) -> bytes:
        try:
            return self.kept[digest]
        except KeyError:
            raise ValueLost(digest) from None


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "yes"


class May(enum.Flag):
    READ = 1
    WRITE = 2


class Bits(enum.IntFlag):
    A = 1
    B = 2


@dataclasses.dataclass
class Line:
    sku: Any
    amount: Any = 1
    total: Any = dataclasses.field(init=False, default=None)


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    lines: "tuple[Line, ...]"
    color: Color = Color.RED
    may: "May | None" = None


class Point(NamedTuple):
    x: Any
    y: Any = None


KNOWN = types_of(tuple[Order, Point, Level, Word, Bits, May])


def same(a: Any, b: Any) -> bool:
    """Equal, and of the same exact type at every depth; NaN is itself, and 0.0 is not -0.0."""
    if type(a) is not type(b):
        return False
    match a:
        case bool() | str() | bytes() | bytearray() | None | enum.Enum():
            return bool(a == b)
        case float():
            return (math.isnan(a) and math.isnan(b)) or (
                a == b and math.copysign(1, a) == math.copysign(1, b)
            )
        case complex():
            return same(a.real, b.real) and same(a.imag, b.imag)
        case Decimal():
            return str(a) == str(b)
        case defaultdict() if a.default_factory is not b.default_factory:
            return False
        case dict():
            return len(a) == len(b) and all(
                same(x, y)
                for left, right in zip(a.items(), b.items(), strict=True)
                for x, y in zip(left, right, strict=True)
            )
        case deque() if a.maxlen != b.maxlen:
            return False
        case list() | tuple() | deque():
            return len(a) == len(b) and all(map(same, a, b))
        case set() | frozenset():
            return len(a) == len(b) and all(any(same(x, y) for y in b) for x in a)
        case datetime() | time():
            return a.isoformat() == b.isoformat() and a.fold == b.fold and a.tzinfo == b.tzinfo
        case slice():
            return same((a.start, a.stop, a.step), (b.start, b.stop, b.step))
        case range():
            return (a.start, a.stop, a.step) == (b.start, b.stop, b.step)
        case Record():
            return all(same(getattr(a, name), getattr(b, name)) for name in type(a)._fields)
        case timezone():
            return repr(a) == repr(b)
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    return bool(a == b)


def codec(**options: Any) -> Codec:
    options = {"types": KNOWN, "values": Shelf(), **options}
    return Codec(**options)


def there_and_back(value: Any, one: Codec | None = None) -> Any:
    one = one or codec()
    text = one.encode(value)
    assert text.isascii()
    return one.decode(json.loads(text))


# ----------------------------------------------------------------------------------------------------------
# Everything that can be stored
# ----------------------------------------------------------------------------------------------------------

ZONES = st.sampled_from(
    [None, UTC, timezone(timedelta(hours=-3, minutes=-30), "odd"), ZoneInfo("Europe/Berlin")]
)
FIXED = st.sampled_from([None, UTC, timezone(timedelta(seconds=-1))])
TEXTS = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["", "$", "$tuple", "\ud83d\ude00", "\ude00\ud83d", "a\0b", "\u202e", '"$']
)
WHOLE = (
    st.integers()
    | st.integers(-(2**64), 2**64)
    | st.sampled_from([10**700, -(10**700), 1 << 1999, -(1 << 1999)])
)
KEYS = st.one_of(
    *(st.none(), st.booleans(), WHOLE, TEXTS, st.binary(max_size=8), st.floats(allow_nan=False)),
    *(st.dates(), st.uuids(), st.sampled_from(Color), st.sampled_from(Level), st.just(Point(1, "a"))),
)
HASHABLE = st.recursive(
    KEYS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4
)
SCALARS = st.one_of(
    *(KEYS, st.floats(), st.complex_numbers(), st.binary(max_size=40), st.binary(max_size=9).map(bytearray)),
    *(st.datetimes(timezones=ZONES, allow_imaginary=True), st.times(timezones=FIXED), st.timedeltas()),
    *(st.decimals(), st.fractions(), st.builds(range, st.integers(), st.integers(), st.integers(1))),
    *(st.sampled_from([May.READ, May.READ | May.WRITE, May(0), Bits.A, Bits.A | Bits.B, Bits(8), Word.YES]),),
    *(st.sampled_from([PurePosixPath("/a/\udcff"), PureWindowsPath("C:/x"), NOTHING, UTC]),),
    st.sampled_from(
        [Skip(SkipCause.CONDITION, "a"), Failure("error", "E", "t", abandoned=Abandoned("a", "b"))]
    ),
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    dicts = st.dictionaries(HASHABLE, inner, max_size=4)
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(TEXTS, inner, max_size=4),
        dicts,
        dicts.map(OrderedDict),
        dicts.map(lambda d: defaultdict(list, d)),
        st.dictionaries(HASHABLE, st.integers(), max_size=4).map(Counter),
        st.sets(HASHABLE, max_size=4),
        st.frozensets(HASHABLE, max_size=4),
        st.builds(deque, st.lists(inner, max_size=4), st.none() | st.integers(4, 9)),
        st.builds(Line, inner, inner),
        st.builds(Point, inner, inner),
        st.builds(Order, st.lists(st.builds(Line, inner), max_size=2).map(tuple), st.sampled_from(Color)),
        st.builds(slice, inner, inner),
        st.builds(Ok, inner),
    )


VALUES = st.recursive(SCALARS, _containers, max_leaves=12)
