"""Reports made by hand: what a page must be able to tell, without a run behind it."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from typing import NamedTuple

from penstock.core.outline import NodeStanding, Outline, OutlineNode, OutlineScope
from penstock.report.data import (
    Attempt,
    Command,
    Efficiency,
    Figure,
    Forecast,
    Gate,
    Leg,
    Level,
    Life,
    Line,
    Output,
    Report,
    Step,
    Trouble,
    WhatIf,
)

T0 = 1_772_000_000.0
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TRACE = """Traceback (most recent call last):
  File "/home/ana/shop/flows/sales.py", line 48, in load
    rows = client.fetch(day, page=page)
  File "/home/ana/shop/warehouse/client.py", line 112, in fetch
    return self._session.get(url, timeout=5).json()
  File "/home/ana/shop/.venv/lib/python3.11/site-packages/requests/sessions.py", line 602, in get
    return self.request("GET", url, **kwargs)
  File "/home/ana/shop/.venv/lib/python3.11/site-packages/requests/adapters.py", line 519, in send
    raise ConnectionError(e, request=request)
ConnectionError: warehouse:5432 refused the connection (3 tries)
"""
REFUSED = Trouble("error", "ConnectionError", "warehouse:5432 refused the connection (3 tries)", TRACE)
LATE_TRACE = """Traceback (most recent call last):
  File "/home/ana/shop/flows/sales.py", line 31, in load
    return warehouse.read(query, within=3.0)
  File "/home/ana/shop/warehouse/rows.py", line 77, in read
    raise TimeoutError(f"no answer within {within} s\\n{query}")
TimeoutError: no answer within 3.0 s
SELECT region, sum(amount) FROM sales GROUP BY region
"""
LATE = Trouble(
    "error",
    "TimeoutError",
    "no answer within 3.0 s\nSELECT region, sum(amount) FROM sales GROUP BY region",
    LATE_TRACE,
    "no attempt was left of 3",
)
ABOUT = {
    "python": "3.11.7",
    "platform": "linux x86_64",
    "penstock": "0.1.0",
    "commit": "4be1c09a77d2e1f0",
    "branch": "main",
}


class Work(NamedTuple):
    """What a step is to do."""

    id: str
    needs: tuple[str, ...] = ()
    took: float = 1.0
    items: tuple[float, ...] = ()
    fails: int = 0  # attempts that fail before it succeeds
    dies: bool = False  # and the last one fails, too
    trouble: Trouble = REFUSED


def lines(at: float) -> tuple[Line, ...]:
    """What an attempt says."""
    return (
        Line(at + 0.02, "info", "", "opening the day", (("day", "2026-03-01"), ("page", "3"))),
        Line(at + 0.05, "debug", "warehouse.client", "GET /sales?page=3"),
        Line(at + 0.3, "warning", "warehouse.client", "slow answer; trying again"),
        Line(at + 0.4, "info", "stdout", "rows so far: 12,004"),
        Line(at + 0.9, "error", "warehouse.client", "connection refused\nby warehouse:5432"),
    )


def report(
    works: list[Work], workers: int = 4, *, flow: str = "sales", status: str = "succeeded", began: float = T0
) -> Report:
    """Works as a run of so many workers would do them."""
    free = [began] * workers
    over: dict[str, float] = {}
    failed: set[str] = set()
    done: dict[str, Step] = {}
    left = list(works)
    while left:  # what is ready first is begun first
        able = [work for work in left if all(need in over for need in work.needs)]
        work = min(able, key=lambda one: max((over[need] for need in one.needs), default=began))
        left.remove(work)
        ready = max((over[need] for need in work.needs), default=began) + 0.001
        bad = next((need for need in work.needs if need in failed), "")
        if bad:
            step = Step(work.id, work.id, "skipped", reason=f"'{bad}' failed")
        elif work.items:
            items = enumerate(work.items)
            step = _whole(
                work, tuple(_done(f"{work.id}[{at}]", work, took, ready, free) for at, took in items)
            )
        else:
            step = _done(work.id, work, work.took, ready, free)
        if step.status != "succeeded":
            failed.add(work.id)
        over[work.id] = step.ended or ready
        done[work.id] = step
    steps = [done[work.id] for work in works]
    return _report(works, tuple(steps), workers, flow, status, began)


def _done(path: str, work: Work, took: float, ready: float, free: list[float]) -> Step:
    attempts: list[Attempt] = []
    dies = work.dies and (not work.items or path.endswith("[3]"))
    fails = work.fails if not work.items or path.endswith(("[3]", "[7]")) else 0
    for number in range(1, fails + 2):
        handed = max(heapq.heappop(free), ready)
        start = handed + 0.004
        end = start + took
        bad = number <= fails or dies
        due = end + 0.5 * number if number <= fails else None
        attempts.append(
            Attempt(
                number,
                number,
                "failed" if bad else "succeeded",
                ready,
                handed,
                start,
                end,
                due,
                work.trouble if bad else None,
                cpu=took * 0.8,
                memory=int(80e6 + took * 1e7),
                exact=number % 2 == 1,
                lines=lines(start) if bad else (),
            )
        )
        heapq.heappush(free, end)
        ready = due or end
    first, last = attempts[0], attempts[-1]
    status = "failed" if dies else "succeeded"
    return Step(
        path,
        work.id,
        status,
        item="[" in path,
        source="run" if status == "succeeded" else "",
        reason="" if status == "succeeded" else f"{work.trouble.type}: {work.trouble.text}".split("\n")[0],
        tries=len(attempts),
        attempts=tuple(attempts),
        trouble=last.trouble,
        began=first.began,
        ended=last.ended,
        duration=(last.ended or 0) - (first.began or 0),
        run=sum((one.ended or 0) - (one.began or 0) for one in attempts),
        queued=sum((one.began or 0) - (one.ready or 0) for one in attempts),
        paused=sum(one.due - one.ended for one in attempts if one.due and one.ended),
        cpu=sum(one.cpu or 0 for one in attempts),
        memory=max(one.memory or 0 for one in attempts),
        exact=len(attempts) == 1,
    )


def _whole(work: Work, items: tuple[Step, ...]) -> Step:
    counts = Counter(item.status for item in items)
    status = "failed" if counts["failed"] else "succeeded"
    return Step(
        work.id,
        work.id,
        status,
        source="run" if status == "succeeded" else "",
        reason="1 item failed" if status == "failed" else "",
        tries=sum(item.tries for item in items),
        began=min(item.began or 0 for item in items),
        ended=max(item.ended or 0 for item in items),
        duration=sum(item.duration or 0 for item in items),
        run=sum(item.run for item in items),
        queued=sum(item.queued for item in items),
        cpu=sum(item.cpu or 0 for item in items),
        memory=max(item.memory or 0 for item in items),
        exact=False,
        counts=dict(counts),
        items=items,
    )


def _attempts(steps: tuple[Step, ...]) -> list[tuple[str, Attempt]]:
    return [(one.path, attempt) for step in steps for one in (step, *step.items) for attempt in one.attempts]


def levels(steps: tuple[Step, ...]) -> tuple[Level, ...]:
    """How busy the run was, counted in the plainest way."""
    turns: Counter[tuple[float, str]] = Counter()
    for _, one in _attempts(steps):
        if one.ready is not None and one.began is not None and one.ended is not None:
            turns[one.ready, "queued"] += 1
            turns[one.began, "queued"] -= 1
            turns[one.began, "running"] += 1
            turns[one.ended, "running"] -= 1
    found, now = list[Level](), Counter[str]()
    for at in sorted({at for at, _ in turns}):
        for what in ("queued", "running"):
            now[what] += turns[at, what]
        found.append(Level(at, now["running"], now["queued"]))
    return tuple(found)


def _critical(works: list[Work], steps: tuple[Step, ...], began: float) -> tuple[Leg, ...]:
    by_id = {step.node: step for step in steps}
    needs = {work.id: work.needs for work in works}
    at = max((step for step in steps if step.ended), key=lambda step: step.ended or 0, default=None)
    legs: list[Leg] = []
    while at is not None:
        step = max(at.items, key=lambda item: item.ended or 0) if at.items else at
        for attempt in reversed(step.attempts):
            if attempt.due and attempt.ended:
                legs.append(Leg("pause", step.path, attempt.number, attempt.ended, attempt.due))
            legs.append(Leg("run", step.path, attempt.number, attempt.began or 0, attempt.ended or 0))
            legs.append(Leg("wait", step.path, attempt.number, attempt.ready or 0, attempt.began or 0))
        before = [by_id[need] for need in needs[at.node] if by_id[need].ended]
        at = max(before, key=lambda one: one.ended or 0, default=None)
    legs.append(Leg("engine", "", 0, began, began + 0.001))
    return tuple(reversed(legs))


def _report(
    works: list[Work], steps: tuple[Step, ...], workers: int, flow: str, status: str, began: float
) -> Report:
    ended = max((step.ended or began for step in steps), default=began)
    wall = ended - began
    path = _critical(works, steps, began)
    on = {leg.path for leg in path}
    steps = tuple(
        step._replace(
            critical=step.path in on,
            items=tuple(item._replace(critical=item.path in on) for item in step.items),
        )
        for step in steps
    )
    work = sum(step.run for step in steps)
    busy = levels(steps)
    peak = max((level.running for level in busy), default=0)
    counts = dict(Counter(step.status for step in steps))
    sources = [one for one in works if one.items]
    outline = Outline(
        flow,
        tuple(
            OutlineNode(
                one.id,
                "step",
                tuple(("use", need) for need in one.needs),
                sources.index(one) + 1 if one.items else 0,
            )
            for one in works
        ),
        (OutlineScope(-1, ""), *(OutlineScope(0, (one.needs or ("",))[0]) for one in sources)),
    )
    return Report(
        "20260301-140509-k3f9",
        flow,
        status,
        "",
        ended + 60,
        began - 0.2,
        began,
        ended,
        wall,
        outline,
        {step.node: NodeStanding(step.status, step.counts, step.reason) for step in steps},
        counts,
        steps,
        efficiency=Efficiency(
            wall,
            work,
            sum(step.cpu or 0 for step in steps),
            1.0,
            workers,
            True,
            peak,
            work / max(wall, 1e-9),
            min(work / max(wall * workers, 1e-9), 1.0),
            wall * 0.7,
            max(wall * 0.7, work / workers),
            sum(step.queued for step in steps),
            work * 0.04,
        ),
        critical=path,
        levels=busy,
        forecast=Forecast(
            wall,
            wall * 1.004,
            workers,
            (
                WhatIf("1 worker", "workers", work, work / wall - 1, 1),
                WhatIf("2 workers", "workers", wall * 1.61, 0.61, 2),
                WhatIf("4 workers", "workers", wall * 1.004, 0.0, 4),
                WhatIf("8 workers", "workers", wall * 0.77, -0.23, 8),
                WhatIf("16 workers", "workers", wall * 0.7, -0.3, 16),
                WhatIf("any number of workers", "workers", wall * 0.7, -0.3),
                WhatIf(
                    f"'{steps[-1].node}' twice as quick", "twice", wall * 0.86, -0.14, workers, steps[-1].node
                ),
                WhatIf(
                    f"'{steps[0].node}' takes no time", "free", wall * 0.95, -0.05, workers, steps[0].node
                ),
            ),
        )
        if wall
        else None,
        inputs=(("day", "'2026-03-01'"), ("regions", "['north', 'south', 'east', 'west']")),
        tags={"team": "sales", "why": "nightly"},
        about=ABOUT,
        options=(("max_concurrency", str(workers)),),
        target="flows/sales.py:flow",
        store="runs.db",
    )


# --- the runs that a page is looked at with ---------------------------------------------------------------


def small() -> Report:
    """Eight steps, one of them mapped and one tried twice."""
    works = [
        Work("fetch", took=2.1),
        Work("rates", took=0.9),
        Work("parse", ("fetch",), items=tuple(0.4 + (number * 7 % 5) / 4 for number in range(18))),
        Work("clean", ("parse",), took=1.3, fails=1),
        Work("convert", ("clean", "rates"), took=0.7),
        Work("totals", ("convert",), took=0.6),
        Work("chart", ("convert",), took=1.9),
        Work("publish", ("totals", "chart"), took=0.35),
    ]
    made = report(works)
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 200">'
        '<path d="M10 190L100 120L200 140L390 20" fill="none" stroke="teal" stroke-width="6"/></svg>'
    )
    frame = "<table><tr><th>region<th>sales</tr><tr><td>north<td>1,204</tr><tr><td>south<td>988</tr></table>"
    return made._replace(
        outputs=(
            Output("totals", "{'north': 1204, 'south': 988, 'east': 1712, 'west': 431}"),
            Output("publish", "'https://intranet/sales/2026-03-01'"),
        ),
        figures=(Figure("chart", "image/svg+xml", drawing), Figure("totals", "text/html", frame)),
    )


def failed() -> Report:
    """A step fails at its third attempt, an item of a map too, and what follows is skipped."""
    works = [
        Work("fetch", took=2.1),
        Work("rates", took=0.9),
        Work(
            "parse",
            ("fetch",),
            items=tuple(0.4 + (number * 7 % 5) / 4 for number in range(18)),
            fails=1,
            dies=True,
        ),
        Work("load", ("rates",), took=3.2, fails=2, dies=True, trouble=LATE),
        Work("audit", ("rates",), took=1.2, fails=1),
        Work("convert", ("load", "parse")),
        Work("totals", ("convert",)),
        Work("chart", ("convert",)),
        Work("publish", ("totals", "chart")),
    ]
    made = report(works, status="failed")
    return made._replace(
        commands=(
            Command(f"penstock resume {made.run_id}", "goes on with what is left, once the cause is mended"),
            Command(f"penstock debug {made.run_id} load", "calls the failed step again", "load"),
            Command(f"penstock debug {made.run_id} 'parse[3]'", "calls the failed step again", "parse[3]"),
            Command(f"penstock logs {made.run_id}", "shows what its steps said"),
        ),
        warnings=("an observer was switched off: ValueError: no such column",),
        dropped=("the log lines of attempts that succeeded: penstock logs shows them",),
    )


def resumed() -> Report:
    """A run whose process died, and that went on an hour later."""
    works = [
        Work("fetch", took=21.0),
        Work("parse", ("fetch",), items=tuple(3 + (number * 7 % 5) for number in range(24))),
        Work("index", ("fetch",), took=52.0),
        Work("totals", ("parse", "index"), took=14.0),
        Work("publish", ("totals",), took=3.5),
    ]
    made = report(works, workers=3)
    cut, away = T0 + 40.0, 3700.0
    steps = []
    for step in made.steps:
        items = tuple(_cut(item, cut, away) for item in step.items)
        whole = _cut(step, cut, away)
        steps.append(
            whole._replace(
                items=items,
                tries=sum(item.tries for item in items),
                ended=max(item.ended or 0 for item in items),
            )
            if items
            else whole
        )
    ended = made.ended + away + 6
    lives = (
        Life(T0, cut, end="cut off"),
        Life(cut + away, ended, away, True, "succeeded", undone=4, changed=("totals",)),
    )
    legs = tuple(leg for leg in made.critical if leg.ended <= cut)
    legs += (Leg("away", "", 0, cut, cut + away),)
    legs += tuple(
        leg._replace(began=max(leg.began, cut) + away + 6, ended=leg.ended + away + 6)
        for leg in made.critical
        if leg.ended > cut
    )
    return made._replace(
        steps=tuple(steps),
        lives=lives,
        ended=ended,
        levels=levels(tuple(steps)),
        critical=legs,
        wall=ended - T0 - away,
    )


def _cut(step: Step, cut: float, away: float) -> Step:
    """The step as it is when the run was cut off at that time and went on so much later."""
    attempts: list[Attempt] = []
    for one in step.attempts:
        if one.ended is None or one.ended <= cut:
            attempts.append(one)
            continue
        assert one.handed is not None
        assert one.began is not None
        if one.handed < cut:
            attempts.append(
                one._replace(
                    outcome="interrupted",
                    ended=cut,
                    began=min(one.began, cut),
                    cpu=None,
                    memory=None,
                    counts=False,
                )
            )
            start = cut + away + 0.3
        else:
            start = one.handed + away + 6
        took = one.ended - one.began
        attempts.append(
            one._replace(
                token=one.token + 1,
                ready=max(one.ready or 0, cut) + away + 0.1,
                handed=start,
                began=start + 0.004,
                ended=start + took,
                life=1,
            )
        )
    if not attempts:
        return step
    return step._replace(attempts=tuple(attempts), ended=attempts[-1].ended, tries=len(attempts))


def cancelled() -> Report:
    """A run that somebody ended."""
    made = small()
    cut = T0 + 6.0
    steps = []
    for step in made.steps:
        pieces = tuple(_stopped(item, cut) for item in step.items)
        now = _stopped(step, cut)
        if pieces:
            counts = dict(Counter(item.status for item in pieces))
            now = step._replace(items=pieces, counts=counts, status="cancelled", source="", ended=cut)
        steps.append(now)
    counts = dict(Counter(step.status for step in steps))
    standings = {step.node: NodeStanding(step.status, step.counts) for step in steps}
    return made._replace(
        steps=tuple(steps),
        status="cancelled",
        reason="by hand: wrong day",
        ended=cut,
        wall=6.0,
        counts=counts,
        efficiency=None,
        standings=standings,
        levels=levels(tuple(steps)),
        critical=(),
        forecast=None,
        outputs=(),
        figures=(),
    )


def _stopped(step: Step, cut: float) -> Step:
    if step.began is None or step.began >= cut:
        return step._replace(
            status="cancelled",
            attempts=(),
            source="",
            tries=0,
            duration=None,
            began=None,
            ended=None,
            run=0,
            queued=0,
            cpu=None,
            memory=None,
        )
    if step.ended is not None and step.ended <= cut:
        return step
    attempts = tuple(
        one._replace(outcome="cancelled", ended=min(one.ended or cut, cut))
        for one in step.attempts
        if (one.began or 0) < cut
    )
    return step._replace(
        status="cancelled",
        source="",
        attempts=attempts,
        ended=cut,
        tries=len(attempts),
        duration=cut - step.began,
    )


def gated() -> Report:
    """A run that waits for somebody's word since two hours, after one that was given."""
    made = report([Work("fetch", took=4.0), Work("check", ("fetch",), took=2.0)], flow="release")
    at = made.ended
    opened = at + 0.01
    answered = Step(
        "review",
        "review",
        "succeeded",
        source="run",
        tries=1,
        began=opened,
        ended=opened + 900,
        duration=900.0,
        attempts=(Attempt(1, 1, "succeeded", at, opened, opened, opened + 900, gate=True),),
    )
    build = Step(
        "build",
        "build",
        "succeeded",
        source="run",
        tries=1,
        began=opened + 901,
        ended=opened + 909,
        duration=8.0,
        run=8.0,
        attempts=(Attempt(1, 1, "succeeded", opened + 900, opened + 901, opened + 901, opened + 909),),
    )
    now = opened + 909 + 7200
    gate = Step(
        "approve",
        "approve",
        "waiting",
        tries=1,
        began=opened + 909.1,
        duration=None,
        attempts=(Attempt(1, 1, "waiting", opened + 909, opened + 909, opened + 909.1, None, gate=True),),
    )
    publish = Step("publish", "publish", "pending")
    steps = (*made.steps, answered, build, gate, publish)
    nodes = (
        *made.outline.nodes,
        OutlineNode("review", "gate", (("use", "check"),)),
        OutlineNode("build", "step", (("use", "review"),)),
        OutlineNode("approve", "gate", (("use", "build"),)),
        OutlineNode("publish", "step", (("use", "approve"),)),
    )
    return made._replace(
        status="waiting",
        steps=steps,
        ended=now,
        wall=now - T0,
        outline=Outline("release", nodes),
        counts=dict(Counter(step.status for step in steps)),
        standings={step.node: NodeStanding(step.status) for step in steps},
        gates=(
            Gate("review", "Does the build look right?", "bool", opened, ended=opened + 900, answer="True"),
            Gate("approve", "Publish release 2.4 to production?", "bool", opened + 909.1, due=now + 86_400),
        ),
        levels=(*levels((*made.steps, build)), Level(now, 0, 0)),
        critical=(),
        forecast=None,
        commands=(Command(f"penstock approve {made.run_id} approve", "answers the gate"),),
    )


def large(steps: int = 500, items: int = 0, seed: int = 1) -> Report:
    """Samples that each go through six steps, what gathers them, and a map of so many items."""
    chance = random.Random(seed)
    works = [Work("samplesheet", took=1.5), Work("reference", took=6.0)]
    stages = (("trim", 0.6), ("align", 2.4), ("sort", 0.7), ("dedup", 0.5), ("count", 0.4), ("qc", 0.3))
    for number in range(1, (steps - 6) // 6 + 1):
        before: tuple[str, ...] = ("samplesheet",)
        for stage, typical in stages:
            name = f"{stage}_{number:03}"
            needs = (*before, "reference") if stage == "align" else before
            fails = int(chance.random() < 0.015)
            dies = stage == "qc" and number in (17, 40)
            works.append(Work(name, needs, typical * chance.lognormvariate(0, 0.5), (), fails, dies))
            before = (name,) if stage != "qc" else before
    counted = tuple(work.id for work in works if work.id.startswith("count_"))
    works.append(Work("merge", counted, took=4.0))
    if items:
        took = tuple(chance.lognormvariate(-0.5, 0.6) for _ in range(items))
        works.append(Work("score", ("samplesheet",), items=took, fails=1, dies=True))
    works.append(Work("model", ("merge",), took=9.0, fails=1))
    works.append(Work("summary", ("model",), took=2.0))
    checked = tuple(work.id for work in works if work.id.startswith("qc_"))
    works.append(Work("multiqc", checked, took=3.0))
    status = "failed" if any(work.dies for work in works) else "succeeded"
    return report(works, workers=16, flow="genome survey", status=status)
