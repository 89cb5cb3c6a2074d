"""A stage that is a loop of drafts and verdicts, and the part of an input that is of a type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isnan
from typing import Any, NamedTuple, TypeVar

from penstock.core.amounts import is_whole, shown
from penstock.core.errors import nearest

from .context import PipelineContext
from .results import Misused, StageResult

T = TypeVar("T")


class Verdict(NamedTuple):
    """What a judge says of a draft.

    Attributes:
        passed: It is good enough.
        feedback: For the next draft.
        tokens: What this round has cost.
        score: The higher the better; None where there is none.
    """

    passed: bool
    feedback: str = ""
    tokens: int = 0
    score: float | None = None


class ReviewLoop:
    """A stage that drafts and judges in turn, until a draft passes or a ceiling is reached.

    At a ceiling it gives the best draft as a soft failure: that of the highest score, or else the last.

    Args:
        draft: ``draft(input, feedback, context)`` gives a value or a `StageResult`; first without feedback.
        judge: ``judge(draft, context)`` gives a `Verdict`. Both may be async.
        max_iterations: Drafts at most.
        token_budget: No further draft is made once the verdicts have cost so much.
        name: Of the stage.

    Raises:
        ValueError: A ceiling is below 1.
    """

    def __init__(
        self,
        draft: Callable[[Any, str | None, PipelineContext], Any],
        judge: Callable[[Any, PipelineContext], Any],
        max_iterations: int,
        token_budget: int | None = None,
        name: str = "",
    ) -> None:
        for word, given in (("draft", draft), ("judge", judge)):
            if not callable(given):
                raise TypeError(f"ReviewLoop: {word} is a function, not {shown(given)}")
        for word, most in (("max_iterations", max_iterations), ("token_budget", token_budget)):
            if most is not None and not is_whole(most):
                raise TypeError(f"ReviewLoop: {word} is an int, not {shown(most)}")
            if most is not None and most < 1:
                raise ValueError(f"ReviewLoop: {word} is at least 1, not {most}")
        self.name = name
        self._draft = draft
        self._judge = judge
        self._max_iterations = max_iterations
        self._token_budget = token_budget

    def __penstock_code__(self) -> list[Any]:
        return [self._draft, self._judge]

    async def execute(self, input: Any, context: PipelineContext, /) -> StageResult[Any]:
        """Makes drafts until one passes."""
        feedback: str | None = None
        best: tuple[float, Any] | None = None
        made: Any = None
        tokens = count = 0
        why = f"no draft passed in {self._max_iterations} iterations"
        for count in range(1, self._max_iterations + 1):
            made = await _awaited(self._draft(input, feedback, context))
            if isinstance(made, StageResult):
                if not made.success:
                    return made
                made = made.output
            verdict = await _awaited(self._judge(made, context))
            if not isinstance(verdict, Verdict):
                raise Misused(f"the judge gave {type(verdict).__name__}, not a Verdict")
            feedback, tokens = verdict.feedback, tokens + verdict.tokens
            said = {"iterations": count, "tokens": tokens, "feedback": feedback}
            if verdict.passed:
                return StageResult.success(made, self.name, said)
            score = verdict.score
            if score is not None and not isnan(score) and (best is None or score > best[0]):
                best = score, made
            if self._token_budget is not None and tokens >= self._token_budget:
                why = f"no draft passed for {tokens} tokens, and the budget is {self._token_budget}"
                break
        last = made if best is None else best[1]
        metadata = {"iterations": count, "tokens": tokens, "feedback": feedback}
        return StageResult.soft_fail(last, why, self.name, metadata)


async def _awaited(value: Any) -> Any:
    return await value if hasattr(value, "__await__") else value


def resolve_typed_input(input: Any, type_: type[T], key: str | None = None) -> tuple[T, dict[str, Any]]:
    """The part of an input that is of a type, and the rest.

    Args:
        input: The input of a stage: a value, or a dict of outputs by id.
        type_: What is looked for.
        key: Where it is in a dict; by default it is the only value of that type.

    Raises:
        TypeError: There is none, or more than one.
    """
    if isinstance(input, type_):
        return input, {}
    wanted = getattr(type_, "__name__", str(type_))
    if not isinstance(input, Mapping):
        raise TypeError(f"the input is {type(input).__name__}, not {wanted}")
    if key is not None and key not in input:
        near = nearest(key, [name for name in input if isinstance(name, str)])
        raise TypeError(f"the input has no {key!r}{near}; it has {', '.join(map(str, input)) or 'nothing'}")
    fits = [name for name, value in input.items() if isinstance(value, type_) and key in (None, name)]
    if len(fits) != 1:
        where = (
            f"{key!r} is {type(input[key]).__name__}, not" if key is not None else f"{len(fits)} values are"
        )
        raise TypeError(f"{where} {wanted}; give key= to choose one of {', '.join(map(str, input))}")
    return input[fits[0]], {name: value for name, value in input.items() if name != fits[0]}
