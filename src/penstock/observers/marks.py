"""How a status looks: one sign and one style each."""

from __future__ import annotations

from penstock.core.model import NodeStatus

from .page import Span

_MARKS: dict[NodeStatus, tuple[str, str, str]] = {
    NodeStatus.PENDING: ("dim", "○", "."),
    NodeStatus.READY: ("dim", "○", "."),
    NodeStatus.RUNNING: ("busy", "●", ">"),
    NodeStatus.RETRYING: ("warn", "↻", "~"),
    NodeStatus.WAITING: ("warn", "◔", "?"),
    NodeStatus.SUCCEEDED: ("good", "✓", "+"),
    NodeStatus.FAILED: ("bad", "✗", "x"),
    NodeStatus.SKIPPED: ("dim", "–", "-"),
    NodeStatus.CANCELLED: ("warn", "■", "#"),
}


class Signs:
    """The signs that an output can show.

    Args:
        encoding: Of the output; None stands for one that shows everything.
    """

    def __init__(self, encoding: str | None = None) -> None:
        self.fine = encoding is None or _can(encoding, "○●↻◔✓✗–■━╸─…·")
        self.more = "…" if self.fine else "..."
        self.dot = "·" if self.fine else "|"
        self.bar = ("━", "╸", "─") if self.fine else ("#", "", "-")

    def mark(self, status: NodeStatus) -> Span:
        """The sign of a status, in its style."""
        style, fine, rough = _MARKS[status]
        return style, fine if self.fine else rough


def style_of(status: NodeStatus) -> str:
    """The style of a status."""
    return _MARKS[status][0]


def _can(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
