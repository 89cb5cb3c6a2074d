"""What the journal of a run comes to, and what of it still counts when the run goes on.

A resumed run is a run like any other: the entries that count are replayed into a fresh machine. What does not
count any more, the record of the resumption says itself, so that the next one finds the same.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from .entries import SHED, Decode, Entry, is_entry, path_of
from .errors import RunNotFound, StoreDamaged
from .graph import Graph
from .machine.facts import CAUSES
from .machine.judge import tolerated, verdict
from .machine.state import CANCELLED, FAILED, GOING, SKIPPED, SUCCEEDED, State
from .model import NodePath, SkipCause
from .plan import GROUP, STREAM
from .rules import SKIP_UPSTREAM
from .storage import RunEntry, Store

_ENDINGS: Final = frozenset(("end", "cancel", "deadline", "rest"))
"""Entries that say how a run as a whole ended: they count no more when it goes on."""

OF_THE_RUN: Final = frozenset(("end", "cancel", "deadline", "again"))
"""Entries that name no node."""

_STANDING: Final = frozenset(("decide", "yield", "open"))
"""Entries of a node that count even where it begins again."""

ENDED: Final = frozenset(("succeeded", "failed", "cancelled"))
"""Statuses of a run that is over."""


class Story(NamedTuple):
    """The journal of a run, as far as it counts.

    Attributes:
        entry: The run in the catalog, as it was found.
        started: The fields of its first entry.
        entries: All others, in order.
        rows: How many rows there are.
        ended: How it ended; empty if it has not.
        blobs: Whether some of its values are out of line.
    """

    entry: RunEntry
    started: Mapping[str, Any]
    entries: list[Entry]
    rows: int
    ended: str
    blobs: bool

    @property
    def code(self) -> dict[str, str]:
        """Fingerprints by id, of the code that each node was last run with."""
        found = {id: digest for digest, ids in self.started["code"].items() for id in ids}
        for entry in self.entries:
            if entry[0] == "again":
                found.update((id, said.partition("[")[0]) for id, said in entry[5].items())
        return found

    @property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """What each node needed when it was last run, by id."""
        found = {id: tuple(needs) for id, needs in self.started["shape"]}
        for entry in self.entries:
            if entry[0] == "again":
                others = {id: said.partition("[") for id, said in entry[5].items()}
                found.update((id, tuple(json.loads("[" + said[2]))) for id, said in others.items() if said[1])
        return found


def story_of(store: Store, entry: RunEntry) -> Story:
    """Reads the journal of a run.

    Raises:
        StoreDamaged: It is not what was written.
        RunNotFound: There is none.
    """
    started: Mapping[str, Any] | None = None
    entries: list[Entry] = []
    rows, ended, blobs = 0, "", False
    for text in store.rows(entry.run_id):
        rows += 1
        blobs = blobs or '"$blob"' in text
        row = parsed(text, entry.run_id, rows)
        if started is None:
            if not row or row[0][0] != "run":
                raise StoreDamaged(f"run {entry.run_id}: its journal does not begin with its beginning")
            started = row.pop(0)[1]
        for one in row:
            if one[0] == "again":
                entries = list(without(entries, one[3], one[4], over=bool(ended)))
                ended = ""
            elif one[0] == "end":
                ended = one[1]
                if one[3] != rows:
                    raise StoreDamaged(f"run {entry.run_id}: it ends in row {rows}, not in row {one[3]}")
            entries.append(one)
    if started is None:
        raise RunNotFound(f"run {entry.run_id} has no journal")
    if entry.status in ENDED and ended != entry.status:
        raise StoreDamaged(
            f"run {entry.run_id} has {entry.status}, and its journal does not say so: its end is missing"
        )
    return Story(entry, started, entries, rows, ended, blobs)


def value_of(store: Store, run_id: str, graph: Graph, node: str, decode: Decode) -> Any:
    """What a node has come to; of a mapped one, the list of its successes in input order.

    Raises:
        KeyError: It has not succeeded.
        StoreError: It cannot be read.
        CannotDecode: Its value is of a type that is not known here.
    """
    entry = store.find(run_id)
    if entry is None:
        raise RunNotFound(f"there is no run {run_id!r}")
    entries = story_of(store, entry).entries
    found = {}
    for one in entries:
        if one[0] == "ok":
            path = path_of(one[1])
            if path.node == node:
                found[path.items] = one[3]
    if not found or SHED in found.values():
        raise KeyError(node)
    if () in found:
        return decode(found[()])
    places = _places(entries, graph, node)
    in_order = sorted(
        found, key=lambda items: [places.get((items[:at], key), key) for at, key in enumerate(items)]
    )
    return [decode(found[items]) for items in in_order]


def _places(entries: Iterable[Entry], graph: Graph, node: str) -> dict[tuple[Any, Any], int]:
    """Where the keys of the maps around a node stand, by the items around and the key; an index stands where
    it says itself."""
    heads, sources = set(), set()
    scope = graph.scope_of[graph.index[node]]
    while scope:
        heads.add(graph.nodes[graph.scopes[scope].head].id)
        sources.add(graph.nodes[graph.scopes[scope].source].id)
        scope = graph.scopes[scope].parent
    places: dict[tuple[Any, Any], int] = {}
    for one in entries:
        if one[0] not in ("open", "yield"):
            continue
        path, keys = path_of(one[1]), one[-1]
        if one[0] == "open" and path.node in heads:
            places.update({(path.items, key): at for at, key in enumerate(keys or ())})
        elif one[0] == "yield" and path.node in sources:
            places.update({(path.items, key): one[3] for key in keys or () if key is not None})
    return places


def parsed(text: str, run_id: str, row: int) -> list[Entry]:
    """The entries of a row.

    Raises:
        StoreDamaged: There are none in it.
    """
    try:
        found = json.loads(text)
        if not (isinstance(found, list) and all(map(is_entry, found))):
            raise ValueError("a row is a list of entries")
    except (ValueError, RecursionError) as error:
        raise StoreDamaged(f"run {run_id}: row {row} of its journal cannot be read: {error}") from None
    return found


def without(
    entries: Iterable[Entry], drop: Sequence[Any], restart: Sequence[Any], *, over: bool
) -> Iterator[Entry]:
    """The entries that still count. Nothing is left out where nothing is asked for.

    Args:
        entries: All of them.
        drop: Paths, as entries, of which nothing counts, nor of what lies inside them.
        restart: Paths that begin again.
        over: The run had ended.
    """
    whole: dict[str, set[tuple[Any, ...]]] = {}
    exact: set[NodePath] = set()
    for one in drop:
        path = path_of(one)
        whole.setdefault(path.node, set()).add(path.items)
    for one in restart:
        exact.add(path_of(one))

    def dropped(path: NodePath) -> bool:
        tops = whole.get(path.node)
        return tops is not None and any(path.items[:size] in tops for size in range(len(path.items) + 1))

    for entry in entries:
        word = entry[0]
        if over and (word in _ENDINGS or (word == "skip" and entry[2] == SkipCause.STOPPED.value)):
            continue
        if word in OF_THE_RUN:
            yield entry
            continue
        path = path_of(entry[1])
        if dropped(path) or (path in exact and word not in _STANDING):
            continue
        if word == "skip" and entry[3] is not None and dropped(path_of(entry[3])):
            continue  # it goes back with its cause, which may not be there any more
        yield entry


class Undone(NamedTuple):
    """What is to be done again.

    Attributes:
        drop: Nodes and items that count for nothing any more.
        restart: Nodes and items that begin again.
    """

    drop: tuple[NodePath, ...]
    restart: tuple[NodePath, ...]


def undone(
    state: State, *, over: bool, rerun: Collection[str] = (), gone: Collection[NodePath] = ()
) -> Undone:
    """What of a replayed run is to be done again.

    Args:
        state: As the journal leaves it.
        over: The run had ended, and not well: what failed or was cancelled goes back, with what follows.
        rerun: Ids of nodes that were asked for by name, with all that follows from them.
        gone: What succeeded, and whose value cannot be had any more: made again where somebody needs it.
    """
    graph = state.plan.graph
    roots = dict.fromkeys(NodePath(id) for id in rerun)
    back = dict.fromkeys(_bad_ends(state)) if over else {}
    stopped = dict.fromkeys(_stopped(state)) if over else {}  # what cleaned up went without their values
    streams = {path for path in (*back, *stopped) if graph.nodes[graph.index[path.node]].stream}
    alone, more = _needed(state, gone, {path.node for path in (*roots, *back)})
    roots.update(dict.fromkeys(more))
    useless: list[NodePath] = []
    while True:
        roots.update(dict.fromkeys(useless))
        streams.difference_update(useless)
        drop = {**roots, **dict.fromkeys(_below(graph, [*roots, *back], streams))}
        drop.update(dict.fromkeys(path for path in _below(graph, stopped, streams) if path not in stopped))
        useless = [path for path in _without_map(state, drop) if path not in roots]
        if not useless:
            break
    ends = {graph.index[path.node] for path in alone}
    starved = [
        path
        for path in map(
            state.path, state.due
        )  # what was about to be tried again waits for it, and begins anew
        if not ends.isdisjoint(graph.parents[graph.index[path.node]])
    ]
    inside = [path for path in (*back, *alone, *starved) if path not in drop]
    return Undone(tuple(drop), tuple(inside))


def _bad_ends(state: State) -> Iterator[NodePath]:
    """What ended without success, unless that was let pass."""
    stays: set[int] = set()
    for i in state.failures:
        if state.status[i] == FAILED and tolerated(state, i):
            stays.add(i)
    for i, status in enumerate(state.status):
        if status in (FAILED, CANCELLED):
            if i not in stays:
                yield state.path(i)
        elif status == SKIPPED and i in state.skips:
            cause, because = state.skips[i]
            if CAUSES[cause] is SkipCause.UPSTREAM and (because not in stays or _only_stopped(state, i)):
                yield state.path(i)


def _only_stopped(state: State, i: int) -> bool:
    """Whether a skip says what it says only because the run was stopped: the node takes the failure that is
    named, and something else would have become of it."""
    if state.plan.flags[state.site[i]] & GROUP:
        return False
    stopping, state.stopping = state.stopping, GOING
    found = verdict(state, i)
    state.stopping = stopping
    return found.move != SKIP_UPSTREAM


def _stopped(state: State) -> Iterator[NodePath]:
    """What never began because the run was stopped; of items skipped as one, the first of each step."""
    for i, (cause, _) in state.skips.items():
        if CAUSES[cause] is SkipCause.STOPPED:
            yield state.path(i)
    for fan in state.opened.values():
        if fan.rest is not None:
            for place in range(state.plan.levels[fan.scope].width):
                yield state.path(fan.rows[fan.rest[0]] + place)


def _cut_streams(state: State) -> Iterator[NodePath]:
    """Streams that have begun and have not come to their end."""
    plan = state.plan
    for scope, row in state.opened:
        source = plan.index[plan.graph.nodes[plan.graph.scopes[scope].source].id]
        number = row + plan.levels[plan.levels[scope].parent].position[source]
        if plan.flags[state.site[number]] & STREAM and state.status[number] != SUCCEEDED:
            yield state.path(number)


def _without_map(state: State, drop: Collection[NodePath]) -> Iterator[NodePath]:
    """Streams that have not come to their end, and whose map opens anew: nothing is made of the elements that
    they gave already, so they count for nothing either."""
    graph = state.plan.graph
    cut = list(_cut_streams(state))
    heads = {graph.nodes[one.head].id: one for one in graph.scopes[1:]} if cut else {}
    for path in drop:
        opens = heads.get(path.node)
        if opens is not None and len(path.items) < opens.depth:
            source = graph.nodes[opens.source].id
            for stream in cut:
                if stream.node == source and stream.items[: len(path.items)] == path.items:
                    yield stream


def below(graph: Graph, ids: Iterable[str]) -> list[NodePath]:
    """Some nodes, and all that follows from them."""
    tops = [NodePath(id) for id in ids]
    return [*tops, *_below(graph, tops, ())]


def _below(graph: Graph, tops: Iterable[NodePath], streams: Collection[NodePath]) -> Iterator[NodePath]:
    """All that follows from some nodes or items. Of a stream that begins again, the elements that it gave
    stay, and so does what was made of each; what was made of all of them does not."""
    users: list[list[tuple[int, str]]] = [[] for _ in graph.nodes]
    for position, node in enumerate(graph.nodes):
        for need, parent in zip(node.needs, graph.parents[position], strict=True):
            users[parent].append((position, need.how))
    depth = [graph.scopes[scope].depth for scope in graph.scope_of]
    seen: set[NodePath] = set()
    kept: set[NodePath] = set()  # maps of the elements that stay
    todo = [(path, False) for path in tops]
    while todo:
        path, stays = todo.pop()
        for position, how in users[graph.index[path.node]]:
            found = NodePath(graph.nodes[position].id, path.items[: depth[position]])
            inside = depth[position] > len(path.items) and (stays or (how == "each" and path in streams))
            over = kept if inside else seen
            if found not in over:
                over.add(found)
                todo.append((found, inside))
                if not inside:
                    yield found


def _needed(
    state: State, gone: Collection[NodePath], also: Collection[str]
) -> tuple[list[NodePath], list[NodePath]]:
    """Of what is gone, that which somebody still needs: nodes that can be made again alone, and the others,
    which take with them what follows from them: those inside a map, or with a map over their value."""
    if not gone:
        return [], []
    graph, plan = state.plan.graph, state.plan
    open_ids = set(also)
    for i, status in enumerate(state.status):
        if status < SUCCEEDED and not plan.flags[state.site[i]] & GROUP:
            open_ids.add(state.path(i).node)
    by_id: dict[str, list[NodePath]] = {}
    for path in gone:
        by_id.setdefault(path.node, []).append(path)
    users = graph.dependents()
    alone: list[NodePath] = []
    more: list[NodePath] = []
    for position in reversed(graph.order):
        id = graph.nodes[position].id
        if id not in by_id:
            continue
        sink = not users[position] and not graph.nodes[position].volatile
        if not sink and not any(graph.nodes[user].id in open_ids for user in users[position]):
            continue
        open_ids.add(id)
        opens = plan.opens.get(plan.index[id]) or graph.scope_of[position]
        (more if opens else alone).extend(by_id[id])
    return alone, more
