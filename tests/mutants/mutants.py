"""Small wrongs, each of which some test must notice: one text of one file, replaced by another."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "penstock"
SUITE = (
    "tests/core",
    "tests/engine",
    "tests/runners",
    "tests/test_random_graphs.py",
)
LEFT_OUT = (  # they say nothing new about these, and take long
    "tests/core/test_plays_deep.py",
    "tests/engine/test_loops.py",
    "tests/engine/test_processes.py",
)
GRAPHS = 500
PATIENCE = 180  # seconds; a mutant that makes the suite hang is caught as well


class Mutant(NamedTuple):
    """One wrong.

    Attributes:
        name: What is wrong.
        file: Inside the package.
        old, new: The text, which stands there exactly once, and what takes its place.
    """

    name: str
    file: str
    old: str
    new: str


DECIDE = "core/machine/decide.py"
PACE = "core/machine/pace.py"
APPLY = "core/machine/apply.py"
DISPATCH = "core/machine/dispatch.py"
ENDS = "core/machine/ends.py"
JUDGE = "core/machine/judge.py"
PLAN = "core/plan.py"
ELEMENTS = "core/elements.py"
VIEWS = "core/views.py"

MUTANTS = (
    Mutant("a permit is not returned", "core/limits.py", "self.free += weight", "self.free += weight - 1"),
    Mutant(
        "a late reply is accepted",
        DECIDE,
        "if token[i] != reply[2] or status[i] != RUNNING:",
        "if status[i] != RUNNING:",
    ),
    Mutant(
        "a success after the alarm is accepted",
        DECIDE,
        "if reply[3] == OK and not (late and i in late and not _in_time(s, reply, late[i])):",
        "if reply[3] == OK:",
    ),
    Mutant(
        "the first need is ignored",
        "core/rules.py",
        "if refused == SELF and not _TAKES[FAILURE] & accepts:",
        "if refused == SELF and position and not _TAKES[FAILURE] & accepts:",
    ),
    Mutant("one attempt too many", DECIDE, "attempt >= policy.max_attempts", "attempt > policy.max_attempts"),
    Mutant(
        "a skip without its cause",
        "core/machine/judge.py",
        "return s.culprit if s.cancelled is None else None",
        "return None",
    ),
    Mutant(
        "a duplicate start after a replay",
        DISPATCH,
        "if not plain or plain[-1] != i:  # a replay leaves twins behind",
        "if True:",
    ),
    Mutant(
        "the window of a rate is half as long",
        "core/limits.py",
        "return over <= 0 or now >= self.stamps[over - 1] + self.per",
        "return over <= 0 or now >= self.stamps[over - 1] + self.per / 2",
    ),
    Mutant("who waits for a limit is forgotten", DISPATCH, "    heappush(parked, key)", "    pass"),
    Mutant(
        "the hold bit is not set",
        ENDS,
        "        s.hold[j] = 1\n    s.waits[j] -= 1",
        "        pass\n    s.waits[j] -= 1",
    ),
    Mutant(
        "a group closes before its last item",
        ENDS,
        "        if s.waits[i]:\n            return\n",
        "        if s.waits[i] > 1:\n            return\n",
    ),
    Mutant(
        "the last failed need is named, not the first",
        "core/rules.py",
        "if refused == SELF and not _TAKES[FAILURE] & accepts:",
        "if not _TAKES[FAILURE] & accepts:",
    ),
    Mutant("a stop leaves retries alone", DECIDE, "for i in _all(s, RETRYING):", "for i in ():"),
    Mutant(
        "clean-up is skipped on a stop",
        ENDS,
        "(not s.stopping or flags & ALWAYS)",
        "not s.stopping",
    ),
    Mutant("a drain is a stop", ENDS, '"drain": DRAINING', '"drain": STOPPING'),
    Mutant(
        "a tolerated failure stops the run",
        APPLY,
        "if not s.plan.judges[s.plan.node[s.site[i]]]:",
        "if s is not None:",
    ),
    Mutant(
        "a value is released too early",
        APPLY,
        "if not left and not plan.keeps[j]:",
        "if not plan.keeps[j]:",
    ),
    Mutant("the token stays the same", APPLY, "number = token[i] + 1", "number = token[i] or 1"),
    Mutant(
        "the alarm of a retry is not heard",
        DECIDE,
        "if what == DUE:\n            enqueue(s, i)",
        "if what == DUE:\n            pass",
    ),
    Mutant(
        "a condition is asked twice",
        DECIDE,
        "if i not in s.asked:\n            s.asked.add(i)",
        "if s is not None:\n            s.asked.add(i)",
    ),
    Mutant("items start in the wrong order", "core/machine/queues.py", "        keys.reverse()\n", ""),
    Mutant(
        "max_concurrency is forgotten",
        "core/machine/core.py",
        "room if room < s.free_total else s.free_total",
        "room",
    ),
    Mutant(
        "what is given back late is charged",
        DECIDE,
        "if result == RETURNED:",
        "if result == RETURNED and late is None:",
    ),
    Mutant(
        "anything is mapped over",
        "core/engine.py",
        "            if self.plan.opens:\n",
        "            if not self.plan.opens:\n",
    ),
    Mutant(
        "an abandoned thread's result is posted",
        "runners/threads.py",
        "if self._running.pop(key, None) is None:\n                post((GONE",
        "if self._running.pop(key, None) is None and streams:\n                post((GONE",
    ),
    Mutant(
        "coroutines share their variables",
        "runners/aio.py",
        "                if own != given:\n                    own = given.copy()\n",
        "",
    ),
    Mutant(
        "a worker keeps the cancellation of its step",
        "runners/aio.py",
        "                if me.cancelling():\n                    await _absorb_cancel(me)\n",
        "",
    ),
    Mutant(
        "what ran before a crash is forgotten",
        "core/machine/recover.py",
        "if status == RUNNING:",
        "if status == RUNNING and s.token[i] > 1:",
    ),
    Mutant(
        "total counts from each attempt anew",
        DECIDE,
        "(s.first.get(i, float(at)) + timeout.total, TOTAL, i, token)",
        "(at + timeout.total, TOTAL, i, token)",
    ),
    Mutant(
        "an attempt that total ended is tried again",
        DECIDE,
        "total = s.first.get(i, began) + timeout.total",
        "total = math.inf",
    ),
    Mutant("a retry at the very end of its time is waited for", DECIDE, "if due >= end:", "if due > end:"),
    Mutant(
        "the deadline cancels what it ends",
        DECIDE,
        "elif s.expired and not s.plan.flags[s.site[i]] & ALWAYS:",
        "elif False:",
    ),
    Mutant(
        "the deadline fails clean-up",
        DECIDE,
        "elif s.expired and not s.plan.flags[s.site[i]] & ALWAYS:",
        "elif s.expired:",
    ),
    Mutant(
        "the deadline fails a run that is done",
        "core/machine/alarms.py",
        "return s.stopping >= STOPPING or not s.open",
        "return s.stopping >= STOPPING",
    ),
    Mutant(
        "a run that is past its deadline succeeds",
        APPLY,
        "s.expired = s.failed = True",
        "s.expired = True",
    ),
    Mutant(
        "a failure that stops nothing is named as the cause of a later stop",
        ENDS,
        "if level > s.stopping and s.culprit is None",
        "if s.culprit is None",
    ),
    Mutant(
        "one retry beyond the budget", DECIDE, "s.retried >= s.retry_budget", "s.retried > s.retry_budget"
    ),
    Mutant(
        "one abandoned attempt beyond the bound",
        APPLY,
        "if s.abandoned > s.max_abandoned:",
        "if s.abandoned > s.max_abandoned + 1:",
    ),
    Mutant(
        "an abandoned attempt that is tried again is not counted",
        APPLY,
        "        _linger(s, i, s.token[i], failure.abandoned)\n",
        "        s.lingering[i, s.token[i]] = failure.abandoned\n",
    ),
    Mutant(
        "a retry waits for ever for what its own attempt holds",
        DECIDE,
        "for i in [*_all(s, READY), *_all(s, RETRYING)]:",
        "for i in _all(s, READY):",
    ),
    Mutant(
        "silence of another attempt is taken for this one's",
        DECIDE,
        "    _, i, token = reply\n    if s.token[i] == token and s.status[i] == RUNNING:\n        _overdue",
        "    _, i, token = reply\n    if s.status[i] == RUNNING:\n        _overdue",
    ),
    Mutant(
        "a sign of life counts for the next attempt as well",
        "core/idle.py",
        "        self._last.pop(i, None)\n",
        "",
    ),
    Mutant(
        "a stream that waits for its consumers is silent",
        "core/idle.py",
        "if i in paused and i in self._last:",
        "if False:",
    ),
    Mutant(
        "what a condition left out counts against a quorum",
        ENDS,
        "s.left_out if came == CONDITION else s.lost if came == FAILURE else s.cut",
        "s.lost if came != STOPPED else s.cut",
    ),
    Mutant(
        "a share is rounded down",
        "core/model.py",
        "math.ceil(self.least * items - 1e-9)",
        "math.floor(self.least * items)",
    ),
    Mutant(
        "a quorum is judged when all items have ended, and no sooner",
        ENDS,
        "    if fan.sealed:\n        _check_quorums(s, group, site, fan, i)\n",
        "    if fan.sealed and s.waits[group] < 2:\n        _check_quorums(s, group, site, fan, i)\n",
    ),
    Mutant(
        "a quorum of a stream is judged before its end",
        ENDS,
        "    if fan.sealed:\n        _check_quorums(s, group, site, fan, i)\n",
        "    _check_quorums(s, group, site, fan, i)\n",
    ),
    Mutant(
        "a stream that broke is no item of a quorum",
        JUDGE,
        "items = len(fan.rows) + (broken != SUCCESS) - s.left_out.get(group, 0)",
        "items = len(fan.rows) - s.left_out.get(group, 0)",
    ),
    Mutant(
        "a quorum that only a stop has missed has failed",
        JUDGE,
        "whole=True) else STOPPED",
        "whole=True) else FAILURE",
    ),
    Mutant(
        "a map that never opened is no loss to a quorum",
        APPLY,
        "if s.plan.quorums and s.plan.flags[s.site[i]] & GROUP:",
        "if False:",
    ),
    Mutant(
        "a stream around the maps of a quorum may break",
        ENDS,
        "elif plan.quorums and fan.broken is not None:",
        "elif False:",
    ),
    Mutant(
        "a gather of two levels sees no inner stream that broke",
        JUDGE,
        "todo += [] if fan.broken is None else [fan.broken]",
        "todo += [] if fan.broken is None or number != group else [fan.broken]",
    ),
    Mutant(
        "failures are tolerated under a broken quorum",
        JUDGE,
        "if s.plan.node[s.site[group]] in asked and",
        "if False and",
    ),
    Mutant(
        "a fold goes past a failed item",
        JUDGE,
        "return need.failures == DROP and status > SUCCEEDED",
        "return status > SUCCEEDED",
    ),
    Mutant(
        "a fold starts a slice though its next item has not ended",
        ENDS,
        "if at < len(fan.rows) and takes(s, j, fan.rows[at] + place):",
        "if at < len(fan.rows):",
    ),
    Mutant(
        "a fold keeps the values it has taken",
        APPLY,
        "for row in fan.rows[s.folded[i] : upto] if alone else ():",
        "for row in ():",
    ),
    Mutant(
        "a fold drops values that others want",
        APPLY,
        "if s.uses[item] == 1 and s.status[item] == SUCCEEDED:",
        "if s.status[item] == SUCCEEDED:",
    ),
    Mutant(
        "a fold drops values that are gathered as well",
        APPLY,
        "if alone else ():",
        "if True else ():",
    ),
    Mutant(
        "a fold that waits for its slot is not looked at when its map closes",
        ENDS,
        "        if s.status[j] != READY:\n            return  #",
        "        if s.status[j]:\n            return  #",
    ),
    Mutant(
        "a fold starts a slice after a stop",
        ENDS,
        "if s.status[j] != PENDING or not s.waits[j] or s.stopping:",
        "if s.status[j] != PENDING or not s.waits[j]:",
    ),
    Mutant(
        "a fold that was cut off goes on with nothing",
        "core/machine/recover.py",
        "            emit(s, log, facts.FOLDED, i, s.token[i], 0)\n",
        "            pass\n",
    ),
    Mutant(
        "every slice is the last",
        "core/folds.py",
        "not s.waits[i] and upto == len(fan.rows)",
        "upto == len(fan.rows)",
    ),
    Mutant(
        "items of a map with keys are called by number",
        "core/machine/state.py",
        "return element if self.keys is None else self.keys[element]",
        "return element",
    ),
    Mutant(
        "two elements have one key",
        ELEMENTS,
        "if key in places or twin in places:",
        "if twin in places:",
    ),
    Mutant(
        "a number and a text of one look are two keys",
        ELEMENTS,
        "if key in places or twin in places:",
        "if key in places:",
    ),
    Mutant(
        "values given by hand have no keys",
        "core/engine.py",
        "        self.mailbox.replies.extend(given)\n",
        "",
    ),
    Mutant(
        "a step starts without the limits of the process",
        DISPATCH,
        "not in s.plan.wide or i in s.granted:",
        "not in s.plan.wide or True:",
    ),
    Mutant(
        "limits of the process are asked for twice",
        DISPATCH,
        "    if i not in s.acquiring:\n        s.acquiring.add(i)\n",
        "    if True:\n        s.acquiring.add(i)\n",
    ),
    Mutant(
        "a grant lasts for all attempts",
        DISPATCH,
        "        s.granted.discard(i)\n",
        "        pass\n",
    ),
    Mutant(
        "a grant is kept by a step that will not start",
        DECIDE,
        "    elif may_start(s, i, now):\n        s.granted.add(i)\n",
        "    else:\n        s.granted.add(i)\n",
    ),
    Mutant(
        "a stream opens its maps when it asks for its limits",
        DECIDE,
        "if command[0] == START and s.plan.flags",
        "if s.plan.flags",
    ),
    Mutant(
        "a stream goes on for every place that is free",
        PACE,
        "half = most_ahead(s, i) // 2",
        "half = most_ahead(s, i) - 1",
    ),
    Mutant(
        "a stream may be ahead by its consumers' slots alone",
        PACE,
        "_AHEAD = 2",
        "_AHEAD = 1",
    ),
    Mutant(
        "a stream does not wait for a fold",
        PACE,
        " or (len(s.streams.get(i, ())) >= allowed and unfolded(s, i) >= most)",
        "",
    ),
    Mutant(
        "a stream waits for a fold before it has used up what it may",
        PACE,
        "len(s.streams.get(i, ())) >= allowed and unfolded",
        "unfolded",
    ),
    Mutant(
        "a stream waits for a fold that has ended",
        PACE,
        "if s.status[fold] < SUCCEEDED:",
        "if True:",
    ),
    Mutant(
        "a stream goes on before its fold has caught up",
        PACE,
        "return backlog(s, i) <= half and unfolded(s, i) <= half",
        "return backlog(s, i) <= half",
    ),
    Mutant(
        "a stream that was told to stop goes on",
        DECIDE,
        "(s.stopping >= STOPPING and not s.plan.flags[s.site[i]] & ALWAYS)",
        "False",
    ),
    Mutant(
        "an element goes that others want",
        PLAN,
        "alone = len(scopes) == 1 and self.uses[source] == takes and not self.keeps[node]",
        "alone = len(scopes) == 1 and not self.keeps[node]",
    ),
    Mutant(
        "an element stays when its item has ended",
        ENDS,
        "        fan.elements[s.element[i - s.total]] = NOTHING\n",
        "        pass\n",
    ),
    Mutant(
        "rows that clean up are skipped with the rest",
        DECIDE,
        "if any(plan.flags[site] & ALWAYS for site in range(level.base, level.base + level.width)):",
        "if False:",
    ),
    Mutant(
        "rows below a failure outside are skipped as stopped",
        DECIDE,
        "if not level.flat or plan.outer[fan.scope] or len(rows) < BULK",
        "if not level.flat or len(rows) < BULK",
    ),
    Mutant(
        "rows of a map are skipped with those of another",
        DECIDE,
        "    if rows[-1] - rows[0] != (len(rows) - 1) * level.width:\n        return",
        "    if False:\n        return",
    ),
    Mutant(
        "rows that were begun are skipped with the rest",
        DECIDE,
        "heads.rstrip(bytes((PENDING, READY)))",
        "heads.rstrip(bytes((PENDING, READY, RUNNING)))",
    ),
    Mutant(
        "rows skipped as one forget why when more come",
        DECIDE,
        " or fan.rest is not None",
        "",
    ),
    Mutant(
        "rows that come later share the cause of those skipped before",
        "core/machine/state.py",
        "if rest is not None and rest[0] <= self.element[number - self.total] < rest[1]:",
        "if rest is not None and rest[0] <= self.element[number - self.total]:",
    ),
    Mutant(
        "whoever waits for a rate is given up with those who wait for a permit",
        DECIDE,
        "if limit.capacity is None or weight + held.get(limit.name, 0) <= limit.capacity:",
        "if limit.name not in held:",
    ),
    Mutant(
        "who is parked behind one that is given up stays parked",
        DECIDE,
        "        if gauge.parked:  # who waited behind one of them may go\n",
        "        if False:\n",
    ),
    Mutant(
        "an abandoned attempt without limits counts as one that holds some",
        APPLY,
        "    if s.plan.flags[s.site[i]] & LIMITED:\n        s.lingering[i, token] = abandoned\n",
        "    s.lingering[i, token] = abandoned\n",
    ),
    Mutant(
        "what many that end in one turn have written is dropped",
        APPLY,
        "        if reply[5]:\n            s.shared.update(reply[5])\n",
        "",
    ),
    Mutant(
        "what a plain step has written is dropped",
        APPLY,
        "    if writes:\n        s.shared.update(writes)\n    s.value[i] = value\n",
        "    s.value[i] = value\n",
    ),
    Mutant(
        "what an item has written is dropped",
        APPLY,
        "    if writes:\n        s.shared.update(writes)\n    s.due.pop(i, None)\n",
        "    s.due.pop(i, None)\n",
    ),
    Mutant(
        "the first to write a key keeps it",
        APPLY,
        "            s.shared.update(reply[5])\n",
        "            s.shared.update({**reply[5], **s.shared})\n",
    ),
    Mutant(
        "what a failed attempt has written is kept",
        DECIDE,
        "        late = None\n    if result == RETURNED:\n",
        "        late = None\n    s.shared.update(_writes or {})\n    if result == RETURNED:\n",
    ),
    Mutant(
        "what the steps share goes to a parameter of another name",
        "core/attempts.py",
        "arguments[of.shared] = self._shared(of.shared)",
        'arguments["state"] = self._shared(of.shared)',
    ),
    Mutant(
        "a plain step does not get what the steps share",
        "core/engine.py",
        "if shares and (param := shares.get(node)) is not None:",
        "if False and (param := shares.get(node)) is not None:",
    ),
    Mutant(
        "a step that is alone does not get what the steps share",
        "core/engine.py",
        "            if of.shared is not None:\n                arguments[of.shared] = state.shared\n",
        "",
    ),
    Mutant(
        "a step changes what others share in spite of copies",
        "core/attempts.py",
        "return _copy(self._state.shared, param) if self._copied else self._state.shared",
        "return self._state.shared",
    ),
    Mutant(
        "a process hands back a value and what was written as one",
        "runners/processes/pool.py",
        "if type(payload) is Written:",
        "if False:",
    ),
    Mutant(
        "a coroutine that suspends loses what it has written",
        "runners/aio.py",
        "return (ENDED, work[0], work[1], OK, value, writes, began, ended)",
        "return (ENDED, work[0], work[1], OK, value, None, began, ended)",
    ),
    Mutant(
        "an awaitable beside writes is a value",
        "core/returned.py",
        "        refuse_awaitable(value)\n",
        "        pass\n",
    ),
    Mutant(
        "a status is seen before its value",
        APPLY,
        "    s.value[i] = value\n    s.began[i] = s.first.get(i, began)\n",
        "    s.status[i] = SUCCEEDED\n    s.value[i] = value\n    s.began[i] = s.first.get(i, began)\n",
    ),
    Mutant(
        "an attempt that was tried again began with its last try",
        APPLY,
        "    s.began[i] = s.first.get(i, began) if s.first else began\n",
        "    s.began[i] = began\n",
    ),
    Mutant(
        "what was given back and skipped has ended",
        VIEWS,
        "if status.ended and status is not NodeStatus.SKIPPED:",
        "if status.ended:",
    ),
)


def apply(mutant: Mutant, package: Path) -> None:
    """Puts the wrong into a copy of the package.

    Raises:
        ValueError: Its text does not stand there exactly once.
    """
    file = package / mutant.file
    text = file.read_text("utf-8")
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: its text stands {text.count(mutant.old)} times in {mutant.file}")
    file.write_text(text.replace(mutant.old, mutant.new), "utf-8")


class Verdict(NamedTuple):
    """What the suite said: the test that failed, None if none did, and how long it took."""

    caught_by: str | None
    seconds: float
    output: str


def judge(mutant: Mutant | None, folder: Path) -> Verdict:
    """Runs the fast suite, up to its first failure, against a copy of the package with this wrong in it."""
    package = folder / "penstock"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is not None:
        apply(mutant, package)
    suite = [path for path in SUITE if any((ROOT / path).rglob("test_*.py")) or (ROOT / path).is_file()]
    command = [
        sys.executable, "-B", "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb=no",
        "-m", "not slow",
        *[f"--ignore={path}" for path in LEFT_OUT], *suite,
    ]  # fmt: skip
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "PYTEST_"))
    }
    how = {**kept, "PYTHONPATH": str(folder), "PENSTOCK_GRAPHS": str(GRAPHS)}
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=how, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return Verdict("a hang", time.monotonic() - began, "")
    seconds = time.monotonic() - began
    if done.returncode == 0:
        return Verdict(None, seconds, done.stdout)
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return Verdict(found[1] if found else "a crash", seconds, done.stdout + done.stderr)


def table(verdicts: dict[str, Verdict]) -> str:
    """Who caught what, a line each."""
    wide = max(map(len, verdicts))
    return "\n".join(
        f"{name:{wide}} {verdict.seconds:6.1f} s  {verdict.caught_by or 'SURVIVED'}"
        for name, verdict in verdicts.items()
    )
