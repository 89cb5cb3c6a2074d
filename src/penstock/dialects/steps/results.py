"""What becomes of steps."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any


class StepStatus(enum.StrEnum):
    """Where a step stands; prints as its value."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    RETRYING = "retrying"


@dataclass(slots=True)
class StepResult:
    """How one step ended or, while the run goes on, where it stands.

    Attributes:
        step_name: The step.
        status: Its status.
        output: What it returned; None unless it succeeded.
        error: Why it did not succeed, else None.
        started_at: When its first attempt began; of a step that was never started, when that was decided.
        finished_at: When its last attempt ended; as long as it has not, the moment of the look.
        duration_ms: Milliseconds between the two.
        retries: How many times it was tried again.
    """

    step_name: str
    status: StepStatus
    output: Any
    error: str | None
    started_at: datetime
    finished_at: datetime
    duration_ms: float
    retries: int
