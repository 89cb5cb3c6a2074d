"""A Ray on this machine, of which workers are killed."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from penstock.runners.remote import RemotePool
from penstock.runners.remote.on_ray import RayCluster
from tests.runners.ray_sight import command, parent, ray_processes

WORKERS = 3

_RARELY = 0.1  # of the kills, which are the actor's
_WORKER = (b"ray::serve", b"ray::IDLE")
_ACTOR = b"ray::Board"


class RayGround:
    """See `chaos.Ground`.

    Args:
        pool: What makes the attempts.
    """

    def __init__(self, pool: RemotePool) -> None:
        self.pool = pool
        self._seen: set[int] = set()

    def kill(self, dice: random.Random) -> bool:
        """See `chaos.Ground`. Now and then it is the actor that words and orders go through.

        A worker takes longer than a second to start where there is much to do. So one is left alone until it
        has a child at two looks in a row; and so is the last of those, or nothing would ever be done.
        """
        everyone = ray_processes()
        parents = {parent(pid) for pid in everyone}
        able = {pid for pid in everyone if pid in parents and command(pid).startswith(_WORKER)}
        steady, self._seen = sorted(able & self._seen), able
        victims = steady if len(steady) > 1 else []
        if dice.random() < _RARELY:
            victims = [pid for pid in everyone if command(pid).startswith(_ACTOR)]
        if not victims:
            return False
        os.kill(dice.choice(victims), signal.SIGKILL)
        return True


@contextmanager
def ground() -> Iterator[RayGround]:
    """Starts one."""
    with RemotePool(RayCluster(size=WORKERS)) as pool:
        pool.begin()
        yield RayGround(pool)
