"""SIGTERM, and a terminal that goes away, end a run in the same order as Ctrl-C; none is ever overslept."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Asked:
    """What this process was asked to do meanwhile.

    Attributes:
        terminated: To end, by SIGTERM or SIGHUP.
    """

    def __init__(self) -> None:
        self.terminated = False


@contextmanager
def orderly() -> Iterator[Asked]:
    """For a time, SIGTERM and SIGHUP do what Ctrl-C does at that moment, and are remembered.

    During a run that is to cancel it, the second time at once; outside, to raise KeyboardInterrupt. A signal
    that is ignored (`nohup`) or handled by somebody else stays so. Where SIGINT is ignored (a job in a
    shell's background) it stays without effect, but a run's way of handling it is needed: so it is blocked.
    """
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        asked.terminated = True
        act = signal.getsignal(signal.SIGINT)
        if callable(act):
            act(signal.SIGINT, frame)
        else:
            raise KeyboardInterrupt

    taken = []
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, terminate)
            taken.append(number)
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN and hasattr(signal, "pthread_sigmask")
    if ignored:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with _awake():
            yield asked
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def _awake() -> Iterator[None]:
    """Lets no signal wait while the main thread sleeps.

    Python runs a handler between two of its instructions. A signal that comes after the last one before the
    main thread goes to sleep is noted, and its handler runs when the thread wakes: in a run that waits for
    something, perhaps never. So a thread that hears of every signal nudges the main thread with another one.
    """
    nudge = getattr(signal, "SIGURG", None)  # by default nobody sends it, and nobody minds it
    if nudge is None or signal.getsignal(nudge) is not signal.SIG_DFL:
        yield
        return
    listen, tell = os.pipe()
    os.set_blocking(tell, False)
    over = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def hear() -> None:
        while heard := os.read(listen, 64):
            if set(heard) != {nudge}:
                for pause in (0.001, 0.01, 0.1):
                    if over.wait(pause):
                        return
                    signal.pthread_kill(main, nudge)

    signal.signal(nudge, lambda number, frame: None)
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    thread = threading.Thread(target=hear, name="penstock-signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        os.close(tell)
        thread.join()
        os.close(listen)
        signal.signal(nudge, signal.SIG_DFL)
