//! When tasks are tried again: after failures, after losses, because they say so; and the answers that come too late.

use crate::story::check;

#[test]
fn a_failed_task_is_tried_again_after_longer_and_longer_delays() {
    check(
        "run: a retry=3@100, b(a)
         a fails
         => a: retrying · b: pending
         next at 100
         => a: running #2 · b: pending
         a fails
         next at 300
         => a: running #3 · b: pending
         a fails
         => a: failed #3 · b: skipped (needs a)",
    );
}

#[test]
fn a_task_that_is_tried_again_takes_no_slot_meanwhile() {
    check(
        "run slots=1 cpu=1: a retry=2@100 cpu=1, b cpu=1
         a fails
         => a: retrying · b: running
         wait 100
         => a: retrying · b: running
         b succeeds
         => a: running #2 · b: completed",
    );
}

#[test]
fn an_exception_that_its_policy_does_not_name_is_not_tried_again() {
    check(
        "run: a retry=3
         a raises
         => a: failed",
    );
}

#[test]
fn lost_attempts_are_tried_again_at_once_and_are_no_failures() {
    check(
        "run: a lost=2 retry=2@100
         a vanishes
         => a: running #2
         a vanishes
         => a: running #3
         a fails
         => a: retrying #3
         next at 100
         => a: running #4
         a vanishes
         => a: failed #4",
    );
    check(
        "run: a retry=2
         a vanishes
         => a: failed",
    );
}

#[test]
fn a_task_that_is_not_through_is_carried_out_again_so_often() {
    check(
        "run: a repeat=3@50, b(a)
         a repeats
         => a: retrying · b: pending
         next at 50
         a repeats
         next at 100
         => a: running #3 · b: pending
         a repeats
         => a: failed #3 · b: skipped (needs a)",
    );
    check(
        "run: a repeat=3
         a repeats
         a succeeds
         => a: completed #2",
    );
    check(
        "run: a
         a repeats
         => a: failed",
    );
}

#[test]
fn failures_are_counted_anew_after_a_task_said_that_it_is_not_through() {
    check(
        "run: a repeat=3 retry=2@10
         a fails
         next at 10
         a repeats
         => a: running #3
         a fails
         => a: retrying #3
         next at 20
         a fails
         => a: failed #4",
    );
}

#[test]
fn a_function_is_timed_out_and_its_answer_comes_too_late() {
    check(
        "run slots=1: a timeout=50, b(a) all_done
         next at 50
         => a: timed_out · b: running
         a#1 succeeds
         => a: timed_out · b: running",
    );
}

#[test]
fn a_function_that_timed_out_is_tried_again() {
    check(
        "run: a timeout=50 retry=2@10
         next at 50
         => a: retrying
         a#1 succeeds
         => a: retrying
         next at 60
         => a: running #2
         a#1 succeeds
         => a: running #2
         a#2 succeeds
         => a: completed #2
         a#2 fails
         => a: completed #2
         nothing is due",
    );
}

#[test]
fn a_command_is_timed_out_by_its_worker_alone() {
    check(
        "run: a command timeout=50
         nothing is due
         wait 100
         => a: running",
    );
}

#[test]
fn a_report_of_an_attempt_that_never_was_means_nothing() {
    check(
        "run: a, b(a)
         a#2 succeeds
         b#0 succeeds
         b#1 succeeds
         => a: running · b: pending",
    );
}
