"""What the tests of dialect D share: executors, the ways to run them, work for processes."""

import asyncio
import os

import pytest

from penstock.dialects.steps import PipelineConfig, PipelineExecutor

from .parts import bounded


def made(**config):
    return PipelineExecutor(PipelineConfig(**config))


def fails(*_):
    raise ValueError("boom")


async def forever(*_):
    await asyncio.Event().wait()


def told(results):
    return {name: (str(one.status), one.error) for name, one in results.items()}


ways = pytest.mark.parametrize("way", ["run", "run_sync", "run_sync in a loop"])


def run(executor, way="run", *args, **how):
    if way == "run":
        return bounded(executor.run(*args, **how))
    if way == "run_sync":
        return executor.run_sync(*args, **how)

    async def inside():
        return executor.run_sync(*args, **how)

    return bounded(inside())


# What worker processes find by its name


def one() -> int:
    return 1


def add(one, more=1) -> tuple[int, int]:
    return one + more, os.getpid()


def refused(*_):
    raise ConnectionError("refused")


async def where() -> int:
    return os.getpid()
