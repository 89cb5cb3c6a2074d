from __future__ import annotations

from collections.abc import Iterator

import pytest

from .mortal import MortalStore
from .tools import BAD, CALLS


@pytest.fixture
def store() -> Iterator[MortalStore]:
    CALLS.clear()
    BAD.clear()
    yield MortalStore()
    BAD.clear()
