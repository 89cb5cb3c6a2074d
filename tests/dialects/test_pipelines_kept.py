"""Pipelines that are kept in a store: what they write is there again, and no stage is done twice."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock import GraphChanged, InputError, RunBusy, RunExists, RunOptions, Secret, processes
from penstock.core.events import NodeFailed
from penstock.core.owners import here
from penstock.core.storage import Store
from penstock.dialects.pipelines import (
    ConditionalStage,
    FunctionStage,
    ParallelStage,
    Pipeline,
    PipelineBuilder,
    PipelineResult,
    PipelineStatus,
    Stage,
    StageResult,
    StageStatus,
)
from penstock.stores.memory import MemoryStore
from penstock.testing.faults_store import FaultyStore, full

from .parts_kept import Process, cut_off, finished, is_cut_off

fn = FunctionStage


def of(*stages: Stage, **how: Any) -> Pipeline:
    pipeline = Pipeline(name="p", **how)
    for stage in stages:
        pipeline.add_stage(stage)
    return pipeline


def ends(result: PipelineResult) -> list[tuple[Any, ...]]:
    return [(one.stage_id, one.status.name, one.output, one.error) for one in result.stages]


def output(result: PipelineResult, id: str = "end") -> Any:
    return next(one.output for one in result.stages if one.stage_id == id)


def snapshot(context: dict[str, Any]) -> dict[Any, Any]:
    return {key: value for key, value in context.items() if key != "seen"}


class Down:
    """A function that fails as long as it is down, and else does what another one does."""

    def __init__(self, act: Callable[[dict[str, Any]], Any] = snapshot) -> None:
        self.up = False
        self.act = act

    def __call__(self, context: dict[str, Any]) -> Any:
        if not self.up:
            raise ConnectionError("down")
        return self.act(context)


def resumed(make: Callable[..., Pipeline], **how: Any) -> PipelineResult:
    """The result of a pipeline whose last stage, ``end``, fails at first; resumed with one made anew."""
    store, end = MemoryStore(), Down()
    assert make(end).run(store=store, run_id="r", **how).status is PipelineStatus.FAILED
    end.up = True
    result = make(end).run(store=store, run_id="r")
    assert result.status is PipelineStatus.SUCCESS
    return result


# ----------------------------------------------------------------------------------------------------------
# Cut off anywhere
# ----------------------------------------------------------------------------------------------------------


class Job:
    """A pipeline of all kinds of stages, and what it has called."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.left = {"retried": 1}

    def did(self, name: str, value: Any = None) -> Any:
        self.calls[name] += 1
        return value

    def load(self, context: dict[str, Any]) -> dict[str, Any]:
        context["rows"] = [1]
        context["mode"] = "full"
        context["old"] = "soon gone"
        return self.did("load", {"pages": [1]})

    def grow(self, context: dict[str, Any]) -> int:
        context["rows"].append(2)
        context["stage_load_output"]["pages"].append(2)
        del context["old"]
        return self.did("grow", len(context["rows"]))

    def retried(self, context: dict[str, Any]) -> str:
        self.did("retried")
        context["rows"] = [*context["rows"], len(context["rows"]) + 1]
        if self.left["retried"]:
            self.left["retried"] -= 1
            raise ValueError("once")
        return "at last"

    def asked(self, context: dict[str, Any]) -> bool:
        return bool(self.did("asked", context["mode"] == "full"))

    def refused(self, context: dict[str, Any]) -> bool:
        return bool(self.did("refused", context["mode"] != "full"))

    async def later(self, context: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        context.update({7: ("seven", {1, 2})})  # type: ignore[dict-item]
        return self.did("later", context["stage_extra_output"])

    def pipeline(self) -> Pipeline:
        job = self

        class Hooked(Stage):
            def execute(self, context: dict[str, Any]) -> str:
                return str(job.did("hooked", "hooked"))

            def on_success(self, result: StageResult, context: dict[str, Any]) -> None:
                context["heard"] = f"{result.output} by {job.did('on_success', 'hook')}"

        children: list[Stage] = [fn("left", lambda c: c.update(left=1)), fn("right", lambda c: c["rows"][0])]
        return of(
            fn("load", self.load),
            fn("grow", self.grow, depends_on=["load"]),
            fn("retried", self.retried, depends_on=["grow"], retry_count=1),
            ConditionalStage(
                "extra", self.asked, fn("in", lambda c: self.did("extra", 1)), depends_on=["retried"]
            ),
            ConditionalStage(
                "never", self.refused, fn("in", lambda c: self.did("never")), depends_on=["retried"]
            ),
            Hooked("hooked", depends_on=["extra", "never"]),
            ParallelStage("both", children, depends_on=["hooked"]),
            fn("later", self.later, depends_on=["both"]),
            fn("end", lambda c: snapshot(c), depends_on=["later"]),
        ).set_context("rate", 2)

    def run(self, store: Store) -> PipelineResult:
        return self.pipeline().run({"day": "monday"}, store=store, run_id="r")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.dialects.pipelines.graph._FIRST_WAIT", 0.001)


def test_cut_off_at_any_commit_it_ends_as_if_it_had_not() -> None:
    whole = Job()
    wanted = ends(whole.run(MemoryStore()))
    assert wanted == ends(Job().pipeline().run({"day": "monday"})), "with a store it comes to the same"
    end = dict(wanted[-1][2])
    assert (end["rows"], end["mode"], end["heard"], end[7]) == (
        [1, 2, 3],
        "full",
        "hooked by hook",
        ("seven", {1, 2}),
    )
    assert (end["stage_load_output"], end["left"]) == ({"pages": [1, 2]}, 1)
    assert "old" not in end
    lives = 0
    for store, commit in cut_off(lambda store: Job().run(store)):
        lives += 1
        done = finished(store, "r")
        job = Job()
        job.left["retried"] = 0
        result = job.run(store)
        # The output of a stage is what it was when the stage ended; whoever changes it later has written it.
        assert [one for one in ends(result) if one[0] != "load"] == [
            one for one in wanted if one[0] != "load"
        ], commit
        assert not job.calls.keys() & done, f"commit {commit}: a stage was done again"
        assert ("on_success" in job.calls) == ("hooked" not in done)
    assert lives > 8


def test_async_runs_are_kept_too() -> None:
    store, end = MemoryStore(), Down()
    calls: list[int] = []

    def write(context: dict[str, Any]) -> None:
        calls.append(1)
        context["x"] = [1]

    def pipeline() -> Pipeline:
        return of(fn("a", write), fn("end", end, depends_on=["a"]))

    async def both() -> tuple[PipelineResult, PipelineResult]:
        first = await pipeline().arun({"n": 1}, store=store, run_id="r")
        end.up = True
        return first, await pipeline().arun(store=store, run_id="r")

    first, second = asyncio.run(both())
    assert (first.status, second.status) == (PipelineStatus.FAILED, PipelineStatus.SUCCESS)
    assert output(second) == {"n": 1, "x": [1], "stage_a_output": None}
    assert calls == [1]


def test_the_recorded_result_of_a_success_is_given_and_nothing_is_called() -> None:
    store, calls = MemoryStore(), [0]

    def count(context: dict[str, Any]) -> int:
        calls[0] += 1
        return calls[0]

    first = of(fn("a", count, depends_on=[])).run(store=store, run_id="r")
    again = of(fn("a", count)).run(store=store, run_id="r")
    assert (ends(again), again.status) == (ends(first), PipelineStatus.SUCCESS)
    assert again.stages[0].start_time == first.stages[0].start_time
    assert (again.start_time, again.duration_ms <= first.duration_ms) == (first.start_time, True)
    assert calls == [1]
    assert of(fn("a", count)).run(store=store).stages[0].output == 2, "without an id it is a new run"
    assert len(store.runs()) == 2


# ----------------------------------------------------------------------------------------------------------
# The trap of the documents
# ----------------------------------------------------------------------------------------------------------


def trap(asked: list[str]) -> Pipeline:
    def decide(context: dict[str, Any]) -> bool:
        asked.append(context["mode"])
        return bool(context["mode"] == "full")

    return of(
        fn("set", lambda context: context.update(mode="full")),
        fn("between", lambda context: "between", depends_on=["set"]),
        ConditionalStage("full", decide, fn("in", lambda context: "all of it"), depends_on=["between"]),
        ConditionalStage("rest", lambda c: not decide(c), fn("in", lambda c: "rest"), depends_on=["between"]),
    )


def test_a_stage_sets_state_the_process_dies_and_the_condition_decides_as_before() -> None:
    asked: list[str] = []
    wanted = ends(trap(asked).run())
    assert [one[1] for one in wanted] == ["SUCCESS", "SUCCESS", "SUCCESS", "SKIPPED"]
    for store, _ in cut_off(lambda store: trap([]).run(store=store, run_id="r")):
        asked = []
        assert ends(trap(asked).run(store=store, run_id="r")) == wanted
        assert set(asked) <= {"full"}


KILLED = """
    from penstock.dialects.pipelines import PipelineBuilder

    def set(context):
        say("set")
        context["mode"], context["seen"] = "full", []

    def read(context):
        say("read")
        context["seen"].append("read")  # in place

    def between(context):
        die()

    def full(context):
        say("full")
        return context["seen"]

    (pipeline := PipelineBuilder("trap").stage("set", set).stage("read", read, ["set"])
    .stage("between", between, ["read"])
    .conditional("full", lambda context: context["mode"] == "full", full, ["between"])
    .conditional("rest", lambda context: context["mode"] != "full", full, ["between"])).build
    pipeline = pipeline.build()

    if __name__ == "__main__":
        result = pipeline.run(store="runs.db", run_id="r")
        print([(one.stage_id, one.status.value, one.output) for one in result.stages])
"""


def test_killed_between_the_state_and_its_condition_it_decides_as_before(tmp_path: Path) -> None:
    """SIGKILL, and another process."""
    process = Process(tmp_path, KILLED)
    assert process.live(killed=True) == ""
    assert process.said == ["set", "read"]
    wanted = "('full', 'success', ['read']), ('rest', 'skipped', None)"
    assert wanted in process.live()
    assert process.said == ["set", "read", "full"]
    assert wanted in process.live(), "what it has come to is recorded"
    assert process.said == ["set", "read", "full"]


# ----------------------------------------------------------------------------------------------------------
# What is changed in place
# ----------------------------------------------------------------------------------------------------------

WAYS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "[]": lambda c: c["rows"].append(2),
    "get": lambda c: c.get("rows", []).append(2),
    "setdefault": lambda c: c.setdefault("rows", []).append(2),
    "values": lambda c: next(one for one in c.values() if isinstance(one, list)).append(2),
    "items": lambda c: dict(c.items())["rows"].append(2),
    "dict()": lambda c: dict(c)["rows"].append(2),
    "**": lambda c: {**c}["rows"].append(2),
    "copy": lambda c: c.copy()["rows"].append(2),
    "|": lambda c: (c | {})["rows"].append(2),
    "reversed |": lambda c: ({} | c)["rows"].append(2),
    "|=": lambda c: c.__ior__({"x": 1})["rows"].append(2),
    "two deep": lambda c: c["deep"]["rows"].append(2),
    "in a tuple": lambda c: c["pair"][0].append(2),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["plain", "async", "hook"])
def test_what_is_read_and_changed_in_place_is_there_again(way: str, kind: str) -> None:
    """However it is read: it counts as written by the stage that has changed it."""

    def put(context: dict[str, Any]) -> None:
        rows = [1]
        context.update(rows=rows, deep={"rows": [1]}, pair=([1], "x"))

    async def later(context: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        WAYS[way](context)

    class Hooked(Stage):
        def execute(self, context: dict[str, Any]) -> None:
            pass

        def on_success(self, result: StageResult, context: dict[str, Any]) -> None:
            WAYS[way](context)

    def stage() -> Stage:
        if kind == "hook":
            return Hooked("change", depends_on=["put"])
        act: Any = later if kind == "async" else (lambda context: WAYS[way](context) and None)
        return fn("change", act, depends_on=["put"])

    result = resumed(lambda end: of(fn("put", put), stage(), fn("end", end, depends_on=["change"])))
    found = output(result)
    where = {"two deep": found["deep"]["rows"], "in a tuple": found["pair"][0]}.get(way, found["rows"])
    assert where == [1, 2]
    assert result.run is not None
    assert not [one for one in result.run.warnings if "written" in one]


def test_what_is_only_read_is_not_written() -> None:
    store = MemoryStore()
    of(
        fn("put", lambda c: c.update(rows=[1])),
        fn("read", lambda c: len(c["rows"]), depends_on=["put"]),
        fn("all", lambda c: len([*c.items()]), depends_on=["read"]),
    ).run(store=store, run_id="r")
    text = "".join(store.rows("r"))
    assert text.count('"rows":[1]') == 1


def test_an_output_that_a_later_stage_changes_in_place_is_changed_for_those_after_it() -> None:
    result = resumed(
        lambda end: of(
            fn("a", lambda c: [1]),
            fn("b", lambda c: c["stage_a_output"].append(2), depends_on=["a"]),
            fn("c", lambda c: c["stage_a_output"], depends_on=["b"]),
            fn("end", end, depends_on=["c"]),
        )
    )
    assert output(result, "c") == [1, 2]
    assert output(result)["stage_a_output"] == [1, 2]


def test_what_a_failed_attempt_has_changed_in_place_is_there_again_too() -> None:
    """It was changed for everybody at once, as without a store: whoever reads it next has written it."""
    left = [1]

    def change(context: dict[str, Any]) -> int:
        if left:
            context["rows"].append(left.pop())
            raise ValueError("once")
        return len(context["rows"])

    def make(end: Down) -> Pipeline:
        return of(
            fn("put", lambda c: c.update(rows=[])),
            fn("change", change, depends_on=["put"], retry_count=1),
            fn("end", end, depends_on=["change"]),
        )

    assert output(resumed(make))["rows"] == [1]


def test_an_initial_value_that_was_changed_in_place_is_there_again_and_still_equal() -> None:
    given = {"rows": [1]}
    store, end = MemoryStore(), Down()

    def make() -> Pipeline:
        return of(fn("a", lambda c: c["rows"].append(2)), fn("end", end, depends_on=["a"]))

    make().run(given, store=store, run_id="r")
    assert given == {"rows": [1, 2]}  # by reference, as without a store
    end.up = True
    assert output(make().run({"rows": [1]}, store=store, run_id="r"))["rows"] == [1, 2]


def test_values_that_are_copied_for_each_stage_stay_each_stages_own() -> None:
    options = RunOptions(values="copied")
    store = MemoryStore()
    result = of(
        fn("put", lambda c: c.update(rows=[1])),
        fn("change", lambda c: c["rows"].append(2), depends_on=["put"]),
        fn("end", lambda c: c["rows"], depends_on=["change"]),
    ).run(store=store, run_id="r", options=options)
    assert output(result) == [1]


def test_a_run_in_memory_looks_at_nothing() -> None:
    class Counted(list[int]):
        looks = 0

        def __iter__(self) -> Any:
            Counted.looks += 1
            return super().__iter__()

    of(fn("a", lambda c: c["rows"] and None)).run({"rows": Counted([1])})
    assert Counted.looks == 0


# ----------------------------------------------------------------------------------------------------------
# Hooks
# ----------------------------------------------------------------------------------------------------------


class Told(Stage):
    """A stage whose hooks write."""

    def __init__(self, stage_id: str, told: list[str], act: Callable[[], Any], **kw: Any) -> None:
        super().__init__(stage_id, **kw)
        self.told, self.act = told, act

    def execute(self, context: dict[str, Any]) -> Any:
        return self.act()

    def on_success(self, result: StageResult, context: dict[str, Any]) -> None:
        self.told.append(f"{self.stage_id} good")
        context[f"{self.stage_id} was"] = "good"

    def on_failure(self, result: StageResult, context: dict[str, Any]) -> None:
        self.told.append(f"{self.stage_id} bad")
        context[f"{self.stage_id} was"] = "bad"


def fails() -> Any:
    raise ValueError("no")


@pytest.mark.parametrize("how", ["raises", "is late"])
def test_hooks_of_stages_that_have_ended_are_not_called_again_and_what_they_wrote_is_there(how: str) -> None:
    """Of a stage that has failed too, where the rest goes on: its failure has what its hook wrote."""
    told: list[str] = []

    class Late(Told):
        async def execute(self, context: dict[str, Any]) -> Any:
            await asyncio.Event().wait()

    def life(store: Store | None, *, has_failed: bool = False) -> PipelineResult:
        failed = threading.Event()

        def observe(event: Any) -> None:
            if isinstance(event, NodeFailed):
                failed.set()

        if has_failed:
            failed.set()
        bad = Told("bad", told, fails) if how == "raises" else Late("bad", told, fails, timeout_s=0.01)
        other = fn("other", lambda c: failed.wait(30), depends_on=["good"])
        last = fn("last", snapshot, depends_on=["other"])
        pipeline = of(bad, Told("good", told, int), other, last, fail_fast=False, max_workers=2)
        kept: Any = {} if store is None else {"store": store, "run_id": "r"}
        return pipeline.run(options=RunOptions(observers=[observe]), **kept)

    wanted = ends(life(None))
    assert sorted(told) == ["bad bad", "good good"]
    assert wanted[-1][2]["bad was"] == "bad"
    cuts = 0
    for store, commit in cut_off(life):
        cuts += 1
        rows = "".join(store.rows("r"))
        marks = {"bad bad": '"fail","bad"', "good good": '"ok","good"'}
        before = {word for word, mark in marks.items() if mark in rows}
        told.clear()
        assert ends(life(store, has_failed="bad bad" in before)) == wanted, commit
        assert sorted(told) == sorted(marks.keys() - before)
    assert cuts > 3


def test_a_failed_run_that_goes_on_tells_the_hooks_of_what_runs_again() -> None:
    told: list[str] = []
    acts: list[Callable[[], Any]] = [fails, lambda: 5]
    store = MemoryStore()

    def pipeline(act: Callable[[], Any]) -> Pipeline:
        return of(Told("first", told, int), Told("a", told, act, depends_on=["first"]))

    pipeline(acts[0]).run(store=store, run_id="r")
    assert told == ["first good", "a bad"]
    result = pipeline(acts[1]).run(store=store, run_id="r")
    assert told == ["first good", "a bad", "a good"]
    assert (output(result, "a"), result.status) == (5, PipelineStatus.SUCCESS)


def test_what_on_failure_writes_and_no_store_can_keep_is_lost_and_told() -> None:
    class Bad(Stage):
        def execute(self, context: dict[str, Any]) -> Any:
            raise ValueError("no")

        def on_failure(self, result: StageResult, context: dict[str, Any]) -> None:
            context.update(good="kept", bad=object())

    stages = [Bad("bad"), fn("end", snapshot)]
    result = of(*stages, fail_fast=False).run(store=MemoryStore())
    assert output(result) == {"good": "kept"}
    assert result.run is not None
    (warning,) = result.run.warnings
    assert "on_failure of 'bad' wrote into context['bad'] is lost" in warning


# ----------------------------------------------------------------------------------------------------------
# What can be stored
# ----------------------------------------------------------------------------------------------------------


@dataclass
class Order:
    number: int


def priced(context: dict[str, Any]) -> list[Order]:
    context["order"] = Order(2)
    return [Order(1)]


def test_classes_that_a_stage_s_annotations_name_are_stored() -> None:
    result = resumed(lambda end: of(fn("price", priced), fn("end", end, depends_on=["price"])))
    assert (output(result, "price"), output(result)["order"]) == ([Order(1)], Order(2))


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda c: threading.Lock(), "it is a lock"),
        (lambda c: c.update(conn=object()), r"^what it wrote: \$\.a\.conn "),
    ],
)
def test_what_cannot_be_stored_fails_the_stage_and_says_where_it_is(act: Any, text: str) -> None:
    result = of(fn("a", act), fn("b", lambda c: 1, depends_on=["a"])).run(store=MemoryStore())
    assert [one.status for one in result.stages] == [StageStatus.FAILED, StageStatus.SKIPPED]
    assert re.search(text, str(result.stages[0].error)), result.stages[0].error


def test_an_initial_value_that_cannot_be_stored_is_refused_by_name_and_nothing_starts() -> None:
    ran: list[int] = []
    pipeline = of(fn("a", lambda c: ran.append(1)))
    with pytest.raises(InputError, match=r"the input 'conn' cannot be stored: .*object"):
        pipeline.run({"conn": object()}, store=MemoryStore())
    assert (ran, pipeline.status) == ([], PipelineStatus.CANCELLED)
    assert pipeline.run({"conn": object()}).status is PipelineStatus.SUCCESS


def test_a_stage_that_returns_the_context_gives_a_plain_dict() -> None:
    result = resumed(
        lambda end: of(fn("a", lambda c: c), fn("end", end, depends_on=["a"])).set_context("k", [1])
    )
    assert output(result, "a") == {"k": [1]}
    assert type(output(result, "a")) is dict


# ----------------------------------------------------------------------------------------------------------
# The initial context
# ----------------------------------------------------------------------------------------------------------


def test_the_context_of_a_run_that_goes_on_is_what_it_was() -> None:
    """What is not given is what it was, that of the pipeline included, whatever that says now."""
    given: Any = {"day": "monday", "store": "shop", 5: "five", "**": "stars", ("a", 1): [1]}
    store, end = MemoryStore(), Down()
    first = of(fn("end", end)).set_context("rate", 2).set_context("day", "sunday")
    first.run(given, store=store, run_id="r")
    end.up = True
    second = of(fn("end", end)).set_context("rate", 3)
    assert output(second.run(store=store, run_id="r")) == {"rate": 2, **given}


@pytest.mark.parametrize("given", [{}, {"day": "monday"}, {"day": "monday", "n": 1}, None])
def test_equal_inputs_or_a_part_of_them_are_the_same_run(given: Any) -> None:
    store, end = MemoryStore(), Down()
    of(fn("end", end)).run({"n": 1, "day": "monday"}, store=store, run_id="r")
    end.up = True
    assert output(of(fn("end", end)).run(given, store=store, run_id="r")) == {"n": 1, "day": "monday"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"day": "tuesday"}, "day is 'tuesday', and was 'monday'"),
        ({"n": True}, "n is True, and was 1"),
        ({"other": 1}, "was not given 'other'"),
        ({5: 1}, r"was not given '\*\*'"),
    ],
)
def test_other_inputs_are_another_run_and_the_difference_is_told(given: Any, text: str) -> None:
    store, end = MemoryStore(), Down()
    of(fn("end", end)).run({"n": 1, "day": "monday"}, store=store, run_id="r")
    for _ in range(2):
        with pytest.raises(RunExists, match=text):
            of(fn("end", end)).run(given, store=store, run_id="r")
    end.up = True
    assert of(fn("end", end)).run(store=store, run_id="r").status is PipelineStatus.SUCCESS


def test_a_secret_is_never_stored_and_given_again_or_as_the_pipeline_has_it() -> None:
    store, end = MemoryStore(), Down(lambda c: [c["token"].reveal(), c["key"].reveal(), c["n"]])

    def pipeline() -> Pipeline:
        return of(fn("end", end)).set_context("key", Secret("k-e-y"))

    token = Secret("t-o-k-e-n")
    pipeline().run({"token": token, "n": 1}, store=store, run_id="r")
    end.up = True
    with pytest.raises(InputError, match="the input 'token' was a Secret"):
        pipeline().run(store=store, run_id="r")
    assert output(pipeline().run({"token": token}, store=store, run_id="r")) == ["t-o-k-e-n", "k-e-y", 1]
    rows = "".join(store.rows("r"))
    assert "$secret" in rows


def test_a_run_of_another_pipeline_is_refused() -> None:
    store = MemoryStore()
    of(fn("a", snapshot)).run(store=store, run_id="r")
    with pytest.raises(RunExists, match="one of flow 'p', not of 'q'"):
        Pipeline(name="q").add_stage(fn("a", snapshot)).run(store=store, run_id="r")


def test_a_run_that_somebody_else_drives_is_refused() -> None:
    store, end = MemoryStore(), Down()
    of(fn("end", end)).run(store=store, run_id="r")
    store.claim("r", here(), 100.0)
    with pytest.raises(RunBusy):
        of(fn("end", end)).run(store=store, run_id="r")


# ----------------------------------------------------------------------------------------------------------
# Parallel stages, targets, options
# ----------------------------------------------------------------------------------------------------------


def test_a_parallel_stage_is_one_stage_its_writes_and_changes_are_there_again() -> None:
    def make(end: Down) -> Pipeline:
        children: list[Stage] = [fn("x", lambda c: c["rows"].append(1)), fn("y", lambda c: c.update(y="y"))]
        both = ParallelStage("both", children, depends_on=["put"], max_workers=1)
        return of(fn("put", lambda c: c.update(rows=[])), both, fn("end", end, depends_on=["both"]))

    found = output(resumed(make))
    assert (found["rows"], found["y"], found["stage_both_output"]) == ([1], "y", {"x": None, "y": None})


def test_several_workers_and_a_store() -> None:
    def make(end: Down) -> Pipeline:
        def writes(n: int) -> Callable[[dict[str, Any]], None]:
            return lambda context: context.update({f"k{n}": n})

        wide = [fn(f"s{n}", writes(n)) for n in range(20)]
        return of(*wide, fn("end", end, depends_on=[one.stage_id for one in wide]), max_workers=8)

    found = output(resumed(make))
    assert {key: found[key] for key in found if key.startswith("k")} == {f"k{n}": n for n in range(20)}


def writes(context: dict[str, Any]) -> int:
    context["pid"] = os.getpid()
    return context["n"] + 1


def test_what_stages_in_other_processes_write_is_there_again() -> None:
    store, end = MemoryStore(), Down()
    with processes(1) as pool:
        of(fn("a", writes), fn("end", end, depends_on=["a"])).run(
            {"n": 1}, store=store, run_id="r", runner=pool
        )
    end.up = True
    found = output(of(fn("a", writes), fn("end", end, depends_on=["a"])).run(store=store, run_id="r"))
    assert found["pid"] != os.getpid()
    assert found["stage_a_output"] == 2


def test_options_of_a_run_that_is_kept() -> None:
    """Tags are in the catalog, and a stage that is asked for is done again, with all that follows."""
    store, calls = MemoryStore(), Counter[str]()

    def stages() -> list[Stage]:
        def call(id: str) -> Callable[[dict[str, Any]], Any]:
            return lambda c: calls.update([id])

        return [fn("a", call("a")), fn("b", call("b"), depends_on=["a"]), fn("end", end, depends_on=["b"])]

    end = Down()
    of(*stages()).run(store=store, run_id="r", options=RunOptions(tags={"who": "me"}))
    assert [entry.run_id for entry in store.runs(tags={"who": "me"})] == ["r"]
    end.up = True
    of(*stages()).run(store=store, run_id="r", options=RunOptions(rerun=["b"]))
    assert calls == {"a": 1, "b": 2}


def test_what_a_stage_wrote_that_is_done_again_does_not_count_any_more() -> None:
    store, end = MemoryStore(), Down()
    words = ["old", "new"]

    def write(context: dict[str, Any]) -> None:
        context[words[0]] = True

    def make() -> Pipeline:
        return of(fn("a", write), fn("end", end, depends_on=["a"]))

    make().run(store=store, run_id="r")
    end.up, words[0] = True, "new"
    result = make().run(store=store, run_id="r", options=RunOptions(rerun=["a"]))
    assert output(result) == {"new": True, "stage_a_output": None}


# ----------------------------------------------------------------------------------------------------------
# Code that has changed
# ----------------------------------------------------------------------------------------------------------

CHANGED = """
    from penstock import GraphChanged, RunOptions
    from penstock.dialects.pipelines import ConditionalStage, FunctionStage, Pipeline, Stage

    class Own(Stage):
        def execute(self, context):
            say("own")
            return "own 1"

    def load(context):
        say("load")
        return helper()

    def helper():
        return 1

    def ask(context):
        return context["stage_load_output"] > 0

    def end(context):
        say("end")
        if not os.path.exists("up"):
            raise ValueError("down")
        return [context["stage_load_output"], context["stage_own_output"]]

    pipeline = Pipeline(name="p")
    pipeline.add_stage(FunctionStage("load", load)).add_stage(Own("own", depends_on=["load"]))
    inner = FunctionStage("in", lambda c: say("in"))
    pipeline.add_stage(ConditionalStage("maybe", ask, inner, depends_on=["own"]))
    pipeline.add_stage(FunctionStage("end", end, depends_on=["maybe"]))

    if __name__ == "__main__":
        options = RunOptions(on_change=sys.argv[1])
        try:
            result = pipeline.run(store="runs.db", run_id="r", options=options)
        except GraphChanged as error:
            print(error)
        else:
            print(result.status.value, result.stages[-1].output)
"""


@pytest.mark.parametrize(
    ("old", "new", "who", "again"),
    [
        ("return 1\n", "return 5\n", "load", ["load", "own", "in", "end"]),
        ('return "own 1"', 'return "own 2"', "own", ["own", "in", "end"]),
        ("> 0", ">= 0", "maybe", ["in", "end"]),
        ('say("in")', '(say("in"), 1)', "maybe", ["in", "end"]),
    ],
)
def test_a_change_of_a_stage_s_code_is_noticed(
    tmp_path: Path, old: str, new: str, who: str, again: list[str]
) -> None:
    """Of what it calls too, of the condition, of a method; of a stage that has failed it is no matter."""
    process = Process(tmp_path, CHANGED)
    assert process.live("refuse") == "failed None\n"
    first = process.said
    process.edit(old, new)
    process.edit('raise ValueError("down")', 'raise ValueError("no luck")')
    assert f"step {who!r} has other code" in process.live("refuse")
    assert process.said == first
    (tmp_path / "up").touch()
    if who == "load":
        assert process.live("keep") == "success [1, 'own 1']\n"
        assert process.said == [*first, "end"]
    else:
        assert "success" in process.live("rerun")
        assert process.said == [*first, *again]


def test_rerun_does_again_what_has_changed_and_what_follows(tmp_path: Path) -> None:
    process = Process(tmp_path, CHANGED)
    process.live("refuse")
    process.edit("return 1\n", "return 5\n")
    (tmp_path / "up").touch()
    assert process.live("rerun") == "success [5, 'own 1']\n"
    assert process.said == ["load", "own", "in", "end", "load", "own", "in", "end"]


def test_a_stage_that_is_gone_is_noticed() -> None:
    store, end = MemoryStore(), Down()
    of(fn("a", snapshot), fn("end", end)).run(store=store, run_id="r")
    with pytest.raises(GraphChanged, match="step 'a' is not in the flow any more"):
        of(fn("end", end)).run(store=store, run_id="r")


# ----------------------------------------------------------------------------------------------------------
# The store fails
# ----------------------------------------------------------------------------------------------------------


def test_an_error_of_the_store_is_raised_and_the_pipeline_can_go_on() -> None:
    pipeline = PipelineBuilder("p").stage("a", snapshot).stage("b", snapshot, ["a"]).build()
    store = FaultyStore(MemoryStore(), at=3, times=None, error=full, only=["append"])
    is_cut_off(lambda: pipeline.run(store=store, run_id="r"))
    assert pipeline.status is PipelineStatus.CANCELLED
    store.mend()
    assert pipeline.run(store=store, run_id="r").status is PipelineStatus.SUCCESS
