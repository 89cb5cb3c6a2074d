"""What a journal's row says: facts as JSON texts, and the way back to facts and events.

An entry is a JSON array: a word for the kind of event, the path, then the fields. A row is an array of them.
It holds paths and keys, never numbers of the machine (see `events`), and is ASCII whatever the values are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from . import events
from .machine.facts import BEGUN, FAILED, SOURCES, STARTED, SUCCEEDED, YIELDED, Fact
from .machine.state import State
from .machine.words import from_event, to_event
from .model import NOTHING, Abandoned, Failure, NodePath, RunStatus, SkipCause

Entry = list[Any]
"""One entry, as `json.loads` gives it."""

Decode = Callable[[Any], Any]
"""Makes a value of its stored form."""

SHED: Final[dict[str, bool]] = {"$volatile": True}
"""Stands in place of a value that cannot leave its process."""

text_of: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode
"""JSON of plain data; quicker than `json.dumps` with arguments, which makes an encoder every time."""

_SHED_TEXT: Final = text_of(SHED)
_quoted: Final = json.encoder.encode_basestring_ascii


class Scribe:
    """Writes the facts of one run.

    Args:
        state: The run's state; read only.
        encode: Makes the text of a value.
        volatile: Ids of the nodes whose values are not kept.

    Attributes:
        values: Texts of values that were encoded when they were heard of, by number; taken when written.
        elements: The same of a stream's elements, in order.
        writes: The same of what attempts wrote.
    """

    __slots__ = ("_encode", "_paths", "_state", "_volatile", "elements", "values", "writes")

    def __init__(self, state: State, encode: Callable[[Any], str], volatile: frozenset[str]) -> None:
        self._state = state
        self._encode = encode
        self._volatile = volatile
        self._paths: dict[int, str] = {}
        self.values: dict[int, str] = {}
        self.elements: dict[int, list[str]] = {}
        self.writes: dict[int, str] = {}

    def path(self, i: int) -> str:
        """The path of a number, as JSON."""
        if i >= self._state.total:  # one of an item is used twice: to keep it would cost more than it saves
            return path_text(self._state.path(i))
        text = self._paths.get(i)
        if text is None:
            text = self._paths[i] = _quoted(self._state.plan.nodes[i].id)
        return text

    def entries(self, facts: Sequence[Fact]) -> list[str]:
        """The texts of facts, in order; what need not be kept is left out."""
        out: list[str] = []
        paths, path, values = self._paths, self.path, self.values
        for fact in facts:
            kind = fact[0]
            if kind == STARTED:
                _, i, token, now = fact
                out.append(f'["start",{paths.get(i) or path(i)},{token},{now!r}]')
            elif kind == SUCCEEDED:
                _, i, token, source, value, writes, began, ended = fact
                where = paths.get(i) or path(i)
                text = values.pop(i, None)
                if text is None:
                    text = _SHED_TEXT if self._is_volatile(i) else self._encode(value)
                more = ""
                if writes or source:
                    wrote = self.writes.pop(i, None) or self._encode(dict(writes or {}))
                    more = f",{wrote},{text_of(SOURCES[source])}"
                out.append(f'["ok",{where},{token},{text},{began!r},{ended!r}{more}]')
            elif kind != BEGUN:  # the beginning is the first entry
                out.append(self._rare(fact))
        return out

    def _is_volatile(self, i: int) -> bool:
        return bool(self._volatile) and self._state.path(i).node in self._volatile

    def _rare(self, fact: Fact) -> str:
        kind = fact[0]
        if kind == YIELDED:
            _, i, token, position, element, keys = fact
            texts = self.elements.get(i)
            text = texts.pop(0) if texts else self._encode(element)
            return f'["yield",{self.path(i)},{token},{position},{text},{text_of(keys)}]'
        entry = text_of(entry_of(to_event(self._state, fact)))
        if kind == FAILED and (parting := getattr(self._state.shared, "parting", None)) is not None:
            writes = parting(self._state.path(fact[1]).node, fact[3])
            return f"{entry[:-1]},{self._encode(writes)}]" if writes else entry
        return entry


def path_text(path: NodePath) -> str:
    """A path as JSON: the id alone, or an array of the id and the keys of the items."""
    return text_of(path_entry(path))


def path_entry(path: NodePath) -> Any:
    return [path.node, *path.items] if path.items else path.node


def path_of(entry: Any) -> NodePath:
    """The path that an entry names."""
    if isinstance(entry, str):
        return NodePath(entry)
    return NodePath(entry[0], tuple(entry[1:]))


def started_text(
    event: events.RunStarted,
    inputs: Mapping[str, str],
    code: Mapping[str, str],
    outline: Mapping[str, Any],
) -> str:
    """The first entry of a journal.

    Args:
        event: The beginning of the run.
        inputs: Texts of its inputs.
        code: Fingerprints of its nodes, by id.
        outline: What else is to be known of the graph; see `outline.data_of`.
    """
    ids: dict[str, list[str]] = {}
    for id, digest in code.items():
        ids.setdefault(digest, []).append(id)
    fields = {**event._asdict(), "tags": dict(event.tags), "code": ids}
    if outline:
        fields["outline"] = outline
    del fields["inputs"]
    values = ",".join(f"{text_of(name)}:{text}" for name, text in inputs.items())
    return f'["run",{text_of(fields)[:-1]},"inputs":{{{values}}}}}]'


def started_of(fields: Mapping[str, Any], decode: Decode) -> events.RunStarted:
    """The beginning of a run, from the fields of its first entry."""
    given = {name: fields[name] for name in events.RunStarted._fields}
    given["shape"] = tuple((id, tuple(needs)) for id, needs in given["shape"])
    given["inputs"] = {name: decode(data) for name, data in given["inputs"].items()}
    for name in ("targets", "override"):
        given[name] = None if given[name] is None else tuple(given[name])
    return events.RunStarted(**given)


def entry_of(event: events.Event) -> Entry:
    """The entry of an event that holds no value of the user's own."""
    word, fields = _WORDS[type(event)]
    return [word, *[_plain(getattr(event, field)) for field in fields]]


def _plain(field: Any) -> Any:
    """A field as JSON can hold it."""
    if isinstance(field, NodePath):
        return path_entry(field)
    if isinstance(field, tuple) and field and isinstance(field[0], NodePath):
        return [path_entry(path) for path in field]
    if isinstance(field, Failure):
        return failure_entry(field)
    if isinstance(field, (SkipCause, RunStatus)):
        return field.value
    if isinstance(field, Mapping):
        return dict(field)
    return field


def failure_entry(failure: Failure) -> dict[str, Any]:
    """A failure, without the fields that say nothing."""
    return {
        name: value
        for name in Failure._fields
        if (value := getattr(failure, name)) != Failure._defaults.get(name, _NONE)
    }


_NONE = object()


def failure_from(entry: Mapping[str, Any]) -> Failure:
    """The failure of an entry."""
    fields = {name: entry[name] for name in Failure._fields if name in entry}
    if fields.get("abandoned") is not None:
        fields["abandoned"] = Abandoned(*fields["abandoned"])
    return Failure(**fields)


_WORDS: Final[dict[type[Any], tuple[str, tuple[str, ...]]]] = {
    events.NodeExpanded: ("open", ("path", "size", "keys")),
    events.NodeStarted: ("start", ("path", "token", "at")),
    events.NodeDecided: ("decide", ("path", "what", "value")),
    events.NodeRetrying: ("retry", ("path", "token", "failure", "due", "began", "ended")),
    events.NodeFailed: ("fail", ("path", "token", "failure", "began", "ended")),
    events.NodeSkipped: ("skip", ("path", "cause", "because")),
    events.RestSkipped: ("rest", ("path", "nodes", "first", "size", "cause", "because")),
    events.NodeCancelled: ("cancelled", ("path", "token", "abandoned", "began", "ended")),
    events.NodeWaiting: ("wait", ("path", "token", "at", "due", "prompt", "takes")),
    events.NodeInterrupted: ("cut", ("path", "token")),
    events.NodePaused: ("pause", ("path", "token")),
    events.NodeResumed: ("unpause", ("path", "token", "at")),
    events.NodeFolded: ("slice", ("path", "token")),  # a fold starts over: how far it was is no matter
    events.AttemptReleased: ("free", ("path", "token")),
    events.CancelAsked: ("cancel", ("reason", "at")),
    events.DeadlineReached: ("deadline", ("at",)),
    events.RunFinished: ("end", ("status", "at")),
    events.RunResumed: ("again", ("at", "away", "drop", "restart", "code", "crashed")),
}
_KINDS: Final = {word: kind for kind, (word, _) in _WORDS.items()}
_LEAST: Final = {
    "run": 2, "ok": 6, "yield": 6, **{word: 1 + len(names) for word, names in _WORDS.values()}, "end": 4
}  # fmt: skip
_OF_NODES: Final = _LEAST.keys() - {"run", "cancel", "deadline", "end", "again"}


def is_entry(found: Any) -> bool:
    """Whether something that was read has the shape of an entry."""
    if not isinstance(found, list) or not found or found[0].__class__ is not str:
        return False
    if len(found) < _LEAST.get(found[0], len(found) + 1):
        return False
    path = found[1]
    return found[0] not in _OF_NODES or isinstance(path[0] if path.__class__ is list and path else path, str)


def event_of(entry: Entry, decode: Decode) -> events.Event:
    """The event of an entry.

    Raises:
        CannotDecode: Its value is of a type that is not known here.
        KeyError, TypeError, ValueError: It is no entry.
    """
    word = entry[0]
    if word == "run":
        return started_of(entry[1], decode)
    if word == "ok":
        return events.NodeSucceeded(path_of(entry[1]), *_success(entry, decode))
    if word == "yield":
        _, path, token, position, element, keys = entry
        return events.NodeYielded(
            path_of(path), token, position, decode(element), None if keys is None else tuple(keys)
        )
    kind = _KINDS[word]
    names = _WORDS[kind][1]
    fields = dict(zip(names, entry[1 : len(names) + 1], strict=True))
    for name in ("path", "because"):
        if fields.get(name) is not None:
            fields[name] = path_of(fields[name])
    if "failure" in fields:
        fields["failure"] = failure_from(fields["failure"])
    if "cause" in fields:
        fields["cause"] = SkipCause(fields["cause"])
    if kind is events.RunFinished:
        fields["status"] = RunStatus(fields["status"])
    if fields.get("abandoned") is not None:
        fields["abandoned"] = Abandoned(*fields["abandoned"])
    for name in ("keys", "nodes"):
        if fields.get(name) is not None:
            fields[name] = tuple(fields[name])
    for name in ("drop", "restart"):
        if name in fields:
            fields[name] = tuple(map(path_of, fields[name]))
    if kind is events.NodeFolded:
        fields["upto"] = 0
    event: events.Event = kind(**fields)
    return event


def _success(entry: Entry, decode: Decode) -> tuple[Any, ...]:
    """Token, value, writes, source, began and ended of a success."""
    _, _, token, value, began, ended, *more = entry
    writes, source = (decode(more[0]), more[1]) if more else (None, SOURCES[0])
    value = NOTHING if value.__class__ is dict and value == SHED else decode(value)
    return token, value, writes or None, source, began, ended


def fact_of(state: State, entry: Entry, decode: Decode) -> Fact:
    """The fact of an entry, in the numbers of this machine.

    Raises:
        KeyError: It names a node, or an item, that this machine has not.
        CannotDecode: See `event_of`.
    """
    word, path = entry[:2]
    if word == "start":
        i = state.plan.index[path] if path.__class__ is str else state.find(path_of(path))
        return (STARTED, i, entry[2], entry[3])
    if word == "ok":
        i = state.plan.index[path] if path.__class__ is str else state.find(path_of(path))
        token, value, writes, source, began, ended = _success(entry, decode)
        return (SUCCEEDED, i, token, SOURCES.index(source), value, writes, began, ended)
    return from_event(state, event_of(entry, decode))


def last_time(entries: Sequence[Entry]) -> float | None:
    """The latest moment that the last entries speak of."""
    for entry in reversed(entries):
        times = [entry[at] for at in _TIMES.get(entry[0], ())]
        if times:
            return float(max(times))
    return None


_TIMES: Final = {
    "start": (3,), "ok": (4, 5), "retry": (5, 6), "fail": (4, 5), "cancelled": (4, 5), "wait": (3,),
    "unpause": (3,), "cancel": (2,), "deadline": (1,), "end": (2,), "again": (1,),
}  # fmt: skip
