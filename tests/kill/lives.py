"""One life of a run's process: it looks at what the one before has left, goes on, and says how it ended."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from penstock.core.entries import path_of
from penstock.core.errors import StoreError
from penstock.core.model import RunOptions
from penstock.core.resume import Story, story_of
from penstock.core.storage import Store
from penstock.stores.sqlite import SqliteStore
from penstock.testing import FakeClock, stand_ins
from tests.kill.deaths import Deaths
from tests.kill.effects import LOG, lines
from tests.kill.pipelines import MAKERS as MAKERS
from tests.kill.pipelines import RUN, Pipeline

Say = Callable[[dict[str, Any]], None]

_PIPELINES: dict[str, Pipeline] = {}


def pipeline(name: str) -> Pipeline:
    """One of the reference pipelines, made once: each process that is forked later has it."""
    if name not in _PIPELINES:
        _PIPELINES[name] = MAKERS[name]()
        _PIPELINES[name].graph()
    return _PIPELINES[name]


def told(story: Story) -> dict[str, Any]:
    """What of a journal the checks want to know."""
    of: dict[str, list[str]] = {}
    starts: dict[str, int] = {}
    running: dict[str, None] = {}
    decided: dict[str, Any] = {}
    for fact in story.entries:
        word = fact[0]
        if word in ("end", "again", "cancel", "deadline", "run"):
            continue
        path = str(path_of(fact[1]))
        if word == "start":
            starts[path] = starts.get(path, 0) + 1
            running[path] = None
        elif word in ("ok", "fail", "retry", "cut", "cancelled"):
            running.pop(path, None)
            of.setdefault(word, []).append(path)
        elif word == "decide":
            decided[path] = fact[3]
        else:
            of.setdefault(word, []).append(path)
    entry = story.entry
    return {
        "of": of,
        "starts": starts,
        "running": list(running),
        "decided": decided,
        "status": entry.status,
        "recoveries": entry.recoveries,
        "owner": entry.owner is not None,
        "rows": story.rows,
        "counted": entry.rows,
        "ended": story.ended,
        "due": [one[4] for one in story.entries if one[0] == "retry"],
        "failures": {str(path_of(one[1])): one[3] for one in story.entries if one[0] == "fail"},
        "started": [one[3] for one in story.entries if one[0] == "start"],
    }


def look(store: Store) -> dict[str, Any] | None:
    """The same of a store, which may not know of the run yet."""
    entry = store.find(RUN)
    return None if entry is None else told(story_of(store, entry))


def live(job: Mapping[str, Any], say: Say) -> None:
    """One life.

    Args:
        job: ``pipeline``; ``folder``; ``kind`` and ``at`` of its death, if it shall die; ``options``; and
            ``clock``, what a clock shows that does not go by itself.
        say: Receives what it finds, as soon as it is found.
    """
    one, folder = pipeline(job["pipeline"]), job["folder"]
    path = os.path.join(folder, "runs.db")
    effects = os.path.join(folder, "effects")
    options = RunOptions(**job["options"]) if job.get("options") else None
    if os.path.exists(path):
        with SqliteStore(path) as store:
            say({"before": look(store), "effects": len(lines(effects)), "warnings": store.warnings})
    else:
        say({"before": None, "effects": 0, "warnings": []})
    deaths = Deaths(job.get("kind", ""), job.get("at", 0))
    LOG.open(effects)
    deaths.install()
    clock = job.get("clock")
    on = nullcontext() if clock is None else stand_ins(clock=FakeClock(clock))
    with SqliteStore(path) as store, on:
        status, outputs = one.go(store, options)
        seen = dict(deaths.seen)
        deaths.kind = "none"
        again = one.go(store, None) if status == "succeeded" else None
        say(
            {
                "status": status,
                "outputs": outputs,
                "again": again and again[1],
                "seen": seen,
                "after": look(store),
                "problems": store.check(),
            }
        )


def live_within(job: Mapping[str, Any], say: Say) -> None:
    """A life in which no file may grow beyond a size, until the run has met that; then it goes on.

    Args:
        job: As of `live`; ``at`` is the size.
        say: Receives what was met, the paths that were made again in vain, and how it ended.
    """
    from penstock.core import recorder

    recorder.PATIENCE = (0.0,) * 4  # type: ignore[misc]
    one, folder = pipeline(job["pipeline"]), job["folder"]
    effects = os.path.join(folder, "effects")
    LOG.open(effects)
    with SqliteStore(os.path.join(folder, "runs.db")) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["at"], resource.RLIM_INFINITY))
        met, text, notes = None, "", ""
        try:
            one.go(store, None)
        except StoreError as error:
            met, text, notes = type(error).__name__, str(error), "".join(getattr(error, "__notes__", ()))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        before = look(store)
        done = set() if before is None else set(before["of"].get("ok", ()))
        count = len(lines(effects))
        say({"met": met, "text": text, "notes": notes})
        status, outputs = one.go(store, None)
        again = [line.path for line in lines(effects)[count:] if line.word == "start" and line.path in done]
        say({"status": status, "outputs": outputs, "again": again, "problems": store.check()})
