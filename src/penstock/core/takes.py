"""What a gate takes, where only the text of its type is known: the journal holds no types.

It says no only where it is sure; what the text does not tell, the gate itself judges.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

_CLASSES: Final[dict[str, tuple[type, ...]]] = {
    "bool": (bool,), "int": (int,), "float": (float, int), "str": (str,), "None": (type(None),),
    "list": (list,), "dict": (dict,),
}  # fmt: skip

_WORD: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s,'\"\[\]]+")


def fits(value: Any, takes: str) -> bool:
    """Whether a value may be an answer.

    Args:
        value: The answer.
        takes: The type as text: ``bool``, ``int | None``, ``Literal['yes', 'no']``; empty for any.
    """
    return any(_fits(value, one) for one in _members(takes)) if takes else True


def answer_of(text: str, takes: str) -> Any:
    """The answer that somebody has typed: JSON, or a text where one is taken.

    Raises:
        ValueError: It is none that the gate takes.
    """
    words = {"yes": True, "no": False} if takes == "bool" else {}
    found: list[Any] = [words[text.lower()]] if text.lower() in words else []
    members = _members(takes)
    as_text = not takes or any(one == "str" or one.startswith("Literal[") for one in members)
    try:
        found.append(json.loads(text))
    except (ValueError, RecursionError):
        as_text = as_text or any(not _is_known(one) for one in members)
    if "str" in members:
        found.insert(0 if members == ["str"] else len(found), text)
    elif as_text:
        found.append(text)
    for value in found:
        if fits(value, takes):
            return value
    raise ValueError(text)


def _members(takes: str) -> list[str]:
    """The parts of a union; a bar in quotes is none."""
    parts = re.findall(r"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\[[^\]]*\]|[^|])+", takes)
    return [part.strip() for part in parts]


def _is_known(word: str) -> bool:
    return word in _CLASSES or word.startswith("Literal[")


def _fits(value: Any, word: str) -> bool:
    name, bracket, rest = word.partition("[")
    if name == "Literal" and bracket:
        if not rest.endswith("]"):
            return True  # it was cut short
        return repr(value) in _WORD.findall(rest[:-1])
    classes = _CLASSES.get(name)
    if classes is None:
        return True
    if isinstance(value, bool) and bool not in classes:
        return False
    return isinstance(value, classes)
