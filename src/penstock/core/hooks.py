"""Hooks: what is called with the result when a run has ended, and can do it no harm.

Each is called in a daemon thread of its own, one after another. One that raises, or takes too long, is a
warning: the run is over, and nothing about it changes any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .apart import Apart
from .failures import said_by

if TYPE_CHECKING:
    import asyncio

TIMEOUT = 30.0
"""Seconds that a hook may take if nothing else is said."""

_LONGEST = 1e6
"""Seconds; a timeout may be infinite, a lock's may not."""


class Hook(NamedTuple):
    """What to call with the result of a run, once it has ended.

    Attributes:
        call: Takes the result; may be async.
        timeout: Seconds after which it is left behind.
    """

    call: Callable[[Any], Any]
    timeout: float = TIMEOUT


def run_hooks(hooks: Sequence[Hook], result: Any) -> list[str]:
    """Calls them in order and waits for each, in this thread.

    Ctrl-C leaves behind the one that is waited for; the others are called.

    Args:
        hooks: What to call.
        result: Of the run.

    Returns:
        What went wrong, a line each.
    """
    warnings: list[str] = []
    for hook in hooks:
        call = _Call(hook, result)
        ended = threading.Lock()
        ended.acquire()
        try:
            call.start(ended.release)
            in_time = ended.acquire(timeout=min(hook.timeout, _LONGEST))
        except KeyboardInterrupt:
            warnings.append(f"hook {call.name} was interrupted and is left behind")
            continue
        warnings += call.said(in_time)
    return warnings


async def arun_hooks(hooks: Sequence[Hook], result: Any) -> list[str]:
    """The same on an event loop, which goes on meanwhile. The hooks are not called in its thread either."""
    import asyncio

    warnings: list[str] = []
    loop = asyncio.get_running_loop()
    for hook in hooks:
        call = _Call(hook, result)
        ended: asyncio.Future[None] = loop.create_future()
        call.start(lambda ended=ended: _tell(loop, ended))  # type: ignore[misc]  # mypy cannot infer the lambda
        done, _ = await asyncio.wait((ended,), timeout=min(hook.timeout, _LONGEST))
        warnings += call.said(bool(done))
    return warnings


def _tell(loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
    try:
        loop.call_soon_threadsafe(lambda: None if ended.done() else ended.set_result(None))
    except RuntimeError:  # the loop was closed: nobody waits any more
        pass


class _Call(Apart):
    """One call of one hook."""

    __slots__ = ("hook", "name", "result")

    def __init__(self, hook: Hook, result: Any) -> None:
        name = getattr(hook.call, "__qualname__", None)
        self.name = name if isinstance(name, str) else type(hook.call).__qualname__
        self.hook = hook
        self.result = result
        super().__init__(self._make, f"penstock-hook-{self.name}")

    def said(self, in_time: bool) -> list[str]:
        """What there is to say about it, once nobody waits for it any more."""
        if not in_time:
            return [f"hook {self.name} took more than {self.hook.timeout:g} s and is left behind"]
        if self.error is not None:
            return [f"hook {self.name} raised {said_by(self.error)}"]
        return []

    def _make(self) -> None:
        answer = self.hook.call(self.result)
        if hasattr(answer, "__await__"):
            import asyncio

            async def answered() -> None:
                await answer

            asyncio.run(answered())
