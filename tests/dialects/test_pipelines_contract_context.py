"""Pipelines: the rows of the contract on the context that stages share."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections import OrderedDict
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest

from penstock.dialects.pipelines import (
    ConditionalStage,
    ParallelStage,
    PipelineStatus,
    StageResult,
    StageStatus,
)

from .parts_bound import doing
from .parts_pipelines import Context, by_id, fn, of, one, run, seen, some, statuses


def after(*acts: Callable[[Context], Any], context: Context | None = None) -> Context:
    """What is in the context after stages that ran one after the other, their outputs left out."""
    stages = [fn(f"s{at}", act, *[f"s{at - 1}"][:at]) for at, act in enumerate((*acts, seen))]
    result = run(*stages, context=context)
    assert result.status is PipelineStatus.SUCCESS, result.stages
    return {
        key: value for key, value in result.stages[-1].output.items() if not str(key).startswith("stage_s")
    }


# ----------------------------------------------------------------------------------------------------------
# "one dict for the run, a copy of the pipeline's updated by initial_context (which wins); the caller's dict
# is never changed"
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [dict, OrderedDict, MappingProxyType])
def test_row_context_initial_context_may_be_any_mapping_and_is_not_changed(kind: Any) -> None:
    mine = kind({"x": 1, "gone": 2})
    assert after(doing(lambda c: c.pop("gone"), some(x=5, y=6)), context=mine) == {"x": 5, "y": 6}
    assert dict(mine) == {"x": 1, "gone": 2}


def test_row_context_nothing_of_a_run_is_left_in_the_pipeline_s_own() -> None:
    def act(context: Context) -> None:
        assert context == {"k": 1}
        context["k"] = 2
        context["new"] = 3

    pipeline = of(fn("a", act)).set_context("k", 1)
    for _ in range(2):
        assert pipeline.run().status is PipelineStatus.SUCCESS
    assert pipeline.context == {"k": 1}


def test_row_context_set_between_runs_counts_in_the_next() -> None:
    pipeline = of(fn("a", seen)).set_context("k", 1)
    assert pipeline.run().stages[0].output == {"k": 1}
    pipeline.set_context("k", 2)
    pipeline.context["more"] = 3
    assert pipeline.run().stages[0].output == {"k": 2, "more": 3}
    del pipeline.context["k"]
    assert pipeline.run({"more": 4}).stages[0].output == {"more": 4}
    pipeline.context = {}
    assert pipeline.run().stages[0].output == {}


# ----------------------------------------------------------------------------------------------------------
# "A dependency's output is put in as stage_<id>_output"
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "id", ["with space", "ünï", "日本", "a.b", "a-b:c", "a/b", "x" * 200, "stage_a_output"]
)
def test_row_context_outputs_are_found_by_id_whatever_the_id(id: str) -> None:
    result = run(fn(id, lambda context: 5), fn("last", lambda context: context[f"stage_{id}_output"], id))
    assert by_id(result)["last"].output == 5


def test_row_context_outputs_of_what_lies_further_up_are_there_too_but_not_of_children() -> None:
    stages = [
        fn("a"),
        ParallelStage("p", [fn("x"), fn("y", seen, "x")], depends_on=["a"]),
        fn("z", seen, "p"),
    ]
    result = by_id(run(*stages))
    inner = {"stage_a_output": 1, "stage_x_output": 1}
    assert result["p"].output == {"x": 1, "y": inner}
    assert result["z"].output == {"stage_a_output": 1, "stage_p_output": {"x": 1, "y": inner}}


def test_row_context_a_stage_s_output_stands_above_what_others_wrote_in_its_place() -> None:
    result = run(fn("b", lambda c: c.update(stage_a_output=99)), fn("a", one, "b"), fn("z", seen, "a"))
    assert by_id(result)["z"].output["stage_a_output"] == 1

    def own(context: Context) -> str:
        context["stage_a_output"] = "written"
        return "returned"

    assert by_id(run(fn("a", own), fn("z", seen, "a")))["z"].output == {"stage_a_output": "returned"}


@pytest.mark.parametrize(
    ("act", "wanted"),
    [
        (some(stage_a_output=9), {"stage_a_output": 9}),
        (lambda c: c.__ior__({"stage_a_output": 9}), {"stage_a_output": 9}),
        (lambda c: c.__delitem__("stage_a_output"), {}),
        (lambda c: c.pop("stage_a_output"), {}),
        (lambda c: c.popitem(), {}),
        (lambda c: c.clear(), {}),
    ],
)
def test_row_context_an_output_that_a_stage_overwrites_or_deletes_is_so_for_later_stages(
    act: Callable[[Context], Any], wanted: Context
) -> None:
    found = by_id(run(fn("a"), fn("b", act, "a"), fn("c", seen, "b"), fn("d", seen, "a", "b")))
    for id in "cd":
        left = {key: value for key, value in found[id].output.items() if key == "stage_a_output"}
        assert left == wanted, id


def test_row_context_outputs_are_there_for_whatever_way_of_reading_a_dict() -> None:
    readers: list[Callable[[Context], Any]] = [
        dict,
        lambda context: json.loads(json.dumps(context)),
        lambda context: {**context},
        lambda context: context | {},
        lambda context: context.copy(),
        lambda context: {key: context[key] for key in context},
        lambda context: dict(context.items()),
        lambda context: dict(zip(context.keys(), context.values(), strict=True)),
        lambda context: pickle.loads(pickle.dumps(context)),
    ]
    for reader in readers:
        unordered = run(fn("a"), fn("b", one, "a"), fn("c", reader))  # one by one, the longest path first
        assert by_id(unordered)["c"].output in (
            {"stage_a_output": 1},
            {"stage_a_output": 1, "stage_b_output": 1},
        )
        below = run(fn("a"), fn("b", one, "a"), fn("c", reader, "b"))
        assert by_id(below)["c"].output == {"stage_a_output": 1, "stage_b_output": 1}
    for by_name in (lambda c: eval("stage_a_output", {}, c), lambda c: "{stage_a_output}".format_map(c)):
        assert by_id(run(fn("a"), fn("b", one, "a"), fn("c", by_name, "b")))["c"].output in (1, "1")


def test_row_context_a_stage_sees_no_key_twice_and_none_that_is_not_there() -> None:
    def look(context: Context) -> list[Any]:
        wanted = ["k", "stage_a_output", "stage_b_output"]
        assert sorted(context) == sorted(context.keys()) == sorted({**context}) == wanted
        assert len(context) == len(context.items()) == 3
        assert "stage_z_output" not in context
        assert context.get("stage_z_output", 5) == 5
        with pytest.raises(KeyError, match="stage_z_output"):
            context["stage_z_output"]
        return [context == {"k": 0, "stage_a_output": 1, "stage_b_output": 1}, context == {}]

    assert by_id(run(fn("a"), fn("b", one, "a"), fn("c", look, "b"), context={"k": 0}))["c"].output == [
        True,
        False,
    ]


class Output:
    """What compares badly."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ValueError("not to be compared")


@pytest.mark.parametrize(
    "value",
    [
        *(
            ValueError("a value"),
            NotImplemented,
            float("nan"),
            Ellipsis,
            type,
            print,
            b"x" * 5_000_000,
            Output(),
        ),
        *(
            StageResult("x", StageStatus.FAILED),
            StageStatus.FAILED,
            iter([1]),
            (n for n in range(3)),
            object(),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("writes", [False, True])
def test_row_context_any_object_may_be_an_output_and_is_handed_on_as_it_is(value: Any, writes: bool) -> None:
    def give(context: Context) -> Any:
        if writes:
            context["written"] = value
        return value

    key = "written" if writes else "stage_a_output"
    result = by_id(run(fn("a", give), fn("b", lambda context: context[key], "a")))
    assert result["a"].output is value
    assert result["b"].output is value
    assert (result["a"].status, result["b"].status) == (StageStatus.SUCCESS, StageStatus.SUCCESS)


# ----------------------------------------------------------------------------------------------------------
# "What a stage writes into it is visible to later stages"
# ----------------------------------------------------------------------------------------------------------


def half_an_update(context: Context) -> None:
    def pairs() -> Any:
        yield "a", 1
        raise LookupError

    try:
        context.update(pairs())
    except LookupError:
        context["caught"] = True


def delete(*keys: Any) -> Callable[[Context], Any]:
    def act(context: Context) -> None:
        for key in keys:
            del context[key]

    return act


def put_back(context: Context) -> None:
    del context["k"]
    context["k"] = 2


def nested(context: Context) -> None:
    context["deep"]["list"].append(2)
    context["deep"]["new"] = 3


WRITES: list[tuple[Callable[[Context], Any], Context]] = [
    (some(), {"k": 1}),
    (some(k=2, n=3), {"k": 2, "n": 3}),
    (lambda c: c.update([("n", 1)], m=2), {"k": 1, "n": 1, "m": 2}),
    (lambda c: c.update((key, 0) for key in "xy"), {"k": 1, "x": 0, "y": 0}),
    (lambda c: c.update({"n": 1}), {"k": 1, "n": 1}),
    (half_an_update, {"k": 1, "caught": True}),
    (lambda c: c.__ior__({"n": 1}), {"k": 1, "n": 1}),
    (lambda c: c.__ior__([("n", 1)]), {"k": 1, "n": 1}),
    (lambda c: c.setdefault("k", 5), {"k": 1}),
    (lambda c: c.setdefault("n", 5), {"k": 1, "n": 5}),
    (lambda c: c.setdefault("n"), {"k": 1, "n": None}),
    (lambda c: c.pop("k"), {}),
    (lambda c: c.pop("none", None), {"k": 1}),
    (lambda c: c.popitem(), {}),
    (lambda c: c.clear(), {}),
    (doing(lambda c: c.clear(), some(n=1)), {"n": 1}),
    (delete("k"), {}),
    (put_back, {"k": 2}),
    (doing(some(n=1), lambda c: c.pop("n")), {"k": 1}),
    (lambda c: c.update({1: 2, (3, 4): 5, None: 6}), {"k": 1, 1: 2, (3, 4): 5, None: 6}),
    (doing(lambda c: c.update(me=c), lambda c: c.pop("me")), {"k": 1}),
    (lambda c: {**c, "n": 1}, {"k": 1}),
    (lambda c: c | {"n": 1}, {"k": 1}),
    (lambda c: {"n": 1} | c, {"k": 1}),
    (lambda c: c.copy().update(n=1), {"k": 1}),
    (lambda c: copy.copy(c).update(n=1), {"k": 1}),
]


@pytest.mark.parametrize(("act", "wanted"), WRITES)
def test_row_context_every_way_to_write_into_a_dict_is_seen_by_later_stages(
    act: Any, wanted: Context
) -> None:
    assert after(act, context={"k": 1}) == wanted


def test_row_context_a_value_changed_in_place_is_seen_by_later_stages() -> None:
    assert after(nested, context={"deep": {"list": [1]}}) == {"deep": {"list": [1, 2], "new": 3}}


def test_row_context_is_a_dict_in_every_respect() -> None:
    def look(context: Context) -> list[Any]:
        assert isinstance(context, dict)
        assert json.loads(json.dumps(context)) == {"k": 1, "j": 2}
        assert (lambda **named: named)(**context) == {**context} == context | {} == dict(context) == context
        for same in (context.copy(), copy.copy(context), copy.deepcopy(context), context | {}):
            assert (type(same), same) == (dict, {"k": 1, "j": 2})
        again = pickle.loads(pickle.dumps(context))
        assert (type(again), again) == (dict, {"k": 1, "j": 2})
        assert (list(context), list(reversed(context)), len(context)) == (["k", "j"], ["j", "k"], 2)
        assert (repr(context), str(context), bool(context)) == ("{'k': 1, 'j': 2}", "{'k': 1, 'j': 2}", True)
        assert (context.get("no"), context.get("no", 3), "k" in context) == (None, 3, True)
        match context:
            case {"k": value, **rest}:
                return [value, rest]
        return []

    assert by_id(run(fn("a", look), context={"k": 1, "j": 2}))["a"].output == [1, {"j": 2}]


@pytest.mark.parametrize(
    "act", [delete("no"), lambda c: c.pop("no"), lambda c: c["no"], lambda c: c.popitem()]
)
def test_row_context_what_is_an_error_of_a_dict_fails_the_stage(act: Any) -> None:
    assert statuses(run(fn("a", act))) == {"a": "FAILED"}


@pytest.mark.parametrize("is_async", [False, True])
def test_row_context_written_across_an_await_and_by_an_inner_stage(is_async: bool) -> None:
    async def slow(context: Context) -> None:
        context["early"] = 1
        await asyncio.sleep(0)
        context["late"] = 2

    act = slow if is_async else some(early=1, late=2)
    for stage in (
        fn("w", act),
        ConditionalStage("w", one, fn("in", act)),
        ParallelStage("w", [fn("x", act)]),
    ):
        found = by_id(run(stage, fn("r", seen, "w")))["r"].output
        assert (found["early"], found["late"]) == (1, 2)


def test_row_context_what_is_written_after_the_end_of_the_stage_is_nobody_s() -> None:
    kept: list[Context] = []
    later = lambda context: kept[0].update(late=1)  # noqa: E731
    assert after(kept.append, later, context={"k": 1}) == {"k": 1}


@pytest.mark.parametrize("keep", [lambda context: context, lambda context: [context], some])
def test_row_context_a_stage_may_return_its_context_which_then_stays_what_it_was(keep: Any) -> None:
    kept: list[Context] = []

    def give(context: Context) -> Any:
        context["mine"] = 1
        kept.append(context)
        return None if keep is some else keep(context)

    result = by_id(run(fn("a"), fn("b", give, "a"), fn("c", one, "b"), fn("d", seen, "c"), context={"k": 0}))
    wanted = {"k": 0, "stage_a_output": 1, "mine": 1}
    assert set(kept[0]) == set(wanted)
    assert json.loads(json.dumps(kept[0])) == dict(kept[0]) == wanted
    if keep is not some:
        assert json.loads(json.dumps(result["b"].output)) == keep(wanted)
        assert result["d"].output["stage_b_output"] == keep(wanted)


def test_row_context_what_a_condition_writes_is_lost() -> None:
    def ask(context: Context) -> bool:
        context["asked"] = True
        return True

    result = run(ConditionalStage("a", ask, fn("in", seen)), fn("b", seen, "a"))
    assert by_id(result)["a"].output == {}
    assert "asked" not in by_id(result)["b"].output
