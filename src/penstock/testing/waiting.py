"""Awaiting something where the caller cannot."""

from __future__ import annotations

from typing import Any


class Waiter:
    """An event loop of its own, for what a test in plain code has awaited; made when it is first needed."""

    def __init__(self) -> None:
        self._loop: Any = None

    def awaited(self, value: Any) -> Any:
        """What awaiting it brings, if it must be awaited; inside a running loop too."""
        if not hasattr(value, "__await__"):
            return value
        import asyncio

        async def wait() -> Any:
            return await value

        if self._loop is None:
            self._loop = asyncio.Runner()
        if asyncio._get_running_loop() is None:
            return self._loop.run(wait())
        return _elsewhere(lambda: self._loop.run(wait()))

    def close(self) -> None:
        """Ends the loop, and what still runs on it."""
        if self._loop is None:
            return
        import asyncio

        close, self._loop = self._loop.close, None
        if asyncio._get_running_loop() is None:
            close()
        else:
            _elsewhere(close)


def awaited(value: Any) -> Any:
    """What awaiting it brings, if it must be awaited, on a loop that ends with it."""
    waiter = Waiter()
    try:
        return waiter.awaited(value)
    finally:
        waiter.close()


def _elsewhere(call: Any) -> Any:
    """Calls it in a thread, where no loop runs, and waits for it."""
    import threading
    from contextvars import copy_context

    ends: list[tuple[Any, BaseException | None]] = []

    def go() -> None:
        try:
            ends.append((call(), None))
        except BaseException as error:
            ends.append((None, error))

    thread = threading.Thread(target=copy_context().run, args=(go,), name="penstock-await")
    thread.start()
    thread.join()
    ((value, error),) = ends
    if error is not None:
        raise error
    return value
