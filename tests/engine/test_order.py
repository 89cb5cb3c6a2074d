"""Which step goes first: by what earlier runs in the store have told of their durations."""

from __future__ import annotations

from typing import Any

import pytest

from penstock import Flow, RunOptions, each
from penstock.core import expected as history
from penstock.core.errors import StoreError
from penstock.core.expected import durations
from penstock.core.storage import Store
from penstock.stores.memory import MemoryStore
from penstock.testing import FakeClock, run
from tests.resume.mortal import Killed, MortalStore

ONE = RunOptions(max_concurrency=1)


class Work:
    """Steps that take as long as is said on a clock of their own, and note when they begin.

    Attributes:
        seconds: By step; those of the items of a map by their number.
        order: What has begun since it was last asked.
    """

    def __init__(self, **seconds: float) -> None:
        self.clock: FakeClock | None = None
        self.seconds = seconds
        self._order: list[str] = []

    @property
    def order(self) -> list[str]:
        found, self._order = self._order, []
        return found

    async def __call__(self, name: str, n: int = 0) -> None:
        self._order.append(name)
        if self.clock is not None:
            await self.clock.asleep(self.seconds[name] * (n or 1))

    def learn(self, flow: Flow, store: Store) -> None:
        """Runs the flow once, and forgets in what order."""
        self.clock = FakeClock()
        run(flow, clock=self.clock, store=store, options=ONE)
        self.clock = None
        self._order = []


def short_and_long(work: Work) -> Flow:
    """By the number of steps `short` goes first; by their durations it may be `long`."""
    flow = Flow("order")
    short = flow.add(work, name="short", bind={"name": "short"})
    flow.add(work, name="below", bind={"name": "below"}, after=[short])
    flow.add(work, name="long", bind={"name": "long"})
    return flow


@pytest.fixture
def worthwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any run may look back, however short the runs were."""
    monkeypatch.setattr(history, "_SHARE", 1e9)
    monkeypatch.setattr(history, "_LONGEST", 60.0)


@pytest.mark.usefixtures("worthwhile")
def test_a_run_starts_first_what_took_long_in_earlier_ones():
    work, store = Work(short=1.0, below=1.0, long=5.0), MemoryStore()
    flow = short_and_long(work)
    flow.run(store=store, options=ONE)
    assert work.order == ["short", "below", "long"], "nothing is known yet"
    store = MemoryStore()
    work.learn(flow, store)
    flow.run(store=store, options=ONE)
    assert work.order == ["long", "short", "below"]
    flow.run(options=ONE)
    assert work.order == ["short", "below", "long"], "a run that is kept nowhere knows nothing"
    run(flow, store=store, options=ONE)
    assert work.order == ["short", "below", "long"], "on a fake clock a run goes the same way each time"


@pytest.mark.usefixtures("worthwhile")
def test_a_step_that_is_new_is_taken_to_last_as_long_as_others_do():
    work, store = Work(short=1.0, below=1.0, long=1.5), MemoryStore()
    work.learn(short_and_long(work), store)
    flow = short_and_long(work)
    flow.add(work, name="new", bind={"name": "new"})
    new = flow.add(work, name="newer", bind={"name": "newer"})
    flow.add(work, name="newest", bind={"name": "newest"}, after=[new])
    flow.run(store=store, options=ONE)
    assert work.order == ["short", "newer", "long", "below", "new", "newest"]


@pytest.mark.usefixtures("worthwhile")
def test_a_run_goes_on_in_whatever_order_is_known_then():
    work, store = Work(short=1.0, below=1.0, long=5.0), MortalStore()
    flow = short_and_long(work)
    store.die_when('["ok","short"')
    with pytest.raises(Killed):
        flow.run(store=store, run_id="r", options=ONE)
    store.bury()
    assert work.order == ["short"]
    work.learn(flow, store)
    assert flow.run(store=store, run_id="r", options=ONE).status.value == "succeeded"
    assert work.order == ["long", "below"], "and what was done is not done again"


@pytest.mark.usefixtures("worthwhile")
def test_of_a_map_the_median_of_its_items_counts():
    work, store = Work(item=1.0, other=2.5), MemoryStore()
    flow = Flow("map")

    @flow.step
    def numbers() -> list[int]:
        return [1, 2, 9]

    @flow.step
    async def item(n: int = each(numbers)) -> None:
        await work("item", n)

    flow.add(work, name="other", bind={"name": "other"}, after=[numbers])
    work.learn(flow, store)
    found = durations(store, "map", 3)
    assert (found["item"], found["other"]) == (2.0, 2.5)


@pytest.mark.usefixtures("worthwhile")
def test_the_median_of_the_last_few_runs_that_succeeded():
    store = MemoryStore()
    for seconds in (90.0, 91.0, 7.0, 1.0, 2.0, 8.0, 3.0):
        work = Work(short=seconds, below=1.0, long=1.0)
        work.learn(short_and_long(work), store)
    assert durations(store, "order", 3) == {"short": 3.0, "below": 1.0, "long": 1.0}
    assert durations(store, "another", 3) == {}


@pytest.mark.usefixtures("worthwhile")
def test_a_value_that_was_given_says_nothing_of_how_long_a_step_takes():
    work, store = Work(short=1.0, below=1.0, long=5.0), MemoryStore()
    flow = short_and_long(work)
    clock = work.clock = FakeClock()
    run(flow, clock=clock, store=store, override={"long": None})
    assert durations(store, "order", 3) == {"short": 1.0, "below": 1.0}


def test_nobody_looks_back_at_runs_that_were_over_at_once(monkeypatch: pytest.MonkeyPatch):
    work, store = Work(short=1.0, below=1.0, long=5.0), MemoryStore()
    work.learn(short_and_long(work), store)
    monkeypatch.setattr(history, "_SHARE", 0.0)
    monkeypatch.setattr(store, "rows", lambda *_: pytest.fail("the journal is not worth reading"))
    assert durations(store, "order", 3) == {}


@pytest.mark.usefixtures("worthwhile")
def test_it_stops_looking_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(history, "_LONGEST", 2.5)
    work, store = Work(short=1.0, below=1.0, long=5.0), MemoryStore()
    for _ in range(3):
        work.learn(short_and_long(work), store)
    ticks = iter(range(1_000))
    assert durations(store, "order", 3, clock=lambda: float(next(ticks))) == {}


@pytest.mark.usefixtures("worthwhile")
def test_a_chain_has_no_choice_and_looks_nowhere(monkeypatch: pytest.MonkeyPatch):
    flow, store = Flow("chain"), MemoryStore()
    work = Work(a=1.0, b=1.0)
    flow.add(work, name="b", bind={"name": "b"}, after=[flow.add(work, name="a", bind={"name": "a"})])
    monkeypatch.setattr(store, "runs", lambda **_: pytest.fail("there is nothing to choose"))
    assert flow.run(store=store).status.value == "succeeded"


@pytest.mark.usefixtures("worthwhile")
def test_a_past_that_cannot_be_read_stops_no_run(monkeypatch: pytest.MonkeyPatch):
    work, store = Work(short=1.0, below=1.0, long=5.0), MemoryStore()
    flow = short_and_long(work)
    work.learn(flow, store)

    def damaged(*_: Any) -> Any:
        raise StoreError("a row is not what was written")

    monkeypatch.setattr(store, "rows", damaged)
    assert flow.run(store=store, options=ONE).status.value == "succeeded"
    assert work.order == ["short", "below", "long"]
