"""What a test puts in the place of the usual parts of its runs; see `penstock.testing`. Otherwise unused."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

from .model import RunOptions
from .ports import Runner
from .result import RunResult


class StandIns(Protocol):
    """Asked once for each run that is put together while it is in place."""

    def clock(self) -> Callable[[], float]:
        """The clock of the run."""

    def options(self, options: RunOptions) -> RunOptions:
        """The run's options, instead of those it was asked for with."""

    def runner(self, name: str, usual: Runner) -> Runner:
        """The runner that takes the steps of one of the run's runners."""

    def ready(self, prepared: Any) -> RunResult | None:
        """Told of the run before it begins; gives the result of one that is not to be made at all."""


STAND_INS: ContextVar[StandIns | None] = ContextVar("penstock_stand_ins", default=None)
