"""The context of a run, and what each attempt of a stage sees of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from itertools import islice
from typing import Any

from penstock.core.graph import Graph
from penstock.core.model import NOTHING, Failure, NodeStatus, SkipCause
from penstock.core.result import NodeResult
from penstock.core.views import Ended
from penstock.wiring import Prepared

from .stages import Given


def _of_all(method: Callable[..., Any]) -> Any:
    """A method of dict that looks at all there is."""

    def call(self: Noting, *args: Any) -> Any:
        self.complete()
        return method(self, *args)

    return call


def _noting(method: Callable[..., Any]) -> Any:
    """A method of dict that changes who knows what, with a look at what it has changed."""

    def call(self: Noting, *args: Any) -> Any:
        before = dict(self)
        try:
            return method(self, *args)
        finally:
            both = {**before, **self}
            self.touch(k for k in both if before.get(k, NOTHING) is not self.get(k, NOTHING))

    return call


class Noting(Given):
    """What one attempt sees: a copy of the context, that notes what is written.

    The outputs of stages that it does not depend on come in when somebody asks for them, or for everything:
    a copy for each attempt of all that thousands of stages gave would cost more than the stages. All else is
    there from the beginning, also for code that reads a dict from C and so past these methods. Copies of it
    are plain dicts.

    Attributes:
        run: What it is a copy of; None where that is itself a copy, as in another process.
        outputs: Of all stages so far.
        touched: Keys that were written; None if none was, as in most attempts.
    """

    __slots__ = ("outputs", "run", "touched")  # and no __init__: one is made for every attempt
    run: Shared | None
    outputs: Outputs
    touched: list[Any] | None

    def touch(self, keys: Iterable[Any]) -> None:
        """Notes keys that were written."""
        if self.touched is None:
            self.touched = []
        self.touched += keys

    def complete(self) -> None:
        """Takes in all outputs that there are so far."""
        outputs, self.outputs = self.outputs, NO_OUTPUTS
        if outputs is not NO_OUTPUTS:
            mine = dict(_items(self))
            _update(self, outputs.so_far())
            _update(self, mine)

    def close(self, returned: Any) -> Any:
        """The attempt is over: from now on it stays what it is, whoever still holds it.

        Returns:
            What was returned, as it is to be handed back.
        """
        if returned is self:
            self.complete()
        self.outputs = NO_OUTPUTS
        return returned

    def __missing__(self, key: Any) -> Any:
        value = self.outputs.get(key)
        if value is NOTHING:
            raise KeyError(key)
        _set(self, key, value)
        return value

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or self.outputs.get(key) is not NOTHING

    def get(self, key: Any, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.touch((key,))

    def __delitem__(self, key: str) -> None:
        self.complete()  # first, or it would come in again
        super().__delitem__(key)
        self.touch((key,))

    def pop(self, key: str, *default: Any) -> Any:
        if key not in self:
            return super().pop(key, *default)
        value = self[key]
        del self[key]
        return value

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *given: Any, **named: Any) -> None:
        new = dict(*given, **named)
        super().update(new)
        self.touch(new)

    __iter__, __reversed__, __len__ = (
        _of_all(dict.__iter__),
        _of_all(dict.__reversed__),
        _of_all(dict.__len__),
    )
    keys, values, items = _of_all(dict.keys), _of_all(dict.values), _of_all(dict.items)
    __eq__, __ne__, __repr__ = _of_all(dict.__eq__), _of_all(dict.__ne__), _of_all(dict.__repr__)
    __or__, __ror__, copy = _of_all(dict.__or__), _of_all(dict.__ror__), _of_all(dict.copy)
    __ior__, popitem, clear = _noting(dict.__ior__), _noting(dict.popitem), _noting(dict.clear)
    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def written(self) -> Given:
        """What was written; `NOTHING` for what was deleted."""
        return {key: self.get(key, NOTHING) for key in self.touched or ()}


def noting(context: Shared | Given, outputs: Mapping[str, Any]) -> Noting:
    """What one attempt sees of the context of its run.

    Args:
        context: It.
        outputs: Of the stages that it depends on; None for one that was skipped.
    """
    if isinstance(context, dict):
        mine = Noting({**outputs, **context})
        mine.touched, mine.run, mine.outputs = None, None, NO_OUTPUTS
        return mine
    if context.own:
        mine = Noting(context.own)
        _update(mine, outputs)
    else:
        mine = Noting(outputs or context.outputs.one())  # what looks empty from C is not asked for more
    mine.touched, mine.run, mine.outputs = None, context, context.outputs
    return mine if context.is_plain else context.special(mine)


_update, _items, _set, _pop = dict.update, dict.items, dict.__setitem__, dict.pop


class Outputs:
    """The outputs of the stages of one run so far, by the keys under which the context has them.

    Args:
        ids: Of the stages, by key.

    Attributes:
        over: What stages have written where an output was.
        known: Those that have been looked for and found, without what was written over them.
    """

    def __init__(self, ids: Mapping[str, str]) -> None:
        self.known: Given = {}
        self._ids = ids
        self.over: Given = {}
        self._nodes: Mapping[str, NodeResult] = {}
        self._ended: Ended | None = None

    def follow(self, prepared: Prepared) -> None:
        """Looks at this run from now on."""
        self._nodes, self._ended = prepared.result().nodes, prepared.ended()

    def get(self, key: Any) -> Any:
        """The output under a key; `NOTHING` if there is none."""
        if key in self.over:
            return self.over[key]
        if key in self.known:
            return self.known[key]
        node = self._nodes.get(self._ids.get(key, ""))
        return NOTHING if node is None else _output_of(node)

    def one(self) -> Iterable[tuple[str, Any]]:
        """One of them, if there is any: quickly."""
        if not self.known and self._ended is not None and self._ended.any:
            self.so_far()
        return islice(self.known.items(), 1)

    def so_far(self) -> Given:
        """All of them."""
        if self._ended is not None:
            self._ended.take(self._know)
        found = dict(self.known)
        write(found, self.over)
        return found

    def _know(self, node: NodeResult) -> None:
        value = _output_of(node)
        if value is not NOTHING:
            self.known[output_key(node.path)] = value


def _output_of(node: NodeResult) -> Any:
    if node.skip is not None and node.skip.cause is SkipCause.CONDITION:
        return None
    return node.value if node.status is NodeStatus.SUCCEEDED else NOTHING


NO_OUTPUTS = Outputs({})


class Hooked:
    """How far the attempts of a stage with hooks are, in one run.

    Attributes:
        number: Attempts begun.
        over: Attempts that have ended without success; what one of them still does is of no account.
        began: When the first of them did; 0.0 if none has.
        unsaid: Taken, which is one act, by whoever calls ``on_failure``.
        last_words: What that wrote.
    """

    def __init__(self) -> None:
        self.number = 0
        self.over = 0
        self.began = 0.0
        self.unsaid = [None]
        self.last_words: Given = {}


class Shared:
    """The context of one run: what its stages share.

    Args:
        context: What it begins with.
        ids: Of its stages, by the keys of their outputs.
        graph: Of the run.
        settings: Of the run, for runs inside its stages.

    Attributes:
        outputs: Of stages, by their keys.
        own: All else.
        over: What stages have written where there was an output; `NOTHING` for what they deleted.
        writes: All that stages wrote, outputs not counted.
        warnings: What should be known.
        hooked: By stage, where any has hooks.
        settings: As given.
        is_plain: Attempts see `own` and `outputs`, and nothing more is to be done for them.
        watch: Of a run that is kept: lets what an attempt sees be watched.
        parting: The same: asked for what a stage has written whose failure is about to be recorded.
    """

    __slots__ = (
        "_graph",
        "_ids",
        "_writers",
        "hooked",
        "is_plain",
        "outputs",
        "over",
        "own",
        "parting",
        "settings",
        "warnings",
        "watch",
        "writes",
    )

    def __init__(self, context: Given, ids: Mapping[str, str], graph: Graph, settings: Any) -> None:
        self.own = context
        self.over: Given = {}
        self.outputs = Outputs(ids)
        self._ids = ids
        self._graph = graph
        self._writers: dict[Any, str] = {}
        self.settings = settings
        self.writes: Given = {}
        self.warnings: dict[str, None] = {}
        self.hooked: dict[str, Hooked] = {}
        self.watch: Callable[[Noting], Noting] | None = None
        self.parting: Callable[[str, Failure], Mapping[str, Given]] | None = None
        self.is_plain = True

    def keep(
        self,
        context: Given,
        watch: Callable[[Noting], Noting],
        parting: Callable[[str, Failure], Mapping[str, Given]],
    ) -> None:
        """The run is kept in a store: it begins with this context, and its attempts are watched."""
        self.own, self.watch, self.parting, self.is_plain = context, watch, parting, False

    def special(self, mine: Noting) -> Noting:
        """What an attempt sees where that is more than most see."""
        for key, value in self.over.items():
            if value is NOTHING:
                _pop(mine, key, None)
            else:
                _set(mine, key, value)
        return mine if self.watch is None else self.watch(mine)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, ({**self.own, **self.outputs.so_far()},)

    def __deepcopy__(self, memo: dict[int, Any]) -> Shared:
        own = deepcopy({**self.own, **self.outputs.so_far()}, memo)
        made = Shared(own, {}, self._graph, self.settings)
        made.over, made.hooked = deepcopy(self.over, memo), self.hooked
        made.is_plain = not made.over  # and not watched: what is changed in a copy is changed for nobody
        return made

    def update(self, writes: Mapping[str, Given]) -> None:
        """Takes what an attempt has written, by its stage, now that it counts."""
        for id, written in writes.items():
            self.take(id, written)

    def take(self, id: str, writes: Given) -> None:
        """Takes what a stage wrote."""
        for key in writes:
            before = self._writers.get(key)
            if before is not None and before != id and not self._follows(id, before):
                self.warnings[
                    f"context[{key!r}] was written by {before!r} and by {id!r}, and neither depends on the "
                    "other: which of them counts is a matter of time"
                ] = None
            self._writers[key] = id
        self.writes.update(writes)
        own, over = dict(self.own), dict(self.over)
        for key, value in writes.items():
            if key in self._ids and self.outputs.get(key) is not NOTHING:
                over[key] = value
            elif value is NOTHING:
                own.pop(key, None)
            else:
                own[key] = value
        self.own, self.over, self.outputs.over = own, over, over  # new ones: attempts begin in other threads
        self.is_plain = self.watch is None and not over

    def _follows(self, id: str, other: str) -> bool:
        graph = self._graph
        position = graph.index[other]
        return position in graph.parents[graph.index[id]] or position in graph.ancestors([id])


def write(context: Given, writes: Given) -> None:
    """Does to a context what was noted."""
    for key, value in writes.items():
        if value is NOTHING:
            context.pop(key, None)
        else:
            context[key] = value


def output_key(id: str) -> str:
    """Where the context has the output of a stage."""
    return f"stage_{id}_output"
