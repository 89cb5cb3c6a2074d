"""What happens to a run as JSON objects, one a line, for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from penstock.core.codec_preview import preview
from penstock.core.entries import failure_entry
from penstock.core.model import NOTHING, Failure, NodePath
from penstock.core.stored import is_plain

_VALUES = ("value", "element", "inputs", "writes")
"""Fields with what the user's code has made."""

_SHOWN = 300  # characters of a value that JSON has no words for


def as_json_line(event: Any) -> str:
    """An event, or an item of a view, as one line of ASCII with its end.

    ``event`` says what it is; the other fields are those of its class. A value that JSON cannot hold as it is
    stands as a short text under the name with ``_preview`` behind it, and one that was not kept not at all.

    Args:
        event: Its values are as they are stored.
    """
    told: dict[str, Any] = {"event": type(event).__name__}
    for name, value in event._asdict().items():
        if value is NOTHING:
            continue
        if name not in _VALUES or is_plain(value):
            told[name] = _plain(value)
        else:
            told[f"{name}_preview"] = preview(value, _SHOWN)
    return json.dumps(told, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if kind is NodePath:
        return str(value)
    if kind is Failure:
        return failure_entry(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return str(value)
