"""Penstock: an embedded pipeline orchestrator. A graph of steps, run inside your own process.

This file is the public face: names, and where they live. It must never load another module of ours before a
name is asked for.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

# A public name stands three times below: in _HOME for the interpreter, in the imports for type checkers and
# editors, in __all__ for both. tests/test_face.py holds the three together. `open` is not in __all__: a star
# must not take the place of Python's own.
_HOME = {
    "Abandoned": "penstock.core.model",
    "CannotDecode": "penstock.core.errors",
    "Context": "penstock.flow",
    "CycleError": "penstock.core.errors",
    "Failure": "penstock.core.model",
    "Flow": "penstock.flow",
    "FlowHandle": "penstock.flow",
    "FlowResult": "penstock.flow",
    "Graph": "penstock.core.graph",
    "GraphChanged": "penstock.core.errors",
    "GraphError": "penstock.core.errors",
    "History": "penstock.core.history",
    "InputError": "penstock.core.errors",
    "Limit": "penstock.core.model",
    "Node": "penstock.core.model",
    "NodeResult": "penstock.core.result",
    "NodeStatus": "penstock.core.model",
    "NotStorable": "penstock.core.errors",
    "Ok": "penstock.core.model",
    "Outcome": "penstock.core.model",
    "PenstockError": "penstock.core.errors",
    "Quorum": "penstock.core.model",
    "Rate": "penstock.core.model",
    "RetryAfter": "penstock.core.errors",
    "RetryPolicy": "penstock.core.model",
    "RunBusy": "penstock.core.errors",
    "RunCancelled": "penstock.core.errors",
    "RunExists": "penstock.core.errors",
    "RunFailed": "penstock.core.errors",
    "RunNotFound": "penstock.core.errors",
    "RunOptions": "penstock.core.model",
    "RunResult": "penstock.core.result",
    "RunStatus": "penstock.core.model",
    "Secret": "penstock.core.secrets",
    "Skip": "penstock.core.model",
    "SkipCause": "penstock.core.model",
    "StampFilter": "penstock.core.capture",
    "Step": "penstock.flow",
    "StoreError": "penstock.core.errors",
    "StoredRun": "penstock.core.history",
    "Timeout": "penstock.core.model",
    "config": "penstock",
    "dask": "penstock.wiring",
    "each": "penstock.flow",
    "events": "penstock.core",
    "executor": "penstock.wiring",
    "fold": "penstock.flow",
    "gather": "penstock.flow",
    "open": "penstock.wiring",
    "optional": "penstock.flow",
    "outcome": "penstock.flow",
    "param": "penstock.flow",
    "processes": "penstock.wiring",
    "progress": "penstock.wiring",
    "ray": "penstock.wiring",
    "register": "penstock.core.codec",
    "repeat": "penstock.flow",
    "switch": "penstock.flow",
    "tracing": "penstock.wiring",
    "use": "penstock.flow",
}
_MODULES = ("config", "events")

__all__ = [
    "Abandoned",
    "CannotDecode",
    "Context",
    "CycleError",
    "Failure",
    "Flow",
    "FlowHandle",
    "FlowResult",
    "Graph",
    "GraphChanged",
    "GraphError",
    "History",
    "InputError",
    "Limit",
    "Node",
    "NodeResult",
    "NodeStatus",
    "NotStorable",
    "Ok",
    "Outcome",
    "PenstockError",
    "Quorum",
    "Rate",
    "RetryAfter",
    "RetryPolicy",
    "RunBusy",
    "RunCancelled",
    "RunExists",
    "RunFailed",
    "RunNotFound",
    "RunOptions",
    "RunResult",
    "RunStatus",
    "Secret",
    "Skip",
    "SkipCause",
    "StampFilter",
    "Step",
    "StoreError",
    "StoredRun",
    "Timeout",
    "__version__",
    "config",
    "dask",
    "each",
    "events",
    "executor",
    "fold",
    "gather",
    "optional",
    "outcome",
    "param",
    "processes",
    "progress",
    "ray",
    "register",
    "repeat",
    "switch",
    "tracing",
    "use",
]

if TYPE_CHECKING:
    from penstock import config
    from penstock.core import events
    from penstock.core.capture import StampFilter
    from penstock.core.codec import register
    from penstock.core.errors import (
        CannotDecode,
        CycleError,
        GraphChanged,
        GraphError,
        InputError,
        NotStorable,
        PenstockError,
        RetryAfter,
        RunBusy,
        RunCancelled,
        RunExists,
        RunFailed,
        RunNotFound,
        StoreError,
    )
    from penstock.core.graph import Graph
    from penstock.core.history import History, StoredRun
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
    from penstock.core.secrets import Secret
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
    from penstock.wiring import dask, executor, processes, progress, ray, tracing
    from penstock.wiring import open as open
else:  # hidden from type checkers, to which a module with __getattr__ has every name, misspelt ones too

    def __getattr__(name):
        home = _HOME.get(name)
        if home is None:
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
