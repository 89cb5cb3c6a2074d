"""What is different where a run is kept in a store: the context is part of its inputs, and is watched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from penstock.core.storage import StoreWord
from penstock.core.watch import Known, Watch

from .context import Noting
from .stages import Given

_OTHERS = "**"
"""The input under which those entries of the context are whose keys are no texts."""


class Keeping(NamedTuple):
    """How a run is kept.

    Attributes:
        store, run_id: As of `Flow.run`.
        target: As of `wiring.prepared`.
        given: What this run was given for its context.
        usual: What its context begins with otherwise.
    """

    store: StoreWord
    run_id: str | None
    target: str | None
    given: Mapping[Any, Any]
    usual: Mapping[Any, Any]

    def how(self) -> dict[str, Any]:
        """The same for `wiring.prepared`."""
        own = _inputs(self.given), _inputs(self.usual)
        return {"store": self.store, "run_id": self.run_id, "target": self.target, "own": own}


def _inputs(context: Mapping[Any, Any]) -> dict[str, Any]:
    """A context as inputs of a run, by name."""
    found = {key: value for key, value in context.items() if type(key) is str and key != _OTHERS}
    if len(found) < len(context):
        found[_OTHERS] = {key: value for key, value in context.items() if key not in found}
    return found


def context_of(inputs: Mapping[str, Any]) -> Given:
    """The context that these inputs are."""
    return {**{key: inputs[key] for key in inputs if key != _OTHERS}, **inputs.get(_OTHERS, {})}


def watcher(text: Callable[[Any], str]) -> Callable[[Noting], Noting]:
    """Lets what the attempts of one run see be watched.

    Args:
        text: The text of a value, as a store would have it.
    """
    known: Known = {}

    def watch(mine: Noting) -> Noting:
        watched = Watched(_items(mine))
        watched.touched, watched.run, watched.outputs = [], mine.run, mine.outputs
        watched.eyes = Watch(text, known)
        return watched

    return watch


_items = dict.items


def _seeing(method: Callable[..., Any]) -> Any:
    """A method of dict that hands out all there is."""

    def call(self: Watched, *args: Any) -> Any:
        self.complete()
        for key, value in _items(self):
            self.eyes.see(key, value)
        return method(self, *args)

    return call


class Watched(Noting):
    """What an attempt sees, which notes too what is read: that may be changed in place, and then counts as
    written.

    Attributes:
        eyes: What notes it.
    """

    __slots__ = ("eyes",)
    eyes: Watch

    def __getitem__(self, key: Any) -> Any:
        value = dict.__getitem__(self, key)
        self.eyes.see(key, value)
        return value

    values, items = _seeing(dict.values), _seeing(dict.items)
    __or__, __ror__, copy = _seeing(dict.__or__), _seeing(dict.__ror__), _seeing(dict.copy)
    __ior__ = _seeing(Noting.__ior__)

    def written(self) -> Given:
        """What was written, or changed in place."""
        return {**dict(self.eyes.changed()), **super().written()}

    def close(self, returned: Any) -> Any:
        """As of `Noting`. Who returns the context returns a plain dict: that can be stored."""
        super().close(returned)
        return dict(_items(self)) if returned is self else returned
