"""Steps that depend on each other by name: ``executor.step("load", depends_on=["transform"])``.

What runs, waits and tries again is the engine; this file only translates, there and back.
"""

from __future__ import annotations

from .config import PipelineConfig, StepConfig
from .executor import PipelineExecutor
from .results import StepResult, StepStatus

__all__ = ["PipelineConfig", "PipelineExecutor", "StepConfig", "StepResult", "StepStatus"]
