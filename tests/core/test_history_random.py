"""Random graphs, killed and resumed at random: what the journal alone tells of them is what the machine knew.

Only the graph could tell whether a failed item was let pass, why a quorum is out of reach, and whether a step
that was skipped as a whole was to be mapped; all else must be the same.
"""

import pytest

from penstock.core.result import NodeResult
from penstock.core.standing import Fold
from penstock.core.stored import StoredNode
from penstock.core.views import result_of
from tests.resume.lives import RUN
from tests.resume.test_random_lives import Tale

CHUNKS, EACH = 4, 30


def differences(live: NodeResult, stored: StoredNode) -> list[str]:
    if live.items is None or stored.items is None:
        if live.items is not None and stored.items is None and not live.items:
            return []  # skipped before its map opened
        wrong = [
            name
            for name in ("path", "status", "attempts", "skip")
            if getattr(live, name) != getattr(stored, name)
        ]
        wrong += ["failure"] if str(live.failure) != str(stored.failure) else []
        wrong += ["reason"] if live.reason != stored.reason and "Quorum" not in live.reason else []
        return [f"{live!r} and {stored!r} differ in {', '.join(wrong)}"] if wrong else []
    if [one.path for one in live.items] != [one.path for one in stored.items]:
        return [f"{live.path} has other items: {live.items} and {stored.items}"]
    found = [f"{live!r} and {stored!r} differ in attempts"] if live.attempts != stored.attempts else []
    for one, other in zip(live.items, stored.items, strict=True):
        found += differences(one, other)
    return found


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_what_the_journal_tells_is_what_the_machine_knew(chunk):
    seen = 0
    for seed in range(chunk * EACH, (chunk + 1) * EACH):
        tale = Tale(seed).tell()
        if tale.problems or tale.store.find(RUN) is None:
            continue  # for tests/resume to tell
        fold = Fold(tale.story())
        for id, node in result_of(tale.life.machine.state, RUN, now=0.0).nodes.items():
            seen += 1
            assert differences(node, fold.node(id)) == [], f"seed {seed}"
    assert seen > 100
