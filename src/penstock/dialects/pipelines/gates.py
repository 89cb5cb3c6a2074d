"""A stage that waits for an answer from outside. No name of the vocabulary, it is imported from here."""

from __future__ import annotations

from typing import Any

from penstock.core.gate import Gate
from penstock.core.model import NOTHING

from .stages import Options, Stage


class GateStage(Stage):
    """A stage that calls nothing, and waits until somebody has answered; its output is the answer.

    It is answered by `Pipeline.answer`, by ``penstock approve``, or through `penstock.open`. With a store, a
    run that waits for nothing else is put down, and goes on when it is resumed.

    Args:
        stage_id: Its id.
        prompt: What is asked.
        type: What an answer must be: a class such as bool or str, or a `Literal`.
        timeout_s: Seconds that it waits; then it fails, or gives `default`. None for as long as it takes.
        default: The answer when its time is over.
        name, depends_on: See `Stage`.

    Raises:
        TypeError: The prompt is no text, or the type no type.
        ValueError: The timeout is out of range, or the default no answer.
    """

    def __init__(
        self, stage_id: str, prompt: str = "", type: Any = bool, timeout_s: float | None = None,
        default: Any = NOTHING, *, name: str | None = None, depends_on: list[str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(stage_id, **Options(name=name, depends_on=depends_on, timeout_s=timeout_s))
        self.gate = Gate(f"GateStage {stage_id!r}", prompt, type, timeout_s, default)

    def execute(self, context: dict[str, Any]) -> Any:
        """Refuses: only a run can wait.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(f"GateStage {self.stage_id!r} waits for an answer, which only a run can do")
