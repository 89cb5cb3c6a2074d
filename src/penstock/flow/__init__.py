"""The native face: a `Flow` of steps, and the markers that wire them. It compiles to `core.graph`.

It must never import an engine, a runner or a store; what runs a flow is imported when it is run.
"""

from __future__ import annotations

from penstock.core.context import Context

from .flow import Flow, StepDecorator
from .later import Quorum
from .markers import Param, Source, each, gather, optional, outcome, param, use
from .options import StepOptions
from .result import FlowHandle, FlowResult
from .step import Step, Template

__all__ = [
    "Context",
    "Flow",
    "FlowHandle",
    "FlowResult",
    "Param",
    "Quorum",
    "Source",
    "Step",
    "StepDecorator",
    "StepOptions",
    "Template",
    "each",
    "gather",
    "optional",
    "outcome",
    "param",
    "use",
]
