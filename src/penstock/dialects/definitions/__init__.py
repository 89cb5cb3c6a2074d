"""Pipelines as definitions: stages that name their inputs, an executor, and results instead of exceptions.

A `PipelineDefinition` lists stages, objects with ``async execute(input, context)``; a `PipelineExecutor` runs
it. Every stage gives a `StageResult`. A failure stops the pipeline, always. What stages write into the
context's state and metrics counts once they have succeeded.

It must never run, wait or retry anything itself: a definition becomes a graph, made once, which knows of no
execution; what the stages of one execution share comes to them as the engine hands it out.
"""

from __future__ import annotations

from .context import PipelineContext
from .definition import PipelineDefinition
from .executor import PipelineExecutor
from .results import StageResult
from .review import ReviewLoop, Verdict, resolve_typed_input
from .stages import ExecutionPattern, PipelineResult, PipelineStage, RetryConfig, StageDefinition

__all__ = [
    "ExecutionPattern",
    "PipelineContext",
    "PipelineDefinition",
    "PipelineExecutor",
    "PipelineResult",
    "PipelineStage",
    "RetryConfig",
    "ReviewLoop",
    "StageDefinition",
    "StageResult",
    "Verdict",
    "resolve_typed_input",
]
