"""The runner that makes its attempts in the processes of any executor, and what it owes to that executor."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import AuthenticationError, get_context
from multiprocessing.connection import Client, Connection, deliver_challenge
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, cast

import pytest

from penstock import Flow, Timeout, each, param
from penstock.core import commands as c
from penstock.core.errors import GraphError, InputError
from penstock.core.events import Logged, Progressed
from penstock.core.model import NodeStatus, RunOptions, RunStatus
from penstock.core.ports import Pool, Work
from penstock.runners.remote import RemotePool
from penstock.runners.remote.bundle import version
from penstock.runners.remote.on_executor import ExecutorCluster, serve
from penstock.testing.stream_contract import StreamContract
from penstock.testing.stream_steps import count_to
from penstock.wiring.runners import executor
from tests.runners import process_steps as own
from tests.runners import steps
from tests.runners.contract import PATIENCE, Rig, RunnerContract
from tests.runners.test_processes import Meeting, _no_program_stays, alive, gone, meet, said, script

__all__ = ["_no_program_stays", "meet"]


def until(done: Callable[[], bool]) -> None:
    """Waits for something that is about to come."""
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end
        time.sleep(0.005)


class ExecutorRig(Rig):
    """Hands out more than the runner says that it takes, and so does again what is given back unasked."""

    def __init__(self, pool: RemotePool, **options: Any) -> None:
        super().__init__(pool.for_run(RunOptions(**options)))
        self.pool = pool
        self._bell: SimpleQueue[None] = SimpleQueue()
        self.mailbox.bell = lambda: self._bell.put(None)
        self._works: dict[int, Work] = {}
        self._stopped: set[int] = set()
        submit = self.runner.submit

        def keep(work: Work) -> None:
            self._works[work[0]] = work
            submit(work)

        self.runner.submit = keep  # type: ignore[misc]

    def stop(self, node: int, *, timeout: bool = False) -> None:
        self._stopped.add(node)
        super().stop(node, timeout=timeout)

    def take(self) -> None:
        while self.mailbox.replies:
            reply = self.mailbox.replies.popleft()
            if reply[0] == c.ENDED and reply[3] == c.RETURNED and reply[1] not in self._stopped:
                self.runner.submit(self._works[reply[1]])
            else:
                self.replies.append(reply)

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
def lent() -> Iterator[ProcessPoolExecutor]:
    """An executor for tests that do it no harm."""
    with ProcessPoolExecutor(2, get_context("spawn")) as executor:
        yield executor


@pytest.fixture(scope="module")
def pool(lent: ProcessPoolExecutor) -> Iterator[RemotePool]:
    with executor(lent) as pool:
        assert isinstance(pool, RemotePool)
        yield pool


class TestExecutor(StreamContract, RunnerContract):
    same_objects = False
    parks_streams = True

    @pytest.fixture(autouse=True)
    def _pool(self, pool: RemotePool, tmp_path: Path) -> None:
        self.pool = pool
        self.folder = tmp_path

    def make(self) -> ExecutorRig:
        return ExecutorRig(self.pool, context_vars=(f"{steps.add.__module__}:MARK",))

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


# Lent to a run


def flow_of(call: Callable[..., Any], **how: Any) -> Flow:
    flow = Flow("one")
    flow.add(call, name="step", **how)
    return flow


def in_worker(lent: ProcessPoolExecutor) -> tuple[int, int, list[str]]:
    """A worker, its descriptors, and its threads."""
    return lent.submit(own.what_is_there).result(PATIENCE)


def test_a_run_takes_an_executor_as_it_is_and_leaves_it_as_it_was():
    """Neither a child, nor a connection, nor a thread of ours stays in its workers, or here."""
    threads = set(threading.enumerate())
    with ProcessPoolExecutor(1, get_context("spawn")) as lent:
        before = in_worker(lent)
        for _ in range(2):
            child = flow_of(own.pid).run(runner=cast(Any, lent))["step"]
            assert child not in (os.getpid(), before[0])
            assert gone(child)
        until(lambda: in_worker(lent) == before)
    until(lambda: set(threading.enumerate()) <= threads)


def test_steps_name_an_executor_that_the_run_is_lent(lent):
    flow = Flow("two")
    flow.add(own.pid, name="there", runner="executor")
    flow.add(own.pid, name="here", runner="threads")
    result = flow.run(runner=executor(lent))
    assert result["there"] != result["here"] == os.getpid()


def test_without_one_it_is_said_how_to_lend_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    for runner, flow in (("executor", flow_of(own.pid)), (None, flow_of(own.pid, runner="executor"))):
        with pytest.raises(InputError, match=r"flow\.run\(runner=penstock\.executor\(ProcessPoolExecutor"):
            flow.run(runner=runner)
    with pytest.raises(GraphError, match="cannot travel"):
        flow_of(own.made_inside(), runner="executor").graph()


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_sizes_that_make_no_sense_are_refused(lent, size):
    with pytest.raises(InputError, match="size is an int of at least 1"):
        executor(lent, size=size)


class Here(Executor):
    """Makes its calls at once, in the thread that asks for them."""

    def __init__(self, *, raises: bool = False) -> None:
        self.raises = raises

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*args, **kwargs))
        except BaseException as error:
            if self.raises:
                raise
            future.set_exception(error)
        return future


def test_an_executor_that_does_not_say_its_size_is_asked_for_it():
    for lend in (executor, lambda here: flow_of(own.pid).run(runner=here)):
        with pytest.raises(
            InputError, match=r"how many calls Here makes .* penstock\.executor\(\.\.\., size=N"
        ):
            lend(Here())


@pytest.mark.parametrize("raises", [False, True])
def test_an_executor_that_makes_its_calls_at_once_neither_blocks_nor_is_blocked(raises, meet):
    flow = Flow("here")
    numbers = flow.add(own.numbers, name="numbers")
    flow.add(steps.add, name="sums", x=each(numbers), y=1)
    flow.add(own.hang_in_c, name="hangs", timeout=0.3, optional=True)
    meeting = meet()
    with executor(Here(raises=raises), size=3) as pool:
        run = flow.start(runner=pool, many=200, inside=meeting.inside)
        child = meeting.wait()
        result = run.result(PATIENCE)
        assert result.items("sums") == [i + 1 for i in range(200)]
        assert kind_of(result, "hangs") == "timeout"
        assert not alive(child)


class Refuses(Here):
    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        raise OSError("no more calls today")


def kind_of(result: Any, step: str = "step") -> str:
    failure = result.nodes[step].failure
    return "" if failure is None else failure.kind


def why(result: Any, step: str = "step") -> str:
    assert kind_of(result, step) == "lost_worker"
    text: str = result.nodes[step].failure.text
    return text


def test_an_executor_that_takes_no_work_fails_what_it_does_not_take():
    with executor(Refuses(), size=1) as pool:
        assert "no more calls today" in why(flow_of(own.pid).run(runner=pool))


def test_an_executor_that_was_shut_down_before():
    lent = ProcessPoolExecutor(1, get_context("spawn"))
    lent.shutdown()
    with executor(lent) as pool:
        assert "shutdown" in why(flow_of(own.pid).run(runner=pool))


def test_an_executor_that_is_shut_down_amid_a_run(meet):
    """What it has begun ends well; what comes after that is lost, in words."""
    meeting = meet()
    flow = Flow("two")
    first = flow.add(own.hold, name="first")
    flow.add(own.pid, name="step", after=[first])
    lent = ProcessPoolExecutor(1, get_context("spawn"))
    with executor(lent) as pool:
        run = flow.start(runner=pool, inside=meeting.inside, release=meeting.release, result="fine")
        meeting.wait()
        lent.shutdown(wait=False, cancel_futures=True)
        meeting.go()
        result = run.result(PATIENCE)
    assert result["first"] == "fine"
    assert "shutdown" in why(result)
    lent.shutdown()


# Its workers


@pytest.mark.parametrize("timeout", [0.3, None])
def test_s14_a_step_that_hangs_is_killed_and_the_worker_of_the_executor_is_not(lent, meet, timeout):
    workers, meeting = set(lent._processes), meet()
    with executor(lent) as pool:
        flow = flow_of(own.hang_in_c, timeout=timeout)
        run = flow.start(runner=pool, options=RunOptions(grace=0.05), inside=meeting.inside)
        child = meeting.wait()
        if timeout is None:
            run.cancel("enough")
        result = run.result(PATIENCE)
        assert result.nodes["step"].status is (NodeStatus.FAILED if timeout else NodeStatus.CANCELLED)
        assert result.abandoned == ()
        assert gone(child)
        assert flow_of(own.pid).run(runner=pool)["step"] != child
    assert set(lent._processes) == workers


def test_x01_a_step_that_kills_its_process_harms_no_worker_of_the_executor(lent):
    workers = set(lent._processes)
    with executor(lent) as pool:
        assert "SIGSEGV" in why(flow_of(own.crash).run(runner=pool))
        assert flow_of(steps.add).run(runner=pool, x=1, y=2)["step"] == 3
    assert set(lent._processes) == workers


def test_x01_a_worker_of_the_executor_that_is_killed_breaks_it_and_that_is_said(meet):
    meeting, other = meet(), meet()
    flow = Flow("two")
    flow.add(own.hold, name="step", inside=meeting.inside, release=meeting.release, optional=True)
    flow.add(own.hold, name="other", inside=other.inside, release=other.release, optional=True)
    with ProcessPoolExecutor(2, get_context("spawn")) as lent, executor(lent) as pool:
        run = flow.start(runner=pool, result=None)
        children = [meeting.wait(), other.wait()]
        os.kill(next(iter(lent._processes)), signal.SIGKILL)
        result = run.result(PATIENCE)
        assert "the executor is broken" in why(result)
        assert gone(*children)
        assert "the executor is broken" in why(flow_of(own.pid).run(runner=pool))


def test_x01_a_stream_that_waits_as_its_worker_is_killed_is_not_waited_for():
    flow = Flow("stream")
    numbers = flow.add(count_to, name="step", many=10_000, optional=True)
    flow.add(own.kill_workers_of, name="kill", number=each(numbers), runner="threads", optional=True)
    lent = ProcessPoolExecutor(1, get_context("spawn"))
    own.LENT.append(lent)
    try:
        with executor(lent) as pool:
            result = flow.run(runner=pool)
            assert kind_of(result) == "lost_worker"
    finally:
        own.LENT.clear()
        lent.shutdown()


def test_x01_a_run_goes_on_with_another_executor_and_repeats_nothing(meet, tmp_path):
    log, store, meeting = tmp_path / "log", tmp_path / "runs.db", meet()
    flow = Flow("durable")
    noted = flow.add(own.note, name="noted", item=each(param("items", list[int])), log=str(log))
    held = flow.add(own.hold, name="held", inside=meeting.inside, release=meeting.release, after=[noted])
    flow.add(own.note, name="last", log=str(log), item=99, after=[held])
    with ProcessPoolExecutor(2, get_context("spawn")) as lent:
        run = flow.start(runner=executor(lent), store=store, run_id="r", items=[1, 2, 3], result=None)
        meeting.wait()
        for pid in list(lent._processes):
            os.kill(pid, signal.SIGKILL)
        assert run.result(PATIENCE).status is RunStatus.FAILED
    with ProcessPoolExecutor(2, get_context("spawn")) as lent:
        run = flow.start(runner=executor(lent), store=store, run_id="r")
        meeting.wait()
        meeting.go()
        assert run.result(PATIENCE).status is RunStatus.SUCCEEDED
    assert sorted(map(int, log.read_text().split())) == [1, 2, 3, 99]


def test_s22_workers_that_are_forked_while_a_run_goes_on(meet):
    """They find the driver's connections in their memory, and must not use them or keep them open."""
    meeting = meet()
    with ProcessPoolExecutor(1, get_context("spawn")) as first, executor(Here(), size=1) as here:
        assert flow_of(own.pid).run(runner=here)["step"] != os.getpid()
        with executor(first) as pool:
            run = flow_of(own.hold).start(
                runner=pool, inside=meeting.inside, release=meeting.release, result=1
            )
            meeting.wait()
            with ProcessPoolExecutor(2, get_context("fork")) as second, executor(second) as forked:
                flow = Flow("map")
                flow.add(steps.add, name="sums", x=each(param("items", list[int])), y=1)
                assert flow.run(runner=forked, items=list(range(100))).items("sums") == list(range(1, 101))
                meeting.go()
                assert run.result(PATIENCE)["step"] == 1
                pool.close()
                assert_closed(pool)


def test_two_runs_on_one_executor(lent, meet):
    meetings = [meet(), meet()]
    with executor(lent) as pool:
        runs = [
            flow_of(own.hold).start(runner=runner, inside=one.inside, release=one.release, result=i)
            for i, (one, runner) in enumerate(zip(meetings, (pool, lent), strict=True))
        ]
        for one in meetings:
            one.wait()
        for one in reversed(meetings):
            one.go()
        assert [run.result(PATIENCE)["step"] for run in runs] == [0, 1]


# What is said


def test_what_a_step_says_there_is_heard_here(lent, tmp_path, capfd):
    heard: list[Any] = []
    flow = Flow("speaks")
    flow.add(own.say_much, name="says")
    options = RunOptions(observers=(heard.append,))
    flow.run(runner=executor(lent), options=options)
    assert [(event.done, event.total) for event in heard if isinstance(event, Progressed)] == [(1, 2)]
    assert any(isinstance(event, Logged) for event in heard)


def test_s24_variables_that_are_named_travel(lent):
    token = own.SEEN.set("here")
    try:
        options = RunOptions(context_vars=(f"{own.__name__}:SEEN",))
        assert flow_of(own.read_seen).run(runner=executor(lent), options=options)["step"] == "here"
    finally:
        own.SEEN.reset(token)


def test_a_step_that_shows_no_sign_of_life_is_ended_and_one_that_does_is_not(lent, meet):
    meeting = meet()
    flow = Flow("lively")
    flow.add(own.beat_for, name="lively", timeout=Timeout(idle=1.5), beats=10)
    flow.add(own.be_silent, name="silent", timeout=Timeout(idle=0.3), optional=True)
    run = flow.start(runner=executor(lent), inside=meeting.inside)
    child = meeting.wait()
    result = run.result(PATIENCE)
    assert result["lively"] == 10
    assert kind_of(result, "silent") == "timeout"
    assert gone(child)


@pytest.mark.parametrize("size", [0, 65_536, 5_000_000])
def test_values_of_any_size(pool, size):
    rig = ExecutorRig(pool)
    rig.open()
    value = os.urandom(size)
    assert rig.run(steps.same, value=[value, "end"]) == (c.OK, [value, "end"])
    result, array = rig.run(own.twice, array=own.Array(value))
    assert result == c.OK
    assert bytes(array.data) == value * 2
    rig.close()


# The door


def cluster_of(pool: Pool) -> ExecutorCluster:
    assert isinstance(pool, RemotePool)
    assert isinstance(pool.cluster, ExecutorCluster)
    return pool.cluster


def opened(pool: Pool) -> tuple[str, int]:
    """Where a pool listens."""
    cluster = cluster_of(pool)
    assert isinstance(pool, RemotePool)
    pool.begin()
    host, port = cluster._address
    return host, port


def assert_closed(pool: Pool) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(cluster_of(pool)._address, timeout=PATIENCE)


def test_the_door_is_this_machines_own_and_closes_with_the_pool(lent):
    with executor(lent) as pool:
        flow_of(own.pid).run(runner=pool)
        host, port = opened(pool)
        assert host == "127.0.0.1"
        socket.create_connection((host, port)).close()
    assert_closed(pool)


def test_strangers_are_refused_and_keep_nobody_from_coming_in(monkeypatch):
    """One says nothing, one does not know the key, one talks nonsense, and one leaves at once."""
    with ProcessPoolExecutor(1, get_context("spawn")) as lent, executor(lent) as pool, ExitStack() as stack:
        address = opened(pool)
        for _ in range(150):
            stack.enter_context(socket.create_connection(address))
        nonsense = stack.enter_context(socket.create_connection(address))
        nonsense.sendall(b"\0\0\0\5hello" * 10)
        with pytest.raises(AuthenticationError):
            Client(address, authkey=b"another key").close()
        socket.create_connection(address).close()
        assert flow_of(own.numbers).run(runner=pool, many=3)["step"] == [0, 1, 2]
        assert list(cluster_of(pool)._links) == [f"process {pid}" for pid in lent._processes]


def test_a_stranger_that_says_nothing_is_sent_away(monkeypatch, lent):
    monkeypatch.setattr("penstock.runners.remote.on_executor._HANDSHAKE", 1)
    with executor(lent) as pool, socket.create_connection(opened(pool), timeout=PATIENCE) as silent:
        while silent.recv(1 << 10):
            pass


def test_a_worker_that_meets_somebody_who_does_not_know_the_key_tells_them_nothing(lent):
    """Not a byte of a bundle goes over a connection whose other end has not proved that it is the driver."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        door = (server.getsockname(), b"key", 1, 0, 1)
        future = lent.submit(serve, "desk", tuple(version()), 1, b"bundle", door)
        end, _ = server.accept()
        with end, Connection(os.dup(end.fileno())) as other:
            deliver = threading.Thread(target=_challenge, args=(other,))
            deliver.start()
            deliver.join(PATIENCE)
        with pytest.raises((AuthenticationError, EOFError, OSError)):
            future.result(PATIENCE)


def _challenge(other: Any) -> None:
    with pytest.raises((AuthenticationError, EOFError, OSError)):
        deliver_challenge(other, b"another key")


def test_a_program_without_a_guard_is_told_so(tmp_path):
    program = """
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context
        from penstock import Flow, executor

        flow = Flow("main")

        @flow.step
        def move(x: int) -> int:
            return x + 1

        with ProcessPoolExecutor(1, get_context("spawn")) as lent:
            result = flow.run(runner=lent, x=1)
            print(result.nodes["move"].failure.text)
    """
    process = script(tmp_path, program)
    out, errors = process.communicate(timeout=PATIENCE)
    assert 'if __name__ == "__main__":' in out, errors


def test_a_function_of_the_main_module_is_found(tmp_path):
    program = """
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context
        from penstock import Flow

        flow = Flow("main")

        @flow.step
        def move(x: int) -> int:
            return x + 1

        if __name__ == "__main__":
            with ProcessPoolExecutor(1, get_context("spawn")) as lent:
                print(flow.run(runner=lent, x=1)["move"])
    """
    assert said(script(tmp_path, program)) == "2\n"
