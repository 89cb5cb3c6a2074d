"""The runner that makes its attempts at the workers of Ray."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from penstock import Flow
from penstock.core import commands as c
from penstock.core.errors import InputError
from penstock.core.events import Logged
from penstock.core.model import RunOptions, RunStatus
from penstock.runners.remote import RemotePool, RemoteRunner
from penstock.runners.remote import bundle as b
from penstock.testing.stream_contract import StreamContract
from penstock.wiring import runners
from tests.runners import process_steps as own
from tests.runners import ray_steps as remote
from tests.runners import steps
from tests.runners.contract import PATIENCE, Rig, RunnerContract
from tests.runners.test_processes import Meeting, alive, gone, group, script

try:
    import ray
except ImportError:
    pytest.skip("program missing: ray", allow_module_level=True)

from penstock.runners.remote import at_ray
from tests.runners.ray_sight import command, descendants, listening, parent, ray_processes

_AGENTS = (b"ray::DashboardAgent", b"ray::RuntimeEnvAgent")
_STARTS = 60.0  # seconds that a program with a Ray of its own may take


class RayRig(Rig):
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


@pytest.fixture
def meet(tmp_path: Path) -> Callable[[], Meeting]:
    meetings: list[Meeting] = []

    def make() -> Meeting:
        meetings.append(Meeting(tmp_path / f"meeting-{len(meetings)}"))
        return meetings[-1]

    return make


@pytest.fixture(scope="module")
def pool() -> Iterator[RemotePool]:
    with runners.ray(size=2) as pool:
        assert isinstance(pool, RemotePool)
        yield pool


@pytest.fixture
def rig(pool: RemotePool) -> Iterator[RayRig]:
    rig = RayRig(pool)
    rig.open()
    yield rig
    rig.close()


class TestRay(StreamContract, RunnerContract):
    same_objects = False
    parks_streams = True

    @pytest.fixture(autouse=True)
    def _pool(self, pool: RemotePool, tmp_path: Path) -> None:
        self.pool = pool
        self.folder = tmp_path

    def make(self) -> RayRig:
        return RayRig(self.pool, context_vars=(f"{steps.add.__module__}:MARK",))

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


# How it is, elsewhere


def test_attempts_are_made_in_children_of_ray_s_workers(rig, meet):
    meetings = [meet(), meet()]
    held = [rig.submit(own.hold, inside=one.inside, release=one.release) for one in meetings]
    pids = [one.wait() for one in meetings]
    assert len({parent(pid) for pid in pids}) == 2
    for one in meetings:
        one.go()
    assert {rig.end(node)[3] for node in held} == {c.OK}


def test_values_of_any_size(rig):
    for size in (0, 70_000, 5_000_000):
        value = {"a": bytes(size), "b": bytearray(b"x" * size), "c": "ü" * size}
        assert rig.run(steps.same, value=value) == (c.OK, value)


def test_d02_what_cannot_be_pickled_is_named(rig):
    failure = rig.failure(steps.add, x=1, y=threading.Lock())
    assert failure.text.startswith("argument 'y' (of type ")
    failure = rig.failure(own.give_lock)
    assert failure.text.startswith("the result (of type ")


def test_functions_without_a_name_travel_with_cloudpickle(rig):
    base = 3
    assert rig.run(lambda x: x + base, x=4) == (c.OK, 7)


def test_a_map_in_bundles_where_items_fail_and_are_tried_again(pool, tmp_path):
    """Each keeps its own attempts, whatever it has travelled with."""
    result = remote.mixed.run(runner=pool, many=600, log=str(tmp_path / "log"))
    assert result.items(remote.sometimes) == [i for i in range(600) if i % 50 != 7]
    starts = Path(tmp_path / "log").read_text().split()
    assert all(starts.count(str(i)) == (2 if i % 50 == 7 else 1) for i in range(0, 600, 1))


def test_a_large_value_between_two_steps_stays_with_ray(pool, monkeypatch):
    brought: list[int] = []
    load = b.load

    def loads(data: bytes) -> Any:
        brought.append(len(data))
        return load(data)

    monkeypatch.setattr(b, "load", loads)
    result = remote.large.run(runner=pool, size=20_000_000)
    assert result[remote.measure] == 20_000_000
    assert max(brought) < 100_000


def test_what_a_step_says_is_heard_here(pool):
    heard: list[Any] = []
    flow = Flow("speaks")
    flow.add(own.say_much, name="says")
    flow.run(runner=pool, options=RunOptions(observers=(heard.append,)))
    assert [event.message for event in heard if isinstance(event, Logged)] == ["a word", "odd"]


def test_a_resource_of_a_worker_is_opened_there(pool, tmp_path):
    result = own.lending.run(runner=pool, numbers=[1, 2, 3], log=str(tmp_path / "log"))
    assert result.items(own.sit) == [True] * 3


# Stopping


@pytest.mark.parametrize("call", [own.hang_in_c, own.hang_in_finally, own.swallow])
def test_s14_what_hangs_is_killed_and_its_neighbour_finishes(rig, meet, call):
    hung, other = meet(), meet()
    neighbour = rig.submit(own.hold, inside=other.inside, release=other.release, result="fine")
    other.wait()
    node = rig.submit(call, inside=hung.inside, timed=True)
    pid = hung.wait()
    rig.stop(node, timeout=True)
    assert rig.end(node)[3:5] == (c.CANCELLED, None)
    assert gone(pid)
    assert rig.of(neighbour, c.ENDED) == []
    other.go()
    assert rig.end(neighbour)[3:5] == (c.OK, "fine")


def test_what_is_killed_takes_what_it_has_started_with_it(rig, meet):
    meeting = meet()
    node = rig.submit(own.with_children, inside=meeting.inside)
    pid = meeting.wait()
    rig.stop(node, timeout=True)
    assert rig.end(node)[3] == c.CANCELLED
    assert gone(*group(pid))


def test_a_running_step_is_told_by_its_context(pool, meet):
    meeting = meet()
    flow = Flow("told")
    flow.add(own.work_until_cancelled, name="works")
    handle = flow.start(runner=pool, inside=meeting.inside)
    pid = meeting.wait()
    handle.cancel("enough")
    assert handle.result().status is RunStatus.CANCELLED
    assert alive(pid), "it has ended by itself, and its process goes on"


def test_a_cancel_that_comes_when_a_bundle_was_begun_takes_no_answer_away(pool, rig, meet):
    """Ray interrupts its worker then: the first moment after a wait."""
    meeting = meet()
    node = rig.submit(own.hold, inside=meeting.inside, release=meeting.release, result="fine")
    meeting.wait()
    (ticket,) = pool.cluster._refs
    pool.cluster.withdraw(ticket, [])
    for _ in range(20):  # on the other worker: meanwhile the cancel comes there
        rig.run(steps.nothing)
    meeting.go()
    assert rig.end(node)[3:5] == (c.OK, "fine")
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)


def test_a_step_that_hangs_fails_at_its_timeout_and_others_go_on(pool, meet):
    meeting = meet()
    flow = Flow("limits")
    flow.add(own.hang_in_c, name="hangs", timeout=0.3, optional=True)
    flow.add(steps.add, name="sum")
    reader = threading.Thread(target=meeting.wait, daemon=True)
    reader.start()
    result = flow.run(runner=pool, inside=meeting.inside, x=1, y=2)
    assert result["sum"] == 3
    assert getattr(result.nodes["hangs"].failure, "kind", None) == "timeout"
    reader.join(PATIENCE)


# Dying


@pytest.mark.parametrize(
    ("call", "arguments", "says"),
    [
        (own.exit_hard, {"status": 3}, "the worker process exited with status 3"),
        (own.crash, {}, "the worker process died with signal 11 (SIGSEGV)"),
    ],
)
def test_s08_a_step_that_crashes_ends_its_child_only(rig, call, arguments, says):
    failure = rig.failure(call, **arguments)
    assert (failure.kind, failure.type) == ("lost_worker", "WorkerDied")
    assert failure.text.startswith(says)
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)


def test_x01_a_step_whose_worker_is_killed_is_begun_again_and_not_charged(pool, meet):
    first, told = meet(), list[Any]()
    flow = Flow("killed")
    flow.add(remote.hold_once, name="holds")
    options = RunOptions(observers=[told.append])
    handle = flow.start(runner=pool, options=options, inside=first.inside, mark=f"{first.inside}-2")
    pid = first.wait()
    os.kill(parent(pid), signal.SIGKILL)
    result = handle.result()
    assert result["holds"] == "again"
    assert result.nodes["holds"].attempts == 1
    assert not any(type(event).__name__ == "NodeInterrupted" for event in told), "Ray has begun it again"
    assert gone(pid)


def test_x01_a_step_at_which_ray_gives_up_is_begun_again_and_not_charged(pool, meet, monkeypatch):
    monkeypatch.setattr(
        pool.cluster, "_serve_and_keep", pool.cluster._serve_and_keep.options(max_retries=0, num_returns=2)
    )
    monkeypatch.setattr(pool.cluster, "_serve", pool.cluster._serve.options(max_retries=0))
    first, told = meet(), list[Any]()
    flow = Flow("killed")
    flow.add(remote.hold_once, name="holds")
    options = RunOptions(observers=[told.append])
    handle = flow.start(runner=pool, options=options, inside=first.inside, mark=f"{first.inside}-2")
    os.kill(parent(first.wait()), signal.SIGKILL)
    result = handle.result()
    assert result["holds"] == "again"
    assert result.nodes["holds"].attempts == 1
    assert [type(event).__name__ for event in told].count("NodeInterrupted") == 1


def test_x01_a_step_that_kills_its_workers_over_and_over_is_lost_and_harms_no_other(pool):
    flow = Flow("poison")
    flow.add(remote.kill_worker, name="kills", optional=True)
    flow.add(steps.add, name="sum")
    result = flow.run(runner=pool, x=1, y=2)
    assert result["sum"] == 3
    failure = result.nodes["kills"].failure
    assert failure is not None
    assert failure.kind == "lost_worker"
    assert failure.text.startswith("workers of Ray died at it: WorkerCrashedError")


def test_x01_a_worker_that_is_paused_goes_on(rig, meet):
    meeting = meet()
    node = rig.submit(own.hold, inside=meeting.inside, release=meeting.release, result="fine")
    worker = parent(meeting.wait())
    os.kill(worker, signal.SIGSTOP)
    try:
        meeting.go()
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)
        assert rig.of(node, c.ENDED) == []
    finally:
        os.kill(worker, signal.SIGCONT)
    assert rig.end(node)[3:5] == (c.OK, "fine")


def test_the_actor_that_words_go_through_may_die(pool, rig, meet):
    (actor,) = [pid for pid in ray_processes() if b"ray::Board" in command(pid)]
    hung = meet()
    node = rig.submit(own.hang_in_c, inside=hung.inside, timed=True)
    hung.wait()
    rig.until(lambda: bool(rig.of(node, c.BEGAN)))
    os.kill(actor, signal.SIGKILL)
    rig.stop(node, timeout=True)
    assert rig.end(node)[3] == c.CANCELLED
    timed = rig.submit(steps.add, timed=True, x=1, y=1)
    assert rig.end(timed)[3:5] == (c.OK, 2)


def test_x06_another_version_is_told_in_words(rig, monkeypatch):
    monkeypatch.setattr(b, "version", lambda: b.Version("9.9", "cpython 3.99"))
    failure = rig.failure(steps.add, x=1, y=1)
    assert failure.kind == "lost_worker"
    assert "the driver has Penstock 9.9 on cpython 3.99" in failure.text
    assert "install the same of both on all of them" in failure.text


# Clusters


def test_x13_what_is_started_here_listens_at_loopback_only(pool, rig):
    rig.run(steps.nothing)
    where = listening([os.getpid(), *ray_processes()])
    assert where
    assert {address for address, _ in where} == {"127.0.0.1"}
    assert 8265 not in {port for _, port in where}, "that would be the dashboard"


def test_two_runs_at_a_time_share_what_one_of_them_has_started(pool):
    """The first to end must not end it for the other."""
    flow = Flow("by name")
    flow.add(steps.add, name="sum")
    handles = [flow.start(runner="ray", x=i, y=1) for i in range(3)]
    assert [handle.result()["sum"] for handle in handles] == [1, 2, 3]
    assert ray.is_initialized()
    assert flow.run(runner=pool, x=1, y=1)["sum"] == 2


def test_a_step_by_name_beside_steps_in_threads(pool):
    flow = Flow("both")
    there = flow.add(os.getpid, name="there", runner="ray")
    flow.add(os.getpid, name="here")
    result = flow.run()
    assert result["here"] == os.getpid() != result[there]


def test_another_address_than_that_of_this_program_is_refused(pool):
    flow = Flow("elsewhere")
    flow.add(steps.add, name="sum")
    with pytest.raises(ValueError, match=r"connected to the Ray at 127\.0\.0\.1:\d+, and not to 127.0.0.1:1"):
        flow.run(runner=runners.ray("127.0.0.1:1"), x=1, y=1)


def test_a_closed_pool_leaves_nothing_at_the_workers(pool, meet):
    with runners.ray() as other:
        assert isinstance(other, RemotePool)
        rig = RayRig(other)
        rig.open()
        pids = {rig.run(own.pid)[1] for _ in range(3)}
        rig.close()
        assert any(map(alive, pids))
    assert gone(*pids)
    assert ray.is_initialized()


def test_without_the_extra_it_is_said_what_to_install(monkeypatch):
    for name in ("on_ray", "at_ray"):
        monkeypatch.delitem(sys.modules, f"penstock.runners.remote.{name}")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'penstock\[ray\]'"):
        runners.ray()


def test_a_sheet_forgets_what_was_read_and_what_matters_no_more():
    async def scenario() -> None:
        sheet = at_ray.Sheet()
        sheet.write([(1, "a"), (2, "b"), (9, "c")])
        life, upto, new = await sheet.read(at_ray.UNREAD, wait=True)
        assert new == [(1, "a"), (2, "b"), (9, "c")]
        sheet.drop_below(3)
        assert await sheet.read(at_ray.UNREAD, wait=False) == (life, upto, [(9, "c")])
        sheet.write([(10, "d")])
        assert (await sheet.read((life, upto), wait=True))[2] == [(10, "d")]
        assert (await sheet.read((b"earlier", 77), wait=True))[2] == [(9, "c"), (10, "d")]
        sheet.drop_read((life, upto + 1))
        assert (await sheet.read(at_ray.UNREAD, wait=False))[1:] == (4, [])

    asyncio.run(scenario())


# Programs: each with a Ray of its own


def ran(process: subprocess.Popen[str]) -> list[str]:
    """What a program has printed, once it has ended well."""
    out, errors = process.communicate(timeout=_STARTS)
    assert process.returncode == 0, errors
    return [line for line in out.splitlines() if not line.startswith("\x1b")]


@pytest.mark.slow
def test_a_ray_that_the_program_has_initialised_is_used_and_never_shut_down(tmp_path):
    (tmp_path / "code" / "only_there").mkdir(parents=True)
    (tmp_path / "code" / "only_there" / "__init__.py").write_text("VALUE = 7\n")
    process = script(
        tmp_path,
        """
        import os, ray
        from penstock import Flow
        import penstock

        def there(x: int) -> tuple[int, str]:
            import only_there
            return only_there.VALUE + x, os.environ["GIVEN"]

        if __name__ == "__main__":
            modules = [os.path.abspath("code/only_there")]
            given = {"runtime_env": {"env_vars": {"GIVEN": "yes"}, "py_modules": modules}}
            ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, **given)
            flow = Flow("user")
            flow.add(there, name="there")
            print(flow.run(runner="ray", x=1)["there"])
            with penstock.ray() as pool:
                print(flow.run(runner=pool, x=2)["there"])
                handle = flow.start(runner=pool, x=3)
                handle.result()
                print(ray.is_initialized())
                ray.shutdown()
                result = flow.run(runner=pool, x=4)
                print(result.nodes["there"].failure)
                print(ray.is_initialized())
        """,
    )
    first, second, living, failure, again = ran(process)
    assert (first, second, living) == ("(8, 'yes')", "(9, 'yes')", "True")
    assert "ray.shutdown() was called in this program" in failure
    assert again == "False", "no other was started behind the program's back"


@pytest.mark.slow
def test_nothing_is_left_of_a_ray_that_was_started_for_a_run(tmp_path):
    process = script(
        tmp_path,
        """
        import ray, signal
        from penstock import Flow
        from tests.runners import steps
        from tests.runners.ray_sight import ray_processes
        from tests.runners.test_processes import gone

        if __name__ == "__main__":
            before = signal.getsignal(signal.SIGTERM)
            flow = Flow("sum")
            flow.add(steps.add, name="sum")
            handle = flow.start(runner="ray", x=1, y=2)
            print(handle.result()["sum"], ray.is_initialized())
            print(gone(*ray_processes()), signal.getsignal(signal.SIGTERM) == before)
        """,
    )
    assert ran(process) == ["3 False", "True True"]


@pytest.mark.slow
def test_a_shutdown_while_steps_run_fails_them_in_words(tmp_path):
    process = script(
        tmp_path,
        """
        import os, ray
        from penstock import Flow
        from tests.runners import process_steps as own
        import penstock

        if __name__ == "__main__":
            os.mkfifo("inside")
            os.mkfifo("never")
            flow = Flow("user")
            flow.add(own.hold, name="holds")
            with penstock.ray(size=1) as pool:
                handle = flow.start(runner=pool, inside="inside", release="never")
                open("inside").read()
                ray.shutdown()
                print(handle.result().nodes["holds"].failure)
        """,
    )
    (failure,) = ran(process)
    assert "ray.shutdown() was called in this program" in failure


@pytest.mark.slow
def test_x05_a_program_that_is_killed_leaves_nothing_and_another_goes_on_from_the_journal(tmp_path):
    text = """
        import os, signal
        from penstock import Flow, use
        from tests.runners import process_steps as own

        def first(log: str) -> int:
            with open(log, "a") as file:
                file.write("first ")
            return 1

        def hold(x: int, inside: str) -> int:
            if os.path.exists(inside):
                own.arrive(inside)
                signal.pause()
            return x + 1

        flow = Flow("kept")
        one = flow.add(first, name="first")
        flow.add(hold, name="hold", x=use(one))

        if __name__ == "__main__":
            inputs = {"log": os.path.abspath("log"), "inside": os.path.abspath("inside")}
            result = flow.run(runner="ray", store="sqlite:///runs.db", run_id="r1", **inputs)
            print(result.outputs)
    """
    os.mkfifo(tmp_path / "inside")
    process = script(tmp_path, text)
    inside: list[str] = []
    reader = threading.Thread(target=lambda: inside.append((tmp_path / "inside").read_text()), daemon=True)
    reader.start()
    reader.join(_STARTS)
    assert inside
    below = descendants(process.pid)
    assert int(inside[0]) in below
    agents = [pid for pid in below if command(pid).startswith(_AGENTS)]
    process.kill()
    process.communicate()
    try:
        assert gone(*set(below).difference(agents))
    finally:
        for pid in filter(alive, agents):  # Ray itself leaves them for a while
            os.kill(pid, signal.SIGKILL)
    (tmp_path / "inside").unlink()
    assert ran(script(tmp_path, text)) == ["{'hold': 2}"]
    assert (tmp_path / "log").read_text() == "first "


@pytest.mark.slow
def test_an_address_where_there_is_no_ray_is_told_at_once(tmp_path):
    process = script(
        tmp_path,
        """
        from penstock import Flow
        from tests.runners import steps
        import penstock

        flow = Flow("far")
        flow.add(steps.add, name="sum")
        for runner in (penstock.ray("127.0.0.1:1"), "ray://127.0.0.1:1"):
            try:
                flow.run(runner=runner, x=1, y=1)
            except ConnectionError as error:
                print(error)
        """,
    )
    named, client = ran(process)
    assert named.startswith("there is no Ray at 127.0.0.1:1: ConnectionRefusedError")
    assert client.startswith("there is no Ray at ray://127.0.0.1:1: ConnectionRefusedError")


@pytest.mark.slow
def test_x04_a_value_that_was_lost_with_its_node_is_made_again(tmp_path):
    """By Ray, which begins the bundle again that has made it; nobody is charged."""
    process = script(
        tmp_path,
        """
        import os, ray
        from ray.cluster_utils import Cluster
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as At
        from penstock import Flow, use
        from penstock.runners.remote.on_ray import on_loopback
        import penstock

        def fill(size: int) -> bytes:
            with open("starts", "a") as file:
                file.write("fill ")
            return bytes(size)

        def wait(data: bytes, inside: str, go: str) -> int:
            open(inside).read()
            return len(open(go).read())

        def measure(data: bytes, then: int) -> int:
            return len(data)

        flow = Flow("lost")
        first = flow.add(fill, name="fill")
        second = flow.add(wait, name="wait", data=use(first))
        flow.add(measure, name="measure", data=use(first), then=use(second))

        class Busy:
            def ready(self) -> bool:
                return True

        if __name__ == "__main__":
            for name in ("inside", "go"):
                os.mkfifo(name)
            room = {"num_cpus": 1, "object_store_memory": 100_000_000}
            with on_loopback():
                own = {"node_ip_address": "127.0.0.1", "include_dashboard": False, **room}
                cluster = Cluster(initialize_head=True, head_node_args=own)
                here = {"_node_ip_address": "127.0.0.1", "logging_level": "ERROR"}
                ray.init(cluster.address, log_to_driver=False, **here)
                there = cluster.add_node(**room)
                head = At(ray.get_runtime_context().get_node_id(), soft=False)
                busy = ray.remote(Busy).options(num_cpus=1, scheduling_strategy=head).remote()
                ray.get(busy.ready.remote())
                with penstock.ray() as pool:
                    files = {name: os.path.abspath(name) for name in ("inside", "go")}
                    handle = flow.start(runner=pool, size=20_000_000, **files)
                    open("inside", "w").close()
                    cluster.add_node(**room)
                    cluster.remove_node(there, allow_graceful=False)
                    ray.kill(busy)
                    open("inside", "w").close()
                    open("go", "w").write("x")
                    result = handle.result()
                    print(dict(result.outputs), [node.attempts for node in result.nodes.values()])
                ray.shutdown()
                cluster.shutdown()
        """,
    )
    assert ran(process)[-1] == "{'measure': 20000000} [1, 1, 1]"
    assert (tmp_path / "starts").read_text() == "fill fill "
