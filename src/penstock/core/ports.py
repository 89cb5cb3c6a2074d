"""The sockets: what a runner and an observer must be, and what anything that can be run must offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

from .checks import SYNC_ONLY
from .context import Context
from .errors import InputError, nearest
from .failures import RetryOn
from .graph import Graph
from .mailbox import Mailbox
from .model import Input, RunOptions
from .result import RunResult

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from .resume import Story
    from .storage import StoreWord

RunsOn: TypeAlias = "str | Runner | Pool | Executor | None"
"""What a run call takes to say where steps run: the name of a runner, the address of an engine, or something
that is lent."""

Observer = Callable[[Any], None]
"""Receives every event after it is recorded. One that raises, or is too slow, is named in the run's warnings
and not called again in that run; nothing else changes."""


class AtOnce:
    """An observer of a face, whose contract says that it is called at once: in the engine's thread, which
    waits for it. All others stand aside, see `aside`."""

    def __init__(self, call: Observer) -> None:
        self._call = call
        self.__qualname__ = getattr(call, "__qualname__", type(call).__qualname__)

    def __call__(self, event: Any) -> None:
        self._call(event)


RUNNERS = (*sorted(("aio", *SYNC_ONLY)),)
"""The names of runners. What each of them means is known to wiring alone."""

ENGINES = ("dask", "ray")
"""Those of them that may be followed by an address: ``dask://host:8786``."""

LOCAL = ("aio", "inline", "threads")
"""Those of them whose attempts are made in this process, where what surrounds an attempt is at hand."""


def no_runner(name: str) -> InputError:
    """What to raise where a name is none of a runner."""
    return InputError(f"there is no runner {name!r}{nearest(name, RUNNERS)} (one of {', '.join(RUNNERS)})")


def check_runner(word: str) -> None:
    """Whether it is the name of a runner, or the address of an engine.

    Raises:
        InputError: It is neither.
    """
    name, mark, address = word.partition("://")
    if not mark and word not in RUNNERS:
        raise no_runner(word)
    if mark and (name not in ENGINES or not address):
        words = " or ".join(f"{engine}://host:port" for engine in ENGINES)
        raise InputError(f"there is no runner {word!r}: an address is {words}")


Work = tuple[int, int, Callable[..., Any], dict[str, Any], RetryOn, Context | None, int]
"""One attempt, as handed to a runner: a plain tuple, for one is made per attempt.

    (node, token, call, arguments, retry_on, context, kind)

The machine's number of the node, and the token that tells this attempt from others of it; what to call and
with what; the ``retry_on`` of its retry policy, None without one: an error is judged where it is; the step's
context, if it asked for one; and how it is to be
called: TIMED, PURE and STREAM of `commands`, where they hold."""


@runtime_checkable
class Runner(Protocol):
    """Makes attempts. It knows nothing of graphs, retries or limits.

    For each `Work` submitted it posts BEGAN when the attempt really runs (only if it is TIMED, and
    not needed where ENDED follows at once) and exactly
    one ENDED, unless it is abandoned: then the ENDED that says so, and GONE when it ends at last. What a call
    returns goes through `taken_apart` of `returned`, if its type is one of the UNUSUAL there; a failure of
    that is one of the attempt. It never raises because of what a step does.

    Of a STREAM it posts YIELDED for each element, in order and never beyond the position that `go_on` last
    allowed (0 at first: none), and ENDED with the payload None when the iterator is exhausted. A stream that
    is stopped, or is not exhausted for any other reason, is closed before its ENDED is posted.
    """

    @property
    def name(self) -> str:
        """What steps call it: a step with ``runner=`` of this name is handed to it."""

    @property
    def awaits(self) -> bool:
        """Whether it takes coroutine functions and async generators; if not, it takes all others."""

    @property
    def capacity(self) -> int:
        """Attempts that it takes at a time, a small reserve for quick steps included."""

    def open(self, mailbox: Mailbox, clock: Callable[[], float]) -> None:
        """Called once, before the first attempt, in the engine's thread."""

    @property
    def submit(self) -> Callable[[Work], None]:
        """Takes an attempt, and returns at once."""

    def stop(self, node: int, token: int, *, timeout: bool) -> None:
        """Ends an attempt: one that has not begun is given back (RETURNED), one that runs is asked to end.

        With `timeout` its time is over: what cannot be made to end is abandoned now, not after the grace.
        """

    def abandon(self, node: int, token: int) -> None:
        """The grace is over: posts ENDED for the attempt now, whatever it does."""

    def go_on(self, node: int, token: int, upto: int) -> None:
        """Lets a stream produce elements up to this position; it never shrinks. A stream that has not begun,
        or has just ended, may be meant too."""

    def close(self) -> None:
        """Called once, after the last attempt: nothing of the runner remains but what was abandoned."""


@runtime_checkable
class Pool(Protocol):
    """Workers that outlive a run: the caller opens and closes them, and each run gets a `Runner` of them."""

    def for_run(self, options: RunOptions) -> Runner:
        """A runner for one run. Closing it ends that run's attempts, never the workers."""

    def close(self) -> None:
        """Ends the workers."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Closes it."""


class Upcoming(NamedTuple):
    """A run that is about to begin, or to go on.

    Attributes:
        run_id: Its id.
        graph: What runs.
        expected: Gives how long its steps took in earlier runs, in seconds by id; None if nobody knows.
        story: The run as it was before, if it goes on.
    """

    run_id: str
    graph: Graph
    expected: Callable[[], Mapping[str, float]] | None = None
    story: Story | None = None


@runtime_checkable
class Follows(Protocol):
    """An observer that may be given to any number of runs: each is told to one of its own, for events do not
    say of which run they are."""

    def for_run(self, run: Upcoming, /) -> Observer:
        """What is to be told of this run; in the context of whoever asks for the run."""


@runtime_checkable
class Runnable(Protocol):
    """What the command line can run, of whatever face: asked for by these three methods, never by class."""

    def graph(self) -> Graph:
        """The graph as it would run now.

        Raises:
            GraphError: It is not valid.
        """

    def inputs(self) -> Sequence[Input]:
        """The inputs that a run takes."""

    def run_with(
        self,
        inputs: Mapping[str, Any],
        *,
        targets: Sequence[str] | None = None,
        runner: str | None = None,
        options: RunOptions | None = None,
        store: StoreWord = None,
        run_id: str | None = None,
        target: str | None = None,
    ) -> RunResult:
        """Runs it to its end in the caller's thread.

        Args:
            inputs: By name; of a run that goes on, those that are not given are what they were.
            targets: Ids of steps: only they and what they need are run.
            runner: The name of one.
            options: How it goes.
            store: Where the run is kept.
            run_id: Its id.
            target: What the command line was given to find the object; kept with the run.
        """
