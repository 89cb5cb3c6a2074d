"""How long steps took in earlier runs, read from a store in little time."""

import pytest

from penstock import Flow, each
from penstock.core import expected as module
from penstock.core.expected import expected
from penstock.core.storage import Store
from penstock.wiring import open_store


def flow_of(fails: list[bool]) -> Flow:
    flow = Flow("measured")

    @flow.step
    def items() -> list[int]:
        return [1, 2, 3]

    @flow.step
    def work(n: int = each(items)) -> int:
        if fails:
            raise ValueError("no")
        return n

    return flow


@pytest.fixture
def store(tmp_path) -> Store:
    return open_store(tmp_path / "runs.db")[0]


def test_the_median_of_the_runs_that_succeeded(store, monkeypatch):
    fails: list[bool] = []
    flow = flow_of(fails)
    for _ in range(3):
        flow.run(store=store)
    fails.append(True)
    flow.run(store=store)
    spans = iter([{"items": 1.0, "work": 9.0}, {"items": 3.0, "work": 7.0}, {"items": 2.0, "work": 8.0}])
    monkeypatch.setattr(module, "_spans", lambda *given: next(spans))
    found = expected(store, "measured", within=60.0)
    assert (found["items"], found["work"]) == (2.0, 8.0)
    assert found[""] >= 0.0
    assert next(spans, None) is None


def test_a_mapped_step_takes_from_its_first_item_to_its_last(store):
    flow_of([]).run(store=store)
    (run,) = store.runs(flow="measured")
    found = expected(store, "measured", within=60.0)
    assert set(found) == {"", "items", "work"}
    assert 0.0 <= found["work"] <= found[""] == pytest.approx(run.updated - run.created)


def test_there_is_nothing_to_expect_of_a_new_flow(store):
    assert expected(store, "measured") == {}


def test_runs_that_failed_or_went_on_later_tell_nothing(store):
    fails = [True]
    flow = flow_of(fails)
    result = flow.run(store=store)
    assert expected(store, "measured", within=60.0) == {}
    fails.clear()
    flow.run(store=store, run_id=result.run_id)
    assert store.runs(flow="measured", status="succeeded")
    assert expected(store, "measured", within=60.0) == {}


def test_it_takes_no_longer_than_it_may(store):
    flow = flow_of([])
    for _ in range(3):
        flow.run(store=store)
    assert expected(store, "measured", within=0.0) == {}
    ticks = iter(range(1000))
    assert expected(store, "measured", within=2.5, clock=lambda: float(next(ticks))) == {}


@pytest.mark.parametrize(("name", "value"), [("_ROWS", 1), ("_LENGTH", 10)])
def test_a_journal_that_is_too_long_is_not_read(store, monkeypatch, name, value):
    flow_of([]).run(store=store)
    monkeypatch.setattr(module, name, value)
    assert expected(store, "measured", within=60.0) == {}
