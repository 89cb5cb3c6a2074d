"""A cluster of Dask on this machine, of which workers are killed."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import dask.config
from distributed import LocalCluster, Status

from penstock.runners.remote import RemotePool
from penstock.runners.remote.on_dask import DaskCluster

WORKERS = 4
PATIENT: dict[str, object] = {
    "distributed.scheduler.allowed-failures": 50,  # as for machines that are taken away at any time
    "distributed.deploy.lost-worker-timeout": "1 hour",
}


class DaskGround:
    """See `chaos.Ground`.

    Args:
        cluster: Whose workers.
        pool: What makes the attempts.
    """

    def __init__(self, cluster: LocalCluster, pool: RemotePool) -> None:
        self.pool = pool
        self._cluster = cluster

    def kill(self, dice: random.Random) -> bool:
        """See `chaos.Ground`. One that runs is left, for a new one takes its time; and a nanny whose worker
        dies before it runs would give up."""
        steady = [
            process.pid
            for nanny in self._cluster.workers.values()
            if (process := nanny.process) is not None and process.status is Status.running
        ]
        if len(steady) < 2:
            return False
        try:
            os.kill(dice.choice(steady), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


@contextmanager
def ground() -> Iterator[DaskGround]:
    """Starts one."""
    with (
        dask.config.set(PATIENT),
        LocalCluster(
            n_workers=WORKERS,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        ) as cluster,
        RemotePool(DaskCluster(cluster)) as pool,
    ):
        yield DaskGround(cluster, pool)
