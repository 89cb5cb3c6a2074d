"""The runner that makes its attempts in processes."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import functools
import gc
import math
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from bench.memory import resident_peak
from penstock import Flow, use
from penstock.core import commands as c
from penstock.core.context import Context
from penstock.core.errors import GraphError, InputError, WorkerDied
from penstock.core.events import Logged, NodePath, Progressed
from penstock.core.model import RunOptions
from penstock.core.ports import Pool
from penstock.runners.processes import ProcessPool, ProcessRunner, check_function, processes
from penstock.runners.processes.child import Child
from penstock.testing.stream_contract import StreamContract
from penstock.testing.stream_steps import count_to
from tests.runners import process_steps as own
from tests.runners import steps
from tests.runners.contract import PATIENCE, Rig, RunnerContract


class ProcessRig(Rig):
    runner: ProcessRunner

    def __init__(self, pool: ProcessPool, **options: Any) -> None:
        super().__init__(pool.for_run(RunOptions(**options)))
        self.pool = pool
        self._bell: SimpleQueue[None] = SimpleQueue()
        self.mailbox.bell = lambda: self._bell.put(None)

    def until(self, done: Callable[[], bool]) -> None:
        while True:
            self.mailbox.sleeping = True
            if done():
                return
            try:
                self._bell.get(timeout=PATIENCE)
            except Empty:
                pytest.fail("nothing came")


class Meeting:
    """A step that the test can wait for, and let go on."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.inside, self.release = str(folder / "inside"), str(folder / "release")
        os.mkfifo(self.inside)
        os.mkfifo(self.release)

    def wait(self) -> int:
        """Until the step runs; the process that it runs in."""
        found: list[str] = []
        reader = threading.Thread(target=lambda: found.append(Path(self.inside).read_text()), daemon=True)
        reader.start()
        reader.join(PATIENCE)
        assert found, "the step has not begun"
        return int(found[0])

    def go(self, text: str = "go") -> None:
        Path(self.release).write_text(text)


@pytest.fixture
def meet(tmp_path: Path) -> Callable[[], Meeting]:
    meetings: list[Meeting] = []

    def make() -> Meeting:
        meetings.append(Meeting(tmp_path / f"meeting-{len(meetings)}"))
        return meetings[-1]

    return make


@pytest.fixture(scope="module")
def one() -> Iterator[ProcessPool]:
    """A pool of one, for tests that do it no harm."""
    with processes(1) as pool:
        yield pool


@pytest.fixture
def pool() -> Iterator[ProcessPool]:
    with processes(2) as pool:
        yield pool


@pytest.fixture
def rig(pool: ProcessPool) -> Iterator[ProcessRig]:
    rig = ProcessRig(pool)
    rig.open()
    yield rig
    rig.close()


def alive(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def group(pgid: int) -> list[int]:
    """The living processes of a group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == pgid and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


def gone(*pids: int) -> bool:
    """Waits for processes that are about to end."""
    end = time.monotonic() + PATIENCE
    while any(map(alive, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def children() -> set[int]:
    """All children of this process, the dead that nobody has waited for too."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(map(int, (task / "children").read_text().split()))
        except FileNotFoundError:  # a thread that has just ended
            pass
    return found


_PROGRAMS: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _no_program_stays() -> Iterator[None]:
    """What a failed test would leave behind."""
    yield
    while _PROGRAMS:
        process = _PROGRAMS.pop()
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def script(tmp_path: Path, text: str, *arguments: str, name: str = "script.py") -> subprocess.Popen[str]:
    """Starts a program of this text."""
    file = tmp_path / name
    file.write_text(textwrap.dedent(text))
    process = subprocess.Popen(
        [sys.executable, *(arguments or (str(file),))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=_environment(),
        start_new_session=True,
    )
    _PROGRAMS.append(process)
    return process


def _environment() -> dict[str, str]:
    """In which a program finds these tests."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    found = {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)}
    found.pop("PYTHONUNBUFFERED", None)
    return found


def said(process: subprocess.Popen[str]) -> str:
    """What a program has printed, once it has ended well."""
    out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    return out


class TestProcesses(StreamContract, RunnerContract):
    same_objects = False
    parks_streams = True

    @pytest.fixture(autouse=True)
    def _pool(self, one: ProcessPool, tmp_path: Path) -> None:
        self.pool = one
        self.folder = tmp_path

    def make(self) -> ProcessRig:
        return ProcessRig(self.pool, context_vars=(f"{steps.add.__module__}:MARK",))

    def park(self, rig: Rig) -> Callable[[], None]:
        meeting = Meeting(self.folder / "park")
        rig.submit(own.hold, inside=meeting.inside, release=meeting.release)
        meeting.wait()
        return meeting.go


# What comes back


def test_attempts_are_made_elsewhere(rig):
    pids = {rig.run(own.pid)[1] for _ in range(5)}
    assert os.getpid() not in pids
    assert pids <= set(rig.pool.pids)


def test_a_light_load_starts_one_worker(rig):
    for _ in range(20):
        rig.run(steps.nothing)
    assert len(rig.pool.pids) == 1


def test_as_many_at_a_time_as_it_is_large(rig, meet):
    meetings = [meet(), meet()]
    held = [rig.submit(own.hold, inside=one.inside, release=one.release) for one in meetings]
    assert len({one.wait() for one in meetings}) == 2
    for one in meetings:
        one.go()
    assert {rig.end(node)[3] for node in held} == {c.OK}


def test_a_pool_is_what_runs_take(pool):
    assert pool.capacity >= pool.size == 2
    assert isinstance(pool, Pool)


@pytest.mark.parametrize(
    ("size", "how", "says"),
    [
        (0, {}, "at least 1"),
        (2.5, {}, "at least 1"),
        (1, {"kill_grace": -1}, "kill_grace"),
        (1, {"prefetch": -1}, "prefetch"),
        (1, {"prefetch": 511}, "prefetch"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(size, how, says):
    with pytest.raises(ValueError, match=says):
        processes(size, **how)


def test_s23_workers_are_fresh_interpreters(monkeypatch, rig):
    """A forked one would know what has been done here, and hold the locks that other threads had."""
    monkeypatch.setattr(own, "changed", ["here"])
    assert rig.run(own.what_changed) == (c.OK, [])


@pytest.mark.parametrize("size", [0, 1, 65_000, 65_496, 65_536, 70_000, 300_000, 5_000_000])
def test_values_of_any_size(one, size):
    rig = ProcessRig(one)
    rig.open()
    value = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert rig.run(steps.same, value=value) == (c.OK, value)
    assert rig.run(steps.same, value="ü" * size) == (c.OK, "ü" * size)
    both = [value, {"a": bytearray(value), "b": (value, "end")}]
    assert rig.run(steps.same, value=both) == (c.OK, both)
    rig.close()


@pytest.mark.parametrize("size", [10, 65_535, 65_536, 200_000, 3_000_000])
def test_buffers_travel_beside_the_pickle(one, size):
    rig = ProcessRig(one)
    rig.open()
    data = os.urandom(size)
    result, array = rig.run(own.twice, array=own.Array(data))
    assert result == c.OK
    assert bytes(array.data) == data * 2
    rig.close()


def test_many_large_values_both_ways_at_a_time(rig):
    """More than a pipe holds, in both directions: nobody may wait for the other."""
    value = bytes(1_000_000)
    many = [rig.submit(steps.same, value=[i, value]) for i in range(60)]
    assert [rig.end(node)[4] for node in many] == [[i, value] for i in range(60)]


@pytest.mark.slow
def test_d03_a_gigabyte(one):
    rig = ProcessRig(one)
    rig.open()
    size = 1 << 30
    before = resident_peak()
    result, value = rig.run(own.zeros, size=size)
    assert result == c.OK
    assert len(value) == size
    assert value.count(0) == size
    assert resident_peak() - before < 2.2 * size
    assert rig.run(own.length, value=value) == (c.OK, size)
    rig.close()


# What does not travel


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (threading.Lock(), "cannot pickle"),
        (own.BreaksWhenPickled(), "not to be pickled"),
        (own.ExitsWhenPickled(), "from __reduce__"),
        (lambda: None, "lambda"),
    ],
)
def test_d02_an_argument_that_cannot_be_pickled_fails_its_step(monkeypatch, rig, value, says):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    rig.run(steps.nothing)
    failure = rig.failure(steps.add, x=1, y=value, retry_on=(Exception,))
    assert failure.text.startswith("argument 'y' (of type ")
    assert says in failure.text
    assert not failure.retryable
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)


def test_d02_an_argument_that_cannot_be_loaded_fails_its_step(rig):
    failure = rig.failure(steps.add, x=1, y=own.BreaksWhenLoaded(), retry_on=(Exception,))
    assert (
        failure.text == "the arguments (x, y) cannot be loaded in the process: RuntimeError: not to be loaded"
    )
    assert not failure.retryable
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)


@pytest.mark.parametrize("call", [own.give_lock, own.give_local, own.open_socket])
def test_d02_a_result_that_cannot_be_pickled_fails_its_step(rig, call):
    failure = rig.failure(call, retry_on=(Exception,))
    assert failure.text.startswith("the result (of type ")
    assert not failure.retryable
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)


def test_d02_a_result_that_cannot_be_loaded_fails_its_step(rig):
    failure = rig.failure(own.give_poison)
    assert failure.text == "the result cannot be loaded from the process: not to be loaded"
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)


# Functions


@pytest.mark.parametrize(
    ("call", "arguments", "value"),
    [
        (len, {}, None),
        (own.greet, {"name": "you"}, "hello you!"),
        (own.cached, {"x": 1}, 2),
        (own.stepped.function, {"x": 1}, 11),
        (own.stepped_and_cached.function, {"x": 1}, 101),
        (functools.partial(own.add, y=2), {"x": 1}, 3),
        (functools.partial(own.stepped.function, x=2), {}, 12),
        (own.Counter(5).add, {"x": 1}, 6),
        (own.Counter(7), {"x": 1}, 8),
        (own.Counter.double, {"x": 4}, 8),
        (own.Counter.make, {"x": 4}, 4),
        (os.path.basename, {"p": "/a/b"}, "b"),
        (dict, {"a": 1}, {"a": 1}),
    ],
)
def test_functions_travel_by_name(one, call, arguments, value):
    check_function(call)
    rig = ProcessRig(one)
    rig.open()
    for _ in range(2):
        if call is not len:
            assert rig.run(call, **arguments) == (c.OK, value)
    rig.close()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (own.made_inside(), "it is defined inside another function"),
        (own.nameless, "it is a lambda"),
        (functools.partial(own.made_inside(), 1), "inside another function"),
        (functools.partial(own.same, threading.Lock()), "cannot pickle"),
        (own.first_of_two, "its name means something else"),
    ],
)
def test_functions_without_a_name_are_refused(monkeypatch, rig, call, says):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(ValueError, match=says) as caught:
        check_function(call)
    if "pickle" not in says:
        assert "penstock[cloudpickle]" in str(caught.value)
    failure = rig.failure(call, x=1, retry_on=(Exception,))
    assert says in failure.text
    assert not failure.retryable
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)


def test_functions_without_a_name_travel_with_cloudpickle(rig):
    pytest.importorskip("cloudpickle")
    base = 3
    assert rig.run(lambda x: x + base, x=4) == (c.OK, 7)
    assert rig.run(own.made_inside(), x=1) == (c.OK, 6)
    assert rig.run(steps.same, value=own.made_inside())[1](2) == 7


def test_what_is_bound_to_a_function_is_looked_at_every_time(rig):
    counter = own.Counter(1)
    call = counter.add
    assert rig.run(call, x=1) == (c.OK, 2)
    counter.start = 10
    assert rig.run(call, x=1) == (c.OK, 11)


def test_more_functions_than_a_worker_remembers(one):
    rig = ProcessRig(one)
    rig.open()
    calls = [functools.partial(own.add, y=i) for i in range(1_100)]
    for _ in range(2):
        nodes = [rig.submit(call, x=1) for call in calls]
        assert [rig.end(node)[4] for node in nodes] == [i + 1 for i in range(1_100)]
    rig.close()


def test_a_predicate_of_the_retry_policy_travels(monkeypatch, rig):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    assert rig.failure(steps.raise_value, retry_on=functools.partial(steps.says_yes)).retryable
    failure = rig.failure(steps.raise_value, retry_on=lambda error: True)
    assert "retry_on cannot travel" in failure.text


def test_the_main_module_is_loaded_by_its_path(tmp_path):
    program = """
        from dataclasses import dataclass
        from penstock import Flow, use
        from penstock.runners.processes import processes

        print("loaded as", __name__)
        flow = Flow("main")

        @dataclass
        class Point:
            x: int

        class Wrong(Exception):
            pass

        @flow.step
        def make(x: int) -> Point:
            return Point(x)

        @flow.step
        def move(point: Point = use(make)) -> Point:
            assert type(point) is Point
            return Point(point.x + 1)

        if __name__ == "__main__":
            with processes(1) as pool:
                result = flow.run(runner=pool, x=1)
            assert result["move"] == Point(2), result
            assert type(result["move"]) is Point
            print("done")
    """
    lines = said(script(tmp_path, program)).split("\n")
    assert lines.count("loaded as __main__") == 1
    assert lines.count("loaded as __mp_main__") == 1
    assert "done" in lines


def test_a_main_module_run_as_part_of_a_package(tmp_path):
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text("def add(x):\n    return x + 1\n")
    program = """
        from penstock import Flow
        from penstock.runners.processes import processes
        from . import helper

        flow = Flow("main")

        @flow.step
        def move(x: int) -> int:
            from .helper import add
            return helper.add(add(x))

        if __name__ == "__main__":
            with processes(1) as pool:
                print(flow.run(runner=pool, x=1)["move"])
    """
    (package / "script.py").write_text(textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pack.script"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=_environment(),
        timeout=PATIENCE,
    )
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_a_main_module_without_a_guard_is_told_so(tmp_path):
    program = """
        from penstock import Flow
        from penstock.runners.processes import processes

        flow = Flow("main")

        @flow.step
        def move(x: int) -> int:
            return x + 1

        with processes(1) as pool:
            result = flow.run(runner=pool, x=1)
        print(result.nodes["move"].failure)
    """
    process = script(tmp_path, program)
    out, errors = process.communicate(timeout=PATIENCE)
    assert 'if __name__ == "__main__":' in out + errors


GUARDED = """
    import sys
    from dataclasses import dataclass
    from penstock import Flow, use
    from penstock.runners.processes import processes

    if len(sys.argv) > 1:
        sys.modules["cloudpickle"] = None

    if __name__ == "__main__":
        flow = Flow("main")

        @dataclass
        class Point:
            x: int

        @flow.step
        def make(x: int) -> Point:
            return Point(x)

        @flow.step
        def move(point: Point = use(make)) -> Point:
            assert type(point) is Point
            return Point(point.x + 1)

        with processes(1) as pool:
            try:
                result = flow.run(runner=pool, x=1)
            except ValueError as error:
                sys.exit(str(error))
        assert result["move"] == Point(2), result
        assert type(result["move"]) is Point
        print("done")
"""


def test_what_stands_under_the_guard_is_told_so(tmp_path):
    process = script(tmp_path, GUARDED, str(tmp_path / "script.py"), "without")
    _, errors = process.communicate(timeout=PATIENCE)
    assert errors == (
        "step 'make': runner='processes': 'make' cannot travel to a process: it stands under "
        '`if __name__ == "__main__":`, which holds in this process only, and a process finds things by their '
        "module and name; put it above that, or install penstock[cloudpickle]\n"
    )


def test_what_stands_under_the_guard_travels_with_cloudpickle(tmp_path):
    pytest.importorskip("cloudpickle")
    assert said(script(tmp_path, GUARDED)) == "done\n"


def test_a_name_that_is_bound_above_the_guard_too_is_found_there(tmp_path):
    program = """
        import sys
        from penstock.runners.processes import check_function
        from penstock.runners.processes.reference import guarded

        sys.modules["cloudpickle"] = None

        def both(): ...

        if "__main__" == __name__:
            def both(): ...
            class Shape: ...
            try:
                def area(): ...
            finally:
                pass
            check_function(both)
            print(*sorted(guarded()))
        else:
            def there(): ...
    """
    assert said(script(tmp_path, program)) == "Shape area\n"


def test_a_step_that_cannot_travel_is_an_error_of_the_graph_where_it_names_the_runner(monkeypatch, pool):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    flow = Flow("flow")
    flow.add(lambda: 1, name="a", runner="processes")
    with pytest.raises(GraphError, match=r"^step 'a': runner='processes': '.*<lambda>' cannot travel"):
        flow.graph()
    flow = Flow("flow")
    flow.add(lambda: 1, name="a")
    flow.graph()
    with pytest.raises(InputError, match=r"^step 'a': runner='processes': '.*<lambda>' cannot travel"):
        flow.run(runner=pool)


def test_what_is_typed_in_has_no_path(tmp_path):
    program = (
        "import sys; sys.modules['cloudpickle'] = None\n"
        "from penstock.runners.processes import check_function\n"
        "def f(): pass\n"
        "check_function(f)\n"
    )
    process = script(tmp_path, "", "-c", program)
    _, errors = process.communicate(timeout=PATIENCE)
    assert "it stands in an interactive session" in errors


def test_a_target_of_the_command_line(tmp_path):
    """Its file is no module that could be imported by name; an argument of its class is sent too."""
    (tmp_path / "my-flow.py").write_text(
        textwrap.dedent(
            """
            from penstock import Flow, use
            from helper import show

            flow = Flow("mine")

            class Point:
                x = 5

            @flow.step
            def make() -> Point:
                return Point()

            shown = flow.add(show, name="shown", runner="processes", value=use(make))

            @flow.step(runner="processes")
            def last(point: Point = use(make), shown: str = use(shown)) -> int:
                return point.x
            """
        )
    )
    (tmp_path / "helper.py").write_text(
        "def show(value: object) -> str:\n    return type(value).__module__\n"
    )
    process = script(tmp_path, "", "-m", "penstock", "run", "my-flow.py", "--no-store", name="empty.py")
    out, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, (out, errors)


# Dying


@pytest.mark.parametrize(
    ("call", "arguments", "says"),
    [
        (own.exit_hard, {"status": 3}, "the worker process exited with status 3"),
        (own.exit_hard, {"status": 0}, "the worker process exited with status 0"),
        (own.crash, {}, "the worker process died with signal 11 (SIGSEGV)"),
        (own.kill_self, {}, "the worker process died with signal 9 (SIGKILL); the system may have run out"),
        (own.crash_with_children, {}, "the worker process exited with status 7"),
    ],
)
def test_s08_a_worker_that_dies_fails_its_attempt_only(rig, meet, call, arguments, says):
    meeting = meet()
    neighbour = rig.submit(own.hold, inside=meeting.inside, release=meeting.release, result="fine")
    meeting.wait()
    failure = rig.failure(call, **arguments)
    assert (failure.kind, failure.type) == ("lost_worker", "WorkerDied")
    assert failure.text.startswith(says)
    assert not failure.retryable
    meeting.go()
    assert rig.end(neighbour)[3:5] == (c.OK, "fine")
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)


@pytest.mark.parametrize(
    ("retry_on", "retryable"),
    [
        ((Exception,), True),
        ((WorkerDied,), True),
        ((ValueError,), False),
        (own.retryable_here, True),
        (None, False),
    ],
)
def test_s08_the_policy_judges_a_lost_worker(rig, retry_on, retryable):
    assert rig.failure(own.exit_hard, status=1, retry_on=retry_on).retryable is retryable


def test_s08_a_worker_that_dies_between_attempts_fails_none(rig):
    rig.run(steps.nothing)
    (pid,) = rig.pool.pids
    os.kill(pid, signal.SIGKILL)
    many = [rig.submit(steps.add, x=i, y=1) for i in range(50)]
    assert [rig.end(node)[3:5] for node in many] == [(c.OK, i + 1) for i in range(50)]
    assert pid not in rig.pool.pids


def test_s08_a_step_that_closes_the_pipe_fails_alone(rig):
    assert rig.failure(own.close_all).kind == "lost_worker"
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)


def test_a_worker_that_closes_its_pipe_and_stays_is_killed_and_that_is_said(rig, meet):
    meeting = meet()
    node = rig.submit(own.close_all_and_stay, inside=meeting.inside)
    meeting.wait()
    failure = rig.end(node)[4]
    assert failure.text == "the worker process has closed its pipe to the pool, and was killed for that"


def test_a_step_that_forks_and_comes_back_twice_ends_once(rig):
    node = rig.submit(own.come_back_twice)
    assert rig.end(node)[3:5] == (c.OK, 5)
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)
    assert len(rig.of(node, c.ENDED)) == 1


@pytest.mark.parametrize("deaths", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_s08_workers_killed_again_and_again_lose_what_they_held(meet, deaths):
    """Each death is of a worker that is at an attempt, and may have others sent ahead to it."""
    with processes(4) as pool:
        rig = ProcessRig(pool)
        rig.open()
        held, quick = [], []
        for _ in range(deaths):
            meeting = meet()
            quick += [rig.submit(steps.add, x=1, y=1) for _ in range(5)]
            held.append(rig.submit(own.hold, inside=meeting.inside, release=meeting.release))
            quick += [rig.submit(steps.add, x=1, y=1) for _ in range(5)]
            os.kill(meeting.wait(), signal.SIGKILL)
        ends = [rig.end(node) for node in held]
        assert {(end[3], end[4].kind) for end in ends} == {(c.FAILED, "lost_worker")}
        assert [rig.end(node)[3:5] for node in quick] == [(c.OK, 2)] * 10 * deaths
        assert len([reply for reply in rig.replies if reply[0] == c.ENDED]) == 11 * deaths
        rig.close()


def test_workers_that_cannot_start_fail_what_waits_for_them(monkeypatch, rig):
    monkeypatch.setattr("penstock.runners.processes.child._CODE", "import sys; sys.exit(9)")
    failure = rig.failure(steps.nothing)
    assert failure.kind == "lost_worker"
    assert failure.text == "no worker process can be started: the last one exited with status 9"
    monkeypatch.undo()
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[None]]:
    """A system that starts so many workers, and no more; gives the tries that it has refused."""

    def allow(many: int) -> list[None]:
        refused: list[None] = []

        def make() -> Child:
            nonlocal many
            if not many:
                refused.append(None)
                raise OSError(errno.EMFILE, "Too many open files")
            many -= 1
            return Child()

        monkeypatch.setattr("penstock.runners.processes.dispatch.Child", make)
        return refused

    return allow


def test_the_workers_that_can_be_had_do_it_all(few):
    refused = few(2)
    with processes(8, prefetch=0) as pool:
        rig = ProcessRig(pool)
        rig.open()
        nodes = [rig.submit(steps.add, x=1, y=y) for y in range(60)]
        assert [rig.end(node)[3:5] for node in nodes] == [(c.OK, 1 + y) for y in range(60)]
        assert len(pool.pids) == 2
        assert refused
        rig.close()
    assert pool.warnings == ["only 2 of 8 workers could be started: [Errno 24] Too many open files"]


def test_without_a_single_worker_it_is_given_up(few):
    few(0)
    with processes(8) as pool:
        rig = ProcessRig(pool)
        rig.open()
        ends = [rig.end(rig.submit(steps.add, x=1, y=1)) for _ in range(3)]
        assert {(end[3], end[4].kind) for end in ends} == {(c.FAILED, "lost_worker")}
        assert "no worker process can be started: [Errno 24]" in ends[0][4].text
        rig.close()


def test_where_the_last_worker_dies_and_none_can_be_had_it_is_given_up(few, meet):
    few(1)
    with processes(2, prefetch=0) as pool:
        rig = ProcessRig(pool)
        rig.open()
        meeting = meet()
        held = rig.submit(own.hold, inside=meeting.inside, release=meeting.release)
        pid = meeting.wait()
        behind = rig.submit(steps.add, x=1, y=1)
        os.kill(pid, signal.SIGKILL)
        assert "died with signal 9" in rig.end(held)[4].text
        assert "no worker process can be started" in rig.end(behind)[4].text
        rig.close()


def test_a_lone_worker_at_a_stream_that_waits_is_none_for_the_others(few):
    few(1)
    with processes(2, prefetch=0) as pool:
        rig = ProcessRig(pool)
        rig.open()
        contract = TestProcesses()
        stream = contract.begin(rig, count_to, upto=1, many=3)
        rig.until(lambda: contract.elements(rig, stream) == [0])
        assert "no worker process can be started" in rig.end(rig.submit(steps.add, x=1, y=1))[4].text
        contract.go_on(rig, stream, 9)
        assert rig.end(stream)[3] == c.OK
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)
        rig.close()


def test_a_worker_that_cannot_be_started_leaves_nothing_open(monkeypatch):
    def no_more() -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("penstock.runners.processes.board.make", no_more)
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(OSError, match="Too many"):
            Child()
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_pool_whose_thread_cannot_be_started_can_be_closed(monkeypatch):
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = os.listdir("/proc/self/fd")
    with processes(1) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                ProcessRig(pool).open()
        assert len(os.listdir("/proc/self/fd")) == len(before)
        pool._dispatcher.drop()
        pool._dispatcher.wait()


# Lost runs


def test_a_run_whose_event_loop_was_closed_harms_no_other(meet):
    """Its worker, too, is given back, though its step would never end."""
    meeting = meet()
    lost, good = Flow("lost"), Flow("good")
    lost.add(own.hold, name="held", runner="processes")
    good.add(steps.add, name="add", runner="processes")

    def lose(pool: ProcessPool) -> None:
        loop = asyncio.new_event_loop()

        async def main() -> None:
            task = asyncio.ensure_future(
                lost.arun(runner=pool, inside=meeting.inside, release=meeting.release, result=None)
            )
            await asyncio.to_thread(meeting.wait)
            task._log_destroy_pending = False  # type: ignore[attr-defined]

        try:
            loop.run_until_complete(main())
        finally:
            loop.close()

    with processes(1, prefetch=0) as pool:
        lose(pool)
        for _ in range(2):
            assert good.start(runner=pool, x=1, y=1).result(PATIENCE)["add"] == 2


def test_what_was_taken_back_is_not_failed_too(monkeypatch, rig):
    monkeypatch.setattr("penstock.runners.processes.child._CODE", "import sys; sys.exit(9)")
    nodes = [rig.submit(steps.nothing) for _ in range(3)]
    rig.stop(nodes[1])
    assert [rig.end(node)[3] for node in nodes] == [c.FAILED, c.RETURNED, c.FAILED]
    monkeypatch.undo()
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)


def test_an_interpreter_that_is_not_there_fails_what_waits_for_it(monkeypatch, rig):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert "no worker process can be started" in rig.failure(steps.nothing).text
    monkeypatch.undo()
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)


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
    assert not alive(pid)
    assert rig.of(neighbour, c.ENDED) == []
    other.go()
    assert rig.end(neighbour)[3:5] == (c.OK, "fine")
    assert len(rig.of(node, c.ENDED)) == 1
    assert rig.of(node, c.GONE) == []
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)


def test_s14_what_a_step_has_started_dies_with_it(rig, meet):
    meeting = meet()
    node = rig.submit(own.with_children, inside=meeting.inside)
    pid = meeting.wait()
    assert len(group(pid)) >= 3
    rig.stop(node, timeout=True)
    assert rig.end(node)[3] == c.CANCELLED
    assert gone(*group(pid))


def test_s14_what_a_step_has_left_behind_ends_with_its_worker(rig):
    _, pid = rig.run(own.leave_child)
    assert alive(pid)
    rig.pool.close()
    assert gone(pid)


def test_s14_what_a_crashed_step_has_started_dies_too(rig):
    rig.run(steps.nothing)
    (worker,) = rig.pool.pids
    rig.failure(own.crash_with_children)
    assert gone(*group(worker))


def test_what_was_sent_ahead_to_a_killed_worker_goes_to_another(meet):
    with processes(1, prefetch=8) as pool:
        rig = ProcessRig(pool)
        rig.open()
        first, second = meet(), meet()
        node = rig.submit(own.hold, inside=first.inside, release=first.release)
        first.wait()
        many = [rig.submit(steps.add, x=i, y=1) for i in range(4)]
        hung = rig.submit(own.hang_in_c, inside=second.inside)
        many += [rig.submit(steps.add, x=i, y=1) for i in range(4, 20)]
        first.go()
        second.wait()
        rig.stop(hung, timeout=True)
        assert rig.end(hung)[3] == c.CANCELLED
        assert [rig.end(one)[3:5] for one in many] == [(c.OK, i + 1) for i in range(20)]
        assert rig.end(node)[3] == c.OK
        rig.close()


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the last attempt took, others are sent ahead."""
    monkeypatch.setattr("penstock.runners.processes.ahead.QUICK", math.inf)


def test_a_kill_that_comes_too_late_harms_nobody(ahead, meet):
    """The attempt has ended, its worker is at the next, and the pool has not yet heard of it."""
    with processes(1, prefetch=2) as pool:
        rig = ProcessRig(pool)
        rig.open()
        first, second, third = meet(), meet(), meet()
        nodes = [
            rig.submit(own.hold, inside=one.inside, release=one.release) for one in (first, second, third)
        ]
        first.wait()
        first.go()
        second.wait()
        dispatcher = pool.begin()
        job = rig.runner._jobs[nodes[1], nodes[1] + 1]
        with dispatcher._lock:
            second.go()
            pid = third.wait()
            assert job.child is not None
            dispatcher._doom(job.child, job)
        third.go()
        assert [rig.end(node)[3] for node in nodes] == [c.OK] * 3
        assert pool.pids == [pid]
        rig.close()


def test_a_busy_worker_keeps_nothing_from_an_idle_one(ahead, meet):
    """What was sent ahead to a worker that is now at something long is taken back from it."""
    with processes(2, prefetch=8) as pool:
        rig = ProcessRig(pool)
        rig.open()
        first, second = meet(), meet()
        for one in (first, second):
            rig.submit(own.hold, inside=one.inside, release=one.release)
            one.wait()
        third = meet()
        long = rig.submit(own.hold, inside=third.inside, release=third.release)
        quick = [rig.submit(steps.add, x=i, y=1) for i in range(30)]
        first.go()
        third.wait()
        second.go()
        assert [rig.end(one)[4] for one in quick] == [i + 1 for i in range(30)]
        assert rig.of(long, c.ENDED) == []
        third.go()
        assert rig.end(long)[3] == c.OK
        rig.close()


def test_a_stop_in_the_moment_of_the_end_gives_one_end(rig):
    """Whichever comes first, and nobody else is harmed."""
    for i in range(200):
        first = rig.submit(steps.nothing)
        others = [rig.submit(steps.add, x=i, y=j) for j in range(4)]
        if i % 2:
            rig.end(first)
        rig.stop(others[0], timeout=True)
        rig.stop(others[2])
        rig.abandon(others[3])
        ends = [rig.end(node)[3] for node in (first, *others)]
        assert ends[0] == ends[2] == c.OK
        assert ends[1] in (c.OK, c.CANCELLED, c.RETURNED)
        assert ends[3] in (c.OK, c.RETURNED)
        assert ends[4] in (c.OK, c.CANCELLED, c.RETURNED)
    rig.take()
    assert len([reply for reply in rig.replies if reply[0] == c.ENDED]) == 1_000


def test_a_running_step_is_told_by_its_context(rig, meet):
    meeting = meet()
    node = _with_context(rig, own.work_until_cancelled, inside=meeting.inside)
    meeting.wait()
    rig.stop(node)
    assert rig.end(node)[3:5] == (c.OK, "told")


def test_a_running_step_without_a_context_goes_on(rig, meet):
    meeting = meet()
    node = rig.submit(own.hold, inside=meeting.inside, release=meeting.release, result="done")
    meeting.wait()
    rig.stop(node)
    meeting.go()
    assert rig.end(node)[3:5] == (c.OK, "done")


def test_abandoned_after_the_grace(rig, meet):
    meeting = meet()
    node = rig.submit(own.hang_in_finally, inside=meeting.inside)
    pid = meeting.wait()
    rig.stop(node)
    assert rig.of(node, c.ENDED) == []
    rig.abandon(node)
    rig.abandon(node)
    assert rig.end(node)[3:5] == (c.CANCELLED, None)
    assert not alive(pid)


def test_s14_a_grace_lets_a_step_clean_up(meet, tmp_path):
    with processes(1, kill_grace=PATIENCE) as pool:
        rig = ProcessRig(pool)
        rig.open()
        meeting, done = meet(), tmp_path / "done"
        node = rig.submit(own.clean_up, inside=meeting.inside, done=str(done))
        meeting.wait()
        rig.stop(node, timeout=True)
        assert rig.end(node)[3:5] == (c.CANCELLED, None)
        assert done.read_text() == "cleaned"
        assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)
        rig.close()


def test_s14_after_the_grace_it_is_killed(meet):
    with processes(1, kill_grace=0.05) as pool:
        rig = ProcessRig(pool)
        rig.open()
        meeting = meet()
        node = rig.submit(own.swallow, inside=meeting.inside)
        pid = meeting.wait()
        rig.stop(node, timeout=True)
        assert rig.end(node)[3:5] == (c.CANCELLED, None)
        assert not alive(pid)
        rig.close()


def test_the_time_in_the_queue_is_not_counted(rig, meet):
    meetings = [meet(), meet()]
    for one in meetings:
        rig.submit(own.hold, inside=one.inside, release=one.release)
        one.wait()
    node = rig.submit(steps.nothing, timed=True)
    released = time.monotonic()
    for one in meetings:
        one.go()
    began, ended = rig.end(node)[6:]
    assert released <= began <= ended <= time.monotonic()
    assert [reply[3] for reply in rig.of(node, c.BEGAN)] == [began]


def _abandon(rig: ProcessRig, node: int, pid: int) -> None:
    rig.stop(node)
    rig.abandon(node)


@pytest.mark.parametrize(
    ("end", "result"),
    [
        (_abandon, c.CANCELLED),
        (lambda rig, node, pid: rig.stop(node, timeout=True), c.CANCELLED),
        (lambda rig, node, pid: os.kill(pid, signal.SIGKILL), c.FAILED),
    ],
    ids=["abandoned", "too late", "lost"],
)
def test_an_attempt_that_was_ended_says_when_it_began(rig, meet, end, result):
    other, meeting = meet(), meet()
    rig.submit(own.hold, inside=other.inside, release=other.release)
    other.wait()
    before = time.monotonic()
    node = rig.submit(own.hold, inside=meeting.inside, release=meeting.release)
    pid = meeting.wait()
    met = time.monotonic()
    end(rig, node, pid)
    reply = rig.end(node)
    assert reply[3] == result
    assert before <= reply[6] <= met <= reply[7] <= time.monotonic()
    other.go()


def test_a_stream_that_was_ended_says_when_it_began(rig, meet):
    before = time.monotonic()
    node = _stream(rig, own.stream_poison)
    rig.runner.go_on(node, node + 1, 10)
    rig.until(lambda: bool(rig.of(node, c.YIELDED)))
    seen = time.monotonic()
    reply = rig.end(node)
    assert before <= reply[6] <= seen
    assert reply[6] < reply[7]


# Streams


def test_s14_a_stream_that_hangs_is_killed(rig, meet):
    meeting = meet()
    node = _stream(rig, own.stream_and_hang, inside=meeting.inside)
    rig.runner.go_on(node, node + 1, 5)
    pid = meeting.wait()
    rig.stop(node, timeout=True)
    assert rig.end(node)[3:5] == (c.CANCELLED, None)
    assert [reply[3] for reply in rig.of(node, c.YIELDED)] == [0]
    assert not alive(pid)


def test_s14_a_stream_that_hangs_as_it_is_closed_is_killed(rig, meet, monkeypatch):
    monkeypatch.setattr("penstock.runners.processes.dispatch._CLOSE", 0.05)
    meeting = meet()
    node = _stream(rig, own.stream_and_hang_when_closed, inside=meeting.inside)
    rig.runner.go_on(node, node + 1, 2)
    rig.until(lambda: len(rig.of(node, c.YIELDED)) == 2)
    assert rig.run(steps.nothing)[0] == c.OK
    rig.stop(node, timeout=True)
    meeting.wait()
    assert rig.end(node)[3:5] == (c.CANCELLED, None)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (own.stream_locks, "element 1 of the stream (of type lock) cannot travel back from the process"),
        (own.stream_poison, "an element of the stream cannot be loaded from the process: not to be loaded"),
        (own.stream_and_die, "the worker process exited with status 3"),
    ],
)
def test_d02_a_stream_that_breaks_off(rig, call, says):
    node = _stream(rig, call)
    rig.runner.go_on(node, node + 1, 10)
    result, failure = rig.end(node)[3:5]
    assert result == c.FAILED
    assert failure.text.startswith(says)
    assert len(rig.of(node, c.YIELDED)) == 1
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)
    assert len(rig.of(node, c.ENDED)) == 1


def test_workers_that_streams_needed_leave_when_they_have_ended(rig):
    nodes = [_stream(rig, own.stream_locks) for _ in range(6)]
    for node in nodes:
        rig.runner.go_on(node, node + 1, 1)
        rig.until(lambda node=node: bool(rig.of(node, c.YIELDED)))
    assert len(rig.pool.pids) >= 6
    for node in nodes:
        rig.stop(node)
        assert rig.end(node)[3] == c.CANCELLED
    end = time.monotonic() + PATIENCE
    while len(rig.pool.pids) > 2:
        assert time.monotonic() < end
        time.sleep(0.005)


def _stream(rig: Rig, call: Callable[..., Any], **arguments: Any) -> int:
    node = rig._next
    rig._next += 1
    rig.runner.submit((node, node + 1, call, arguments, None, None, c.STREAM))
    return node


# Context and context variables


def _with_context(
    rig: Rig, call: Callable[..., Any], heard: list[Any] | None = None, **arguments: Any
) -> int:
    said = [] if heard is None else heard
    beat = functools.partial(said.append, "beat")
    context = Context("run-7", NodePath("n", (3,)), 2, said.append, beat=beat)
    node = rig._next
    rig._next += 1
    arguments["context"] = context
    rig.runner.submit((node, node + 1, call, arguments, None, context, 0))
    return node


def test_the_context_speaks_over_the_pipe(rig):
    heard: list[Any] = []
    node = _with_context(rig, own.say_much, heard)
    assert rig.end(node)[3:5] == (c.OK, "n[3] 2 run-7 (3,) run-7/n[3]")
    events = [event for event in heard if event != "beat"]
    assert events[0] == Progressed(NodePath("n", (3,)), 1, 2, "half")
    assert events[1]._replace(at=0.0) == Logged(NodePath("n", (3,)), 2, "a word", {"number": 7})
    assert events[2].message == "odd"
    assert "lock" in events[2].fields["lock"]
    assert "beat" in heard


def test_s24_variables_that_are_named_travel_and_do_not_leak(pool):
    rig = ProcessRig(pool, context_vars=(f"{own.__name__}:SEEN",))
    variables = contextvars.copy_context()
    variables.run(own.SEEN.set, "here")
    variables.run(rig.open)
    plain = ProcessRig(pool)
    variables.run(plain.open)
    for _ in range(3):
        assert rig.run(own.read_seen) == (c.OK, "here")
        assert rig.run(own.write_seen, text="there") == (c.OK, "there")
        assert rig.run(own.swap_seen, text="there") == (c.OK, "here")
        assert plain.run(own.read_seen) == (c.OK, "nothing")
    rig.close()
    plain.close()


def test_s24_a_variable_without_a_value_does_not_travel(pool):
    rig = ProcessRig(pool, context_vars=(f"{own.__name__}:SEEN",))
    rig.open()
    assert rig.run(own.read_seen) == (c.OK, "nothing")
    rig.close()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no.such.module:X", "cannot be found"),
        (f"{own.__name__}:MISSING", "cannot be found"),
        (f"{own.__name__}:NOT_A_VARIABLE", "is a int, not a ContextVar"),
        (f"{own.__name__}:UNPICKLABLE", "cannot be pickled"),
    ],
)
def test_s24_variables_that_cannot_travel_are_refused(pool, name, says):
    rig = ProcessRig(pool, context_vars=(name,))
    variables = contextvars.copy_context()
    variables.run(own.UNPICKLABLE.set, threading.Lock())
    with pytest.raises(InputError, match=says):
        variables.run(rig.open)


def test_stdin_is_empty_and_what_is_printed_comes_before_the_end(tmp_path):
    program = """
        from penstock.runners.processes import processes
        from penstock.core.model import RunOptions
        from penstock.core.mailbox import Mailbox
        import queue, sys, time
        from tests.runners import process_steps as own

        with processes(1, prefetch=0) as pool:
            runner, mailbox, bell = pool.for_run(RunOptions()), Mailbox(), queue.SimpleQueue()
            mailbox.bell = lambda: bell.put(None)
            runner.open(mailbox, time.monotonic)

            def run(call, **arguments):
                mailbox.sleeping = True
                runner.submit((0, 1, call, arguments, None, None, 0))
                bell.get()
                return mailbox.replies.popleft()[4]

            assert run(own.read_stdin) == ""
            run(own.say, text="one ")
            print("two ", end="", flush=True)
            run(own.say, text="three")
    """
    assert said(script(tmp_path, program)) == "one two three"


# Pools


def test_two_runs_share_a_pool(pool):
    flow = Flow("shared")
    flow.add(steps.add, name="a")
    flow.add(own.pid, name="pid")
    results: list[Any] = []

    def run(i: int) -> None:
        results.append(flow.run(runner=pool, x=i, y=1))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(result["a"] for result in results) == [1, 2, 3, 4, 5, 6]
    assert len({result["pid"] for result in results}) <= 2


def test_the_end_of_one_run_is_not_that_of_another(pool, meet):
    one, two = ProcessRig(pool), ProcessRig(pool)
    one.open()
    two.open()
    meeting, hung = meet(), meet()
    node = one.submit(own.hold, inside=meeting.inside, release=meeting.release, result=1)
    meeting.wait()
    two.submit(own.hang_in_c, inside=hung.inside)
    hung.wait()
    two.close()
    meeting.go()
    assert one.end(node)[3:5] == (c.OK, 1)
    one.close()


def test_a_closed_pool_is_refused():
    pool = processes(1)
    pool.close()
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        ProcessRig(pool).open()


def test_closing_a_pool_fails_what_still_runs(monkeypatch, meet):
    monkeypatch.setattr("penstock.runners.processes.dispatch._LEAVE", 10 * PATIENCE)
    pool = processes(1)
    rig = ProcessRig(pool)
    rig.open()
    meeting = meet()
    nodes = [rig.submit(own.hang_in_c, inside=meeting.inside), *(rig.submit(steps.nothing) for _ in range(9))]
    pid = meeting.wait()
    closer = threading.Thread(target=pool.close, daemon=True)
    closer.start()
    assert gone(pid)
    closer.join(PATIENCE)
    assert not closer.is_alive()
    for node in nodes:
        failure = rig.end(node)[4]
        assert (failure.kind, failure.text) == ("lost_worker", "the pool of processes was closed")
    assert rig.failure(steps.nothing).kind == "lost_worker"
    rig.close()


@pytest.mark.parametrize("many", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_nothing_is_left_of_pools(many):
    """No process, dead or alive, no thread and no file descriptor."""
    fds, threads, before = set(os.listdir("/proc/self/fd")), threading.active_count(), children()
    pids: list[int] = []
    for i in range(many):
        with processes(2) as pool:
            rig = ProcessRig(pool)
            rig.open()
            rig.run(steps.nothing)
            if i % 5 == 0:
                rig.failure(own.exit_hard, status=1)
            pids += pool.pids
            rig.close()
    assert set(os.listdir("/proc/self/fd")) <= fds
    assert threading.active_count() <= threads
    assert children() <= before
    assert not any(map(alive, pids))


def test_a_pool_that_is_forgotten_ends():
    pool = processes(1)
    rig = ProcessRig(pool)
    rig.open()
    rig.run(steps.nothing)
    pids = pool.pids
    rig.close()
    del rig, pool
    gc.collect()
    assert gone(*pids)
    end = time.monotonic() + PATIENCE
    while not children().isdisjoint(pids):  # dead, and the pool's thread is about to wait for it
        assert time.monotonic() < end
        time.sleep(0.005)


def test_s22_a_forked_process_leaves_the_pool_alone(rig):
    rig.run(steps.nothing)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        text = "nothing was raised"
        try:
            ProcessRig(rig.pool).open()
        except RuntimeError as error:
            text = str(error)
        finally:
            rig.pool.close()
            os.write(write, text.encode())
            os._exit(0)
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0
    assert b"belongs to the process" in os.read(read, 1_000)
    os.close(read)
    assert rig.run(steps.add, x=1, y=1) == (c.OK, 2)


def test_s22_a_fork_does_not_keep_workers_alive(tmp_path, meet):
    """The end of the pool is the end of the pipe, though a forked process had a copy of it."""
    process, worker = _hanging(tmp_path, meet(), "fork")
    forked = int(process.stdout.readline())
    process.kill()
    process.communicate()
    try:
        assert gone(worker)
        assert alive(forked)
    finally:
        os.kill(forked, signal.SIGKILL)


_HANGING = """
    import os, queue, signal, sys, time
    from penstock.runners.processes import processes
    from penstock.core.model import RunOptions
    from penstock.core.mailbox import Mailbox
    from tests.runners import process_steps as own

    call, inside, how = getattr(own, sys.argv[1]), sys.argv[2], sys.argv[3]
    pool = processes(1)
    runner = pool.for_run(RunOptions())
    runner.open(Mailbox(), time.monotonic)
    runner.submit((0, 1, call, {"inside": inside}, None, None, 0))
    if how != "pause":
        with open(inside + ".on") as file:
            file.read()
    if how == "fork":
        child = os.fork()
        if child == 0:
            os.close(1)
            os.close(2)
            signal.pause()
        print(child, flush=True)
    if how != "exit":
        signal.pause()
"""


def _hanging(tmp_path: Path, meeting: Meeting, how: str, call: str = "hang_in_c") -> tuple[Any, int]:
    """A program with a pool, at whose step it is that it hangs; and the worker."""
    os.mkfifo(meeting.inside + ".on")
    process = script(tmp_path, _HANGING, str(tmp_path / "script.py"), call, meeting.inside, how)
    worker = meeting.wait()
    if how != "pause":
        Path(meeting.inside + ".on").write_text("go on")
    return process, worker


@pytest.mark.parametrize("call", ["hang_in_c", "hang_in_finally", "with_children"])
def test_s14_workers_die_with_a_parent_that_is_killed(tmp_path, meet, call):
    process, worker = _hanging(tmp_path, meet(), "pause", call)
    pids = group(worker)
    process.kill()
    process.communicate()
    assert gone(*pids)


def test_s14_all_workers_die_with_a_parent_that_is_killed(tmp_path, meet):
    meetings = [meet() for _ in range(3)]
    program = """
        import signal, sys, time
        from penstock.runners.processes import processes
        from penstock.core.model import RunOptions
        from penstock.core.mailbox import Mailbox
        from tests.runners import process_steps as own

        pool = processes(3)
        runner = pool.for_run(RunOptions())
        runner.open(Mailbox(), time.monotonic)
        for node, inside in enumerate(sys.argv[1:]):
            runner.submit((node, 1, own.hang_in_c, {"inside": inside}, None, None, 0))
        signal.pause()
    """
    places = [one.inside for one in meetings]
    process = script(tmp_path, program, str(tmp_path / "script.py"), *places)
    workers = [one.wait() for one in meetings]
    process.kill()
    process.communicate()
    assert gone(*workers)


def test_s10_the_interpreter_does_not_wait_for_a_hanging_worker(tmp_path, meet):
    process, worker = _hanging(tmp_path, meet(), "exit")
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert errors == ""
    assert not alive(worker)


# In flows


def test_s21_a_step_in_a_process_may_run_a_flow_in_processes(pool):
    flow = Flow("outer")
    flow.add(own.run_inner, name="outer")
    assert flow.run(runner=pool, x=1)["outer"] == 2


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
    assert result.abandoned == ()
    reader.join(PATIENCE)


def test_a_step_that_is_cancelled_with_its_run_has_run_as_long_as_it_did(pool, meet):
    meeting = meet()
    told: list[Any] = []
    flow = Flow("ended")
    flow.add(own.hang_in_c, name="hangs")
    options = RunOptions(grace=0.01, observers=[told.append])
    handle = flow.start(runner=pool, options=options, inside=meeting.inside)
    meeting.wait()
    handle.cancel("enough")
    result = handle.result()
    (end,) = [event for event in told if type(event).__name__ == "NodeCancelled"]
    assert 0 < end.ended - end.began < result.duration
    assert result.nodes["hangs"].duration == end.ended - end.began


def test_a_step_by_name_brings_a_pool_of_its_own():
    flow = Flow("named")
    first = flow.add(own.add, name="first", runner="processes")
    flow.add(own.add, name="second", runner="processes", x=use(first), y=1)
    before = children()
    assert flow.run(x=1, y=2)["second"] == 4
    assert children() <= before


def test_a_step_that_is_alone_is_made_elsewhere_too():
    flow = Flow("alone")
    flow.add(os.getpid, name="where")
    assert flow.run(runner="processes")["where"] != os.getpid()


def test_what_a_step_says_and_writes_there_is_heard_and_found_here(pool, tmp_path):
    heard: list[Any] = []
    flow = Flow("speaks")
    flow.add(own.say_much, name="says")
    flow.add(own.write_in_workdir, name="writes")
    options = RunOptions(observers=(heard.append,), workdir=str(tmp_path / "work"))
    result = flow.run(runner=pool, options=options)
    assert [event.message for event in heard if isinstance(event, Logged)] == ["a word", "odd"]
    assert Path(result["writes"]).read_text() == "contents"


def test_an_argument_that_is_a_socket_is_named(pool):
    flow = Flow("socket")
    with socket.socket() as value:
        flow.add(own.length, name="length")
        result = flow.run(runner=pool, value=value)
    assert "argument 'value' (of type socket)" in str(result.nodes["length"].failure)


def test_a_resource_of_a_worker_is_opened_once_and_closed_at_its_end(tmp_path):
    log = tmp_path / "log"
    with processes(1) as pool:
        result = own.lending.run(runner=pool, numbers=[1, 2, 3], log=str(log))
        assert result.items(own.sit) == [True] * 3
        assert log.read_text() == "open "
    assert log.read_text() == "open close "
    assert any("the desk is stuck" in warning for warning in pool.warnings)


def test_a_worker_that_a_thread_keeps_from_ending_is_killed_and_named(monkeypatch):
    monkeypatch.setattr("penstock.runners.processes.dispatch._LEAVE", 0.5)
    result = own.leaving.run(name="forgotten")
    assert result.status.value == "succeeded"
    (warning,) = result.warnings
    assert "told to end, it had not after 0.5 s" in warning
    assert warning.endswith("threads that its steps have left, which are no daemons: 'forgotten'")


def test_a_resource_that_does_not_close_is_named_when_its_worker_is_killed(monkeypatch):
    monkeypatch.setattr("penstock.runners.processes.dispatch._LEAVE", 0.5)
    result = own.hanging.run()
    assert result.status.value == "succeeded"
    (warning,) = result.warnings
    assert warning.endswith("what it was at: the closing of 'door'")


def test_ctrl_c_in_a_program_that_waits_for_a_started_run_ends_it_as_ever(tmp_path):
    process = script(
        tmp_path,
        """
        import signal, sys
        from penstock import Flow
        from tests.runners import process_steps as own

        flow = Flow("flow")
        flow.add(own.stay, name="stay", runner="processes")
        if __name__ == "__main__":
            flow.start().result()
        """,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGINT
    assert errors.endswith("KeyboardInterrupt\n")
