"""Resources of a flow: wired by name or by `use`, opened once, closed at the end."""

# mypy: disable-error-code="empty-body, no-untyped-call, no-untyped-def, call-overload, misc"

import asyncio
import contextlib
import copy
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Self

import pytest

from penstock import (
    Context,
    Flow,
    GraphError,
    RetryPolicy,
    RunOptions,
    each,
    gather,
    optional,
    outcome,
    param,
    use,
)
from penstock.core.model import Resource
from penstock.flow.markers import fold


def one(): ...


@pytest.fixture
def flow() -> Flow:
    return Flow("shop")


@pytest.fixture
def log() -> list[str]:
    return []


def lent(flow: Flow, step: str) -> dict[str, Resource]:
    graph = flow.graph()
    return dict(graph.nodes[graph.index[step]].resources)


class Connection:
    def __init__(self, url: str) -> None:
        self.url = url


# --- runs -------------------------------------------------------------------------------------------------


def test_steps_share_one_that_is_opened_at_first_use_and_closed_at_the_end(flow, log):
    @flow.resource
    def database(url: str) -> Iterator[Connection]:
        log.append("open")
        yield Connection(url)
        log.append("close")

    @flow.step
    def orders(database: Connection) -> list[int]:
        log.append("orders")
        return [1, 2, 3]

    @flow.step(keep=True)
    def price(order: int = each(orders), db: Connection = use(database)) -> str:
        return f"{db.url}/{order}"

    @flow.step
    def total(prices: list[str] = gather(price)) -> int:
        log.append("total")
        return len(prices)

    for _ in range(2):
        result = flow.run(url="db")
        assert result.items(price) == ["db/1", "db/2", "db/3"]
        assert result[total] == 3
        assert result.warnings == ()
    assert log == ["open", "orders", "total", "close"] * 2


@pytest.mark.parametrize("how", ["run", "arun", "start"])
def test_all_ways_of_running_close_them(flow, log, how):
    @flow.resource
    def plain():
        log.append("open plain")
        yield 1
        log.append("close plain")

    @flow.resource
    async def client(plain):
        log.append("open client")
        yield plain + 1
        log.append("close client")

    @flow.step
    async def fetch(client):
        return client

    async def arun():
        return await flow.arun()

    runs = {"run": flow.run, "arun": lambda: asyncio.run(arun()), "start": lambda: flow.start().result(30)}
    assert runs[how]()[fetch] == 2
    assert log == ["open plain", "open client", "close client", "close plain"]


def test_a_failure_to_open_fails_the_attempt_which_may_be_tried_again(flow, log):
    @flow.resource
    def database():
        log.append("try")
        if len(log) < 3:
            raise ConnectionError("refused")
        yield 1

    @flow.step(retry=RetryPolicy(max_attempts=3, initial_delay=0.0))
    def load(database):
        return database

    assert flow.run()[load] == 1
    log.clear()
    flow2 = Flow("once")
    flow2.resource(database)
    flow2.step(load.function)
    result = flow2.run()
    failure = result.nodes["load"].failure
    assert failure is not None
    assert (failure.type, failure.text) == ("ConnectionError", "refused")
    assert "(while the resource 'database' was opened)" in failure.trace


def test_a_failure_to_close_is_a_warning(flow):
    @flow.resource
    def database():
        yield 1
        raise OSError("broken pipe")

    flow.add(lambda database: database, name="load")
    result = flow.run()
    assert result.status.value == "succeeded"
    assert result.warnings == ("resource 'database' failed to close: OSError: broken pipe",)


def test_it_is_closed_when_the_run_fails_and_when_nothing_asks_it_is_not_opened(flow, log):
    @flow.resource
    def database():
        log.append("open")
        yield 1
        log.append("close")

    @flow.step
    def load(database):
        raise ValueError

    flow.add(lambda database: 1, name="late", after=[load])
    flow.run()
    assert log == ["open", "close"]
    flow.run(override={"load": 1, "late": 2})
    assert log == ["open", "close"]


def test_a_worker_has_one_of_its_own(flow):
    barrier = threading.Barrier(2)

    @flow.resource(scope="worker")
    def number():
        yield threading.get_ident()

    @flow.step(runner="threads")
    def work(n: int = each(param("ns", list[int])), number: int = use(number)):
        barrier.wait(30)
        return number == threading.get_ident()

    result = flow.run(ns=[1, 2])
    assert result.items(work) == [True, True]


def test_only_targets_open_theirs_and_only_their_inputs_are_asked_for(flow, log):
    @flow.resource
    def database(url: str):
        log.append(url)
        yield url

    flow.add(lambda database: database, name="load")
    flow.add(lambda: 1, name="other")
    assert flow.run(targets="other")["other"] == 1
    assert log == []
    assert flow.run(targets="load", url="x")["load"] == "x"


def test_a_stream_may_take_one(flow, log):
    @flow.resource
    def database():
        yield [1, 2, 3]
        log.append("close")

    @flow.step
    def rows(database) -> Iterator[int]:
        yield from database

    @flow.step
    async def arows(database) -> AsyncIterator[int]:
        for row in database:
            yield row

    assert flow.run()[rows] == flow.run()[arows] == [1, 2, 3]
    assert log == ["close"] * 2


# --- wiring -----------------------------------------------------------------------------------------------


def test_all_forms_become_core_resources(flow):
    class Client:
        def __init__(self, url: str) -> None: ...
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *error: object) -> None: ...

    class Plain:
        def __enter__(self) -> int:
            return 1

        def __exit__(self, *error: object) -> None: ...

    @flow.resource
    def generator() -> Iterator[int]: ...

    @flow.resource(scope="worker")
    @contextmanager
    def managed() -> Iterator[int]:
        yield 1

    @flow.resource(name="renamed")
    @asynccontextmanager
    async def amanaged() -> AsyncIterator[int]:
        yield 1

    @flow.resource
    @asynccontextmanager
    async def unannotated():
        yield 1

    def annotated() -> AbstractContextManager[int]: ...

    flow.resource(annotated)
    flow.resource(Client)
    flow.resource(Plain)
    flow.resource(partial(annotated), name="partial")
    flow.resource(lambda: contextlib.nullcontext(1), name="lambda")
    names = [*flow.resources]
    flow.add(lambda **all: all, name="plain", **{n: use(r) for n, r in flow.resources.items() if n in PLAIN})

    async def takes(**all): ...

    flow.add(takes, name="async", **{n: use(r) for n, r in flow.resources.items() if n not in PLAIN})
    assert names == [
        *(
            "generator",
            "managed",
            "renamed",
            "unannotated",
            "annotated",
            "Client",
            "Plain",
            "partial",
            "lambda",
        )
    ]
    assert set(lent(flow, "plain")) == PLAIN
    assert {one.is_async for one in lent(flow, "plain").values()} == {False}
    assert {one.is_async for one in lent(flow, "async").values()} == {True}
    assert lent(flow, "plain")["managed"].scope == "worker"
    types = {name: resource.facts.returns for name, resource in flow.resources.items()}
    assert types == {
        **dict.fromkeys(("generator", "managed", "renamed", "annotated", "Plain", "partial"), int),
        **{"unannotated": None, "lambda": None, "Client": Client},
    }


PLAIN = {"generator", "managed", "annotated", "Plain", "partial", "lambda"}


def test_it_takes_inputs_and_other_resources_by_name_and_by_marker(flow):
    @flow.resource
    def pool(url: str, size: int = 3): ...

    @flow.resource
    def database(pool, other=use(pool), user: str = use(param("login", str))): ...

    flow.add(lambda database: 1, name="load")
    resource = lent(flow, "load")["database"]
    assert resource.inputs == (("user", "login"),)
    assert [(param, part.id, part.inputs) for param, part in resource.resources] == [
        ("pool", "pool", (("url", "url"), ("size", "size"))),
        ("other", "pool", (("url", "url"), ("size", "size"))),
    ]
    assert {name: one.default for name, one in flow.graph().inputs.items() if name == "size"} == {"size": 3}
    assert flow.graph().inputs["url"].users == ("load",)


def test_steps_that_take_one_have_the_same(flow):
    @flow.resource
    def database(): ...

    flow.add(lambda database: 1, name="a")
    flow.add(lambda x: 1, name="b", x=use(database), keep=True)
    assert lent(flow, "a")["database"] is lent(flow, "b")["x"]


def test_it_stays_the_function_that_it_was(flow):
    @flow.resource
    def database(url: str) -> Iterator[str]:
        """Where orders are."""
        yield url

    assert list(database("x")) == ["x"]
    assert (database.__name__, database.__doc__) == ("database", "Where orders are.")
    assert database.__wrapped__ is database.function
    assert repr(database) == "<resource 'database' of flow 'shop'>"
    assert flow.resources == {"database": database}


def test_another_flow_may_have_it_too(flow):
    @flow.resource(scope="worker")
    def database(): ...

    other = Flow("other")
    again = other.resource(database, scope="run")
    assert (again.id, again.function, again.flow, again.scope) == (
        "database",
        database.function,
        other,
        "run",
    )


def test_a_resource_that_is_added_later_is_seen(flow):
    flow.add(lambda database: 1, name="load")
    assert [*flow.graph().inputs] == ["database"]
    flow.resource(lambda: contextlib.nullcontext(1), name="database")
    assert [*flow.graph().inputs] == []
    assert flow.run()["load"] == 1


def test_a_step_that_is_repeated_has_it_each_time(flow, log):
    from penstock.flow import loops

    @flow.resource
    def database():
        log.append("open")
        yield 1

    @flow.step
    def refine(value: int, database: int) -> int:
        return value + database

    loops.repeat(refine, until=lambda value: value >= 3, max=5, feed="value")
    assert flow.run(value=0)["refine"] == 3
    assert log == ["open"]


def test_the_table_shows_them(flow):
    @flow.resource
    def pool(url: str): ...

    @flow.resource
    def database(pool): ...

    @flow.resource(scope="worker")
    def model(): ...

    flow.add(lambda database, m: 1, name="load", m=use(model))
    assert flow.explain_wiring().splitlines()[2:] == [
        "step                 parameter  takes",
        "load                 database   the resource database  (by name)",
        "                     m          the resource model, one for each worker",
        "database (resource)  pool       the resource pool",
        "model (resource)                nothing",
        "pool (resource)      url        input url: str",
    ]


# --- sub-flows --------------------------------------------------------------------------------------------


@pytest.fixture
def inner(log):
    inner = Flow("inner")

    @inner.resource
    def database(url: str) -> Iterator[str]:
        log.append(f"open {url}")
        yield url
        log.append(f"close {url}")

    @inner.step
    def load(path: str, database: str) -> str:
        return f"{database}/{path}"

    @inner.step
    def again(load: str, d: str = use(database)) -> str:
        return f"{load}+{d}"

    return inner


def test_a_sub_flow_brings_its_own(flow, inner, log):
    sub = flow.add(inner, name="sub", path="p")
    assert flow.run(url="db")[sub["again"]] == "db/p+db"
    assert log == ["open db", "close db"]


def test_sub_flows_with_the_same_inputs_share_one_and_others_do_not(flow, inner, log):
    for name, url in {"a": "x", "b": "x", "c": "y"}.items():
        flow.add(inner, name=name, path="p", url=url)
    flow.run()
    assert sorted(log) == ["close x", "close y", "open x", "open y"]


def test_what_a_resource_of_a_sub_flow_takes_may_be_an_input_of_the_run(flow, inner):
    sub = flow.add(inner, name="sub", path="p", url=use(param("where", str)))
    assert flow.run(where="w")[sub["again"]] == "w/p+w"


def test_what_a_step_gives_cannot_open_a_resource(flow, inner):
    source = flow.add(lambda: "x", name="source")
    flow.add(inner, name="sub", path="p", url=use(source))
    with pytest.raises(GraphError) as caught:
        flow.graph()
    assert "resource 'database': takes the input 'url' of sub-flow 'sub', which is given use(source)" in str(
        caught.value
    )


def test_a_sub_flow_does_not_see_what_is_around_it(flow, inner):
    flow.resource(lambda: contextlib.nullcontext("outer"), name="path")
    flow.add(inner, name="sub")
    with pytest.raises(GraphError, match="takes an input 'path', and a resource has that name"):
        flow.graph()


# --- refusals ---------------------------------------------------------------------------------------------


def refused(flow: Flow) -> str:
    with pytest.raises(GraphError) as caught:
        flow.graph()
    return str(caught.value)


@pytest.fixture
def client(flow) -> Any:
    @flow.resource
    async def client() -> AsyncIterator[int]:
        yield 1

    return client


@pytest.fixture
def database(flow) -> Any:
    @flow.resource
    def database() -> Iterator[Connection]:
        yield Connection("x")

    return database


def test_g09_an_async_one_in_a_plain_step_names_the_way_out(flow, client):
    @flow.step
    def fetch(client): ...

    assert refused(flow) == (
        "step 'fetch': its parameter 'client' takes the resource 'client', which is opened on the event "
        "loop, and the step is not async;\n"
        "make it one (async def fetch), or let 'client' be opened without await"
    )


def test_one_of_the_run_in_another_process_names_the_way_out(flow, database):
    @flow.step(runner="processes")
    def crunch(database): ...

    assert refused(flow) == (
        "step 'crunch': the resource 'database' belongs to the run, and the step is to run in another "
        "process;\nopen one in each process: @flow.resource(scope='worker')"
    )


def test_the_default_runner_of_a_run_is_looked_at_too(flow, database):
    flow.add(copy.copy, name="crunch", x=use(database))
    with pytest.raises(ValueError, match="'database' belongs to the run"):
        flow.run(runner="processes")


@pytest.mark.parametrize(
    "make",
    [each, gather, lambda source: optional(source, 1), outcome, lambda source: use(source, "part")],
    ids=["each", "gather", "optional", "outcome", "part"],
)
def test_it_is_taken_whole(flow, database, make):
    marker = make(database)
    flow.add(lambda x: x, name="load", x=marker)
    assert refused(flow) == (
        f"step 'load': x={marker!r}: 'database' is a resource, which is taken whole; say x=use(database)"
    )


def test_it_cannot_be_folded(flow, database):
    flow.add(lambda x: x, name="load", x=fold(database, max, 0))
    assert "'database' is a resource, which is taken whole" in refused(flow)


def test_it_does_not_stand_for_itself(flow, database):
    flow.add(lambda x: x, name="load", x=database)
    assert refused(flow) == "step 'load': for the resource 'database' say x=use(database)"


def test_types_are_checked(flow, database):
    @flow.step
    def load(database: int): ...

    assert "takes int, and 'database' returns Connection" in refused(flow)


def test_one_of_another_flow_is_refused(flow):
    other = Flow("other")
    strange = other.resource(lambda: contextlib.nullcontext(1), name="strange")
    flow.add(lambda x: x, name="load", x=use(strange))
    assert refused(flow) == (
        "step 'load': 'strange' is a resource of another flow, 'other'; "
        "give this one its own: flow.resource(strange)"
    )


def test_g03_a_step_and_a_resource_of_one_name_are_refused(flow, database):
    flow.add(lambda: 1, name="database")
    assert "there are a step and a resource called 'database'" in refused(flow)
    flow.add(lambda: 1, name="first")
    with pytest.raises(GraphError, match="a step and a resource called 'first'"):
        flow.resource(lambda: 1, name="first")


def test_an_input_and_a_resource_of_one_name_are_refused(flow, database):
    flow.add(lambda x: x, name="load", x=use(param("database")))
    assert "step 'load' takes an input 'database', and a resource has that name" in refused(flow)


def test_a_condition_gets_none(flow, database):
    flow.add(lambda: 1, name="load", when=lambda database: True)
    assert "a condition gets no resource: ask a step before" in refused(flow)
    flow = Flow("other")
    again = flow.resource(database)
    flow.add(lambda: 1, name="load", when=lambda x=use(again): True)
    assert "a condition takes the resource 'database', and conditions get none" in refused(flow)


def test_g01_a_circle_is_shown(flow):
    @flow.resource
    def a(b): ...

    @flow.resource
    def b(c): ...

    @flow.resource
    def c(a): ...

    flow.add(lambda a: 1, name="load")
    assert refused(flow) == "these resources are made of each other: a -> c -> b -> a"


def test_what_it_may_not_take_is_named(flow):
    def check(function, says):
        flow = Flow("f")
        flow.add(lambda: 1, name="step")
        flow.resource(lambda: contextlib.nullcontext(1), name="worker", scope="worker")

        @flow.resource
        async def client() -> AsyncIterator[int]:
            yield 1

        flow.resource(function, name="db")
        flow.add(lambda db: 1, name="load")
        assert refused(flow).startswith(f"resource 'db': {says}")

    def takes_context(context: Context): ...
    def takes_step(x=use(flow.add(lambda: 1, name="s"))): ...  # noqa: B008

    check(lambda step: 1, "its parameter 'step' is named like a step, and a resource waits for none")
    check(takes_step, "x=use(s) takes a step, and a resource waits for none")
    check(lambda x=each(param("xs")): 1, "x=each(param('xs')): an input is taken whole; say use(param('xs'))")
    check(takes_context, "takes 'context', the Context; it serves many attempts, and has none")
    check(
        lambda client: 1,
        "is made of 'client', which is opened on the event loop; make it an async generator too",
    )
    check(
        lambda worker: 1, "has the scope 'run' and is made of 'worker', which ends with its worker; give both"
    )


def test_what_its_inputs_are_must_agree_with_what_steps_say(flow):
    @flow.resource
    def database(url: str): ...

    @flow.step
    def load(database, url: int): ...

    assert refused(flow).startswith("input 'url' has two types") or refused(flow).startswith(
        "resource 'database' of step 'load': input 'url' has two types"
    )


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda flow: flow.resource("db"), "flow.resource takes a function, not 'db'; say name='db'"),
        (lambda flow: flow.resource(3), "flow.resource takes a function, not 3"),
        (lambda flow: flow.resource(flow.add(lambda: 1, name="s")), "takes a function, not <step 's'"),
        (lambda flow: flow.resource(lambda: 1), "has no name of its own; say flow.resource(..., name='...')"),
        (lambda flow: flow.resource(lambda: 1, name="a[b"), "resource 'a[b': '[' is not allowed in a name"),
        (
            lambda flow: flow.resource(lambda: 1, name="x", scope="flow"),
            "scope is 'run' or 'worker', not 'flow'",
        ),
        (
            lambda flow: flow.resource(lambda a, /: 1, name="x"),
            "resource 'x': 'a' of <lambda> can be given by position",
        ),
        (
            lambda flow: [flow.resource(lambda: 1, name="x") for _ in "ab"],
            "there are two resources called 'x'",
        ),
        (
            lambda flow: flow.resource(asyncio.sleep),
            "'sleep' is async and returns its value, so nothing would close",
        ),
    ],
)
def test_what_cannot_be_a_resource_says_so(flow, make, says):
    with pytest.raises(GraphError) as caught:
        make(flow)
    assert says in str(caught.value)


def test_workdir_and_resources_together_leave_nothing_behind(flow, tmp_path):
    @flow.resource
    def folder(context_free: str = "x"):
        yield tmp_path

    @flow.step
    def write(folder, context: Context) -> str:
        (context.workdir / "out").write_text("a")
        return str(context.published)

    result = flow.run(options=RunOptions(workdir=tmp_path / "work"))
    assert (tmp_path / "work" / result.run_id / "write" / "out").read_text() == "a"
    assert result[write] == str(tmp_path / "work" / result.run_id / "write")
