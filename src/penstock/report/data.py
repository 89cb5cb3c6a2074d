"""What a report of a run knows: texts and numbers only, for whoever makes a page of them.

Every text may come from a stranger (names, errors, what steps printed): it is shown as text, and never as
markup. Times are seconds since 1970 by the run's clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from ..core.outline import NodeStanding, Outline

Outcome = Literal[
    "running", "waiting", "succeeded", "failed", "cancelled", "interrupted", "returned", "part"
]  # fmt: skip
"""How an attempt ended, or that it has not. ``interrupted``: by the death of its process; ``returned``:
unbegun; ``part``: of a fold, it has taken the items that had ended by then."""

Doing = Literal["wait", "queue", "run", "pause", "gate"]
"""What time of an attempt was spent on: see `segments`."""


class Line(NamedTuple):
    """One line that a step has logged or printed.

    Attributes:
        at: When.
        level: ``debug``, ``info``, ``warning``, ``error`` or ``critical``.
        origin: Name of the logger; ``stdout`` or ``stderr``; empty of `Context.log`.
        message: What it says; may have many lines.
        fields: What was given besides, as texts.
    """

    at: float
    level: str
    origin: str
    message: str
    fields: tuple[tuple[str, str], ...] = ()


class Trouble(NamedTuple):
    """Why an attempt failed.

    Attributes:
        kind: ``error``, ``timeout``, ``condition``, ``lost_worker`` or one of the others of `Failure`.
        type: Name of the exception's class.
        text: Text of the exception.
        trace: The traceback, without frames of this library; empty where there is none.
        note: What the run adds: why there was no further attempt.
    """

    kind: str
    type: str
    text: str
    trace: str = ""
    note: str = ""


class Attempt(NamedTuple):
    """One attempt of a step, or the time that a gate was open.

    Attributes:
        number: From 1; attempts that were cut off or given back have the number of the one after them.
        token: Counts the hand-outs.
        outcome: How it ended.
        ready: When all that it needed had ended, or the pause before it was over; None if not known.
        handed: When it was handed to its runner; None if not known.
        began: When it really began; None if it never did, or that is not known.
        ended: When it ended. Of one that was cut off: when the last was heard of its run. None if it goes on.
        due: When the next attempt may begin, if this one is retried.
        trouble: Why it failed, else None.
        cpu: Seconds of processor time; None if not measured.
        memory: Bytes at most at a time; None if not measured.
        exact: Whether `memory` is its own; otherwise it used no more than that.
        life: Which of `Report.lives` it belongs to.
        counts: False if its result was thrown away when the run went on later.
        gate: It is the time that a gate was open.
        lines: What it said, of failed attempts only: the last ones.
        more_lines: How many there are before them.
    """

    number: int
    token: int
    outcome: Outcome
    ready: float | None = None
    handed: float | None = None
    began: float | None = None
    ended: float | None = None
    due: float | None = None
    trouble: Trouble | None = None
    cpu: float | None = None
    memory: int | None = None
    exact: bool = True
    life: int = 0
    counts: bool = True
    gate: bool = False
    lines: tuple[Line, ...] = ()
    more_lines: int = 0


class Step(NamedTuple):
    """A step, or one item of a mapped step.

    Attributes:
        path: Its id; for an item with its keys: ``parse[3]``.
        node: Its id.
        status: ``pending``, ``running``, ``retrying``, ``waiting``, ``succeeded``, ``failed``, ``skipped`` or
            ``cancelled``.
        item: Whether it is an item.
        source: How a success came about: ``run``, ``override``, ``cache``, …; empty otherwise.
        reason: Why it did not succeed, in a few words.
        tries: How many attempts there were that were not given back; of a mapped step, all its items'.
        attempts: Its attempts, the oldest first; of a mapped step none.
        trouble: Why it failed, of the last attempt, or of its condition; None if it did not, and of a mapped
            step.
        began, ended: When the first attempt began and the last one ended.
        duration: Seconds from `began` to `ended`; of a mapped step, the sum over its items.
        run: Seconds in which attempts ran.
        queued: Seconds in which attempts waited, for a slot, a limit, or in their runner.
        paused: Seconds between a failed attempt and the next one that were meant to pass.
        cpu: Seconds of processor time of all attempts; None if not measured.
        memory: Bytes, of the attempt that used most; None if not measured.
        exact: See `Attempt`.
        critical: Whether it lies on the critical path.
        counts: Of a mapped step, how many items have each status (one without items has 0 that succeeded);
            otherwise empty.
        items: Of a mapped step, those of its items that are shown, in input order.
        more_items: How many are not.
    """

    path: str
    node: str
    status: str
    item: bool = False
    source: str = ""
    reason: str = ""
    tries: int = 0
    attempts: tuple[Attempt, ...] = ()
    trouble: Trouble | None = None
    began: float | None = None
    ended: float | None = None
    duration: float | None = None
    run: float = 0.0
    queued: float = 0.0
    paused: float = 0.0
    cpu: float | None = None
    memory: int | None = None
    exact: bool = True
    critical: bool = False
    counts: Mapping[str, int] = {}
    items: tuple[Step, ...] = ()
    more_items: int = 0

    @property
    def mapped(self) -> bool:
        """Whether it has items."""
        return bool(self.counts)


class Segment(NamedTuple):
    """What an attempt did for a while.

    Attributes:
        doing: ``wait`` for a slot or a limit, ``queue`` in its runner, ``run``, ``pause`` before the next
            attempt, or ``gate``: it was open.
        began, ended: From when to when.
    """

    doing: Doing
    began: float
    ended: float


class Life(NamedTuple):
    """A time in which one process drove the run.

    Attributes:
        began, ended: From when to when; it ends when the last was heard of it.
        away: Seconds from the end of the one before.
        crashed: Whether the one before was cut off, rather than put down in order.
        end: How it ended: ``cut off``, ``waiting``, ``running``, or as the run did.
        undone: How many attempts that had been made before it begin again, or count no more.
        changed: Ids of the steps whose code had changed when it began.
    """

    began: float
    ended: float
    away: float = 0.0
    crashed: bool = False
    end: str = ""
    undone: int = 0
    changed: tuple[str, ...] = ()


class Gate(NamedTuple):
    """A gate that was opened.

    Attributes:
        path: Of the gate.
        prompt: What it asks; empty of one that only sleeps.
        takes: The type of an answer, as text.
        since: When it was opened.
        due: When it waits no longer, if ever.
        ended: When it was answered, or over; None if it is open.
        answer: What was answered, as a short text; empty if it was not.
        answered: Whether an answer is there that the run has not taken yet.
    """

    path: str
    prompt: str
    takes: str
    since: float
    due: float | None = None
    ended: float | None = None
    answer: str = ""
    answered: bool = False


class Output(NamedTuple):
    """The value of a step.

    Attributes:
        name: Id of the step.
        preview: The value as a short text.
        mapped: Whether it is the list of what a mapped step's items came to.
    """

    name: str
    preview: str
    mapped: bool = False


class Figure(NamedTuple):
    """A value of a step that can be looked at.

    Attributes:
        name: Id of the step.
        mime: ``image/png``, ``image/jpeg``, ``image/svg+xml`` or ``text/html``.
        data: The text, or the bytes in base64. To be shown where no script of it can run.
    """

    name: str
    mime: str
    data: str


class Level(NamedTuple):
    """How busy the run was from a moment on, until the next one.

    Attributes:
        at: The moment.
        running: Attempts that run.
        queued: Attempts that could run, and wait for a slot, a limit or their runner.
    """

    at: float
    running: int
    queued: int


class Leg(NamedTuple):
    """A part of the critical path: what kept the run from ending earlier.

    Attributes:
        kind: ``run``; ``wait``, for a slot or limit; ``queue``, in the runner; ``pause`` before a retry;
            ``gate``, until it was answered; ``away``: nobody drove the run; ``engine``: the run itself, its
            store and its scheduling; ``several`` short ones, put together.
        path: Whose; empty of ``away`` and ``several``, and of ``engine`` at the beginning and end of a life.
        attempt: Which attempt; 0 where there is none.
        began, ended: From when to when.
        why: How it follows from the attempt before: ``need``, it takes its value or waits for it; ``slot``,
            it has taken its place; ``retry``; ``start``, of the run or of a life. Empty within an attempt.
    """

    kind: str
    path: str
    attempt: int
    began: float
    ended: float
    why: str = ""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


class Efficiency(NamedTuple):
    """What the run has made of its time.

    Attributes:
        wall: Seconds in which it was driven.
        work: Seconds that attempts ran, all together.
        cpu: Processor seconds of those that were measured; None if none was.
        measured: Share of the work of which the processor time was measured, 0 to 1.
        workers: Attempts that could run at a time, as far as is known.
        known: Whether that was set (``max_concurrency``); otherwise it is the most that ever ran at a time.
        peak: The most attempts that ran at a time.
        average: Attempts that ran at a time, on average over `wall`.
        share: `work` as a share of what `workers` could have done in `wall`, 0 to 1: parallel efficiency.
        chain: Seconds of the longest chain of steps that need each other: with any number of workers the run
            takes no less.
        bound: Seconds that it takes at least with `workers`.
        queued: Seconds that attempts waited, all together.
        wasted: Seconds of `work` in attempts that failed, were cut off, or whose result was thrown away.
    """

    wall: float
    work: float
    cpu: float | None
    measured: float
    workers: int
    known: bool
    peak: int
    average: float
    share: float
    chain: float
    bound: float
    queued: float
    wasted: float


class WhatIf(NamedTuple):
    """How long the run would have taken otherwise, by replaying what steps took.

    Attributes:
        what: In words: ``8 workers``, ``any number of workers``, ``load takes no time``.
        kind: ``workers``, ``free``, or ``twice``: a step twice as quick.
        seconds: How long it would have taken.
        change: Against the replay of what was, as a share: -0.23 is 23 % less.
        workers: How many there are; None for any number.
        step: Id of the step that is quicker; empty otherwise.
    """

    what: str
    kind: Literal["workers", "free", "twice"]
    seconds: float
    change: float
    workers: int | None = None
    step: str = ""


class Forecast(NamedTuple):
    """What-ifs, and how far they can be believed.

    Attributes:
        measured: Seconds that the run took, without the time in which nobody drove it, in which only a gate
            was open, and before its first step was handed out.
        replayed: What the replay says of the run as it was; None if there is none.
        workers: Workers in that replay; None for any number.
        ifs: The what-ifs; empty if the replay does not hold.
        note: Why there are none, or fewer; or what the replay leaves out. Empty if all is well.
    """

    measured: float
    replayed: float | None = None
    workers: int | None = None
    ifs: tuple[WhatIf, ...] = ()
    note: str = ""

    @property
    def error(self) -> float | None:
        """By how much the replay misses what was measured, as a share: 0.03 is 3 % too long."""
        if self.replayed is None or self.measured <= 0:
            return None
        return self.replayed / self.measured - 1.0


class Command(NamedTuple):
    """What can be done next on the command line.

    Attributes:
        line: The command, whole, quoted for a shell.
        what: What it does, in a few words.
        path: The step or gate that it is about; empty of one for the whole run.
    """

    line: str
    what: str
    path: str = ""


class Report(NamedTuple):
    """A run.

    Attributes:
        run_id: Its id.
        flow: Name of its flow.
        status: ``pending``, ``running``, ``waiting``, ``succeeded``, ``failed``, ``cancelled``, ``cut off``.
        reason: Why it was cancelled, or that its deadline passed; empty where neither is so.
        made: When this report was made.
        created: When the run was first asked for.
        began: When it began.
        ended: When it ended, or else when the last was heard of it: where drawings end.
        wall: Seconds in which it was driven.
        outline: Its graph.
        standings: By id, how each node stands; of all nodes, also where `steps` has been cut.
        counts: How many nodes have each status.
        steps: Its nodes, in the order of definition, each with the items that are shown.
        lives: Times in which it was driven; more than one if it was resumed.
        efficiency: What it has made of its time; None where nothing ran.
        critical: The critical path, in the order of time, without gaps from `began` to `ended`.
        levels: How busy it was.
        forecast: What would have been if.
        gates: Gates that were opened, in that order.
        inputs: Pairs (name, preview).
        outputs: Values of steps.
        figures: Values of steps that can be looked at.
        commands: What can be done next.
        tags: Words of the caller's own.
        about: Where it came from: commit, versions, and the like.
        options: How it was to go, pairs of texts; only what was set otherwise than by default.
        target: What the command line was given to find its code, else empty.
        parent: Id of the run whose step started it, else empty.
        store: Where the run is kept; empty if nowhere.
        warnings: What should be known of the run.
        dropped: What is not in this report because there is too much of it, or it is not known; in words.
    """

    run_id: str
    flow: str
    status: str
    reason: str
    made: float
    created: float
    began: float
    ended: float
    wall: float
    outline: Outline
    standings: Mapping[str, NodeStanding] = {}
    counts: Mapping[str, int] = {}
    steps: tuple[Step, ...] = ()
    lives: tuple[Life, ...] = ()
    efficiency: Efficiency | None = None
    critical: tuple[Leg, ...] = ()
    levels: tuple[Level, ...] = ()
    forecast: Forecast | None = None
    gates: tuple[Gate, ...] = ()
    inputs: tuple[tuple[str, str], ...] = ()
    outputs: tuple[Output, ...] = ()
    figures: tuple[Figure, ...] = ()
    commands: tuple[Command, ...] = ()
    tags: Mapping[str, str] = {}
    about: Mapping[str, str] = {}
    options: tuple[tuple[str, str], ...] = ()
    target: str = ""
    parent: str = ""
    store: str = ""
    warnings: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[Step, ...]:
        """The steps and items that failed, in the order of definition, as far as they are shown."""
        return tuple(one for one in rows(self) if one.status == "failed" and not one.mapped)


def rows(report: Report) -> Iterator[Step]:
    """All steps that are shown, each before its items."""
    for step in report.steps:
        yield step
        yield from step.items


def segments(attempt: Attempt, until: float, *, gate: bool = False) -> tuple[Segment, ...]:
    """What an attempt did, in the order of time; what took no time is left out.

    Args:
        attempt: The attempt.
        until: When what has not ended is drawn to end: `Report.ended`.
        gate: It is the time that a gate was open, whatever the attempt says.
    """
    ended = until if attempt.ended is None else attempt.ended
    began, handed, ready = attempt.began, attempt.handed, attempt.ready
    if began is None and attempt.outcome in ("running", "interrupted", "cancelled"):
        began = handed  # when it began it would have told at its end
    marks: list[tuple[Doing, float | None, float | None]] = [
        ("wait", ready, handed if handed is not None else began),
        ("queue", handed, began if began is not None else ended),
        ("gate" if gate or attempt.gate else "run", began, ended),
        ("pause", ended, attempt.due),
    ]
    return tuple(
        Segment(doing, start, end)
        for doing, start, end in marks
        if start is not None and end is not None and end > start
    )
