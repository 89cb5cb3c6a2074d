"""Plans of what goes wrong in a run, decided before the function of a step is called."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterable
from typing import Any, NamedTuple

from penstock.core.amounts import check_seconds, is_number, is_whole, shown
from penstock.core.checks import APART
from penstock.core.errors import InputError, nearest
from penstock.core.graph import Graph

Error = BaseException | type[BaseException]


class Decision(NamedTuple):
    """What becomes of one attempt.

    Attributes:
        delay: Seconds before anything else happens; infinite for one that hangs.
        error: What it fails with; None if it does not.
        dies: Its process is killed.
    """

    delay: float = 0.0
    error: BaseException | None = None
    dies: bool = False


class _Fault:
    """One line of a plan."""

    def __init__(self, word: str, step: str, times: int | None, decision: Decision) -> None:
        if times is not None and (not is_whole(times) or times < 1):
            raise ValueError(
                f"faults: times counts attempts, so it is an int of at least 1, not {shown(times)}"
            )
        if not isinstance(step, str):
            step = getattr(step, "id", step)
        self.word = word
        self.step = step
        self.times = times
        self.decision = decision
        self.seen: dict[str, int] = {}  # by path: attempts that it has struck

    def __str__(self) -> str:
        times = f", times={self.times}" if self.times is not None else ""
        return f"{self.word}({self.step!r}{times})"

    @property
    def node(self) -> str:
        """The id of its step, without an item."""
        return self.step.partition("[")[0] if self.step.endswith("]") else self.step

    def strikes(self, node: str, path: str) -> bool:
        if self.step not in (node, path):
            return False
        return self.times is None or self.seen.get(path, 0) < self.times


class Faults:
    """What goes wrong, by step or item.

        faults = Faults().fail("load", times=2, error=ConnectionError).hang("parse[3]")
        result = run(flow, faults=faults)
        assert faults.unused() == []

    A step is named by itself or by its id, which means all its items, or by the path of one item, as in
    ``parse[3]``. The calls can be chained. Where several faults name one attempt their delays add up, and of
    the rest the first counts that is not used up.
    """

    def __init__(self) -> None:
        self._faults: list[_Fault] = []
        self._seeds: list[tuple[object, float, Error, list[str]]] = []

    def __repr__(self) -> str:
        return f"<faults: {', '.join(map(str, self._faults)) or 'none by name'}>"

    def fail(self, step: Any, *, times: int | None = None, error: Error = ConnectionError) -> Faults:
        """Attempts fail as if the step had raised this.

        Args:
            step: The step, its id, or the path of an item.
            times: How many attempts, of each item; all by default.
            error: An exception, or a class of them.
        """
        return self._add("fail", step, times, Decision(error=made_error("faults", error)))

    def hang(self, step: Any, *, times: int | None = None) -> Faults:
        """Attempts never end by themselves: a timeout, or the end of the run, must end them."""
        return self._add("hang", step, times, Decision(delay=float("inf")))

    def delay(self, step: Any, seconds: float, *, times: int | None = None) -> Faults:
        """Attempts take so much longer, on the fake clock."""
        check_seconds("faults", "delay", seconds)
        return self._add("delay", step, times, Decision(delay=float(seconds)))

    def kill(self, step: Any, *, times: int | None = None) -> Faults:
        """The process that makes the attempt is killed; only for steps that run in processes."""
        return self._add("kill", step, times, Decision(dies=True))

    def seeded(self, seed: object, *, rate: float = 0.1, error: Error = ConnectionError) -> Faults:
        """Any attempt fails with this probability; of one seed always the same ones.

        What decides is a hash of the seed, the path and the number of the attempt: nothing else changes it.
        """
        if not is_number(rate) or not 0 <= rate <= 1:
            raise ValueError(f"faults: a rate is a share from 0.0 to 1.0, not {shown(rate)}")
        self._seeds.append((seed, rate, error, []))
        return self

    def unused(self) -> list[str]:
        """The faults that have struck nobody, as they were written."""
        unused = [str(fault) for fault in self._faults if not fault.seen]
        return unused + [f"seeded({seed!r})" for seed, _, _, struck in self._seeds if not struck]

    def struck(self) -> list[str]:
        """The paths whose attempts were struck, in no order of time: an entry for each attempt."""
        named = [path for fault in self._faults for path, times in fault.seen.items() for _ in range(times)]
        return sorted([*named, *(path for _, _, _, struck in self._seeds for path in struck)])

    def steps(self) -> list[str]:
        """The ids of the steps that it names."""
        return [fault.node for fault in self._faults]

    def check(self, graph: Graph, runners: Iterable[tuple[str, str]] = ()) -> None:
        """Whether the plan fits a graph.

        Args:
            graph: What is to run.
            runners: By id of a step: what makes its attempts.

        Raises:
            InputError: It names a step that is not there, or kills one that has no process.
        """
        by_step = dict(runners)
        for fault in self._faults:
            if fault.node not in graph.index:
                near = nearest(fault.node, graph.index)
                raise InputError(f"faults: {fault} names no step of {graph.name!r}{near}")
            where = by_step.get(fault.node, "processes")
            if fault.decision.dies and where not in APART:
                raise InputError(
                    f"faults: {fault} needs a process of its own to kill, and the step runs in {where!r}; "
                    f"give it runner='processes', or let it fail"
                )

    def decide(self, node: str, path: str, attempt: int, *, glue: bool = False) -> Decision:
        """What becomes of an attempt; an ordinary `Decision()` lets it be.

        Args:
            node: Id of its step.
            path: The same, or that of its item.
            attempt: Its number, from 1.
            glue: It is no step of the flow's author: it is struck by name only, never by chance.
        """
        delay = 0.0
        outcome: Decision | None = None
        for fault in self._faults:
            ends = fault.decision.delay in (0.0, float("inf"))
            if not fault.strikes(node, path) or (ends and outcome is not None):
                continue
            fault.seen[path] = fault.seen.get(path, 0) + 1
            delay += fault.decision.delay
            if ends:
                outcome = fault.decision
        if outcome is None and not glue:
            for seed, rate, error, struck in self._seeds:
                if _share(seed, path, attempt) < rate:
                    struck.append(path)
                    outcome = Decision(error=made_error("faults", error))
                    break
        return (outcome or Decision())._replace(delay=delay)

    def _add(self, word: str, step: Any, times: int | None, decision: Decision) -> Faults:
        self._faults.append(_Fault(word, step, times, decision))
        return self


def die(**_: Any) -> None:
    """What is called in place of a step whose process is to be killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def made_error(where: str, error: Error, text: str = "a planned fault") -> BaseException:
    """The exception that is meant.

    Args:
        where: What takes it, for the text.
        error: An exception, or a class of them.
        text: What one made of a class says.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(error, BaseException):
        return error
    if isinstance(error, type) and issubclass(error, BaseException):
        return error(text)
    hint = f"; say RuntimeError({error!r})" if isinstance(error, str) else ""
    raise TypeError(f"{where}: error is an exception or a class of them, not {shown(error)}{hint}")


def _share(seed: object, path: str, attempt: int) -> float:
    digest = hashlib.sha256(f"{seed!r}/{path}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64
