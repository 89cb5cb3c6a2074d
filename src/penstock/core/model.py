"""The readable model: what a graph is made of, as people see it. Data only; nothing here runs anything.

`Node`, `Need` and `Condition` are named tuples because a graph of 100,000 steps makes as many of them;
the policies, made by hand and few, are records that check their values.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from .record import Record

T_co = TypeVar("T_co", covariant=True)

Kind = Literal["step", "gate"]
How = Literal["use", "each", "gather", "outcome", "after"]
Failures = Literal["raise", "drop", "keep"]
OnFailure = Literal["stop", "drain", "continue"]
TriggerName = Literal["all_succeeded", "all_done", "none_failed", "any_succeeded", "all_failed", "always"]
TRIGGERS: tuple[TriggerName, ...] = (
    "all_succeeded",
    "all_done",
    "none_failed",
    "any_succeeded",
    "all_failed",
    "always",
)


class NodeStatus(enum.Enum):
    """Where a node, or one item of a map, stands in its run."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    RETRYING = "retrying"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """True for the four statuses that a node never leaves."""
        return self in (NodeStatus.SUCCEEDED, NodeStatus.FAILED, NodeStatus.SKIPPED, NodeStatus.CANCELLED)


class RunStatus(enum.Enum):
    """Where a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class SkipCause(enum.Enum):
    """Why a node was never started."""

    CONDITION = "condition"  # its own condition, or that of a node it needs, said no
    UPSTREAM = "upstream"  # a failure lies above it
    STOPPED = "stopped"  # the run was stopped first


class Accepts(enum.IntFlag):
    """What a need takes besides success (semantics.md §3)."""

    NOTHING = 0
    CONDITION = 1
    UPSTREAM = 2
    FAILED = 4
    ANYTHING = 7


class Ok(Record, Generic[T_co]):
    """An attempt that succeeded, and its value."""

    value: T_co
    source: Literal["run", "reused", "cache", "override"] = "run"


class Failure(Record):
    """An attempt that failed, as data: no live exception is kept, so nothing leaks with it.

    Attributes:
        kind: ``error`` (the step raised), ``timeout``, ``condition`` (its condition raised), ``cancelled``.
        type: Name of the exception's class.
        text: Text of the exception.
        trace: The formatted traceback, without frames of this library; empty when there is none.
        retryable: Whether another attempt could help, judged where the exception was.
        attempt: Number of the attempt, from 1.
        retry_after: Seconds asked for by `RetryAfter`, else None.
        abandoned: What could not be stopped and goes on by itself (a thread's name), else None.
    """

    kind: Literal["error", "timeout", "condition", "cancelled"]
    type: str
    text: str
    trace: str = ""
    retryable: bool = True
    attempt: int = 1
    retry_after: float | None = None
    abandoned: str | None = None

    _hidden = "trace"

    def __str__(self) -> str:
        return f"{self.type}: {self.text}" if self.text else self.type

    def numbered(self, attempt: int) -> Failure:
        """The same failure, as that of attempt number `attempt`."""
        fields = {name: getattr(self, name) for name in self.__match_args__}
        return Failure(**{**fields, "attempt": attempt})


class Skip(Record):
    """A node that was never started, and why.

    Attributes:
        cause: The kind of reason.
        because: Path of the node that caused it; None when the run was cancelled from outside.
    """

    cause: SkipCause
    because: str | None = None


Outcome = Ok[T_co] | Failure | Skip


class RetryPolicy(Record):
    """When to try again, and how long to wait.

    Attributes:
        max_attempts: Calls in all, the first included.
        initial_delay: Seconds before the second attempt.
        max_delay: Seconds, the cap of every delay (`RetryAfter` may go beyond).
        exponential_base: Each delay is the one before times this.
        retry_on: Exception types, or a predicate of the exception; a predicate that raises means no.
        jitter: ``full`` spreads each delay evenly over (0, delay], ``none`` keeps it exact, None leaves the
            choice to the face: ``full`` in the native API.

    Raises:
        ValueError: A number is out of range; the message names it.
        TypeError: `retry_on` is neither exception types nor a callable.
    """

    max_attempts: int = 3
    initial_delay: float = 1.0
    max_delay: float = 60.0
    exponential_base: float = 2.0
    retry_on: tuple[type[BaseException], ...] | Callable[[BaseException], bool] = (Exception,)
    jitter: Literal["full", "none"] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.max_attempts, int) or self.max_attempts < 1:
            raise ValueError(
                f"RetryPolicy: max_attempts counts all calls, so it is at least 1, not {self.max_attempts!r}"
            )
        for name in ("initial_delay", "max_delay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"RetryPolicy: {name} must be 0 s or more, not {getattr(self, name)!r}")
        if not self.exponential_base >= 1:
            raise ValueError(
                f"RetryPolicy: exponential_base must be 1 or more, not {self.exponential_base!r}"
            )
        if self.jitter not in (None, "full", "none"):
            raise ValueError(f"RetryPolicy: jitter must be 'full', 'none' or None, not {self.jitter!r}")
        types = self.retry_on
        if isinstance(types, type):
            types = (types,)
            self._settle("retry_on", types)
        if isinstance(types, tuple):
            for type_ in types:
                if not (isinstance(type_, type) and issubclass(type_, BaseException)):
                    raise TypeError(f"RetryPolicy: retry_on takes exception types, not {type_!r}")
        elif not callable(types):
            raise TypeError(f"RetryPolicy: retry_on takes exception types or a predicate, not {types!r}")

    def retries(self, error: BaseException) -> bool:
        """Whether another attempt is made after this error; a predicate that fails says no."""
        if isinstance(self.retry_on, tuple):
            return isinstance(error, self.retry_on)
        try:
            return self.retry_on(error) is True
        except BaseException:
            return False

    def spread(self) -> RetryPolicy:
        """The same policy with full jitter."""
        return RetryPolicy(
            self.max_attempts,
            self.initial_delay,
            self.max_delay,
            self.exponential_base,
            self.retry_on,
            "full",
        )

    def get_delay(self, attempt: int) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 1), without jitter."""
        try:
            delay = self.initial_delay * self.exponential_base ** (attempt - 1)
        except OverflowError:
            return self.max_delay
        return min(delay, self.max_delay)


class Timeout(Record):
    """How long a step may take.

    Attributes:
        attempt: Seconds for one attempt, from its real start.
    """

    attempt: float

    def __post_init__(self) -> None:
        if not self.attempt > 0:
            raise ValueError(f"Timeout: attempt must be more than 0 s, not {self.attempt!r}")


class Rate(NamedTuple):
    """At most `starts` starts in every window of `per` seconds, wherever the window begins."""

    starts: int
    per: float = 1.0


class Limit(Record):
    """A named resource that steps share within a run.

    Attributes:
        name: Two limits of one name must be equal.
        capacity: Attempts that may hold it at a time, counted by weight; None for no bound.
        rate: Starts per time, counted by weight; None for no bound.
    """

    name: str
    capacity: int | None = None
    rate: Rate | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("Limit: the name is empty")
        if self.capacity is not None and not isinstance(self.capacity, int):
            raise ValueError(
                f"Limit {self.name!r}: capacity counts attempts, so it is an int, not {self.capacity!r}"
            )
        if self.capacity is None and self.rate is None:
            raise ValueError(f"Limit {self.name!r}: give a capacity, a rate, or both")
        if self.capacity is not None and self.capacity < 1:
            raise ValueError(f"Limit {self.name!r}: capacity must be at least 1, not {self.capacity!r}")
        if self.rate is not None:
            rate = Rate(*self.rate)
            if not isinstance(rate.starts, int) or rate.starts < 1 or not rate.per > 0:
                raise ValueError(
                    f"Limit {self.name!r}: a rate is an int of 1 or more starts per more than 0 s"
                )
            self._settle("rate", rate)

    def take(self, weight: int) -> LimitUse:
        """This limit, held `weight` times by each attempt."""
        return LimitUse(self, weight)


class LimitUse(NamedTuple):
    """One step's share of a limit: `weight` permits, and as many tokens of its rate, per attempt."""

    limit: Limit
    weight: int = 1


class Need(NamedTuple):
    """One edge, seen from the node that waits.

    Attributes:
        node: Id of the node it waits for.
        how: ``use`` its value; ``each`` element of its value, one call per element; ``gather`` the values of
            all items of its map; ``outcome``, the `Outcome` whatever it is; ``after``, order without data.
        param: Parameter that receives it; None when only order, or only the condition, wants it.
        accepts: What else than success lets the node go on.
        default: What the parameter receives in place of an accepted non-success; `NOTHING` leaves the
            parameter to its own default.
        part: Key or index of one element of the value, for ``use``.
        failures: What a ``gather`` makes of items that failed.
        levels: How many map levels a ``gather`` removes.
    """

    node: str
    how: How = "use"
    param: str | None = None
    accepts: Accepts = Accepts.NOTHING
    default: Any = None
    part: str | int | None = None
    failures: Failures = "raise"
    levels: int = 1


class _Nothing(enum.Enum):
    NOTHING = "nothing"

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING = _Nothing.NOTHING
"""Stands where a value could be None but there is no value at all."""


class Condition(NamedTuple):
    """A question put to user code before a node starts: a `when`, or a trigger of the user's own.

    Attributes:
        call: Returns a bool, or awaits to one.
        needs: Pairs (parameter, index into the node's needs). A `when` receives values, a trigger `Outcome`s.
        inputs: Pairs (parameter, name of a run input).
        is_async: Whether the answer must be awaited.
    """

    call: Callable[..., bool | Awaitable[bool]]
    needs: tuple[tuple[str, int], ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()
    is_async: bool = False


class Node(NamedTuple):
    """One piece of work, defined. The core's word for what faces call step, task or stage.

    Attributes:
        id: Unique within its graph.
        call: What an attempt calls, with keyword arguments only.
        needs: What it waits for, in the order of definition.
        kind: ``step``, or ``gate``: waits for an answer from outside instead of calling anything.
        inputs: Pairs (parameter, name of a run input).
        bound: Parameters with constant values.
        context: Parameter that receives the attempt's `Context`.
        is_async: `call` returns an awaitable.
        stream: `call` returns an iterator (async iterator) of elements.
        retry, timeout, trigger, when, limits: See their classes.
        optional: Its failure is bearable: it neither stops nor fails the run.
        runner: Name of the runner of its attempts; None for the run's default.
        keep: Keep its value to the end of the run even where its consumers have had it.
        doc: One line for people.
        origin: ``file:line`` of its definition, for error texts.
    """

    id: str
    call: Callable[..., Any]
    needs: tuple[Need, ...] = ()
    kind: Kind = "step"
    inputs: tuple[tuple[str, str], ...] = ()
    bound: Mapping[str, Any] | None = None
    context: str | None = None
    is_async: bool = False
    stream: bool = False
    retry: RetryPolicy | None = None
    timeout: Timeout | None = None
    trigger: TriggerName | Condition = "all_succeeded"
    when: Condition | None = None
    optional: bool = False
    runner: str | None = None
    limits: tuple[LimitUse, ...] = ()
    keep: bool = False
    doc: str = ""
    origin: str = ""


class Input(NamedTuple):
    """One input of a run.

    Attributes:
        name: As given to the run call.
        type: Its annotation, or None when it has none.
        default: Its value when not given; `NOTHING` for an input that must be given.
        users: Ids of the nodes that take it, for error texts.
    """

    name: str
    type: Any = None
    default: Any = NOTHING
    users: tuple[str, ...] = ()


class RunOptions(Record):
    """How one run goes, beyond what its graph says.

    Attributes:
        on_failure: ``stop``: nothing new starts and running attempts are cancelled; ``drain``: nothing new
            starts, running ones finish and count; ``continue``: all that does not depend on it runs.
        max_concurrency: Attempts that run at the same time, over all runners; None for no bound.
        grace: Seconds that attempts and clean-up steps get after a stop or cancel before they are given up.
        seed: Makes jitter repeatable; None draws one.
        tags: Words of the caller's own; they travel with the run's events.
        observers: Callables that receive every event, in order, after it is recorded.
    """

    on_failure: OnFailure = "stop"
    max_concurrency: int | None = None
    grace: float = 10.0
    seed: int | None = None
    tags: Mapping[str, str] = MappingProxyType({})
    observers: Sequence[Callable[[Any], None]] = ()

    def __post_init__(self) -> None:
        if self.on_failure not in ("stop", "drain", "continue"):
            raise ValueError(
                f"RunOptions: on_failure is 'stop', 'drain' or 'continue', not {self.on_failure!r}"
            )
        if self.max_concurrency is not None and self.max_concurrency < 1:
            raise ValueError(f"RunOptions: max_concurrency must be at least 1, not {self.max_concurrency!r}")
        if not self.grace >= 0:
            raise ValueError(f"RunOptions: grace must be 0 s or more, not {self.grace!r}")
        self._settle("observers", tuple(self.observers))
