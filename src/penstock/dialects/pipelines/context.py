"""The context of a run as each attempt of a stage sees it, and what the node of a stage calls with it."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any

from penstock.core.failures import text_of
from penstock.core.graph import Graph
from penstock.core.model import NOTHING, NodeStatus, SkipCause
from penstock.core.result import NodeResult
from penstock.core.returned import UNUSUAL, Written, refuse_awaitable

from .stages import (
    Function,
    Given,
    Stage,
    StageResult,
    StageStatus,
    has_hooks,
    moment,
)  # fmt: skip

_LOG = logging.getLogger("penstock.dialects.pipelines")


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
            self.touched += [k for k in both if before.get(k, NOTHING) is not self.get(k, NOTHING)]

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
        touched: Keys that were written.
    """

    __slots__ = ("outputs", "run", "touched")
    run: Shared | None
    outputs: Mapping[str, Any]
    touched: list[Any]

    def complete(self) -> None:
        """Takes in all outputs that there are so far."""
        outputs, self.outputs = self.outputs, _NONE
        for key, value in list(outputs.items()):
            dict.setdefault(self, key, value)

    def __missing__(self, key: Any) -> Any:
        value = self.outputs[key]
        _set(self, key, value)
        return value

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or key in self.outputs

    def get(self, key: Any, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.touched.append(key)

    def __delitem__(self, key: str) -> None:
        self.complete()  # first, or it would come in again
        super().__delitem__(key)
        self.touched.append(key)

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
        self.touched += new

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
        return {key: self.get(key, NOTHING) for key in self.touched}


def noting(context: Shared | Given, outputs: Mapping[str, Any]) -> Noting:
    """What one attempt sees of the context of its run.

    Args:
        context: It.
        outputs: Of the stages that it depends on; None for one that was skipped.
    """
    mine = Noting()  # without a method __init__: this is called for every attempt
    mine.touched = []
    if isinstance(context, Shared):
        own, mine.run, mine.outputs = context.own, context, context.outputs
        if own:
            _update(mine, own)
            for key in context.both & mine.outputs.keys() if context.both else ():
                _set(mine, key, mine.outputs[key])
    else:
        mine.run, mine.outputs = None, _NONE
        _update(mine, context)
    if outputs:
        _update(mine, outputs)
    return mine


_NONE: Mapping[str, Any] = MappingProxyType({})
_set, _update = dict.__setitem__, dict.update


class Outputs(Mapping[str, Any]):
    """The outputs of the stages of one run so far, by the keys under which the context has them.

    Args:
        ids: Of the stages, by key.

    Attributes:
        nodes: Of the run, once it is prepared.
        gone: Keys that a stage has deleted.
    """

    def __init__(self, ids: Mapping[str, str]) -> None:
        self.nodes: Mapping[str, NodeResult] = {}
        self.gone: set[str] = set()
        self._ids = ids

    def __getitem__(self, key: str) -> Any:
        node = self.nodes[self._ids[key]]
        skipped = node.skip is not None and node.skip.cause is SkipCause.CONDITION
        if key in self.gone or not (skipped or node.status is NodeStatus.SUCCEEDED):
            raise KeyError(key)
        return node.value

    def __iter__(self) -> Iterator[str]:
        return iter([key for key in self._ids if key in self])

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Hooked:
    """How far the attempts of a stage with hooks are, in one run.

    Attributes:
        number: Attempts begun.
        began: When the first of them did; 0.0 if none has.
        unsaid: Taken, which is one act, by whoever calls ``on_failure``.
        last_words: What that wrote.
    """

    def __init__(self) -> None:
        self.number = 0
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
        both: Keys of outputs that somebody has put there as well.
        writes: All that stages wrote, outputs not counted.
        warnings: What should be known.
        hooked: By stage, where any has hooks.
        settings: As given.
    """

    __slots__ = (
        "_graph",
        "_ids",
        "_writers",
        "both",
        "hooked",
        "outputs",
        "own",
        "settings",
        "warnings",
        "writes",
    )

    def __init__(self, context: Given, ids: Mapping[str, str], graph: Graph, settings: Any) -> None:
        self.own = context
        self.outputs: Mapping[str, Any] = Outputs(ids)
        self.both = context.keys() & ids.keys()
        self._ids = ids
        self._graph = graph
        self._writers: dict[Any, str] = {}
        self.settings = settings
        self.writes: Given = {}
        self.warnings: dict[str, None] = {}
        self.hooked: dict[str, Hooked] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, ({**self.own, **self.outputs},)

    def __deepcopy__(self, memo: dict[int, Any]) -> Shared:
        made = Shared(deepcopy(self.own, memo), self._ids, self._graph, self.settings)
        made.outputs, made.hooked = deepcopy(dict(self.outputs), memo), self.hooked
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
        write(self.own, writes)
        mine = writes.keys() & self._ids.keys()
        if mine and isinstance(self.outputs, Outputs):
            self.both |= mine
            self.outputs.gone |= {key for key in mine if writes[key] is NOTHING}

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

    def call(self, context: Shared | Given, **outputs: Any) -> Any:
        """One attempt."""
        mine = noting(context, outputs)
        if self.hooked:
            return self._hooked_call(mine)
        output = self.execute(mine)
        return output if not mine.touched else self._with_writes(mine, output)

    async def acall(self, context: Shared | Given, **outputs: Any) -> Any:
        """One attempt, awaited."""
        mine = noting(context, outputs)
        if self.hooked:
            return await self._hooked_acall(mine)
        output = await self.execute(mine)
        return output if not mine.touched else self._with_writes(mine, output)

    def _hooked_call(self, mine: Noting) -> Any:
        self._begin(mine)
        try:
            output = self.execute(mine)
        except Exception as error:
            self._fail(mine, error)
            raise
        return self._leave(mine, output)

    async def _hooked_acall(self, mine: Noting) -> Any:
        self._begin(mine)
        try:
            output = await self.execute(mine)
        except Exception as error:
            self._fail(mine, error)
            raise
        return self._leave(mine, output)

    def question(self, asked: list[Function], context: Shared | Given, **outputs: Any) -> bool:
        """Whether all of these conditions hold."""
        mine = noting(context, outputs)
        return all(bool(_answer(one(mine))) for one in asked)

    async def aquestion(self, asked: list[Function], context: Shared | Given, **outputs: Any) -> bool:
        """The same, where one of them is to be awaited."""
        mine = noting(context, outputs)
        for one in asked:
            answer = one(mine)
            if not (await answer if isinstance(answer, Awaitable) else answer):
                return False
        return True

    def _begin(self, mine: Noting) -> None:
        if mine.run is not None:
            state = mine.run.hooked[self.id]
            state.number += 1
            state.began = state.began or time.time()

    def _leave(self, mine: Noting, output: Any) -> Any:
        if type(output) in UNUSUAL:
            refuse_awaitable(output)
        self._call_hooks("on_success", mine.run, mine, StageStatus.SUCCESS, output=output)
        return output if not mine.touched else self._with_writes(mine, output)

    def _with_writes(self, mine: Noting, output: Any) -> Written:
        return Written(output, {self.id: mine.written()})

    def _fail(self, mine: Noting, error: Exception) -> None:
        run = mine.run
        if run is not None and run.hooked[self.id].number > self.retry_count:
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
            except Exception:
                _LOG.exception(
                    "%s of stage %r raised; the stage's end stays what it is", word, stage.stage_id
                )


def output_key(id: str) -> str:
    """Where the context has the output of a stage."""
    return f"stage_{id}_output"


def _answer(given: Any) -> Any:
    if type(given) in UNUSUAL:
        refuse_awaitable(given)
    return given
