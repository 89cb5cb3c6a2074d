"""What follows from the times of a run, told to the analysis event by event: no clock, no run."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.events import (
    Event,
    NodeExpanded,
    NodeFailed,
    NodeInterrupted,
    NodeRetrying,
    NodeSkipped,
    NodeStarted,
    NodeSucceeded,
    NodeWaiting,
    NodeYielded,
    RunFinished,
    RunResumed,
    RunStarted,
)
from penstock.core.inside import Usage
from penstock.core.model import Failure, NodePath, NodeStatus, RunStatus, SkipCause
from penstock.core.outline import Outline, OutlineNode, OutlineScope
from penstock.core.stored import StoredNode
from penstock.report.analysis import MOST_LEVELS, critical, efficiency, levels, shortened
from penstock.report.data import Leg
from penstock.report.forecast import forecast
from penstock.report.steps import Steps, used_by
from penstock.report.timing import Take, Timing

BAD = Failure("error", "ValueError", "bad")


def outline(*nodes: tuple[Any, ...], scopes: tuple[tuple[int, str], ...] = ()) -> Outline:
    """Nodes as (id, scope, (how, need)...)."""
    made = tuple(OutlineNode(id, needs=tuple(needs), scope=scope) for id, scope, *needs in nodes)
    return Outline("f", made, (OutlineScope(-1, ""), *(OutlineScope(*scope) for scope in scopes)))


def path(text: str) -> NodePath:
    id, bracket, inside = text.partition("[")
    return NodePath(id, tuple(map(int, inside[:-1].split(","))) if bracket else ())


def began() -> Event:
    return RunStarted("r", "f", (), 0, {}, None, (), {}, {}, None, 0.0)


def start(text: str, at: float, token: int = 1) -> Event:
    return NodeStarted(path(text), token, at)


def ok(text: str, since: float, until: float, token: int = 1) -> Event:
    return NodeSucceeded(path(text), token, None, None, "run", since, until)


def retry(text: str, since: float, until: float, due: float, token: int = 1) -> Event:
    return NodeRetrying(path(text), token, BAD, due, since, until)


def fail(text: str, since: float, until: float, token: int = 1) -> Event:
    return NodeFailed(path(text), token, BAD, since, until)


def end(at: float, status: RunStatus = RunStatus.SUCCEEDED) -> Event:
    return RunFinished(status, at)


def timed(shape: Outline, *events: Event) -> Timing:
    """The events in this order, of a run that is over if they say so, and was cut off otherwise."""
    timing = Timing(shape)
    timing.hear([began(), *events])
    timing.close(over=bool(timing.finished), cut_off=not timing.finished)
    return timing


def told(timing: Timing) -> list[tuple[Any, ...]]:
    """The critical path, as (kind, path, from, to, why)."""
    legs, _ = critical(timing, timing.now)
    for one, other in pairwise(legs):
        assert one.ended == other.began, "it has a gap"
    assert not legs or (legs[0].began, legs[-1].ended) == (timing.began, timing.now)
    return [(leg.kind, leg.path, leg.began, leg.ended, leg.why) for leg in legs]


CHAIN = outline(
    ("a", 0), ("b", 0, ("use", "a")), ("c", 0, ("use", "a")), ("d", 0, ("use", "b"), ("after", "c"))
)


def test_the_critical_path_goes_back_along_what_each_step_waited_for() -> None:
    timing = timed(
        CHAIN, start("a", 0), ok("a", 0.25, 2), start("b", 2), start("c", 2), ok("b", 2, 3), ok("c", 2, 6),
        start("d", 6), ok("d", 6, 7), end(7.5),
    )  # fmt: skip
    assert told(timing) == [
        ("queue", "a", 0, 0.25, ""),
        ("run", "a", 0.25, 2, "start"),
        ("run", "c", 2, 6, "need"),
        ("run", "d", 6, 7, "need"),
        ("engine", "", 7, 7.5, ""),
    ]


def test_a_step_that_waited_for_a_place_follows_whoever_made_room() -> None:
    timing = timed(
        outline(("a", 0), ("b", 0), ("c", 0)),
        start("a", 0), start("b", 0), ok("a", 0, 4), start("c", 4), ok("b", 0, 5), ok("c", 4, 8), end(8),
    )  # fmt: skip
    assert told(timing) == [("run", "a", 0, 4, "start"), ("run", "c", 4, 8, "slot")]
    assert timing.of[path("c")][0].ready == 0


def test_a_pause_before_a_retry_is_on_the_critical_path() -> None:
    timing = timed(
        outline(("a", 0)), start("a", 0), retry("a", 0, 1, 3), start("a", 3, 2), ok("a", 3, 4, 2), end(4)
    )
    assert told(timing) == [
        ("run", "a", 0, 1, "start"), ("pause", "a", 1, 3, ""), ("run", "a", 3, 4, "retry"),
    ]  # fmt: skip
    first, second = timing.of[path("a")]
    assert (first.number, first.outcome, first.paused, second.number, second.ready) == (1, "failed", 2, 2, 3)


def test_a_pause_is_in_the_replay_too() -> None:
    timing = timed(
        outline(("a", 0)), start("a", 0), retry("a", 0, 1, 3), start("a", 3, 2), ok("a", 3, 4, 2), end(4)
    )
    guess = forecast(timing, 4, 1, timing.takes, levels(timing.takes, 4))
    assert guess is not None
    assert (guess.measured, guess.replayed) == (4, 4)


def test_what_had_not_ended_yet_by_a_workers_clock_was_ready_all_the_same() -> None:
    timing = timed(CHAIN, start("a", 0), ok("a", 0, 2.5), start("b", 2), ok("b", 2, 3), end(3))
    assert timing.of[path("b")][0].ready == 2


def test_what_was_cut_off_and_is_thrown_away_is_undone_once() -> None:
    timing = timed(
        CHAIN, start("a", 0), RunResumed(5, 1, drop=(path("a"),), crashed=True), start("a", 5),
        ok("a", 5, 6), end(6),
    )  # fmt: skip
    assert [life.undone for life in timing.lives] == [0, 1]


def test_what_is_told_of_a_token_is_told_of_the_last_attempt_that_has_it() -> None:
    timing = timed(
        outline(("a", 0)), start("a", 0), fail("a", 0, 1), end(1, RunStatus.FAILED),
        RunResumed(5, 4, drop=(path("a"),)), start("a", 5), ok("a", 5, 6), end(6),
    )  # fmt: skip
    first, second = timing.of[path("a")]
    assert (first.token, second.token) == (1, 1)
    assert used_by(timing, {("a", 1): Usage(1.0, None, True)}) == {second: Usage(1.0, None, True)}


def test_what_failed_is_shown_before_what_took_long() -> None:
    nodes = {
        f"s{at}": StoredNode(f"s{at}", NodeStatus.SUCCEEDED, attempts=1, duration=100.0 + at)
        for at in range(9)
    }
    nodes["s4"] = StoredNode("s4", NodeStatus.FAILED, attempts=1, duration=0.1)
    nodes["s5"] = StoredNode("s5", NodeStatus.SUCCEEDED, attempts=2, duration=0.1)
    timing = timed(outline(*((id, 0) for id in nodes)), end(1))
    assert Steps(nodes, timing, {}, set(), most=3).paths == ["s4", "s5", "s8"]


def test_the_time_between_lives_is_nobodys() -> None:
    timing = timed(
        outline(("a", 0), ("b", 0, ("use", "a"))),
        start("a", 0), ok("a", 0, 2), start("b", 2), RunResumed(10, 6, crashed=True),
        NodeInterrupted(path("b"), 1), start("b", 11, 2), ok("b", 11, 13, 2), end(13),
    )  # fmt: skip
    assert told(timing) == [
        ("run", "a", 0, 2, "start"), ("run", "b", 2, 4, "need"), ("away", "", 4, 10, "start"),
        ("engine", "", 10, 11, ""), ("run", "b", 11, 13, "start"),
    ]  # fmt: skip
    cut, again = timing.of[path("b")]
    assert (cut.outcome, cut.number, cut.ended, cut.life, cut.counts) == ("interrupted", 1, 4, 0, True)
    assert (again.outcome, again.number, again.life, again.ready) == ("succeeded", 1, 1, 11)
    assert [(life.began, life.ended, life.end, life.undone) for life in timing.lives] == [
        (0, 4, "cut off", 0), (10, 13, "succeeded", 1),
    ]  # fmt: skip
    figures = efficiency(timing, 7, 13, levels(timing.takes, 13))
    assert figures is not None
    assert (figures.work, figures.wasted, figures.chain, figures.peak) == (6, 2, 4, 1)


def test_what_does_not_count_any_more_is_told_as_of_an_earlier_life() -> None:
    timing = timed(
        outline(("a", 0), ("b", 0, ("use", "a"))),
        start("a", 0), ok("a", 0, 1), start("b", 1), retry("b", 1, 2, 2.5), start("b", 2.5, 2),
        fail("b", 2.5, 3, 2), end(3, RunStatus.FAILED),
        RunResumed(20, 17, drop=(path("b"),)), start("b", 20, 3), ok("b", 20, 21, 3), end(21),
    )  # fmt: skip
    takes = timing.of[path("b")]
    assert [(take.counts, take.number, take.outcome) for take in takes] == [
        (False, 1, "failed"), (False, 2, "failed"), (True, 1, "succeeded"),
    ]  # fmt: skip
    assert [(life.end, life.undone) for life in timing.lives] == [("failed", 0), ("succeeded", 2)]
    figures = efficiency(timing, 4, 21, levels(timing.takes, 21))
    assert figures is not None
    assert (figures.work, figures.wasted, figures.chain) == (3.5, 1.5, 2)
    guess = forecast(timing, 4, 1, [], levels(timing.takes, 21))
    assert guess is not None
    assert guess.note.startswith("n/a")
    assert guess.ifs == ()


def test_an_item_is_ready_when_its_own_needs_are_and_a_gather_when_all_are() -> None:
    shape = outline(
        ("load", 0), ("work", 1, ("each", "load")), ("post", 1, ("use", "work"), ("use", "side")),
        ("side", 0), ("total", 0, ("gather", "post")), scopes=((0, "load"),),
    )  # fmt: skip
    timing = timed(
        shape,
        start("load", 0), start("side", 0), ok("load", 0, 1), NodeExpanded(path("work"), 2),
        start("work[0]", 1), start("work[1]", 1), ok("side", 0, 2), ok("work[0]", 1, 3), start("post[0]", 3),
        ok("post[0]", 3, 9), ok("work[1]", 1, 4), start("post[1]", 4), ok("post[1]", 4, 5),
        start("total", 9), ok("total", 9, 10), end(10),
    )  # fmt: skip
    ready = {str(take.path): take.ready for take in timing.takes}
    assert ready == {
        "load": 0, "side": 0, "work[0]": 1, "work[1]": 1, "post[0]": 3, "post[1]": 4, "total": 9,
    }  # fmt: skip
    assert [leg[1] for leg in told(timing)] == ["load", "work[0]", "post[0]", "total"]


def test_a_gather_is_ready_when_the_last_item_is_whichever_that_was() -> None:
    shape = outline(
        ("load", 0), ("work", 1, ("each", "load")), ("best", 0, ("gather", "work")),
        ("share", 1, ("use", "work"), ("gather", "work")), scopes=((0, "load"),),
    )  # fmt: skip
    timing = timed(
        shape, start("load", 0), ok("load", 0, 1), NodeExpanded(path("work"), 2), start("work[0]", 1),
        start("work[1]", 1), ok("work[0]", 1, 3), ok("work[1]", 1, 8), start("best", 8), ok("best", 8, 9),
        start("share[0]", 9), ok("share[0]", 9, 10), end(10),
    )  # fmt: skip
    assert timing.of[path("best")][0].ready == 8
    assert timing.of[path("share[0]")][0].ready == 8


def test_items_with_names_are_replayed_in_their_places() -> None:
    shape = outline(
        ("load", 0), ("work", 1, ("each", "load")), ("post", 1, ("use", "work")), scopes=((0, "load"),)
    )

    def item(id: str, key: str, since: float, until: float) -> list[Event]:
        at = NodePath(id, (key,))
        return [NodeStarted(at, 1, since), NodeSucceeded(at, 1, None, None, "run", since, until)]

    timing = timed(
        shape, start("load", 0), ok("load", 0, 1), NodeExpanded(path("work"), 2, ("x", "y")),
        *item("work", "x", 1, 2), *item("post", "x", 2, 9), *item("work", "y", 1, 3),
        *item("post", "y", 3, 4), end(9),
    )  # fmt: skip
    guess = forecast(timing, 9, 2, timing.takes, levels(timing.takes, 9))
    assert guess is not None
    assert guess.replayed == 9


def test_a_gather_of_no_items_waits_for_what_was_mapped_over() -> None:
    shape = outline(
        ("load", 0), ("work", 1, ("each", "load")), ("total", 0, ("gather", "work")), scopes=((0, "load"),)
    )
    timing = timed(
        shape, start("load", 0), ok("load", 0, 3), NodeExpanded(path("work"), 0), start("total", 3.5),
        ok("total", 3.5, 4), end(4),
    )  # fmt: skip
    assert timing.of[path("total")][0].ready == 3


def test_an_item_of_a_stream_is_ready_when_its_element_has_come() -> None:
    shape = outline(("s", 0), ("x", 0), ("work", 1, ("each", "s")), scopes=((0, "s"),))
    timing = timed(
        shape, start("s", 0), start("x", 0), NodeExpanded(path("work"), None),
        NodeYielded(path("s"), 1, 0, None), start("work[0]", 1), ok("x", 0, 2),
        NodeYielded(path("s"), 1, 1, None), ok("work[0]", 1, 4),
        start("work[1]", 4), ok("s", 0, 6), ok("work[1]", 4, 8), end(8),
    )  # fmt: skip
    assert timing.of[path("work[1]")][0].ready == 2
    assert timing.sizes == {(1, ()): 2}


def test_what_a_skipped_step_had_waited_for_is_what_its_users_wait_for() -> None:
    timing = timed(
        CHAIN, start("a", 0), ok("a", 0, 2), NodeSkipped(path("b"), SkipCause.CONDITION, path("b")),
        NodeSkipped(path("c"), SkipCause.CONDITION, path("c")), start("d", 2.5), ok("d", 2.5, 3), end(3),
    )  # fmt: skip
    assert timing.of[path("d")][0].ready == 2
    assert [leg[1] for leg in told(timing)] == ["a", "d", "d"]


def test_a_gate_is_a_leg_of_its_own_and_no_work() -> None:
    timing = timed(
        outline(("a", 0), ("ok", 0, ("use", "a")), ("b", 0, ("after", "ok"))),
        start("a", 0), ok("a", 0, 1), NodeWaiting(path("ok"), 1, 1, None, "Go?", "bool"),
        RunResumed(50, 49), ok("ok", 1, 50), start("b", 50), ok("b", 50, 52), end(52),
    )  # fmt: skip
    assert told(timing) == [
        ("run", "a", 0, 1, "start"),
        ("gate", "ok", 1, 50, "need"),
        ("run", "b", 50, 52, "need"),
    ]
    assert [life.end for life in timing.lives] == ["waiting", "succeeded"]
    figures = efficiency(timing, 3, 52, levels(timing.takes, 52))
    assert figures is not None
    assert (figures.work, figures.average, figures.chain) == (3, 1, 3)


def test_parallel_efficiency_counts_what_the_workers_could_have_done() -> None:
    timing = timed(
        outline(("a", 0), ("b", 0), ("c", 0)),
        start("a", 0), start("b", 0), ok("a", 0, 4), start("c", 4), ok("b", 0, 5), ok("c", 4, 8), end(8),
    )  # fmt: skip
    busy, a, b = levels(timing.takes, 8), timing.of[path("a")][0], timing.of[path("b")][0]
    assert [tuple(level) for level in busy] == [(0, 2, 1), (4, 2, 0), (5, 1, 0), (8, 0, 0)]
    figures = efficiency(
        timing, 8, 8, busy, workers=4, usage={a: Usage(1.0, None, True), b: Usage(0.5, None, True)}
    )
    assert figures is not None
    assert (figures.work, figures.share, figures.average, figures.peak, figures.known) == (
        13,
        13 / 32,
        13 / 8,
        2,
        True,
    )
    assert (figures.cpu, figures.measured, figures.queued) == (1.5, 9 / 13, 4)
    assert (figures.chain, figures.bound) == (5, 5)
    guess = forecast(timing, 8, 2, timing.takes, busy)
    assert guess is not None
    assert (guess.replayed, guess.error) == (8, 0)
    assert {one.what: one.seconds for one in guess.ifs if one.kind == "workers"} == {
        "1 worker": 13, "2 workers": 8, "4 workers": 5, "8 workers": 5, "16 workers": 5,
        "any number of workers": 5,
    }  # fmt: skip
    assert next(one for one in guess.ifs if (one.kind, one.step) == ("free", "a")).change == -3 / 8


def test_a_replay_that_does_not_hold_says_so_and_no_more() -> None:
    timing = timed(outline(("a", 0)), start("a", 0), ok("a", 0, 1), end(3))
    guess = forecast(timing, 3, 1, timing.takes, levels(timing.takes, 3))
    assert guess is not None
    assert "does not hold" in guess.note
    assert guess.ifs == ()
    assert guess.error == pytest.approx(-2 / 3)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50), st.floats(0, 20)), min_size=1, max_size=60))
def test_levels_say_at_each_moment_how_many_run_and_wait(spans: list[tuple[float, float, float]]) -> None:
    takes = []
    for number, (began_at, took, queued) in enumerate(spans):
        take = Take(NodePath(f"s{number}"), 1, 0)
        take.ready, take.handed, take.began = max(0.0, began_at - queued), began_at, began_at
        take.ended, take.outcome = began_at + took, "succeeded"
        takes.append(take)
    for level in levels(takes, 200):
        running = sum(span.began <= level.at < span.ended for span in takes)  # type: ignore[operator]
        assert level.running == running
    assert max(level.running for level in levels(takes, 200, 8)) <= max(
        level.running for level in levels(takes, 200)
    )


def test_many_levels_are_thinned_and_keep_their_peaks() -> None:
    takes = []
    for number in range(10_000):
        take = Take(NodePath(f"s{number}"), 1, 0)
        take.ready = take.handed = take.began = number / 10
        take.ended, take.outcome = number / 10 + (5 if 5_000 <= number < 5_020 else 0.05), "succeeded"
        takes.append(take)
    whole, thin = levels(takes, 2_000, 1 << 60), levels(takes, 2_000)
    assert len(whole) > MOST_LEVELS >= len(thin)
    assert (thin[0].at, thin[-1]) == (whole[0].at, whole[-1])
    for level in whole:
        shown = [one for one in thin if one.at <= level.at][-1]
        assert shown.running >= level.running
    assert max(level.running for level in thin) == max(level.running for level in whole)


def test_a_long_critical_path_is_shortened_without_a_gap() -> None:
    legs = [Leg("run", f"s{at}", 1, float(at), at + 1.0) for at in range(5_000)]
    short = shortened(legs)
    assert len(short) <= 500
    assert (short[0].began, short[-1].ended) == (0, 5_000)
    assert all(one.ended == other.began for one, other in pairwise(short))
    assert shortened(legs[:100]) == tuple(legs[:100])


@pytest.mark.parametrize("moment", [float("nan"), float("inf")])
def test_a_moment_that_is_none_is_refused(moment: float) -> None:
    for event in (start("a", moment), RunResumed(1, moment), end(moment), RunResumed(moment, 0)):
        with pytest.raises(ValueError, match="no moment"):
            Timing(outline(("a", 0))).hear([began(), event])
    for event in (ok("a", 0, moment), ok("a", moment, 1), retry("a", 0, 1, moment)):
        with pytest.raises(ValueError, match="no moment"):
            Timing(outline(("a", 0))).hear([began(), start("a", 0), event])
