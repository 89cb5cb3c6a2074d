"""Kill -9 before, inside and after every commit: what was recorded is kept, and is not done again."""

from __future__ import annotations

import os

import pytest

from tests.kill.deaths import KINDS
from tests.kill.pipelines import EIGHT
from tests.kill.points import Zygote

if not hasattr(os, "fork"):
    pytest.skip("processes are forked here", allow_module_level=True)

SHARES = {"before": 16, "after": 16, "statement": 18, "engine": 8, "bytes": 8, "step": 6, "time": 4}
POINTS = 64
"""Of each pipeline, in the quick form: those of its places that it has, up to the shares above, or more."""

EVERY = {"bytes": 512, "time": 250}


def places(seen: dict[str, int], kind: str) -> list[int]:
    """All places of a kind in an undisturbed run."""
    return list(range(1, seen.get(kind, 0) + 1, EVERY.get(kind, 1)))


def spread(all_: list[int], some: int) -> list[int]:
    """Some of them, the first and the last among them."""
    if some >= len(all_):
        return all_
    return [all_[round(at * (len(all_) - 1) / (some - 1))] for at in range(some)]


def chosen(seen: dict[str, int]) -> dict[str, list[int]]:
    """The places of the quick form."""
    found = {kind: spread(places(seen, kind), share) for kind, share in SHARES.items()}
    short = POINTS + 8 - sum(map(len, found.values()))
    if short > 0:
        found["statement"] = spread(places(seen, "statement"), SHARES["statement"] + short)
    return found


def die_at(zygote: Zygote, name: str, kind: str, at: int) -> int:
    """Tries a point; if the run does not come so far this time, one before it. Gives how many have died."""
    while at:
        point = zygote.point(name, (kind, at))
        point.check(zygote.whole(name))
        if point.died:
            return 1
        at = at * 3 // 4
    return 0


def test_there_are_five_hundred_points():
    assert POINTS * len(EIGHT) >= 500
    assert SHARES.keys() == set(KINDS)


@pytest.mark.parametrize("name", EIGHT)
def test_j01_j04_a_run_that_is_killed_goes_on(zygote, name):
    seen = zygote.whole(name).answer["seen"]
    died = sum(die_at(zygote, name, kind, at) for kind, some in chosen(seen).items() for at in some)
    assert died >= POINTS


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EIGHT)
def test_j01_j04_a_run_that_is_killed_anywhere_goes_on(zygote, name, kind):
    seen = zygote.whole(name).answer["seen"]
    all_ = places(seen, kind)
    died = sum(die_at(zygote, name, kind, at) for at in all_)
    assert died >= len(all_) * 9 // 10
