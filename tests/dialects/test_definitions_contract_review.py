"""Dialect B, row by row: review loops, and the helper that finds the input of a type."""

import pytest

from penstock.dialects.definitions import (
    PipelineContext,
    RetryConfig,
    ReviewLoop,
    StageResult,
    Verdict,
    resolve_typed_input,
)

from .parts_definitions import FAN_OUT, execute, stage

# Review loops


def loop(judge, **how):
    """The result of a loop that drafts 1, 2, 3, …, and what the drafts were told."""
    told = []

    async def draft(input, feedback, context):
        told.append((input, feedback))
        return len(told)

    result = execute(stage("a", ReviewLoop(draft, judge, **how)), input="i").stage_results["a"]
    return result, told


def test_a_loop_is_told_what_the_judge_said_and_sees_the_context():
    """Row: `draft(input, feedback, context)`, feedback None at first; `judge(draft, context)`; `Verdict`."""
    context = PipelineContext(bar=3)

    async def judge(draft, context):
        context.increment_metric("judged")
        return Verdict(draft == context.bar, f"not {draft}", tokens=5)

    drafts = []

    def draft(input, feedback, context):
        drafts.append((input, feedback))
        context.set_state("drafts", len(drafts))
        return StageResult.success(len(drafts))

    result = execute(stage("a", ReviewLoop(draft, judge, 9)), input="i", context=context)
    assert drafts == [("i", None), ("i", "not 1"), ("i", "not 2")]
    assert result.outputs == {"a": 3}
    assert result.stage_results["a"].metadata["tokens"] == 15
    assert (context.state, context.metrics) == ({"drafts": 3}, {"judged": 3})
    assert Verdict(True) == (True, "", 0, None)


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([0.1, 0.9, 0.5], 2),
        ([None, None, None], 3),
        ([None, 0.5, None], 2),
        ([-3, -2, -9], 2),
        ([0, None, None], 1),
        ([float("nan"), 0.2, 0.1], 2),
    ],
)
def test_the_best_draft_is_that_of_the_highest_score_or_else_the_last(scores, best):
    """Row: the best draft is the highest score, else the last; it soft-fails with it."""
    result, told = loop(lambda draft, c: Verdict(False, score=scores[draft - 1]), max_iterations=3)
    assert (result.success, result.output, len(told)) == (True, best, 3)
    assert result.metadata["soft_fail"]


@pytest.mark.parametrize(
    ("budget", "drafts"), [(10, 1), (11, 2), (20, 2), (25, 3), (30, 3), (31, 4), (1000, 5)]
)
def test_tokens_are_summed_and_checked_after_each_judgement(budget, drafts):
    """Row: tokens are summed and checked after each judgement."""
    result, told = loop(lambda d, c: Verdict(False, tokens=10), max_iterations=5, token_budget=budget)
    assert (len(told), result.metadata["tokens"]) == (drafts, 10 * drafts)
    assert ("budget" in result.metadata["soft_fail"]) is (budget < 1000)


def test_a_draft_that_passes_counts_whatever_it_has_cost():
    """Row: iterates until the judge passes or a ceiling is reached."""
    result, _ = loop(lambda d, c: Verdict(d == 3, tokens=10), max_iterations=3, token_budget=30)
    assert (result.output, "soft_fail" in result.metadata) == (3, False)


def test_a_failed_draft_or_judge_ends_the_loop_and_may_be_retried():
    """Row: `ReviewLoop` is a stage: what its parts raise or return as failures is a failure of the stage."""
    for draft, judge, text in [
        (lambda i, f, c: 1 / 0, lambda d, c: Verdict(True), "ZeroDivisionError"),
        (lambda i, f, c: 1, lambda d, c: 1 / 0, "ZeroDivisionError"),
        (lambda i, f, c: StageResult.failure("no draft"), lambda d, c: Verdict(True), "no draft"),
        (lambda i, f, c: 1, lambda d, c: None, "the judge gave NoneType, not a Verdict"),
        (lambda i, f, c: 1, lambda d, c: (True, "", 0, None), "the judge gave tuple, not a Verdict"),
    ]:
        result = execute(stage("a", ReviewLoop(draft, judge, 3)))
        assert result.failed_stages == ["a"]
        assert text in str(result.stage_results["a"].error)
    calls = []

    def flaky(input, feedback, context):
        calls.append(feedback)
        assert len(calls) != 2
        return len(calls)

    again = ReviewLoop(flaky, lambda d, c: Verdict(d == 4, f"{d}"), 5)
    assert execute(stage("a", again, retry_config=RetryConfig(2, 0))).outputs == {"a": 4}
    assert calls == [None, "1", None, "3"]  # each attempt begins anew


def test_a_loop_in_a_fan_out_ends_for_each_item_by_itself():
    """Rows: `ReviewLoop` is a stage; soft failures inside FAN_OUT."""
    each = ReviewLoop(lambda i, f, c: i, lambda d, c: Verdict(d % 2 == 0), 2)
    result = execute(stage("a", each, pattern=FAN_OUT), input=[1, 2, 3])
    assert (result.success, result.outputs["a"]) == (True, [1, 2, 3])
    assert result.stage_results["a"].metadata["soft_fail"].startswith("[0] ")
    assert "; [2] " in result.stage_results["a"].metadata["soft_fail"]


# Helpers


def test_resolve_typed_input_takes_the_input_itself_the_key_or_the_only_one():
    """Row: `resolve_typed_input`: the input itself, or the dict's `key`, or its only value of that type."""
    value = object()
    assert resolve_typed_input(value, object) == (value, {})
    both = {"a": 1, "b": "x", "c": 2}
    assert resolve_typed_input(both, str) == ("x", {"a": 1, "c": 2})
    assert resolve_typed_input(both, int, "c") == (2, {"a": 1, "b": "x"})
    assert resolve_typed_input(both, dict) == (both, {})
    assert both == {"a": 1, "b": "x", "c": 2}
    assert resolve_typed_input({"a": None}, type(None)) == (None, {})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((5, str), "the input is int, not str"),
        ((None, str), "the input is NoneType, not str"),
        (([1], int), "the input is list, not int"),
        (({}, int), "0 values are int"),
        (({"a": "x"}, int), "0 values are int"),
        (({"a": 1, "b": 2}, int), "2 values are int.*a, b"),
        (({"audio": 1}, int, "audoi"), "no 'audoi'.*'audio'"),
        (({"a": "x", "b": 1}, int, "a"), "'a' is str, not int"),
    ],
)
def test_resolve_typed_input_else_says_what_there_is(given, says):
    """Row: `resolve_typed_input`: else TypeError."""
    with pytest.raises(TypeError, match=says):
        resolve_typed_input(*given)


def test_a_stage_resolves_what_it_is_given():
    """Row: `resolve_typed_input`, in use."""

    def call(input, context):
        return resolve_typed_input(input, str)

    result = execute(
        stage("n", lambda i, c: 1), stage("s", lambda i, c: "x"), stage("both", call, "n", "s"),
        stage("only", call, "s"),
    )  # fmt: skip
    assert result.outputs["both"] == ("x", {"n": 1})
    assert result.outputs["only"] == ("x", {})
