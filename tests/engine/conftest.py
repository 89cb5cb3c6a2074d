from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.core import engine
from tests.engine.tools import Clock, Flags


@pytest.fixture
def flags() -> Iterator[Flags]:
    made = Flags()
    yield made
    made.set_all()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all runs of this test."""
    made = Clock()
    monkeypatch.setattr(engine, "wall_anchored_clock", lambda: made)
    return made
