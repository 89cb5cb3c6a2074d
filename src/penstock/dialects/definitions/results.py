"""What stages give: a result, good or bad, and never an exception."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast, overload

from penstock.core.amounts import shown
from penstock.core.codec_types import register

try:
    from pydantic import BaseModel, Field
except ImportError as error:
    raise ImportError(
        "penstock.dialects.definitions needs pydantic: pip install 'penstock[definitions]'"
    ) from error

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class StageFailed(Exception):
    """A stage has returned a failure; its text is the failure's."""


class Misused(TypeError):
    """A stage does not do what stages do; to try it again would not help."""


class _MakeSuccess(Protocol):
    def __call__(
        self, output: T, stage_name: str = "", metadata: Mapping[str, Any] | None = None
    ) -> StageResult[T]: ...


class _Success:
    """On the class it makes a result, on a result it says whether it is good."""

    @overload
    def __get__(self, result: None, owner: type[Any]) -> _MakeSuccess: ...
    @overload
    def __get__(self, result: StageResult[Any], owner: type[Any]) -> bool: ...
    def __get__(self, result: StageResult[Any] | None, owner: type[Any]) -> Any:
        return partial(_success, owner) if result is None else result.error is None


def _success(
    owner: type[StageResult[Any]],
    output: Any,
    stage_name: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> StageResult[Any]:
    return owner(stage_name=stage_name, output=output, metadata=dict(metadata or ()))


class StageResult(BaseModel, Generic[T_co], frozen=True, arbitrary_types_allowed=True):
    """What one stage came to; it cannot be changed.

    Attributes:
        stage_name: Who gave it; filled in by the executor where the stage does not say.
        output: Its value; None unless it succeeded.
        error: Why it failed; None if it did not.
        metadata: What else there is to say. ``skipped`` is True for a stage that was left out, ``soft_fail``
            the reason of a tolerated failure.
        success: On a result, whether it did not fail. On the class, ``success(output)`` makes one.
    """

    stage_name: str = ""
    output: T_co | None = None
    error: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)

    success: ClassVar[_Success] = _Success()

    @classmethod
    def failure(
        cls, error: str, stage_name: str = "", metadata: Mapping[str, Any] | None = None
    ) -> StageResult[Any]:
        """A failure, which stops the pipeline when all attempts are used up.

        Raises:
            TypeError: The error is no text.
        """
        if not isinstance(error, str):
            raise TypeError(f"StageResult.failure takes the error as a text, not {shown(error)}")
        return cls(stage_name=stage_name, error=error, metadata=dict(metadata or {}))

    @classmethod
    def skipped(
        cls, reason: str, stage_name: str = "", metadata: Mapping[str, Any] | None = None
    ) -> StageResult[Any]:
        """A stage that had nothing to do: a success without an output."""
        return cls(stage_name=stage_name, metadata={"reason": reason, **(metadata or {}), "skipped": True})

    @classmethod
    def soft_fail(
        cls, output: T, reason: str, stage_name: str = "", metadata: Mapping[str, Any] | None = None
    ) -> StageResult[T]:
        """A failure that is let pass, with the best there is: for loops of judges and critics only."""
        made: Any = cls(
            stage_name=stage_name,
            output=cast(Any, output),
            metadata={**(metadata or {}), "soft_fail": reason},
        )
        return cast("StageResult[T]", made)


def _stored(result: StageResult[Any]) -> dict[str, Any]:
    """What says something of a result: its output, and what it has besides, which most have not."""
    said = {name: value for name, value in vars(result).items() if name != "output" and value}
    return {"output": result.output, **said}


def _made(data: dict[str, Any]) -> StageResult[Any]:
    return StageResult.model_construct(**{"stage_name": "", **data})


register(StageResult, name="penstock.StageResult", encode=_stored, decode=_made)


def unbound(result: StageResult[Any]) -> StageResult[Any]:
    """A result as a store knows it: of `StageResult` itself, not of ``StageResult[int]``, which equals it."""
    if type(result).__pydantic_generic_metadata__["origin"] is StageResult:
        return StageResult.model_construct(**vars(result))
    return result
