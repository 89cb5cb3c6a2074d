"""The options of a step: which there are, and what each takes. Checked where the step is defined.

The defaults of a flow are options too; they are added to those of each of its steps here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from penstock.core.amounts import is_number, is_whole, shown
from penstock.core.checks import SYNC_ONLY
from penstock.core.errors import GraphError, nearest
from penstock.core.model import Limit, LimitUse, RetryPolicy, Timeout, TriggerName

from .later import refuse_option
from .markers import Marker, Source
from .signature import Facts


class StepOptions(TypedDict, total=False):
    """What `flow.step` and `flow.add` take beside the function. None is as good as not given, and switches
    a default of the flow off.

    Attributes:
        retry: When to try again; without it a step is tried once.
        timeout: Seconds for one attempt, or a `Timeout`. An ``idle`` of it is for steps that take a `Context`
            or yield: no other gives signs of life.
        when: A function that says whether the step runs at all; its parameters are those of the step, other
            steps, or inputs of the run, by name. It returns a bool, or awaits to one.
        trigger: Which ends of the needs let the step start: one of the names, or a function of `Outcome`s
            that is bound as `when` is.
        limits: The `Limit`s that each attempt holds, ``gpu.take(2)`` to hold more than one permit.
        max_concurrency: How many attempts of this step run at a time, those of all items of its map together.
        after: Steps that must have ended first, without data.
        optional: Its failure neither stops nor fails the run.
        runner: Name of the runner of its attempts.
        name: Its id, where that is not the function's name.
        keep: Keep its value to the end of the run even where its consumers have had it.
        volatile: Its value cannot leave this process (an open file, a lock), so neither it nor a step that
            takes its value may run in another.
        pair: How several ``each`` of the step come together: ``zipped``, the first element of one with the
            first of the other, and so on; ``product``, each of one with each of the other, the last one
            fastest.
    """

    retry: RetryPolicy | None
    timeout: float | Timeout | None
    when: Callable[..., bool | Awaitable[bool]]
    trigger: TriggerName | Callable[..., bool | Awaitable[bool]]
    limits: Sequence[Limit | LimitUse] | None
    max_concurrency: int | None
    after: Sequence[Source[Any]]
    optional: bool
    runner: str | None
    name: str
    keep: bool
    volatile: bool
    pair: Literal["zipped", "product"]


OPTIONS = frozenset(StepOptions.__annotations__)
"""Every keyword that is an option; `name` among them."""

_OF_ONE_STEP = frozenset({"name", "when", "trigger", "after", "pair"})
"""Options that make no sense as a default of many steps."""

OF_GATES = frozenset({"when", "trigger", "after", "optional", "keep"})
"""Options that make sense for what only waits."""


def checked(label: str, options: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """The options in the form the graph wants: ``timeout`` a `Timeout`, ``limits`` all `LimitUse`.

    An option that is given as None stays None: it may switch off a default.

    Raises:
        GraphError: There is no such option, or its value is of the wrong kind.
    """
    done: dict[str, Any] = {}
    for name, value in options.items():
        check = _CHECKS.get(name)
        if check is None:
            raise _no_such_option(label, name, facts)
        if isinstance(value, Marker):
            raise GraphError(
                f"{label}: {name!r} is an option of the step, so it takes no marker;\n"
                f"for a parameter of that name say bind={{{name!r}: {value!r}}}"
            )
        done[name] = None if value is None else check(label, value)
    return done


def checked_defaults(flow: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a flow, in the form the graph wants.

    Raises:
        GraphError: There is no such option, it cannot be a default, or its value is of the wrong kind.
    """
    label = f"flow {flow!r}: defaults"
    if not isinstance(options, Mapping):
        raise GraphError(
            f"{label} takes a dict of options, not {shown(options)}; say defaults={{'timeout': 60}}"
        )
    for name in options:
        if name in _OF_ONE_STEP:
            raise GraphError(f"{label}: {name!r} is for one step; give it to each step that wants it")
        if name not in OPTIONS:
            refuse_option(name, label)
            raise GraphError(f"{label}: there is no option {name!r}{nearest(name, OPTIONS - _OF_ONE_STEP)}")
    done = merged(label, {}, checked(label, options, Facts(None, [], None, open=False, is_async=False)))
    if done.get("runner") == "inline" and "timeout" in done:
        raise GraphError(
            f"{label}: an inline step cannot be stopped, so it takes no timeout; "
            "leave out runner='inline' or the timeout"
        )
    return done


def merged(
    label: str, defaults: Mapping[str, Any], options: Mapping[str, Any], facts: Facts | None = None
) -> dict[str, Any]:
    """The options of a step over the defaults of its flow. What is None is off.

    A default runner is for the steps that it can call: coroutines need the event loop, and other steps
    cannot use it.

    Raises:
        GraphError: A default does not go together with what the step says.
    """
    done = {**defaults, **options}
    if facts is not None and "runner" in defaults and "runner" not in options:
        runner = defaults["runner"]
        if runner in SYNC_ONLY if facts.is_async else runner == "aio":
            del done["runner"]
    if "timeout" in defaults and "timeout" not in options and done.get("runner") == "inline":
        raise GraphError(
            f"{label}: an inline step cannot be stopped, and the flow has a timeout for all its steps;\n"
            "say timeout=None here, or leave out runner='inline'"
        )
    return {name: value for name, value in done.items() if value is not None}


def _no_such_option(label: str, name: str, facts: Facts) -> GraphError:
    if name == "repeat":
        return GraphError(f"{label}: a loop is made of the finished step: repeat(step, until=..., max=...)")
    if name in facts.names:
        return GraphError(
            f"{label}: {name!r} is a parameter, and flow.step takes options only;\n"
            f"give it its marker or value as a default, or use flow.add(..., {name}=...)"
        )
    refuse_option(name, label)
    return GraphError(f"{label}: there is no option {name!r}{nearest(name, OPTIONS)}")


def _retry(label: str, value: Any) -> RetryPolicy:
    if isinstance(value, RetryPolicy):
        return value if value.jitter is not None else value.spread()
    if type(value) is int:
        raise GraphError(
            f"{label}: retry takes a RetryPolicy, not {value}; say retry=RetryPolicy(max_attempts={value})"
        )
    raise GraphError(
        f"{label}: retry takes a RetryPolicy, not {value!r}; say retry=RetryPolicy(max_attempts=3)"
    )


def _timeout(label: str, value: Any) -> Timeout:
    if isinstance(value, Timeout):
        return value
    if not is_number(value):
        raise GraphError(f"{label}: timeout takes seconds or a Timeout, not {shown(value)}")
    if not value > 0:
        raise GraphError(
            f"{label}: timeout must be more than 0 s, not {shown(value)}; leave it out for no timeout"
        )
    return Timeout(value)


def _when(label: str, value: Any) -> Any:
    if isinstance(value, Source):
        raise GraphError(
            f"{label}: when takes a function, not the step {value.id!r}; to ask for its value say "
            f"when=lambda {value.id}: {value.id}"
        )
    if not callable(value):
        raise GraphError(f"{label}: when takes a function that returns a bool, not {value!r}")
    return value


def _trigger(label: str, value: Any) -> Any:
    if isinstance(value, Source):
        raise GraphError(
            f"{label}: trigger takes a name or a function, not the step {value.id!r}; order is after=[...]"
        )
    if not isinstance(value, str) and not callable(value):
        raise GraphError(f"{label}: trigger takes a name or a function of outcomes, not {value!r}")
    return value


def _limits(label: str, value: Any) -> tuple[LimitUse, ...]:
    if isinstance(value, (Limit, LimitUse)):
        raise GraphError(f"{label}: limits takes a list; say limits=[...]")
    try:
        uses = tuple([LimitUse(use) if isinstance(use, Limit) else use for use in value])
    except TypeError:
        uses = (value,)
    for use in uses if not isinstance(value, str) else (value,):
        if not isinstance(use, LimitUse) or not isinstance(use.limit, Limit):
            name = use if isinstance(use, str) else "api"
            raise GraphError(
                f"{label}: limits takes Limit objects, not {use!r}; say limits=[Limit({name!r}, capacity=4)]"
            )
    return uses


def _source_of(value: Any) -> Any:
    return value.source if isinstance(value, Marker) else value


def _after(label: str, value: Any) -> tuple[Source[Any], ...]:
    if isinstance(value, (Source, Marker, str)):
        name = value if isinstance(value, str) else _source_of(value).id
        raise GraphError(f"{label}: after takes a list of steps; say after=[{name}]")
    try:
        sources = tuple(value)
    except TypeError:
        raise GraphError(f"{label}: after takes a list of steps, not {value!r}") from None
    for source in sources:
        if isinstance(source, Marker):
            raise GraphError(
                f"{label}: after takes the steps themselves; say {source.source.id} for {source!r}"
            )
        if not isinstance(source, Source):
            raise GraphError(f"{label}: after takes steps, not {source!r}")
        if source.flow is None:
            raise GraphError(
                f"{label}: after takes steps, and {source!r} is an input of the run: it is there at once"
            )
    return sources


def _max_concurrency(label: str, value: Any) -> int:
    if not is_whole(value) or value < 1:
        raise GraphError(
            f"{label}: max_concurrency counts attempts, so it is an int of at least 1, not {value!r}"
        )
    return int(value)


def _flag(name: str) -> Callable[[str, Any], bool]:
    def check(label: str, value: Any) -> bool:
        if value is not True and value is not False:
            raise GraphError(f"{label}: {name} is True or False, not {value!r}")
        return value

    return check


def _runner(label: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise GraphError(f"{label}: runner is the name of a runner, not {value!r}")
    return value


def _pair(label: str, value: Any) -> str:
    if value not in ("zipped", "product"):
        near = nearest(str(value), ("zipped", "product"))
        raise GraphError(f"{label}: pair is 'zipped' or 'product', not {value!r}{near}")
    return str(value)


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "retry": _retry,
    "timeout": _timeout,
    "when": _when,
    "trigger": _trigger,
    "limits": _limits,
    "max_concurrency": _max_concurrency,
    "after": _after,
    "optional": _flag("optional"),
    "runner": _runner,
    "keep": _flag("keep"),
    "volatile": _flag("volatile"),
    "pair": _pair,
}
