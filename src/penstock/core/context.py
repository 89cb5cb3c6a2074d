"""What a step is told about itself, and what it may say while it runs."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .visible import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from .attendance import Travelling
    from .model import NodePath


class RunLink(NamedTuple):
    """A run, as the runs that its steps start see it."""

    run_id: str
    parent: RunLink | None = None


CURRENT: ContextVar[RunLink | None] = ContextVar("penstock_run", default=None)
"""The run in one of whose steps we are."""


class Folder(Protocol):
    """A folder of one attempt's own; `workdir` makes them."""

    @property
    def path(self) -> Path:
        """Where the attempt writes; made at the first look."""

    @property
    def published(self) -> Path:
        """Where what it wrote will be found once it has succeeded."""

    def travel(self) -> Any:
        """What makes the same folder in another process."""


class Context:
    """Handed to a step whose parameter is annotated ``Context``.

    Attributes:
        run_id: Id of the run.
        path: The step's id; for an item with its indices: ``parse[3]``.
        node: The step's id alone.
        key: Indices of the item, or its keys, outermost first; empty outside maps.
        attempt: Number of this attempt, from 1.
        attended: For runners in other processes: what travels with an attempt that is attended to.
    """

    __slots__ = ("_beat", "_folder", "_path", "_say", "_stop", "attempt", "attended", "run_id")

    def __init__(
        self,
        run_id: str,
        path: NodePath,
        attempt: int,
        say: Callable[[Any], None],
        *,
        beat: Callable[[], None] | None = None,
        folder: Folder | None = None,
    ) -> None:
        self.run_id = run_id
        self.attempt = attempt
        self._path = path
        self._say = say
        self._beat = beat
        self._folder = folder
        self._stop = False
        self.attended: Travelling | None = None

    def __repr__(self) -> str:
        return one_line(f"<Context {self.path}, attempt {self.attempt} of run {self.run_id}>")

    @property
    def path(self) -> str:
        return str(self._path)

    @property
    def node(self) -> str:
        return self._path.node

    @property
    def key(self) -> tuple[int | str, ...]:
        return self._path.items

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this step in this run, and for nothing else: give it to services
        that do a thing once per key."""
        items = f"[{','.join(map(repr, self._path.items))}]" if self._path.items else ""
        return f"{self.run_id}/{self._path.node}{items}"

    @property
    def cancelled(self) -> bool:
        """Whether the step was asked to stop. A step in a thread cannot be stopped from outside: a long one
        looks here now and then and returns."""
        return self._stop

    @property
    def workdir(self) -> Path:
        """A folder of this attempt's own, made at the first look.

        If the step succeeds it is moved to `published`, all at once; otherwise it is removed.

        Raises:
            RuntimeError: The step does not run in a flow.
        """
        return self._the_folder().path

    @property
    def published(self) -> Path:
        """Where the contents of `workdir` will be found once the step has succeeded: what a step returns to
        tell others of a file.

        Raises:
            RuntimeError: The step does not run in a flow.
        """
        return self._the_folder().published

    def _the_folder(self) -> Folder:
        if self._folder is None:
            raise RuntimeError(f"{self!r} has no folder: it was not made by a run")
        return self._folder

    def heartbeat(self) -> None:
        """Says that the step is alive, and nothing else: see `Timeout.idle`."""
        if self._beat is not None:
            self._beat()

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Says how far the step is; a sign of life too.

        Args:
            done: Units done so far.
            total: Units in all, if known.
            text: A word about what it is doing.
        """
        from .events import Progressed
        from .secrets import masked

        self.heartbeat()
        self._say(Progressed(self._path, done, total, masked(str(text))))

    def log(self, message: str, **fields: Any) -> None:
        """Says something to the run's observers; a sign of life too."""
        import time

        from .capture import line
        from .events import Logged
        from .secrets import masked_in

        self.heartbeat()
        said = line(str(message))
        self._say(Logged(self._path, self.attempt, said, masked_in(fields), at=time.time()))

    def pass_on(self, event: Any) -> None:
        """Says what the step has said in another process; for runners."""
        self.heartbeat()
        self._say(event)

    def ask_to_stop(self) -> None:
        """Sets `cancelled`; for runners."""
        self._stop = True

    def travel(self) -> tuple[Any, ...]:
        """What makes the same context in another process, where `arrived` takes it; for runners."""
        folder = None if self._folder is None else self._folder.travel()
        return (self.run_id, self._path, self.attempt, folder, self.attended)

    @classmethod
    def arrived(
        cls, travelled: tuple[Any, ...], say: Callable[[Any], None], beat: Callable[[], None]
    ) -> Context:
        """A context in another process: what it says there goes through `say` and `beat`; for runners."""
        from .workdir import Workdir

        run_id, path, attempt, folder, attended = travelled
        own = None if folder is None else Workdir.arrived(folder)
        made = cls(run_id, path, attempt, say, beat=beat, folder=own)
        made.attended = attended
        return made

    def attend(self, call: Callable[..., Any], *, stream: bool) -> Callable[..., Any]:
        """What is called in another process in place of the step's call; for runners.

        Args:
            call: The step's.
            stream: It gives an iterator of elements.
        """
        if self.attended is None:
            return call
        from .attendance import arrive

        here = arrive(self.attended, self.run_id, self._path, self.attempt, self._say, call)
        return here.wrapped(is_async=False, stream=stream)
