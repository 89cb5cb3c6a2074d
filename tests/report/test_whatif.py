"""Replays on the machine, beside a list scheduler that is written down here in a few lines."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.outline import Outline, OutlineNode, OutlineScope
from penstock.core.whatif import CannotReplay, Place, Replay, Taken

Needs = Sequence[Sequence[int]]
Durations = dict[Place, Taken]


def outline(needs: Needs) -> Outline:
    """A graph of plain steps, by the positions of their needs."""
    return Outline(
        "g",
        tuple(
            OutlineNode(f"s{at}", needs=tuple(("use", f"s{one}") for one in mine))
            for at, mine in enumerate(needs)
        ),
    )


def simulate(
    outline: Outline,
    durations: Durations,
    workers: int | None = None,
    *,
    sizes: Mapping[Place, int] | None = None,
) -> float:
    """Seconds that a replay takes."""
    return Replay(outline, durations, sizes or {}).seconds(workers)


def scheduled(needs: Needs, took: Sequence[Sequence[int]], workers: int | None) -> float:
    """Seconds that a list scheduler takes: whoever has the longest path before it goes first, then whoever
    was defined first. Each attempt but the last is followed by a pause of 3 s."""
    users: list[list[int]] = [[] for _ in needs]
    for at, mine in enumerate(needs):
        for one in set(mine):
            users[one].append(at)
    rank = [1] * len(needs)
    for at in range(len(needs) - 1, -1, -1):  # needs point back
        rank[at] += max((rank[user] for user in users[at]), default=0)
    waits = [len(set(mine)) for mine in needs]
    ready = [(-rank[at], at) for at in range(len(needs)) if not waits[at]]
    tries = [0] * len(needs)
    coming: list[tuple[float, int, str]] = []
    now, running = 0.0, 0
    while True:
        ready.sort()
        while ready and (workers is None or running < workers):
            _, at = ready.pop(0)
            heappush(coming, (now + took[at][tries[at]], at, "end"))
            tries[at] += 1
            running += 1
        if not coming:
            return now
        now = coming[0][0]
        while coming and coming[0][0] == now:
            _, at, what = heappop(coming)
            if what == "due":
                ready.append((-rank[at], at))
                continue
            running -= 1
            if tries[at] < len(took[at]):
                heappush(coming, (now + 3, at, "due"))
                continue
            for user in users[at]:
                waits[user] -= 1
                if not waits[user]:
                    ready.append((-rank[user], user))


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    """A graph, and what each attempt of its steps takes."""
    size = draw(st.integers(1, 12))
    needs = [
        draw(st.lists(st.integers(0, at - 1), max_size=3, unique=True)) if at else [] for at in range(size)
    ]
    took = [draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)) for _ in range(size)]
    return needs, took


@given(runs(), st.one_of(st.none(), st.integers(1, 5)))
def test_a_replay_takes_as_long_as_a_list_scheduler(
    run: tuple[list[list[int]], list[list[int]]], workers: int | None
) -> None:
    needs, took = run
    durations: Durations = {
        (f"s{at}", ()): Taken(tuple(map(float, mine)), (3.0,) * (len(mine) - 1))
        for at, mine in enumerate(took)
    }
    assert simulate(outline(needs), durations, workers) == scheduled(needs, took, workers)


def test_whoever_has_the_longest_way_to_go_starts_first() -> None:
    """A list scheduler that only went by the order of definition would take 6 s here."""
    needs: Needs = [[], [], [], [2], [3]]
    durations: Durations = {(f"s{at}", ()): Taken((float(took),)) for at, took in enumerate([3, 3, 1, 1, 1])}
    assert simulate(outline(needs), durations, 2) == scheduled(needs, [[3], [3], [1], [1], [1]], 2) == 5.0


@pytest.mark.parametrize("seed", range(40))
def test_so_it_does_with_larger_graphs(seed: int) -> None:
    chance = random.Random(seed)
    needs = [chance.sample(range(max(0, at - 12), at), chance.randint(0, min(at, 2))) for at in range(60)]
    took = [[chance.randint(1, 9) for _ in range(chance.choice((1, 1, 1, 2)))] for _ in needs]
    durations: Durations = {
        (f"s{at}", ()): Taken(tuple(map(float, mine)), (3.0,) * (len(mine) - 1))
        for at, mine in enumerate(took)
    }
    replay = Replay(outline(needs), durations, {})
    for workers in (1, 2, 3, 5, None):
        assert replay.seconds(workers) == scheduled(needs, took, workers)


def test_more_workers_never_help_beyond_the_longest_chain() -> None:
    needs = [[], [0], [0], [0], [1, 2, 3]]
    durations: Durations = {(f"s{at}", ()): Taken((float(at + 1),)) for at in range(5)}
    replay = Replay(outline(needs), durations, {})
    assert replay.seconds(1) == 1 + 2 + 3 + 4 + 5
    assert replay.seconds(None) == replay.seconds(3) == 1 + 4 + 5
    assert replay.seconds(3, {"s3": 0.5}) == 1 + 3 + 5
    assert replay.seconds(3, {"s3": 0.0, "s4": 0.0}) == 1 + 3


def mapped() -> Outline:
    """``load`` is mapped over by ``split``, whose value is mapped over by ``word``; ``line`` takes the words
    of its line, and ``total`` all lines."""
    return Outline(
        "maps",
        (
            OutlineNode("load"),
            OutlineNode("split", needs=(("each", "load"),), scope=1),
            OutlineNode("word", needs=(("each", "split"),), scope=2),
            OutlineNode("line", needs=(("gather", "word"),), scope=1),
            OutlineNode("total", needs=(("gather", "line"), ("after", "word")), scope=0),
        ),
        (OutlineScope(-1, ""), OutlineScope(0, "load"), OutlineScope(1, "split")),
    )


def test_items_of_maps_inside_maps_take_what_they_took() -> None:
    durations: Durations = {
        ("load", ()): Taken((1.0,)),
        **{("split", (at,)): Taken((2.0,)) for at in range(3)},
        **{("word", (0, at)): Taken((float(at + 1),)) for at in range(4)},
        ("word", (2, 0)): Taken((7.0,)),
        **{("line", (at,)): Taken((0.5,)) for at in range(3)},
        ("total", ()): Taken((1.0,)),
    }
    sizes = {("load", ()): 3, ("split", (0,)): 4, ("split", (1,)): 0, ("split", (2,)): 1}
    assert simulate(mapped(), durations, sizes=sizes) == 1 + 2 + 7 + 0.5 + 1
    assert simulate(mapped(), durations, 1, sizes=sizes) == 1 + 6 + (1 + 2 + 3 + 4) + 7 + 1.5 + 1


def test_what_is_not_known_of_takes_no_time() -> None:
    assert simulate(outline([[], [0]]), {("s1", ()): Taken((2.0,))}) == 2.0


def test_an_empty_graph_takes_no_time() -> None:
    assert simulate(Outline("none", ()), {}) == 0.0


@pytest.mark.parametrize(
    ("nodes", "scopes"),
    [
        ((OutlineNode("a", needs=(("use", "b"),)), OutlineNode("b", needs=(("use", "a"),))), ()),
        ((OutlineNode("a"), OutlineNode("b", needs=(("use", "a"),), scope=1)), (OutlineScope(0, "a"),)),
    ],
    ids=["circle", "no such map"],
)
def test_an_outline_that_no_graph_has_is_refused(
    nodes: tuple[OutlineNode, ...], scopes: tuple[OutlineScope, ...]
) -> None:
    with pytest.raises(CannotReplay, match="cannot be made again"):
        simulate(Outline("bad", nodes, (OutlineScope(-1, ""), *scopes)), {})


def test_names_of_steps_are_only_data() -> None:
    names = ["<script>", "a[0]", "x\0y", "../..", "__init__"]
    nodes = tuple(
        OutlineNode(name, needs=tuple(("use", one) for one in names[:at])) for at, name in enumerate(names)
    )
    durations: Durations = {(name, ()): Taken((1.0,)) for name in names}
    assert simulate(Outline("", nodes), durations) == 5.0
