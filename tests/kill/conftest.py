"""One process to fork from, for all tests of this folder that a worker runs."""

from collections.abc import Iterator

import pytest

from tests.kill.points import Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    made = Zygote()
    yield made
    made.close()
