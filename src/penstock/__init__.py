"""Penstock: an embedded pipeline orchestrator. A graph of steps, run inside your own process.

This file is the public face: names, and where they live. It must never load another module of ours before a
name is asked for.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

# A public name stands three times below: in _HOME for the interpreter, in the imports for type checkers and
# editors, in __all__ for both. tests/test_face.py holds the three together.
_HOME = {
    "Abandoned": "penstock.core.model",
    "Context": "penstock.flow",
    "CycleError": "penstock.core.errors",
    "Failure": "penstock.core.model",
    "Flow": "penstock.flow",
    "FlowHandle": "penstock.flow",
    "FlowResult": "penstock.flow",
    "Graph": "penstock.core.graph",
    "GraphError": "penstock.core.errors",
    "InputError": "penstock.core.errors",
    "Limit": "penstock.core.model",
    "Node": "penstock.core.model",
    "NodeResult": "penstock.core.result",
    "NodeStatus": "penstock.core.model",
    "Ok": "penstock.core.model",
    "Outcome": "penstock.core.model",
    "PenstockError": "penstock.core.errors",
    "Quorum": "penstock.core.model",
    "Rate": "penstock.core.model",
    "RetryAfter": "penstock.core.errors",
    "RetryPolicy": "penstock.core.model",
    "RunCancelled": "penstock.core.errors",
    "RunFailed": "penstock.core.errors",
    "RunOptions": "penstock.core.model",
    "RunResult": "penstock.core.result",
    "RunStatus": "penstock.core.model",
    "Skip": "penstock.core.model",
    "SkipCause": "penstock.core.model",
    "Step": "penstock.flow",
    "Timeout": "penstock.core.model",
    "config": "penstock",
    "each": "penstock.flow",
    "events": "penstock.core",
    "fold": "penstock.flow",
    "gather": "penstock.flow",
    "optional": "penstock.flow",
    "outcome": "penstock.flow",
    "param": "penstock.flow",
    "processes": "penstock.wiring",
    "repeat": "penstock.flow",
    "switch": "penstock.flow",
    "use": "penstock.flow",
}
_MODULES = ("config", "events")

__all__ = [
    "Abandoned",
    "Context",
    "CycleError",
    "Failure",
    "Flow",
    "FlowHandle",
    "FlowResult",
    "Graph",
    "GraphError",
    "InputError",
    "Limit",
    "Node",
    "NodeResult",
    "NodeStatus",
    "Ok",
    "Outcome",
    "PenstockError",
    "Quorum",
    "Rate",
    "RetryAfter",
    "RetryPolicy",
    "RunCancelled",
    "RunFailed",
    "RunOptions",
    "RunResult",
    "RunStatus",
    "Skip",
    "SkipCause",
    "Step",
    "Timeout",
    "__version__",
    "config",
    "each",
    "events",
    "fold",
    "gather",
    "optional",
    "outcome",
    "param",
    "processes",
    "repeat",
    "switch",
    "use",
]

if TYPE_CHECKING:
    from penstock import config
    from penstock.core import events
    from penstock.core.errors import (
        CycleError,
        GraphError,
        InputError,
        PenstockError,
        RetryAfter,
        RunCancelled,
        RunFailed,
    )
    from penstock.core.graph import Graph
    from penstock.core.model import (
        Abandoned,
        Failure,
        Limit,
        Node,
        NodeStatus,
        Ok,
        Outcome,
        Quorum,
        Rate,
        RetryPolicy,
        RunOptions,
        RunStatus,
        Skip,
        SkipCause,
        Timeout,
    )
    from penstock.core.result import NodeResult, RunResult
    from penstock.flow import (
        Context,
        Flow,
        FlowHandle,
        FlowResult,
        Step,
        each,
        fold,
        gather,
        optional,
        outcome,
        param,
        repeat,
        switch,
        use,
    )
    from penstock.wiring import processes
else:  # hidden from type checkers, to which a module with __getattr__ has every name, misspelt ones too

    def __getattr__(name):
        home = _HOME.get(name)
        if home is None:
            if name == "Secret":
                from penstock.flow.later import refuse

                refuse(name)
            import sys

            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__]
            )
        from importlib import import_module

        home = import_module(f"{home}.{name}") if name in _MODULES else getattr(import_module(home), name)
        value = globals()[name] = home
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
