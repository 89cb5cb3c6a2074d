"""Runners of every kind, each with two workers where it has workers; clusters are started once a module."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any

import pytest

import penstock

HERE = ("inline", "aio", "threads")
"""Runners whose attempts are made in this process."""

APART = ("processes", "executor", "dask", "ray")
"""Runners whose attempts are made in others."""


class Pools:
    """Starts what is asked for, and closes all of it at the end."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """What stands after ``runner=`` for a runner of this name."""
        if name in HERE:
            return name
        if name not in self._made:
            self._made[name] = getattr(self, f"_{name}")()
        return self._made[name]

    @property
    def cluster(self) -> Any:
        """A cluster of Dask, of somebody who has never heard of this library."""
        if "cluster" not in self._made:
            distributed = pytest.importorskip("distributed", reason="program missing: distributed")
            self._made["cluster"] = self._stack.enter_context(
                distributed.LocalCluster(
                    n_workers=2,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                )
            )
        return self._made["cluster"]

    @property
    def address(self) -> str:
        """What stands after ``--runner`` for the same."""
        return str(self.cluster.scheduler_address).replace("tcp://", "dask://")

    def _processes(self) -> Any:
        return self._stack.enter_context(penstock.processes(2))

    def _executor(self) -> Any:
        executor = ProcessPoolExecutor(2, mp_context=get_context("spawn"))
        return self._stack.enter_context(penstock.executor(self._stack.enter_context(executor)))

    def _dask(self) -> Any:
        return self._stack.enter_context(penstock.dask(self.cluster))

    def _ray(self) -> Any:
        pytest.importorskip("ray", reason="program missing: ray")
        return self._stack.enter_context(penstock.ray(size=2))
