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
APPLY = "core/machine/apply.py"
DISPATCH = "core/machine/dispatch.py"

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
        "if reply[3] == OK and not (late and i in late):",
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
        "return None if s.cancelled else s.culprit",
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
        APPLY,
        "        s.hold[j] = 1\n    s.waits[j] -= 1",
        "        pass\n    s.waits[j] -= 1",
    ),
    Mutant(
        "a group closes before its last item",
        APPLY,
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
        APPLY,
        "(not s.stopping or flags & ALWAYS)",
        "not s.stopping",
    ),
    Mutant("a drain is a stop", APPLY, '"drain": DRAINING', '"drain": STOPPING'),
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
    Mutant("anything is mapped over", "core/engine.py", "if self._maps:", "if not self._maps:"),
    Mutant(
        "an abandoned thread's result is posted",
        "runners/threads.py",
        "if self._running.pop(key, None) is None:\n                self._abandoned",
        "if self._running.pop(key, None) is None and key in waiting:\n                self._abandoned",
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
