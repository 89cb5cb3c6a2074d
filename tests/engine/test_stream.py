"""The stream of a run's events: views, readers from the start, and what is kept for whom."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from penstock import Context, Flow, RunOptions, RunStatus, each, events, gather, param, use
from penstock.core.backlog import BEHIND, PAGE, Backlog, Cursor
from penstock.core.errors import InputError
from penstock.core.model import NodePath, NodeStatus, SkipCause
from penstock.core.outline import outline_of
from penstock.core.stream import VIEWS, Progress, Update, ValueOf, lens_of, viewed
from penstock.testing import run

WAIT = 30


def taken(cursor: Cursor) -> list[Any]:
    """What a reader has before it."""
    found = []
    while (event := cursor.take()) is not None:
        found.append(event)
    return found


def said(node: str, done: int) -> events.Progressed:
    return events.Progressed(NodePath(node), done, None, "")


def orders() -> Flow:
    flow = Flow("orders")

    @flow.step
    def size(context: Context, name: str = each(param("names", list[str]))) -> int:
        context.progress(len(name), 9, "letters")
        return len(name)

    @flow.step
    def total(sizes: list[int] = gather(size)) -> int:
        return sum(sizes)

    return flow


@pytest.fixture
def held() -> Any:
    """A flow of one step that waits, and what lets it go on; that is set in the end, come what may."""
    begun, go_on = threading.Event(), threading.Event()
    flow = Flow("held")

    @flow.step(runner="threads")
    def wait() -> int:
        begun.set()
        assert go_on.wait(WAIT)
        return 1

    yield flow, begun, go_on
    go_on.set()


# ----------------------------------------------------------------------------------------------------------
# What is kept, and for whom
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 5 * PAGE, 5 * PAGE + 7])
def test_readers_get_every_fact_in_order_whenever_they_come(count):
    backlog = Backlog()
    start = backlog.first_page()
    early = backlog.cursor(start)
    got = []
    for number in range(count):
        backlog.hear(number)
        got += taken(early)
    late = backlog.cursor(start)
    assert got == taken(late) == list(range(count))
    assert backlog.facts == early.at == late.at == count
    assert (early.behind, early.is_over) == (0, False)
    backlog.end()
    assert early.is_over


def test_a_writer_and_readers_in_threads_of_their_own_lose_nothing():
    backlog = Backlog()
    start = backlog.first_page()
    found: list[list[Any]] = [[], [], []]

    def read(mine: list[Any]) -> None:
        bell = threading.Semaphore(0)
        cursor = backlog.cursor(start)
        cursor.wake = bell.release
        while not cursor.is_over:
            mine += taken(cursor)
            cursor.sleep()
            assert bell.acquire(timeout=WAIT)

    threads = [threading.Thread(target=read, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    told = [said("a", number) if number % 3 == 0 else number for number in range(50 * PAGE)]
    for event in told:
        backlog.hear(event)
    backlog.end()
    for thread in threads:
        thread.join(WAIT)
    facts = [event for event in told if isinstance(event, int)]
    for mine in found:
        assert [event for event in mine if isinstance(event, int)] == facts
        steps = [event.done for event in mine if not isinstance(event, int)]
        assert steps == sorted(set(steps))
        assert steps[-1] == told[-3].done if isinstance(told[-3], events.Progressed) else steps


def test_who_goes_to_sleep_just_when_something_comes_is_woken():
    backlog = Backlog()
    cursor = backlog.cursor(backlog.first_page())
    woken: list[int] = []
    cursor.wake = lambda: woken.append(cursor.behind)
    cursor.sleep()
    assert woken == []
    backlog.hear("a")
    backlog.hear("b")  # it is awake
    assert woken == [1]
    cursor.sleep()
    assert woken == [1, 2]
    taken(cursor)
    backlog.end()
    cursor.sleep()
    assert woken == [1, 2, 0]


def test_progress_stands_where_it_was_said():
    backlog = Backlog()
    start = backlog.first_page()
    told = ["a", said("x", 1), "b", "c", said("x", 2), said("y", 1), "d"]
    for event in told:
        backlog.hear(event)
    assert taken(backlog.cursor(start)) == told


def test_a_reader_that_is_behind_gets_all_facts_and_the_newest_progress_of_each_path():
    backlog = Backlog()
    start = backlog.first_page()
    behind, abreast = backlog.cursor(start), backlog.cursor(start)
    got = []
    for number in range(2 * BEHIND):
        backlog.hear(number)
        backlog.hear(said("x", number))
        backlog.hear(said("y", number))
        got += taken(abreast)
    assert len(got) == 6 * BEHIND  # who keeps up misses nothing
    kept = len(behind.said.waiting)
    assert kept < BEHIND // 4  # of two paths there is next to nothing left
    for cursor in (behind, backlog.cursor(start)):
        found = taken(cursor)
        assert [event for event in found if isinstance(event, int)] == list(range(2 * BEHIND))
        assert found[-2:] == [said("x", 2 * BEHIND - 1), said("y", 2 * BEHIND - 1)]
        for path in "xy":
            steps = [
                event.done
                for event in found
                if isinstance(event, events.Progressed) and event.path.node == path
            ]
            assert steps == sorted(set(steps))


def test_a_flood_of_progress_alone_does_not_grow():
    backlog = Backlog()
    cursor = backlog.cursor(backlog.first_page())
    for number in range(20 * BEHIND):
        backlog.hear(said("x", number))
        assert cursor.said.waiting[-1] == (0, said("x", number))
        assert len(cursor.said.waiting) <= BEHIND
    assert taken(cursor)[-1] == said("x", 20 * BEHIND - 1)


class Thing:
    """An event that can be watched."""


def test_what_everybody_has_read_is_gone_and_a_closed_reader_holds_nothing():
    backlog = Backlog()
    start: Any = backlog.first_page()
    one, other = backlog.cursor(start), backlog.cursor(start)
    del start
    things = [Thing() for _ in range(3 * PAGE)]
    seen = [weakref.ref(thing) for thing in things]
    for thing in things:
        backlog.hear(thing)
    del things, thing
    taken(one)
    assert all(each() is not None for each in seen)  # `other` has not read them
    other.close()
    assert other.is_over
    assert taken(other) == []
    backlog.hear(said("x", 1))
    assert not other.said.waiting
    gc.collect()
    assert not any(each() is not None for each in seen[: 2 * PAGE])


def test_a_reader_that_is_forgotten_takes_nothing_more():
    backlog = Backlog()
    start = backlog.first_page()
    cursor: Any = backlog.cursor(start)
    gone = weakref.ref(cursor)
    del cursor
    gc.collect()
    assert gone() is None
    backlog.hear(said("x", 1))
    assert taken(backlog.cursor(start)) == [said("x", 1)]


def test_the_events_of_a_run_are_gone_with_its_handle():
    flow = Flow("flow")
    flow.add(lambda: Thing(), name="make")
    handle = flow.start()
    thing = weakref.ref(next(iter(handle.events("values"))).value)
    reader = handle.events()
    handle.result(WAIT)
    del handle
    gc.collect()
    assert thing() is not None  # the reader may still come to it
    del reader
    gc.collect()
    assert thing() is None


# ----------------------------------------------------------------------------------------------------------
# Readers of a handle
# ----------------------------------------------------------------------------------------------------------


def test_each_reader_reads_from_the_start_and_after_the_end_too():
    handle = orders().start(names=["a", "bc"])
    first = list(handle.events())
    assert handle.done
    assert list(handle.events()) == first
    assert (type(first[0]), type(first[-1])) == (events.RunStarted, events.RunFinished)
    for view in VIEWS:
        outline = outline_of(handle._handle._engine.plan.graph)
        assert list(handle.events(view)) == list(viewed(first, view, outline))


def test_readers_on_an_event_loop_read_side_by_side():
    async def read(handle: Any, view: str) -> list[Any]:
        return [item async for item in handle.stream(view)]

    async def main() -> None:
        handle = orders().start(names=["a", "bc"])
        found = await asyncio.gather(*(read(handle, view) for view in ("all", "values", "all")))
        assert found[0] == found[2] == [event async for event in handle] == list(handle.events())
        assert [str(path) for path, _ in found[1]] == ["names", "size[0]", "size[1]", "total"]

    asyncio.run(main())


def test_a_reader_on_a_loop_leaves_the_loop_room():
    async def main() -> int:
        handle = orders().start(names=["a"] * 500)
        await asyncio.to_thread(handle.result, WAIT)
        turns = 0

        async def beside() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.ensure_future(beside())
        async for _ in handle:
            pass
        task.cancel()
        return turns

    assert asyncio.run(main()) > 10


def test_a_reader_that_is_cancelled_leaves_the_run_alone_and_can_go_on(held):
    flow, begun, go_on = held

    async def main() -> None:
        handle = flow.start()
        stream = handle.stream("values")
        assert await asyncio.to_thread(begun.wait, WAIT)
        reading = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        while not handle._handle._backlog._sleepers:
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert not handle._handle._backlog._sleepers
        assert not handle.done
        go_on.set()
        assert await anext(stream) == ValueOf(NodePath("wait"), 1)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert (await asyncio.to_thread(handle.result, WAIT)).status is RunStatus.SUCCEEDED

    asyncio.run(main())


def test_a_reader_whose_loop_is_closed_holds_nobody_up(held):
    flow, begun, go_on = held
    handle = flow.start()
    assert begun.wait(WAIT)

    async def read() -> None:
        reading = asyncio.ensure_future(anext(handle.stream("values")))
        while not handle._handle._backlog._sleepers:
            await asyncio.sleep(0)
        reading.cancel()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(read())
    loop.close()
    go_on.set()
    assert handle.result(WAIT)["wait"] == 1


def test_close_ends_a_reader_that_waits_in_another_thread(held):
    flow, begun, _ = held
    handle = flow.start()
    assert begun.wait(WAIT)
    reader = handle.events("values")
    ended = threading.Event()

    def read() -> None:
        assert list(reader) == []
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    reader.close()
    assert ended.wait(WAIT)
    assert not handle.done


def test_aclose_ends_a_reader():
    async def main() -> None:
        handle = orders().start(names=["a"])
        stream = handle.stream()
        assert isinstance(await anext(stream), events.RunStarted)
        await stream.aclose()
        assert [event async for event in stream] == []

    asyncio.run(main())


@pytest.mark.parametrize("read", ["events", "stream"])
def test_an_unknown_view_is_refused_at_once_and_the_near_one_named(read):
    handle = orders().start(names=[])
    with pytest.raises(InputError, match=r"^there is no view 'update'; did you mean 'updates'\?"):
        getattr(handle, read)("update")
    with pytest.raises(InputError, match=r"one of all, values, updates, progress"):
        getattr(handle, read)(3)
    handle.result(WAIT)


# ----------------------------------------------------------------------------------------------------------
# Views
# ----------------------------------------------------------------------------------------------------------


def told_of(flow: Flow, options: RunOptions | None = None, **inputs: Any) -> list[Any]:
    """The events of a run on a fake clock."""
    found: list[Any] = []
    known = options or RunOptions()
    fields = {name: getattr(known, name) for name in RunOptions._fields}
    run(flow, options=RunOptions(**{**fields, "observers": [found.append]}), **inputs)
    return found


def test_values_are_told_as_steps_succeed():
    found = list(viewed(told_of(orders(), names=["abc"]), "values"))
    assert found == [
        ValueOf(NodePath("names"), ["abc"]),
        ValueOf(NodePath("size", (0,)), 3),
        ValueOf(NodePath("total"), 3),
    ]


def troubled() -> Flow:
    flow = Flow("troubled")

    @flow.step
    def bad() -> int:
        raise ValueError("no")

    flow.add(lambda bad: bad, name="below")
    flow.add(lambda: 1, name="never", when=lambda: False)
    flow.add(lambda never: 1, name="nor")
    return flow


def test_updates_say_where_each_step_stands_and_why():
    found = list(viewed(told_of(troubled(), RunOptions(on_failure="continue")), "updates"))
    assert found[0][:3] == (None, RunStatus.RUNNING, "")
    assert found[-1][:2] == (None, RunStatus.FAILED)
    last = {str(one.path): (one.status, one.reason) for one in found}
    assert last["bad"] == (NodeStatus.FAILED, "ValueError: no")
    assert last["below"] == (NodeStatus.SKIPPED, "bad failed")
    assert last["never"] == (NodeStatus.SKIPPED, "its condition said no")
    assert last["nor"] == (NodeStatus.SKIPPED, "the condition of never said no")
    times = [one.at for one in found]
    assert times == sorted(times)


def test_updates_give_the_reasons_that_the_result_gives():
    flow = troubled()
    found: list[Any] = []
    result = run(flow, options=RunOptions(on_failure="continue", observers=[found.append]))
    last = {str(one.path): one for one in viewed(found, "updates", outline_of(flow.graph()))}
    for node in result.nodes.values():
        assert (last[node.path].status, last[node.path].reason) == (node.status, node.reason)


def test_the_rest_of_a_map_is_an_update_for_each_item():
    rest = events.RestSkipped(NodePath("a"), ("a", "b"), 2, 2, SkipCause.STOPPED, None)
    opened = events.NodeExpanded(NodePath("a"), 4, ("k", "l", "m", "n"))
    found = list(viewed([opened, events.DeadlineReached(7.0), rest], "updates"))
    why = "the run's deadline passed"
    assert found == [
        Update(NodePath(id, (name,)), NodeStatus.SKIPPED, why, 7.0) for name in "mn" for id in "ab"
    ]


def test_a_cancelled_run_says_why():
    asked, over = events.CancelAsked("enough", 1.0), events.RunFinished(RunStatus.CANCELLED, 2.0)
    assert list(viewed([asked, over], "updates")) == [Update(None, RunStatus.CANCELLED, "enough", 2.0)]


def nested() -> Flow:
    flow = Flow("nested")

    @flow.step
    def outer(n: int = each(param("ns", list[int]))) -> list[int]:
        return list(range(n))

    @flow.step
    def inner(m: int = each(outer)) -> int:
        return m

    @flow.step
    def then(m: int = use(inner)) -> int:
        return m

    return flow


def streamed() -> Flow:
    flow = Flow("streamed")

    @flow.step
    def source() -> Iterator[int]:
        yield from range(5)

    @flow.step
    def each_of(m: int = each(source)) -> int:
        return m

    return flow


def failing() -> Flow:
    flow = Flow("failing")

    @flow.step
    def one(n: int = each(param("ns", list[int]))) -> int:
        if n == 1:
            raise ValueError(n)
        return n

    @flow.step
    def then(m: int = use(one)) -> int:
        return m

    flow.add(lambda: 1, name="never", when=lambda: False)
    return flow


@pytest.mark.parametrize(
    ("flow", "inputs", "total", "failed"),
    [
        (orders(), {"names": ["a", "bc"]}, 4, 0),
        (orders(), {"names": []}, 2, 0),
        (nested(), {"ns": [2, 0, 3]}, 1 + 3 + 5 + 5, 0),
        (failing(), {"ns": [1, 2, 3]}, 1 + 3 + 3 + 1, 1),
        (troubled(), {}, 4, 1),
    ],
    ids=lambda value: value.name if isinstance(value, Flow) else None,
)
def test_progress_counts_up_to_all_there_is(flow, inputs, total, failed):
    found = told_of(flow, RunOptions(on_failure="continue"), **inputs)
    counts = [one for one in viewed(found, "progress", outline_of(flow.graph())) if one.path is None]
    assert counts[-1] == Progress(None, total, total, failed)
    assert all(one.total is not None and one.done <= one.total for one in counts)
    assert [one.done for one in counts] == sorted(one.done for one in counts)


def test_progress_of_a_stream_grows_with_it():
    flow = streamed()
    counts = list(viewed(told_of(flow), "progress", outline_of(flow.graph())))
    assert counts[-1] == Progress(None, 6, 6, 0)


def test_progress_of_steps_comes_between():
    flow = orders()
    found = [
        one for one in viewed(told_of(flow, names=["abc"]), "progress", outline_of(flow.graph())) if one.path
    ]
    assert found == [Progress(NodePath("size", (0,)), 3, 9, 0, "letters")]


def test_a_run_that_is_stopped_counts_what_will_never_start():
    flow = failing()
    found = told_of(flow, RunOptions(max_concurrency=1), ns=[1] * 40)
    assert any(isinstance(one, events.RestSkipped) for one in found)
    counts = list(viewed(found, "progress", outline_of(flow.graph())))
    assert counts[-1] == Progress(None, 1 + 40 + 40 + 1, 1 + 40 + 40 + 1, 1)


def test_progress_without_an_outline_has_no_total():
    counts = list(viewed(told_of(orders(), names=["a"]), "progress"))
    assert counts[-1] == Progress(None, 3, None, 0)


def test_what_a_resume_drops_is_not_counted_twice():
    lens = lens_of("progress")
    over = events.NodeSucceeded(NodePath("a", (0,)), 1, 1, None, "run", 0.0, 1.0)
    rest = events.RestSkipped(NodePath("b"), ("b",), 0, 5, SkipCause.STOPPED, None)
    told: list[Any] = []
    for event in (
        over,
        rest,
        events.RunResumed(1.0, 1.0, (NodePath("b"),), (NodePath("a", (0,)),)),
        over,
        rest,
    ):
        told += lens(event)
    assert [one.done for one in told] == [1, 6, 0, 1, 6]
