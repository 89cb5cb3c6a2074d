"""What a gate asks for, where a face says it with plain classes: the same kind of node for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from .amounts import check_seconds, shown
from .model import NOTHING, Condition, Need, Node, Timeout


class Gate:
    """What the node of a gate calls with an answer: it lets pass what the gate takes.

    Args:
        where: Whose gate it is, for error texts.
        prompt: What is asked.
        type_: What an answer must be: a class, a union of classes, or a `Literal`.
        timeout: Seconds that it waits; None for as long as it takes.
        default: The answer when it has waited long enough; `NOTHING` for none: then it fails.

    Attributes:
        prompt, timeout, default: As given.
        type: What an answer must be.
        takes: The same as text.

    Raises:
        TypeError: The prompt is no text, or the type nothing that could be told of an answer.
        ValueError: The timeout is out of range, or the default does not go with the rest.
    """

    def __init__(
        self, where: str, prompt: str = "", type_: Any = bool, timeout: float | None = None,
        default: Any = NOTHING,
    ) -> None:  # fmt: skip
        if not isinstance(prompt, str):
            raise TypeError(f"{where}: prompt is a text, not {shown(prompt)}")
        self.type = type_
        self.takes = self._name(where)
        if timeout is not None:
            check_seconds(where, "timeout", timeout, above=True)
        self.prompt = prompt
        self.timeout = timeout
        self.default = default
        if default is not NOTHING:
            if timeout is None:
                raise ValueError(f"{where}: default is its answer when its time is over; give a timeout too")
            if not self._fits(default):
                raise ValueError(f"{where}: an answer is {self.takes}, and its default is {shown(default)}")

    def __call__(self, answer: Any) -> Any:
        """The answer, if it is of the right type.

        Raises:
            TypeError: It is not.
        """
        if not self._fits(answer):
            raise TypeError(f"an answer is {self.takes}, not {shown(answer)}")
        return answer

    def _name(self, where: str) -> str:
        """The type as text.

        Raises:
            TypeError: It is nothing that could be told of an answer.
        """
        parts = _parts(self.type)
        if not all(isinstance(one, type) or get_origin(one) in (list, dict, Literal) for one in parts):
            raise TypeError(f"{where}: type is a class such as bool or str, not {shown(self.type)}")
        return " | ".join(map(_name, parts))

    def _fits(self, answer: Any) -> bool:
        return any(_fits(answer, one) for one in _parts(self.type))

    def node(self, id: str, needs: Sequence[Need], when: Condition | None = None) -> Node:
        """The node that waits for the answer.

        Args:
            id: Its id.
            needs: What it waits for before it asks.
            when: Whether it asks at all.
        """
        return self.gated(Node(id, self, tuple(needs), when=when, keep=True, doc=self.prompt))

    def gated(self, node: Node) -> Node:
        """A node that calls this, as a gate. What is called ``until`` is for whoever answers, and must not be
        taken for a time to sleep until."""
        return node._replace(
            kind="gate",
            needs=tuple(
                [
                    need._replace(how="after", param=None) if need.param == "until" else need
                    for need in node.needs
                ]
            ),
            inputs=tuple([pair for pair in node.inputs if pair[0] != "until"]),
            bound=None if self.default is NOTHING else {"default": self.default},
            timeout=None if self.timeout is None else Timeout(attempt=self.timeout),
        )


def _parts(type_: Any) -> tuple[Any, ...]:
    """The alternatives of a type."""
    if get_origin(type_) in (Union, UnionType):
        return get_args(type_)
    return (type(None),) if type_ is None else (type_,)


def _fits(answer: Any, wanted: Any) -> bool:
    origin = get_origin(wanted)
    if origin is Literal:
        return any(answer == one and type(answer) is type(one) for one in get_args(wanted))
    if isinstance(answer, bool):  # to Python it is an int, to whoever asks for a number it is none
        return wanted in (bool, object)
    return isinstance(answer, (int, float) if wanted is float else origin or wanted)


def _name(type_: Any) -> str:
    if type_ is type(None):
        return "None"
    return type_.__name__ if isinstance(type_, type) else repr(type_).replace("typing.", "")
