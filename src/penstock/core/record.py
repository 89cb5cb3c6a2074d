"""Small immutable values, without what a dataclass costs every start: nearly a millisecond a class."""

from __future__ import annotations

from typing import Any, dataclass_transform


@dataclass_transform(frozen_default=True)
class RecordType(type):
    """Makes slots of the annotated fields. Type checkers read such a class like a frozen dataclass."""

    _fields: tuple[str, ...]
    _defaults: dict[str, Any]

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> RecordType:
        fields = tuple(name for name in body.get("__annotations__", {}) if not name.startswith("_"))
        defaults = {field: body.pop(field) for field in fields if field in body}
        body.update(__slots__=fields, __match_args__=fields)
        made = super().__new__(mcs, name, bases, body)
        made._fields, made._defaults = fields, defaults
        return made

    @property
    def __signature__(cls) -> Any:
        from inspect import Parameter, Signature

        return Signature(
            [
                Parameter(
                    field,
                    Parameter.POSITIONAL_OR_KEYWORD,
                    default=cls._defaults.get(field, Parameter.empty),
                    annotation=cls.__annotations__[field],
                )
                for field in cls._fields
            ]
        )


class Record(metaclass=RecordType):
    """Base of frozen values: annotated fields, defaults, and `__post_init__` to check them.

    Two records are equal if they are of one class and all their fields are.
    """

    _hidden = ""  # a field that is too long to show

    def __init__(self, *values: Any, **named: Any) -> None:
        cls = type(self)
        fields = cls._fields
        given = dict(zip(fields, values, strict=False))
        wrong = [name for name in named if name not in fields or name in given]
        if wrong or len(values) > len(fields):
            raise TypeError(
                f"{cls.__name__} takes {', '.join(fields)}; {wrong[0] if wrong else 'more'} does not fit"
            )
        given.update(named)
        for name in fields:
            if name in given:
                value = given[name]
            elif name in cls._defaults:
                value = cls._defaults[name]
            else:
                raise TypeError(f"{cls.__name__}: {name} is missing")
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Checks the fields; `_settle` may replace one by its normal form."""

    def _settle(self, name: str, value: Any) -> None:
        """Replaces a field, in `__post_init__` only."""
        object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a {type(self).__name__} cannot be changed; make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a {type(self).__name__} cannot be changed; make another one")

    def __repr__(self) -> str:
        fields = [name for name in type(self)._fields if name != self._hidden]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in fields)})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in type(self)._fields)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in type(self)._fields)))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(getattr(self, name) for name in type(self)._fields)
