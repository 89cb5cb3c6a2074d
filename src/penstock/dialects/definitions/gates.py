"""A stage that waits for an answer from outside. No name of the vocabulary, it is imported from here."""

from __future__ import annotations

from typing import Any, NoReturn

from penstock.core import gate
from penstock.core.model import NOTHING


class Gate:
    """A stage that calls nothing, and waits until somebody has answered; its output is the answer.

    It is answered by `PipelineExecutor.answer`, by ``penstock approve``, or through `penstock.open`. With a
    store, an execution that waits for nothing else is put down: its result names the stage in
    ``metadata["waiting"]``, and it goes on when it is executed again. The ``timeout_ms`` of its definition is
    how long it waits.

    Args:
        prompt: What is asked.
        type: What an answer must be: a class such as bool or str, or a `Literal`.
        default: The answer when its time is over; otherwise it fails then.

    Raises:
        TypeError: The prompt is no text, or the type no type.
        ValueError: The default is no answer.
    """

    def __init__(self, prompt: str = "", type: Any = bool, default: Any = NOTHING) -> None:
        self.prompt = prompt
        self.type = type
        self.default = default
        self.asked("Gate", None if default is NOTHING else 1.0)

    def asked(self, where: str, timeout: float | None) -> gate.Gate:
        """The gate in the words of the library.

        Args:
            where: Whose it is, for error texts.
            timeout: Seconds that it waits.
        """
        return gate.Gate(where, self.prompt, self.type, timeout, self.default)

    async def execute(self, input: Any, context: Any, /) -> NoReturn:
        """Refuses: only a run can wait.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("a Gate waits for an answer, which only a run can do")
