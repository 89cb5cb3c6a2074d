"""One owner for each run: of many that want it, of a stopped one and another, of a dead one and the next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from penstock.core.errors import RunBusy
from penstock.core.owners import here
from penstock.stores.sqlite import SqliteStore
from tests.kill.effects import lines
from tests.kill.races import FLOW, RUN

if not hasattr(os, "fork"):
    pytest.skip("processes are forked here", allow_module_level=True)


def race(zygote, rounds: int) -> None:
    job = {"call": "tests.kill.races:race", "folder": zygote.folder(), "processes": 20, "rounds": rounds}
    (answer,) = zygote.ask([job])
    assert answer["code"] == 0, answer.get("text", answer)
    assert len(answer["rounds"]) == rounds
    for number, one in enumerate(answer["rounds"]):
        met = [what["what"] for what in one["met"]]
        assert met.count("holds") == 1, (number, one)
        assert met.count("RunBusy") == 19, (number, one)
        assert len({what["owner"] for what in one["met"] if what["what"] == "RunBusy"}) == 1
        assert one["ends"] == [{"what": "succeeded", "outputs": {"last": 3}}], (number, one)
    assert [status for _, status, _ in answer["entries"]] == ["succeeded"] * rounds
    wanted = {"new": 1, "given back": 2, "dead": 2}
    epochs = {run: epoch for run, _, epoch in answer["entries"]}
    assert epochs == {f"run-{at}": wanted[one["begun"]] for at, one in enumerate(answer["rounds"])}
    assert answer["problems"] == []


def test_j13_twenty_processes_race_for_one_run(zygote):
    race(zygote, 21)


@pytest.mark.slow
def test_j13_twenty_processes_race_for_a_hundred_runs(zygote):
    race(zygote, 100)


@pytest.mark.parametrize("wakes", ["late", "early", "claimed", "idle"])
def test_j13_an_owner_that_was_stopped_commits_nothing(zygote, wakes):
    folder = zygote.folder()
    (answer,) = zygote.ask([{"call": "tests.kill.races:stopped", "folder": folder, "wakes": wakes}])
    assert answer["code"] == 0, answer.get("text", answer)
    assert answer["held"] == {"what": "holds"}
    assert answer["met"]["what"] == "ClaimLost", answer
    assert "nothing was written" in answer["met"]["text"]
    assert answer["added"] == [], answer
    assert answer["ended"]["what"] == "succeeded", answer
    assert answer["ended"]["outputs"] == {"last": 3}
    assert answer["ended"]["tries"] >= 1, "it was taken while it was still held"
    assert (answer["status"], answer["story"], answer["owner"]) == ("succeeded", "succeeded", None)
    assert answer["epoch"] == (3 if wakes == "claimed" else 2)
    assert answer["problems"] == []
    done = lines(Path(folder) / "effects")
    assert [line.path for line in done] == ["first", "hold", "hold", "last"]
    assert done[-1].attempt != answer["stopped"], "the stopped one has gone on"


@pytest.fixture
def store(tmp_path):
    with SqliteStore(tmp_path / "runs.db") as made:
        yield made


def left(store: SqliteStore, **changes: Any) -> None:
    """A run whose owner is another process, in the middle of its claim."""
    from penstock.core.errors import StoreFull
    from penstock.testing.faults_store import FaultyStore, full

    with pytest.raises(StoreFull):
        FLOW.run(store=FaultyStore(store, at=2, error=full, only=("append",)), run_id=RUN)
    entry = store.find(RUN)
    assert entry is not None
    assert entry.owner is None
    store.claim(RUN, here()._replace(**changes), 1e6)


def gone() -> int:
    """The id of a process that was here."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


@pytest.mark.parametrize("which", ["dead", "of another start of the machine", "with an id that came again"])
def test_j13_j14_a_dead_owner_is_followed_at_once(store, which):
    host, *boot = here().boot.split(" ")
    changes: Any = {
        "dead": {"pid": gone()},
        "of another start of the machine": {"boot": " ".join([f"{host}x", *boot])},
        "with an id that came again": {"started": "1"},
    }[which]
    left(store, **changes)
    result = FLOW.run(store=store, run_id=RUN)
    assert result.outputs == {"last": 3}
    entry = store.find(RUN)
    assert entry is not None
    assert entry.epoch == 3


@pytest.mark.parametrize("which", ["alive", "on another machine", "in another container"])
def test_j13_an_owner_that_may_live_is_not_followed(store, which):
    host, *_ = here().boot.split(" ")
    changes: Any = {
        "alive": {"pid": 1, "started": ""},
        "on another machine": {"host": "elsewhere", "pid": gone()},
        "in another container": {"boot": f"{host} pid:[1]", "pid": gone()},
    }[which]
    left(store, **changes)
    with pytest.raises(RunBusy, match="drives run"):
        FLOW.run(store=store, run_id=RUN)
