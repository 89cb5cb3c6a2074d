"""What tests of resumption share: steps that write down that they were called, and runs that are cut off."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.flow import Flow, FlowResult

from .mortal import Killed, MortalStore

CALLS: list[str] = []
"""What was called, in order."""

BAD: set[str] = set()
"""What is to fail."""


def does(name: str, value: Any = None) -> Any:
    """What a step does: it says that it was called, and fails if it is to."""
    CALLS.append(name)
    if name in BAD:
        raise ValueError(f"{name} is bad")
    return value


def go(flow: Flow, store: Any, **how: Any) -> FlowResult:
    """Runs, or goes on."""
    return flow.run(store=store, run_id="r", **how)


def cut(flow: Flow, store: MortalStore, at: str, *, after: bool = True, **how: Any) -> None:
    """Runs until the commit that holds this text; the process dies before or after it."""
    store.die_when(at, after=after)
    with pytest.raises(Killed):
        go(flow, store, **how)
    store.bury()


def called() -> list[str]:
    """What was called since the last time, sorted: who is first among equals is no matter."""
    found = sorted(CALLS)
    CALLS.clear()
    return found


def fix(*names: str) -> None:
    """Puts right what was bad."""
    BAD.difference_update(names or set(BAD))
