"""The pytest plugin: fixtures for tests of flows. Loaded at every start, and it loads the rest on use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .by_hand import ManualRun
    from .clock import FakeClock

pytest.register_assert_rewrite(
    *(f"penstock.testing.{name}" for name in ("contract", "stream_contract")),
    *(f"penstock.testing.{name}" for name in ("store_rig", "store_runs", "store_claims")),
)


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that jumps, at 0 s."""
    from .clock import FakeClock

    return FakeClock()


@pytest.fixture
def penstock_run(fake_clock: FakeClock) -> Callable[..., Any]:
    """`penstock.testing.run` on the clock of `fake_clock`."""
    from functools import partial

    from .running import run

    return partial(run, clock=fake_clock)


@pytest.fixture
def manual(fake_clock: FakeClock) -> Iterator[Callable[..., ManualRun[Any]]]:
    """`penstock.testing.manual` on the clock of `fake_clock`; the runs are closed after the test."""
    from contextlib import ExitStack

    from .by_hand import manual as begin

    with ExitStack() as runs:
        yield lambda flow, /, **how: runs.enter_context(begin(flow, **{"clock": fake_clock, **how}))


@pytest.fixture
def penstock_no_leaks() -> Iterator[None]:
    """Fails the test if it leaves a thread of Penstock, or a child process, behind."""
    from .leaks import Leaks

    leaks = Leaks()
    yield
    found = leaks.found()
    if found:
        pytest.fail(f"the test has left behind: {', '.join(found)}", pytrace=False)
