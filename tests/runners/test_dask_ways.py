"""The ways to say where Dask is, what goes wrong with them, and what is left behind."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from penstock import Flow, each, gather
from penstock.core.errors import InputError
from penstock.runners.remote import RemotePool
from penstock.runners.remote import bundle as b
from penstock.wiring.runners import dask
from tests.runners import dask_steps as own
from tests.runners.dask_steps import descendants, until

ROOT = Path(__file__).parents[2]
LOCAL: dict[str, Any] = {
    "threads_per_worker": 1,
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",
    "silence_logs": 50,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, **LOCAL) as cluster:
        yield cluster


def flow_of_one() -> Flow:
    flow = Flow("one")
    flow.add(own.one, name="one")
    return flow


def address(cluster: LocalCluster) -> str:
    return str(cluster.scheduler_address).removeprefix("tcp://")


# Ways to say it


@pytest.mark.parametrize("way", ["address", "url", "cluster", "client", "pool"])
def test_the_ways_to_say_where_it_is(cluster, way):
    flow = flow_of_one()
    if way == "address":
        with dask(cluster.scheduler_address) as pool:
            assert flow.run(runner=pool, x=1).outputs == {"one": 2}
    elif way == "url":
        assert flow.run(runner=f"dask://{address(cluster)}", x=1).outputs == {"one": 2}
    elif way == "cluster":
        assert flow.run(runner=cluster, x=1).outputs == {"one": 2}
    elif way == "client":
        with Client(cluster, set_as_default=False) as client:
            assert flow.run(runner=client, x=1).outputs == {"one": 2}
            assert client.submit(own.one, 4).result() == 5, "it stays the caller's"
    else:
        with dask(cluster) as pool:
            for x in range(3):
                assert flow.run(runner=pool, x=x).outputs == {"one": x + 1}


def test_a_cluster_for_one_run():
    assert flow_of_one().run(runner="dask", x=1).outputs == {"one": 2}


def test_workers_that_are_threads_of_this_process():
    how = {name: value for name, value in LOCAL.items() if name != "host"}
    with LocalCluster(n_workers=1, processes=False, **how) as cluster:
        flow = Flow("away")
        flow.add(own.worker, name="worker")
        assert flow.run(runner=cluster).outputs == {"worker": os.getpid()}


def test_steps_at_dask_beside_steps_here(cluster):
    workers = {process.pid for nanny in cluster.workers.values() if (process := nanny.process)}
    with dask(cluster) as pool:
        flow = Flow("both")
        flow.add(own.worker, name="there")
        flow.add(own.worker, name="here", runner="threads")
        outputs = flow.run(runner=pool).outputs
    assert outputs["there"] in workers
    assert outputs["here"] == os.getppid()


def test_two_runs_at_a_time_on_one_pool(cluster):
    with dask(cluster) as pool:
        runs = [flow_of_one().start(runner=pool, x=x) for x in range(6)]
        assert [run.result(timeout=60).outputs["one"] for run in runs] == [1, 2, 3, 4, 5, 6]


FILE = """
import os
from penstock import Flow

flow = Flow("f")

@flow.step
def parent() -> int:
    return os.getppid()
"""


def test_the_command_line(cluster, tmp_path):
    workers = {process.pid for nanny in cluster.workers.values() if (process := nanny.process)}
    (tmp_path / "f.py").write_text(FILE)
    command = [
        sys.executable,
        "-m",
        "penstock",
        "run",
        "f.py",
        "--json",
        "--runner",
        f"dask://{address(cluster)}",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert any(str(pid) in done.stdout for pid in workers), done.stdout


# What goes wrong


def test_an_address_where_nobody_is(monkeypatch):
    monkeypatch.setattr("penstock.runners.remote.on_dask._CONNECT", 0.5)
    with pytest.raises(InputError, match=r"no scheduler of Dask answers at tcp://127.0.0.1:1 within 0.5 s"):
        flow_of_one().run(runner="dask://127.0.0.1:1", x=1)


def test_a_client_that_is_closed(cluster):
    client = Client(cluster, set_as_default=False)
    client.close()
    with pytest.raises(InputError, match="was given is closed"):
        flow_of_one().run(runner=client, x=1)


def test_the_extra_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "penstock.runners.remote.on_dask")
    with pytest.raises(InputError, match=r"pip install 'penstock\[dask\]'"):
        flow_of_one().run(runner="dask", x=1)


def _be_older(dask_worker: Any = None) -> None:
    b.version = lambda: b.Version("0.0.1", "cpython 3.9")


def test_x06_a_worker_with_another_version():
    with LocalCluster(n_workers=1, **LOCAL) as cluster, dask(cluster) as pool:
        flow_of_one().run(runner=pool, x=1)
        with Client(cluster, set_as_default=False) as client:
            client.run(_be_older)
        result = flow_of_one().run(runner=pool, x=1)
        failure = result.nodes["one"].failure
        assert failure is not None
        assert failure.kind == "lost_worker"
        assert "has Penstock 0.0.1 on cpython 3.9, and the driver has" in failure.text


# What is there, and what stays


def listening(pids: set[int]) -> set[str]:
    """The addresses on which these processes listen."""
    inodes = set()
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = os.readlink(fd)
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1].partition(":")[0])
    return found


def test_x13_nothing_but_loopback_and_no_pages():
    with dask(size=1) as pool:
        assert flow_of_one().run(runner=pool, x=1).outputs == {"one": 2}
        assert isinstance(pool, RemotePool)
        cluster: Any = pool.cluster
        pids = {os.getpid()} | descendants(os.getpid())
        assert listening(pids) <= {"0100007F", "0000000000000000FFFF00000100007F"}
        routes = cluster._own.scheduler.http_application.applications
        assert [route for route, _ in routes if "status" in str(route)] == []


def test_nothing_is_left_behind(cluster):
    workers = {process.pid for nanny in cluster.workers.values() if (process := nanny.process)}
    with Client(cluster, set_as_default=False) as client:
        with dask(client) as pool:
            flow = Flow("f")
            source: Any = flow.add(own.numbers, name="source")
            item: Any = flow.add(own.one, name="item", x=each(source))
            flow.add(own.total, name="total", xs=gather(item))
            assert flow.run(runner=pool, many=50).outputs == {"total": 1275}
        until(lambda: not cluster.scheduler.tasks, "there are tasks")
        assert not [one for one in cluster.scheduler._broker._topics if one.startswith("penstock")]
        assert not any(descendants(pid) for pid in workers)


# A driver that is gone, and files that no worker sees

DRIVER = """
import os, sys
from penstock import Flow
from tests.runners import dask_steps as own

class Pair:
    def __init__(self, left, right):
        self.left, self.right = left, right

flow = Flow("f")

@flow.step
def pair(x: int) -> Pair:
    return Pair(x, x + 1)

@flow.step
def swapped(pair: Pair) -> Pair:
    return Pair(pair.right, pair.left)

if __name__ == "__main__":
    from penstock.runners.remote import RemotePool
    from penstock.runners.remote.on_dask import DaskCluster

    with RemotePool(DaskCluster(sys.argv[1])) as pool:
        pool.cluster.sees = lambda files: False
        os.remove(__file__)
        made = flow.run(runner=pool, x=3).outputs["swapped"]
        print(type(made) is Pair, made.left, made.right)
"""

HELD = """
import sys
from penstock import Flow
from tests.runners import dask_steps as own

flow = Flow("f")
first = flow.add(own.one, name="first")
flow.add(own.held, name="held", after=[first])

if __name__ == "__main__":
    address, store, inside, release = sys.argv[1:]
    result = flow.run(runner=address, store=store, run_id="r", x=1, inside=inside, release=release)
    print(result.status.value, result.nodes["first"].source)
"""


def program(tmp_path: Path, text: str, *arguments: str) -> subprocess.Popen[str]:
    (tmp_path / "driver.py").write_text(text)
    return subprocess.Popen(
        [sys.executable, str(tmp_path / "driver.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_functions_travel_by_value_where_workers_do_not_see_the_file(cluster, tmp_path):
    out, errors = program(tmp_path, DRIVER, cluster.scheduler_address).communicate(timeout=60)
    assert out == "True 4 3\n", errors


def test_x05_a_driver_that_is_killed_and_another_that_goes_on(cluster, tmp_path):
    meeting = own.Meeting(tmp_path / "meeting")
    given = (
        f"dask://{address(cluster)}",
        f"sqlite:///{tmp_path}/runs.db",
        meeting.inside,
        meeting.release,
    )
    first = program(tmp_path, HELD, *given)
    child = meeting.wait()
    first.kill()
    first.communicate()
    until(lambda: not Path(f"/proc/{child}").exists(), "the step of the dead driver goes on")
    second = program(tmp_path, HELD, *given)
    meeting.wait()
    meeting.go()
    out, errors = second.communicate(timeout=60)
    assert out.startswith("succeeded"), errors


# What bundles ask of Dask


def test_each_bundle_asks_for_what_the_pool_says():
    flow = Flow("cards")
    source: Any = flow.add(own.numbers_at_once, name="source")
    flow.add(own.when, name="when", x=each(source))
    with (
        LocalCluster(**{**LOCAL, "threads_per_worker": 4}, n_workers=1, resources={"CARD": 1}) as cluster,
        dask(cluster, options={"resources": {"CARD": 1}}) as pool,
    ):
        spans = sorted(flow.run(runner=pool, many=6).outputs["when"])
    assert len(spans) == 6
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
