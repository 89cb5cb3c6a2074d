"""Dask as an engine: bundles are its tasks, values that stay are its futures.

What workers say goes through the scheduler, as events of a topic; what they are ordered, by `Client.run`. So
no port is opened that a cluster does not have already, and what it encrypts stays encrypted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

import dask.config
from distributed import Client, Future, KilledWorker, LocalCluster, Reschedule, get_worker, secede
from distributed.client import FutureCancelledError
from distributed.protocol import Serialize

from penstock.core.errors import InputError
from penstock.core.failures import said_by

from . import bundle as b
from . import cluster, site
from .travel import sees

_LOOPBACK = "127.0.0.1"
_NO_PAGES: dict[str, list[str]] = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
_CONNECT = 10.0  # seconds in which a scheduler must answer
_LOOK = 1.0  # seconds between two looks at what workers there are
_IDLE = 2  # looks without any worker, until that is told
_HEAVY = 1 << 20  # bytes of a bundle from which it is sent to the workers beside the graph
_HEARD = 1 << 25  # bytes of words after which the scheduler is told to keep them no longer
_FAREWELL = 2.0  # seconds in which what was sent to the scheduler has surely come
_SOON = 0.02  # seconds until a result that was lost is looked for again
_OPEN = ("pending", "lost")
_AT_WORK = ("executing", "long-running")


class DaskCluster:
    """A cluster of Dask: the caller's, or one that is started on this machine and ends with the pool.

    Args:
        given: Address of a scheduler; a client; a cluster object of `distributed`; None to start one.
        size: Workers of one that is started; by default as many as there are processors.
        options: More arguments of `Client.submit`, such as ``{"resources": {"GPU": 1}}``.
    """

    name = "dask"

    def __init__(
        self, given: Any = None, size: int | None = None, options: Mapping[str, Any] | None = None
    ) -> None:
        self.desk = os.urandom(16).hex()
        self._given = given
        self._size = size
        self._options = dict(options or {})
        self._own: LocalCluster | None = None
        self._threads: dict[str, int] = {}
        self._tickets: dict[int, Future] = {}
        self._orders: set[asyncio.Future[Any]] = set()
        self._heard = 0

    @property
    def slots(self) -> int:
        """See `Cluster`."""
        return sum(self._threads.values())

    def open(self, listener: cluster.Listener) -> None:
        """See `Cluster`."""
        self._listener = listener
        self._lends = isinstance(self._given, Client)
        self._client: Client = self._given if self._lends else self._connected()
        if self._client.asynchronous:
            raise InputError("penstock.dask takes a Client that was not made with asynchronous=True")
        if self._client.status != "running":
            raise InputError(f"the Client that penstock.dask was given is {self._client.status}")
        self._loop: asyncio.AbstractEventLoop = self._client.loop.asyncio_loop
        self._threads = dict(self._client.nthreads())
        self._listen()
        self._watching = self._soon(self._watch())

    def sees(self, files: Mapping[str, str]) -> bool:
        """See `Cluster`. Of workers that are still to come, nobody knows."""
        found = self._client.run(sees, dict(files), on_error="return").values()
        return bool(found) and all(one is True for one in found)

    def submit(self, ticket: int, data: bytes, loads: Sequence[Any], *, stays: bool) -> None:
        """See `Cluster`."""
        client, name = self._client, f"{self._topic}-{ticket}"
        given: Any = data
        if len(data) >= _HEAVY:
            given = client.scatter(data, hash=False)
        how = {**self._options, "pure": False, "retries": 0}
        what = (self.desk, tuple(b.version()), given, list(loads))
        if stays:
            whole = client.submit(serve_and_keep, *what, key=f"{name}-whole", **how)
            head = client.submit(_answer, whole, key=name, **how)
        else:
            whole = head = client.submit(serve, *what, key=name, **how)
        self._tickets[ticket] = whole
        self._soon(self._await(ticket, head, whole if stays else None))

    def order(self, orders: Sequence[tuple[Any, ...]], where: str | None) -> None:
        """See `Cluster`."""
        self._soon(self._order(b.dump(orders), where))

    def withdraw(self, ticket: int, numbers: Sequence[int]) -> None:
        """See `Cluster`."""
        self._soon(self._withdraw(ticket, numbers))

    def close(self) -> None:
        """See `Cluster`."""
        self._watching.cancel()
        left = list(self._tickets.values())
        self._tickets.clear()
        if self._client.status == "running":
            for farewell in (
                partial(self._client.cancel, left),
                partial(self._client.run, site.leave, self.desk, on_error="ignore"),
                partial(self._client.unsubscribe_topic, self._topic),
                partial(self._client.run_on_scheduler, _forget, self._topic),
            ):
                try:
                    farewell()
                except Exception:  # what cannot be reached any more sees to itself
                    pass
        if not self._lends:
            self._client.close()
        if self._own is not None:
            self._own.close()

    @property
    def _topic(self) -> str:
        return f"penstock-{self.desk}"

    def _connected(self) -> Client:
        address = self._given or self._start()
        if getattr(address, "asynchronous", False):
            raise InputError("penstock.dask takes a cluster that was not made with asynchronous=True")
        try:
            return Client(address, set_as_default=False, timeout=_CONNECT)
        except (OSError, ValueError) as error:
            raise InputError(
                f"no scheduler of Dask answers at {address} within {_CONNECT:g} s ({said_by(error)}); "
                "start one with `dask scheduler`, or say runner='dask' for a cluster on this machine"
            ) from error

    def _start(self) -> LocalCluster:
        """A cluster of threads of this process, which only pass on what goes to the children. Those no Ctrl-C
        at the terminal reaches, and only there the program is imported again."""
        with dask.config.set(_NO_PAGES):
            self._own = LocalCluster(
                n_workers=1,
                threads_per_worker=self._size or len(os.sched_getaffinity(0)),
                processes=False,
                dashboard_address=f"{_LOOPBACK}:0",  # None would open another one
                worker_dashboard_address=f"{_LOOPBACK}:0",
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.CRITICAL,
            )
        return self._own

    def _listen(self) -> None:
        self._line = self._client.scheduler_comm
        self._client.subscribe_topic(self._topic, self._hear)

    def _hear(self, event: tuple[float, bytes]) -> None:
        word = event[1]
        self._listener.hear(word)
        self._heard += len(word)
        if self._heard >= _HEARD:
            self._heard = 0
            self._soon(self._client.run_on_scheduler(_shorten, self._topic))

    def _soon(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Has something done on the client's loop."""
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    # On the client's loop

    async def _await(self, ticket: int, head: Future, whole: Future | None) -> None:
        answer: bytes | None = None
        text, died = "", 0
        try:
            answer = await self._answer(head)
        except KilledWorker as error:
            died = error.allowed_failures + 1
            text = f"the worker {error.last_worker.address} died"
        except FutureCancelledError as error:
            gone = self._client.status in ("closing", "closed")
            died = 0 if gone else 1
            text = _GONE if gone else f"the scheduler does not know of it any more ({error.reason})"
        except Exception as error:
            text = told(error)
        if self._tickets.pop(ticket, None) is None:
            return
        if answer is None:
            self._listener.lost(ticket, text, died=died)
        else:
            self._listener.over(ticket, answer, whole)

    async def _answer(self, future: Future) -> bytes:
        """Takes a result away from Dask, which would make it again if a worker that has it died, though it
        may be recorded by then."""
        client = self._client
        while True:
            await _end_of(future, self._loop)
            if future.status not in _OPEN:
                if future.status != "finished":
                    await client.gather(future, asynchronous=True)  # raises
                answer: Any = await client.run_on_scheduler(_take, future.key, client.id)
                if answer is not None:  # as it is, if the workers are threads of this process
                    return bytes(answer.data if isinstance(answer, Serialize) else answer)
            await asyncio.sleep(_SOON)  # it was lost with its worker, and is made again

    async def _order(self, data: bytes, where: str | None) -> None:
        run = self._client.run(
            site.obey, self.desk, data, workers=None if where is None else [where], on_error="ignore"
        )
        passed = asyncio.ensure_future(run)
        self._orders.add(passed)
        try:
            await passed
        finally:
            self._orders.discard(passed)

    async def _withdraw(self, ticket: int, numbers: Sequence[int]) -> None:
        """The orders that came before this one have had it revoked at all workers: if none has it then, none
        ever will begin it."""
        await asyncio.gather(*self._orders, return_exceptions=True)
        whole = self._tickets.get(ticket)
        if whole is None:
            return
        known = await self._client.run(site.knows, self.desk, numbers, on_error="ignore")
        if not any(known.values()) and self._tickets.pop(ticket, None) is not None:
            self._listener.withdrawn(ticket)
            await self._client.cancel([whole], asynchronous=True)

    async def _watch(self) -> None:
        """Looks at the workers, and whether there is a scheduler at all."""
        idle = 0
        while True:
            await asyncio.sleep(_LOOK)
            line = self._client.scheduler_comm
            if self._client.status == "closed" or (line is not None and line.comm.closed()):
                self._lose_all()
                continue
            try:
                threads = dict(await self._client.nthreads())
            except Exception:  # it cannot be reached now
                continue
            if line is not self._line:  # it was lost, and found again
                self._listen()
            if threads != self._threads:
                self._threads = threads
                self._listener.changed()
            idle = 0 if threads or not self._tickets else idle + 1
            if idle == _IDLE:
                self._listener.warn("dask: the cluster has no workers; steps wait until there is one")

    def _lose_all(self) -> None:
        """The scheduler is gone, and nobody will come back to what it was at."""
        left = list(self._tickets)
        self._tickets.clear()
        for ticket in left:
            self._listener.lost(ticket, _GONE, died=0)


_GONE = "the connection to the scheduler of Dask is closed"


async def _end_of(future: Future, loop: asyncio.AbstractEventLoop) -> None:
    over = asyncio.Event()
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(over.set))
    await over.wait()


def told(error: BaseException) -> str:
    """What a task that has failed says, as far as it is not the step's own."""
    if isinstance(error, (ImportError, AttributeError)) and "penstock" in str(error):
        return f"the workers have no Penstock, or another version: {said_by(error)}"
    return said_by(error)


# --- in a worker ------------------------------------------------------------------------------------------


def serve(desk: str, version: tuple[str, ...], data: bytes, loads: Sequence[Any]) -> bytes:
    """Carries out a bundle of which nothing stays."""
    return serve_and_keep(desk, version, data, loads)[0]


def serve_and_keep(
    desk: str, version: tuple[str, ...], data: bytes, loads: Sequence[Any]
) -> tuple[bytes, b.Values]:
    """Carries out a bundle; see `Site.carry_out`."""
    worker = get_worker()
    key, where, size = worker.get_current_task(), worker.address, worker.state.nthreads
    values = [one[1] for one in loads]

    def say(word: bytes) -> None:
        worker.log_event(f"penstock-{desk}", word)

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state in _AT_WORK

    try:
        bundle = b.opened(data, version, where)
        return site.site_of(desk, where).carry_out(bundle, values, size, say, secede, wanted)
    except site.Unwanted:
        raise Reschedule from None


def _answer(whole: tuple[bytes, b.Values]) -> bytes:
    return whole[0]


# --- in the scheduler -------------------------------------------------------------------------------------


async def _take(key: str, client: str, dask_scheduler: Any) -> Any:
    """A result, which is forgotten here in the same moment; None if its worker has died meanwhile."""
    found = await dask_scheduler.gather([key])
    task = dask_scheduler.tasks.get(key)
    if found["status"] != "OK" or task is None or task.state != "memory":
        return None
    dask_scheduler.client_releases_keys([key], client)
    return found["data"][key]


def _shorten(topic: str, dask_scheduler: Any) -> None:
    """Keeps no words that were said before now."""
    dask_scheduler._broker.truncate(topic)


async def _forget(topic: str, dask_scheduler: Any) -> None:
    """Nobody speaks of it any more, once the client's farewell has come, which takes another way."""
    topics = dask_scheduler._broker._topics
    end = time.monotonic() + _FAREWELL
    while topic in topics and topics[topic].subscribers and time.monotonic() < end:
        await asyncio.sleep(_SOON)
    topics.pop(topic, None)
