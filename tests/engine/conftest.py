from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.tools import Flags


@pytest.fixture
def flags() -> Iterator[Flags]:
    made = Flags()
    yield made
    made.set_all()
