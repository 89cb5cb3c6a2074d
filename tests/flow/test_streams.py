"""Steps that give their elements one by one: what they are to the graph, to types, and in a run."""

# mypy: disable-error-code="empty-body, no-untyped-call"

import functools
import io
import sqlite3
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator
from typing import Any, TextIO

import pytest

from penstock.core.errors import GraphError, InputError
from penstock.core.model import Failure, Need, Node, NodeStatus, Ok, RetryPolicy, RunOptions, RunStatus
from penstock.flow import Context, Flow, each, gather, param, use

WAIT = 20  # seconds; only a broken run waits so long


def node(flow: Flow, id: str) -> Node:
    graph = flow.graph()
    return graph.nodes[graph.index[id]]


@pytest.fixture
def flow() -> Flow:
    return Flow("flow")


# --- what is a stream -------------------------------------------------------------------------------------


def plain(n: int = 3):
    yield from range(n)


async def asynchronous(n: int = 3):
    for i in range(n):
        yield i


def annotated_iterator(n: int = 3) -> Iterator[int]:
    return iter(range(n))


def annotated_generator(n: int = 3) -> Generator[int, None, None]:
    return (i for i in range(n))


def annotated_async_iterator(n: int = 3) -> AsyncIterator[int]:
    return asynchronous(n)


def annotated_async_generator(n: int = 3) -> AsyncGenerator[int, None]:
    return asynchronous(n)


def annotated_zip() -> zip: ...
def annotated_cursor() -> sqlite3.Cursor: ...
def annotated_file() -> TextIO: ...
def annotated_buffer() -> io.StringIO: ...


class Numbers:
    def __call__(self, n: int = 3) -> Iterator[int]:
        yield from range(n)

    def method(self, n: int = 3):
        yield from range(n)

    async def asynchronous(self, n: int = 3):
        yield n


STREAMS = [
    (plain, False),
    (asynchronous, True),
    (annotated_iterator, False),
    (annotated_generator, False),
    (annotated_async_iterator, True),
    (annotated_async_generator, True),
    (annotated_zip, False),
    (annotated_cursor, False),
    (annotated_file, False),
    (annotated_buffer, False),
    (Numbers(), False),
    (Numbers().method, False),
    (Numbers().asynchronous, True),
    (functools.partial(plain, n=1), False),
    (functools.partial(asynchronous, n=1), True),
]


@pytest.mark.parametrize(("function", "is_async"), STREAMS)
@pytest.mark.parametrize("options", [{}, {"keep": True}], ids=["plain", "options"])
def test_generators_and_functions_annotated_as_iterators_are_streams(flow, function, is_async, options):
    flow.add(function, name="s", **options)
    made = node(flow, "s")
    assert made.stream is True
    assert made.is_async is is_async


def a_list() -> list[int]: ...
def an_iterable() -> Iterable[int]: ...
def an_iterator_or_none() -> Iterator[int] | None: ...
async def a_coroutine() -> Iterator[int]: ...
async def an_async_iterator_later() -> AsyncIterator[int]: ...


@pytest.mark.parametrize(
    "function", [a_list, an_iterable, an_iterator_or_none, a_coroutine, an_async_iterator_later]
)
def test_other_functions_are_none(flow, function):
    flow.add(function, name="s")
    assert node(flow, "s").stream is False


def test_a_stream_step_stays_the_generator_function_it_was(flow):
    step = flow.step(plain)
    assert list(step(2)) == [0, 1]
    assert list(flow.add(plain, name="b", n=1)()) == [0]


# --- types ------------------------------------------------------------------------------------------------


def numbers() -> Iterator[int]:
    yield 1


async def letters() -> AsyncGenerator[str, None]:
    yield "a"


def loosely_annotated() -> Iterable[int]:
    yield 1


@pytest.mark.parametrize(
    ("producer", "wanted", "mark"),
    [
        (numbers, int, each),
        (numbers, list[int], use),
        (numbers, list, use),
        (letters, str, each),
        (letters, list[str], use),
        (loosely_annotated, int, each),
        (plain, int, each),
        (plain, list[str], use),
        (annotated_file, str, each),
    ],
)
def test_edges_that_fit(flow, producer, wanted, mark):
    def consumer(x): ...

    consumer.__annotations__ = {"x": wanted}
    flow.add(consumer, x=mark(flow.add(producer, name="s")))
    flow.graph()


@pytest.mark.parametrize(
    ("producer", "wanted", "mark", "text"),
    [
        (
            numbers,
            str,
            each,
            "its parameter 'x' takes str, and each(s) gives int;\n"
            "change one of the two annotations, or the marker of 'x'",
        ),
        (
            numbers,
            int,
            use,
            "its parameter 'x' takes int, and the value of 's', a stream, is list[int];\n"
            "did you mean x=each(s)?",
        ),
        (
            numbers,
            Iterator[int],
            use,
            "its parameter 'x' takes Iterator[int], and the value of 's', a stream, is list[int];\n"
            "change one of the two annotations, or the marker of 'x'",
        ),
        (
            plain,
            int,
            use,
            "its parameter 'x' takes int, and the value of 's', a stream, is list;\n"
            "change one of the two annotations, or the marker of 'x'",
        ),
        (
            a_coroutine,
            int,
            each,
            "x=each(s) needs a list or tuple, and 's' returns Iterator[int], from a coroutine;\n"
            "let it yield its elements (an async generator), or return a list",
        ),
    ],
)
def test_edges_that_do_not(flow, producer, wanted, mark, text):
    def consumer(x): ...

    consumer.__annotations__ = {"x": wanted}
    flow.add(consumer, x=mark(flow.add(producer, name="s")))
    with pytest.raises(GraphError) as caught:
        flow.graph()
    assert str(caught.value) == f"step 'consumer': {text}"


def test_an_input_is_a_list_and_no_iterator(flow):
    flow.add(lambda x: x, name="f", x=each(param("xs", Iterator[int])))
    with pytest.raises(GraphError) as caught:
        flow.graph()
    assert str(caught.value) == (
        "step 'f': x=each(param('xs')) needs a list or tuple, and 'xs' is Iterator[int];\n"
        "say param('xs', list[...]), or use() it whole"
    )


def test_the_wiring_says_what_is_a_stream(flow):
    flow.add(plain)
    assert flow.explain_wiring().splitlines()[2:] == [
        "step   parameter  takes",
        "plain  n          input n: int = 3",
        "       (stream)   gives its elements one by one",
    ]


# --- runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [function for function, _ in STREAMS if getattr(function, "__name__", "") not in (
        "annotated_zip", "annotated_cursor", "annotated_file", "annotated_buffer"
    )],
)  # fmt: skip
def test_elements_are_mapped_over_and_taken_whole(flow, function):
    source = flow.add(function, name="s", keep=True, bind={"n": 3})
    double = flow.add(lambda x: x * 2, name="double", x=each(source))
    flow.add(lambda s, xs: (s, xs), name="all", xs=gather(double))
    result = flow.run()
    result.raise_for_failure()
    expected = (
        [3]
        if getattr(function, "__name__", "") == "asynchronous" and hasattr(function, "__self__")
        else [0, 1, 2]
    )
    assert result["all"] == (expected, [2 * n for n in expected])
    assert result["s"] == expected


@pytest.mark.parametrize("runner", ["threads", "inline"])
def test_streams_on_every_runner(flow, runner):
    source = flow.add(plain, name="s", n=100)
    flow.add(lambda xs: sum(xs), name="sum", xs=gather(flow.add(lambda x: x, name="m", x=each(source))))
    assert flow.run(runner=runner)["sum"] == 4950


def test_elements_reach_their_items_before_the_stream_ends(flow):
    taken = threading.Event()

    def source():
        yield "first"
        assert taken.wait(WAIT)
        yield "second"

    def item(x):
        taken.set()
        return x

    flow.add(item, x=each(flow.add(source)))
    result = flow.run()
    result.raise_for_failure()
    assert result.items("item") == ["first", "second"]


def test_async_elements_reach_async_items_before_the_stream_ends(flow):
    import asyncio

    async def source():
        seen = asyncio.Event()
        yield seen
        async with asyncio.timeout(WAIT):
            await seen.wait()
        yield seen

    async def item(x):
        x.set()

    flow.add(item, x=each(flow.add(source)))
    result = flow.run()
    result.raise_for_failure()
    assert len(result.items("item")) == 2


def test_a_producer_is_held_back_by_its_items(flow):
    given: list[int] = []
    ended: list[int] = []
    ahead: list[int] = []

    def source():
        for i in range(3000):
            given.append(i)
            yield i

    def item(x):
        ahead.append(len(given) - len(ended))
        ended.append(x)

    flow.add(item, x=each(flow.add(source)))
    flow.run(options=RunOptions(max_concurrency=2)).raise_for_failure()
    assert len(ended) == 3000
    assert max(ahead) < 200


def test_f02_an_empty_stream_makes_no_calls(flow):
    items = flow.add(lambda x: x, name="m", x=each(flow.add(plain, name="s", n=0)))
    flow.add(lambda xs: xs, name="g", xs=gather(items))
    assert flow.run()["g"] == []


def test_a_stream_in_a_map_is_gathered_as_lists(flow):
    @flow.step
    def counts() -> list[int]:
        return [2, 0, 1]

    @flow.step
    def numbers(count: int = each(counts)) -> Iterator[int]:
        yield from range(count)

    @flow.step
    def square(x: int = each(numbers)) -> int:
        return x * x

    @flow.step
    def all_of(
        lists: list[list[int]] = gather(numbers), squares: list[list[int]] = gather(gather(square))
    ) -> Any:
        return lists, squares

    assert flow.run()["all_of"] == ([[0, 1], [], [0]], [[0, 1], [], [0]])


def broken():
    yield 1
    yield 2
    raise ValueError("no more")


@pytest.mark.parametrize(
    ("failures", "expected"), [("drop", [1, 2]), ("keep", [Ok, Ok, Failure])], ids=["drop", "keep"]
)
def test_f04_a_stream_that_fails_is_one_failure_more(flow, failures, expected):
    items = flow.add(lambda x: x, name="m", x=each(flow.add(broken, name="s")), keep=True)
    flow.add(lambda xs: xs, name="g", xs=gather(items, failures=failures))
    result = flow.run(options=RunOptions(on_failure="continue"))
    found = result["g"] if failures == "drop" else [type(one) for one in result["g"]]
    assert found == expected
    assert result.nodes["s"].status is NodeStatus.FAILED
    assert result.items(items) == [1, 2]


def test_f04_a_stream_that_fails_fails_the_run_where_a_gather_says_raise(flow):
    items = flow.add(lambda x: x, name="m", x=each(flow.add(broken, name="s")))
    flow.add(lambda xs: xs, name="g", xs=gather(items))
    result = flow.run()
    assert result.status is RunStatus.FAILED
    assert result.nodes["g"].status is NodeStatus.SKIPPED
    assert result.nodes["s"].failure.text == "no more"


@pytest.mark.parametrize("how", [{"keep": True}, {}], ids=["keep", "target"])
def test_the_whole_list_is_kept_where_it_is_wanted(flow, how):
    source = flow.add(plain, name="s", n=5, **how)
    items = flow.add(lambda x: x, name="m", x=each(source))
    assert flow.run(targets=None if how else [source, items])[source] == [0, 1, 2, 3, 4]


def test_a_stream_that_is_retried_repeats_nothing(flow):
    tries, seen = [], []

    def source():
        tries.append(1)
        for i in range(5):
            if i == 3 and len(tries) < 3:
                raise ValueError("again")
            yield i

    def item(x):
        seen.append(x)
        return x

    flow.add(source, retry=RetryPolicy(3, initial_delay=0), keep=True)
    flow.add(item, x=each(flow.steps["source"]))
    result = flow.run()
    assert result["source"] == result.items("item") == [0, 1, 2, 3, 4]
    assert (len(tries), sorted(seen)) == (3, [0, 1, 2, 3, 4])


def test_a_generator_is_closed_when_the_run_stops(flow):
    closed = threading.Event()

    def source(ctx: Context):
        try:
            while True:
                yield 1
        finally:
            closed.set()

    def item(x):
        raise ValueError("stop")

    flow.add(item, x=each(flow.add(source)))
    assert flow.run().status is RunStatus.FAILED
    assert closed.wait(WAIT)


def test_the_context_of_a_stream(flow):
    @flow.step
    def source(ctx: Context) -> Iterator[str]:
        yield str(ctx.path)

    assert flow.run()["source"] == ["source"]


def test_a_stream_is_overridden_with_a_list(flow):
    source = flow.add(plain, name="s")
    items = flow.add(lambda x: x + 1, name="m", x=each(source))
    assert flow.run(override={source: [5, 6]}).items(items) == [6, 7]
    with pytest.raises(InputError, match="returns list, not int"):
        flow.run(override={source: 5})


# --- generators as inputs ---------------------------------------------------------------------------------


def test_f01_a_generator_is_read_whole_where_an_input_is_mapped_over(flow):
    @flow.step
    def item(x: int = each(param("xs", list[int]))) -> int:
        return x

    @flow.step
    def count(xs: list[int] = use(param("xs", list[int]))) -> int:
        return len(xs)

    result = flow.run(xs=(n * n for n in range(3)))
    assert result.items(item) == [0, 1, 4]
    assert result[count] == 3
    assert flow.run(xs=map(int, "12")).items(item) == [1, 2]


def test_an_iterator_for_an_input_that_is_not_mapped_over_is_passed_on(flow):
    flow.add(lambda xs: next(xs), name="first")
    assert flow.run(xs=iter("ab"))["first"] == "a"


def test_an_async_iterator_is_no_input_to_map_over(flow):
    flow.add(lambda x: x, name="item", x=each(param("xs")))
    with pytest.raises(InputError) as caught:
        flow.run(xs=asynchronous())
    assert str(caught.value) == (
        "flow 'flow': the input 'xs' is an async iterator, and a run takes lists "
        "(step 'item', parameter 'x');\n"
        "read it before, or in a step: an async generator"
    )


def test_f01_a_plain_function_that_returns_a_generator_is_told_to_say_so(flow):
    def source():
        return (n for n in range(3))

    flow.add(lambda x: x, name="item", x=each(flow.add(source)))
    result = flow.run()
    assert result.nodes["source"].failure.text == (
        "'item' maps over the value of source, which is of type generator; "
        "annotate source to return Iterator[...], and its elements are passed on one by one"
    )


def test_the_need_of_an_element(flow):
    flow.add(lambda x: x, name="m", x=each(flow.add(plain, name="s")))
    (need,) = node(flow, "m").needs
    assert isinstance(need, Need)
    assert (need.node, need.how, need.part, need.key) == ("s", "each", None, None)
