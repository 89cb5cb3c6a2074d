"""Pipelines of stages that share one context, a dict: stage classes, hooks, conditions, and a builder.

A translator and nothing else: a pipeline becomes a `Graph`, the engine runs it, and what came of it is read
back as a `PipelineResult`. The context is one dict for the run. Each attempt works on a copy of it that
notes what is written; the engine's word that the attempt counts is what brings the writes into the run's own,
so nothing of a failed, cut off or late attempt is ever seen by others.
"""

from __future__ import annotations

from .pipeline import ParallelStage, Pipeline, PipelineBuilder
from .stages import (
    ConditionalStage,
    FunctionStage,
    PipelineResult,
    PipelineStatus,
    Stage,
    StageResult,
    StageStatus,
)

__all__ = [
    "ConditionalStage",
    "FunctionStage",
    "ParallelStage",
    "Pipeline",
    "PipelineBuilder",
    "PipelineResult",
    "PipelineStatus",
    "Stage",
    "StageResult",
    "StageStatus",
]
