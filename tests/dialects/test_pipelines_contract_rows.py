"""The contract of pipelines, sentence by sentence, each with the tests that hold the code to it.

The contract itself is no part of the repository: that nothing of it is left out is checked where the fixture
`shared` finds it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .parts_rows import LATER, head_of, left_of, names_of_tests, rows

HEAD = """
**Every example of a seed document runs with nothing but its import line changed.**
    -> test_signatures_are_those_of_the_document_member_by_member
    -> test_annotations_are_those_of_the_document
    -> test_the_second_document_has_no_code
    -> test_the_design_decisions_of_the_document_hold
What the documents call a limitation or a future addition is built, not kept.
    -> test_async_functions_are_stages_in_run_and_arun_and_inside_a_loop
    -> test_timeout_s_is_enforced_and_retried
`store=`, `run_id=` as `Flow.run` does
    -> test_cut_off_at_any_commit_it_ends_as_if_it_had_not
    -> test_async_runs_are_kept_too
    -> test_the_recorded_result_of_a_success_is_given_and_nothing_is_called
    -> test_the_context_of_a_run_that_goes_on_is_what_it_was
    -> test_equal_inputs_or_a_part_of_them_are_the_same_run
    -> test_other_inputs_are_another_run_and_the_difference_is_told
    -> test_an_initial_value_that_cannot_be_stored_is_refused_by_name_and_nothing_starts
    -> test_what_cannot_be_stored_fails_the_stage_and_says_where_it_is
    -> test_options_of_a_run_that_is_kept
    -> test_the_command_line_runs_answers_and_resumes
each run call takes `runner=`, `options=`
    -> test_every_runner_gives_the_same_results
    -> test_processes_run_stages_inner_stages_and_children_and_retries_there
    -> test_runner_and_options_are_taken_as_flow_run_takes_them
    -> test_a_deadline_fails_what_runs_and_cancels_the_rest
    -> test_observers_are_told_of_the_pipeline_s_stages_and_one_that_raises_is_harmless
    -> test_values_copied_gives_every_stage_its_own_copy_of_an_output
    -> test_values_copied_keeps_the_caller_s_own_values_as_they_are
every top object appears in `penstock list`
    -> test_everything_that_can_be_run_is_listed
| top object | `Pipeline`, `PipelineBuilder`
    -> test_row_top_object_the_builder_makes_a_new_pipeline_at_each_build
| run | `run()` blocks; `arun()`
    -> test_row_run_run_blocks_and_arun_is_awaited
    -> test_run_and_arun_inside_a_running_loop_leave_the_loop_as_it_was
    -> test_an_arun_whose_caller_is_cancelled_is_cancelled_and_leaves_nothing_running
    -> test_an_arun_that_is_cancelled_before_it_begins_runs_nothing
| retry number means | `retry_count` **extra** calls
    -> test_row_retry_number_means_retry_count_extra_calls
| waits | 0.1·2ⁿ s, n from 0
    -> test_retry_count_is_extra_calls_with_waits_of_tenths_of_a_second_doubling
| default on failure | stop (`fail_fast=True`)
    -> test_row_default_on_failure_is_to_stop
| task failure raises from run | no
    -> test_row_a_task_failure_does_not_raise_from_run
| running siblings at a failure | finish (`drain`)
    -> test_running_siblings_at_a_failure_finish
    -> test_row_running_siblings_at_a_failure_finish_with_the_retries_they_have_left
    -> test_row_running_siblings_at_a_failure_finish_among_the_children_of_a_parallel_stage
*Cancelled while running*: A CANCELLED
    -> test_row_cancelled_while_running_is_cancelled_and_so_is_what_never_started
    -> test_cancelled_while_running_is_cancelled
*Never started because the run stopped*: A CANCELLED
    -> test_row_never_started_because_the_run_stopped_is_cancelled_with_the_reason
*Need did not succeed*: A SKIPPED
    -> test_row_a_stage_whose_needs_were_skipped_and_failed_is_skipped_by_the_failure
C's PENDING and A's CANCELLED for never-started come from skip cause STOPPED.
    -> test_fail_fast_dependants_are_skipped_and_the_others_cancelled
All outputs are kept.
    -> test_row_all_outputs_are_kept
Jitter is off in the dialects by default, because their documents give the exact waits; each takes
`jitter=` as an addition.
    -> test_jitter_is_off_unless_asked_for
    -> test_retry_count_is_extra_calls_with_waits_of_tenths_of_a_second_doubling
"""
"""What the head says of A. It speaks of the others as well, so these are parts of it, not all."""

A = """
## A. `penstock.dialects.pipelines` Exports exactly: `StageStatus PipelineStatus StageResult PipelineResult
Stage FunctionStage ConditionalStage ParallelStage Pipeline PipelineBuilder`.
    -> test_exports_exactly_ten_names
    -> test_the_documents_name_what_is_exported
* `StageStatus` PENDING RUNNING SUCCESS FAILED SKIPPED CANCELLED and `PipelineStatus` CREATED RUNNING
SUCCESS FAILED CANCELLED; values are the lower-case names.
    -> test_values_of_statuses_are_the_lower_case_names
    -> test_the_states_that_the_documents_list_are_those_of_the_enums
* `StageResult(stage_id, status, output=None, error=None, start_time=None, end_time=None)` dataclass;
`duration_ms` (0.0 if unset), `is_success`.
    -> test_row_stage_result_is_a_dataclass_with_these_fields_in_this_order
    -> test_row_is_success_is_true_of_success_alone
    -> test_stage_result_has_duration_ms_and_is_success
    -> test_stage_results_can_be_pickled_and_copied
    -> test_times_cover_retries_and_waits_and_what_never_started_has_none
    -> test_times_have_a_zone_and_are_in_order
    -> test_times_of_what_a_fail_fast_or_a_cancel_kept_from_starting_are_none
`PipelineResult(pipeline_id, status, stages, start_time, end_time)`; `duration_ms`, `successful_stages`,
`failed_stages` (counts).
    -> test_row_pipeline_result_has_these_fields_and_counts
    -> test_pipeline_result_counts_stages
    -> test_stages_come_after_those_they_depend_on
    -> test_a_pipeline_result_can_be_pickled_and_copied
* `Stage(stage_id, name=None, depends_on=None, retry_count=0, timeout_s=None)` abstract,
`execute(context)`,
    -> test_signatures_are_those_of_the_document_member_by_member
    -> test_row_every_stage_takes_the_options_of_stage
    -> test_an_argument_of_the_wrong_type_is_refused
    -> test_bad_input_an_option_of_a_stage_is_refused_by_name
    -> test_bad_input_a_stage_whose_init_did_not_call_ours
    -> test_bad_input_an_id_that_breaks_the_rules_of_names_is_refused_at_run_and_build
    -> test_subclasses_of_our_stages_run_their_own_execute
    -> test_an_execute_that_is_put_in_the_place_of_ours_is_the_one_that_runs
    -> test_what_is_changed_in_a_stage_between_runs_takes_effect
    -> test_what_is_changed_in_the_class_of_a_stage_between_runs_takes_effect
hooks `on_success(result, context)` and `on_failure(result, context)`
    -> test_row_stage_hooks_do_nothing_by_themselves
    -> test_row_hooks_on_success_is_told_the_result_and_sees_what_the_stage_wrote
    -> test_row_hooks_on_failure_is_told_the_result_and_does_not_see_what_the_attempt_wrote
    -> test_bad_input_an_async_hook_is_refused_whichever_it_is_and_wherever_it_stands
    -> test_bad_input_a_hook_that_cannot_be_called_is_logged
(once, at the end of the last attempt, before its commit, so that what they write into the context belongs
to the stage;
    -> test_hooks_are_called_once_and_what_they_write_belongs_to_the_stage
    -> test_row_hooks_are_called_once_however_many_attempts_there_were
    -> test_row_hooks_on_failure_once_after_the_last_of_whatever_was_raised
    -> test_row_hooks_a_stage_that_never_started_has_none
    -> test_row_hooks_an_attempt_that_ends_after_its_time_calls_no_on_success
    -> test_row_hooks_of_the_attempt_that_counts_are_the_only_ones
    -> test_row_hooks_in_processes_are_called_once_too
    -> test_row_hooks_in_processes_what_they_write_belongs_to_the_stage
    -> test_what_on_failure_writes_is_seen_by_later_stages
    -> test_on_failure_is_called_after_a_timeout_too
not called again for a reused stage;
    -> test_hooks_of_stages_that_have_ended_are_not_called_again_and_what_they_wrote_is_there
    -> test_a_failed_run_that_goes_on_tells_the_hooks_of_what_runs_again
an exception in a hook is logged and never changes the outcome).
    -> test_an_exception_in_a_hook_is_logged_and_never_changes_the_outcome
    -> test_row_hooks_whatever_a_hook_raises_is_logged_and_changes_nothing
    -> test_row_hooks_an_on_failure_that_exits_after_a_timeout_loses_nothing_of_other_stages
    -> test_row_hooks_what_a_hook_does_to_the_result_it_is_told_changes_nothing
`FunctionStage(stage_id, func, **kw)`, `ConditionalStage(stage_id, condition, stage, **kw)`,
`ParallelStage(stage_id, stages, max_workers=4, **kw)`.
    -> test_row_signatures_by_position
    -> test_bad_input_func_and_condition_must_be_callable
    -> test_bad_input_a_non_list_into_a_fan_out
    -> test_bad_input_an_object_that_is_no_stage_is_refused_wherever_one_is_taken
* `Pipeline(pipeline_id=None, name=None, fail_fast=True, max_workers=1)`: `pipeline_id` falls back to 8
characters of a uuid, `name` to it;
    -> test_pipeline_id_falls_back_to_8_characters_and_the_name_to_it
    -> test_row_pipeline_id_falls_back_to_8_hex_characters
    -> test_a_pipeline_without_a_name_has_its_id_for_one
`add_stage`, `set_context` return self.
    -> test_row_add_stage_and_set_context_return_self_and_so_does_every_word_of_the_builder
`PipelineBuilder(name)` as documented; `.parallel` also takes `max_workers`, `.stage` also `timeout_s`,
plus `.conditional`.
    -> test_the_builder_makes_what_it_is_told
    -> test_the_builder_takes_the_options_of_the_pipeline
* Context: one dict for the run, a copy of the pipeline's updated by `initial_context` (which wins); the
caller's dict is never changed.
    -> test_initial_context_wins_and_the_caller_s_dict_is_never_changed
    -> test_row_context_initial_context_may_be_any_mapping_and_is_not_changed
    -> test_row_context_nothing_of_a_run_is_left_in_the_pipeline_s_own
    -> test_row_context_set_between_runs_counts_in_the_next
    -> test_row_context_is_a_dict_in_every_respect
    -> test_row_context_outputs_are_there_for_whatever_way_of_reading_a_dict
    -> test_one_pipeline_run_from_eight_threads_at_a_time_keeps_the_runs_apart
    -> test_bad_input_initial_context_is_refused_and_nothing_starts
A dependency's output is put in as `stage_<id>_output`.
    -> test_a_dependency_s_output_is_put_in_as_stage_id_output
    -> test_row_context_outputs_are_found_by_id_whatever_the_id
    -> test_row_context_outputs_of_what_lies_further_up_are_there_too_but_not_of_children
    -> test_row_context_a_stage_s_output_stands_above_what_others_wrote_in_its_place
    -> test_row_context_any_object_may_be_an_output_and_is_handed_on_as_it_is
What a stage writes into it is visible to later stages
    -> test_what_a_stage_writes_is_visible_to_later_stages
    -> test_row_context_every_way_to_write_into_a_dict_is_seen_by_later_stages
    -> test_row_context_a_value_changed_in_place_is_seen_by_later_stages
    -> test_row_context_an_output_that_a_stage_overwrites_or_deletes_is_so_for_later_stages
    -> test_row_context_written_across_an_await_and_by_an_inner_stage
    -> test_row_context_what_is_written_after_the_end_of_the_stage_is_nobody_s
    -> test_row_context_failed_attempts_writes_are_never_seen
    -> test_row_context_a_retry_begins_from_the_committed_context
    -> test_writes_of_an_attempt_past_its_time_are_dropped
    -> test_row_a_key_written_by_two_unordered_stages_is_a_warning_whatever_they_are
    -> test_row_a_key_written_by_two_unordered_children_is_a_warning
and is journaled with the stage's success (a value that was read and changed in place counts as written: it
is encoded again at the stage's end) [D1].
    -> test_cut_off_at_any_commit_it_ends_as_if_it_had_not
    -> test_a_stage_sets_state_the_process_dies_and_the_condition_decides_as_before
    -> test_killed_between_the_state_and_its_condition_it_decides_as_before
    -> test_what_is_read_and_changed_in_place_is_there_again
    -> test_what_is_only_read_is_not_written
    -> test_an_output_that_a_later_stage_changes_in_place_is_changed_for_those_after_it
    -> test_what_a_failed_attempt_has_changed_in_place_is_there_again_too
    -> test_an_initial_value_that_was_changed_in_place_is_there_again_and_still_equal
    -> test_what_a_stage_wrote_that_is_done_again_does_not_count_any_more
    -> test_a_parallel_stage_is_one_stage_its_writes_and_changes_are_there_again
* `max_workers` is a named limit on top-level stages (not the run's `max_concurrency`, which would starve
`ParallelStage`, whose `max_workers` is its own limit):
    -> test_row_max_workers_of_a_parallel_stage_is_its_own_limit
    -> test_row_a_parallel_stage_takes_one_place_of_the_pipeline_s_max_workers
    -> test_row_the_run_s_max_concurrency_does_not_starve_a_parallel_stage
    -> test_bad_input_max_workers_is_refused_by_name
stages run one after another unless it is > 1;
    -> test_row_max_workers_of_the_pipeline_bounds_its_stages
    -> test_stages_run_one_after_another_unless_max_workers_is_more
`ParallelStage` children run concurrently on the engine (their own `retry_count`, `timeout_s` and hooks
count), output `{child_id: output}`;
    -> test_row_children_their_own_retry_count_timeout_and_hooks_count
    -> test_parallel_children_run_together_and_the_output_is_by_child
    -> test_parallel_children_see_and_write_the_context_and_their_own_options_count
    -> test_row_children_a_child_that_is_skipped_by_its_condition_gives_none
a failing child fails the stage, naming it
    -> test_a_failing_child_fails_the_stage_naming_it
    -> test_row_children_a_failing_child_fails_the_stage_naming_it_and_its_own_retries_call_all_again
(`allow_failures=True` keeps `{"error": …}` in its place).
    -> test_allow_failures_keeps_the_error_in_its_place
    -> test_a_fan_out_whose_children_all_fail_names_the_first_and_keeps_all_errors_if_allowed
* `timeout_s` is enforced.
    -> test_row_timeout_s_is_enforced_on_every_kind_of_stage
    -> test_row_timeout_s_a_function_that_never_ends_holds_up_nobody_or_they_fail_naming_it
Unknown dependency, cycle, duplicate id: `GraphError` (a `ValueError`) at `run()`/`build()`, nothing started.
    -> test_row_a_bad_graph_is_a_graph_error_and_nothing_is_started
    -> test_row_a_bad_graph_of_children_is_a_graph_error_at_build_too
    -> test_a_bad_graph_is_refused_at_run_and_nothing_is_started
* Condition false: stage SKIPPED, output None, dependants run and see `stage_<id>_output` = None;
    -> test_condition_false_the_stage_is_skipped_and_dependants_see_none
    -> test_row_condition_false_whatever_the_inner_stage_is
    -> test_row_condition_false_the_none_is_seen_by_all_that_come_later
    -> test_row_condition_false_neither_hook_is_called
    -> test_bad_input_a_condition_that_raises_fails_its_stage
    -> test_a_condition_may_answer_with_anything_that_has_a_truth
    -> test_async_conditions_of_every_kind_may_say_no
    -> test_bad_input_a_plain_condition_that_gives_something_to_await_is_no_yes
`ConditionalStage.execute` returns None when called directly.
    -> test_conditional_execute_returns_none_when_called_directly
    -> test_row_conditional_execute_called_directly_gives_what_the_inner_stage_gives
    -> test_row_conditional_execute_called_directly_does_not_take_an_async_condition_for_a_yes
* A failed or skipped-by-failure dependency: dependants SKIPPED, error "Dependencies not satisfied".
    -> test_without_fail_fast_independent_stages_run
    -> test_row_a_stage_whose_needs_were_skipped_and_failed_is_skipped_by_the_failure
    -> test_a_failure_at_the_head_of_a_thousand_stages_skips_them_all
With `fail_fast`, dependants of the failed stage are SKIPPED, other stages never reached are in `stages` as
CANCELLED; the pipeline is FAILED.
    -> test_fail_fast_dependants_are_skipped_and_the_others_cancelled
    -> test_fail_fast_stands_above_on_failure_of_the_options
* Extensions asked for by the document: async functions are accepted as stages;
    -> test_async_functions_of_every_kind_are_stages_conditions_and_children
    -> test_async_stages_stand_in_conditions_and_parallel_stages
    -> test_bad_input_a_plain_function_that_gives_a_coroutine_fails_its_stage_and_asks_for_await
`arun`;
    -> test_row_run_run_blocks_and_arun_is_awaited
checkpoint/resume.
    -> test_cut_off_at_any_commit_it_ends_as_if_it_had_not
    -> test_killed_between_the_state_and_its_condition_it_decides_as_before
    -> test_a_change_of_a_stage_s_code_is_noticed
"""


@pytest.mark.parametrize(("piece", "tests"), [pair for text in (HEAD, A) for pair in rows(text).items()])
def test_each_piece_of_the_contract_has_its_tests(piece: str, tests: list[str]) -> None:
    if tests not in LATER:
        unknown = set(tests) - names_of_tests("pipelines")
        assert not unknown, f"{piece}: no test is called {sorted(unknown)}"


def test_the_pieces_are_all_of_the_contract(shared: Path) -> None:
    contract = (shared / "dialects.md").read_text("utf-8")
    for piece in rows(HEAD):
        assert piece in head_of(contract), f"the head of the contract says no more: {piece}"
    assert left_of(contract, "A", A) == "", "the contract says more than is tested"
