"""Ray as an engine: bundles are its tasks, values that stay are its object references.

What workers say, and what they are ordered, goes through an actor, at which both sides ask for more. So no
port is opened that a cluster does not have already.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pickle import PickleBuffer
from typing import Any

import ray
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError, TaskCancelledError

from penstock.core.failures import said_by

from . import bundle as b
from . import cluster
from .at_ray import NAMESPACE, UNREAD, Board, serve, serve_and_keep
from .travel import sees

_CPU = "CPU"
_CLIENT, _AUTO, _LOCAL = "ray://", "auto", "local"  # addresses, as ray.init takes them
_LOOK = 1.0  # seconds between two looks at how many processors there are
_PATIENCE = 5.0  # seconds that a thread gets to end
_IDLE = 2  # looks that found no processor, until that is said
_AGAIN = 0.2  # seconds after which one asks again at an actor that could not be reached
_KINDS = 500  # of streams that may sleep at a time
_RETRIES = 2  # workers that may die at a bundle until Ray gives it back; each is begun again at once
_LARGE = 1 << 16  # bytes of a bundle from which it is stored as it is
_KNOCK = 5.0  # seconds that an address gets to answer: ray.init would wait for minutes
_TOGETHER = 100_000  # workers that may ask for orders at a time


_GONE = "ray.shutdown() was called in this program"


class RayCluster:
    """A cluster of Ray: the one that this process is at, or one at an address, or one that is started here.

    Args:
        address: Of a cluster; None for the one that the program has initialised, or that RAY_ADDRESS names,
            or else to start one.
        size: Processors of one that is started; by default as many as there are.
        options: Of its tasks, such as ``{"num_gpus": 1}``.
    """

    name = "ray"

    def __init__(
        self,
        address: str | None = None,
        size: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.desk = os.urandom(16).hex()
        self._address = address
        self._size = size
        self._options = {"num_cpus": 1, **(options or {}), "max_retries": _RETRIES}
        self._owns = False
        self._cpus = 0
        self._streams = 0
        self._idle = 0
        self._refs: dict[int, Any] = {}
        self._posted: list[tuple[int, bytes, str | None]] = []  # orders that may still matter
        self._closed = threading.Event()

    @property
    def slots(self) -> int:
        """See `Cluster`."""
        return self._cpus

    def open(self, listener: cluster.Listener) -> None:
        """See `Cluster`."""
        self._listener = listener
        self._owns = _connect(self._address, self._size)
        self._job = _job()
        self._cpus = _cpus()
        self._board = self._new_board()
        self._serve = ray.remote(**self._options)(serve)
        self._serve_and_keep = ray.remote(**self._options, num_returns=2)(serve_and_keep)
        self._thread = threading.Thread(target=self._listen, name="penstock-ray-words", daemon=True)
        self._thread.start()

    def sees(self, files: Mapping[str, str]) -> bool:
        """See `Cluster`."""
        look = ray.remote(sees)
        nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
        asked = [look.options(num_cpus=0, **_at(node, soft=False)).remote(dict(files)) for node in nodes]
        return all(ray.get(asked))

    def submit(self, ticket: int, data: bytes, loads: Sequence[Any], *, stays: bool) -> None:
        """See `Cluster`."""
        self._check()
        body = PickleBuffer(data) if len(data) >= _LARGE else data
        given = (self.desk, tuple(b.version()), body, *loads)
        kept = None
        if self._listener.has_stream(ticket):
            answer = self._serve.options(num_cpus=self._share()).remote(*given)
        elif stays:
            answer, kept = self._serve_and_keep.remote(*given)
        else:
            answer = self._serve.remote(*given)
        self._refs[ticket] = answer
        answer.future().add_done_callback(lambda done: self._done(ticket, done, kept))

    def order(self, orders: Sequence[tuple[Any, ...]], where: str | None) -> None:
        """See `Cluster`."""
        upto, floor, data = max(order[1] for order in orders), self._floor(), b.dump(orders)
        self._posted = [one for one in self._posted if one[0] >= floor]
        self._posted.append((upto, data, where))
        self._if_there(self._board.order.remote, [self._posted[-1]], floor)

    def withdraw(self, ticket: int, numbers: Sequence[int]) -> None:
        """See `Cluster`. Ray itself tells whether it was begun: then its answer comes all the same."""
        answer = self._refs.get(ticket)
        if answer is not None:
            self._if_there(ray.cancel, answer)

    def close(self) -> None:
        """See `Cluster`."""
        self._closed.set()
        self._refs.clear()
        self._if_there(ray.kill, self._board)
        self._thread.join(_PATIENCE)
        if self._owns:
            _disconnect(self._job)

    def _new_board(self) -> Any:
        here = ray.get_runtime_context().get_node_id()
        options = {"num_cpus": 0, "max_restarts": -1, "max_concurrency": _TOGETHER, **_at(here, soft=True)}
        return ray.remote(Board).options(name=self.desk, namespace=NAMESPACE, **options).remote()

    def _share(self) -> float:
        """The processors that a stream asks for: a little less than one, each another.

        Ray starts a worker beside those whose tasks are blocked at once only if the task is of another kind
        than theirs; for one of the same kind it waits for seconds.
        """
        self._streams += 1
        return 1 - self._streams % _KINDS * 1e-4

    def _floor(self) -> int:
        """Below this number no attempt is open: tickets and attempts are counted together."""
        return min(list(self._refs), default=0)

    def _is_there(self) -> bool:
        return ray.is_initialized() and _job() == self._job

    def _check(self) -> None:
        """Ray would start another cluster by itself, where there is none any more."""
        if not self._is_there():
            raise ConnectionError(_GONE)

    def _if_there(self, call: Callable[..., Any], *given: Any) -> None:
        """Calls what is not missed where Ray is gone: all attempts are lost then."""
        with suppress(Exception):
            self._check()
            call(*given)

    def _done(self, ticket: int, done: Any, kept: Any) -> None:
        if self._refs.pop(ticket, None) is None:
            return
        listener = self._listener
        try:
            answer = done.result()
        except RayTaskError as error:
            cause = error.cause or error
            died = isinstance(cause, (TaskCancelledError, ObjectLostError, RayActorError))
            listener.lost(ticket, told(cause), died=int(died))
        except TaskCancelledError:
            listener.withdrawn(ticket)
        except BaseException as error:
            listener.lost(ticket, f"workers of Ray died at it: {told(error)}", died=1)
        else:
            listener.over(ticket, answer, kept)

    def _listen(self) -> None:
        """In a thread: passes on what workers say, and sees how many there are."""
        place, look_at = UNREAD, 0.0
        while not self._closed.is_set():
            if not self._is_there():
                self._lose_all()
                self._closed.wait(_LOOK)
                continue
            try:
                life, upto, words = ray.get(self._board.hear.remote(place))
                if life != place[0] and self._posted:
                    self._board.order.remote(self._posted, self._floor())
                place = (life, upto)
                if time.monotonic() >= look_at:
                    self._look()
                    look_at = time.monotonic() + _LOOK
            except BaseException:  # the actor is about to be there again; or Ray is shut down
                self._closed.wait(_AGAIN)
                continue
            for word in words:
                self._listener.hear(word)

    def _look(self) -> None:
        cpus = _cpus()
        if cpus != self._cpus:
            self._cpus = cpus
            self._listener.changed()
        self._idle = 0 if cpus or not self._refs else self._idle + 1
        if self._idle == _IDLE:
            self._listener.warn("ray: the cluster has no processors; steps wait until there are some")

    def _lose_all(self) -> None:
        for ticket in list(self._refs):
            if self._refs.pop(ticket, None) is not None:
                self._listener.lost(ticket, _GONE, died=0)


def told(error: BaseException) -> str:
    """What a task that has failed says, as far as it is not the step's own."""
    text = said_by(error)
    if "penstock" in text and isinstance(error, (ImportError, AttributeError, RuntimeError)):
        return f"the workers have no Penstock, or another version: {text}"
    return text


# --- Ray itself -------------------------------------------------------------------------------------------


_connecting = threading.Lock()
_pools: dict[str, int] = {}  # how many share a connection that was made for them, by its name


def _connect(address: str | None, size: int | None) -> bool:
    """Connects this process to a cluster, unless it is; whether it is for the pools to disconnect it."""
    with _connecting:
        if not ray.is_initialized():
            _start(address or os.environ.get("RAY_ADDRESS"), size)
            _pools[_job()] = 1
            return True
        here = ray.get_runtime_context().gcs_address
        if not _is_same(address, here):
            raise ValueError(f"this program is connected to the Ray at {here}, and not to {address}")
        if (job := _job()) in _pools:
            _pools[job] += 1
        return job in _pools


def _disconnect(job: str) -> None:
    with _connecting:
        _pools[job] -= 1
        if not _pools[job]:
            del _pools[job]
            if ray.is_initialized() and _job() == job:
                ray.shutdown()


def _is_same(address: str | None, here: str) -> bool:
    """Whether an address may be that of the cluster here: Ray knows this machine by another name."""
    if address in (None, _AUTO, here) or str(address).startswith(_CLIENT):
        return True
    host, _, port = str(address).rpartition(":")
    return host in ("127.0.0.1", "localhost") and port == here.rpartition(":")[2]


def _start(address: str | None, size: int | None) -> None:
    how: dict[str, Any] = {"address": address}
    where: AbstractContextManager[None] = nullcontext()
    if address in (None, _LOCAL):
        cpus = size or len(os.sched_getaffinity(0))
        how = {"address": _LOCAL, "num_cpus": cpus, "include_dashboard": False}
        how["_node_ip_address"] = "127.0.0.1"
        where = on_loopback()
    elif address != _AUTO:
        _knock(str(address))
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        with where:
            ray.init(log_to_driver=False, logging_level="ERROR", **how)
    finally:
        if main:  # Ray takes it for itself
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _knock(address: str) -> None:
    host, _, port = address.removeprefix(_CLIENT).rpartition(":")
    try:
        socket.create_connection((host, int(port)), _KNOCK).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(f"there is no Ray at {address}: {said_by(error)}") from None


@contextmanager
def on_loopback() -> Iterator[None]:
    """A cluster that is started meanwhile is for this machine alone, and tells nobody that it is used.

    On Linux, Ray listens at all interfaces even if it is given 127.0.0.1, unless this is switched off.
    """
    from ray._private import ray_constants

    name, quiet = "ENABLE_RAY_CLUSTER", "RAY_USAGE_STATS_ENABLED"
    before, said = getattr(ray_constants, name, None), os.environ.get(quiet)
    setattr(ray_constants, name, False)
    os.environ.setdefault(quiet, "0")
    try:
        yield
    finally:
        setattr(ray_constants, name, before)
        if said is None:
            del os.environ[quiet]


def _job() -> str:
    """A name for the connection of this process: the cluster and the job."""
    here = ray.get_runtime_context()
    return f"{here.gcs_address} {here.get_job_id()}"


def _cpus() -> int:
    return int(ray.cluster_resources().get(_CPU, 0))


def _at(node: str, *, soft: bool) -> dict[str, Any]:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as At

    return {"scheduling_strategy": At(node, soft=soft)}
