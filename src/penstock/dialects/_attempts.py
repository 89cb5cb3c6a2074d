"""What the node of a stage calls: each attempt has a context of its own, which notes what is written."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from penstock.core.failures import AWAITABLES, check_awaited, text_of
from penstock.core.model import NOTHING

from ._stages import (
    Function,
    FunctionStage,
    Given,
    Stage,
    StageResult,
    StageStatus,
    has_hooks,
    is_plain,
    moment,
)  # fmt: skip

_LOG = logging.getLogger("penstock.dialects.pipelines")


def _noting(method: Callable[..., Any]) -> Any:
    """A method of dict that changes who knows what, with a look at what it has changed."""

    def call(self: Noting, *args: Any) -> Any:
        before = dict(self)
        try:
            return method(self, *args)
        finally:
            both = {**before, **self}
            self.touched += [k for k in both if before.get(k, NOTHING) is not self.get(k, NOTHING)]

    return call


class Noting(Given):
    """What one attempt sees: a copy of the context, that notes what is written.

    A copy and no view, for whatever reads a dict from C would look past the methods of a view. Copies of it
    are plain dicts.
    """

    __slots__ = ("touched",)

    def __init__(self, base: Given) -> None:
        super().__init__(base)
        self.touched: list[Any] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.touched.append(key)

    def update(self, *given: Any, **named: Any) -> None:
        new = dict(*given, **named)
        super().update(new)
        self.touched += new

    __delitem__, __ior__ = _noting(dict.__delitem__), _noting(dict.__ior__)
    pop, popitem = _noting(dict.pop), _noting(dict.popitem)
    setdefault, clear = _noting(dict.setdefault), _noting(dict.clear)

    def written(self) -> Given:
        """What was written; `NOTHING` for what was deleted."""
        return {key: self.get(key, NOTHING) for key in self.touched}


def write(context: Given, writes: Mapping[str, Any]) -> None:
    context.update(writes)
    for key in [key for key, value in writes.items() if value is NOTHING]:
        del context[key]


class Done(NamedTuple):
    """The output of an attempt that wrote into its context, with what it wrote."""

    output: Any
    writes: Given


class StageCalls:
    """What the node of a stage calls.

    Args:
        context: The run's context; its attempts only read it.
        chain: The stage; if it is conditional, also what it stands around, outermost first.
    """

    def __init__(self, context: Given, chain: list[Stage]) -> None:
        stage = chain[-1]
        self.context = context
        self.hooked = [one for one in reversed(chain) if has_hooks(one)]
        self.retry_count = next((one.retry_count for one in chain if one.retry_count), 0)
        self.timeout_s = next((one.timeout_s for one in chain if one.timeout_s is not None), None)
        self.execute: Function = stage.execute
        if is_plain(stage, FunctionStage):
            self.execute = cast(FunctionStage, stage).func
        self.number = 0
        self.began = 0.0
        self.unsaid = [None]  # taken, which is one act, by whoever calls on_failure
        self.last_words: Given = {}

    def call(self) -> Any:
        """One attempt."""
        context = self._enter()
        try:
            output = self.execute(context)
        except Exception as error:
            self._fail(error)
            raise
        return self._leave(output, context)

    async def acall(self) -> Any:
        """One attempt, awaited."""
        context = self._enter()
        try:
            output = await self.execute(context)
        except Exception as error:
            self._fail(error)
            raise
        return self._leave(output, context)

    def _enter(self) -> Noting:
        self.number += 1
        if self.hooked and not self.began:
            self.began = time.time()
        return Noting(self.context)

    def _leave(self, output: Any, context: Noting) -> Any:
        if type(output) in AWAITABLES:
            check_awaited(output)
        for stage in self.hooked:
            self._hook(stage, "on_success", StageStatus.SUCCESS, output, None, context)
        writes = context.written()
        return Done(output, writes) if writes else output

    def _fail(self, error: Exception) -> None:
        if self.hooked and self.number > self.retry_count:
            self.give_up(text_of(error) or type(error).__name__)

    def give_up(self, error: str) -> None:
        """Calls ``on_failure``, unless that has been done."""
        if not self.hooked or not self.unsaid:
            return
        self.unsaid.pop()
        context = Noting(self.context)
        for stage in self.hooked:
            self._hook(stage, "on_failure", StageStatus.FAILED, None, error, context)
        self.last_words = context.written()

    def _hook(
        self, stage: Stage, word: str, status: StageStatus, output: Any, error: str | None, context: Given
    ) -> None:
        now = time.time()
        result = StageResult(stage.stage_id, status, output, error, moment(self.began or now), moment(now))
        try:
            getattr(stage, word)(result, context)
        except Exception:
            _LOG.exception("%s of stage %r raised; the stage's end stays what it is", word, stage.stage_id)
