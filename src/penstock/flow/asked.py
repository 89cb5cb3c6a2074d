"""The inputs of a run, as the steps ask for them: one name, one type, one default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.core.errors import GraphError
from penstock.core.model import NOTHING, Input
from penstock.core.names import RESERVED

from .assign import assignable, fits
from .signature import ABSENT, Parameter
from .step import AnyStep
from .words import brief, short, slot


class _Asked:
    """One input so far, and who said what about it first."""

    __slots__ = ("default", "default_by", "last", "must", "type", "type_by", "users")

    def __init__(self) -> None:
        self.users: list[str] = []
        self.type: Any = None
        self.type_by: tuple[str, str] = ("", "")
        self.default: Any = NOTHING
        self.default_by: tuple[str, str] = ("", "")
        self.must = False
        self.last: Parameter | None = None


class Inputs:
    """Gathers what steps ask of the run.

    Args:
        flow: Name of the flow.
        steps: Its steps by id.
    """

    __slots__ = ("_asked", "_flow", "_steps")

    def __init__(self, flow: str, steps: Mapping[str, Any]) -> None:
        self._asked: dict[str, _Asked] = {}
        self._flow = flow
        self._steps = steps

    def ask(self, name: str, step: AnyStep, param: Parameter, type_: Any, default: Any) -> None:
        """Notes that a parameter takes an input.

        Args:
            name: Of the input.
            step, param: Who asks.
            type_: What it should be; None where nothing is said.
            default: Its value when not given; `NOTHING` or `ABSENT` without one.

        Raises:
            GraphError: Its name is one of the run call's own, or another step says another type or default.
        """
        asked = self._asked.get(name)
        if asked is not None and asked.last is param:
            asked.users.append(step.id)  # one function, added again and again
            return
        if asked is None:
            if name in RESERVED:
                raise GraphError(
                    f"{slot(step, param.name)} would be the input {name!r}, "
                    "a name that the run call keeps for itself;\n"
                    f"rename it, or give its value: flow.add(..., {param.name}=...)"
                )
            asked = self._asked[name] = _Asked()
        if not asked.users or asked.users[-1] != step.id:
            asked.users.append(step.id)
        asked.last = param if type_ is param.type and default is param.default else None
        by = (step.id, param.name)
        if type_ is not None and type_ is not asked.type:
            self._agree_on_type(name, asked, type_, by)
        if default is ABSENT or default is NOTHING:
            asked.must = True
        elif asked.default is NOTHING:
            asked.default, asked.default_by = default, by
        elif not _same(asked.default, default):
            raise GraphError(
                f"input {name!r} has two defaults: {brief(asked.default)} in step {asked.default_by[0]!r}, "
                f"{brief(default)} in step {step.id!r};\nlet them agree, or bind one where it is added: "
                f"flow.add(..., {param.name}={brief(default)})"
            )

    def _agree_on_type(self, name: str, asked: _Asked, type_: Any, by: tuple[str, str]) -> None:
        """The narrower of two types, where one is the other in general."""
        if asked.type is None or (asked.type != type_ and assignable(type_, asked.type)):
            asked.type, asked.type_by = type_, by
        elif not assignable(asked.type, type_):
            raise GraphError(
                f"input {name!r} has two types: {short(asked.type)} in step {asked.type_by[0]!r} "
                f"(parameter {asked.type_by[1]!r}), {short(type_)} in step {by[0]!r} (parameter {by[1]!r});\n"
                "let the annotations agree, or rename one of the parameters"
            )

    def finished(self) -> list[Input]:
        """The inputs, in the order in which they were first asked for.

        Raises:
            GraphError: A default is not of the type that another step asks for.
        """
        done = []
        for name, asked in self._asked.items():
            default = NOTHING if asked.must else asked.default
            if default is not NOTHING and default is not None and not fits(default, asked.type):
                raise GraphError(
                    f"input {name!r}: its default {brief(default)} in step {asked.default_by[0]!r} is not "
                    f"{short(asked.type)}, as step {asked.type_by[0]!r} takes it"
                )
            done.append(Input(name, asked.type, default, tuple(asked.users)))
        return done


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # arrays compare to arrays, and anything may raise
        return False
