"""What surrounds attempts: whose a printed line or a log record is, and what an attempt has used."""

# mypy: disable-error-code="no-untyped-call,no-untyped-def"

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from penstock.core import capture
from penstock.core.context import Context
from penstock.core.events import Logged, Measured
from penstock.core.inside import INSIDE, Inside
from penstock.core.model import RetryPolicy, RunOptions
from penstock.core.secrets import MASK, Secret
from penstock.flow import Flow, each

log = logging.getLogger("of.the.tests")


def told(flow: Flow, inputs: Any = None, *, kind: type = Logged, ok: bool = True, **how: Any) -> list[Any]:
    """The events of one kind of a run that captures."""
    seen: list[Any] = []
    options = RunOptions(**{"capture": True, "observers": [seen.append], **how})
    result = flow.run(**(inputs or {}), options=options)
    if ok:
        result.raise_for_failure()
    return [event for event in seen if isinstance(event, kind)]


def said(events: list[Any]) -> list[tuple[str, int, str, str, str]]:
    return [(str(one.path), one.attempt, one.level, one.origin, one.message) for one in events]


def names() -> list[str]:
    return ["a", "b"]


def speaks(name: str) -> str:
    print("printed by", name)
    log.warning("logged by %s", name)
    sys.stderr.write("half a line")
    return name


def speaks_as_it_goes(name: str) -> Iterator[str]:
    speaks(name)
    yield name


async def speaks_later(name: str) -> str:
    await asyncio.sleep(0)
    return speaks(name)


async def speaks_later_as_it_goes(name: str) -> AsyncIterator[str]:
    await asyncio.sleep(0)
    yield speaks(name)


CASES = [
    (speaks, "inline"),
    (speaks, "threads"),
    (speaks, "processes"),
    (speaks_as_it_goes, "inline"),
    (speaks_as_it_goes, "threads"),
    (speaks_as_it_goes, "processes"),
    (speaks_later, None),
    (speaks_later_as_it_goes, None),
]


@pytest.mark.parametrize(("function", "runner"), CASES)
def test_what_a_step_prints_and_logs_is_its_own(function, runner, capfd):
    flow = Flow("speaks")
    source = flow.add(names, name="names")
    if function in (speaks_as_it_goes, speaks_later_as_it_goes):
        flow.add(function, name="one", runner=runner, bind={"name": "a"})
        whose = {"a": "one"}
    else:
        flow.add(function, name="one", runner=runner, bind={"name": each(source)})
        whose = {"a": "one[0]", "b": "one[1]"}
    found = said(told(flow))
    for name, path in whose.items():
        assert [one for one in found if one[0] == path] == [
            (path, 1, "info", "stdout", f"printed by {name}"),
            (path, 1, "warning", "of.the.tests", f"logged by {name}"),
            (path, 1, "info", "stderr", "half a line"),
        ]
    out, err = capfd.readouterr()
    assert "printed by" in out, "it goes where it went before, too"
    assert "half a line" in err


def test_attempts_are_told_apart():
    flow = Flow("again")

    @flow.step(retry=RetryPolicy(max_attempts=3, initial_delay=0))
    def again(context: Context) -> int:
        print("attempt", context.attempt)
        context.log("said", n=context.attempt)
        if context.attempt < 3:
            raise OSError("not yet")
        return 1

    assert [one[1::3] for one in said(told(flow))] == [
        (attempt, text) for attempt in (1, 2, 3) for text in (f"attempt {attempt}", "said")
    ]


def test_what_is_drawn_over_and_over_is_said_once():
    flow = Flow("bar")

    @flow.step
    def bar() -> None:
        for percent in range(0, 101, 25):
            print(f"\r{percent} %", end="")
        print()
        print("a\nb\r\n\nc", end="")

    assert [one.message for one in told(flow)] == ["100 %", "a", "b", "c"]


def test_endless_lines_are_cut():
    flow = Flow("long")

    @flow.step
    def long() -> None:
        print("x" * 100_000)

    (line,) = told(flow)
    assert line.message.endswith("… (83,616 more characters)")


def test_nothing_is_captured_without_being_asked_for(capsys):
    flow = Flow("quiet")
    seen: list[Any] = []

    @flow.step
    def quiet() -> type:
        print("nobody's")
        assert INSIDE.get() is None
        return type(sys.stdout)

    result = flow.run(options=RunOptions(observers=[seen.append]))
    assert not [one for one in seen if isinstance(one, Logged)]
    assert result["quiet"].__name__ != "Tee"


def test_a_run_that_is_kept_captures_and_one_may_say_no(tmp_path):
    flow = Flow("kept")

    @flow.step
    def kept() -> bool:
        return INSIDE.get() is not None

    assert flow.run(store=tmp_path / "runs.db")["kept"] is True
    assert flow.run(store=tmp_path / "runs.db", options=RunOptions(capture=False))["kept"] is False


def test_the_streams_are_given_back(capsys):
    """Two runs at a time, and the second ends first."""
    before, handlers = sys.stdout, list(logging.getLogger().handlers)
    began, go_on = threading.Event(), threading.Event()
    first, second = Flow("first"), Flow("second")

    @first.step
    def waits() -> None:
        began.set()
        assert go_on.wait(10)
        print("still captured")

    @second.step
    def quick() -> None:
        print("quick")

    seen: list[Any] = []
    handle = first.start(options=RunOptions(capture=True, observers=[seen.append]))
    assert began.wait(10)
    told(second)
    go_on.set()
    handle.result(10)
    assert [one.message for one in seen if isinstance(one, Logged)] == ["still captured"]
    assert sys.stdout is before
    assert logging.getLogger().handlers == handlers


def test_who_has_replaced_the_stream_meanwhile_keeps_it(monkeypatch):
    class Other:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def write(self, text: str) -> int:
            return int(self.inner.write(text))

        def flush(self) -> None:
            pass

    flow = Flow("replaced")

    @flow.step
    def replaces() -> None:
        monkeypatch.setattr(sys, "stdout", Other(sys.stdout))
        print("through both")

    assert [one.message for one in told(flow)] == ["through both"]
    assert isinstance(sys.stdout, Other)
    print("and still")  # what is behind it captures nothing any more, and hands on


def test_a_stream_that_was_put_in_place_of_ours_is_captured_too_and_nothing_twice(monkeypatch):
    """As a table does that is drawn in place, and hands on what is printed, or does not."""

    class Table:
        def __init__(self, behind: Any) -> None:
            self.behind = behind

        def write(self, text: str) -> int:
            return len(text) if self.behind is None else int(self.behind.write(text))

        def flush(self) -> None:
            pass

    flow = Flow("covered")
    before = sys.stdout

    @flow.step
    def covered() -> None:
        ours = sys.stdout
        for behind in (ours, None):
            sys.stdout = Table(behind)
            capture.settle()
            print("over", behind is None)
            sys.stdout = ours
            capture.settle()
        print("as before")

    assert [one.message for one in told(flow)] == ["over False", "over True", "as before"]
    assert sys.stdout is before
    monkeypatch.setattr(sys, "stdout", capture.Tee("stdout", before))  # one that was put back too late
    capture.settle()
    assert sys.stdout is before


def test_s24_a_thread_of_the_steps_own_is_nobodys():
    flow = Flow("thread")

    @flow.step
    def starts() -> None:
        thread = threading.Thread(target=print, args=("nobody's",))
        thread.start()
        thread.join()

    assert told(flow) == []


def test_l09_a_secret_is_masked_in_what_is_said():
    flow = Flow("secret")

    @flow.step(runner="threads")
    def tells(context: Context, token: Secret[str]) -> None:
        print("token", token.reveal())
        log.warning("it is %s", token.reveal())
        context.log(f"really {token.reveal()}")

    found = told(flow, {"token": Secret("s3cret-canary")})
    assert [one.message for one in found] == [f"token {MASK}", f"it is {MASK}", f"really {MASK}"]


def test_a_forked_child_of_a_step_prints_in_peace():
    """Nobody hears it there; it must not fail for that."""
    flow = Flow("forks")

    @flow.step(runner="threads")
    def forks() -> int:
        child = os.fork()
        if not child:
            code = 1
            try:
                print("in the child", flush=True)
                code = 0
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    told(flow)
    assert flow.run(options=RunOptions(capture=True))["forks"] == 0


def test_what_a_log_handler_of_ours_cannot_make_a_text_of_harms_nothing(monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    flow = Flow("odd")

    @flow.step
    def odd() -> int:
        log.warning("%d", "no number")
        return 1

    assert told(flow) == []


def test_an_exception_is_logged_with_its_traceback():
    flow = Flow("traced")

    @flow.step
    def traced() -> None:
        try:
            raise ValueError("inner")
        except ValueError:
            log.exception("caught")

    (one,) = told(flow)
    assert one.level == "error"
    assert one.message.startswith("caught\nTraceback")
    assert one.message.endswith("ValueError: inner")


class TestProfile:
    def busy(self, seconds: float = 0.05) -> None:
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass

    def usage(self, flow: Flow, **how: Any) -> dict[str, Any]:
        found = told(flow, kind=Measured, capture=False, profile=True, **how)
        assert len({(one.path, one.token) for one in found}) == len(found)
        return {str(one.path): one for one in found}

    def test_processor_time_is_that_of_the_attempt_alone(self):
        flow = Flow("cpu")

        @flow.step
        async def works() -> None:
            await asyncio.sleep(0)
            self.busy()
            await asyncio.sleep(0)

        @flow.step
        async def waits() -> None:
            for _ in range(20):
                await asyncio.sleep(0.01)

        @flow.step(runner="threads")
        def works_in_a_thread() -> None:
            self.busy()

        found = self.usage(flow)
        for name in ("works", "works_in_a_thread"):
            assert found[name].cpu >= 0.05
            assert found[name].memory is None, "none is claimed for what shares its process"
        assert found["waits"].cpu < 0.05

    @pytest.mark.parametrize("runner", ["inline", "threads"])
    def test_a_stream_has_not_the_time_of_its_takers(self, runner):
        flow = Flow("stream")

        @flow.step(runner=runner)
        def gives() -> Iterator[int]:
            for number in range(5):
                self.busy(0.01)
                yield number

        @flow.step(runner="inline")
        def takes(number: int = each(gives)) -> None:
            self.busy(0.03)

        found = self.usage(flow)
        assert 0.05 <= found["gives"].cpu < 0.15
        assert found["takes[0]"].cpu >= 0.03

    def test_a_process_has_a_peak_of_memory_of_its_own(self):
        flow = Flow("memory")
        first = flow.add(takes_memory, name="large", runner="processes", bind={"size": 60_000_000})
        flow.add(takes_memory, name="small", runner="processes", bind={"size": 1}, after=[first])
        found = self.usage(flow, max_concurrency=1)
        large, small = found["large"], found["small"]
        assert large.memory > 60_000_000
        if small.exact:  # Linux forgets the mark of the attempt before
            assert small.memory < large.memory - 40_000_000
        assert large.cpu is not None

    def test_of_a_failed_attempt_too_and_of_each(self):
        flow = Flow("fails")

        @flow.step(retry=RetryPolicy(max_attempts=2, initial_delay=0))
        def fails() -> None:
            raise ValueError("no")

        found = told(flow, kind=Measured, ok=False, capture=False, profile=True)
        assert [(str(one.path), one.token) for one in found] == [("fails", 1), ("fails", 2)]

    def test_the_result_has_it(self):
        flow = Flow("result")

        @flow.step
        def one() -> int:
            return 1

        assert flow.run().usage == {}
        ((key, used),) = flow.run(options=RunOptions(profile=True)).usage.items()
        assert key == ("one", 1)
        assert used.cpu is not None


def takes_memory(size: int) -> int:
    return len(bytearray(size))


class TestDoors:
    class Watching:
        """An observer with a door."""

        arrives = f"{__name__}:arrived"

        def __init__(self) -> None:
            self.seen: list[str] = []
            self.door = self

        def __call__(self, event: Any) -> None:
            if isinstance(event, Logged):
                self.seen.append(event.message)

        @contextmanager
        def enter(self, inside: Inside) -> Iterator[None]:
            self.seen.append(f"in {inside.path}")
            yield
            self.seen.append(f"out {inside.path}")

        def carry(self, inside: Inside) -> dict[str, str]:
            return {"word": f"for {inside.path}"}

    @pytest.mark.parametrize("runner", ["inline", "threads"])
    def test_one_is_entered_around_each_attempt(self, runner):
        watching = self.Watching()
        flow = Flow("door")

        @flow.step(runner=runner)
        def one() -> None:
            watching.seen.append("one")
            raise ValueError("no")

        flow.run(options=RunOptions(observers=[watching]))
        assert watching.seen == ["in one", "one", "out one"]

    def test_one_that_raises_hurts_nothing(self):
        class Raising(TestDoors.Watching):
            def enter(self, inside: Inside) -> Any:
                raise ValueError("no")

        flow = Flow("door")
        flow.add(names, name="names")
        assert flow.run(options=RunOptions(observers=[Raising()]))["names"] == ["a", "b"]

    def test_what_is_carried_arrives_in_another_process(self):
        watching = self.Watching()
        flow = Flow("door")
        flow.add(tells_what_was_carried, name="far", runner="processes")
        assert flow.run(options=RunOptions(observers=[watching]))["far"] == "for far, arrived"


ARRIVED: list[str] = []


@contextmanager
def arrived(inside: Inside) -> Iterator[None]:
    ARRIVED.append("arrived")
    yield


def tells_what_was_carried() -> str:
    inside = INSIDE.get()
    assert inside is not None
    return f"{inside.carried['word']}, {ARRIVED[-1]}"


@contextmanager
def no_handlers() -> Iterator[None]:
    """The root logger is as it is where nobody has set up logging."""
    root = logging.getLogger()
    others, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = others
        root.setLevel(level)


def test_warnings_that_nobody_hears_are_printed_as_ever(capfd):
    """`logging` prints them if there is no handler: that we capture changes nothing."""
    flow = Flow("heard")
    began, go_on = threading.Event(), threading.Event()

    @flow.step(runner="threads")
    def warns() -> None:
        began.set()
        assert go_on.wait(10)
        log.warning("unheard")
        log.info("too quiet")

    seen: list[Any] = []
    last = logging.lastResort
    with no_handlers():
        handle = flow.start(options=RunOptions(capture=True, observers=[seen.append]))
        assert began.wait(10)
        log.warning("beside")
        go_on.set()
        handle.result(10)
    assert logging.lastResort is last
    assert said([one for one in seen if isinstance(one, Logged)]) == [
        ("warns", 1, "warning", "of.the.tests", "unheard")
    ]
    assert capfd.readouterr().err == "beside\nunheard\n"


def test_a_step_may_set_up_logging():
    flow = Flow("sets up")

    @flow.step
    def sets_up() -> int:
        logging.basicConfig(level="INFO", format="%(message)s")
        log.info("heard")
        return len(logging.getLogger().handlers)

    seen: list[Any] = []
    with no_handlers():
        result = flow.run(options=RunOptions(capture=True, observers=[seen.append]))
    assert result["sets_up"] == 1
    assert "heard" in [one.message for one in seen if isinstance(one, Logged)]


def test_who_makes_log_records_goes_on_making_them():
    before = logging.getLogRecordFactory()
    inner: list[Any] = []

    def theirs(*given: Any, **named: Any) -> Any:
        return inner[0](*given, **named)

    sets, logs = Flow("sets"), Flow("logs")

    @sets.step
    def sets_theirs() -> None:
        inner.append(logging.getLogRecordFactory())
        logging.setLogRecordFactory(theirs)

    @logs.step
    def logs_once() -> None:
        log.warning("once")

    try:
        told(sets)
        assert logging.getLogRecordFactory() is theirs, "it is not taken away"
        assert [one.message for one in told(logs)] == ["once"], "and nothing is told twice"
    finally:
        logging.setLogRecordFactory(inner[0])
        capture.begin()
        capture.end()
    assert logging.getLogRecordFactory() is before


def test_l09_secrets_are_masked_within_what_is_said():
    flow = Flow("within")

    @flow.step
    def tells(context: Context, token: Secret[str]) -> None:
        word = token.reveal()
        context.log("said", plain=word, deep={"a": [f"x{word}", 1], word: (word, {word})}, odd=log)
        context.progress(1, 2, word)

    found = told(flow, {"token": Secret("s3cret-canary")}, kind=tuple)
    assert "s3cret-canary" not in repr(found)
    (said_,) = [one for one in found if isinstance(one, Logged)]
    assert said_.fields["deep"] == {"a": [f"x{MASK}", 1], MASK: (MASK, {MASK})}
    assert said_.fields["odd"] is log
