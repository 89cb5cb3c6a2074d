"""What runners of engines have in common: the desk, its bundles, values that stay, and the workers' side."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from penstock import Context, Flow, each, gather, use
from penstock.core import commands as c
from penstock.core.context import Context as CoreContext
from penstock.core.events import Logged, NodePath
from penstock.core.plan import Plan
from penstock.core.staying import staying
from penstock.runners.pace import GOAL, MOST, Pace
from penstock.runners.processes import frames, reference
from penstock.runners.remote import bundle as b
from penstock.runners.remote import desk as desk_module
from penstock.runners.remote import held, site
from penstock.runners.remote.held import Held
from penstock.runners.remote.runner import RemotePool, RemoteRunner
from tests.runners import process_steps as own
from tests.runners import steps
from tests.runners.contract import PATIENCE, Rig


class ByHand:
    """A cluster whose workers are played by the test."""

    name = "dask"
    desk = "by-hand"

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        self.bundles: dict[int, b.Bundle] = {}
        self.loads: dict[int, list[Any]] = {}
        self.stays: dict[int, bool] = {}
        self.orders: list[tuple[str | None, tuple[Any, ...]]] = []
        self.withdrawn: list[int] = []
        self.refuses = ""
        self.closed = False
        self._news = threading.Condition()

    def open(self, listener: Any) -> None:
        self.listener = listener

    def sees(self, files: Mapping[str, str]) -> bool:
        return True

    def submit(self, ticket: int, data: bytes, loads: Sequence[Any], *, stays: bool) -> None:
        if self.refuses:
            raise RuntimeError(self.refuses)
        with self._news:
            self.bundles[ticket] = b.Bundle(*b.load(data))
            self.loads[ticket], self.stays[ticket] = list(loads), stays
            self._news.notify()

    def order(self, orders: Sequence[tuple[Any, ...]], where: str | None) -> None:
        with self._news:
            self.orders += [(where, one) for one in orders]
            self._news.notify()

    def withdraw(self, ticket: int, numbers: Sequence[int]) -> None:
        with self._news:
            self.withdrawn.append(ticket)
            self._news.notify()

    def close(self) -> None:
        self.closed = True

    # For tests

    def until(self, done: Callable[[], Any]) -> None:
        with self._news:
            assert self._news.wait_for(done, PATIENCE), "the desk has not done it"

    def next(self) -> tuple[int, list[b.Call]]:
        """The oldest bundle that nobody has taken, and its attempts."""
        self.until(lambda: self.bundles)
        with self._news:
            ticket = min(self.bundles)
            return ticket, self.bundles.pop(ticket).calls

    def answer(
        self, ticket: int, calls: Sequence[b.Call], value: Any = None, *, seconds: float = 0.0, words: int = 0
    ) -> None:
        """All of a bundle succeeded."""
        endings = [(call.number, c.OK, raw(value), seconds, 0.0, words) for call in calls]
        self.listener.over(ticket, b.dump(("errand", endings)), None)

    def say(self, what: int, call: b.Call, *given: Any, errand: str = "errand") -> None:
        self.listener.hear(b.dump((what, errand, call.number, *given)))


def raw(value: Any) -> b.Raw:
    return b.Raw(c.OK, b.packed(frames.pack(value)))


class RemoteRig(Rig):
    runner: RemoteRunner

    def __init__(self, pool: RemotePool) -> None:
        super().__init__(RemoteRunner(pool))
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

    def rooms(self) -> list[int]:
        self.take()
        return [reply[2] for reply in self.replies if reply[0] == c.ROOM]

    def stream(self) -> int:
        node = self._next
        self._next += 1
        self.runner.submit((node, node + 1, steps.nothing, {}, None, None, c.STREAM))
        return node


@pytest.fixture
def cluster() -> ByHand:
    return ByHand()


@pytest.fixture
def pool(cluster: ByHand) -> Iterator[RemotePool]:
    with RemotePool(cluster) as pool:
        yield pool
    assert cluster.closed


@pytest.fixture
def rig(pool: RemotePool) -> Iterator[RemoteRig]:
    rig = RemoteRig(pool)
    rig.open()
    yield rig
    pool.desk.close()  # first: a test may leave attempts with a worker that says nothing more
    rig.close()


# --- bundles ----------------------------------------------------------------------------------------------


def test_of_what_nothing_is_known_each_travels_alone(rig, cluster):
    nodes = [rig.submit(steps.add, x=i, y=1) for i in range(3)]
    for i, node in enumerate(nodes):
        ticket, calls = cluster.next()
        assert len(calls) == 1
        cluster.answer(ticket, calls, i, seconds=10.0)
        assert rig.end(node)[3:5] == (c.OK, i)


def test_what_is_tiny_travels_together_and_each_ends_for_itself(rig, cluster):
    ticket, calls = quick(rig, cluster)
    nodes = [rig.submit(steps.add, x=i, y=1) for i in range(100)]
    seen: list[b.Call] = []
    sizes = []
    while len(seen) < len(nodes):
        ticket, calls = cluster.next()
        sizes.append(len(calls))
        seen += calls
        endings = [(call.number, c.OK, raw(("ended", call.number)), 1e-5, 0.0, 0) for call in calls]
        cluster.listener.over(ticket, b.dump(("errand", endings)), None)
    assert max(sizes) > 10
    assert [rig.end(node)[4] for node in nodes] == [("ended", call.number) for call in seen]


def quick(rig: RemoteRig, cluster: ByHand) -> tuple[int, list[b.Call]]:
    """One attempt that was quick, so that the next ones travel together."""
    node = rig.submit(steps.add, x=0, y=0)
    ticket, calls = cluster.next()
    cluster.answer(ticket, calls, 0, seconds=1e-5)
    rig.end(node)
    return ticket, calls


def test_a_bundle_leaves_something_for_every_worker():
    pace = Pace()
    assert pace.most(1_000, 4) * 4 <= 1_000
    assert pace.most(3, 4) == 1
    assert pace.most(10**6, 1) == MOST


def test_the_pace_follows_what_attempts_take():
    pace = Pace()
    assert pace.expected(1) == GOAL
    pace.learn(1, 0.001)
    assert pace.expected(1) == pytest.approx(0.001)
    assert 0.001 < pace.expected(2) < GOAL, "of another step nothing is known but that of this one"
    for _ in range(100):
        pace.learn(1, 1.0)
    assert pace.expected(1) == pytest.approx(1.0, rel=0.01)


def test_the_capacity_grows_with_what_is_tiny_and_shrinks_with_what_is_slow(rig, cluster):
    assert rig.rooms() == [2]
    quick(rig, cluster)
    rig.until(lambda: rig.rooms()[-1] > 100)
    for _ in range(60):
        node = rig.submit(steps.add, x=0, y=0)
        ticket, calls = cluster.next()
        cluster.answer(ticket, calls, 0, seconds=60.0)
        rig.end(node)
    rig.until(lambda: rig.rooms()[-1] == 2)


def test_what_is_slower_than_it_seemed_is_given_back_before_it_is_handed_out(rig, cluster):
    quick(rig, cluster)
    rig.until(lambda: rig.rooms()[-1] > 100)
    nodes = [rig.submit(own.same, value=i) for i in range(200)]
    ticket, calls = cluster.next()
    cluster.answer(ticket, calls, 0, seconds=60.0)
    rig.until(lambda: any(rig.of(node, c.ENDED) and rig.end(node)[3] == c.RETURNED for node in nodes))


def test_large_arguments_travel_alone(rig, cluster):
    quick(rig, cluster)
    held_up = [rig.submit(steps.same, value=bytes(2 << 20)) for _ in range(3)]
    for _ in held_up:
        _, calls = cluster.next()
        assert len(calls) == 1
        cluster.answer(_, calls, 0)


def test_a_step_that_cannot_travel_fails_and_says_what_cannot(rig):
    failure = rig.failure(steps.same, value=threading.Lock())
    assert "argument 'value' (of type lock) cannot travel" in failure.text


def test_an_engine_that_takes_nothing_fails_the_attempt_in_words(rig, cluster):
    cluster.refuses = "it is full"
    failure = rig.failure(steps.add, x=1, y=1)
    assert (failure.kind, failure.text) == ("lost_worker", "dask takes no work: it is full")


# --- stopping ---------------------------------------------------------------------------------------------


def test_what_waits_is_given_back_at_once(rig, cluster):
    first, second = rig.submit(steps.add, x=1, y=1), rig.submit(steps.add, x=1, y=1)
    third = rig.submit(steps.add, x=1, y=1)
    cluster.next()
    rig.stop(third)
    assert rig.end(third)[3] == c.RETURNED
    assert (rig.of(first, c.ENDED), rig.of(second, c.ENDED)) == ([], [])


def test_what_was_handed_out_is_ordered_to_stop_wherever_it_is_and_withdrawn(rig, cluster):
    node = rig.submit(steps.add, x=1, y=1)
    ticket, (call,) = cluster.next()
    rig.stop(node)
    cluster.until(lambda: cluster.orders and cluster.withdrawn)
    assert cluster.orders == [(None, (b.STOP, call.number, False, True))]
    cluster.listener.withdrawn(ticket)
    assert rig.end(node)[3] == c.RETURNED


def test_orders_go_to_the_worker_that_has_said_that_it_began(rig, cluster):
    node = rig.submit(steps.add, x=1, y=1, timed=True)
    _, (call,) = cluster.next()
    cluster.say(b.BEGUN, call, 0.5, "tcp://there")
    rig.until(lambda: bool(rig.of(node, c.BEGAN)))
    rig.stop(node, timeout=True)
    cluster.until(lambda: cluster.orders)
    assert cluster.orders == [("tcp://there", (b.STOP, call.number, True, True))]
    assert cluster.withdrawn == []


def test_an_order_is_given_once_more_when_the_worker_is_known(rig, cluster):
    node = rig.submit(steps.add, x=1, y=1, timed=True)
    _, (call,) = cluster.next()
    rig.stop(node)
    cluster.until(lambda: cluster.orders)
    cluster.say(b.BEGUN, call, 0.0, "tcp://there")
    cluster.until(lambda: len(cluster.orders) == 2)
    assert cluster.orders[1] == ("tcp://there", (b.STOP, call.number, False, True))


def test_p9_what_was_to_be_killed_and_nobody_says_that_it_was_is_abandoned(rig, cluster, monkeypatch):
    monkeypatch.setattr(desk_module, "_KILLED", 0.0)
    node = rig.submit(steps.add, x=1, y=1, timed=True)
    ticket, (call,) = cluster.next()
    cluster.say(b.BEGUN, call, 0.0, "tcp://there")
    rig.stop(node, timeout=True)
    end = rig.end(node)
    assert end[3:5] == (c.CANCELLED, ("dask: tcp://there", ""))
    cluster.answer(ticket, [call], "too late")
    rig.until(lambda: bool(rig.of(node, c.GONE)))
    assert len(rig.of(node, c.ENDED)) == 1


# --- words ------------------------------------------------------------------------------------------------


def test_an_end_waits_for_the_words_that_were_said_before_it(rig, cluster):
    heard: list[Any] = []
    context = CoreContext("run", NodePath("n"), 1, heard.append)
    node = rig.submit(steps.same, value=1, context=context)
    ticket, (call,) = cluster.next()
    cluster.answer(ticket, [call], 1, words=2)
    event = Logged(NodePath("n"), 1, "hello", {})
    cluster.say(b.SAID, call, "pass_on", (event,))
    assert rig.of(node, c.ENDED) == []
    cluster.say(b.SAID, call, "pass_on", (event,))
    assert rig.end(node)[3] == c.OK
    assert heard == [event, event]


def test_words_that_never_come_are_not_waited_for_for_ever(rig, cluster, monkeypatch):
    monkeypatch.setattr(desk_module, "_WORDS", 0.0)
    node = rig.submit(steps.same, value=1)
    ticket, (call,) = cluster.next()
    cluster.answer(ticket, [call], 1, words=2)
    assert rig.end(node)[3:5] == (c.OK, 1)


def test_x04_elements_that_never_come_fail_their_stream(rig, cluster, monkeypatch):
    monkeypatch.setattr(desk_module, "_WORDS", 0.0)
    node = rig.stream()
    ticket, (call,) = cluster.next()
    cluster.answer(ticket, [call], None, words=2)
    end = rig.end(node)
    assert (end[3], end[4].kind) == (c.FAILED, "lost_worker")


def element(value: Any) -> b.Packed:
    return b.packed(frames.pack(value))


def test_x03_what_another_worker_gives_once_more_is_dropped(rig, cluster):
    """Dask carries a bundle out again when a worker has died."""
    node = rig.stream()
    ticket, (call,) = cluster.next()
    for value in "ab":
        cluster.say(b.GAVE, call, element(value), errand="first")
    for value in "abc":
        cluster.say(b.GAVE, call, element(value), errand="second")
    endings = [(call.number, c.OK, raw(None), 1.0, 0.0, 3)]
    cluster.listener.over(ticket, b.dump(("second", endings)), None)
    rig.end(node)
    assert [reply[3] for reply in rig.of(node, c.YIELDED)] == ["a", "b", "c"]


def test_a_stream_is_told_how_far_it_may_go_when_its_worker_is_known(rig, cluster):
    node = rig.stream()
    _, (call,) = cluster.next()
    rig.runner.go_on(node, node + 1, 7)
    cluster.say(b.BEGUN, call, 0.0, "tcp://there")
    cluster.until(lambda: cluster.orders)
    assert cluster.orders == [("tcp://there", (b.GO_ON, call.number, 7))]
    assert rig.of(node, c.BEGAN) == [], "it was not asked for"


# --- deaths -----------------------------------------------------------------------------------------------


def test_x01_what_was_lost_with_a_worker_is_given_back_and_then_travels_alone(rig, cluster):
    quick(rig, cluster)
    nodes = [rig.submit(steps.add, x=1, y=1) for _ in range(40)]
    ticket, first = cluster.next()
    more = [cluster.next() for _ in range(1)]
    cluster.listener.lost(ticket, "the worker died", died=True)
    lost = nodes[: len(first)]
    assert {rig.end(node)[3] for node in lost} == {c.RETURNED}
    for other, calls in more:
        cluster.answer(other, calls, 0, seconds=1e-5)
    again = lost[0]
    rig.runner.submit((again, again + 2, steps.add, {"x": 1, "y": 1}, None, None, 0))
    rig.submit(steps.add, x=1, y=1)
    bundles: list[list[b.Call]] = []
    while not any(len(calls) == 1 for calls in bundles):
        other, calls = cluster.next()
        bundles.append(calls)
        cluster.answer(other, calls, 0, seconds=1e-5)


def test_x01_a_step_at_which_workers_die_over_and_over_is_lost(rig, cluster):
    ends = []
    for attempt in range(3):
        rig.runner.submit((5, attempt + 1, steps.add, {"x": 1, "y": 1}, (Exception,), None, 0))
        ticket, _ = cluster.next()
        cluster.listener.lost(ticket, "the worker died", died=True)
        ends.append(last(rig, 5, attempt + 1))
    assert [end[3] for end in ends] == [c.RETURNED, c.RETURNED, c.FAILED]
    failure = ends[-1][4]
    assert (failure.kind, failure.type, failure.retryable) == ("lost_worker", "WorkerDied", True)
    assert failure.text == "the worker died; so did 2 before it"


def last(rig: RemoteRig, node: int, token: int) -> c.Reply:
    found: list[c.Reply] = []

    def come() -> bool:
        found[:] = [reply for reply in rig.of(node, c.ENDED) if reply[2] == token]
        return bool(found)

    rig.until(come)
    return found[0]


def test_x06_what_will_not_pass_fails_the_attempt(rig, cluster):
    node = rig.submit(steps.add, x=1, y=1)
    ticket, _ = cluster.next()
    cluster.listener.lost(ticket, "Skewed: the worker has another version", died=False)
    end = rig.end(node)
    assert (end[3], end[4].kind, end[4].text) == (
        c.FAILED,
        "lost_worker",
        "Skewed: the worker has another version",
    )


def test_a_pool_that_is_closed_loses_what_runs_and_takes_nothing_more(pool, cluster):
    rig = RemoteRig(pool)
    rig.open()
    node, waits = rig.submit(steps.add, x=1, y=1), rig.submit(steps.add, x=1, y=1)
    cluster.next()
    pool.close()
    late = rig.submit(steps.add, x=1, y=1)
    texts = {rig.end(one)[4].text for one in (node, waits, late)}
    assert texts == {"the pool of dask was closed"}
    rig.close()
    with pytest.raises(RuntimeError, match="was closed"):
        RemoteRig(pool).open()


# --- versions ---------------------------------------------------------------------------------------------


def test_x06_a_worker_with_another_version_refuses_and_names_both(monkeypatch):
    b.check_version(b.version(), "there")
    with pytest.raises(b.Skewed) as caught:
        b.check_version(("0.0.1", "cpython 3.99"), "tcp://there")
    here = b.version()
    for word in ("tcp://there", "0.0.1", "cpython 3.99", here.penstock, here.python):
        assert word in str(caught.value)


# --- values that stay -------------------------------------------------------------------------------------


def test_values_that_stay_get_into_the_arguments_of_others():
    array = own.Array(bytearray(b"x" * 100_000))
    body, buffers = b.packed(frames.pack(array))
    there = {7: (body, *buffers), 9: b.packed(frames.pack("small"))[:1]}
    one, other = Held("kept", 7, b.Stayed(100_000, 1 + len(buffers))), Held("kept", 9, b.Stayed(9, 1))
    packed = held.pack(({"xs": [one, other, one], "y": 1}, None), reference.Pickler, 1 << 16)
    assert len(packed.held) == 2
    assert len(buffers) == 1
    loads = tuple((buffer, 0, packed.held[index].number, part) for buffer, index, part in packed.loads)
    call = b.Call(1, 0, 1, b.packed(packed.parcel), loads=loads)
    filled = site._filled(call, [there])
    arguments, _ = pickle.loads(b"".join(filled.chunks), buffers=filled.buffers)
    assert [bytes(arguments["xs"][i].data) for i in (0, 2)] == [bytes(array.data)] * 2
    assert (arguments["xs"][1], arguments["y"]) == ("small", 1)


def test_a_value_that_stays_goes_nowhere_else():
    with pytest.raises(TypeError, match="cannot be pickled for anything but that engine"):
        pickle.dumps(Held("kept", 7, b.Stayed(100_000, 1)))


def test_a_large_value_is_kept_by_the_engine_and_brought_to_whoever_takes_it(rig, cluster):
    node = rig._next
    rig._next += 1
    rig.runner.submit((node, node + 1, own.zeros, {"size": 1 << 20}, None, None, c.STAYS))
    ticket, (call,) = cluster.next()
    assert call.stays
    assert cluster.stays[ticket]
    assert not call.flag & c.STAYS, "the child knows nothing of it"
    endings = [(call.number, c.OK, b.Stayed(1 << 20, 1), 1.0, 0.0, 0)]
    cluster.listener.over(ticket, b.dump(("errand", endings)), "the future")
    value = rig.end(node)[4]
    assert isinstance(value, Held)
    rig.submit(steps.same, value=[value])
    ticket, (taker,) = cluster.next()
    assert cluster.loads[ticket] == ["the future"]
    assert [load[1:] for load in taker.loads] == [(0, call.number, 0)]


def flow_of_values() -> Flow:
    flow = Flow("values")

    @flow.step
    def source(n: int) -> list[int]:
        return list(range(n))

    @flow.step
    def item(x: int = each(source)) -> int:
        return x

    @flow.step
    def taken(xs: list[int] = gather(item)) -> int:
        return len(xs)

    @flow.step
    def asked(taken: int) -> int:
        return taken

    @flow.step(when=lambda asked: asked > 0)
    def careful(asked: int) -> int:
        return asked

    @flow.step
    def part(careful: int) -> dict[str, int]:
        return {"a": careful}

    @flow.step
    def of_part(a: int = use(part, "a")) -> int:
        return a

    @flow.step(runner="threads")
    def here(of_part: int, ctx: Context) -> int:
        return of_part

    @flow.step(keep=True)
    def kept(taken: int) -> int:
        return taken

    @flow.step
    def last(kept: int, here: int) -> int:
        return kept + here

    return flow


def test_only_values_that_nobody_here_looks_at_may_stay():
    graph = flow_of_values().graph()
    plan = Plan(graph, runner="dask")
    kinds = staying(plan, ["dask"])
    free = {node.id for node, kind in zip(plan.nodes, kinds, strict=True) if kind & c.STAYS}
    # source: is mapped over; asked: a condition reads it; part: a part is taken; of_part: a thread takes it
    assert free == {"item", "taken", "careful"}
    assert staying(Plan(graph, runner="threads"), ["dask"]) == Plan(graph, runner="threads").kind


# --- the workers' side ------------------------------------------------------------------------------------


class Place:
    """A site in this process, and how bundles get there."""

    def __init__(self) -> None:
        self.desk = f"desk-{time.monotonic_ns()}"
        self.words: list[Any] = []

    def bundle(self, *calls: b.Call, tasks: dict[int, Any] | None = None) -> bytes:
        known = {1: (own.same, None, None, ())} if tasks is None else tasks
        packed = {number: b.packed(frames.pack(task, reference.Pickler)) for number, task in known.items()}
        return b.dump((reference.world(), 0.0, packed, list(calls)))

    def carry_out(self, data: bytes) -> list[b.Ending]:
        bundle = b.opened(data, tuple(b.version()), "here")
        here = site.site_of(self.desk, "here")
        answer, self.values = here.carry_out(bundle, (), 1, lambda word: self.words.append(b.load(word)))
        return [b.Ending(*one) for one in b.load(answer)[1]]


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    site.leave(place.desk)


def call(number: int, flag: int = 0, task: int = 1, stays: bool = False, **arguments: Any) -> b.Call:
    return b.Call(number, flag, task, b.packed(frames.pack((arguments, None))), stays=stays)


def test_a_bundle_is_carried_out_in_a_child(place):
    endings = place.carry_out(place.bundle(call(1, value="a"), call(2, value="b")))
    assert [(ending.number, ending.payload.frame().load()) for ending in endings] == [(1, "a"), (2, "b")]
    (pid,) = place.carry_out(place.bundle(call(3), tasks={1: (own.pid, None, None, ())}))
    assert pid.payload.frame().load() != os.getpid()


def test_large_values_stay_if_they_may(place):
    data = place.bundle(call(1, value="x" * 100_000, stays=True), call(2, value="x" * 100_000))
    stayed, came = place.carry_out(data)
    assert stayed.payload == b.Stayed(len(place.values[1][0]), 1)
    assert list(place.values) == [1]
    assert came.payload.frame().load() == "x" * 100_000


def test_what_was_ordered_to_stop_before_it_came_is_never_begun(place):
    site.obey(place.desk, b.dump([(b.STOP, 1, False, True)]))
    assert not site.knows(place.desk, [1, 2])
    endings = place.carry_out(place.bundle(call(1, value="a"), call(2, value="b")))
    assert {ending.number: ending.result for ending in endings} == {1: c.RETURNED, 2: c.OK}
    assert site.knows(place.desk, [2])


def test_words_are_counted(place):
    (ending,) = place.carry_out(place.bundle(call(1, c.TIMED, value=0)))
    assert ending.words == 1
    ((what, _, number, age, where),) = place.words
    assert (what, number, where) == (b.BEGUN, 1, "here")
    assert age >= 0


def test_a_word_that_cannot_be_said_is_not_counted(place):
    def refuse(word: bytes) -> None:
        raise OSError("the line is cut")

    data = place.bundle(call(1, c.TIMED, value=0))
    bundle = b.opened(data, tuple(b.version()), "here")
    answer, _ = site.site_of(place.desk, "here").carry_out(bundle, (), 1, refuse)
    (ending,) = [b.Ending(*one) for one in b.load(answer)[1]]
    assert ending.words == 0


def test_a_worker_that_has_been_left_begins_anew(place):
    place.carry_out(place.bundle(call(1, value="a")))
    site.leave(place.desk)
    site.leave(place.desk)
    (ending,) = place.carry_out(place.bundle(call(2, value="b")))
    assert ending.result == c.OK


def test_an_idle_site_has_no_children(place, monkeypatch):
    place.carry_out(place.bundle(call(1, value="a")))
    mine = site.site_of(place.desk, "here")
    dispatcher = mine._dispatcher
    assert dispatcher is not None
    assert dispatcher.pids
    monkeypatch.setattr(site, "_IDLE", 0.0)
    mine._look()
    assert dispatcher.pids == []


def test_a_world_is_what_is_here_too():
    world = reference.world()._replace(path=["/nowhere-at-all", *reference.world().path])
    adapted = site.adapted(world)
    assert "/nowhere-at-all" not in adapted.path
    here = [path for path in world.path if os.path.exists(path)]
    assert adapted.path[: len(here)] == here
