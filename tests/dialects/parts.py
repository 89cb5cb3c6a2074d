"""What the tests of the contracts of several dialects share: runs that cannot hang, and odd values."""

import asyncio
from typing import Any

BOUND = 60
"""Seconds after which something hangs; nothing here takes a tenth of it."""


def bounded(coroutine) -> Any:
    """What it gives, on a loop of its own; a TimeoutError if it never comes to an end."""

    async def main():
        return await asyncio.wait_for(coroutine, BOUND)

    return asyncio.run(main())


class NoTruth:
    def __bool__(self):
        raise RuntimeError("no truth")


class NoText(Exception):
    def __str__(self):
        raise RuntimeError("no text")


class NotText(Exception):
    def __str__(self):
        return 5  # noqa: PLE0307
