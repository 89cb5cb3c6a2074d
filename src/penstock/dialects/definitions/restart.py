"""Executions that failed, and how the next one goes on with what has succeeded of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from hashlib import sha256
from typing import Any, NamedTuple

from penstock import wiring
from penstock.core.errors import GraphChanged, PenstockError, RunBusy, RunExists
from penstock.core.model import NOTHING, RunOptions
from penstock.core.storage import Store, StoreWord

from .context import PipelineContext
from .definition import PipelineDefinition
from .execution import Execution
from .stages import PipelineResult

TAG = "penstock.input"
"""The tag by which runs of equal input are found in a store: its digest."""


class Asked(NamedTuple):
    """What an executor is asked for; see `PipelineExecutor.execute`."""

    pipeline: PipelineDefinition
    input: Any
    context: PipelineContext
    runner: Any
    options: RunOptions | None
    store: StoreWord
    run_id: str | None

    def prepared(self, options: Any, done: dict[str, Any] | None = None, **kept: Any) -> Execution:
        """An execution that is ready to run.

        Args:
            options: How it runs.
            done: See `Execution.prepare`.
            kept: The same.
        """
        execution = Execution(self.pipeline.stages, self.pipeline._graph(), self.input, self.context)
        execution.prepare(done or {}, self.runner, options, **kept)
        return execution

    def digest(self) -> str:
        """What tells its input from others; empty for one that cannot be stored."""
        try:
            text = wiring.texts(self.pipeline._graph().graph)(self.input)
        except PenstockError:  # whoever stores it says why not
            return ""
        return sha256(json.dumps(json.loads(text), sort_keys=True).encode()).hexdigest()[:32]


class Restarts:
    """What an executor knows of executions that failed.

    Args:
        store: Where they are; None for those alone that it has seen itself.
    """

    def __init__(self, store: StoreWord) -> None:
        # A store in memory that is named by a word would be another one each time.
        self._store: StoreWord = wiring.open_store(store)[0] if store == "memory:" else store
        self._kept: list[_Kept] = []
        self._forgotten = 0  # the newest run of the store that does not count any more

    @contextmanager
    def begin(self, asked: Asked) -> Iterator[Execution]:
        """An execution that goes on with what has succeeded of an earlier one, if there is one."""
        kept, where = self._find(asked), self._store if asked.store is None else asked.store
        if where is None:
            execution = asked.prepared(asked.options, kept and kept.execution.done, run_id=asked.run_id)
            if kept is not None:
                execution.shared.take_over(kept.execution.shared)
            yield execution
            return
        with _opened(where) as store:
            digest = asked.digest()
            options = _tagged(asked.options, digest)
            if asked.run_id is not None:
                yield asked.prepared(options, store=store, run_id=asked.run_id)
                return
            known = self._known(store, asked, digest) if asked.store is None else _run_in(kept, where)
            yield _going_on(asked, options, store, known) or asked.prepared(options, store=store)

    def ended(self, asked: Asked, execution: Execution, result: PipelineResult) -> None:
        """Keeps an execution that did not succeed, unless it is in the executor's own store."""
        kept = self._find(asked)
        if kept is not None:
            self._kept.remove(kept)
        if not result.success and (asked.store is not None or self._store is None):
            self._kept.append(_Kept(asked, _copied(asked.input), execution))

    def forget(self) -> None:
        """Lets go of all of them."""
        self._kept.clear()
        if self._store is not None:
            with _opened(self._store) as store:
                self._forgotten = max((entry.number for entry in store.runs(limit=1)), default=0)

    def _find(self, asked: Asked) -> _Kept | None:
        return next((one for one in self._kept if one.is_of(asked)), None)

    def _known(self, store: Store, asked: Asked, digest: str) -> str | None:
        """The newest run of this pipeline and input, unless it has succeeded."""
        if not digest:
            return None
        for entry in store.runs(tags={TAG: digest}, flow=asked.pipeline.name, limit=1):
            if entry.status != "succeeded" and entry.number > self._forgotten:
                return entry.run_id
        return None


class _Kept(NamedTuple):
    """An execution that failed.

    Attributes:
        asked: What it was asked for.
        copy: The input as it was then; `NOTHING` if no copy of it can be had.
        execution: It.
    """

    asked: Asked
    copy: Any
    execution: Execution

    def is_of(self, asked: Asked) -> bool:
        """Whether the same was asked for."""
        if self.asked.pipeline is not asked.pipeline:
            return False
        input = asked.input
        same = self.asked.input is input
        if self.copy is NOTHING:
            return same
        try:
            if type(self.copy) is type(input) and self.copy == input:
                return True
            return same and not bool(input == input)  # some equal nothing, not even themselves
        except Exception:  # arrays compare to arrays, and anything may raise
            return same


def _run_in(kept: _Kept | None, store: StoreWord) -> str | None:
    """The run of an execution that failed, if it is in this store."""
    if kept is None or kept.asked.store is None or kept.asked.store != store:
        return None
    return kept.execution.prepared.engine.run_id


def _going_on(asked: Asked, options: Any, store: Store, run_id: str | None) -> Execution | None:
    """The execution that goes on with a run; None if nobody can."""
    if run_id is None:
        return None
    if isinstance(options, RunOptions) and options.on_change == "refuse":
        options = _but(options, on_change="rerun")  # nobody has asked for that very run
    try:
        return asked.prepared(options, store=store, run_id=run_id)
    except (RunBusy, RunExists, GraphChanged):  # somebody drives it; or it was one of another pipeline
        return None


@contextmanager
def _opened(where: StoreWord) -> Iterator[Store]:
    store, ours = wiring.open_store(where)
    try:
        yield store
    finally:
        if ours:
            store.close()


def _tagged(options: Any, digest: str) -> Any:
    given = RunOptions() if options is None else options
    if not isinstance(given, RunOptions) or not digest:
        return options  # what it is not is said by whoever takes it
    return _but(given, tags={**given.tags, TAG: digest})


def _but(options: RunOptions, **changes: Any) -> RunOptions:
    return RunOptions(**{name: getattr(options, name) for name in options.__match_args__} | changes)


def _copied(input: Any) -> Any:
    try:
        return deepcopy(input)
    except Exception:
        return NOTHING
