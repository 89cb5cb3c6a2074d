"""The options of a step: which there are, and what each takes. Checked where the step is defined."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypedDict

from penstock.core.errors import GraphError, nearest
from penstock.core.model import Limit, LimitUse, RetryPolicy, Timeout, TriggerName

from .later import STEP_OPTIONS, refuse
from .markers import Marker, Source
from .signature import Facts


class StepOptions(TypedDict, total=False):
    """What `flow.step` and `flow.add` take beside the function.

    Attributes:
        retry: When to try again; without it a step is tried once.
        timeout: Seconds for one attempt, or a `Timeout`.
        when: A function that says whether the step runs at all; its parameters are those of the step, other
            steps, or inputs of the run, by name. It returns a bool, or awaits to one.
        trigger: Which ends of the needs let the step start: one of the names, or a function of `Outcome`s
            that is bound as `when` is.
        limits: The `Limit`s that each attempt holds, ``gpu.take(2)`` to hold more than one permit.
        after: Steps that must have ended first, without data.
        optional: Its failure neither stops nor fails the run.
        runner: Name of the runner of its attempts.
        name: Its id, where that is not the function's name.
        keep: Keep its value to the end of the run even where its consumers have had it.
    """

    retry: RetryPolicy
    timeout: float | Timeout
    when: Callable[..., bool | Awaitable[bool]]
    trigger: TriggerName | Callable[..., bool | Awaitable[bool]]
    limits: Sequence[Limit | LimitUse]
    after: Sequence[Source[Any]]
    optional: bool
    runner: str
    name: str
    keep: bool


OPTIONS = frozenset(StepOptions.__annotations__) | STEP_OPTIONS
"""Every keyword that is an option, the refused ones included; `name` among them."""


def checked(label: str, options: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """The options in the form the graph wants: ``timeout`` a `Timeout`, ``limits`` all `LimitUse`.

    An option that is given as None is as good as not given.

    Raises:
        GraphError: There is no such option, or its value is of the wrong kind.
        NotImplementedError: The option is known but not there yet.
    """
    done: dict[str, Any] = {}
    for name, value in options.items():
        if name in STEP_OPTIONS:
            refuse(f"{name}=", label)
        check = _CHECKS.get(name)
        if check is None:
            raise _no_such_option(label, name, facts)
        if isinstance(value, Marker):
            raise GraphError(
                f"{label}: {name!r} is an option of the step, so it takes no marker;\n"
                f"for a parameter of that name say bind={{{name!r}: {value!r}}}"
            )
        if value is not None:
            done[name] = check(label, value)
    return done


def _no_such_option(label: str, name: str, facts: Facts) -> GraphError:
    if name in facts.names:
        return GraphError(
            f"{label}: {name!r} is a parameter, and flow.step takes options only;\n"
            f"give it its marker or value as a default, or use flow.add(..., {name}=...)"
        )
    return GraphError(f"{label}: there is no option {name!r}{nearest(name, OPTIONS - STEP_OPTIONS)}")


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
    if type(value) not in (int, float):
        raise GraphError(f"{label}: timeout takes seconds or a Timeout, not {value!r}")
    if not value > 0:
        raise GraphError(
            f"{label}: timeout must be more than 0 s, not {value!r}; leave it out for no timeout"
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


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "retry": _retry,
    "timeout": _timeout,
    "when": _when,
    "trigger": _trigger,
    "limits": _limits,
    "after": _after,
    "optional": _flag("optional"),
    "runner": _runner,
    "keep": _flag("keep"),
}
