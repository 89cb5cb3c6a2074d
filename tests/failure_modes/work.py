"""Steps that run in processes, where they are loaded by name."""

from __future__ import annotations

import asyncio
import threading
from typing import Any


def double(n: int) -> int:
    return 2 * n


def same(x: Any) -> Any:
    return x


async def _later() -> int:
    return 1


def forgets_await() -> Any:
    return _later()


def gives_a_future() -> Any:
    loop = asyncio.new_event_loop()
    try:
        return loop.create_future()
    finally:
        loop.close()


def gives_a_lock() -> Any:
    return threading.Lock()
