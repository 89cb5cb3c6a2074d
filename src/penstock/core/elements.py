"""What the engine sees to between a value and the map that is made of it: lists, keys, and streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any

from .commands import ASKED, CANCELLED, ENDED, FAILED, KEYED, OK, YIELDED, Reply
from .errors import InputError
from .failures import failure_of
from .machine import Machine
from .machine.state import RUNNING, SUCCEEDED
from .model import Failure
from .plan import STREAM
from .usercode import UserCode

_INTERRUPTED: Reply = (ASKED, "interrupted")

GoOn = Callable[[int, int, int], None]
"""Lets a stream (node, token) produce up to a position."""


class Elements:
    """The elements of one run's maps, on their way to the machine.

    Args:
        machine: Where the run stands; read only.
        go_on: See `GoOn`.
        stop: Ends a stream (node, token) that gave what no map can be made of.
        user: Calls the key functions.
    """

    __slots__ = ("_go_on", "_keys", "_machine", "_over", "_plan", "_running", "_seen", "_stop", "_user")

    def __init__(
        self, machine: Machine, go_on: GoOn, stop: Callable[[int, int], None], user: UserCode
    ) -> None:
        self._machine = machine
        self._plan = machine.state.plan
        self._go_on = go_on
        self._stop = stop
        self._user = user
        self._over: dict[int, int] = {}  # tokens of keyed streams, by number, that end at their last key
        self._running: dict[int, int] = {}  # tokens of the streams that run, by number
        self._seen: dict[int, tuple[int, int]] = {}  # by number of a keyed stream: token, elements so far
        self._keys: dict[tuple[int, int], dict[Any, int]] = {}  # by scope and source: places of its keys

    def replayed(self) -> list[Reply]:
        """Remembers the names that streams have given already, in a run that goes on; gives the keys of maps
        that are to open again.

        Raises:
            InputError: Their elements cannot be told apart any more.
        """
        state, out = self._machine.state, list[Reply]()
        for (scope, row), fan in state.opened.items():
            if scope in self._plan.keys and fan.keys is not None:
                self._keys[scope, self._source(scope, row)] = dict(fan.places)
        for scope, row in state.maps:
            source = self._source(scope, row)
            if (
                scope not in self._plan.keys
                or (scope, row) in state.opened
                or state.status[source] != SUCCEEDED
            ):
                continue
            places: dict[Any, int] = {}
            failure = self._add(places, source, scope, state.streams[source])
            if failure is not None:
                raise InputError(str(failure))
            out.append((KEYED, source, scope, list(places)))
        return out

    def _source(self, scope: int, row: int) -> int:
        """The number of what a map is made of."""
        level = self._plan.levels[self._plan.levels[scope].parent]
        source = self._plan.graph.nodes[self._plan.graph.scopes[scope].source].id
        return row + level.position[self._plan.index[source]]

    def started(self, i: int, token: int) -> None:
        """A stream was handed to its runner."""
        self._running[i] = token

    def checked(self, batch: Iterable[Reply]) -> list[Reply]:
        """The replies, with the keys of what they bring, and with failures in place of values that no map
        can be made of."""
        out: list[Reply] = []
        opens, site, flags = self._plan.opens, self._machine.state.site, self._plan.flags
        for reply in batch:
            if reply[0] == ENDED:
                at = site[reply[1]]
                if at in opens and reply[3] == OK and not flags[at] & STREAM:
                    self._check_list(reply, out)
                    continue
            elif reply[0] == YIELDED and self._plan.keys and site[reply[1]] in opens:
                self._name_element(reply, out)
                continue
            out.append(reply)
        return out

    def given(self, values: Mapping[str, Any]) -> list[Reply]:
        """The keys of values, by node, that were given in place of an attempt.

        Raises:
            InputError: One of them has elements that cannot be told apart.
        """
        out: list[Reply] = []
        for id, value in values.items():
            i = self._plan.index[id]
            for scope in self._plan.opens.get(i, ()):
                if scope in self._plan.keys:
                    places: dict[Any, int] = {}
                    failure = self._add(places, i, scope, value)
                    if failure is not None:
                        raise InputError(f"override: {failure}")
                    out.append((KEYED, i, scope, list(places)))
        return out

    def grant(self) -> None:
        """Lets the streams that run go on as far as their consumers have come."""
        state = self._machine.state
        for i, token in list(self._running.items()):
            if state.status[i] != RUNNING or state.token[i] != token:
                del self._running[i]
                continue
            upto = self._machine.allowance(i)
            if upto is not None:
                self._go_on(i, token, upto)

    @property
    def pouring(self) -> bool:
        """Whether any stream runs."""
        return bool(self._running)

    def _check_list(self, reply: Reply, out: list[Reply]) -> None:
        i, value = reply[1], reply[4]
        scopes = self._plan.opens[self._machine.state.site[i]]
        if not isinstance(value, (list, tuple)):
            out.append(_failed(reply, self._no_list(i, value)))
            return
        for scope in scopes:
            if scope not in self._plan.keys:
                continue
            places: dict[Any, int] = {}
            try:
                failure = self._add(places, i, scope, value)
            except KeyboardInterrupt:
                out += (_INTERRUPTED, (*reply[:3], CANCELLED, None, None, *reply[6:]))
                return
            if failure is not None:
                out.append(_failed(reply, failure))
                return
            out.append((KEYED, i, scope, list(places)))
        out.append(reply)

    def _name_element(self, reply: Reply, out: list[Reply]) -> None:
        _, i, token, element, _ = reply
        state = self._machine.state
        if state.token[i] != token or state.status[i] != RUNNING or self._over.get(i) == token:
            return
        of, seen = self._seen.get(i, (token, 0))
        seen = seen if of == token else 0
        self._seen[i] = (token, seen + 1)
        names: list[Any] = []
        for scope in self._plan.opens[state.site[i]]:
            if scope not in self._plan.keys:
                names.append(None)
                continue
            places = self._keys.setdefault((scope, i), {})
            if seen < len(places):
                names.append(None)  # a stream that starts over: it has its name
                continue
            failure, how = None, FAILED
            try:
                failure = self._add(places, i, scope, (element,))
            except KeyboardInterrupt:
                out.append(_INTERRUPTED)
                how = CANCELLED
            if failure is not None or how == CANCELLED:
                now = state.begun.at if state.begun is not None else 0.0
                self._over[i] = token
                self._stop(i, token)
                out.append((ENDED, i, token, how, failure, None, now, now))
                return
            names.append(next(reversed(places)))
        out.append((YIELDED, i, token, element, tuple(names)))

    def _add(self, places: dict[Any, int], i: int, scope: int, elements: Iterable[Any]) -> Failure | None:
        """Names more elements of a map; the failure says why one cannot have the name it got.

        Raises:
            KeyboardInterrupt: The user has interrupted the key function.
        """
        failure: Failure | None = self._user.run(self._make_keys, places, i, scope, elements)
        return failure

    def _make_keys(
        self, places: dict[Any, int], i: int, scope: int, elements: Iterable[Any]
    ) -> Failure | None:
        call, part = self._plan.keys[scope]
        head = self._plan.graph.nodes[self._plan.graph.scopes[scope].head].id
        for element in elements:
            try:
                key = call(element if part is None else element[part])
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                return failure_of(error).but(note=f"in the key of {head!r}", retryable=False)
            if isinstance(key, bool) or not isinstance(key, (str, int)):
                text = f"the key of {head!r} returned {type(key).__name__}; it must return a str or an int"
                return Failure("error", "TypeError", text, retryable=False)
            twin = _twin(key)
            if key in places or twin in places:
                path = self._machine.state.path(i)
                first = places[key if key in places else twin]
                same = f"the key {key!r} in {head!r}"
                if key not in places:
                    same = f"the keys {twin!r} and {key!r} in {head!r}, which read alike"
                text = (
                    f"two elements of {path}, number {first} and {len(places)}, have {same}; "
                    "a key must tell them apart"
                )
                return Failure("error", "DuplicateKey", text, retryable=False)
            places[key] = len(places)
        return None

    def _no_list(self, i: int, value: Any) -> Failure:
        state, graph = self._machine.state, self._plan.graph
        heads = [graph.nodes[graph.scopes[scope].head].id for scope in self._plan.opens[state.site[i]]]
        way = "return a list or a tuple"
        if isinstance(value, (Iterator, AsyncIterator)):
            id = self._plan.nodes[self._plan.node[state.site[i]]].id
            way = f"annotate {id} to return Iterator[...], and its elements are passed on one by one"
        what = f"the value of {state.path(i)}"
        if (name := str(state.path(i))) in graph.inputs:
            what, way = f"the input {name!r}", "give it a list or a tuple"
        text = f"{heads[0]!r} maps over {what}, which is of type {type(value).__name__}; {way}"
        return Failure("error", "TypeError", text, retryable=False)


def _twin(key: str | int) -> str | int | None:
    """The key of the other type that reads the same in a path, if there can be one."""
    try:
        if isinstance(key, int):
            return str(key)
        return int(key) if key.removeprefix("-").isdecimal() and str(int(key)) == key else None
    except ValueError:
        return None  # longer than Python writes numbers


def _failed(reply: Reply, failure: Failure) -> Reply:
    return (*reply[:3], FAILED, failure, None, *reply[6:])
