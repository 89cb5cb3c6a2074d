"""Gates: steps that call nothing, and wait for an answer from outside, or for a time."""

from __future__ import annotations

from typing import Any

from penstock.core import gate
from penstock.core.errors import GraphError
from penstock.core.model import Node

from .assign import fits
from .markers import Marker, Source
from .signature import Facts, Parameter
from .words import short


class Gate(gate.Gate):
    """A gate whose answer may be of any type that can be annotated."""

    def _name(self, where: str) -> str:
        return short(self.type)

    def _fits(self, answer: Any) -> bool:
        return fits(answer, self.type)


class Sleep:
    """What the node of a sleep would call with an answer: it takes none."""

    def __call__(self, answer: Any) -> Any:
        """Refuses the answer.

        Raises:
            TypeError: Always.
        """
        raise TypeError("it sleeps until its time has come, and takes no answer")

    def gated(self, node: Node) -> Node:
        """A node that calls this, as a gate that opens by itself."""
        return node._replace(kind="gate")


class GateFacts(Facts):
    """What a gate says about itself: its parameters are what it shows, and it gives the answer."""

    __slots__ = ()

    def __init__(self, params: list[str], returns: Any, doc: str) -> None:
        super().__init__(None, [Parameter(name) for name in params], None, open=False, is_async=False)
        self.returns = returns
        self.doc = doc
        self.resolved = True


def new_gate(label: str, prompt: str, type_: Any, timeout: float | None, default: Any) -> Gate:
    """What `Flow.gate` makes a step of.

    Raises:
        GraphError: An option is wrong.
    """
    try:
        return Gate(label, prompt, type_, timeout, default)
    except (TypeError, ValueError) as error:
        raise GraphError(str(error)) from None


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
