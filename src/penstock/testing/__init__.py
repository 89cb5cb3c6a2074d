"""The kit with which flows are tested: a clock that jumps, attempts that wait for the test, planned faults.

    from penstock.testing import FakeClock, Faults, manual, run, run_step

Importing it loads none of it: each name is resolved at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .by_hand import ManualRun, ManualRunner, NotWaiting, manual
    from .clock import FakeClock
    from .faults import Faults
    from .running import arun, run, stand_ins
    from .steps import FakeContext, arun_step, run_step
    from .timeline import RunOver, RunStuck

_HOME = {
    "FakeClock": "clock",
    "FakeContext": "steps",
    "Faults": "faults",
    "ManualRun": "by_hand",
    "ManualRunner": "by_hand",
    "NotWaiting": "by_hand",
    "RunOver": "timeline",
    "RunStuck": "timeline",
    "arun": "running",
    "arun_step": "steps",
    "manual": "by_hand",
    "run": "running",
    "run_step": "steps",
    "stand_ins": "running",
}

__all__ = [
    "FakeClock",
    "FakeContext",
    "Faults",
    "ManualRun",
    "ManualRunner",
    "NotWaiting",
    "RunOver",
    "RunStuck",
    "arun",
    "arun_step",
    "manual",
    "run",
    "run_step",
    "stand_ins",
]


if not TYPE_CHECKING:  # to type checkers a module with __getattr__ has every name, misspelt ones too

    def __getattr__(name):
        if name not in _HOME:
            import sys

            this = sys.modules[__name__]
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=this)
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
