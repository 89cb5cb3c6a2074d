"""What the node of a stage calls: each attempt has a context of its own, and hooks are called around it."""

from __future__ import annotations

import logging
import time
from typing import Any

from penstock.core.failures import text_of
from penstock.core.returned import UNUSUAL, Written, refuse_awaitable

from .context import NO_OUTPUTS, Noting, Shared, noting
from .stages import Function, Given, Stage, StageResult, StageStatus, has_hooks, moment

_LOG = logging.getLogger("penstock.dialects.pipelines")


class StageCalls:
    """What the node of a stage calls.

    Args:
        chain: The stage; if it is conditional, also what it stands around, outermost first.
    """

    def __init__(self, chain: list[Stage]) -> None:
        stage = chain[-1]
        self.id = chain[0].stage_id
        self.hooked = [one for one in reversed(chain) if has_hooks(one)]
        self.retry_count = next((one.retry_count for one in chain if one.retry_count), 0)
        self.timeout_s = next((one.timeout_s for one in chain if one.timeout_s is not None), None)
        self.execute: Function = stage._call()

    def __penstock_code__(self) -> list[Any]:
        return [self.execute, *self.hooked]

    def call(self, context: Shared | Given, **outputs: Any) -> Any:
        """One attempt of a stage without hooks."""
        mine = noting(context, outputs)
        output = self.execute(mine)
        if mine.touched is not None or output is mine:
            return self._ended(mine, output)
        mine.outputs = NO_OUTPUTS
        return output

    async def acall(self, context: Shared | Given, **outputs: Any) -> Any:
        """The same, awaited."""
        mine = noting(context, outputs)
        output = await self.execute(mine)
        if mine.touched is not None or output is mine:
            return self._ended(mine, output)
        mine.outputs = NO_OUTPUTS
        return output

    def hooked_call(self, context: Shared | Given, **outputs: Any) -> Any:
        """One attempt of a stage with hooks."""
        mine = noting(context, outputs)
        at = self._begin(mine)
        try:
            output = self.execute(mine)
        except Exception as error:
            self._fail(mine, at, error)
            raise
        return self._succeed(mine, at, output)

    async def hooked_acall(self, context: Shared | Given, **outputs: Any) -> Any:
        """The same, awaited."""
        mine = noting(context, outputs)
        at = self._begin(mine)
        try:
            output = await self.execute(mine)
        except Exception as error:
            self._fail(mine, at, error)
            raise
        return self._succeed(mine, at, output)

    def question(self, asked: list[Function], context: Shared | Given, **outputs: Any) -> bool:
        """Whether all of these conditions hold."""
        mine = noting(context, outputs)
        for one in asked:
            answer = one(mine)
            if hasattr(type(answer), "__await__"):
                refuse_awaitable(answer)
            if not answer:
                return False
        return True

    async def aquestion(self, asked: list[Function], context: Shared | Given, **outputs: Any) -> bool:
        """The same, where one of them is to be awaited."""
        mine = noting(context, outputs)
        for one in asked:
            answer = one(mine)
            if not (await answer if hasattr(type(answer), "__await__") else answer):
                return False
        return True

    def _begin(self, mine: Noting) -> int:
        """How many attempts were over when this one began."""
        if mine.run is None:
            return 0
        state = mine.run.hooked[self.id]
        state.number += 1
        state.began = state.began or time.time()
        return state.over

    def _succeed(self, mine: Noting, at: int, output: Any) -> Any:
        if type(output) in UNUSUAL:
            refuse_awaitable(output)
        if mine.run is None or mine.run.hooked[self.id].over == at:
            self._call_hooks("on_success", mine.run, mine, StageStatus.SUCCESS, output=output)
        return self._ended(mine, output)

    def _ended(self, mine: Noting, output: Any) -> Any:
        """What an attempt hands back."""
        writes = None if mine.touched is None else mine.written()
        output = mine.close(output)
        return Written(output, {self.id: writes}) if writes else output

    def _fail(self, mine: Noting, at: int, error: Exception) -> None:
        run = mine.run
        if run is None or run.hooked[self.id].over != at:
            return
        if run.hooked[self.id].number > self.retry_count:
            self.give_up(run, text_of(error) or type(error).__name__)

    def give_up(self, run: Shared, error: str) -> None:
        """Calls ``on_failure``, unless that has been done."""
        state = run.hooked[self.id]
        if state.unsaid:
            state.unsaid.pop()
            mine = noting(run, {})
            self._call_hooks("on_failure", run, mine, StageStatus.FAILED, error=error)
            state.last_words = mine.written()

    def _call_hooks(
        self,
        word: str,
        run: Shared | None,
        mine: Noting,
        status: StageStatus,
        output: Any = None,
        error: str | None = None,
    ) -> None:
        now = time.time()
        began = run.hooked[self.id].began if run is not None else 0.0
        for stage in self.hooked:
            result = StageResult(stage.stage_id, status, output, error, moment(began or now), moment(now))
            try:
                getattr(stage, word)(result, mine)
            except KeyboardInterrupt:
                raise
            except BaseException:
                _LOG.exception(
                    "%s of stage %r raised; the stage's end stays what it is", word, stage.stage_id
                )
