"""What a pipeline of definitions is made of: its stages, how they run, and what they come to together."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Protocol, runtime_checkable

from penstock.core.model import Limit, LimitUse, RetryPolicy, Timeout
from penstock.core.record import Record

from .context import PipelineContext
from .gates import Gate
from .results import Misused, StageFailed, StageResult


@runtime_checkable
class PipelineStage(Protocol):
    """What a stage must have. A ``name`` is read if there is one."""

    async def execute(self, input: Any, context: PipelineContext, /) -> StageResult[Any]:
        """Does the work; what it raises is a failure too."""


class ExecutionPattern(enum.Enum):
    """How a stage runs. Only FAN_OUT changes anything: inputs say what is parallel, a condition what is
    conditional."""

    SEQUENTIAL = "sequential"
    PARALLEL = "parallel"
    FAN_OUT = "fan_out"
    CONDITIONAL = "conditional"


class RetryConfig(Record):
    """When a stage is tried again, and after how long.

    Attributes:
        max_attempts: Calls in all.
        initial_delay_ms, backoff_multiplier, max_delay_ms: The wait before call n + 2 is
            ``initial_delay_ms * backoff_multiplier ** n``, at most `max_delay_ms`.
        retryable_errors: Parts of error texts or of names of exception classes; case, spaces and signs do not
            count. None retries every error.
        jitter: ``full`` spreads each wait evenly over (0, wait].

    Raises:
        ValueError: A number is out of range, or a part is empty.
    """

    max_attempts: int = 1
    initial_delay_ms: float = 1000.0
    backoff_multiplier: float = 2.0
    max_delay_ms: float = 60000.0
    retryable_errors: Sequence[str] | None = None
    jitter: Literal["full", "none"] = "none"

    def __post_init__(self) -> None:
        given = self.retryable_errors
        if given is not None:
            words = [None] if isinstance(given, str) or not isinstance(given, Iterable) else [*given]
            if not all(isinstance(part, str) and _plain(part) for part in words):
                raise ValueError(f"RetryConfig: retryable_errors is a list of words, not {given!r}")
            self._settle("retryable_errors", tuple(words))
        for name in ("initial_delay_ms", "max_delay_ms", "backoff_multiplier"):
            if isinstance(getattr(self, name), bool) or not isinstance(getattr(self, name), int | float):
                raise ValueError(f"RetryConfig: {name} is a number, not {getattr(self, name)!r}")
        self.policy()

    def policy(self) -> RetryPolicy:
        """The same in the words of the library."""
        parts = None if self.retryable_errors is None else [_plain(part) for part in self.retryable_errors]

        def retries(error: BaseException) -> bool:
            if isinstance(error, Misused) or not isinstance(error, Exception):
                return False
            name = "" if isinstance(error, StageFailed) else _plain(type(error).__name__)
            return parts is None or any(part in name or part in _plain(str(error)) for part in parts)

        return RetryPolicy(
            self.max_attempts,
            self.initial_delay_ms / 1000,
            self.max_delay_ms / 1000,
            self.backoff_multiplier,
            retries,
            self.jitter,
        )


def _plain(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


class StageDefinition(Record):
    """One stage of a pipeline.

    Attributes:
        id: Unique in its pipeline.
        stage: What runs.
        pattern: See `ExecutionPattern`.
        inputs: Ids of the stages whose outputs it takes. None: the pipeline's input; one: its output; more:
            a dict of outputs by id. A stage that was skipped gives None.
        condition: Asked with the context just before the stage; false skips it.
        retry_config: None for one call.
        timeout_ms: Of one attempt.
        critical: A skip of it is worth a word in the result's metadata.
        max_concurrent_fan_out: Items at a time, for FAN_OUT.
        description: One line for people.
        limits: Named limits that every attempt holds, shared with other stages, runs and natively: a `Limit`
            each, or one taken more than once, ``limit.take(2)``.
        input_type, output_type: What goes in and out must be of these classes (each item, for FAN_OUT).

    Raises:
        TypeError: A field is of the wrong type.
        ValueError: A number is out of range, or there is no such pattern.
    """

    id: str
    stage: PipelineStage
    pattern: ExecutionPattern = ExecutionPattern.SEQUENTIAL
    inputs: Sequence[str] = ()
    condition: Callable[[PipelineContext], Any] | None = None
    retry_config: RetryConfig | None = None
    timeout_ms: float | None = None
    critical: bool = True
    max_concurrent_fan_out: int = 4
    description: str | None = None
    input_type: Any = None
    output_type: Any = None
    limits: Sequence[Limit | LimitUse] = ()

    def __post_init__(self) -> None:
        label = f"stage {self.id!r}"
        if isinstance(self.inputs, str) or not isinstance(self.inputs, Sequence):
            raise TypeError(f"{label}: inputs is a list of ids, not {self.inputs!r}; say inputs=['...']")
        if not all(isinstance(one, str) for one in self.inputs):
            raise TypeError(f"{label}: inputs is a list of ids, not {self.inputs!r}")
        self._settle("inputs", tuple(self.inputs))
        self._settle("pattern", ExecutionPattern(self.pattern))
        given_limits = () if isinstance(self.limits, (str, Limit)) else self.limits
        uses = tuple([LimitUse(one) if isinstance(one, Limit) else one for one in given_limits])
        if isinstance(self.limits, (str, Limit)) or not all(isinstance(one, LimitUse) for one in uses):
            raise TypeError(f"{label}: limits is a list of Limit, not {self.limits!r}")
        self._settle("limits", uses)
        if self.condition is not None and not callable(self.condition):
            raise TypeError(f"{label}: condition is a function of the context, not {self.condition!r}")
        if self.retry_config is not None and not isinstance(self.retry_config, RetryConfig):
            raise TypeError(f"{label}: retry_config is a RetryConfig, not {self.retry_config!r}")
        if not isinstance(self.critical, bool):
            raise TypeError(f"{label}: critical is True or False, not {self.critical!r}")
        if self.description is not None and not isinstance(self.description, str):
            raise TypeError(f"{label}: description is a text, not {self.description!r}")
        for word in ("input_type", "output_type"):
            given = getattr(self, word)
            for one in given if isinstance(given, tuple) else (given,):
                if one is not None and not isinstance(one, type | UnionType):
                    raise TypeError(f"{label}: {word} is a class, not {given!r}")
        try:
            self.timeout()
            Limit("fan-out", capacity=self.max_concurrent_fan_out)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{label}: timeout_ms and max_concurrent_fan_out are above 0 ({error})"
            ) from None
        if isinstance(self.stage, Gate):
            self._check_gate(label, self.stage)

    def _check_gate(self, label: str, gate: Gate) -> None:
        fans = self.pattern is ExecutionPattern.FAN_OUT
        if fans or self.retry_config or self.limits or self.input_type or self.output_type:
            raise ValueError(
                f"{label}: a Gate calls nothing, so it has no fan-out, retries, limits or types but its own"
            )
        gate.asked(label, None if self.timeout_ms is None else self.timeout_ms / 1000)

    def timeout(self) -> Timeout | None:
        """The time of one attempt, in the words of the library."""
        if isinstance(self.timeout_ms, bool):
            raise TypeError("timeout_ms is a number")
        return None if self.timeout_ms is None else Timeout(attempt=self.timeout_ms / 1000)

    @property
    def name(self) -> str:
        """What the stage calls itself, or else its id."""
        try:
            name = getattr(self.stage, "name", None)
        except Exception:  # it is somebody's property
            name = None
        return name if isinstance(name, str) and name else self.id


class Named(Mapping[str, StageResult[Any]]):
    """Results of stages, by id and in the order of definition; each has the name of its stage.

    A stage that does not say its name gets it here, when somebody looks: a frozen model is dear to copy.
    """

    def __init__(self, stages: Sequence[StageDefinition], results: Mapping[str, StageResult[Any]]) -> None:
        self._stages = {stage.id: stage for stage in stages if stage.id in results}
        self._results = results
        self._named: dict[str, StageResult[Any]] = {}

    def __getitem__(self, id: str) -> StageResult[Any]:
        named = self._named.get(id)
        if named is None:
            named = self._results[id]
            if not named.stage_name:
                named = type(named)(**{**named.__dict__, "stage_name": self._stages[id].name})
            self._named[id] = named
        return named

    def __iter__(self) -> Iterator[str]:
        return iter(self._stages)

    def __len__(self) -> int:
        return len(self._stages)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # stages need not travel

    def skipped_critical(self) -> list[str]:
        """Ids of the critical stages that were skipped."""
        found = self._results
        return [
            id for id, stage in self._stages.items()
            if stage.critical and found[id].metadata.get("skipped") is True
        ]  # fmt: skip


class PipelineResult(Record):
    """What one execution came to.

    Attributes:
        success: Whether every stage succeeded or was skipped.
        outputs: Of the stages that succeeded, by id; None for those that were skipped.
        stage_results: Of the stages that ended by themselves, by id.
        failed_stages: Ids; ``["validation"]`` for a pipeline that is not valid.
        total_duration_ms: From start to end.
        metadata: ``run_id``, ``stage_durations_ms`` by id, ``cancelled`` (stages that were cut off),
            ``skipped_critical``; ``reason``, ``warnings`` and ``validation_errors`` where there are any.
    """

    success: bool
    outputs: Mapping[str, Any]
    stage_results: Mapping[str, StageResult[Any]]
    failed_stages: list[str]
    total_duration_ms: float
    metadata: Mapping[str, Any]

    def get_output(self, stage_id: str, default: Any = None) -> Any:
        """The output of a stage, or the default where it has none."""
        return self.outputs.get(stage_id, default)

    def get_result(self, stage_id: str) -> StageResult[Any] | None:
        """The result of a stage; None if it never ended."""
        return self.stage_results.get(stage_id)
