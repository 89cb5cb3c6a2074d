"""What an engine must offer, to make attempts for a desk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Listener(Protocol):
    """Who is told; from any thread."""

    def hear(self, word: bytes) -> None:
        """A worker has said something."""

    def over(self, ticket: int, answer: bytes, kept: Any) -> None:
        """A bundle is done.

        Args:
            ticket: Which.
            answer: Its endings.
            kept: What holds the values that have stayed with the engine, as long as it is held.
        """

    def lost(self, ticket: int, text: str, *, died: int) -> None:
        """A bundle has no answer.

        Args:
            ticket: Which.
            text: What has happened.
            died: So many workers have died of it, or with it: nobody is to blame, and it may be begun again,
                unless that comes to pass over and over again.
        """

    def withdrawn(self, ticket: int) -> None:
        """It was withdrawn before it was begun."""

    def changed(self) -> None:
        """There are more workers, or fewer."""

    def has_stream(self, ticket: int) -> bool:
        """Whether a bundle is a stream, which sleeps now and then."""

    def warn(self, text: str) -> None:
        """Something keeps the runs from going on, or has done so."""


class Cluster(Protocol):
    """An engine: `on_executor`, `on_dask` and `on_ray` each have one.

    Attributes:
        name: Of the runner.
        desk: By which workers know whose they are.
    """

    name: str
    desk: str

    @property
    def slots(self) -> int:
        """Bundles that its workers carry out at a time; 0 while it has none."""

    def open(self, listener: Listener) -> None:
        """Called once, before the first bundle; starts an engine if it is to be of its own.

        Raises:
            Exception: There is no such engine, or it cannot be started; told in words.
        """

    def sees(self, files: Mapping[str, str]) -> bool:
        """Whether all its workers find these very files; see `travel.sees`."""

    def submit(self, ticket: int, data: bytes, loads: Sequence[Any], *, stays: bool) -> None:
        """Hands out a bundle.

        Args:
            ticket: What it is called from now on.
            data: The bundle.
            loads: What was `kept` of others, whose values it takes.
            stays: Values of it may stay.
        """

    def order(self, orders: Sequence[tuple[Any, ...]], where: str | None) -> None:
        """Passes orders to one worker, or to all of them."""

    def withdraw(self, ticket: int, numbers: Sequence[int]) -> None:
        """Takes a bundle back, if no worker has begun it: then `withdrawn` follows.

        Args:
            ticket: Which.
            numbers: Of its attempts. All of them have been ordered to stop.
        """

    def close(self) -> None:
        """Ends what it has at the workers, and the engine if it is its own."""
