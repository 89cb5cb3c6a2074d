"""The contract of workflows, sentence by sentence, each with the tests that hold the code to it.

The contract itself is no part of the repository: that nothing of it is left out is checked where the fixture
`shared` finds it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .parts_rows import LATER, head_of, left_of, names_of_tests, rows

HEAD = """
**Every example of a seed document runs with nothing but its import line changed.**
    -> test_the_document_has_the_blocks_that_are_tested_here
    -> test_the_basic_workflow
    -> test_the_retries
    -> test_the_progress
`store=`, `run_id=` as `Flow.run` does
    -> test_cut_off_at_any_commit_it_ends_as_if_it_had_not
    -> test_times_and_attempts_of_what_is_not_done_again_come_from_the_journal
    -> test_killed_between_a_result_and_its_condition_it_decides_as_before
    -> test_a_change_of_a_task_s_code_is_noticed
    -> test_what_cannot_be_stored_fails_its_task
each run call takes `runner=`, `options=`
    -> test_every_runner_gives_the_same_results
    -> test_helpers_run_in_processes_too
    -> test_runner_and_options_are_those_of_the_native_run
    -> test_values_copied_gives_every_task_its_own_copy
    -> test_of_two_bounds_of_concurrency_the_smaller_one_holds
    -> test_the_options_deadline_acts_as_the_workflow_s_timeout
    -> test_an_observer_that_raises_is_harmless
    -> test_bad_input_how_to_run_is_refused_and_nothing_starts
every top object appears in `penstock list`
    -> test_everything_that_can_be_run_is_listed
`run()` blocks (also inside a running loop); `arun()`
    -> test_row_run_run_blocks_and_arun_is_awaited
    -> test_run_inside_a_running_loop_and_arun
    -> test_run_and_arun_inside_a_running_loop_leave_the_loop_as_it_was
    -> test_a_cancelled_caller_of_arun_cancels_the_run
    -> test_a_cancelled_arun_leaves_nothing_running_and_every_task_with_a_result
    -> test_an_arun_that_is_cancelled_before_it_begins_runs_nothing_and_does_not_hold_the_workflow
`max_attempts` **total** calls
    -> test_row_retry_number_means_max_attempts_total_calls
s, `initial_delay·baseⁿ`, capped at `max_delay`
    -> test_row_waits_initial_delay_times_base_to_the_n_capped_at_max_delay
    -> test_waits_are_exact_without_jitter
stop (`fail_fast=True`)
    -> test_row_default_on_failure_is_to_stop
| task failure raises from run | no | no | no
    -> test_row_a_task_failure_does_not_raise_from_run
cancelled (`stop`) | finish (`drain`)
    -> test_fail_fast_lets_running_siblings_finish
    -> test_row_running_siblings_at_a_failure_finish_with_the_retries_they_have_left
C FAILED `Task 'a' was cancelled`
    -> test_row_cancelled_while_running_is_failed_and_never_started_is_pending
    -> test_cancel_from_another_thread_ends_a_running_workflow
    -> test_cancel_from_another_thread_ends_a_wait_for_a_retry
C PENDING
    -> test_row_cancelled_while_running_is_failed_and_never_started_is_pending
    -> test_fail_fast_leaves_all_that_never_started_pending
C SKIPPED (`fail_fast=False`) or PENDING
    -> test_row_need_did_not_succeed_is_skipped_or_with_fail_fast_pending
WAITING and READY show as PENDING.
    -> test_a_run_that_waits_is_put_down_and_goes_on_when_it_is_answered
    -> test_states_are_fresh_from_the_start_of_a_run_on
    -> test_a_second_run_from_another_thread_is_refused_and_disturbs_nothing
All outputs are kept.
    -> test_row_all_outputs_are_kept
Jitter is off in the dialects by default, because their documents give the exact waits; each takes
`jitter=` as an addition.
    -> test_waits_are_exact_without_jitter
    -> test_retry_after_shows_in_the_delay_and_jitter_is_an_addition
"""
"""What the head says of C. It speaks of the others as well, so these are parts of it, not all."""

C = """
## C. `penstock.dialects.workflow` `Workflow Task TaskResult TaskStatus RetryPolicy WorkflowError CycleError
TaskFailedError chain parallel fan_out_fan_in`.
    -> test_exports_are_those_of_the_contract
    -> test_the_classes_of_the_document_are_there
* `TaskStatus` PENDING RUNNING COMPLETED FAILED SKIPPED RETRYING; values lower-case.
    -> test_task_status_has_six_values_in_lower_case
    -> test_the_states_of_the_document_are_those_of_tasks
The document's state diagram holds, RETRYING → RUNNING included.
    -> test_row_state_diagram_every_change_of_status_is_an_arrow_of_it_and_every_arrow_is_taken
    -> test_the_state_diagram_holds_retrying_to_running_included
* `RetryPolicy(max_attempts=3, initial_delay=1.0, max_delay=60.0, exponential_base=2.0,
retry_on=(Exception,))` **is** the core's class;
    -> test_retry_policy_is_the_class_of_the_core
    -> test_retry_on_decides_what_is_tried_again
    -> test_bad_input_a_retry_policy_is_refused_by_name
`get_delay(attempt)` (attempt from 1; `get_delay(0)` ≤ `get_delay(1)`);
    -> test_get_delay_counts_from_one_and_is_capped
    -> test_row_get_delay_never_shrinks_and_never_passes_max_delay
no policy means one call;
    -> test_no_policy_means_one_call_and_max_attempts_counts_all_calls
`max_attempts < 1` is a ValueError.
    -> test_max_attempts_below_one_is_a_value_error
* `TaskResult(success, value=None, error=None, execution_time=0.0, attempts=1)`;
    -> test_task_result_fields_and_defaults
    -> test_results_are_plain_values_that_can_be_pickled_copied_and_written_as_json
    -> test_row_execution_time_covers_retries_and_waits_and_is_zero_of_what_never_started
`Task(name, action, args, kwargs, dependencies, timeout, retry_policy, condition, transform_result, tags,
metadata)`
    -> test_task_fields_and_what_it_is_before_a_run
    -> test_row_task_fields_by_position
    -> test_row_task_the_caller_s_lists_and_dicts_stay_the_caller_s
    -> test_bad_input_an_option_of_a_task_is_refused_by_name
    -> test_bad_input_a_name_that_breaks_the_rules_of_names
    -> test_transform_result_makes_the_value_and_fails_like_the_action
    -> test_what_is_changed_in_a_task_between_runs_takes_effect
    -> test_a_task_that_was_given_another_name_runs_under_one_of_them_or_is_refused
with run-time fields `status result error attempts execution_time`,
    -> test_row_task_has_its_run_time_fields_during_and_after_a_run
    -> test_a_second_run_is_as_fresh_as_the_first_and_results_that_were_given_stay
`should_run(results)` (False if the condition raises, when called directly; in a run that task FAILS),
`get_result()`.
    -> test_should_run_says_no_where_the_condition_raises_and_a_run_fails_the_task
    -> test_row_should_run_gives_a_bool
    -> test_bad_input_should_run_does_not_take_an_async_condition_for_a_yes
    -> test_bad_input_a_condition_that_raises_fails_its_task_and_is_asked_once
* `Workflow(name, timeout=None, fail_fast=True, progress_callback=None, max_concurrent=None)`;
    -> test_workflow_signature_is_that_of_the_contract
    -> test_max_concurrent_bounds_what_runs_at_a_time
    -> test_bad_input_an_option_of_a_workflow_is_refused_by_name
`add_task(...)` returns self, rejects unknown options and duplicate names (`Task 'a' already exists in
workflow.`);
    -> test_row_add_task_takes_everything_that_a_task_takes
    -> test_a_name_is_there_once
    -> test_bad_input_an_argument_that_nobody_takes_is_a_type_error
`add(task)`;
    -> test_run_gives_a_result_for_every_task_in_the_order_of_adding
    -> test_bad_input_an_object_that_is_no_task
`validate cancel get_task_result get_summary`; `tasks`, `task_results`.
    -> test_row_validate_raises_nothing_and_starts_nothing_where_all_is_well
    -> test_cancel_from_a_task_fails_what_runs_and_leaves_the_rest_pending
    -> test_cancel_without_a_run_does_nothing
    -> test_row_tasks_task_results_get_task_result_and_get_summary_agree
    -> test_the_summary_counts_and_names
    -> test_bad_input_the_result_of_a_task_that_is_not_there
* `run()` returns `{name: TaskResult}` for **every** task: `results["save"].value`.
    -> test_run_gives_a_result_for_every_task_in_the_order_of_adding
A never-started task is there with `success=False` and status PENDING on its `Task` (with `fail_fast` all
never-started tasks stay PENDING).
    -> test_fail_fast_leaves_all_that_never_started_pending
    -> test_row_cancelled_while_running_is_failed_and_never_started_is_pending
    -> test_a_failure_at_the_head_of_a_thousand_tasks
* Result passing: a parameter named like a dependency gets its value;
    -> test_a_parameter_named_like_a_dependency_gets_its_value
    -> test_row_result_passing_by_name_to_every_kind_of_action
    -> test_row_result_passing_hands_on_any_value_as_it_is
a parameter `_task_results` gets the dict of `TaskResult`;
    -> test_row_result_passing_task_results_holds_what_has_ended_so_far
    -> test_row_result_passing_what_a_task_does_to_task_results_is_its_own_affair
otherwise only `args`/`kwargs` are passed.
    -> test_otherwise_only_args_and_kwargs_are_passed
    -> test_row_result_passing_a_name_that_is_no_dependency_gets_nothing
    -> test_args_and_kwargs_are_not_replaced_by_a_dependency_of_that_name
Sync and async actions alike.
    -> test_sync_and_async_actions_are_alike
    -> test_async_functions_of_every_kind_are_actions_and_conditions
    -> test_bad_input_a_plain_function_that_gives_a_coroutine_fails_and_asks_for_await
* `condition(results: dict[str, TaskResult]) -> bool`;
    -> test_a_condition_sees_the_results_so_far
    -> test_row_a_condition_gets_a_dict_of_task_results_of_all_that_ended
    -> test_bad_input_a_plain_condition_that_gives_something_to_await_is_no_yes
    -> test_async_conditions_of_every_kind_may_say_no
false → SKIPPED, and dependants are SKIPPED with reason "dependency_skipped";
    -> test_a_false_condition_skips_the_task_and_its_dependants
    -> test_row_skipped_reasons_are_told_once_per_task_and_are_the_error_of_the_result
a failed dependency → "dependency_failed", transitively.
    -> test_without_fail_fast_all_goes_on_and_dependants_are_skipped_transitively
No deadlock error exists.
    -> test_a_failed_and_a_skipped_dependency_count_as_failed_and_nothing_waits_for_ever
    -> test_a_circle_of_a_thousand_tasks_is_written_out
* Timeout text `Task 'a' timed out after 0.05s`;
    -> test_timeout_text_and_that_a_timeout_is_tried_again
    -> test_row_timeout_texts_name_the_seconds_as_they_were_given
the workflow's own timeout interrupts a running batch and raises `WorkflowError("Workflow timeout after
0.05s")`.
    -> test_the_workflow_timeout_interrupts_a_running_batch_and_raises
    -> test_row_workflow_timeout_ends_a_wait_for_a_retry_and_leaves_the_rest_pending
    -> test_row_workflow_timeout_runs_anew_in_every_run
* `progress_callback(task_name, status, details)`: `("workflow","started",{total_tasks})`, `running`,
`retrying {attempt, delay, error}`, `completed {execution_time, attempts}` or `failed {error}`
    -> test_progress_of_a_whole_run
    -> test_row_progress_details_of_every_status
**at once when it happens**,
    -> test_row_progress_is_told_at_once_while_another_task_still_runs
    -> test_progress_is_told_at_once_when_it_happens
`skipped {reason}`, `("workflow","completed",{completed, failed, skipped, elapsed})`.
    -> test_row_progress_details_of_every_status
    -> test_row_progress_of_a_workflow_that_ends_badly_still_ends_with_completed
Its exceptions are logged and harmless.
    -> test_an_exception_of_the_callback_is_logged_and_harmless
    -> test_bad_input_whatever_the_callback_raises_and_whenever_it_is_logged_and_harmless
    -> test_bad_input_a_callback_that_takes_too_little_is_logged_and_harmless
    -> test_bad_input_an_async_callback_of_every_kind_is_refused
    -> test_row_progress_a_callback_may_cancel_and_look_and_cannot_change_what_is_told
* `WorkflowError` is the base;
    -> test_row_errors_have_workflow_error_for_their_base
`Task 'a' depends on unknown task 'z'` and `Circular dependency detected: a -> b -> a` (`CycleError`) are
raised by `validate()` and `run()`.
    -> test_row_errors_of_the_graph_are_raised_by_validate_run_and_arun_and_nothing_starts
    -> test_an_unknown_dependency_is_named_by_validate_and_run_and_nothing_starts
    -> test_a_circle_is_written_out_by_validate_and_run
* `chain(*actions, name="chain")`, `parallel(*actions, name="parallel")`, `fan_out_fan_in(actions, collect,
name="fan_out_fan_in")` take callables or Tasks and give a `Workflow`.
    -> test_row_helpers_signatures_and_what_they_give
    -> test_row_helpers_take_tasks_with_all_their_options
    -> test_row_helpers_fan_out_takes_every_iterable_of_actions
    -> test_row_helpers_a_fan_of_no_actions_collects_the_empty_list
    -> test_chain_hands_on_by_name_or_to_the_one_argument_that_is_missing
    -> test_parallel_has_no_edges_and_gives_every_action_a_name
    -> test_fan_out_fan_in_collects_by_name_by_list_or_from_the_results
    -> test_bad_input_a_non_list_into_a_fan_out
    -> test_bad_input_what_is_neither_function_nor_task_into_a_helper
* The document's other parts: `Runner` = the engine;
    -> test_row_the_runner_is_the_engine_its_options_count_and_its_events_are_seen
`Discovery` = `penstock.discovery` and `penstock list`;
    -> test_everything_that_can_be_run_is_listed
`Reporting` = `penstock.report` (with the report's own part);
    -> report
`Config` = `penstock.config` (environment `PENSTOCK_*`, `[tool.penstock]` in pyproject.toml, explicit
arguments win).
    -> test_each_option_can_stand_in_the_environment
    -> test_each_option_can_stand_in_the_file
    -> test_the_environment_wins_over_the_file_and_the_call_over_both
    -> test_the_vocabularies_run_as_configured
"""


@pytest.mark.parametrize(("piece", "tests"), [pair for text in (HEAD, C) for pair in rows(text).items()])
def test_each_piece_of_the_contract_has_its_tests(piece: str, tests: list[str]) -> None:
    if tests not in LATER:
        unknown = set(tests) - names_of_tests("workflow")
        assert not unknown, f"{piece}: no test is called {sorted(unknown)}"


def test_the_pieces_are_all_of_the_contract(shared: Path) -> None:
    contract = (shared / "dialects.md").read_text("utf-8")
    for piece in rows(HEAD):
        assert piece in head_of(contract), f"the head of the contract says no more: {piece}"
    assert left_of(contract, "C", C) == "", "the contract says more than is tested"
