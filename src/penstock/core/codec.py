"""Values as JSON text, and back: equal, and of the same exact type at every depth, or not at all.

What JSON has words for is written plainly; all else is a form, see `codec_write`. There is no fallback: a
value that no codec knows fails its step, and the error says where in the value it is. Nothing that is read
names code: classes are known beforehand, see `codec_types`. It must never import what a stored text names.
"""

from __future__ import annotations

import json
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from contextvars import copy_context
from json import encoder as _json
from typing import Any, Literal, Protocol, TypeVar

from .codec_classes import CLASS_WORDS, Maker, handler_of, maker_of, why_not
from .codec_preview import preview as preview
from .codec_preview import secrets_in as secrets_in
from .codec_read import Read, Reader
from .codec_read import Socket as Socket
from .codec_signer import Signer as Signer
from .codec_types import Registered, is_model, registered, registered_as, tag_of
from .codec_types import register as register
from .codec_types import types_of as types_of
from .codec_write import BUILTIN, DEEPEST, LARGE, LATER, LEAST, LONG, PAIR, WEIGHT, Handler, Refused, Writer
from .codec_write import too_large as _too_large
from .errors import CannotDecode, NotStorable, StoreError, nearest
from .storage import Values

T = TypeVar("T")

INLINE = 32 * 1024
MOST = 900 * 1024 * 1024  # SQLite takes no row of a billion bytes


class SocketFinder(Protocol):
    """Finds what writes and reads the types of another library."""

    def __call__(self, word: str) -> Socket | None:
        """The socket for a library, by the name of its top module, or by the first part of a form's word."""


def _unknown(value: Any) -> Any:
    raise TypeError


def _encoder() -> Callable[[Any], str]:
    """JSON of plain values: ASCII, without blanks; NaN is an error."""
    made = json.JSONEncoder(
        ensure_ascii=True, check_circular=False, allow_nan=False, separators=(",", ":"), default=_unknown
    )
    make: Any = getattr(_json, "c_make_encoder", None)
    if make is None:
        return made.encode
    # What `made.encode` would make anew for each value, which takes as long as a small value itself.
    write = make(None, _unknown, _json.encode_basestring_ascii, None, ":", ",", False, False, False)
    return lambda value: "".join(write(value, 0))


_dumps = _encoder()
_quote = _json.encode_basestring_ascii


class _How(dict[type, Handler]):
    """What writes the values of a type. Others than the built-in ones are found when the first one comes."""

    def __init__(self, find: Callable[[type], Handler | None]) -> None:
        super().__init__(BUILTIN)
        self._find = find

    def __missing__(self, cls: type) -> Handler:
        found = self._find(cls)
        if found is None:
            return _refuse  # not remembered: it may be registered later
        self[cls] = found
        return found


def _refuse(writer: Writer, value: Any, depth: int) -> Any:
    raise why_not(value)


def parse(text: str | bytes) -> Any:
    """The data of a JSON text.

    Raises:
        CannotDecode: It is none, or deeper than any of ours.
    """
    try:
        return _roomy(json.loads, text if isinstance(text, str) else str(text, "ascii"))
    except RecursionError:
        raise CannotDecode("a stored text is deeper than any of ours") from None
    except ValueError as error:
        raise CannotDecode(f"a stored text is no JSON: {error}") from None


def _roomy(call: Callable[..., T], *args: Any) -> T:
    """Calls something that needs more of the stack the deeper a value is. Where the caller has used up too
    much of it, a thread of its own has enough: none of our values is deep enough to fill a whole one."""
    try:
        return call(*args)
    except RecursionError:
        pass
    answer: list[T] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            answer.append(context.run(call, *args))
        except BaseException as error:
            raised.append(error)

    context = copy_context()
    thread = threading.Thread(target=work, name="penstock-codec")
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return answer[0]


class Codec:
    """Writes values and reads them.

    Any number of threads may use one; `blobs` is for one of them.

    Args:
        values: Where large values go; None to keep them in the text.
        types: Classes whose instances it may write and read, besides the registered ones; see `types_of`.
        inline: Characters of a text from which it goes to `values`.
        most: Bytes of a value, as an estimate while it is written.
        pickle: Signs the pickles of what nothing else takes; None refuses such values.
        sockets: Finds what writes the types of other libraries; None knows none.

    Attributes:
        blobs: Digests of what went to `values`, for the caller to take and clear.
    """

    def __init__(
        self,
        values: Values | None = None,
        types: Iterable[type] = (),
        *,
        inline: int = INLINE,
        most: int = MOST,
        pickle: Signer | None = None,
        sockets: SocketFinder | None = None,
    ) -> None:
        self.blobs: list[str] = []
        self._values = values
        self._inline = inline
        self._most = most
        self._heavy = min(most, LONG)  # bytes of a value from which it is worth a closer look
        self._signer = pickle
        self._sockets = sockets
        self._types: dict[str, type | None] = {}  # None: two classes have this name
        for cls in types:
            tag = tag_of(cls)
            self._types[tag] = cls if self._types.get(tag, cls) is cls else None
        self._how = _How(self._handler)
        self._makers: dict[str, Maker] = {}
        self._reader = Reader(self._word, self._class, values=values, parse=parse)
        if pickle is not None:
            warnings.warn(
                "values of unknown types are pickled: whoever has the key of the Signer and can write to the "
                "store can run code here",
                stacklevel=2,
            )

    def encode(self, value: Any, *, secrets: Literal["refused", "masked"] = "refused") -> str:
        """The JSON text of a value, in ASCII. The text of equal values of equal types is always the same, but
        for the order of dicts.

        Args:
            value: What is to be stored.
            secrets: ``masked`` leaves a mark in place of each `Secret`, for the inputs of a run: it reads as
                `MISSING_SECRET`, and `secrets_in` finds it.

        Raises:
            NotStorable: There is something in it that cannot be stored.
            StoreError: A large value could not be put away.
        """
        kind = type(value)
        if kind is int:
            if LEAST < value < LARGE:
                return int.__repr__(value)
        elif kind is str:
            if len(value) <= LONG:
                text = _quote(value)
                if "\\ud" not in text or not PAIR.search(value):
                    return text if len(text) <= self._inline else self._kept_apart(text)
        elif kind is float:
            if value - value == 0:
                return float.__repr__(value)
        elif kind is bool:
            return "true" if value else "false"
        elif value is None:
            return "null"
        try:
            text = _roomy(self._text, value, secrets == "masked")
        except Refused as refused:
            raise _not_storable(refused, value) from refused.__cause__
        except RecursionError:
            said = f"$ cannot be stored: it is too deep for the stack, of which {DEEPEST} levels may be used"
            raise NotStorable(said) from None
        except RuntimeError as error:  # a dict that grew meanwhile
            raise NotStorable(f"$ was changed while it was written down: {error}") from error
        except (StoreError, MemoryError):
            raise
        except Exception as error:  # of a class that answers oddly when it is asked about itself
            raise NotStorable(f"$ cannot be stored: {type(error).__name__}: {error}") from error
        return text if len(text) <= self._inline else self._kept_apart(text)

    def decode(self, data: Any) -> Any:
        """The value of a parsed text. Parts without forms are handed on as they are, not copied.

        Args:
            data: What `json.loads` made of it.

        Raises:
            CannotDecode: It holds something that is not known here; it is still stored.
            StoreError: A large value could not be read.
        """
        kind = type(data)
        if kind is not dict and kind is not list:
            return data
        try:
            return _roomy(self._reader.read, data)
        except RecursionError:
            raise CannotDecode("a stored value is too deep for the stack") from None

    def _text(self, value: Any, masked: bool) -> str:
        return self._plain(value) or self._written(value, masked)

    def _plain(self, value: Any) -> str:
        """The text of a value that JSON has words for; empty if it is not one."""
        kind = type(value)
        if kind is not dict and kind is not list:
            return ""
        weight = _weigh(value, 1, self._most)
        if weight < 0:
            return ""
        if weight > self._heavy:
            if weight > self._most:
                raise _too_large(self._most)
            if self._values is not None and _any(value, _is_long, False):
                return ""
        try:
            text = _dumps(value)
        except (ValueError, TypeError):  # NaN; or somebody has put something in meanwhile
            return ""
        if '"$' in text and _any(value, _is_word, True):
            return ""
        if "\\ud" in text and json.loads(text) != value:  # JSON makes one character of two surrogates
            return ""
        return text

    def _written(self, value: Any, masked: bool) -> str:
        writer = Writer(
            self._how,
            self._tag,
            values=self._values,
            blobs=self.blobs,
            inline=self._inline,
            most=self._most,
            secrets=masked,
        )
        return _dumps(writer.write(value))

    def _kept_apart(self, text: str) -> str:
        if len(text) > self._most:
            raise _not_storable(_too_large(self._most), None)
        if self._values is None:
            return text
        digest = self._values.put(text.encode("ascii"))
        self.blobs.append(digest)
        return f'{{"$blob":"{digest}","size":{len(text)}}}'

    # ------------------------------------------------------------------------------------------------------
    # Types that are not built in
    # ------------------------------------------------------------------------------------------------------

    def _handler(self, cls: type) -> Handler | None:
        module, write = LATER.get(cls.__name__, ("", None))
        if write is not None and getattr(sys.modules.get(module), cls.__name__, None) is cls:
            return write
        known = self._known(cls)
        if known is not None and (known.encode is not None or not is_model(cls)):
            return handler_of(known)
        socket = self._socket_of(cls)
        if socket is not None:
            return socket.encode
        signer = self._signer
        return None if signer is None or known is not None else _pickled(signer, cls)

    def _known(self, cls: type) -> Registered | None:
        """A class of the application's, and what it is called."""
        found = registered(cls)
        tag = tag_of(cls)
        if found is None and tag in self._types:
            there = self._types[tag]
            if there is None:
                raise Refused(
                    f"is of a class {tag}, and there are two of this name", "penstock.register(..., name=...)"
                )
            found = Registered(cls, tag) if there is cls else None
        return found

    def _tag(self, cls: type) -> str:
        """The name of a class of the application's, for sockets."""
        known = self._known(cls)
        if known is None:
            raise Refused(
                f"is of the class {cls.__module__}.{cls.__qualname__}, which this step does not name",
                f"annotate the step with it, or register it: penstock.register({cls.__name__})",
            )
        return known.name

    def _find(self, tag: str) -> Registered:
        """The class of a name in a store."""
        found = registered_as(tag)
        if found is None and tag in self._types:
            cls = self._types[tag]
            if cls is None:
                raise CannotDecode(
                    f"there are two classes {tag}: register one of them with a name= of its own"
                )
            found = Registered(cls, tag)
        if found is None:
            near = nearest(tag, self._types)
            raise CannotDecode(
                f"a stored value is of the class {tag!r}, which is not known here{near}; it is still stored: "
                f"annotate the step with its class, or register it: penstock.register(..., name={tag!r})",
                tag,
            )
        return found

    def _class(self, tag: str) -> type:
        return self._find(tag).cls

    def _socket_of(self, cls: type) -> Socket | None:
        if self._sockets is None:
            return None
        for base in cls.__mro__[:-1]:
            socket = self._sockets(base.__module__.partition(".")[0])
            if socket is not None:
                return socket
        return None

    def _word(self, word: str, data: dict[str, Any]) -> Read:
        """What reads a form that is not built in."""
        if word in CLASS_WORDS:
            return self._class_form(word, data[word])
        if word == "$pickle":
            return self._unpickle
        socket = None if self._sockets is None else self._sockets(word[1:].partition(".")[0])
        if socket is None:
            raise CannotDecode(f"a stored value is marked {word[:40]!r}, which this version does not know")
        return socket.decode

    def _class_form(self, word: str, tag: Any) -> Read:
        if type(tag) is not str:
            raise ValueError("the name of a class is missing")
        made = self._makers.get(tag)
        if made is None:
            made = self._makers[tag] = maker_of(self._find(tag))
        if word != made.word:
            raise CannotDecode(
                f"a stored {tag} is marked {word[1:]!r}, and the class of this name is written as "
                f"{made.word[1:]!r}; register it with the encode= and decode= that can read it"
            )
        return made.read

    def _unpickle(self, reader: Reader, data: dict[str, Any], depth: int) -> Any:
        if self._signer is None:
            raise CannotDecode("a stored value is a pickle, and none is read here: give the codec its Signer")
        return self._signer.load(reader.raw(data["$pickle"]), data["mac"])


def _weigh(value: Any, depth: int, most: int) -> int:
    """Bytes that a list or dict takes at least, or -1 if JSON has no words for all that is in it. Keys that
    could be taken for a word of ours are not seen here."""
    if depth > DEEPEST:
        return -1
    total = WEIGHT
    items = value
    if type(value) is dict:
        for key in value:
            if type(key) is not str:
                return -1
        items = value.values()
    elif len(value) > _FEW:
        kinds = set(map(type, value))
        if kinds == _INTS:
            return total + 8 * len(value) if min(value) > LEAST and max(value) < LARGE else -1
        if kinds == _TEXTS:
            return total + 8 * len(value) + sum(map(len, value))
        if kinds <= _SMALL:
            return total + 8 * len(value)
    for item in items:
        kind = type(item)
        if kind is str:
            total += len(item)
        elif kind is int:
            if not LEAST < item < LARGE:
                return -1
        elif kind is dict or kind is list:
            inner = _weigh(item, depth + 1, most)
            if inner < 0:
                return -1
            total += inner
            if total > most:
                break
        elif kind not in _SMALL:
            return -1
    return total


_FEW = 8  # elements: a loop over fewer is quicker than a set of their types
_INTS = {int}
_TEXTS = {str}
_SMALL = {float, bool, type(None)}


def _any(value: Any, wrong: Callable[[str], Any], keys: bool) -> bool:
    """Whether something is wrong with a text in a plain value, or with a key of it."""
    if type(value) is dict:
        if keys and any(map(wrong, value)):
            return True
        value = value.values()
    elif type(value) is str:
        return not keys and bool(wrong(value))
    elif type(value) is not list:
        return False
    return any(_any(item, wrong, keys) for item in value)


def _is_word(key: str) -> bool:
    return key[:1] == "$"


def _is_long(text: str) -> bool:
    return len(text) > LONG


def _pickled(signer: Signer, cls: type) -> Handler | None:
    if not cls.__flags__ & 1 << 9 and cls.__module__ == "builtins":
        return None  # functions, modules and the like: a pickle has their name only

    def write(writer: Writer, value: Any, depth: int) -> Any:
        import pickle

        try:
            body = pickle.dumps(value, protocol=5)
        except Exception as error:
            raise Refused(f"cannot be pickled: {type(error).__name__}: {error}") from error
        return {"$pickle": writer.raw(body), "mac": signer.sign(body)}

    return write


def _not_storable(refused: Refused, value: Any) -> NotStorable:
    """The error for people: where in the value, what is there, and what to do about it."""
    steps = refused.trail[::-1]
    seen: dict[int, int] = {}
    for level, (container, _) in enumerate(steps):
        first = seen.setdefault(container, level)
        if first < level:
            path = _path(steps[:level])
            said = f"{path} is {_path(steps[:first])} again: a value that holds itself cannot be stored"
            return NotStorable(said, path)
    path = _path(steps)
    said = f"it {refused.reason}; {refused.way_out}" if refused.reason else refused.way_out
    return NotStorable(f"{path} cannot be stored: {said.removesuffix('; ')}", path)


def _path(steps: list[tuple[int, str]]) -> str:
    names = [step for _, step in steps]
    if len(names) > 12:
        names = [*names[:8], f"…({len(names) - 10} levels)…", *names[-2:]]
    return "$" + "".join(names)
