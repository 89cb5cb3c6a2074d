"""Resources: opened once, at first use, where the attempt is made; closed last in, first out."""

# mypy: disable-error-code="no-untyped-call, attr-defined, union-attr"

import asyncio
import gc
import pickle
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from penstock.core.errors import GraphError
from penstock.core.failures import failure_of
from penstock.core.model import Node, Resource
from penstock.core.resources import Keeper, LentCall, check_processes, close_worker

VARIABLE = ContextVar("VARIABLE", default="unset")


def give(**values):
    return values


async def agive(**values):
    return values


class Log:
    """Makes resources that write down when they open and close."""

    def __init__(self):
        self.lines = []

    def make(self, name, *, fail=None, close=None, is_async=False, takes=(), inputs=(), scope="run"):
        def sync(**given):
            if fail is not None and fail():
                raise ConnectionError(f"{name} refused")
            self.lines.append(f"open {name}")
            yield given or name
            self.lines.append(f"close {name}")
            if close is not None:
                raise close

        async def coloured(**given):
            await asyncio.sleep(0)
            if fail is not None and fail():
                raise ConnectionError(f"{name} refused")
            self.lines.append(f"open {name}")
            yield given or name
            await asyncio.sleep(0)
            self.lines.append(f"close {name}")
            if close is not None:
                raise close

        pairs = tuple((one.id, one) for one in takes)
        names = tuple((one, one) for one in inputs)
        return Resource(name, coloured if is_async else sync, names, pairs, scope, is_async)


@pytest.fixture
def log():
    return Log()


def pairs(*resources):
    return tuple((one.id, one) for one in resources)


def in_threads(*calls):
    """Makes the calls in threads of their own and gives what they returned or raised."""
    found: list[Any] = [None] * len(calls)

    def go(at, call):
        try:
            found[at] = call()
        except BaseException as error:
            found[at] = error

    threads = [threading.Thread(target=go, args=(at, call)) for at, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return found


def until(condition):
    """Waits for what other threads bring about and nobody can be told of."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


async def settle():
    """Lets tasks of the loop go on as far as they can."""
    for _ in range(50):
        await asyncio.sleep(0)


# --- opening ----------------------------------------------------------------------------------------------


def test_it_is_opened_at_first_use_once_and_closed_after_the_last_attempt(log):
    keeper = Keeper({})
    lent = keeper.lend(give, pairs(log.make("db")))
    assert log.lines == []
    assert [lent(x=1), lent(x=2)] == [{"x": 1, "db": "db"}, {"x": 2, "db": "db"}]
    assert log.lines == ["open db"]
    assert keeper.close() == []
    assert log.lines == ["open db", "close db"]


def test_two_steps_share_one_of_the_run(log):
    keeper = Keeper({})
    db = log.make("db")
    keeper.lend(give, pairs(db))()
    keeper.lend(give, pairs(Resource(*db)))()  # an equal one is the same
    assert log.lines == ["open db"]


def test_two_runs_share_nothing(log):
    db = log.make("db")
    one, other = Keeper({}), Keeper({})
    one.lend(give, pairs(db))()
    other.lend(give, pairs(db))()
    assert log.lines == ["open db"] * 2


def test_resources_of_one_name_and_another_function_are_two(log):
    keeper = Keeper({})
    first, second = log.make("db"), Log().make("db")
    keeper.lend(give, pairs(first))()
    keeper.lend(give, pairs(second))()
    assert log.lines == ["open db"]
    assert len(keeper.bag.opened) == 2


def test_it_takes_inputs_of_the_run_and_other_resources(log):
    keeper = Keeper({"url": "x:1", "other": 3})
    pool = log.make("pool", inputs=("url",))
    db = log.make("db", takes=(pool,), inputs=("absent",))
    assert keeper.lend(give, pairs(db))() == {"db": {"pool": {"url": "x:1"}}}
    assert keeper.close() == []
    assert log.lines == ["open pool", "open db", "close db", "close pool"]


def test_only_the_inputs_it_takes_are_lent(log):
    pool = log.make("pool", inputs=("url",))
    lent = Keeper({"url": 1, "large": 2}).lend(give, pairs(log.make("db", takes=(pool,))))
    assert isinstance(lent, LentCall)
    assert lent.inputs == {"url": 1}


@pytest.mark.parametrize("kind", ["generator", "manager", "function", "class"])
def test_all_that_can_be_opened_is_opened_and_closed(kind):
    lines: list[Any] = []

    class Manager:
        def __enter__(self):
            lines.append("open")
            return "value"

        def __exit__(self, *error):
            lines.append(error)

    def generator():
        lines.append("open")
        yield "value"
        lines.append((None, None, None))

    def function():
        return Manager()

    call = {
        "generator": generator,
        "manager": contextmanager(generator),
        "function": function,
        "class": Manager,
    }[kind]
    keeper = Keeper({})
    assert keeper.lend(give, pairs(Resource("db", call)))() == {"db": "value"}
    assert keeper.close() == []
    assert lines == ["open", (None, None, None)]


def test_what_is_opened_and_iterated_is_opened(tmp_path):
    (tmp_path / "file").write_text("line\n")
    keeper = Keeper({})
    file = keeper.lend(lambda file: file, pairs(Resource("file", lambda: open(tmp_path / "file"))))()  # noqa: SIM115
    assert file.read() == "line\n"
    keeper.close()
    assert file.closed


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: 3, "resource 'db' returned an int; yield the value, once, or return a context manager"),
        (lambda: iter(()), "resource 'db' has yielded nothing"),
        (agive, "resource 'db' returned a coroutine; yield the value, once, or return a context manager"),
    ],
)
def test_what_cannot_be_opened_says_so(call, says):
    with pytest.raises((TypeError, RuntimeError)) as caught:
        Keeper({}).lend(give, pairs(Resource("db", call)))()
    assert str(caught.value) == says


def test_a_failure_to_open_fails_the_attempt_and_the_next_one_tries_again(log):
    answers = iter([True, False])
    keeper = Keeper({})
    lent = keeper.lend(give, pairs(log.make("first"), log.make("db", fail=lambda: next(answers))))
    with pytest.raises(ConnectionError) as caught:
        lent()
    failure = failure_of(caught.value)
    assert failure.text == "db refused"
    assert "(while the resource 'db' was opened)" in failure.trace
    assert lent()["db"] == "db"
    assert keeper.close() == []
    assert log.lines == ["open first", "open db", "close db", "close first"]


def test_what_it_is_made_of_fails_it_and_is_named_once(log):
    keeper = Keeper({})
    db = log.make("db", takes=(log.make("pool", fail=lambda: True),))
    with pytest.raises(ConnectionError) as caught:
        keeper.lend(give, pairs(db))()
    assert caught.value.__notes__ == ["(while the resource 'pool' was opened)"]


def test_two_threads_at_once_open_it_once(log):
    entered, go = threading.Event(), threading.Event()

    def slow():
        entered.set()
        assert go.wait(30)
        log.lines.append("open")
        yield 1

    keeper = Keeper({})
    lent = keeper.lend(give, pairs(Resource("db", slow)))
    waiting = threading.Semaphore(0)

    def late():
        assert entered.wait(30)
        waiting.release()
        return lent()

    def last():
        for _ in range(8):
            assert waiting.acquire(timeout=30)
        go.set()
        return lent()

    assert in_threads(lent, *[late] * 8, last) == [{"db": 1}] * 10
    assert log.lines == ["open"]


def test_those_who_wait_fail_with_the_one_who_opens():
    entered, go = threading.Event(), threading.Event()
    tries = []

    def refused():
        tries.append(1)
        entered.set()
        assert go.wait(30)
        raise ConnectionError("refused")
        yield

    keeper = Keeper({})
    lent = keeper.lend(give, pairs(Resource("db", refused)))
    slot = keeper.bag.find(Resource("db", refused), {}, keeper.run)

    def late():
        assert entered.wait(30)
        return lent()

    def last():
        assert entered.wait(30)
        until(lambda: len(slot.opening._waiting) == 3)
        go.set()

    *found, _ = in_threads(lent, late, late, late, last)
    assert [(type(error), str(error)) for error in found] == [(ConnectionError, "refused")] * 4
    assert len({id(error) for error in found}) == 4
    assert tries == [1]


def test_an_error_that_cannot_be_copied_is_shared():
    class Odd(Exception):
        def __init__(self, one, two):
            super().__init__(one)

    entered, go = threading.Event(), threading.Event()

    def refused():
        entered.set()
        assert go.wait(30)
        raise Odd("a", "b")
        yield

    keeper = Keeper({})
    lent = keeper.lend(give, pairs(Resource("db", refused)))
    slot = keeper.bag.find(Resource("db", refused), {}, keeper.run)

    def late():
        assert entered.wait(30)
        return lent()

    def last():
        assert entered.wait(30)
        until(lambda: slot.opening._waiting)
        go.set()

    one, other, _ = in_threads(lent, late, last)
    assert type(one) is type(other) is Odd


def test_an_interrupt_of_the_one_who_opens_is_no_failure_of_the_others():
    entered, go = threading.Event(), threading.Event()
    tries = []

    def slow():
        tries.append(1)
        if len(tries) == 1:
            entered.set()
            assert go.wait(30)
            raise KeyboardInterrupt
        yield 1

    keeper = Keeper({})
    lent = keeper.lend(give, pairs(Resource("db", slow)))
    slot = keeper.bag.find(Resource("db", slow), {}, keeper.run)

    def late():
        assert entered.wait(30)
        return lent()

    def last():
        assert entered.wait(30)
        until(lambda: slot.opening._waiting)
        go.set()

    one, other, _ = in_threads(lent, late, last)
    assert isinstance(one, KeyboardInterrupt)
    assert other == {"db": 1}


def test_s24_what_it_sets_in_its_context_is_seen_by_itself_alone():
    seen = []

    def resource():
        seen.append(VARIABLE.get())
        VARIABLE.set("mine")
        yield 1
        seen.append(VARIABLE.get())

    keeper = Keeper({})
    lent = keeper.lend(lambda db: VARIABLE.get(), pairs(Resource("db", resource)))
    token = VARIABLE.set("caller")
    assert [lent(), lent(), VARIABLE.get()] == ["caller"] * 3
    VARIABLE.reset(token)
    keeper.close()
    assert seen == ["caller", "mine"]


# --- closing ----------------------------------------------------------------------------------------------


def test_failures_to_close_are_warnings_and_the_rest_is_closed(log):
    keeper = Keeper({})
    made = [log.make("a"), log.make("b", close=ValueError("broken")), log.make("c", close=SystemExit(3))]
    keeper.lend(give, pairs(*made))()
    assert keeper.close() == [
        "resource 'c' failed to close: SystemExit: 3",
        "resource 'b' failed to close: ValueError: broken",
    ]
    assert log.lines[3:] == ["close c", "close b", "close a"]
    assert keeper.close() == []


def test_to_yield_twice_is_a_warning_and_what_follows_still_happens():
    lines = []

    def twice():
        try:
            yield 1
            yield 2
        finally:
            lines.append("closed")

    keeper = Keeper({})
    keeper.lend(give, pairs(Resource("db", twice)))()
    assert keeper.close() == ["resource 'db' has yielded twice; what follows its one yield closes it"]
    assert lines == ["closed"]


def test_s11_what_an_abandoned_thread_still_has_is_closed_and_named(log):
    entered, go = threading.Event(), threading.Event()

    def hangs(db):
        entered.set()
        assert go.wait(30)
        return db

    keeper = Keeper({})
    lent = keeper.lend(hangs, pairs(log.make("db")))
    thread = threading.Thread(target=lent, name="penstock-7", daemon=True)
    thread.start()
    assert entered.wait(30)
    assert keeper.close() == [
        "resource 'db' is closed while thread 'penstock-7' still has it: the attempt was abandoned"
    ]
    go.set()
    thread.join(30)


def test_s11_what_an_abandoned_thread_opens_too_late_is_closed_at_once(log):
    entered, go = threading.Event(), threading.Event()

    def slow():
        entered.set()
        assert go.wait(30)
        log.lines.append("open")
        yield 1
        log.lines.append("close")

    keeper = Keeper({})
    lent = keeper.lend(give, pairs(Resource("db", slow)))

    def end():
        assert entered.wait(30)
        said = keeper.close()
        go.set()
        return said

    late, said = in_threads(lent, end)
    assert isinstance(late, RuntimeError)
    assert said == [
        "resource 'db' is still being opened, by an attempt that was abandoned; "
        "it is closed as soon as it is open"
    ]
    assert log.lines == ["open", "close"]
    with pytest.raises(RuntimeError, match="'db' is asked for after the end of the run"):
        lent()


def test_a_stream_has_its_resource_until_it_ends(log):
    def elements(db):
        yield db
        yield 2

    keeper = Keeper({})
    lent = keeper.lend(elements, pairs(log.make("db")), False, True)
    stream = lent()
    assert next(stream) == "db"
    assert len(keeper.bag.opened[0].holders) == 1
    assert list(stream) == [2]
    assert keeper.close() == []


def test_a_stream_that_is_closed_early_is_closed_itself(log):
    lines = []

    def elements(db):
        try:
            yield db
        finally:
            lines.append("closed")

    keeper = Keeper({})
    lent = keeper.lend(elements, pairs(log.make("db")), False, True)
    stream = lent()
    next(stream)
    stream.close()
    lent().close()  # never begun
    assert lines == ["closed"]
    assert keeper.close() == []


def test_what_is_no_iterator_is_left_for_the_runner_to_refuse(log):
    keeper = Keeper({})
    assert keeper.lend(lambda db: 3, pairs(log.make("db")), False, True)() == 3
    assert keeper.close() == []


# --- async ------------------------------------------------------------------------------------------------


def test_async_ones_are_opened_and_closed_on_the_loop_in_order(log):
    async def main():
        keeper = Keeper({"url": "x"})
        pool = log.make("pool", inputs=("url",))
        db = log.make("db", is_async=True, takes=(pool,))
        lent = keeper.lend(agive, pairs(db, log.make("sync")), True)
        found = await asyncio.gather(*[lent(x=x) for x in range(20)])
        assert found == [{"x": x, "db": {"pool": {"url": "x"}}, "sync": "sync"} for x in range(20)]
        return await keeper.aclose()

    assert asyncio.run(main()) == []
    assert log.lines == ["open pool", "open db", "open sync", "close sync", "close db", "close pool"]


@pytest.mark.parametrize("kind", ["generator", "manager", "function", "class"])
def test_all_that_can_be_opened_on_a_loop_is(kind):
    lines: list[Any] = []

    class Manager:
        async def __aenter__(self):
            lines.append("open")
            return "value"

        async def __aexit__(self, *error):
            lines.append(error)

    async def generator():
        lines.append("open")
        yield "value"
        lines.append((None, None, None))

    call = {
        "generator": generator,
        "manager": asynccontextmanager(generator),
        "function": lambda: Manager(),
        "class": Manager,
    }[kind]

    async def main():
        keeper = Keeper({})
        lent = keeper.lend(agive, pairs(Resource("db", call, is_async=True)), True)
        assert await lent() == {"db": "value"}
        assert await keeper.aclose() == []

    asyncio.run(main())
    assert lines == ["open", (None, None, None)]


async def _nothing():
    return
    yield


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: 3, "returned an int; yield the value, once, or return an async context manager"),
        (agive, "returned a coroutine; yield the value, once, or return an async context manager"),
        (_nothing, "has yielded nothing"),
    ],
)
def test_what_cannot_be_opened_on_a_loop_says_so(call, says):
    async def main():
        keeper = Keeper({})
        with pytest.raises((TypeError, RuntimeError), match=says):
            await keeper.lend(agive, pairs(Resource("db", call, is_async=True)), True)()
        assert await keeper.aclose() == []

    asyncio.run(main())


def test_it_lives_in_one_task_so_that_task_groups_work(log):
    async def grouped():
        async with asyncio.TaskGroup() as group:
            done = asyncio.Event()
            group.create_task(done.wait())
            yield "group"
            done.set()
            log.lines.append("closing")

    async def main():
        keeper = Keeper({})
        lent = keeper.lend(agive, pairs(Resource("db", grouped, is_async=True)), True)
        await asyncio.create_task(lent())
        return await asyncio.create_task(keeper.aclose())

    assert asyncio.run(main()) == []
    assert log.lines == ["closing"]


def test_s24_an_async_one_closes_in_the_context_that_it_was_opened_in():
    seen = []

    async def resource():
        seen.append(VARIABLE.get())
        VARIABLE.set("mine")
        yield 1
        seen.append(VARIABLE.get())

    async def step(db):
        VARIABLE.set("step")
        return VARIABLE.get()

    async def main():
        keeper = Keeper({})
        lent = keeper.lend(step, pairs(Resource("db", resource, is_async=True)), True)
        VARIABLE.set("run")
        assert await asyncio.create_task(lent()) == "step"
        assert VARIABLE.get() == "run"
        return await keeper.aclose()

    assert asyncio.run(main()) == []
    assert seen == ["run", "mine"]


def test_all_who_wait_fail_with_the_try_and_a_later_one_tries_again(log):
    answers = iter([True, False])

    async def main():
        keeper = Keeper({})
        lent = keeper.lend(agive, pairs(log.make("db", is_async=True, fail=lambda: next(answers))), True)
        found = await asyncio.gather(*[lent() for _ in range(5)], return_exceptions=True)
        assert [str(error) for error in found] == ["db refused"] * 5
        assert len({id(error) for error in found}) == 5
        assert "(while the resource 'db' was opened)" in failure_of(found[3]).trace
        assert await lent() == {"db": "db"}
        return await keeper.aclose()

    assert asyncio.run(main()) == []


def test_s12_when_all_who_wait_are_cancelled_the_try_is_too():
    lines = []

    async def resource():
        try:
            lines.append("try")
            if len(lines) == 1:
                await asyncio.sleep(3600)
            yield "value"
        finally:
            lines.append("end")

    async def main():
        keeper = Keeper({})
        lent = keeper.lend(agive, pairs(Resource("db", resource, is_async=True)), True)
        one, other = asyncio.create_task(lent()), asyncio.create_task(lent())
        while not lines:
            await asyncio.sleep(0)
        one.cancel()
        await asyncio.wait((one,))
        await asyncio.sleep(0)
        assert lines == ["try"]
        other.cancel()
        assert await asyncio.wait_for(lent(), 30) == {"db": "value"}
        return await keeper.aclose()

    assert asyncio.run(main()) == []
    assert sorted(lines) == ["end", "end", "try", "try"]


def test_who_is_cancelled_while_it_opens_a_part_leaves_it_to_the_others(log):
    async def main():
        keeper = Keeper({})
        gate = asyncio.Event()

        async def part():
            await gate.wait()
            yield "part"

        db = log.make("db", is_async=True, takes=(Resource("part", part, is_async=True),))
        lent = keeper.lend(agive, pairs(db), True)
        one, other = asyncio.create_task(lent()), asyncio.create_task(lent())
        await settle()
        one.cancel()
        await asyncio.wait((one,))
        gate.set()
        assert await asyncio.wait_for(other, 30) == {"db": {"part": "part"}}
        return await keeper.aclose()

    assert asyncio.run(main()) == []


def test_a_thread_opens_a_plain_one_and_the_loop_goes_on_while_it_waits():
    entered, go = threading.Event(), threading.Event()

    def slow():
        entered.set()
        assert go.wait(30)
        yield 1

    async def main():
        keeper = Keeper({})
        db = Resource("db", slow)
        thread = threading.Thread(target=keeper.lend(give, pairs(db)))
        thread.start()
        assert entered.wait(30)
        waits = asyncio.create_task(keeper.lend(agive, pairs(db), True)())
        await settle()
        go.set()
        assert await asyncio.wait_for(waits, 30) == {"db": 1}
        thread.join(30)
        return await keeper.aclose()

    assert asyncio.run(main()) == []


def test_async_failures_to_close_are_warnings(log):
    async def twice():
        yield 1
        yield 2

    async def main():
        keeper = Keeper({})
        made = [log.make("a", is_async=True, close=ValueError("broken")), Resource("b", twice, is_async=True)]
        await keeper.lend(agive, pairs(*made), True)()
        return await keeper.aclose()

    assert asyncio.run(main()) == [
        "resource 'b' has yielded twice; what follows its one yield closes it",
        "resource 'a' failed to close: ValueError: broken",
    ]


def idents(name, told):
    """A resource that says in which threads it opens and closes."""

    def call():
        told.append(threading.get_ident())
        yield name
        told.append(threading.get_ident())

    return Resource(name, call)


def test_what_was_opened_in_the_closing_thread_is_closed_in_it():
    here: list[int] = []
    there: list[int] = []
    keeper = Keeper({})
    keeper.lend(give, pairs(idents("a", here)))()
    in_threads(keeper.lend(give, pairs(idents("b", there))))
    assert keeper.close() == []
    assert here == [threading.get_ident()] * 2
    assert threading.get_ident() not in there


def test_on_a_loop_what_was_opened_in_the_loops_thread_is_closed_in_it():
    here: list[int] = []
    there: list[int] = []

    async def main():
        keeper = Keeper({})
        await keeper.lend(agive, pairs(idents("a", here)), True)()
        await asyncio.to_thread(keeper.lend(give, pairs(idents("b", there))))
        return await keeper.aclose()

    assert asyncio.run(main()) == []
    assert here == [threading.get_ident()] * 2
    assert threading.get_ident() not in there


@pytest.mark.parametrize("on_loop", [False, True], ids=["here", "loop"])
def test_a_plain_one_that_does_not_close_is_left_behind_and_named(log, on_loop):
    never = threading.Event()

    def hangs():
        yield 1
        never.wait(30)
        log.lines.append("hung")

    keeper = Keeper({})
    lent = keeper.lend(give, pairs(log.make("a"), Resource("b", hangs)))
    assert in_threads(lent) == [{"a": "a", "b": 1}]
    try:
        said = asyncio.run(keeper.aclose(0.01)) if on_loop else keeper.close(0.01)
        assert said == ["resource 'b' did not close within 0.01 s and is left behind"]
        assert log.lines == ["open a", "close a"]
    finally:
        never.set()


def test_the_loop_goes_on_while_a_plain_one_closes_in_a_thread():
    async def main():
        moved = threading.Event()

        def waits():
            yield 1
            assert moved.wait(30)

        async def move():
            moved.set()

        keeper = Keeper({})
        await asyncio.to_thread(keeper.lend(give, pairs(Resource("db", waits))))
        _, said = await asyncio.gather(move(), keeper.aclose())
        return said

    assert asyncio.run(main()) == []


@pytest.mark.parametrize("how", ["thread", "loop", "async"])
def test_who_is_hurried_leaves_behind_what_closes_and_closes_the_rest(log, how):
    closing, never = threading.Event(), threading.Event()

    def hangs():
        yield 1
        closing.set()
        never.wait(30)

    async def ahangs():
        yield 1
        closing.set()
        await asyncio.sleep(3600)

    def hurry(keeper):
        assert closing.wait(30)
        keeper.hurry()

    async def main():
        keeper = Keeper({})
        if how == "async":
            made = log.make("a", is_async=True), Resource("b", ahangs, is_async=True)
            await keeper.lend(agive, pairs(*made), True)()
        else:
            await asyncio.to_thread(keeper.lend(give, pairs(log.make("a"), Resource("b", hangs))))
        threading.Thread(target=hurry, args=(keeper,), daemon=True).start()
        return keeper.close() if how == "thread" else await keeper.aclose()

    try:
        said = asyncio.run(main())
        assert said == ["resource 'b' was interrupted while it closed, and is left behind"]
        assert log.lines == ["open a", "close a"]
    finally:
        never.set()


@pytest.mark.parametrize("opens", [True, False], ids=["open", "opening"])
def test_an_async_one_that_ignores_its_cancellation_is_left_behind_and_named(log, opens):
    async def main():
        never, lines = asyncio.Event(), []

        async def deaf():
            if opens:
                yield 1
            while not never.is_set():
                lines.append("waits")
                try:
                    await never.wait()
                except asyncio.CancelledError:
                    pass
            if not opens:
                yield 1

        keeper = Keeper({})
        step = asyncio.create_task(keeper.lend(agive, pairs(Resource("db", deaf, is_async=True)), True)())
        while not (step.done() if opens else lines):
            await asyncio.sleep(0)
        if not opens:
            step.cancel()  # the only one who waits for it
            await asyncio.wait((step,))
        try:
            return await keeper.aclose(0.01)
        finally:
            never.set()
            await settle()

    late = ["resource 'db' did not close within 0.01 s"] if opens else []
    deaf = "resource 'db' goes on although it was cancelled, and is left behind"
    assert asyncio.run(main()) == [*late, deaf]


def test_one_that_does_not_close_is_cancelled_and_named(log):
    async def hangs():
        yield 1
        await asyncio.sleep(3600)

    async def main():
        keeper = Keeper({})
        made = [log.make("a", is_async=True), Resource("b", hangs, is_async=True)]
        await keeper.lend(agive, pairs(*made), True)()
        return await keeper.aclose(0.01)

    assert asyncio.run(main()) == ["resource 'b' did not close within 0.01 s"]
    assert log.lines == ["open a", "close a"]


def test_when_the_closing_is_cancelled_everything_is_closed_all_the_same(log):
    async def hangs():
        yield 1
        log.lines.append("closing")
        try:
            await asyncio.sleep(3600)
        finally:
            log.lines.append("cancelled")

    async def main():
        keeper = Keeper({})
        made = [log.make("a", is_async=True), log.make("s"), Resource("b", hangs, is_async=True)]
        await keeper.lend(agive, pairs(*made), True)()
        closing = asyncio.create_task(keeper.aclose())
        while "closing" not in log.lines:
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait((closing,))
        assert closing.cancelled()

    asyncio.run(main())
    assert log.lines[2:] == ["closing", "close s", "cancelled", "close a"] or log.lines[2:] == [
        "closing",
        "cancelled",
        "close s",
        "close a",
    ]


def test_s18_nothing_is_left_for_the_garbage_collector(log):
    async def elements(db):
        try:
            yield db
            yield 2
        finally:
            log.lines.append("ended")

    async def main():
        keeper = Keeper({})
        lent = keeper.lend(elements, pairs(log.make("db", is_async=True)), True, True)
        stream = lent()
        assert await anext(stream) == "db"
        assert len(keeper.bag.opened[0].holders) == 1
        await stream.aclose()
        assert log.lines == ["open db", "ended"]
        assert [element async for element in lent()] == ["db", 2]
        return await keeper.aclose()

    assert asyncio.run(main()) == []
    gc.collect()


def test_what_an_abandoned_task_still_opens_is_cancelled_at_the_end(log):
    lines = []

    async def hangs():
        try:
            lines.append("opening")
            await asyncio.sleep(3600)
            yield 1
        finally:
            lines.append("ended")

    async def main():
        keeper = Keeper({})
        left = asyncio.create_task(keeper.lend(agive, pairs(Resource("db", hangs, is_async=True)), True)())
        while not lines:
            await asyncio.sleep(0)
        assert await keeper.aclose() == []
        with pytest.raises(RuntimeError, match="after the end of the run"):
            await asyncio.wait_for(left, 30)

    asyncio.run(main())
    assert lines == ["opening", "ended"]


def test_one_that_opens_although_it_was_cancelled_is_closed_and_nobody_gets_it():
    lines = []

    async def stubborn():
        lines.append("opening")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            lines.append("cancelled")
        yield 1
        lines.append("closed")

    async def main():
        keeper = Keeper({})
        left = asyncio.create_task(keeper.lend(agive, pairs(Resource("db", stubborn, is_async=True)), True)())
        while not lines:
            await asyncio.sleep(0)
        assert await keeper.aclose() == []
        with pytest.raises(RuntimeError, match="after the end of the run"):
            await asyncio.wait_for(left, 30)

    asyncio.run(main())
    assert lines == ["opening", "cancelled", "closed"]


def test_an_async_one_whose_loop_is_gone_is_named(log):
    keeper = Keeper({})

    async def main():
        await keeper.lend(agive, pairs(log.make("db", is_async=True)), True)()

    asyncio.run(main())
    assert keeper.close() == ["resource 'db' is not closed: its event loop is gone"]
    assert log.lines == ["open db", "close db"]  # the loop itself ended the task


def test_the_wrapper_keeps_the_name_of_the_step():
    async def step(db):
        return db

    lent = Keeper({}).lend(step, (), True)
    coroutine = lent()
    assert coroutine.__qualname__ == step.__qualname__
    coroutine.close()


# --- workers ----------------------------------------------------------------------------------------------


def test_worker_scope_opens_one_in_each_thread_and_closes_it_there(log):
    keeper = Keeper({})
    where = []

    def resource():
        where.append(threading.get_ident())
        yield len(where)
        assert threading.get_ident() == where[0] or len(where) > 1
        log.lines.append(threading.get_ident())

    lent = keeper.lend(give, pairs(Resource("db", resource, scope="worker")))

    def worker():
        found = [lent(), lent()]
        assert close_worker() == []
        assert close_worker() == []
        return found

    barrier = threading.Barrier(2)

    def together():
        barrier.wait(30)
        found = worker()
        barrier.wait(30)
        return found

    found = in_threads(together, together)
    assert sorted(one["db"] for pair in found for one in pair) == [1, 1, 2, 2]
    assert sorted(log.lines) == sorted(where)
    assert len(set(where)) == 2
    assert keeper.close() == []


def test_worker_scope_in_the_engines_own_thread_ends_with_the_run(log):
    """A run inside a step of another run uses the same thread: neither may close what the other has."""
    db = log.make("db", scope="worker")
    outer, inner = Keeper({}), Keeper({})
    outer.lend(give, pairs(db))()
    inner.lend(give, pairs(db))()
    assert inner.close() == []
    assert log.lines == ["open db", "open db", "close db"]
    assert close_worker() == []
    assert outer.close() == []
    assert log.lines[3:] == ["close db"]


def test_worker_scope_on_a_loop_ends_with_the_run(log):
    async def main():
        keeper = Keeper({})
        db = log.make("db", is_async=True, scope="worker")
        await keeper.lend(agive, pairs(db), True)()
        return await keeper.aclose()

    assert asyncio.run(main()) == []
    assert log.lines == ["open db", "close db"]


def elsewhere(lent, run=None):
    """The call as another process makes it of its parts."""
    return LentCall(lent.call, lent.resources, lent.inputs, lent.run if run is None else run)


def number():
    yield 7


def test_it_travels_without_its_keeper():
    lent = Keeper({"x": 1}).lend(give, pairs(Resource("number", number, scope="worker")))
    there = pickle.loads(pickle.dumps(lent))
    assert (there.call, there.resources, there.inputs, there.run) == (give, lent.resources, {}, lent.run)
    assert there.keeper is None
    assert there(x=1) == {"x": 1, "number": 7}
    assert close_worker() == []


def test_in_another_process_a_worker_keeps_it_from_attempt_to_attempt(log):
    db = log.make("db", scope="worker", inputs=("url",))
    lent = Keeper({"url": [1]}).lend(give, pairs(db))
    assert elsewhere(lent)() == {"db": {"url": [1]}}
    again = LentCall(lent.call, lent.resources, {"url": [1]}, "")  # equal, and of some other run
    assert again() == {"db": {"url": [1]}}
    assert log.lines == ["open db"]
    assert close_worker() == []
    assert log.lines == ["open db", "close db"]


def test_a_worker_that_is_given_other_inputs_opens_it_anew_and_keeps_one(log):
    pool = log.make("pool", scope="worker", inputs=("url",))
    db = log.make("db", scope="worker", takes=(pool,))
    for url in (1, 2, 2.0):
        elsewhere(Keeper({"url": url}).lend(give, pairs(db)))()
    elsewhere(Keeper({"url": 3}).lend(give, pairs(pool)))()
    assert close_worker() == []
    once = ["open pool", "open db", "close db", "close pool"]
    assert log.lines == once * 3 + ["open pool", "close pool"]


def test_where_the_run_is_not_known_inputs_are_compared(log):
    db = log.make("db", scope="worker", inputs=("url",))
    for url in (1, 1, 2):
        LentCall(give, pairs(db), {"url": url})()
    assert close_worker() == []
    assert log.lines == ["open db", "close db"] * 2


def test_inputs_that_cannot_be_compared_are_compared_within_a_run_only(log):
    class Array:
        def __eq__(self, other):
            raise ValueError("the truth of an array")

    db = log.make("db", scope="worker", inputs=("array",))
    lent = Keeper({"array": Array()}).lend(give, pairs(db))
    for run in ("r1", "r1", "r2"):
        LentCall(lent.call, lent.resources, {"array": Array()}, run)()
    assert close_worker() == []
    assert log.lines == ["open db", "close db"] * 1 + ["open db", "close db"]


def test_what_belongs_to_the_run_is_not_to_be_had_in_another_process(log):
    lent = elsewhere(Keeper({}).lend(give, pairs(log.make("db"))))
    with pytest.raises(RuntimeError, match="'db' belongs to the run, which is in another process"):
        lent()
    node = Node("crunch", give, resources=pairs(log.make("db")))
    with pytest.raises(GraphError, match=r"step 'crunch': the resource 'db' .*\n.*scope='worker'"):
        check_processes(node)
    check_processes(node._replace(resources=pairs(log.make("db", scope="worker"))))


def test_s22_a_forked_child_closes_nothing_of_its_parents(log):
    import os

    elsewhere(Keeper({}).lend(give, pairs(log.make("db", scope="worker"))))()
    child = os.fork()
    if not child:
        os._exit(0 if close_worker() == [] and log.lines == ["open db"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert close_worker() == []
    assert log.lines == ["open db", "close db"]
