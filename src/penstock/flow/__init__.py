"""The native face: a `Flow` of steps, and the markers that wire them. It compiles to `core.graph`.

It must never import an engine, a runner or a store; what runs a flow is imported when it is run.
"""

from __future__ import annotations

from penstock.core.context import Context
from penstock.core.model import Quorum

from .flow import Flow, StepDecorator
from .loops import repeat
from .markers import Param, Source, each, fold, gather, optional, outcome, param, use
from .options import StepOptions
from .result import FlowHandle, FlowResult
from .step import Step, Template
from .subflow import SubFlow
from .switches import switch

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
    "SubFlow",
    "Template",
    "each",
    "fold",
    "gather",
    "optional",
    "outcome",
    "param",
    "repeat",
    "switch",
    "use",
]
