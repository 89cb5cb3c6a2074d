"""A run and the store that it is kept in, before it begins: whether it is new, goes on, or is over."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from . import leases
from .codec import Codec, secrets_in
from .codec_types import types_of
from .durable import Durable
from .entries import last_time
from .errors import InputError, RunBusy, RunExists
from .fingerprint import Fingerprints
from .fingerprint_files import is_us
from .graph import Graph
from .leases import give_back, give_back_left
from .machine.state import State
from .model import RunOptions
from .owners import here
from .plan import Plan
from .provenance import about
from .recorder import patiently
from .resume import Story, story_of
from .storage import Claim, RunEntry, Store
from .takeup import Resumption, check_same, known_inputs, resumption

_LONGEST = 200
"""Characters of a run's id."""

_SAME = 1e-6
"""Seconds by which the difference of two times may be off."""


class Kept:
    """A run that is about to be driven, as a store knows it.

    Args:
        store: Where it is kept.
        codec: Makes texts of values, and values of texts.
        run_id: Its id.
        target: What the command line was given to find its code.
        owned: The store was opened for this run, and is closed after it.

    Attributes:
        run_id: Its id.
        own: What a face keeps with the run besides the inputs of its graph, by names of any kind: what it was
            given for this run, and what counts where nothing is said.
        version: Of this library, to be noted with the run.

    Raises:
        InputError: The id cannot be one.
    """

    def __init__(
        self, store: Store, codec: Codec, run_id: str, target: str | None = None, *, owned: bool = False
    ) -> None:
        self.run_id = check_run_id(run_id)
        self._store = store
        self._codec = codec
        self._target = target
        self._owned = owned
        self._story: Story | None = None
        self._claim: Claim | None = None
        self._resumed: Resumption | None = None
        self.version = ""
        self.own: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {})

    def look(self) -> None:
        """Finds out what the store knows of the run, and claims it if it can go on.

        Raises:
            RunBusy: Another process drives it.
            StoreError: It cannot be told.
        """
        entry = patiently(partial(self._store.find, self.run_id))
        if entry is None:
            return
        if entry.status != "succeeded":
            patiently(partial(give_back_left, self._store, self.run_id))
            self._claim, entry = self._taken(entry)
        self._story = patiently(partial(story_of, self._store, entry))

    def _taken(self, before: RunEntry) -> tuple[Claim, RunEntry]:
        """Claims the run; gives the claim, and the run as it was."""
        # No other claim of this process lasts as long: by that it is known again if the answer was lost.
        lasts = leases.LASTS + int.from_bytes(os.urandom(4)) / 2**32
        try:
            return patiently(partial(self._store.claim, self.run_id, here(), lasts))
        except RunBusy:
            now = patiently(partial(self._store.find, self.run_id))
            if now is None or now.expires is None or now.owner != here() or now.epoch != before.epoch + 1:
                raise
            if abs(now.expires - now.updated - lasts) > _SAME:
                raise
            return Claim(self.run_id, now.number, now.epoch), before  # the answer to it was lost

    @property
    def is_over(self) -> bool:
        """It has succeeded: there is nothing to do any more."""
        return self._story is not None and self._claim is None

    @property
    def store(self) -> Store:
        """Where it is kept."""
        return self._store

    @property
    def story(self) -> Story | None:
        """The run as it was found; None if it is new."""
        return self._story

    @property
    def ended(self) -> float | None:
        """When the last thing happened that is known of it."""
        return None if self._story is None else last_time(self._story.entries)

    def again(
        self,
        graph: Graph,
        inputs: Mapping[str, Any],
        targets: Sequence[str] | None,
        override: Mapping[str, Any] | None,
        options: RunOptions | None,
    ) -> tuple[Sequence[str] | None, Mapping[str, Any] | None, RunOptions | None]:
        """What the run was asked for, where it is not said again.

        Raises:
            RunExists: What is said is not what was.
            InputError: The same, of targets or overrides.
        """
        story = self._story
        if story is None:
            if options is not None and options.rerun:
                raise InputError("rerun names steps of a run that goes on, and this one is new; say run_id=")
            return targets, override, options
        check_same(story, graph.name, {**self.own[0], **inputs}, self._codec)
        for name in self.own[0].keys() - story.started["inputs"].keys():
            raise RunExists(f"run {self.run_id!r} was not given {name!r}; give another run_id for a new run")
        before = story.started["targets"]
        if targets is not None and set(targets) != set(before or ()):
            raise InputError(f"run {self.run_id!r} was begun with targets={before!r}; leave targets out")
        given = self._overridden(story)
        if override is not None and (
            override.keys() != given.keys()
            or any(json.loads(self._codec.encode(value)) != given[id] for id, value in override.items())
        ):
            some = list(given) or "nothing"
            raise InputError(f"run {self.run_id!r} was begun with an override of {some}; leave it out")
        self._codec.blobs.clear()
        if options is None:
            options = RunOptions(**story.started["options"], tags=story.started["tags"])
        return before, {id: self._codec.decode(data) for id, data in given.items()}, options

    @staticmethod
    def _overridden(story: Story) -> dict[str, Any]:
        """What was given in place of steps, by id, as it is stored."""
        ids = list(story.started["override"])  # no set: the path of an item is a list
        return {one[1]: one[3] for one in story.entries if one[0] == "ok" and one[1] in ids} if ids else {}

    def inputs(self, graph: Graph, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The inputs of the run: those given now, and others as they were given then."""
        if self._story is None:
            return given
        missing = graph.inputs.keys() - given.keys()
        return {**known_inputs(self._story, missing, self._codec), **given} if missing else given

    def own_inputs(self, graph: Graph) -> dict[str, Any]:
        """What the face keeps with the run: given now or then, or else as it usually is."""
        given, usual = self.own
        if self._story is None:
            return {**usual, **given}
        before = self._story.started["inputs"]
        others = before.keys() - graph.inputs.keys() - given.keys()
        others -= {name for name in others & usual.keys() if secrets_in(before[name])}
        return {**usual, **known_inputs(self._story, others, self._codec), **given}

    def durable(self, plan: Plan, inputs: Mapping[str, Any], options: RunOptions) -> Durable:
        """The written side of the run.

        Raises:
            GraphChanged: Its finished part was made by other code.
            CannotDecode: One of its values cannot be had.
        """
        of_node = Fingerprints().of_node
        prints = {node.id: of_node(node) for node in plan.graph.nodes}
        if self._story is not None:
            self._resumed = resumption(self._story, self._claim, plan, (inputs, options), self._codec, prints)
        return Durable(
            self._store,
            self._codec,
            level=options.durability or "process",
            code=prints,
            target=self._target,
            about=about(plan.graph.nodes[0].call if plan.graph.nodes else None, self.version),
            resumed=self._resumed,
            owned=self._owned,
        )

    def replay(self, state: State) -> None:
        """Brings a state to where the run has ended."""
        assert self._resumed is not None
        self._resumed.replay(state, self._codec.decode)

    def release(self) -> None:
        """Gives the run back without having driven it, as far as that is possible."""
        if self._claim is not None:
            give_back(self._store, self._claim)
        self.close()

    def close(self) -> None:
        """Closes the store, if it was opened for this run."""
        if self._owned:
            self._store.close()


def check_run_id(run_id: Any) -> str:
    """The id, if it can be one.

    Raises:
        InputError: It cannot.
    """
    if not isinstance(run_id, str):
        raise InputError(f"run_id is a text, not {type(run_id).__name__}")
    if not run_id.strip() or run_id != run_id.strip():
        raise InputError(f"run_id is a text without blanks around it, not {run_id!r}; or leave it out")
    if len(run_id) > _LONGEST or not run_id.isprintable():
        raise InputError(f"run_id has at most {_LONGEST} characters, all of them printable")
    return run_id


def types_in(graph: Graph) -> frozenset[type]:
    """The classes that the annotations of a graph's steps and inputs lead to; found once."""
    known = graph.compiled.get("types")
    if known is None:
        found: set[type] = set()
        for call in {id(node.call): node.call for node in graph.nodes}.values():
            for annotation in _annotations(call):
                found |= types_of(annotation)
        for one in graph.inputs.values():
            found |= types_of(one.type)
        known = graph.compiled["types"] = frozenset(found)
    return known


def _annotations(call: Callable[..., Any]) -> Iterator[Any]:
    """The annotations of a function, or of what a wrapper of ours calls, resolved as far as they can be."""
    from typing import get_type_hints

    todo: list[Any] = [call]
    seen: set[int] = set()
    for one in todo:  # grows while it is read
        if id(one) in seen:
            continue
        seen.add(id(one))
        owner = getattr(one, "__self__", None)
        if isinstance(one, partial):
            todo += [one.func, *filter(callable, one.args)]
        elif hasattr(type(one), "__penstock_code__"):
            todo += one.__penstock_code__()
        elif hasattr(type(owner), "__penstock_code__") and is_us(one.__module__):
            todo.append(owner)
        else:
            if not hasattr(one, "__annotations__") or isinstance(one, type):
                one = getattr(one, "__call__", one)  # noqa: B004
            try:
                yield from get_type_hints(one).values()
            except Exception:  # a name that is known to type checkers only
                yield from getattr(one, "__annotations__", {}).values()
