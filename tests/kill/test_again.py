"""A run that dies more than once, while it goes on, while it waits, or between a cause and what follows."""

from __future__ import annotations

import os
import random
from itertools import pairwise

import pytest

from tests.kill.points import Point, Zygote
from tests.kill.test_kill import places, spread

if not hasattr(os, "fork"):
    pytest.skip("processes are forked here", allow_module_level=True)

FIRST = {"chain": 8, "retries": 7, "nested": 5, "gates": 8, "conditions": 4}
"""Of each pipeline the commit after which it dies first."""

NEVER = {"max_recoveries": 1000}


def ok(point: Point) -> list[set[str]]:
    """What each process found to have succeeded."""
    looks = [answer["before"] for answer in point.answers]
    return [set() if look is None else set(look["of"].get("ok", ())) for look in looks]


def die_twice(zygote: Zygote, name: str, shares: dict[str, int] | None) -> int:
    first = ("after", FIRST[name])
    probe = zygote.point(name, first)
    probe.check(zygote.whole(name))
    seen, died = probe.answers[-1]["seen"], 0
    for kind in ("before", "after", "statement", "engine", "bytes", "step"):
        some = places(seen, kind)
        for at in some if shares is None else spread(some, shares.get(kind, 3)):
            point = zygote.point(name, first, (kind, at))
            point.check(zygote.whole(name))
            died += point.died == 2
    return died


@pytest.mark.parametrize("name", FIRST)
def test_j02_a_run_that_dies_while_it_goes_on(zygote, name):
    assert die_twice(zygote, name, {"before": 4, "after": 4, "statement": 8}) >= 12


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST)
def test_j02_a_run_that_dies_anywhere_while_it_goes_on(zygote, name):
    assert die_twice(zygote, name, None) >= 80


@pytest.mark.parametrize("name", ["chain", "retries", "gates"])
def test_j02_ten_deaths_in_one_run(zygote, name):
    point = zygote.point(name, *[("after", 5)] * 10)
    point.check(zygote.whole(name))
    found = ok(point)
    assert all(now <= then for now, then in pairwise(found)), "what was done was undone"
    assert point.died >= 3
    assert len(found[point.died]) > len(found[1])


def die_at_random(zygote: Zygote, name: str, seed: int, deaths: int) -> int:
    chance = random.Random(f"{name} {seed}")
    seen = zygote.whole(name).answer["seen"]
    some = [
        (kind, chance.randint(1, max(1, seen[kind] // 3))) for kind in chance.choices(sorted(seen), k=deaths)
    ]
    point = zygote.point(name, *some, options=NEVER)
    point.check(zygote.whole(name))
    return point.died


@pytest.mark.parametrize("name", ["map", "retries", "nested", "conditions", "stream", "diamond"])
def test_j02_deaths_at_random_places(zygote, name):
    assert sum(die_at_random(zygote, name, seed, 10) for seed in range(3)) >= 10


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["map", "retries", "nested", "conditions", "stream", "gates", "chain", "diamond"]
)
def test_j02_many_deaths_at_random_places(zygote, name):
    assert sum(die_at_random(zygote, name, seed, 50) for seed in range(100, 110)) >= 100


@pytest.mark.parametrize("most", [None, 0, 3])
def test_j02_a_step_that_kills_its_process_ends_the_run(zygote, most):
    lives = 11 if most is None else most + 1
    options = None if most is None else {"max_recoveries": most}
    point = zygote.point("deadly", *[("none", 0)] * lives, options=options)
    assert point.died == lives, point.shown()
    last = point.answers[-1]
    assert last["status"] == "failed", point.shown()
    failure = last["after"]["failures"]["killer"]
    assert failure["kind"] == "recoveries"
    assert f"died {lives} times" in failure["text"]
    assert sum(line.path == "killer" for line in point.effects) == lives
    assert sum(line.path == "before" for line in point.effects) == 2  # its start and its end


@pytest.mark.parametrize("kind", ["before", "after", "statement", "step", "engine"])
def test_j05_j06_a_decision_stands(zygote, kind):
    for at in spread(places(zygote.whole("fickle").answer["seen"], kind), 20):
        point = zygote.point("fickle", (kind, at))
        last = point.answers[-1]
        assert last["code"] == 0, point.shown()
        assert last["status"] == "succeeded"
        before, asked = last["before"], sum(line.word == "ask" for line in point.effects)
        decided = last["after"]["decided"]["maybe"]
        if before is not None and "maybe" in before["decided"]:
            assert before["decided"]["maybe"] == decided, point.shown()
            assert asked == 1, point.shown()
        assert ("maybe" in last["outputs"] or "maybe" in last["after"]["of"]["ok"]) is decided, point.shown()
        assert decided is (asked == 1)
        assert last["problems"] == []


def test_j05_the_trap_of_the_documents(zygote):
    """A stage sets state, the process dies, a condition reads the state: in each instant between the two."""
    whole = zygote.whole("conditions")
    between = 0
    for kind in ("before", "after", "statement", "step"):
        for at in places(whole.answer["seen"], kind):
            point = zygote.point("conditions", (kind, at))
            before = point.answers[-1]["before"] or {"of": {}, "decided": {}}
            if "detect" in before["of"].get("ok", ()) and "publish" not in before["decided"]:
                point.check(whole)
                between += 1
    assert between >= 10


@pytest.mark.parametrize("away", [0.0, 30.0, 99.0, 500.0])
def test_j03_retries_and_waits_are_remembered(zygote, away):
    began = 1_000_000.0
    whole = zygote.point("waiting", clocks=[began])
    assert whole.answers[0]["status"] == "succeeded"
    commits = whole.answers[0]["seen"]["after"]
    waited = 0
    for at in range(1, commits + 1):
        point = zygote.point("waiting", ("after", at), clocks=[began, began + away])
        last = point.answers[-1]
        assert (last["status"], last["outputs"]) == ("succeeded", {"shaky": 2}), point.shown()
        assert {line.attempt for line in point.effects if line.word == "start"} == {1, 2}
        before = last["before"]
        if (
            before is not None
            and before["due"]
            and "shaky" not in before["running"]
            and not before["of"].get("ok")
        ):
            waited += 1
            assert before["due"] == [began + 100.0]
            assert last["after"]["started"][-1] == max(began + 100.0, began + away)
            assert sum(line.attempt == 1 and line.word == "start" for line in point.effects) == 1
    assert waited >= 1
