"""Life and death at Dask: workers, schedulers and clients that go, and those that come."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster, Status

from penstock import Flow, FlowResult
from penstock.runners.remote import RemotePool
from penstock.wiring.runners import dask
from tests.runners import dask_steps as own
from tests.runners.dask_steps import Meeting, until

PATIENCE = 60.0


@pytest.fixture
def meet(tmp_path: Path) -> Callable[[], Meeting]:
    meetings: list[Meeting] = []

    def make() -> Meeting:
        meetings.append(Meeting(tmp_path / f"meeting-{len(meetings)}"))
        return meetings[-1]

    return make


def local(workers: int = 2, **how: Any) -> LocalCluster:
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
        **how,
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """One whose workers may be killed: they come again."""
    with local() as cluster:
        yield cluster


def held(name: str = "held") -> Flow:
    flow = Flow("holding")
    flow.add(own.held, name=name)
    return flow


def why(result: FlowResult) -> str:
    """Why the step that was held has failed."""
    failure = result.nodes["held"].failure
    assert failure is not None
    assert failure.kind == "lost_worker"
    return failure.text


def test_x01_a_worker_that_is_killed_within_a_step(cluster, meet):
    meeting = meet()
    with dask(cluster) as pool:
        run = held().start(runner=pool, **meeting.given)
        child = meeting.wait()
        os.kill(own.parent(child), signal.SIGKILL)
        again = meeting.wait()
        assert again != child
        meeting.go()
        result = run.result(timeout=PATIENCE)
    assert result.outputs == {"held": again}
    node = result.nodes["held"]
    assert node.attempts == 1


def steady(cluster: LocalCluster) -> bool:
    """Whether all workers run, and their nannies know it."""
    nannies = cluster.workers.values()
    known = all(one.process is not None and one.process.status is Status.running for one in nannies)
    return known and len(cluster.scheduler_info["workers"]) == len(nannies)


def test_x01_a_step_at_which_worker_after_worker_dies(meet):
    meeting = meet()
    flow = Flow("deadly")
    flow.add(own.held, name="deadly", optional=True)
    flow.add(own.one, name="other")
    with local() as cluster, dask(cluster) as pool:
        run = flow.start(runner=pool, x=1, **meeting.given)
        for _ in range(4):
            child = meeting.wait()
            until(lambda: steady(cluster), "the workers do not come again")
            os.kill(own.parent(child), signal.SIGKILL)
        result = run.result(timeout=PATIENCE)
        failure = result.nodes["deadly"].failure
        assert failure is not None
        assert failure.kind == "lost_worker"
        assert "died; so did 3 before it" in failure.text
        assert result.outputs["other"] == 2
        assert flow_of_one().run(runner=pool, x=1).outputs == {"one": 2}


def flow_of_one() -> Flow:
    flow = Flow("one")
    flow.add(own.one, name="one")
    return flow


def test_x01_a_step_that_breaks_its_process_harms_no_worker(cluster):
    flow = Flow("broken")
    first = flow.add(own.worker, name="first")
    broken: Any = flow.add(own.kill_self, name="broken", optional=True, after=[first])
    flow.add(own.worker, name="last", after=[broken])
    with dask(cluster) as pool:
        before = set(cluster.scheduler_info["workers"])
        result = flow.run(runner=pool)
        failure = result.nodes["broken"].failure
        assert failure is not None
        assert "SIGSEGV" in failure.text
        assert set(cluster.scheduler_info["workers"]) == before


def test_x05_a_client_that_is_closed(cluster, meet):
    meeting = meet()
    client = Client(cluster, set_as_default=False)
    with dask(client) as pool:
        run = held().start(runner=pool, **meeting.given)
        meeting.wait()
        client.close()
        assert "closed" in why(run.result(timeout=PATIENCE))


def test_x04_a_client_that_restarts_the_workers(cluster, meet):
    meeting = meet()
    with Client(cluster, set_as_default=False) as client, dask(client) as pool:
        run = held().start(runner=pool, **meeting.given)
        child = meeting.wait()
        client.restart()
        again = meeting.wait()
        assert again != child
        meeting.go()
        assert run.result(timeout=PATIENCE).outputs == {"held": again}


def test_x05_a_scheduler_that_closes(meet):
    meeting = meet()
    with local() as cluster, dask(cluster) as pool:
        run = held().start(runner=pool, **meeting.given)
        meeting.wait()
        cluster.close()
        assert "closed" in why(run.result(timeout=PATIENCE))


def test_x12_no_workers_and_then_some(monkeypatch):
    with local(0) as cluster, dask(cluster) as pool:
        assert isinstance(pool, RemotePool)
        said, warn = threading.Event(), pool.desk.warn

        def heard(text: str) -> None:
            warn(text)
            said.set()

        monkeypatch.setattr(pool.desk, "warn", heard)
        run = flow_of_one().start(runner=pool, x=1)
        assert said.wait(PATIENCE)
        cluster.scale(1)
        result = run.result(timeout=PATIENCE)
        assert result.outputs == {"one": 2}
        assert any("no workers" in one for one in result.warnings)
