"""Penstock: an embedded pipeline orchestrator. A graph of steps, run inside your own process.

This file is the public face: names, and where they live. It must never load another module of ours before a
name is asked for.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

# A public name stands three times below: in _HOME for the interpreter, in the imports for type checkers and
# editors, in __all__ for both. tests/test_face.py holds the three together.
_HOME = {
    "Context": "penstock.flow",
    "Failure": "penstock.core.model",
    "Flow": "penstock.flow",
    "Graph": "penstock.core.graph",
    "GraphError": "penstock.core.errors",
    "InputError": "penstock.core.errors",
    "Limit": "penstock.core.model",
    "Node": "penstock.core.model",
    "NodeStatus": "penstock.core.model",
    "Ok": "penstock.core.model",
    "PenstockError": "penstock.core.errors",
    "Rate": "penstock.core.model",
    "RetryAfter": "penstock.core.errors",
    "RetryPolicy": "penstock.core.model",
    "RunFailed": "penstock.core.errors",
    "RunOptions": "penstock.core.model",
    "RunResult": "penstock.core.result",
    "RunStatus": "penstock.core.model",
    "Skip": "penstock.core.model",
    "SkipCause": "penstock.core.model",
    "Step": "penstock.flow",
    "Timeout": "penstock.core.model",
    "each": "penstock.flow",
    "gather": "penstock.flow",
    "optional": "penstock.flow",
    "outcome": "penstock.flow",
    "param": "penstock.flow",
    "use": "penstock.flow",
}

__all__ = [
    "Context",
    "Failure",
    "Flow",
    "Graph",
    "GraphError",
    "InputError",
    "Limit",
    "Node",
    "NodeStatus",
    "Ok",
    "PenstockError",
    "Rate",
    "RetryAfter",
    "RetryPolicy",
    "RunFailed",
    "RunOptions",
    "RunResult",
    "RunStatus",
    "Skip",
    "SkipCause",
    "Step",
    "Timeout",
    "__version__",
    "each",
    "gather",
    "optional",
    "outcome",
    "param",
    "use",
]

if TYPE_CHECKING:
    from penstock.core.errors import GraphError, InputError, PenstockError, RetryAfter, RunFailed
    from penstock.core.graph import Graph
    from penstock.core.model import (
        Failure,
        Limit,
        Node,
        NodeStatus,
        Ok,
        Rate,
        RetryPolicy,
        RunOptions,
        RunStatus,
        Skip,
        SkipCause,
        Timeout,
    )
    from penstock.core.result import RunResult
    from penstock.flow import Context, Flow, Step, each, gather, optional, outcome, param, use
else:  # hidden from type checkers, to which a module with __getattr__ has every name, misspelt ones too

    def __getattr__(name):
        home = _HOME.get(name)
        if home is None:
            import sys

            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__]
            )
        from importlib import import_module

        value = globals()[name] = getattr(import_module(home), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
