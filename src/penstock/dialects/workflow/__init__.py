"""Workflows of tasks that name what they depend on, each with a retry policy, a condition and a timeout.

A task's dependencies become needs of its node, and what observers see of the run becomes its status again.
`docs/dialects/workflow.md` has every name.
"""

from __future__ import annotations

from penstock.core.model import RetryPolicy

from .errors import CycleError, TaskFailedError, WorkflowError
from .helpers import chain, fan_out_fan_in, parallel
from .tasks import Task, TaskResult, TaskStatus
from .workflow import Workflow

__all__ = [
    "CycleError",
    "RetryPolicy",
    "Task",
    "TaskFailedError",
    "TaskResult",
    "TaskStatus",
    "Workflow",
    "WorkflowError",
    "chain",
    "fan_out_fan_in",
    "parallel",
]
