"""Processes that want the same run: what each of them does, for `test_owners`. Forked from the zygote."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn

from penstock import Flow, use
from penstock.core import leases
from penstock.core.context import Context
from penstock.core.errors import PenstockError, RunBusy
from penstock.core.owners import here
from penstock.core.resume import story_of
from penstock.stores.sqlite import SqliteStore
from tests.kill.effects import LOG

Say = Callable[[dict[str, Any]], None]

SAFETY = 20.0
RUN = "run-1"


class Line:
    """One end of a line between two processes: messages in JSON, one in each line."""

    def __init__(self, come: int, go: int) -> None:
        self._come = come
        self._go = go
        self._rest = b""

    def say(self, message: Any) -> None:
        os.write(self._go, json.dumps(message).encode() + b"\n")

    def hear(self) -> Any:
        """The next message; waits for it, and not for ever."""
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._come], [], [], SAFETY)
            found = os.read(self._come, 65536) if ready else b""
            if not found:
                raise TimeoutError("nobody says anything")
            self._rest += found
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)


def forked(work: Callable[[Line], None]) -> tuple[int, Line]:
    """Does something in a process of its own; gives its id and the line to it."""
    (come, theirs), (ours, go) = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        os.close(come)
        os.close(go)
        run_and_leave(work, Line(ours, theirs))
    os.close(theirs)
    os.close(ours)
    return pid, Line(come, go)


def run_and_leave(work: Callable[[Line], None], line: Line) -> NoReturn:
    try:
        signal.alarm(int(2 * SAFETY))
        work(line)
    except BaseException as error:
        line.say({"what": type(error).__name__, "text": str(error)})
    finally:
        os._exit(0)


# A run that is held, as long as its owner wants


class Held:
    """What the step `hold` waits for in this process; nothing in most."""

    def __init__(self) -> None:
        self.until: Callable[[Context], Any] = bool


HELD = Held()

FLOW = Flow("held")


@FLOW.step
def first(ctx: Context) -> int:
    LOG.note("start", ctx.path, ctx.attempt)
    return 1


@FLOW.step
def hold(ctx: Context, x: int = use(first)) -> int:
    LOG.note("start", ctx.path, ctx.attempt)
    HELD.until(ctx)
    return x + 1


@FLOW.step
def last(ctx: Context, x: int = use(hold)) -> int:
    LOG.note("start", ctx.path, os.getpid())
    return x + 1


def warm_up() -> None:
    """Reads the sources of the flow."""
    from penstock.core.fingerprint import Fingerprints

    prints = Fingerprints()
    for node in FLOW.graph().nodes:
        prints.of_node(node)


# The race


def race(job: Mapping[str, Any], say: Say) -> None:
    """Lets processes race for runs, one run in each round.

    Args:
        job: ``folder``, ``processes``, ``rounds``.
        say: Receives what each of them has met, by round.
    """
    path = os.path.join(job["folder"], "runs.db")
    SqliteStore(path).close()
    racers = [forked(lambda line: racer(path, line)) for _ in range(job["processes"])]
    rounds = []
    for number in range(job["rounds"]):
        run = f"run-{number}"
        begun = ("new", "given back", "dead")[number % 3]
        if begun != "new":
            leave(path, run, dies=begun == "dead")
        for _, line in racers:
            line.say(run)
        met = [line.hear() for _, line in racers]  # the one that has it waits until all others have tried
        won = [line for (_, line), one in zip(racers, met, strict=True) if one["what"] == "holds"]
        for line in won:
            line.say("go")
        rounds.append({"begun": begun, "met": met, "ends": [line.hear() for line in won]})
    for pid, line in racers:
        line.say("")
        os.waitpid(pid, 0)
    with SqliteStore(path) as store:
        entries = [(entry.run_id, entry.status, entry.epoch) for entry in store.runs()]
        say({"rounds": rounds, "entries": entries, "problems": store.check()})


def racer(path: str, line: Line) -> None:
    """One of them: it stands, with its store open, and tries to get each run."""

    def until(ctx: Context) -> None:
        line.say({"what": "holds"})
        line.hear()

    HELD.until = until
    with SqliteStore(path) as store:
        while run := line.hear():
            try:
                result = FLOW.run(store=store, run_id=run)
                line.say({"what": result.status.value, "outputs": dict(result.outputs)})
            except RunBusy as error:
                line.say({"what": "RunBusy", "owner": error.owner})
            except PenstockError as error:
                line.say({"what": type(error).__name__, "text": str(error)})


def leave(path: str, run: str, *, dies: bool) -> None:
    """A run that nobody drives any more: its process has died, or has given it back."""

    def work(line: Line) -> None:
        def until(ctx: Context) -> None:
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("not yet")

        HELD.until = until
        FLOW.run(store=path, run_id=run)

    pid, _ = forked(work)
    os.waitpid(pid, 0)


# The owner that is stopped


def stopped(job: Mapping[str, Any], say: Say) -> None:
    """An owner is stopped for longer than its claim holds, another process goes on, the first one wakes.

    Args:
        job: ``folder``; and ``wakes``: ``late``, when the other one has ended the run; ``early``, while it
            is at it; ``claimed``, when it has claimed the run and written nothing; ``idle``, late, in a step
            that does not end by itself.
        say: Receives what both have met.
    """
    path = os.path.join(job["folder"], "runs.db")
    LOG.open(os.path.join(job["folder"], "effects"))
    leases.LASTS, leases.LOOK = 0.2, 0.02

    def owner(line: Line) -> None:
        def until(ctx: Context) -> None:
            line.say({"what": "holds"})
            if job["wakes"] == "idle":
                while not ctx.cancelled:
                    select.select([], [], [], 0.005)
            else:
                line.hear()

        HELD.until = until
        try:
            result = FLOW.start(store=path, run_id=RUN).result(SAFETY)
            line.say({"what": result.status.value})
        except PenstockError as error:
            notes = getattr(error, "__notes__", ())
            line.say({"what": type(error).__name__, "text": str(error), "notes": list(notes)})

    def other(line: Line) -> None:
        if job["wakes"] == "early":

            def until(ctx: Context) -> None:
                line.say({"what": "holds"})
                line.hear()

            HELD.until = until
        tries = 0
        while job["wakes"] == "claimed":
            with SqliteStore(path) as store, suppress(RunBusy):
                claim, _ = store.claim(RUN, here(), 60.0)
                line.say({"what": "holds"})
                line.hear()
                store.release(claim)
                break
            tries += 1
            select.select([], [], [], 0.01)
        while True:
            try:
                result = FLOW.run(store=path, run_id=RUN)
                line.say({"what": result.status.value, "outputs": dict(result.outputs), "tries": tries})
                return
            except RunBusy:  # it is not over yet
                tries += 1
                select.select([], [], [], 0.01)

    one, one_line = forked(owner)
    held = one_line.hear()
    os.kill(one, signal.SIGSTOP)
    os.waitpid(one, os.WUNTRACED)
    two, two_line = forked(other)
    try:
        ended = two_line.hear()
        rows = rows_of(path)
        os.kill(one, signal.SIGCONT)
        one_line.say("go")
        met = one_line.hear()
        after = rows_of(path)
        if job["wakes"] in ("early", "claimed"):
            two_line.say("go")
            ended = two_line.hear()
    finally:
        for pid in (one, two):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    with SqliteStore(path) as store:
        entry = store.find(RUN)
        assert entry is not None
        story = story_of(store, entry)
        say(
            {
                "held": held,
                "met": met,
                "ended": ended,
                "added": after[len(rows) :],
                "status": entry.status,
                "epoch": entry.epoch,
                "owner": entry.owner,
                "story": story.ended,
                "problems": store.check(),
                "stopped": one,
            }
        )


def rows_of(path: str) -> list[str]:
    with SqliteStore(path) as store:
        return list(store.rows(RUN))
