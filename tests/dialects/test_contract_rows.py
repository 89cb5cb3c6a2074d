"""The contract of dialects B and D, piece by piece, each with the tests that hold to it.

Whoever reads the contract finds here where each of its sentences is tested. The contract itself is no part of
the repository: that the pieces are all of it is checked where the fixture `shared` finds it.
"""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
HEAD = """
| | A `dialects/pipelines.py` | B `dialects/definitions.py` | C `dialects/workflow.py` | D
`dialects/steps.py` |
    -> test_all_names_of_the_contract_are_offered
    -> test_the_names_of_the_dialect
| seed |
    -> test_basic_sequential_pipeline
    -> test_basic_pipeline
    -> test_all_blocks_are_known
| top object |
    -> test_all_names_of_the_contract_are_offered
    -> test_the_names_of_the_dialect
| run |
    -> test_execute_is_awaited_with_a_pipeline_an_input_and_a_context
    -> test_run_is_awaited_and_run_sync_is_not
    -> test_run_sync_inside_a_running_loop_does_not_touch_it
    -> test_an_execute_that_is_cancelled_leaves_nothing_running
    -> test_a_cancelled_run_cancels_its_steps_and_can_run_again
| retry number means |
    -> test_max_attempts_counts_all_calls
    -> test_no_retry_unless_asked_for_and_then_total_calls
    -> test_retries_are_extra_calls
    -> test_retries_of_a_result_are_those_that_were_used
| waits |
    -> test_retry_waits_are_milliseconds_times_the_multiplier_capped
    -> test_the_waits_are_those_of_the_table
    -> test_waits_double_without_a_cap_and_without_jitter
| default on failure |
    -> test_a_failure_stops_always_even_what_is_not_critical
    -> test_a_failure_is_never_raised_and_by_default_the_rest_goes_on
    -> test_the_failure_policy_is_that_of_the_configuration
| task failure raises from run |
    -> test_what_a_stage_raises_is_a_failure_and_not_raised
    -> test_whatever_a_stage_raises_is_in_the_result
    -> test_whatever_a_step_raises_is_in_the_result
| running siblings at a failure |
    -> test_a_failure_cancels_running_siblings_and_leaves_later_stages_out
    -> test_the_first_failure_stops_the_run_if_asked
B absent from `outputs`, named in `metadata["cancelled"]`
    -> test_what_was_cancelled_and_what_never_started
D FAILED `Step cancelled`
    -> test_the_endings_of_the_table
D SKIPPED with the reason
    -> test_the_endings_of_the_table
D FAILED or, by flag, SKIPPED
    -> test_the_endings_of_the_table
    -> test_what_becomes_of_dependants
WAITING and READY show as PENDING
    -> test_definitions_that_wait_have_no_failure_and_are_executed_again
    -> test_steps_gates_are_drawn_and_show_as_pending
    -> test_a_run_that_waits_is_put_down_and_goes_on_when_it_is_answered
    -> test_results_of_a_run_that_goes_on_show_where_its_steps_stand
All outputs are kept
    -> test_all_outputs_are_kept
`store=`, `run_id=` as `Flow.run` does
    -> test_cut_off_at_any_commit_it_ends_as_if_it_had_not
    -> test_the_recorded_result_of_a_success_is_given_and_nothing_is_called
    -> test_times_of_what_is_not_done_again_come_from_the_journal
    -> test_the_input_of_a_run_that_goes_on_is_what_it_was
    -> test_named_steps_of_a_run_that_goes_on_are_those_it_was_begun_with
    -> test_killed_in_the_middle_it_goes_on_there
    -> test_what_cannot_be_stored_is_refused_or_fails_and_is_named
    -> test_what_cannot_be_stored_fails_its_step
each run call takes `runner=`, `options=`
    -> test_each_call_takes_a_runner
    -> test_plain_functions_run_in_processes
    -> test_plain_stages_run_in_processes
    -> test_items_of_plain_stages_run_in_processes
    -> test_a_returned_failure_comes_back_from_a_process_as_it_is
    -> test_copied_values_are_each_stages_own
    -> test_copied_values_are_each_steps_own
    -> test_max_concurrency_bounds_the_stages_of_one_execution
    -> test_a_deadline_fails_what_runs_and_says_so
    -> test_a_deadline_ends_the_run_and_says_so
    -> test_observers_are_told_of_each_stage
    -> test_observers_are_told_in_order_with_the_names_of_steps
Jitter is off in the dialects by default
    -> test_the_waits_are_those_of_the_table
    -> test_waits_double_without_a_cap_and_without_jitter
"""
"""What the head says of B and D. It speaks of the other two as well, so these are parts of it, not all."""

B = r"""
## B. `penstock.dialects.definitions` (extra `[definitions]`: pydantic)
    -> test_without_pydantic_the_error_names_the_extra
`PipelineDefinition StageDefinition PipelineExecutor PipelineContext PipelineStage ExecutionPattern
RetryConfig StageResult PipelineResult resolve_typed_input ReviewLoop`.
    -> test_every_name_of_the_contract_is_offered_and_no_other_besides_verdict
* `StageDefinition(id, stage, pattern=SEQUENTIAL, inputs=(), condition=None, retry_config=None,
timeout_ms=None, critical=True, max_concurrent_fan_out=4, description=None, input_type=None,
output_type=None)`.
    -> test_stage_definition_defaults
    -> test_a_stage_definition_takes_its_fields_in_this_order
    -> test_a_stage_definition_refuses_a_wrong_type
    -> test_input_and_output_types_are_checked
* `RetryConfig(max_attempts=1, initial_delay_ms=1000.0, backoff_multiplier=2.0, max_delay_ms=60000.0,
retryable_errors=None)`:
    -> test_retry_config_defaults
    -> test_the_other_records_take_their_fields_in_this_order
    -> test_a_retry_config_refuses_a_wrong_type
`retryable_errors` match as substrings of the error text **or** of the exception's class name, both
lower-cased with all but letters and digits removed (so `"rate_limit"` matches `RateLimitError`),
    -> test_retryable_errors_match_text_or_class_name
    -> test_retryable_errors_are_substrings_without_case_and_signs
    -> test_retryable_errors_match_the_name_of_the_class_of_what_was_raised_only
    -> test_no_retryable_error_is_none
for returned failures and raised exceptions alike;
    -> test_retryable_errors_match_returned_failures_too
    -> test_retryable_errors_are_substrings_without_case_and_signs
a timeout matches `"timeout"`.
    -> test_a_timeout_is_per_attempt_and_matches_timeout
    -> test_a_timeout_matches_timeout_for_plain_stages_too
* `PipelineDefinition(name, stages, description=None, fail_fast=True)` frozen
    -> test_the_other_records_take_their_fields_in_this_order
    -> test_a_valid_pipeline_has_no_messages_and_is_frozen
    -> test_a_definition_does_not_change_with_the_list_it_was_made_of
    -> test_a_definition_refuses_what_is_no_list_of_stages
(`fail_fast=False` is a message of `validate()`: the document makes fail-fast required);
    -> test_fail_fast_false_is_a_message_of_validate
    -> test_whatever_is_not_fail_fast_is_not_valid
`validate()` returns a list of messages: duplicate ids, unknown inputs (`Stage 'b' depends on unknown
stage 'z'`), the cycle written out, no entry point.
    -> test_validate_gives_all_messages_at_once_as_text
    -> test_an_unknown_input_names_the_near_miss
    -> test_an_invalid_pipeline_does_not_raise
`to_mermaid()`.
    -> test_to_mermaid
    -> test_to_mermaid_draws_every_pattern
* `StageResult` is a frozen pydantic model with `stage_name output error metadata`;
    -> test_a_stage_result_is_a_frozen_pydantic_model
on the **class**, `StageResult.success(output, stage_name=…, metadata=…)`, `.failure(error, …)`,
`.skipped(reason, …)`, `.soft_fail(output, reason, …)` build one;
    -> test_a_stage_result_is_made_on_the_class_and_asked_on_the_instance
    -> test_results_are_made_with_names_and_metadata
    -> test_a_failure_needs_a_text
on an **instance**, `result.success` is a bool.
    -> test_a_stage_result_is_made_on_the_class_and_asked_on_the_instance
    -> test_success_is_a_bool_of_the_instance
`PipelineResult`: `success outputs stage_results failed_stages total_duration_ms metadata get_output
get_result`.
    -> test_a_pipeline_result_has_the_names_of_the_contract
    -> test_a_pipeline_result_has_exactly_these_members
    -> test_a_pipeline_result_can_be_pickled_whatever_the_stages_are
* `PipelineContext(provider=None, config=None, state=…, metrics=…, cancel_token=None, **services)`:
services are attributes (`context.job_config`);
    -> test_the_context_stands_alone
    -> test_services_are_attributes_and_a_session_is_read_through
    -> test_every_kind_of_cancel_token_stops_the_pipeline
    -> test_a_context_refuses_a_wrong_type
also accepts `session=`, whose attributes are read through.
    -> test_services_and_the_attributes_of_a_session_reach_stages
`get_state set_state add_metric increment_metric is_cancelled`.
    -> test_the_context_stands_alone
    -> test_increments_of_concurrent_stages_add_up
    -> test_a_plain_stage_is_told_that_it_should_end
Committed state and metrics are merged into the caller's context object;
    -> test_state_and_metrics_are_merged_into_the_callers_context
    -> test_what_a_stage_writes_is_seen_by_later_stages_and_not_by_those_beside_it
    -> test_what_an_attempt_wrote_is_dropped_with_it
    -> test_two_unordered_stages_that_write_one_key_are_a_warning
they are journaled with the stage's success and restored on resume and on reuse [D1].
    -> test_cut_off_at_any_commit_it_ends_as_if_it_had_not
    -> test_a_restart_in_another_executor_reuses_what_has_succeeded
    -> test_killed_between_the_state_and_its_condition_it_decides_as_before
    -> test_the_recorded_result_of_a_success_is_given_and_nothing_is_called
* `PipelineStage` is a runtime-checkable Protocol with `async execute(input, context)` only;
    -> test_the_protocol_asks_for_execute_only
    -> test_the_protocol_is_runtime_checkable_and_needs_no_name
    -> test_an_object_without_execute_is_not_valid
`name`, if the stage has one, is read with getattr (else the id serves);
    -> test_the_name_is_read_if_there_is_one_else_the_id_serves
    -> test_a_name_that_is_no_name_gives_way_to_the_id
    -> test_a_name_that_cannot_be_had_gives_way_to_the_id
a stage that returns a bare value instead of a `StageResult` is a failure naming the stage.
    -> test_a_bare_value_is_a_failure_that_names_the_stage
    -> test_whatever_is_no_stage_result_is_a_failure_naming_the_stage
* Input: none → the pipeline's input; one → that output; several → dict by id; a skipped input → None.
    -> test_input_none_one_several_and_skipped
    -> test_a_skipped_input_is_none_however_it_was_skipped
    -> test_several_inputs_come_by_id_in_the_order_named
An invalid pipeline does not raise: `success` False, `failed_stages == ["validation"]`,
`metadata["validation_errors"]`.
    -> test_an_invalid_pipeline_does_not_raise
    -> test_nothing_of_an_invalid_pipeline_starts
* Condition is evaluated just before the stage, whatever the pattern;
    -> test_a_condition_is_asked_just_before_the_stage_and_sees_the_state
    -> test_a_condition_sees_what_everything_above_it_has_written
    -> test_a_true_condition_lets_every_pattern_run
    -> test_a_condition_may_be_any_callable
false → success with `metadata["skipped"]`, output None, dependants run.
    -> test_a_false_condition_skips_whatever_the_pattern
A condition that raises is a failure.
    -> test_a_condition_that_raises_is_a_failure_of_its_stage
* FAN_OUT: the input must be a list or tuple (clear failure otherwise);
    -> test_a_fan_out_over_no_list_is_a_clear_failure
    -> test_a_fan_out_over_several_inputs_or_a_skipped_one_is_a_clear_failure
    -> test_a_fan_out_takes_every_kind_of_list
outputs in input order; `[]` gives `[]`;
    -> test_fan_out_gives_outputs_in_input_order
`retry_config` and `timeout_ms` apply **per item**;
    -> test_fan_out_retries_each_item_by_itself
    -> test_the_time_of_a_stage_is_enforced_in_a_fan_out_per_item
any failed item fails the stage and names the items.
    -> test_a_failed_item_fails_the_stage_and_is_named
    -> test_a_failed_item_stops_the_pipeline_and_items_that_have_failed_are_named
* Failure: fail-fast, always; running siblings are cancelled; later stages are absent from `outputs`;
    -> test_a_failure_cancels_running_siblings_and_leaves_later_stages_out
    -> test_a_failure_stops_always_even_what_is_not_critical
    -> test_what_was_cancelled_and_what_never_started
`failed_stages` has the failed ones;
    -> test_what_has_failed_is_in_failed_stages_in_order_of_the_definition
no partial output (`outputs` of completed stages remain readable).
    -> test_what_was_cancelled_and_what_never_started
    -> test_a_failed_item_fails_the_stage_and_is_named
`critical=False` means a skip is acceptable, never that a failure is;
    -> test_a_failure_of_an_uncritical_stage_is_a_failure
    -> test_a_failure_stops_always_even_what_is_not_critical
the skip of a critical stage also adds its id to the pipeline's `metadata["skipped_critical"]`.
    -> test_a_skip_of_a_critical_stage_is_named
    -> test_a_restart_reuses_what_has_succeeded_with_its_writes
A skipped stage's own `metadata["skipped"]` is exactly `True`.
    -> test_a_skip_says_exactly_true_whatever_the_metadata_says
* The only tolerated failure is `soft_fail`, made for judge/critic loops: `ReviewLoop(draft, judge,
max_iterations, token_budget=None)` is a stage that iterates until the judge passes or a ceiling is
reached, and then soft-fails with the best draft.
    -> test_soft_failures_are_the_only_tolerated_ones_and_may_stand_in_a_fan_out
    -> test_a_review_loop_ends_when_the_judge_passes
    -> test_a_draft_that_passes_counts_whatever_it_has_cost
    -> test_a_failed_draft_or_judge_ends_the_loop_and_may_be_retried
    -> test_a_loop_in_a_fan_out_ends_for_each_item_by_itself
    -> test_a_review_loop_refuses_a_wrong_type
* `soft_fail`: `success` True, output passed on, `metadata["soft_fail"]` = reason.
    -> test_soft_fail_passes_its_output_on
    -> test_soft_failures_are_the_only_tolerated_ones_and_may_stand_in_a_fan_out
`ReviewLoop`: `draft(input, feedback, context)` gives a StageResult or value (feedback None at first),
`judge(draft, context)` gives `Verdict(passed, feedback="", tokens=0, score=None)`;
    -> test_a_loop_is_told_what_the_judge_said_and_sees_the_context
    -> test_a_review_loop_hands_on_a_failed_draft_and_refuses_other_verdicts
tokens are summed and checked after each judgement;
    -> test_a_review_loop_stops_at_its_token_budget_after_the_judgement
    -> test_tokens_are_summed_and_checked_after_each_judgement
the best draft is the highest score, else the last.
    -> test_the_best_draft_is_that_of_the_highest_score_or_else_the_last
`resolve_typed_input(input, type_: type[T], key=None) -> tuple[T, dict]`: the input itself, or the dict's
`key`, or its only value of that type, with the remaining entries;
    -> test_resolve_typed_input_takes_the_input_itself_the_key_or_the_only_one
    -> test_a_stage_resolves_what_it_is_given
    -> test_types
else TypeError.
    -> test_resolve_typed_input_else_says_what_there_is
    -> test_resolve_typed_input_raises_nothing_but_type_errors
* Restart: an executor keeps the successful results of a failed `execute` for its own lifetime, so the
same definition and input, executed again after the error is resolved, reuse them;
    -> test_an_executor_keeps_what_has_succeeded_of_a_failed_execution
    -> test_a_restart_reuses_what_has_succeeded_with_its_writes
    -> test_another_executor_another_definition_or_another_input_reuses_nothing
    -> test_an_input_that_was_changed_meanwhile_is_another_input
    -> test_a_cancelled_pipeline_goes_on_where_it_was
    -> test_forget_lets_go_of_everything
    -> test_what_is_kept_outlives_an_execution_that_came_to_nothing
    -> test_writes_come_along_from_one_restart_to_the_next
`PipelineExecutor(store=…)` does so across processes [D1].
    -> test_a_restart_in_another_executor_reuses_what_has_succeeded
    -> test_after_a_success_it_begins_at_the_beginning
    -> test_another_input_another_name_or_another_store_reuses_nothing
    -> test_what_another_process_drives_is_left_alone
    -> test_killed_between_the_state_and_its_condition_it_decides_as_before
    -> test_a_restart_runs_again_what_has_changed_and_what_follows
Failed outputs are never committed.
    -> test_failed_outputs_are_never_committed
    -> test_failures_one_after_the_other_go_on_from_the_last_one
    -> test_what_an_attempt_wrote_is_dropped_with_it
"""

D = """
## D. `penstock.dialects.steps`
    -> test_the_names_of_the_dialect
`PipelineExecutor PipelineConfig StepConfig StepResult StepStatus`.
    -> test_the_names_of_the_dialect
* `StepStatus` PENDING RUNNING SUCCESS FAILED SKIPPED RETRYING.
    -> test_the_statuses_are_those_of_the_document
    -> test_statuses_are_their_lower_case_names
    -> test_results_of_a_run_that_goes_on_show_where_its_steps_stand
`StepResult(step_name, status, output, error, started_at, finished_at, duration_ms, retries)`;
    -> test_a_step_result_has_these_members_in_this_order
    -> test_step_result_has_the_members_of_the_document
    -> test_the_duration_covers_retries_and_waits
the times are timezone-aware and always set for an ended step, so the document's `print` never shows
"None".
    -> test_a_result_has_the_times_and_the_output_of_its_step
    -> test_the_times_of_ended_steps_are_set_aware_and_ordered
    -> test_a_step_that_never_ran_has_the_time_at_which_that_was_decided
* `PipelineConfig(name="pipeline", max_concurrent=5, stop_on_first_failure=False)`.
    -> test_the_defaults_are_those_of_the_contract
    -> test_a_configuration_takes_its_fields_in_this_order
    -> test_max_concurrent_is_kept_and_used
    -> test_a_configuration_refuses_a_wrong_type
* `@executor.step(name, depends_on=None, retries=0, retry_delay=1.0, timeout=None, skip_on_error=False,
on_failure=None)` returns the function unchanged;
    -> test_the_parameters_of_step_are_those_of_the_contract
    -> test_every_option_of_a_step_counts_with_the_decorator_and_without
    -> test_a_decorated_function_is_called_as_before
    -> test_a_step_refuses_a_wrong_type_at_once
`name` may be omitted (the function's name).
    -> test_a_step_is_named_and_its_function_stays_what_it_is
`add_step(name=…, func=…, …)` the same.
    -> test_every_option_of_a_step_counts_with_the_decorator_and_without
    -> test_one_function_may_be_several_steps
* Outputs arrive as parameters named like the steps; when the names do not match, unmatched positionals
take the unmatched `depends_on` in order (the document's own `my_step(previous_data)`).
    -> test_outputs_arrive_by_name_or_in_order
    -> test_the_rest_of_the_parameters_take_the_rest_of_the_dependencies_in_order
    -> test_a_parameter_that_nothing_fills_is_refused_at_once
Sync functions are accepted and run in threads.
    -> test_async_and_sync_functions_stand_side_by_side
    -> test_plain_functions_leave_the_loop_free
    -> test_every_kind_of_callable_is_a_step
* `run(steps=None)` adds dependencies of the named steps; an unknown name is a ValueError.
    -> test_run_adds_the_dependencies_of_the_named_steps
    -> test_the_named_steps_run_with_what_they_depend_on
    -> test_a_run_refuses_wrong_arguments_and_starts_nothing
Same name twice: ValueError.
    -> test_the_same_name_twice_is_refused
    -> test_a_duplicate_is_refused_however_it_is_spelled
A second concurrent `run()`: RuntimeError "Pipeline is already running".
    -> test_a_second_run_at_the_same_time_is_refused
    -> test_a_second_run_meanwhile_is_refused_and_the_first_one_goes_on
* Graph errors: ValueError `Step 'a' depends on unknown step 'z'`; a cycle is written out.
    -> test_an_unknown_dependency_is_named_and_nothing_starts
    -> test_a_cycle_is_written_out
    -> test_graph_errors_are_value_errors_and_nothing_starts
* Failed dependency: FAILED `Dependency 'a' failed`, cascading; with `skip_on_error=True` SKIPPED `Skipped
due to failed dependency 'a'`. Dependants of a SKIPPED step are SKIPPED too.
    -> test_failures_cascade_and_flags_skip
    -> test_what_becomes_of_dependants
    -> test_a_failure_at_the_head_of_a_thousand_steps
* Timeout is per attempt and retried: `Step timed out after 0.02s`.
    -> test_a_timeout_is_per_attempt_and_retried
    -> test_timeouts_are_retried_and_counted_for_plain_functions_too
    -> test_the_text_of_a_timeout_has_the_number_that_was_given
`retries` in the result is the number of retries used.
    -> test_retries_of_a_result_are_those_that_were_used
    -> test_a_run_knows_nothing_of_the_one_before
`on_failure(exc)` (sync or async) after each failing attempt.
    -> test_on_failure_is_told_of_each_failing_attempt
    -> test_on_failure_is_given_the_exception_itself
    -> test_on_failure_is_not_called_for_steps_that_never_ran_or_were_cancelled
    -> test_a_hook_that_raises_changes_nothing
    -> test_a_hook_that_raises_what_is_no_exception_changes_nothing
* `stop_on_first_failure`: running siblings are cancelled, steps never started are in the results as
SKIPPED with the reason.
    -> test_the_first_failure_stops_the_run_if_asked
    -> test_the_endings_of_the_table
    -> test_a_failed_attempt_with_retries_left_stops_nothing
* `visualize()` returns exactly the document's form; after a run each line ends in ` [status]`.
    -> test_visualize_has_the_form_of_the_document
    -> test_visualization_prints_exactly_the_output_shown
    -> test_visualize_shows_every_end_and_what_did_not_run
`get_results()`, `reset()`.
    -> test_results_are_kept_until_reset
    -> test_results_are_the_callers_own_and_of_the_last_run
"""


def rows(text: str) -> dict[str, list[str]]:
    """The pieces, with the names of their tests."""
    found = re.findall(r"((?:^\S.*\n)+)((?:^    -> .*\n)+)", text, re.M)
    return {" ".join(piece.split()): tests.replace("->", "").split() for piece, tests in found}


@pytest.fixture(scope="module")
def known() -> set[str]:
    """The names of all tests of the two dialects."""
    found = set()
    others = HERE / "test_typing.py", HERE / "test_gates.py"
    for path in [*HERE.glob("test_definitions*.py"), *HERE.glob("test_steps*.py"), *others]:
        for one in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name.startswith("test_"):
                found.add(one.name)
    return found


@pytest.mark.parametrize(("piece", "tests"), [pair for text in (HEAD, B, D) for pair in rows(text).items()])
def test_each_piece_of_the_contract_has_its_tests(piece: str, tests: list[str], known: set[str]) -> None:
    assert set(tests) <= known, f"{piece}: no test is called {sorted(set(tests) - known)}"


def test_the_pieces_are_all_of_the_contract(shared: Path) -> None:
    text = (shared / "dialects.md").read_text("utf-8")
    head = " ".join(text[: text.index("## A.")].split())
    for piece in rows(HEAD):
        assert piece in head, f"the head of the contract says no more: {piece}"
    for letter, pieces in (("B", rows(B)), ("D", rows(D))):
        (section,) = re.findall(rf"^## {letter}\..*?(?=^## |\Z)", text, re.M | re.S)
        left = " ".join(section.split())
        for piece in sorted(pieces, key=len, reverse=True):
            assert piece in left, f"section {letter} of the contract says no more: {piece}"
            left = left.replace(piece, "", 1)
        assert not left.strip(), f"section {letter} of the contract says more than is tested: {left.strip()}"
