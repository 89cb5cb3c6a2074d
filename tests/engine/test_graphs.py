"""Graphs of every kind through the whole engine: empty, badly named, changed meanwhile, run at once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from penstock import wiring
from penstock.core.errors import GraphError
from penstock.core.graph import Graph
from penstock.core.model import Need, Node, RunOptions, RunStatus
from penstock.core.ports import AtOnce
from penstock.flow import Context, Flow
from tests.engine.tools import SAFETY, names
from tests.model import spec as given
from tests.model.drive import Drive, committed
from tests.model.reference import verify


def test_g05_an_empty_graph_succeeds():
    seen: list[Any] = []
    result = Flow("nothing").run(options=RunOptions(observers=[seen.append]))
    assert (result.status, dict(result.nodes), dict(result.outputs)) == (RunStatus.SUCCEEDED, {}, {})
    assert names(seen) == ["RunStarted", "RunFinished"]


@pytest.mark.parametrize("call", ["start", "arun"])
def test_g05_however_it_is_called(call):
    import asyncio

    flow = Flow("nothing")
    result = flow.start().result(SAFETY) if call == "start" else asyncio.run(flow.arun())
    assert result.status is RunStatus.SUCCEEDED


# Names

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
REFUSED: list[str] = [
    *[f"a{sign}b" for sign in CONTROLS],
    *[f"a{sign}b" for sign in "<>\"`$\\{}[]|;*?!~^%"],
    *[f"a{sign}b" for sign in "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c"],
    *[f"a{sign}b" for sign in "\u202d\u202e\u2066\u2069\ufeff\u00ad"],
    *[f"a{sign}b" for sign in "\u2028\u2029\ud800\udfff\ue000\ufffe\U000e0041\u0378"],
    "", " ", "\t", " a", "a ", "\u00a0a", "../x", "..", ".", "a/..", "a//b", "/a", "a/", "a/./b", "...",
    "a/ /b",
    "x" * 201, "x" * 10_000, "é" * 201, "<img src=x onerror=alert(1)>", "${jndi:ldap://x}",
    "'; DROP TABLE x; --",
    "{{7*7}}", "$(id)", "`id`", "a\r\nb", "\x1b[31mred", "C:\\x", "%2e%2e", "a[0]",
]  # fmt: skip
TAKEN: list[str] = [
    "con", "nul", "COM1", "__proto__", "constructor", "toString", "self", "None", "class", "import", "null",
    "true", "NaN", "0", "-1", "1e9", "a b", "a-b", "a.b", "a:b", "a+b", "a@b", "a#b", "a,b", "a(b)", "a=b",
    "a'b", "a & b", "a → b", "a/b", "a/b/c", "..a", "a..b", ".hidden", "Größe", "naïve",
    "北京", "हिन्दी", "עברית",
    "العربية", "🚀", "step 🚀 2", "x" * 200, "e\u0301", "Å", "ﬁ", "𝔸", "İ", "ß", "end", "graph", "subgraph",
    "node", "digraph", "strict", "style", "click", "default", "linkStyle", "--help", "-x", "@file", "#",
    "=1+1",
    "+1", "&amp", "''", "context", "ctx", "result", "name", "flow", "outputs", "items", "nodes", "status",
]  # fmt: skip


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_g07_names_that_some_sink_could_misread_are_refused(name):
    for make in (
        lambda: Flow("flow").add(lambda: 1, name=name),
        lambda: Graph("graph", [Node(name, lambda: 1)]),
        lambda: Flow(name),
    ):
        with pytest.raises(GraphError) as caught:
            make()
        text = str(caught.value)
        assert len(text) < 400
        assert text.isprintable()
        assert text.isascii() or "…" in text


@pytest.mark.parametrize("name", TAKEN, ids=ascii)
def test_g07_g08_all_other_names_run_and_are_found_again(name):
    flow = Flow(name)
    step = flow.add(lambda: 1, name=name)

    def below(x, ctx: Context):
        return x, ctx.run_id

    flow.add(below, name="the step below", x=_use(step))
    seen: list[Any] = []
    result = flow.run(options=RunOptions(observers=[seen.append], on_failure="continue"), targets=[step])
    assert result[step] == result[step.id] == 1
    assert list(result.nodes) == [step.id]
    assert f"NodeStarted {step.id}" in names(seen)
    flow.explain_wiring()
    for form in ("text", "mermaid", "dot"):
        assert wiring.drawing(flow.graph(), form)
    assert flow.run()["the step below"][0] == 1


def test_there_are_names_enough():
    assert len(REFUSED) + len(TAKEN) >= 150
    assert len({*REFUSED, *TAKEN}) == len(REFUSED) + len(TAKEN)


def _use(step: Any) -> Any:
    from penstock.flow import use

    return use(step)


@pytest.mark.parametrize("name", ["self", "ctx", "context", "cls", "args", "kwargs", "call", "function"])
def test_g08_steps_named_like_parameters_of_others(name):
    """A parameter named like a step takes that step's value, whatever the name."""
    flow = Flow("flow")
    flow.add(lambda: 7, name=name)
    flow.add(eval(f"lambda {name}: {name} + 1"), name="below")
    assert flow.run()["below"] == 8


# Changed, and run, at once


def test_g10_a_run_does_not_see_what_is_added_while_it_runs(flags):
    flow = Flow("flow")
    added: list[Any] = []

    def on_event(event):
        if type(event).__name__ == "NodeStarted" and not added:
            added.append(flow.add(lambda: 1, name="late", after=[flow.steps["a"]]))

    def step():
        flow.add(lambda: 2, name="later", after=[flow.steps["b"]])
        return 1

    flow.add(step, name="a")
    flow.add(lambda a: a, name="b")
    result = flow.run(options=RunOptions(observers=[AtOnce(on_event)]))
    assert list(result.nodes) == ["a", "b"]
    assert result.status is RunStatus.SUCCEEDED
    assert "late" in flow.steps
    assert list(flow.graph().index) == ["a", "b", "late", "later"]
    with pytest.raises(TypeError):
        flow.steps["x"] = flow.steps["a"]  # type: ignore[index]


def test_g11_fifty_runs_of_one_flow_at_a_time():
    import asyncio

    barrier = threading.Barrier(50, timeout=SAFETY)
    flow = Flow("flow")

    def wait(n: int) -> int:
        barrier.wait()  # all fifty are inside at once
        return n

    async def later(wait: int) -> int:
        await asyncio.sleep(0)
        return wait * 2

    flow.add(wait, name="wait", runner="threads")
    flow.add(later, name="later")
    flow.add(lambda later, n: (later, n), name="end")
    results: dict[int, Any] = {}

    def go(n: int) -> None:
        results[n] = flow.run(n=n)

    threads = [threading.Thread(target=go, args=(n,), daemon=True) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SAFETY)
    assert {n: result["end"] for n, result in results.items()} == {n: (2 * n, n) for n in range(50)}
    assert len({result.run_id for result in results.values()}) == 50


# All small graphs

KINDS = ("use", "after", "outcome", "optional")


def shapes(many: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """All graphs of so many steps, each a set of earlier steps for every step."""
    choices = [
        [each for size in range(at + 1) for each in itertools.combinations(range(at), size)]
        for at in range(many)
    ]
    yield from itertools.product(*choices)


def specs(many: int, seed: int) -> Iterator[given.GraphSpec]:
    """Every shape, and for every step of it every trigger; how it needs, and what else, is drawn."""
    dice = Random(seed)
    for shape in shapes(many):
        for triggers in itertools.product(given.TRIGGERS, repeat=many):
            if many > 3 and dice.random() > 0.004:
                continue
            steps = []
            for at, (mine, trigger) in enumerate(zip(shape, triggers, strict=True)):
                if not mine and trigger in ("any_succeeded", "all_failed"):
                    trigger = "all_succeeded"
                kinds = KINDS if trigger == "all_succeeded" else KINDS[1:]
                needs = tuple(given.Need(f"s{one}", dice.choice(kinds)) for one in mine)  # type: ignore[arg-type]
                steps.append(given.Step(f"s{at}", needs, trigger, dice.random() < 0.2, dice.random() < 0.1))
            yield given.GraphSpec(
                tuple(steps),
                on_failure=dice.choice(("stop", "drain", "continue")),
                max_concurrency=dice.choice((None, 1, 2, 3)),
                cancel_after=dice.choice((None, None, None, dice.randrange(6))),
                seed=dice.randrange(1 << 30),
            )


@pytest.mark.parametrize("many", [1, 2, 3, 4])
def test_g12_r09_all_small_graphs_and_all_triggers_against_the_model(many):
    count = 0
    for at, spec in enumerate(specs(many, many)):
        assert given.problems(spec) == []
        drive = Drive(spec, Random(at), shadow=at % 10 == 0).play()
        found = drive.problems + verify(spec, drive.script, drive.history(), committed(drive.machine))
        assert found == [], f"graph {at}: {spec}"
        count += 1
    assert count >= {1: 7, 2: 98, 3: 2_744, 4: 400}[many]


TABLE = [
    # how the left and the right branch end, the trigger, how the join takes them, what the join does
    ("ok", "ok", "all_succeeded", "use", "succeeded"),
    ("ok", "skip", "all_succeeded", "use", "skipped"),
    ("ok", "skip", "all_succeeded", "optional", "succeeded"),
    ("ok", "fail", "all_succeeded", "use", "skipped"),
    ("ok", "fail", "all_succeeded", "optional", "succeeded"),
    ("skip", "skip", "all_succeeded", "use", "skipped"),
    ("fail", "skip", "all_succeeded", "use", "skipped"),
    ("ok", "fail", "all_done", "outcome", "succeeded"),
    ("fail", "fail", "all_done", "outcome", "succeeded"),
    ("skip", "skip", "all_done", "outcome", "succeeded"),
    ("ok", "skip", "none_failed", "outcome", "succeeded"),
    ("ok", "fail", "none_failed", "outcome", "skipped"),
    ("ok", "fail", "any_succeeded", "outcome", "succeeded"),
    ("skip", "fail", "any_succeeded", "outcome", "skipped"),
    ("fail", "fail", "all_failed", "outcome", "succeeded"),
    ("ok", "fail", "all_failed", "outcome", "skipped"),
    ("fail", "skip", "all_failed", "outcome", "skipped"),
]


@pytest.mark.parametrize(("left", "right", "trigger", "how", "expected"), TABLE)
def test_g12_a_diamond_with_a_skipped_or_a_failed_branch(left, right, trigger, how, expected):
    from penstock.flow import optional, outcome, use

    marker: Any = {"use": use, "outcome": outcome, "optional": lambda step: optional(step, 0)}[how]

    def branch(kind: str) -> Any:
        def call(root):
            if kind == "fail":
                raise LookupError
            return 1

        return call

    flow = Flow("diamond")
    flow.add(lambda: 1, name="root")
    made = [
        flow.add(branch(kind), name=name, when=(lambda: False) if kind == "skip" else None)
        for name, kind in (("left", left), ("right", right))
    ]
    flow.add(lambda a, b: 1, name="join", a=marker(made[0]), b=marker(made[1]), trigger=trigger)
    result = flow.run(options=RunOptions(on_failure="continue"))
    assert result.nodes["join"].status.value == expected


def test_a_graph_may_be_run_without_the_native_api():
    graph = Graph("two", [Node("b", lambda x: x, (Need("a", "use", "x"),)), Node("a", lambda: 1)])
    assert wiring.run(graph, {}).outputs == {"b": 1}
