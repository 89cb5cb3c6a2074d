"""The readable model: what a graph is made of, as people see it. Data only; nothing here runs anything.

`Node`, `Need` and `Condition` are named tuples because a graph of 100,000 steps makes as many of them;
the policies, made by hand and few, are records that check their values.
"""

from __future__ import annotations

import enum
import math
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from .amounts import check_seconds, is_number, is_whole, shown
from .record import Record

T_co = TypeVar("T_co", covariant=True)

Kind = Literal["step", "gate", "gather"]
How = Literal["use", "each", "gather", "outcome", "after"]
Failures = Literal["raise", "drop", "keep"]
OnFailure = Literal["stop", "drain", "continue"]
Scope = Literal["run", "process", "store"]
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
        kind: ``error`` (the step raised), ``timeout``, ``condition`` (its condition raised), ``cancelled``,
            ``lost_worker`` (its process died), ``retry_past_deadline`` (another attempt would be too late),
            ``not_storable`` (no codec knows its value), ``recoveries`` (the run's process died too often).
        type: Name of the exception's class.
        text: Text of the exception.
        trace: The formatted traceback, without frames of this library; empty when there is none.
        retryable: Whether another attempt could help, judged where the exception was.
        attempt: Number of the attempt, from 1.
        retry_after: Seconds asked for by `RetryAfter`, else None.
        abandoned: What could not be stopped and goes on by itself, else None.
        note: What the run adds: why there was no further attempt, where that is not plain.
    """

    kind: Literal[
        "error", "timeout", "condition", "cancelled", "lost_worker", "retry_past_deadline", "not_storable",
        "recoveries",
    ]  # fmt: skip
    type: str
    text: str
    trace: str = ""
    retryable: bool = True
    attempt: int = 1
    retry_after: float | None = None
    abandoned: Abandoned | None = None
    note: str = ""

    _hidden = "trace"

    def __str__(self) -> str:
        said = f"{self.type}: {self.text}" if self.text else self.type
        return f"{said} ({self.note})" if self.note else said

    def but(self, **changes: Any) -> Failure:
        """The same failure with some fields changed."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in type(self)._fields}
        return Failure(**{**fields, **changes})


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
        if not is_whole(self.max_attempts) or self.max_attempts < 1:
            raise ValueError(
                f"RetryPolicy: max_attempts counts all calls, so it is at least 1, not {self.max_attempts!r}"
            )
        for name in ("initial_delay", "max_delay"):
            check_seconds("RetryPolicy", name, getattr(self, name))
        if not is_number(self.exponential_base) or not self.exponential_base >= 1:
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
    """How long a step may take. A bare number, where one is taken, means `attempt`.

    Attributes:
        attempt: Seconds for one attempt, from its real start.
        total: Seconds for all attempts and the waits between them, from the start of the first.
        idle: Seconds that an attempt may go without a sign of life: `Context.heartbeat`, `progress` or `log`,
            or an element of a stream.

    Raises:
        ValueError: None is given, or one is not a number above 0.
    """

    attempt: float | None = None
    total: float | None = None
    idle: float | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("attempt", "total", "idle") if getattr(self, name) is not None]
        if not given:
            raise ValueError("Timeout: give attempt, total or idle, in seconds")
        for name in given:
            check_seconds("Timeout", name, getattr(self, name), above=True)


class Rate(NamedTuple):
    """At most `starts` starts in every window of `per` seconds, wherever the window begins."""

    starts: int
    per: float = 1.0


class Limit(Record):
    """A named resource that steps share.

    Attributes:
        name: Two limits of one name must be equal.
        capacity: Attempts that may hold it at a time, counted by weight; None for no bound.
        rate: Starts per time, counted by weight; None for no bound.
        scope: Who shares it: the steps of one ``run``, or all runs of this ``process``.
    """

    name: str
    capacity: int | None = None
    rate: Rate | None = None
    scope: Scope = "run"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"Limit: the name must be a text that is not empty, not {self.name!r}")
        if self.capacity is None and self.rate is None:
            raise ValueError(f"Limit {self.name!r}: give a capacity, a rate, or both")
        if self.capacity is not None and (not is_whole(self.capacity) or self.capacity < 1):
            raise ValueError(
                f"Limit {self.name!r}: capacity counts attempts, so it is an int of at least 1, "
                f"not {self.capacity!r}"
            )
        if self.rate is not None:
            given = self.rate if isinstance(self.rate, (tuple, list)) and 1 <= len(self.rate) <= 2 else ()
            if not given:
                starts = self.rate if is_whole(self.rate) else 10
                raise ValueError(
                    f"Limit {self.name!r}: a rate is starts per time, not {shown(self.rate)}; "
                    f"say rate=Rate({starts}, per=1.0)"
                )
            rate = Rate(*given)
            if (
                not (is_whole(rate.starts) and rate.starts >= 1)
                or not is_number(rate.per)
                or not 0 < rate.per < math.inf
            ):
                raise ValueError(
                    f"Limit {self.name!r}: a rate is an int of 1 or more starts per more than 0 s, "
                    f"not {tuple(rate)!r}"
                )
            self._settle("rate", rate)
        if self.scope == "store":
            raise NotImplementedError(f"Limit {self.name!r}: scope='store' comes with the journal")
        if self.scope not in ("run", "process"):
            raise ValueError(f"Limit {self.name!r}: scope is 'run' or 'process', not {self.scope!r}")

    def take(self, weight: int) -> LimitUse:
        """This limit, held `weight` times by each attempt.

        Raises:
            ValueError: It is no int of at least 1.
        """
        if not is_whole(weight) or weight < 1:
            raise ValueError(
                f"Limit {self.name!r}: take counts permits, so it is given an int of at least 1, "
                f"not {shown(weight)}"
            )
        return LimitUse(self, weight)


class LimitUse(NamedTuple):
    """One step's share of a limit: `weight` permits, and as many tokens of its rate, per attempt."""

    limit: Limit
    weight: int = 1


class Quorum(Record):
    """How many items of a map must succeed for a `gather` to hold.

    It waits for all items, like every trigger, and gives the successes. Items left out by a condition count
    on neither side.

    Attributes:
        least: An int counts items; a float up to 1.0 is a share of those that were not left out, rounded up.
    """

    least: int | float

    def __post_init__(self) -> None:
        most = math.inf if is_whole(self.least) else 1
        if not is_number(self.least) or not 0 <= self.least <= most:
            raise ValueError(
                f"Quorum: give a number of items (int, 0 or more) or a share (float, 0.0 to 1.0), "
                f"not {self.least!r}"
            )

    def of(self, items: int) -> int:
        """How many successes are needed among so many items."""
        if isinstance(self.least, int):
            return self.least
        return math.ceil(self.least * items - 1e-9)  # 0.7 of 10 is 7, and 0.7 * 10 a little more


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
        part: Key or index of one element of the value, for ``use``; of the element, for ``each``. Several
            ``each`` of one node are parts of the elements of one source.
        failures: What a ``gather`` makes of items that failed.
        levels: How many map levels a ``gather`` removes.
        key: For ``each``: what tells an element from the others, a str or an int; None for its index.
    """

    node: str
    how: How = "use"
    param: str | None = None
    accepts: Accepts = Accepts.NOTHING
    default: Any = None
    part: str | int | None = None
    failures: Failures | Quorum = "raise"
    levels: int = 1
    key: Callable[[Any], str | int] | None = None


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
        shared: Parameter that receives what the run's steps share.
    """

    call: Callable[..., bool | Awaitable[bool]]
    needs: tuple[tuple[str, int], ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()
    is_async: bool = False
    shared: str | None = None


class Node(NamedTuple):
    """One piece of work, defined. The core's word for what faces call step, task or stage.

    Attributes:
        id: Unique within its graph.
        call: What an attempt calls, with keyword arguments only.
        needs: What it waits for, in the order of definition.
        kind: ``step``; ``gate``: waits for an answer from outside instead of calling anything; ``gather``:
            its one need is a gather, and `call` takes what it has so far and the next item, in input order,
            as items end; `bound` has what it begins with, as ``initial``.
        inputs: Pairs (parameter, name of a run input).
        bound: Parameters with constant values.
        context: Parameter that receives the attempt's `Context`.
        is_async: `call` returns an awaitable.
        stream: `call` returns an iterator (async iterator) of elements.
        retry, timeout, trigger, when, limits: See their classes.
        optional: Its failure is bearable: it neither stops nor fails the run.
        runner: Name of the runner of its attempts; None for the run's default.
        keep: Keep its value to the end of the run even where its consumers have had it.
        volatile: Its value cannot leave this process, so neither it nor its consumers may.
        resources: Pairs (parameter, `Resource`): opened at first use.
        doc: One line for people.
        origin: ``file:line`` of its definition, for error texts.
        shared: Parameter that receives what the run's steps share, as it is when the attempt is handed out
            or later; what they write into it they hand back as `Written`. Others write meanwhile, so from
            another thread it is looked up in or copied whole, and never iterated over. If it has a method
            ``parting``, that is asked with the id of a node whose failure is about to be recorded, and with
            the failure, for what the node leaves all the same: writes, as `update` takes them.
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
    volatile: bool = False
    resources: tuple[tuple[str, Resource], ...] = ()
    doc: str = ""
    origin: str = ""
    shared: str | None = None


class Resource(NamedTuple):
    """Something that is opened once and shared: a connection, a model, a client.

    Attributes:
        id: Its name.
        call: A generator function, or an async one: what it yields is the value, what follows closes it. Or a
            function that returns a context manager, or an async one.
        inputs: Pairs (parameter, name of a run input).
        resources: Pairs (parameter, `Resource`): others that it is made of.
        scope: ``run``: one for the whole run; ``worker``: one for each thread or process that asks.
        is_async: It is opened and closed on the event loop, for async steps only.
    """

    id: str
    call: Callable[..., Any]
    inputs: tuple[tuple[str, str], ...] = ()
    resources: tuple[tuple[str, Resource], ...] = ()
    scope: Literal["run", "worker"] = "run"
    is_async: bool = False


class Abandoned(NamedTuple):
    """An attempt that could not be stopped and goes on by itself.

    Attributes:
        name: Of the thread or task.
        path: Whose attempt it is: a step's id, or an item's path.
        stack: Where it was when it was given up, as text; empty where that cannot be seen.
    """

    name: str
    path: str
    stack: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.path})"


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


class NodePath(NamedTuple):
    """A node, or one item of a map: its id and its indices, or keys, outermost first."""

    node: str
    items: tuple[int | str, ...] = ()

    def __str__(self) -> str:
        return f"{self.node}[{','.join(map(str, self.items))}]" if self.items else self.node


class RunStarted(NamedTuple):
    """The first event of every run.

    `shape` is the list of (id, ids of its needs), by which a reader sees the graph without the code.
    """

    run_id: str
    flow: str
    shape: tuple[tuple[str, tuple[str, ...]], ...]
    seed: int
    inputs: Mapping[str, Any]
    targets: tuple[str, ...] | None
    override: tuple[str, ...]
    options: Mapping[str, Any]
    tags: Mapping[str, str]
    parent: str | None
    at: float


_WORDS_OF = {
    "on_failure": ("stop", "drain", "continue"),
    "values": ("shared", "copied"),
    "durability": ("process", "power", None),
    "on_change": ("refuse", "keep", "rerun"),
    "capture": (True, False, None),
    "profile": (True, False),
}
_LEAST = {"max_concurrency": 1, "retry_budget": 0, "max_abandoned": 0, "max_recoveries": 0}


class RunOptions(Record):
    """How one run goes, beyond what its graph says.

    Attributes:
        on_failure: ``stop``: nothing new starts and running attempts are cancelled; ``drain``: nothing new
            starts, running ones finish and count; ``continue``: all that does not depend on it runs.
        max_concurrency: Attempts that run at the same time, over all runners; None for no bound.
        deadline: Seconds for the whole run; then it stops, and has failed. None for no bound.
        grace: Seconds that attempts and clean-up steps get after a stop or cancel before they are given up.
        retry_budget: Retries in the whole run; when they are used up, a failure is final. None for no bound.
        max_abandoned: Attempts that may be left behind; one more fails the run.
        values: ``shared``: consumers receive the very object that a step returned; ``copied``: each one
            receives a deep copy of its own.
        seed: Makes jitter repeatable; None draws one.
        tags: Words of the caller's own; they travel with the run's events.
        observers: Callables that receive every event, in order, after it is recorded; in a thread of their
            own, for which the run waits at its end, `grace` seconds at most.
        context_vars: Context variables that travel to worker processes, each as ``"module:name"``; their
            values must be picklable. Threads and coroutines see all of them anyway.
        workdir: Where the folders of `Context.workdir` are; None for ``.penstock/work``.
        durability: What a commit to the store survives: ``process``, the death of the process, or ``power``,
            the loss of power as well. The last one of a run always survives both. None for ``process``.
        max_recoveries: Times in a row that a run may be taken over after its process has died; then what it
            was at fails.
        on_change: What is done on a resume about finished steps whose code is not what it was: ``refuse`` to
            go on, ``keep`` what they made, or ``rerun`` them and all that follows from them.
        rerun: Ids of steps that a resumed run does again, with all that follows from them.
        capture: What steps print, and log by `logging`, becomes events of the run, and is kept with it; None
            where the run is kept.
        profile: What attempts use is measured: processor time, and in processes memory.
    """

    on_failure: OnFailure = "stop"
    max_concurrency: int | None = None
    deadline: float | None = None
    grace: float = 10.0
    retry_budget: int | None = None
    max_abandoned: int = 32
    values: Literal["shared", "copied"] = "shared"
    seed: int | None = None
    tags: Mapping[str, str] = MappingProxyType({})
    observers: Sequence[Callable[[Any], None]] = ()
    context_vars: Sequence[str] = ()
    workdir: str | os.PathLike[str] | None = None
    durability: Literal["process", "power"] | None = None
    max_recoveries: int = 10
    on_change: Literal["refuse", "keep", "rerun"] = "refuse"
    rerun: Sequence[str] = ()
    capture: bool | None = None
    profile: bool = False

    def __post_init__(self) -> None:
        for name, words in _WORDS_OF.items():
            value = getattr(self, name)
            if value not in words or type(value) is int:
                *some, last = [repr(word) for word in words if word is not None]
                said = f"{', '.join(some)} or {last}"
                raise ValueError(f"RunOptions: {name} is {said}, not {value!r}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is None and name in ("max_concurrency", "retry_budget"):
                continue
            if not is_whole(value) or value < least:
                raise ValueError(f"RunOptions: {name} must be an int of at least {least}, not {value!r}")
        if self.seed is not None and not is_whole(self.seed):
            raise ValueError(f"RunOptions: seed must be an int, not {self.seed!r}")
        check_seconds("RunOptions", "grace", self.grace)
        if self.deadline is not None:
            check_seconds("RunOptions", "deadline", self.deadline, above=True)
        path = self.workdir
        if path is not None and not (isinstance(path, (str, os.PathLike)) and str(path)):
            raise ValueError(f"RunOptions: workdir is a path, not {shown(path)}")
        if "\0" in str(path):
            raise ValueError(f"RunOptions: workdir is a path, and no path has a NUL character: {shown(path)}")
        if not isinstance(self.tags, Mapping) or not all(isinstance(word, str) for word in _all(self.tags)):
            raise ValueError(
                f"RunOptions: tags is a dict of texts, not {shown(self.tags)}; say tags={{'name': 'text'}}"
            )
        if isinstance(self.context_vars, str) or not isinstance(self.context_vars, Iterable):
            raise ValueError("RunOptions: context_vars is a list of names, each as 'module:name'")
        if isinstance(self.rerun, str) or not isinstance(self.rerun, Iterable):
            raise ValueError(f"RunOptions: rerun is a list of ids of steps; say rerun=[{self.rerun!r}]")
        self._settle("rerun", tuple(self.rerun))
        self._settle("context_vars", tuple(self.context_vars))
        self._settle("observers", _observers(self.observers))
        for name in self.context_vars:
            if not isinstance(name, str) or not all(name.partition(":")):
                raise ValueError(f"RunOptions: a context variable is named 'module:name', not {name!r}")


def _all(words: Mapping[Any, Any]) -> Iterator[Any]:
    for item in words.items():
        yield from item


_CALLED_FOR_NOTHING = 0x20 | 0x80 | 0x200  # code flags of generators, coroutines and async generators


def _observers(given: Any) -> tuple[Callable[[Any], None], ...]:
    """The observers of a run, if they can be called with events.

    Raises:
        ValueError: They are no list, or one of them cannot.
    """
    if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
        name = getattr(given, "__name__", None) if callable(given) else None
        raise ValueError(
            f"RunOptions: observers is a list of functions, not {shown(given)}; "
            f"say observers=[{name or '...'}]"
        )
    observers = tuple(given)
    for one in observers:
        if not callable(one):
            raise ValueError(f"RunOptions: an observer is a function of an event, not {shown(one)}")
        if not isinstance(one, type) and _flags(one) & _CALLED_FOR_NOTHING:
            raise ValueError(
                f"RunOptions: an observer is called, and never awaited or iterated, so {shown(one)} would do "
                "nothing; give a plain function, which may hand the event on to a queue or a loop"
            )
    return observers


def _flags(function: Any) -> int:
    """What the code of a callable says of itself."""
    while hasattr(function, "func"):  # a partial
        function = function.func
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return getattr(code, "co_flags", 0)
