"""What runs in processes of Ray: the actor through which words and orders go, and what workers call."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pickle import PickleBuffer
from queue import SimpleQueue
from typing import Any, Final

import ray
from ray.exceptions import ActorUnavailableError, RayActorError

from penstock.core.commands import STREAM

from . import bundle as b
from . import site

NAMESPACE: Final = "penstock"
"""In which the actor of a desk has its name: the desk's own."""

_PAUSE = 5.0  # seconds for which one asks at the actor at most, before one asks again
_PATIENCE = 60.0  # seconds that an actor which has died gets to be there again
_AGAIN = 0.2  # seconds after which one asks again at an actor that could not be reached

Place = tuple[bytes, int]
"""How far one has read: in which life of the actor, and up to where."""

UNREAD: Final[Place] = (b"", 0)


class Sheet:
    """What was written, as long as somebody may not have read it."""

    def __init__(self) -> None:
        self._life = os.urandom(8)
        self._dropped = 0
        self._entries: list[Any] = []
        self._news = asyncio.Event()

    def write(self, entries: Sequence[Any]) -> None:
        """Wakes those who wait for it."""
        self._entries.extend(entries)
        news, self._news = self._news, asyncio.Event()
        news.set()

    def drop(self, count: int) -> None:
        """Forgets the first ones."""
        del self._entries[:count]
        self._dropped += count

    def drop_read(self, place: Place) -> None:
        """Forgets what was read."""
        life, upto = place
        if life == self._life:
            self.drop(upto - self._dropped)

    def drop_below(self, floor: int) -> None:
        """Forgets the first ones that are about lower numbers only."""
        kept = (i for i, entry in enumerate(self._entries) if entry[0] >= floor)
        self.drop(next(kept, len(self._entries)))

    async def read(self, place: Place, *, wait: bool) -> tuple[bytes, int, list[Any]]:
        """What has come since; and the place up to there."""
        life, upto = place
        if wait and life == self._life and upto >= self._dropped + len(self._entries):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _PAUSE)
        start = max(0, upto - self._dropped) if life == self._life else 0
        return self._life, self._dropped + len(self._entries), self._entries[start:]


class Board:
    """An actor, at which workers leave words and the driver leaves orders.

    It is started again when it dies. Then words are lost, and orders are written once more by the driver.
    """

    def __init__(self) -> None:
        self._words = Sheet()
        self._orders = Sheet()
        self._resting: dict[bytes, asyncio.Event] = {}

    async def say(self, words: list[bytes]) -> None:
        """From a worker."""
        self._words.write(words)

    async def hear(self, place: Place) -> tuple[bytes, int, list[bytes]]:
        """For the driver: what has been said since."""
        self._words.drop_read(place)
        return await self._words.read(place, wait=True)

    async def order(self, orders: list[tuple[int, bytes, str | None]], floor: int) -> None:
        """From the driver: orders, each with the highest number that it is about, and the worker."""
        self._orders.drop_below(floor)
        self._orders.write(orders)

    async def orders(self, where: str, place: Place, *, wait: bool) -> tuple[bytes, int, list[bytes]]:
        """For a worker: what was ordered since."""
        life, upto, new = await self._orders.read(place, wait=wait)
        return life, upto, [data for _, data, whom in new if whom in (None, where)]

    async def rest(self, key: bytes) -> None:
        """For a worker that has nothing to do: until `wake`, or for a while."""
        event = self._resting.setdefault(key, asyncio.Event())
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), _PAUSE)
        self._resting.pop(key, None)

    async def wake(self, key: bytes) -> None:
        """From a worker: what it waits for has come, or what it is about to wait for."""
        self._resting.setdefault(key, asyncio.Event()).set()


# --- in a worker ------------------------------------------------------------------------------------------


def serve(desk: str, version: tuple[str, ...], data: bytes, *values: b.Values) -> bytes:
    """Carries out a bundle of which no value stays; see `Site.carry_out`."""
    return _carry_out(desk, version, data, values)[0]


def serve_and_keep(
    desk: str, version: tuple[str, ...], data: bytes, *values: b.Values
) -> tuple[bytes, dict[int, tuple[PickleBuffer, ...]]]:
    """Carries out a bundle; its values are stored as they are, and read where they are stored."""
    answer, made = _carry_out(desk, version, data, values)
    return answer, {number: tuple(map(PickleBuffer, parts)) for number, parts in made.items()}


def _carry_out(
    desk: str, version: tuple[str, ...], data: bytes, loads: Sequence[b.Values]
) -> tuple[bytes, b.Values]:
    where = f"{ray.get_runtime_context().get_node_id()[:8]}/{os.getpid()}"
    bundle = b.opened(data, version, where)
    link = _links.get(desk)
    if link is None:
        link = _links[desk] = _Link(desk, where)
    at = site.site_of(desk, where)
    with _uninterrupted():
        if any(call.flag & STREAM for call in bundle.calls):
            return _stepping_aside(link, lambda aside: at.carry_out(bundle, loads, 1, link.say, aside))
        return at.carry_out(bundle, loads, 1, link.say)


def _stepping_aside(
    link: _Link, carry_out: Callable[[Callable[[], None]], tuple[bytes, b.Values]]
) -> tuple[bytes, b.Values]:
    """Carries out a bundle in a thread. While a stream of it sleeps, this one waits at the actor: so Ray sees
    that its task is blocked, and gives its processor to others."""
    turns: SimpleQueue[tuple[bytes, b.Values] | BaseException | None] = SimpleQueue()
    key = os.urandom(8)

    asleep = threading.Event()

    def aside() -> None:
        asleep.set()
        turns.put(None)

    def run() -> None:
        try:
            turns.put(carry_out(aside))
        except BaseException as error:
            turns.put(error)
        if asleep.is_set():
            link.wake(key)

    threading.Thread(target=run, name="penstock-stream", daemon=True).start()
    found = turns.get()
    if found is None:
        link.rest(key)
        while turns.empty():
            link.rest(key)
        found = turns.get()
    if isinstance(found, BaseException):
        raise found
    assert found is not None, "a bundle steps aside once"
    return found


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A cancel that comes when a bundle was begun is too late: all of it was ordered to stop, and its answer
    says how that went."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)


_links: dict[str, _Link] = {}


class _Link:
    """What connects this worker to a desk.

    Args:
        desk: Which.
        where: What this worker is called.
    """

    def __init__(self, desk: str, where: str) -> None:
        self._desk = desk
        self._where = where
        self._board = ray.get_actor(desk, namespace=NAMESPACE)
        self._lock = threading.Lock()
        self._words: list[bytes] = []
        self._is_saying = False
        self._place = UNREAD
        self._catch_up()
        threading.Thread(target=self._obey, name="penstock-orders", daemon=True).start()

    def say(self, word: bytes) -> None:
        """Sends a word; those that come meanwhile go together."""
        with self._lock:
            self._words.append(word)
            if self._is_saying:
                return
            self._is_saying = True
        self._say()

    def rest(self, key: bytes) -> None:
        """Blocks this task, as Ray sees it, until `wake`; or for a while."""
        try:
            ray.get(self._board.rest.remote(key))
        except RayActorError:  # it comes again, or else this process ends
            time.sleep(_AGAIN)

    def wake(self, key: bytes) -> None:
        """Ends a `rest`."""
        self._board.wake.remote(key)

    def _say(self, _: Any = None) -> None:
        with self._lock:
            words, self._words = self._words, []
            self._is_saying = bool(words)
        if words:
            self._board.say.remote(words).future().add_done_callback(self._say)

    def _ask(self, *, wait: bool) -> None:
        life, upto, orders = ray.get(self._board.orders.remote(self._where, self._place, wait=wait))
        self._place = (life, upto)
        for data in orders:
            site.obey(self._desk, data)

    def _catch_up(self) -> None:
        """Takes the orders that were given before this worker was there."""
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                self._ask(wait=False)
                return
            except ActorUnavailableError:
                if time.monotonic() > until:
                    raise
                time.sleep(_AGAIN)

    def _obey(self) -> None:
        while True:
            try:
                self._ask(wait=True)
            except ActorUnavailableError:
                time.sleep(_AGAIN)
            except Exception:  # the desk is closed
                break
        _links.pop(self._desk, None)
        site.leave(self._desk)
