"""The runner that makes its attempts at the workers of Dask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from penstock import Flow, Quorum, RetryPolicy, RunOptions, Timeout, each, gather, use
from penstock.core.events import Logged, Progressed
from penstock.core.model import RunStatus
from penstock.runners.remote import RemotePool, RemoteRunner
from penstock.runners.remote.on_dask import DaskCluster
from penstock.testing.stream_contract import StreamContract
from tests.runners import dask_steps as own_here
from tests.runners import process_steps as own
from tests.runners import steps
from tests.runners.contract import PATIENCE, Rig, RunnerContract
from tests.runners.dask_steps import Meeting, until


class DaskRig(Rig):
    runner: RemoteRunner

    def __init__(self, pool: RemotePool, **options: Any) -> None:
        super().__init__(pool.for_run(RunOptions(**options)))
        self.pool = pool
        self._bell: SimpleQueue[None] = SimpleQueue()
        self.mailbox.bell = lambda: self._bell.put(None)

    def open(self) -> None:
        super().open()
        self.pool.desk.part(self.runner)  # nobody here heeds what room there is

    def until(self, done: Callable[[], bool]) -> None:
        while True:
            self.mailbox.sleeping = True
            if done():
                return
            try:
                self._bell.get(timeout=PATIENCE)
            except Empty:
                pytest.fail("nothing came")


@pytest.fixture(scope="module")
def pool() -> Iterator[RemotePool]:
    with RemotePool(DaskCluster(size=2)) as pool:
        yield pool


class TestDask(StreamContract, RunnerContract):
    same_objects = False
    parks_streams = True

    @pytest.fixture(autouse=True)
    def _pool(self, pool: RemotePool, tmp_path: Path) -> None:
        self.pool = pool
        self.folder = tmp_path

    def make(self) -> DaskRig:
        return DaskRig(self.pool, context_vars=(f"{steps.add.__module__}:MARK",))

    def park(self, rig: Rig) -> Callable[[], None]:
        meetings = [Meeting(self.folder / f"park-{i}") for i in range(2)]
        for one in meetings:
            rig.submit(own.hold, inside=one.inside, release=one.release)
        for one in meetings:
            one.wait()

        def release() -> None:
            for one in meetings:
                one.go()

        return release


# Flows


def test_what_steps_say_comes_back(pool):
    seen: list[Any] = []
    flow = Flow("says")
    flow.add(own_here.talk, name="talk")
    result = flow.run(runner=pool, options=RunOptions(observers=[seen.append], capture=True))
    assert result.outputs == {"talk": "says"}
    assert [(one.message, one.origin) for one in seen if type(one) is Logged] == [
        ("logged", ""),
        ("printed", "stdout"),
    ]
    assert [(one.done, one.total) for one in seen if type(one) is Progressed] == [(1, 2)]


def test_p09_a_timeout_ends_the_step_and_nothing_else(pool):
    flow = Flow("slow")
    flow.add(own_here.hang, name="hang", timeout=0.5, optional=True)
    flow.add(own_here.hang_silently, name="silent", timeout=Timeout(idle=0.5), optional=True)
    flow.add(own_here.one, name="one")
    result = flow.run(runner=pool, x=1)
    assert result.outputs["one"] == 2
    for name in ("hang", "silent"):
        failure = result.nodes[name].failure
        assert failure is not None
        assert failure.kind == "timeout"


def test_failures_come_back_with_type_text_and_trace(pool):
    flow = Flow("fails")
    flow.add(own_here.fail, name="fail")
    failure = flow.run(runner=pool).nodes["fail"].failure
    assert failure is not None
    assert (failure.type, failure.text) == ("KeyError", "'no such thing'")
    assert "in fail" in failure.trace


def test_a_map_of_many_tiny_items_some_of_which_are_tried_again(pool):
    flow = Flow("map")
    source: Any = flow.add(own_here.numbers_at_once, name="source")
    item: Any = flow.add(
        own_here.first_fails,
        name="item",
        x=each(source),
        retry=RetryPolicy(max_attempts=2, initial_delay=0.0, jitter="none"),
    )
    flow.add(own_here.total, name="total", xs=gather(item))
    result = flow.run(runner=pool, many=2000)
    assert result.outputs == {"total": sum(range(2000))}


def test_items_of_a_chunk_have_each_their_own_time(pool):
    flow = Flow("map")
    source: Any = flow.add(own_here.numbers_at_once, name="source")
    item: Any = flow.add(own_here.some_hang, name="item", x=each(source), timeout=1.0)
    flow.add(own_here.total, name="total", xs=gather(item, failures=Quorum(298)))
    result = flow.run(runner=pool, many=300)
    assert result.outputs == {"total": sum(range(300)) - 100 - 200}


@pytest.mark.parametrize("kept", [False, True])
def test_large_values(pool, kept, tmp_path):
    """With a store, they come to the driver; without one they stay at Dask."""
    flow = Flow("large")
    large: Any = flow.add(own_here.large, name="large")
    again: Any = flow.add(own_here.again, name="again", value=use(large))
    flow.add(own_here.size_of, name="length", value=use(again))
    store = f"sqlite:///{tmp_path}/runs.db" if kept else None
    size = 10_000_000 if kept else 50_000_000
    assert flow.run(runner=pool, store=store, size=size).outputs == {"length": size}


def test_large_arguments(pool):
    flow = Flow("large")
    flow.add(own_here.size_of, name="size")
    assert flow.run(runner=pool, value=bytes(50_000_000)).outputs == {"size": 50_000_000}


def test_a_run_is_cancelled(pool, tmp_path):
    meeting = Meeting(tmp_path / "meeting")
    flow = Flow("held")
    flow.add(own_here.held, name="held")
    given: dict[str, Any] = meeting.given
    run = flow.start(runner=pool, options=RunOptions(grace=0.5), **given)
    child = meeting.wait()
    run.cancel()
    assert run.result(timeout=PATIENCE * 2).status is RunStatus.CANCELLED
    until(lambda: not Path(f"/proc/{child}").exists(), "the step goes on")


def test_a_stream_is_not_ahead_of_those_who_take_it(pool):
    flow = Flow("stream")
    source: Any = flow.add(own_here.numbers, name="source")
    item: Any = flow.add(own_here.one, name="item", x=each(source))
    flow.add(own_here.total, name="total", xs=gather(item))
    assert flow.run(runner=pool, many=300).outputs == {"total": sum(range(1, 301))}
