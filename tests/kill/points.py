"""A point: a run whose process dies at a chosen place, as often as is asked, and then goes on to its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.kill.effects import Line, lines
from tests.kill.lives import pipeline

ROOT = Path(__file__).resolve().parents[2]
ENDS = {"bytes": signal.SIGXFSZ, "time": signal.SIGALRM}
"""By kind of death: what ends the process; others are killed."""
MEMORY = "/dev/shm"

Answer = dict[str, Any]


class Zygote:
    """The process from which those of the points are forked."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kill.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        place = MEMORY if os.access(MEMORY, os.W_OK) else None
        self._folder = tempfile.mkdtemp(prefix="penstock-kill-", dir=place)
        self._count = 0
        self.undisturbed: dict[str, Life] = {}

    def ask(self, jobs: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """Has jobs done, each in a process of its own, in order."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(list(jobs)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the zygote has died: {self._process.wait()}"
        answers: list[Answer] = json.loads(answer)
        return answers

    def folder(self) -> str:
        """A fresh folder."""
        self._count += 1
        path = os.path.join(self._folder, str(self._count))
        os.mkdir(path)
        return path

    def whole(self, name: str) -> Life:
        """A run of a pipeline that nobody disturbs."""
        if name not in self.undisturbed:
            folder = self.folder()
            (answer,) = self.ask([{"pipeline": name, "folder": folder}])
            assert answer["code"] == 0, answer.get("text", answer)
            assert answer["problems"] == []
            self.undisturbed[name] = Life(answer, lines(os.path.join(folder, "effects")))
        return self.undisturbed[name]

    def point(
        self, name: str, *deaths: tuple[str, int], options: Any = None, clocks: Sequence[float | None] = ()
    ) -> Point:
        """Lets a run die at each of these places, in as many processes, and then go on to its end.

        Args:
            name: Of the pipeline.
            deaths: Kind and number of each place.
            options: Of the run.
            clocks: What the clock of each process shows at first; the real one by default.
        """
        folder = self.folder()
        jobs = [{"kind": kind, "at": at} for kind, at in (*deaths, ("", 0))]
        for job, clock in zip(jobs, clocks, strict=False):
            job["clock"] = clock
        answers = self.ask([{"pipeline": name, "folder": folder, "options": options, **job} for job in jobs])
        point = Point(name, deaths, answers, lines(os.path.join(folder, "effects")))
        shutil.rmtree(folder)
        return point

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class Life(NamedTuple):
    """An undisturbed run.

    Attributes:
        answer: What its process said.
        effects: Of its steps.
    """

    answer: Answer
    effects: list[Line]

    @property
    def attempts(self) -> set[tuple[str, int]]:
        return {(line.path, line.attempt) for line in self.effects if line.word == "start"}


class Point(NamedTuple):
    """What came of one.

    Attributes:
        pipeline: Its name.
        deaths: Kind and number of the places.
        answers: Of its processes, in order.
        effects: Of its steps, in all of them.
    """

    pipeline: str
    deaths: tuple[tuple[str, int], ...]
    answers: list[Answer]
    effects: list[Line]

    @property
    def died(self) -> int:
        """How many processes have died as they should; a place that a run does not come to kills nobody."""
        return sum(
            _has_died(answer, kind) for answer, (kind, _) in zip(self.answers, self.deaths, strict=False)
        )

    def check(self, whole: Life) -> None:
        """Whether nothing was lost, and nothing done again that need not.

        Raises:
            AssertionError: Which of it is not so, and where.
        """
        for problem in self.problems(whole):
            raise AssertionError(f"{self.pipeline} {self.deaths}: {problem}\n{self.shown()}")

    def shown(self) -> str:
        told = [f"{' '.join(map(str, line))}" for line in self.effects]
        return "\n".join([*(json.dumps(answer)[:2000] for answer in self.answers), *told[-60:]])

    def problems(self, whole: Life) -> list[str]:
        """What is not as it must be."""
        found: list[str] = []
        for answer, (kind, _) in zip(self.answers, self.deaths, strict=False):
            if not _has_died(answer, kind) and (answer["code"] or answer["signal"]):
                found.append(f"a process was to be killed, and failed: {answer.get('text', answer)}")
        last = self.answers[-1]
        if last["code"] != 0 or last["signal"]:
            return [*found, f"the run did not go on: {last.get('text', last)}"]
        found += self._of_the_end(last, whole)
        looks = [answer["before"] for answer in self.answers[1:]]
        cuts = [answer["effects"] for answer in self.answers[1:]]
        graph = pipeline(self.pipeline).graph()
        for before, cut in zip(looks, cuts, strict=True):
            found += _of_a_death(before, self.effects[:cut], self.effects[cut:], graph)
        return [*found, *self._of_effects(looks, whole)]

    def _of_the_end(self, last: Answer, whole: Life) -> list[str]:
        found: list[str] = []
        for word in ("status", "outputs", "again"):
            if last[word] != whole.answer[word]:
                found.append(f"its {word} is {last[word]!r}, and would have been {whole.answer[word]!r}")
        after, rows = last["after"], last["after"]["rows"]
        if last["problems"] or last["warnings"]:
            found.append(f"its store is not in order: {last['problems']} {last['warnings']}")
        if (after["status"], after["ended"], after["owner"]) != ("succeeded", "succeeded", False):
            found.append(f"the store has it as {after['status']}, its journal as {after['ended']!r}")
        if after["counted"] != rows:
            found.append(f"it has {rows} rows, and {after['counted']} were counted")
        if sorted(after["of"].get("ok", ())) != sorted(whole.answer["after"]["of"].get("ok", ())):
            found.append("other steps have succeeded than would have")
        return found

    def _of_effects(self, looks: list[Answer | None], whole: Life) -> list[str]:
        found: list[str] = []
        starts = Counter((line.path, line.attempt) for line in self.effects if line.word == "start")
        done = {(line.path, line.attempt) for line in self.effects if line.word == "end"}
        if starts.keys() != whole.attempts:
            found.append(f"attempts were lost or charged: {sorted(starts.keys() ^ whole.attempts)}")
        wanted = {(line.path, line.attempt) for line in whole.effects if line.word == "end"}
        if done != wanted:
            found.append(f"steps were lost: {sorted(wanted ^ done)}")
        for (path, attempt), times in starts.items():
            in_flight = sum(before is not None and path in before["running"] for before in looks)
            if times - 1 > in_flight:
                found.append(f"attempt {attempt} of {path} began {times} times, and was cut off {in_flight}")
        return found


def _has_died(answer: Answer, kind: str) -> bool:
    """Whether it has died as it should; an alarm ends what hangs, too."""
    return bool(answer["signal"] == ENDS.get(kind, signal.SIGKILL))


def _of_a_death(before: Answer | None, done: list[Line], later: list[Line], graph: Any) -> list[str]:
    """What the journal says after a death, against what has been done, and what is done later."""
    found: list[str] = []
    ok = set(before["of"].get("ok", ())) if before is not None else set()
    starts = before["starts"] if before is not None else {}
    if before is not None and before["ended"] and before["status"] != before["ended"]:
        found.append(f"its journal says that it has {before['ended']}, and the catalog {before['status']}")
    said = Counter(line.path for line in done if line.word == "start")
    for path, times in said.items():
        if times > starts.get(path, 0):
            found.append(f"{path} began {times} times, and {starts.get(path, 0)} are recorded")
    used = {line.path: line.attempt for line in done if line.word == "start"}
    for path, attempt in used.items():
        retried = before["of"].get("retry", ()).count(path) if before is not None else 0
        if retried < attempt - 1:
            found.append(f"attempt {attempt} of {path} began, and {retried} failures before it are recorded")
    for line in later:
        if line.word == "start" and line.attempt < used.get(line.path, 0):
            found.append(f"attempt {used[line.path]} of {line.path} had begun, and then {line.attempt} began")
        if line.word == "start" and line.path in ok:
            found.append(f"{line.path} had succeeded, and began again")
        if line.word == "ask" and before is not None and line.path in before["decided"]:
            found.append(f"{line.path} was decided, and was asked again")
    for path in said:
        for above in _above(graph, path):
            if above not in ok and not _is_open_stream(graph, above):
                found.append(f"{path} began, and {above}, which it needs, is not recorded")
    return found


def _above(graph: Any, path: str) -> list[str]:
    """The steps outside of its own map that a step needs, and the item that its own item needs."""
    id, bracket, _ = path.partition("[")
    at = graph.index[id]
    found = []
    for need, parent in zip(graph.nodes[at].needs, graph.parents[at], strict=True):
        above = graph.nodes[parent]
        if above.kind == "gate" or int(need.accepts):
            continue
        depth = graph.scopes[graph.scope_of[parent]].depth
        if not depth:
            found.append(above.id)
        elif bracket and need.how in ("use", "each"):
            keys = path[len(id) + 1 : -1].split(",")[:depth]
            found.append(f"{above.id}[{','.join(keys)}]")
    return found


def _is_open_stream(graph: Any, path: str) -> bool:
    return bool(graph.nodes[graph.index[path.partition("[")[0]]].stream)
