"""Where parameters come from: markers, names, inputs, constants; read off the graph, nothing is run."""

# mypy: disable-error-code="empty-body, no-untyped-call"

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.core.errors import CycleError, GraphError
from penstock.core.model import NOTHING, Accepts, Condition, Limit, LimitUse, Need, Node, RetryPolicy, Timeout
from penstock.core.ports import Runnable
from penstock.flow import Context, Flow, each, gather, optional, outcome, param, use


def node(flow: Flow, id: str) -> Node:
    graph = flow.graph()
    return graph.nodes[graph.index[id]]


def need(flow: Flow, id: str) -> Need:
    (only,) = node(flow, id).needs
    return only


@pytest.fixture
def flow() -> Flow:
    return Flow("flow")


# --- markers ----------------------------------------------------------------------------------------------


def test_markers_become_needs(flow):
    a = flow.add(lambda: [[1]], name="a")
    b = flow.add(lambda x: x, name="b", x=each(a))
    c = flow.add(lambda x: x, name="c", x=each(b))
    for name, marker in {
        "use": use(a),
        "part": use(a, "key"),
        "index": use(a, 0),
        "one": gather(b),
        "two": gather(gather(c, failures="keep")),
        "optional": optional(a, 7),
        "outcome": outcome(a),
    }.items():
        flow.add(lambda x: x, name=name, x=marker)
    assert need(flow, "b") == Need("a", "each", "x", Accepts.NOTHING, NOTHING)
    assert need(flow, "use") == Need("a", "use", "x", Accepts.NOTHING, NOTHING)
    assert need(flow, "part") == Need("a", "use", "x", Accepts.NOTHING, NOTHING, part="key")
    assert need(flow, "index") == Need("a", "use", "x", Accepts.NOTHING, NOTHING, part=0)
    assert need(flow, "one") == Need("b", "gather", "x", Accepts.NOTHING, NOTHING)
    assert need(flow, "two") == Need("c", "gather", "x", Accepts.NOTHING, NOTHING, failures="keep", levels=2)
    assert need(flow, "optional") == Need("a", "use", "x", Accepts.ANYTHING, 7)
    assert need(flow, "outcome") == Need("a", "outcome", "x", Accepts.ANYTHING, NOTHING)


def test_markers_stand_as_defaults(flow):
    @flow.step
    def a() -> list[int]: ...
    @flow.step
    def b(x: int = each(a)) -> int: ...
    @flow.step
    def c(*, xs: list[int] = gather(b, failures="drop")) -> int: ...

    assert need(flow, "b").how == "each"
    assert need(flow, "c").failures == "drop"


def test_use_of_a_mapped_step_lifts_its_consumer(flow):
    a = flow.add(lambda: [1], name="a")
    b = flow.add(lambda x: x, name="b", x=each(a))
    flow.add(lambda x: x, name="c", x=use(b))
    graph = flow.graph()
    assert graph.scope_of[graph.index["c"]] == graph.scope_of[graph.index["b"]] != 0


def test_a_bound_marker_replaces_the_one_of_the_signature(flow):
    a = flow.add(lambda: 1, name="a")
    b = flow.add(lambda: 2, name="b")

    def f(x=use(a)): ...

    flow.add(f, x=use(b))
    assert need(flow, "f").node == "b"


def test_after_orders_without_data(flow):
    a = flow.add(lambda: 1, name="a")
    flow.add(lambda: 2, name="b", after=[a])
    assert need(flow, "b") == Need("a", "after", None, Accepts.NOTHING)


def test_a_failed_definition_leaves_nothing_behind(flow):
    with pytest.raises(GraphError):
        flow.add(lambda: 1, name="a", retry=3)
    flow.add(lambda: 1, name="a")
    assert list(flow.steps) == ["a"]


# --- names, inputs, constants -----------------------------------------------------------------------------


def test_a_parameter_named_like_a_step_takes_its_value_whatever_the_order(flow):
    flow.add(lambda a: a, name="b")
    flow.add(lambda: 1, name="a")
    assert need(flow, "b") == Need("a", "use", "a", Accepts.NOTHING, NOTHING)


def test_a_parameter_with_a_default_accepts_that_its_step_was_skipped(flow):
    flow.add(lambda: 1, name="a")
    flow.add(lambda a=5: a, name="by_name")
    flow.add(lambda x=5: x, name="by_marker", x=use(flow.steps["a"]))
    for name in ("by_name", "by_marker"):
        assert need(flow, name).accepts is Accepts.CONDITION
        assert need(flow, name).default is NOTHING


def test_other_parameters_are_inputs_which_steps_share(flow):
    @flow.step
    def a(path: Path, n: int = 3): ...
    @flow.step
    def b(path: str | Path, n: int): ...

    path, n = flow.inputs()
    assert path == ("path", Path, NOTHING, ("a", "b"))  # the narrower type
    assert n == ("n", int, NOTHING, ("a", "b"))  # `b` cannot do without
    assert node(flow, "a").inputs == (("path", "path"), ("n", "n"))


def test_an_input_has_the_default_of_its_only_parameter(flow):
    flow.add(lambda n=3: n, name="a")
    assert flow.inputs()[0].default == 3


def test_constants_are_bound(flow):
    @flow.step
    def power(base: int, exponent: int): ...

    flow.add(power, name="square", exponent=2)
    assert node(flow, "square").bound == {"exponent": 2}
    assert node(flow, "square").inputs == (("base", "base"),)
    assert node(flow, "power").bound is None


def test_a_parameter_named_like_an_option_is_bound_with_bind(flow):
    a = flow.add(lambda: 1, name="a")
    flow.add(lambda name, retry, keep: 1, name="b", bind={"name": use(a), "retry": 3}, keep=True)
    b = node(flow, "b")
    assert [need.param for need in b.needs] == ["name"]
    assert (b.bound, b.retry, b.keep, b.inputs) == ({"retry": 3}, None, True, (("keep", "keep"),))


def test_star_star_keywords_take_any_binding_and_no_input(flow):
    a = flow.add(lambda: 1, name="a")
    b = flow.add(lambda: 2, name="b")
    flow.add(lambda **values: values, name="sum", bind={"first": use(a), "second": use(b)}, third=3)
    assert [(need.param, need.node) for need in node(flow, "sum").needs] == [("first", "a"), ("second", "b")]
    assert node(flow, "sum").bound == {"third": 3}
    assert flow.inputs() == ()


def test_the_context_is_found_by_its_annotation(flow):
    @flow.step
    def a(ctx: Context): ...
    @flow.step
    def b(ctx: Context | None = None): ...
    @flow.step
    def c(ctx: "Context"): ...
    @flow.step
    def d(ctx: "nowhere.Context"): ...  # type: ignore[name-defined]  # noqa: F821

    assert [one.context for one in flow.graph().nodes] == ["ctx"] * 4
    assert flow.inputs() == ()


def test_g08_parameters_may_have_any_name_but_those_of_the_run_call(flow):
    flow.add(lambda self, context, input, inputs, cls: 1, name="a")
    assert [one.name for one in flow.inputs()] == ["self", "context", "input", "inputs", "cls"]
    for name in ("store", "run_id", "targets", "override", "runner", "options"):
        bad = Flow("bad")
        bad.add(eval(f"lambda {name}: 1"), name="a")
        with pytest.raises(GraphError, match="a name that the run call keeps for itself"):
            bad.graph()


# --- param ------------------------------------------------------------------------------------------------


def test_an_input_that_is_mapped_over_gets_a_node_of_its_own(flow):
    paths = param("paths", list[Path])

    @flow.step
    def first(n: int): ...
    @flow.step
    def parse(path: Path = each(paths)) -> int: ...
    @flow.step
    def again(path: Path = each(param("paths", list[Path]))) -> int: ...

    graph = flow.graph()
    assert list(graph.index) == ["first", "paths", "parse", "again"]
    hands_on = graph.nodes[1]
    assert (hands_on.runner, hands_on.inputs, hands_on.call([1])) == ("inline", (("value", "paths"),), [1])
    assert need(flow, "parse") == Need("paths", "each", "path", Accepts.NOTHING, NOTHING)
    assert graph.inputs["paths"] == ("paths", list[Path], NOTHING, ("parse", "again"))


def test_an_input_that_is_used_whole_is_only_an_input(flow):
    @flow.step
    def a(p: Path = use(param("path", Path, default=Path("x")))): ...

    assert node(flow, "a").inputs == (("p", "path"),)
    assert flow.inputs() == (("path", Path, Path("x"), ("a",)),)
    assert list(flow.graph().index) == ["a"]


# --- functions --------------------------------------------------------------------------------------------


class Adder:
    def __init__(self, by: int) -> None:
        self.by = by

    def __call__(self, x: int) -> int:
        return x + self.by

    def method(self, x: int) -> int:
        return x + self.by

    async def later(self, x: int) -> int:
        return x

    @classmethod
    def of(cls, x: int) -> "Adder":
        return cls(x)

    @staticmethod
    def plain(x: int) -> int:
        return x


def kept(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@kept
def decorated(x: int) -> int:
    return x


@pytest.mark.parametrize(
    "function",
    [
        Adder(1),
        Adder(1).method,
        Adder(1).later,
        Adder.of,
        Adder.plain,
        decorated,
        functools.lru_cache(lambda x: x),
        functools.partial(lambda x, y: x, y=2),
        functools.partial(lambda y, x: x, 2),
    ],
)
def test_g09_any_callable_is_a_step_if_its_parameters_have_names(flow, function):
    a = flow.add(lambda: 1, name="a")
    b = flow.add(function, name="b", x=use(a))
    assert need(flow, "b").param == "x"
    assert flow.inputs() == ()
    assert node(flow, "b").call is function
    assert b.function is function


def test_a_class_is_a_step_that_makes_one(flow):
    a = flow.add(lambda: 1, name="a")
    flow.add(Adder, name="adder", by=use(a))

    def wants(x: str): ...

    flow.add(wants, x=use(flow.steps["adder"]))
    with pytest.raises(GraphError, match="takes str, and 'adder' returns Adder"):
        flow.graph()


def test_what_a_partial_gives_is_no_input_but_can_be_bound_again(flow):
    half = functools.partial(lambda x, y: x, y=2)
    flow.add(half, name="a", x=1)
    flow.add(half, name="b", x=1, y=3)
    assert flow.inputs() == ()
    assert [one.bound for one in flow.graph().nodes] == [{"x": 1}, {"x": 1, "y": 3}]


def test_a_marker_in_a_partial_counts(flow):
    a = flow.add(lambda: 1, name="a")
    flow.add(functools.partial(lambda x, y: x, y=use(a)), name="b", x=1)
    assert need(flow, "b").param == "y"


def test_colour_doc_and_origin(flow):
    @flow.step
    async def a() -> int:
        """First line.

        Second.
        """

    @flow.step
    def b() -> "Iterator[int]": ...

    assert node(flow, "a").is_async
    assert not node(flow, "b").is_async
    assert node(flow, "a").doc == "First line."
    assert node(flow, "a").origin.rpartition(":")[0] == __file__
    assert node(flow, "a").call is a.function


def test_a_function_annotated_to_return_an_awaitable_is_awaited(flow):
    from collections.abc import Awaitable

    def a() -> Awaitable[int]: ...
    def b(a: str): ...

    flow.add(a)
    assert node(flow, "a").is_async
    flow.add(b)
    with pytest.raises(GraphError, match="takes str, and 'a' returns int"):
        flow.graph()


def test_lambdas_of_one_loop_share_their_facts_but_not_their_defaults(flow):
    plain = [flow.add(lambda x: x, name=f"p{i}") for i in range(3)]
    with_default = [flow.add(lambda x=i: x, name=f"d{i}", x=i) for i in range(3)]
    assert plain[0].facts is plain[1].facts
    assert with_default[0].facts is not with_default[1].facts
    assert plain[0].function is not plain[1].function


# --- steps as plain callables -----------------------------------------------------------------------------


def test_a_step_stays_the_function_it_was(flow):
    import inspect

    @flow.step(keep=True)
    def double(x: int, y: int = 2) -> int:
        """Twice."""
        return x * y

    assert double(3) == 6
    assert double(3, y=3) == 9
    assert (double.__name__, double.__doc__, double.__module__) == ("double", "Twice.", __name__)
    assert double.__qualname__.endswith("double")
    assert list(inspect.signature(double).parameters) == ["x", "y"]
    assert inspect.unwrap(double) is double.function
    assert repr(double) == "<step 'double' of flow 'flow'>"
    added = flow.add(double.function, name="again")
    assert (added.__name__, added(4), inspect.unwrap(added)) == ("double", 8, double.function)
    with pytest.raises(AttributeError, match="step 'again' has no attribute 'nothing'"):
        _ = added.nothing


def test_a_direct_call_needs_what_a_run_would_fill(flow):
    a = flow.add(lambda: 1, name="a")

    @flow.step
    def f(x, y=use(a), *, z=use(a)):
        return x, y, z

    assert f(1, 2, z=3) == f(1, y=2, z=3) == (1, 2, 3)
    with pytest.raises(TypeError, match="nothing fills 'z' from use"):
        f(1, 2)


def test_a_direct_call_has_the_constants(flow):
    def f(x, y, z=0):
        return x, y, z

    step = flow.add(f, x=1, z=use(flow.add(lambda: 1, name="a")))
    assert step(y=2) == (1, 2, 0)
    assert step(5, 6) == (5, 6, 0)
    assert step(x=5, y=6) == (5, 6, 0)


async def _fetch(x: int) -> int:
    return x


def test_a_direct_call_of_a_coroutine_step_gives_the_coroutine(flow):
    coroutine = flow.step(_fetch)(3)
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    assert end.value.value == 3


# --- templates --------------------------------------------------------------------------------------------


def test_bind_makes_a_template_with_the_options_of_the_step(flow):
    a = flow.add(lambda: 1, name="a")

    @flow.step(retry=RetryPolicy(max_attempts=2), keep=True)
    def load(x: int = use(a), region: str = "eu") -> str:
        return f"{region}{x}"

    template = load.bind(region="us")
    assert template(3) == "us3"
    assert repr(template) == "<template load(region='us')>"
    us = flow.add(template, name="us", keep=False)
    both = flow.add(template.bind(x=4), name="four")
    assert us(3) == "us3"
    assert both() == "us4"
    assert (node(flow, "us").bound, node(flow, "us").keep) == ({"region": "us"}, False)
    assert node(flow, "us").retry == RetryPolicy(max_attempts=2, jitter="full")
    assert need(flow, "us").node == "a"
    assert node(flow, "four").needs == ()
    with pytest.raises(GraphError, match="template: 'y' is not a parameter of load"):
        template.bind(y=3)


def test_a_step_is_added_again_with_its_options(flow):
    @flow.step(timeout=3)
    def load(path: str): ...

    other = Flow("other")
    other.add(load, path="x")
    assert node(other, "load").timeout == Timeout(3)
    assert other.steps["load"].flow is other


# --- options ----------------------------------------------------------------------------------------------


def test_options_reach_the_node(flow):
    api = Limit("api", capacity=3)
    flow.add(
        lambda: 1,
        name="a",
        retry=RetryPolicy(max_attempts=4),
        timeout=1.5,
        limits=[api, Limit("gpu", capacity=2).take(2)],
        optional=True,
        runner="threads",
        keep=True,
        trigger="always",
    )
    a = node(flow, "a")
    assert (a.retry, a.timeout) == (RetryPolicy(max_attempts=4, jitter="full"), Timeout(1.5))
    assert a.limits == (LimitUse(api, 1), LimitUse(Limit("gpu", capacity=2), 2))
    assert (a.optional, a.runner, a.keep, a.trigger) == (True, "threads", True, "always")


def test_none_is_as_good_as_not_given(flow):
    flow.add(lambda: 1, name="a", retry=None, timeout=None, when=None, limits=None, after=None, keep=None)
    assert node(flow, "a")[7:17] == Node("b", len)[7:17]


def test_the_short_and_the_long_way_make_the_same_node(flow):
    def f(x: int, ctx: Context, y: int = 2) -> int:
        """Doc."""

    flow.add(f, name="a", x=1)
    flow.add(f, name="b", bind={"x": 1}, keep=False)
    a, b = flow.graph().nodes
    assert a._replace(id="b") == b


# --- conditions -------------------------------------------------------------------------------------------


def test_when_asks_for_parameters_of_the_step_other_steps_and_inputs(flow):
    flow.add(lambda: 1, name="a")
    flow.add(lambda: 1, name="b")
    flow.add(
        lambda x, m, path: 1,
        name="c",
        x=use(flow.steps["a"]),
        m=5,
        when=lambda x, b, path, limit, m: (x, b, path, limit, m) == (1, 2, 3, 4, 5),
    )
    c = node(flow, "c")
    assert c.needs == (
        Need("a", "use", "x", Accepts.NOTHING, NOTHING),
        Need("b", "use", None, Accepts.NOTHING, NOTHING),
    )
    assert c.when is not None
    assert c.when.needs == (("x", 0), ("b", 1))
    assert c.when.inputs == (("path", "path"), ("limit", "limit"))
    assert c.when.call(x=1, b=2, path=3, limit=4)
    assert not c.when.is_async
    assert [one.name for one in flow.inputs()] == ["path", "limit"]


def test_when_may_be_async_have_defaults_and_markers(flow):
    a = flow.add(lambda: 1, name="a")

    async def ask(first=use(a), a=None, strict=False) -> bool: ...

    flow.add(lambda: 1, name="b", when=ask)
    b = node(flow, "b")
    assert isinstance(b.when, Condition)
    assert b.when.is_async
    assert b.when.needs == (("first", 0), ("a", 1))
    assert b.needs[1].accepts is Accepts.CONDITION
    assert flow.inputs()[0][:3] == ("strict", None, False)


def test_a_condition_may_ask_for_an_input_by_marker(flow):
    def ask(path=use(param("p", str)), row=use(param("r"), "total")) -> bool: ...

    flow.add(lambda: 1, name="a", when=ask)
    a = node(flow, "a")
    assert a.when is not None
    assert a.when.inputs == (("path", "p"),)
    assert a.when.needs == (("row", 0),)
    assert a.needs == (Need("r", "use", None, Accepts.NOTHING, NOTHING, part="total"),)


def test_a_trigger_of_ones_own_sees_outcomes(flow):
    flow.add(lambda: 1, name="a")
    flow.add(lambda: 1, name="b")
    flow.add(lambda a=None: 1, name="c", trigger=lambda a, b: True)
    c = node(flow, "c")
    assert isinstance(c.trigger, Condition)
    assert c.trigger.needs == (("a", 0), ("b", 1))
    assert c.needs[1] == Need("b", "outcome", None, Accepts.ANYTHING)


# --- the flow ---------------------------------------------------------------------------------------------


def test_the_graph_is_built_once_and_again_after_a_change(flow):
    flow.add(lambda: 1, name="a")
    first = flow.graph()
    assert flow.graph() is first
    flow.add(lambda: 1, name="b")
    assert len(flow.graph()) == 2
    assert len(first) == 1


def test_a_flow_is_built_by_many_threads_at_once():
    from concurrent.futures import ThreadPoolExecutor

    for _ in range(20):
        flow = Flow("flow")

        @flow.step
        def a(ctx: Context, x: "int") -> "int": ...

        with ThreadPoolExecutor(8) as pool:
            graphs = list(pool.map(lambda _, flow=flow: flow.graph(), range(16)))
        assert {(graph.nodes, tuple(graph.inputs)) for graph in graphs} == {(graphs[0].nodes, ("x",))}


def test_a_flow_is_what_the_command_line_runs(flow):
    assert isinstance(flow, Runnable)
    assert repr(Flow("flow")) == "<flow 'flow': 0 steps>"
    with pytest.raises(TypeError):
        Flow("flow").steps["a"] = None  # type: ignore[index]
    with pytest.raises(GraphError, match="the name of a flow is empty"):
        Flow("")


def test_names_are_in_their_normal_form(flow):
    step = flow.add(lambda: 1, name="Cafe\u0301")
    assert step.id == "Caf\u00e9"
    with pytest.raises(GraphError, match="there are two steps"):
        flow.add(lambda: 1, name="Caf\u00e9")


def test_a_long_circle_is_told_in_three_lines(flow):
    for i in range(10):
        flow.add(eval(f"lambda s{(i + 1) % 10}: 1"), name=f"s{i}")
    with pytest.raises(CycleError) as caught:
        flow.graph()
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[1].endswith("and 7 more")


def test_a_chain_of_100_000_steps_is_built_without_recursion(flow):
    def f(x: int) -> int: ...

    step = flow.add(f, name="s0", x=1)
    for i in range(1, 100_000):
        step = flow.add(f, name=f"s{i}", x=use(step))
    assert len(flow.graph()) == 100_000


def test_mapped_names_are_found_below_gathers_and_lifts(flow):
    a = flow.add(lambda: [1], name="a")
    b = flow.add(lambda x: x, name="b", x=each(a))
    flow.add(lambda x: x, name="lifted", x=use(b))
    flow.add(lambda x: x, name="flat", x=gather(b))
    flow.add(lambda flat: flat, name="fine", after=[b])
    flow.graph()
    flow.add(lambda lifted: lifted, name="wrong")
    with pytest.raises(GraphError, match="'lifted' is named like a mapped step"):
        flow.graph()


def test_g09_bindings_that_the_function_cannot_take_are_refused_where_they_are_given(flow):
    def f(x: Any): ...

    with pytest.raises(GraphError, match="'y' is neither an option nor a parameter of f"):
        flow.add(f, y=1)
    with pytest.raises(GraphError, match="'y' is neither an option nor a parameter of f"):
        flow.add(f, bind={"y": 1})
    flow.add(f)
    with pytest.raises(GraphError, match="'z' is neither an option nor a parameter of f"):
        flow.add(f, name="g", z=1)
