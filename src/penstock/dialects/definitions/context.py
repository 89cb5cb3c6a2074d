"""What stages of one pipeline share: services, and state that counts once its writer has succeeded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from penstock.core.amounts import shown
from penstock.core.context import Context
from penstock.core.errors import nearest
from penstock.core.failures import said_by
from penstock.core.model import NOTHING
from penstock.core.watch import Watch

Writes = dict[str, dict[str, Any]]
"""What was written: by ``state`` and ``metrics`` what was set, `NOTHING` where it was deleted; by ``added``
what is added to whatever a metric is by then. Plain data, so that it can travel, and be stored."""


class Overlay(MutableMapping[str, Any]):
    """What one attempt sees of the state, or of the metrics: its own writes, over all that is committed.

    Args:
        base: What is committed.
        watch: Notes what is read of it; None where nobody wants to know.

    Attributes:
        own: What it has set; `NOTHING` where it has deleted.
        added: What it has added, which is added again to whatever is committed by then.
    """

    __slots__ = ("_base", "_watch", "added", "own")

    def __init__(self, base: Mapping[str, Any], watch: Watch | None = None) -> None:
        self._base = base
        self._watch = watch
        self.own: dict[str, Any] = {}
        self.added: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        if key in self.own:
            if self.own[key] is NOTHING:
                raise KeyError(key)
            return self.own[key]
        if key in self.added:
            return self._base.get(key, 0) + self.added[key]
        value = self._base[key]
        if self._watch is not None:
            self._watch.see(key, value)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self.added.pop(key, None)
        self.own[key] = value

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self[key] = NOTHING

    def __iter__(self) -> Iterator[str]:
        return iter(
            [key for key in {**self._base, **self.own, **self.added} if self.own.get(key) is not NOTHING]
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def increment(self, key: str, amount: Any) -> None:
        total = self.get(key, 0) + amount
        if key in self.own:
            self.own[key] = total
        else:
            self.added[key] = self.added.get(key, 0) + amount

    def written(self) -> dict[str, Any]:
        """What was set, deleted, or changed in place."""
        return self.own if self._watch is None else {**dict(self._watch.changed()), **self.own}


def merge(
    writes: Writes, state: MutableMapping[str, Any], metrics: MutableMapping[str, Any]
) -> list[tuple[str, str, str]]:
    """Does to state and metrics what was written.

    Returns:
        What of it they would not have: which of the two, the key, and why.
    """
    refused = []
    for what, target in (("state", state), ("metrics", metrics)):
        for key, value in writes.get(what, {}).items():
            try:
                if value is NOTHING:
                    target.pop(key, None)
                else:
                    target[key] = value
            except Exception as error:  # it is somebody's own
                refused.append((what, key, said_by(error)))
    for key, amount in writes.get("added", {}).items():
        try:
            if isinstance(metrics, Overlay):
                metrics.increment(key, amount)
            else:
                metrics[key] = metrics.get(key, 0) + amount
        except Exception as error:  # or somebody has set it to something else meanwhile
            refused.append(("metrics", key, said_by(error)))
    return refused


class PipelineContext:
    """What stages are given besides their input: services, shared state, metrics.

    A stage sees all that was committed by others and its own writes; these are committed with its success and
    dropped with its failure. The executor merges them into the caller's own context.

    Args:
        provider: Whatever the stages take it for.
        config: The same.
        state: Shared between stages; an empty dict if not given.
        metrics: The same, for numbers.
        cancel_token: Anything with ``is_set()`` or ``is_cancelled()``; when it says yes the pipeline stops.
        session: An object whose attributes can be read through this one.
        services: Attributes of this context.
    """

    state: MutableMapping[str, Any]
    metrics: MutableMapping[str, Any]

    def __init__(
        self,
        provider: Any = None,
        config: Any = None,
        state: MutableMapping[str, Any] | None = None,
        metrics: MutableMapping[str, Any] | None = None,
        cancel_token: Any = None,
        *,
        session: Any = None,
        **services: Any,
    ) -> None:
        for word, given in (("state", state), ("metrics", metrics)):
            if given is not None and not isinstance(given, MutableMapping):
                raise TypeError(f"PipelineContext: {word} is a dict, not {shown(given)}")
        for word, given in (("provider", provider), ("config", config)):
            if given is not None:  # or the session may have one
                setattr(self, word, given)
        self.state = {} if state is None else state
        self.metrics = {} if metrics is None else metrics
        self.cancel_token = cancel_token
        self.session = session
        for name, service in services.items():
            if hasattr(type(self), name):
                raise TypeError(f"PipelineContext: a service cannot be called {name!r}, a method of it")
            setattr(self, name, service)

    def __getattr__(self, name: str) -> Any:
        own = self.__dict__
        if name in ("state", "metrics") and "_base" in own:
            watches = own.get("_watches")
            made = own[name] = Overlay(getattr(own["_base"], name), watches and watches[name])
            return made
        session = own.get("session")
        if session is not None and hasattr(session, name) and not name.startswith("__"):
            return getattr(session, name)
        if name in ("provider", "config"):
            return None
        known = [word for word in own if not word.startswith("_")]
        raise AttributeError(
            f"the context has no {name!r}{nearest(name, known)}; give it: PipelineContext({name}=...)",
            name=name,
            obj=self,
        )

    def get_state(self, key: str, default: Any = None) -> Any:
        """A value of the shared state, or the default."""
        return self.state.get(key, default)

    def set_state(self, key: str, value: Any) -> None:
        """Puts a value into the shared state."""
        self.state[key] = value

    def add_metric(self, name: str, value: Any) -> None:
        """Sets a metric."""
        self.metrics[name] = value

    def increment_metric(self, name: str, amount: float = 1) -> None:
        """Adds to a metric, which begins at 0. What several stages add at a time adds up."""
        metrics = self.metrics
        if isinstance(metrics, Overlay):
            metrics.increment(name, amount)
        else:
            metrics[name] = metrics.get(name, 0) + amount

    def is_cancelled(self) -> bool:
        """Whether the cancel token is set, or this attempt of a plain function was asked to stop."""
        attempt: Context | None = self.__dict__.get("_attempt")
        return (attempt is not None and attempt.cancelled) or is_set(self.cancel_token)


def is_set(token: Any) -> bool:
    for word in ("is_set", "is_cancelled"):
        asked = getattr(token, word, None)
        if asked is not None:
            answer = asked() if callable(asked) else asked
            if hasattr(type(answer), "__await__"):
                getattr(answer, "close", bool)()  # or Python warns, later and elsewhere, of no await
                raise TypeError(f"cancel_token: its {word} is async, and is asked in plain code")
            return bool(answer)
    return False
