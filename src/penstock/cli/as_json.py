"""A run as one JSON object, for programs. What JSON cannot hold is left out, and named."""

from __future__ import annotations

import json
import math
from typing import Any

from penstock.core.result import RunResult

DEEPEST = 100


class NotPlain(Exception):
    """A value that JSON cannot hold as it is."""


def as_json(result: RunResult, tally: Any) -> str:
    """The object, as one line of ASCII.

    Numbers that JSON has not are texts: ``"NaN"``, ``"Infinity"``, ``"-Infinity"``. Durations are seconds; of
    a mapped step from its first item's start to its last one's end.

    Args:
        result: The run.
        tally: Its counts, a `penstock.observers.tally.Tally`.
    """
    outputs, left_out = {}, []
    for id, value in result.outputs.items():
        try:
            outputs[id] = plain(value)
        except NotPlain:
            left_out.append(id)
    whole = {
        "run_id": result.run_id,
        "flow": tally.flow,
        "status": result.status.value,
        "reason": result.reason or None,
        "began": result.began,
        "duration": result.duration,
        "nodes": {id: _node(result, id, row) for id, row in tally.rows.items()},
        "outputs": outputs,
        "outputs_left_out": left_out,
        "tolerated": list(result.tolerated),
        "abandoned": [left._asdict() for left in result.abandoned],
        "warnings": list(result.warnings),
    }
    return json.dumps(whole, allow_nan=False) + "\n"


def _node(result: RunResult, id: str, row: Any) -> dict[str, Any]:
    node = result.nodes[id]
    took = node.duration
    if node.items is not None:
        took = row.ended - row.began if row.began is not None and row.ended is not None else None
    told: dict[str, Any] = {
        "status": node.status.value,
        "duration": took,
        "attempts": row.attempts,
        "reason": node.reason or None,
    }
    if node.items is not None:
        told["items"] = {
            "total": row.total or 0,
            "succeeded": row.succeeded,
            "failed": row.failed,
            "skipped": row.skipped,
            "cancelled": row.cancelled,
        }
        told["failures"] = {path: str(failure) for path, failure in row.failures}
    return told


def plain(value: Any, deep: int = 0) -> Any:
    """The value as JSON holds it.

    Raises:
        NotPlain: It is of another type than None, bool, int, float, str, list, tuple and dict with text keys,
            or holds such a value, or is nested too deep.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        if value.bit_length() > 10_000:
            raise NotPlain
        return value
    if kind is float:
        return (
            value if math.isfinite(value) else "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
        )
    if deep > DEEPEST:
        raise NotPlain
    if kind is list or kind is tuple:
        return [plain(one, deep + 1) for one in value]
    if kind is dict and all(type(key) is str for key in value):
        return {key: plain(one, deep + 1) for key, one in value.items()}
    raise NotPlain
