"""Stored values as short texts for people, without making them: no class is looked for, and nothing is read
from where large values are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .secrets import MASK, masked

_DEEPEST = 12
_OPEN = {
    "$tuple": ("(", ")"),
    "$set": ("{", "}"),
    "$frozenset": ("frozenset({", "})"),
    "$deque": ("deque([", "])"),
    "$range": ("range(", ")"),
    "$slice": ("slice(", ")"),
    "$fraction": ("Fraction(", ")"),
    "$timedelta": ("timedelta(", ")"),
    "$timezone": ("timezone(", ")"),
}
_EMPTY = {"$set": "set()", "$frozenset": "frozenset()", "$deque": "deque([])"}
_PAIRS = {
    "$dict": ("{", "}"),
    "$counter": ("Counter({", "})"),
    "$ordereddict": ("OrderedDict({", "})"),
    "$defaultdict": ("defaultdict({", "})"),
}
_TEXTS = ("$datetime", "$date", "$time", "$decimal", "$uuid", "$path", "$float", "$zone")
_CLASSES = ("$data", "$named", "$penstock", "$pydantic")


def preview(data: Any, width: int = 80) -> str:
    """Parsed data as a short text, on one line. Never raises, whatever the data.

    Args:
        data: What `json.loads` made of a stored text.
        width: Characters at most.
    """
    parts: list[str] = []
    length = 0
    try:
        for part in _parts(data, 0, width):
            parts.append(part)
            length += len(part)
            if length > 2 * width:
                break
        text = "".join(parts)
    except Exception:  # of data that nobody has written
        text = "".join(parts) + "…"
    text = masked(text)
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def secrets_in(data: Any) -> list[str]:
    """Paths of the places in parsed data where a `Secret` was: ``$.key``, ``$.logins[2]``."""
    found: list[str] = []
    queue: list[tuple[Any, str]] = [(data, "$")]
    while queue:
        item, path = queue.pop()
        if type(item) is list:
            queue += [(inner, f"{path}[{i}]") for i, inner in enumerate(item) if type(inner) in (list, dict)]
        elif type(item) is dict:
            word = next(iter(item), "")
            if word == "$secret":
                found.append(path)
            elif word in _PAIRS:
                flat = item[word] if type(item[word]) is list else []
                queue += [
                    (inner, f"{path}[{preview(key, 40)}]")
                    for key, inner in zip(flat[::2], flat[1::2], strict=False)
                ]
            else:
                queue += [(inner, path + _step(key, word)) for key, inner in item.items()]
    return sorted(found)


def _step(key: str, word: str) -> str:
    """The step into an entry; those of forms that hold the elements themselves are no step."""
    if word[:1] == "$" and (key == word or key in ("fields", "data")):
        return ""
    return f".{key}" if key.isidentifier() else f"[{key!r}]"


def _parts(data: Any, depth: int, width: int) -> Iterator[str]:
    kind = type(data)
    if depth > _DEEPEST:
        yield "…"
    elif kind is str:
        yield repr(data if len(data) <= width else data[:width] + "…")
    elif kind is list:
        yield "["
        yield from _items(data, depth, width)
        yield "]"
    elif kind is dict:
        word = next(iter(data), "")
        if word[:1] == "$":
            yield from _form(word, data, depth, width)
        else:
            yield "{"
            yield from _named(data, ": ", depth, width, repr)
            yield "}"
    else:
        yield json.dumps(data) if kind is float else repr(data)[:width]


def _items(data: list[Any], depth: int, width: int) -> Iterator[str]:
    for i, item in enumerate(data):
        if i:
            yield ", "
        yield from _parts(item, depth + 1, width)


def _named(fields: dict[str, Any], sign: str, depth: int, width: int, shown: Any = str) -> Iterator[str]:
    for i, (name, item) in enumerate(fields.items()):
        yield f"{', ' if i else ''}{shown(name)[: width + 2]}{sign}"
        yield from _parts(item, depth + 1, width)


def _pairs(data: list[Any], depth: int, width: int) -> Iterator[str]:
    for i in range(0, len(data) - 1, 2):
        if i:
            yield ", "
        yield from _parts(data[i], depth + 1, width)
        yield ": "
        yield from _parts(data[i + 1], depth + 1, width)


def _form(word: str, data: dict[str, Any], depth: int, width: int) -> Iterator[str]:
    body = data[word]
    if word == "$secret":
        yield f"Secret({MASK!r})"
    elif word in _EMPTY and body == []:
        yield _EMPTY[word]
    elif word == "$complex" and type(body) is list:
        yield _safe(f"complex({', '.join(map(str, body))})", width)
    elif word in _OPEN and type(body) is list:
        left, right = _OPEN[word]
        yield left
        yield from _items(body, depth, width)
        yield ",)" if word == "$tuple" and len(body) == 1 else right
    elif word in _PAIRS and type(body) is list:
        left, right = _PAIRS[word]
        yield left
        yield from _pairs(body, depth, width)
        yield right
    elif word == "$int" and type(body) is str:
        yield f"0x{body}"[: width + 1].replace("0x-", "-0x")
    elif word in _TEXTS and type(body) is str:
        yield _safe(body, width)
    elif "name" in data and word in ("$enum", "$penstock"):
        kind = _class(body)
        yield _safe(data["name"] if kind.startswith("_") else f"{kind}.{data['name']}", width)
    elif word == "$enum":
        yield _safe(f"{_class(body)}({data.get('value')})", width)
    elif word in _CLASSES:
        yield f"{_safe(_class(body), width)}("
        yield from _named(data.get("fields") or {}, "=", depth, width, lambda name: _safe(name, width))
        yield ")"
    elif "shape" in data:
        yield _safe(f"<{word[1:]} {body} {data['shape']}>", width)
    elif word == "$custom":
        yield f"{_safe(_class(body), width)}("
        yield from _parts(data.get("data"), depth + 1, width)
        yield ")"
    else:
        yield f"<{_safe(word[1:], width)}{_size(data)}>"


def _safe(text: Any, width: int) -> str:
    """A text of the data without quotes, with what a terminal could take for an order escaped."""
    return repr(str(text)[:width])[1:-1]


def _class(tag: Any) -> str:
    return str(tag).rpartition(":")[2].rpartition(".")[2]


def _size(data: dict[str, Any]) -> str:
    """How much there is of what is not shown."""
    for part in data.values():
        if type(part) is dict and "$blob" in part:
            part = part.get("size")
        elif part is data.get("$blob"):
            part = data.get("size")
        elif type(part) is str:
            part = len(part) * 3 // 4
        else:
            continue
        if type(part) is int:
            return f", {part:,} bytes"
    return ""
