"""Gates: steps that call nothing, and wait for an answer from outside, or for a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.core.amounts import check_seconds
from penstock.core.errors import GraphError
from penstock.core.model import NOTHING, Node, Timeout

from .assign import fits
from .markers import Marker, Source
from .signature import Facts, Parameter
from .words import short


class Gate:
    """What the node of a gate calls with an answer: it lets pass what the gate takes.

    Attributes:
        type: What an answer must be.
        takes: The same as text.
        prompt: What is asked.
        timeout: Seconds that it waits; None for as long as it takes.
        default: The answer when it has waited long enough; `NOTHING` for none.
    """

    def __init__(self, prompt: str, type_: Any, timeout: float | None, default: Any) -> None:
        self.prompt = prompt
        self.type = type_
        self.takes = short(type_)
        self.timeout = timeout
        self.default = default

    def __call__(self, answer: Any) -> Any:
        """The answer, if it is of the right type.

        Raises:
            TypeError: It is not.
        """
        if not fits(answer, self.type):
            raise TypeError(f"an answer is {self.takes}, not {short(type(answer))}")
        return answer


class Sleep:
    """What the node of a sleep would call with an answer: it takes none."""

    prompt = ""
    takes = ""
    timeout: float | None = None
    default: Any = NOTHING

    def __call__(self, answer: Any) -> Any:
        """Refuses the answer.

        Raises:
            TypeError: Always.
        """
        raise TypeError("it sleeps until its time has come, and takes no answer")


class GateFacts(Facts):
    """What a gate says about itself: its parameters are what it shows, and it gives the answer."""

    __slots__ = ()

    def __init__(self, params: list[str], returns: Any, doc: str) -> None:
        super().__init__(None, [Parameter(name) for name in params], None, open=False, is_async=False)
        self.returns = returns
        self.doc = doc
        self.resolved = True


def gate(prompt: str, type_: Any, timeout: float | None, default: Any, label: str) -> Gate:
    """What `Flow.gate` makes a step of.

    Raises:
        GraphError: An option is wrong.
    """
    if not isinstance(prompt, str):
        raise GraphError(f"{label}: prompt is a text, not {short(type(prompt))}")
    if timeout is not None:
        try:
            check_seconds(label, "timeout", timeout, above=True)
        except ValueError as error:
            raise GraphError(str(error)) from None
    if default is not NOTHING:
        if timeout is None:
            raise GraphError(f"{label}: default is its answer when its time is over; give timeout= too")
        if not fits(default, type_):
            kind = short(type(default))
            raise GraphError(f"{label}: an answer is {short(type_)}, and its default is {kind}")
    return Gate(prompt, type_, timeout, default)


def check_until(until: Any, label: str) -> None:
    """Lets pass what one can sleep until.

    Raises:
        GraphError: It is something else.
    """
    from datetime import date, datetime, timedelta

    if isinstance(until, (Marker, Source, datetime, timedelta)):
        return
    way = "; say datetime.combine(day, time())" if isinstance(until, date) else ""
    raise GraphError(
        f"{label}: it sleeps until a datetime, for a timedelta, or until what use(step) or param(...) gives, "
        f"not {short(type(until))}{way}"
    )


def gated(node: Node) -> Node:
    """The node of a gate."""
    asked: Gate | Sleep = node.call  # type: ignore[assignment]
    bound: Mapping[str, Any] | None = node.bound
    if asked.default is not NOTHING:
        bound = {**(bound or {}), "default": asked.default}
    timeout = None if asked.timeout is None else Timeout(attempt=asked.timeout)
    return node._replace(kind="gate", bound=bound, timeout=timeout)
