//! How runs and tasks end before they are through: failing fast, cancelling, killing, running out of time, standing still.

use crate::story::{check, wall_us};

#[test]
fn after_a_failure_nothing_new_starts_and_what_runs_may_finish() {
    check(
        "run slots=2 fail_fast: a, b, c, d(b), ok approval
         => a: running · b: running · c: pending · d: pending · ok: waiting
         a fails
         => a: failed · b: running · c: skipped (after a) · d: skipped (after a) · ok: skipped (after a)
         b succeeds
         workers close
         => a: failed · b: completed · c: skipped (after a) · d: skipped (after a) · ok: skipped (after a) · the run failed",
    );
}

#[test]
fn without_failing_fast_other_tasks_go_on() {
    check(
        "run slots=1: a, b
         a fails
         => a: failed · b: running",
    );
}

#[test]
fn what_waits_for_failures_starts_after_one() {
    check(
        "run fail_fast: a, b(a) any_failed, c(a) all_done, d(a) always, e(a) teardown, f teardown, g(a) any_success, h(a) none_failed
         a fails
         => a: failed · b: running · c: running · d: running · e: running · f: pending · g: skipped (needs a) · h: skipped (needs a)
         b succeeds
         c succeeds
         d succeeds
         => a: failed · b: completed · c: completed · d: completed · e: running · f: running · g: skipped (needs a) · h: skipped (needs a)",
    );
    check(
        "run fail_fast: x, a, b(a) any_success, c(a) none_failed
         x fails
         => x: failed · a: running · b: skipped (after x) · c: skipped (after x)",
    );
}

#[test]
fn what_is_being_tried_again_may_finish_after_a_failure() {
    check(
        "run fail_fast: a retry=2@100, b
         a fails
         b fails
         => a: retrying · b: failed
         next at 100
         => a: running #2 · b: failed",
    );
}

#[test]
fn tasks_added_after_a_failure_do_not_start() {
    check(
        "run fail_fast: a, b
         a fails
         declare c, d always
         => a: failed · b: running · c: skipped (after a) · d: running",
    );
}

#[test]
fn a_cancel_ends_functions_at_once_and_commands_by_their_worker() {
    check(
        "run: a, b command, c(a), d retry=2@100, ok approval, e asks
         d fails
         cancel
         => a: cancelled · b: running · c: cancelled · d: cancelled · ok: cancelled · e: cancelled
         a#1 succeeds
         e should run
         ok is approved
         => a: cancelled · b: running · c: cancelled · d: cancelled · ok: cancelled · e: cancelled
         b ends
         workers close
         => a: cancelled · b: cancelled · c: cancelled · d: cancelled · ok: cancelled · e: cancelled · the run was cancelled
         nothing is due",
    );
}

#[test]
fn nothing_is_tried_again_after_a_cancel() {
    check(
        "run: a command retry=3, b command lost=3, c command
         cancel
         a fails
         b vanishes
         c succeeds
         => a: failed · b: cancelled · c: completed",
    );
}

#[test]
fn what_is_always_to_run_and_what_cleans_up_outlives_a_cancel() {
    check(
        "run: a command, b(a) always, c(a) teardown retry=2 lost=1, d teardown, e(b)
         cancel
         => a: running · b: pending · c: pending · d: pending · e: cancelled
         a ends
         => a: cancelled · b: running · c: running · d: pending · e: cancelled
         c fails
         b succeeds
         => a: cancelled · b: completed · c: running #2 · d: running · e: cancelled
         c vanishes
         => a: cancelled · b: completed · c: running #3 · d: running · e: cancelled
         c vanishes
         d succeeds
         workers close
         => a: cancelled · b: completed · c: failed #3 · d: completed · e: cancelled · the run was cancelled",
    );
}

#[test]
fn a_function_that_outlives_a_cancel_goes_on() {
    check(
        "run: a always, b teardown, c
         cancel
         => a: running · b: pending · c: cancelled
         a succeeds
         => a: completed · b: running · c: cancelled
         cancel
         => a: completed · b: running · c: cancelled",
    );
}

#[test]
fn a_run_that_is_through_all_the_same_was_not_cancelled() {
    check(
        "run: a command
         cancel
         a succeeds
         workers close
         => a: completed · the run succeeded",
    );
}

#[test]
fn a_kill_ends_everything() {
    check(
        "run: a command, b(a) always, c(a) teardown, d always, e always retry=2@100, ok always approval
         e fails
         cancel
         => a: running · b: pending · c: pending · d: running · e: retrying · ok: waiting
         kill
         => a: running · b: cancelled · c: cancelled · d: cancelled · e: cancelled · ok: cancelled
         a ends
         workers close
         => a: cancelled · b: cancelled · c: cancelled · d: cancelled · e: cancelled · ok: cancelled · the run was cancelled",
    );
    check(
        "run: a, b always retry=2 command
         kill
         b fails
         => a: cancelled · b: failed",
    );
}

#[test]
fn what_is_wanted_twice_is_a_fact_once() {
    check(
        "run: a command
         in vain: go on
         stop
         in vain: stop
         go on
         in vain: go on
         cancel a
         in vain: cancel a
         cancel
         in vain: cancel
         kill
         in vain: kill
         in vain: cancel
         => a: running",
    );
}

#[test]
fn one_task_is_cancelled_and_the_others_go_on() {
    check(
        "run: a, b(a), c retry=2@100, d command retry=2, e(a) none_failed
         c fails
         cancel a
         cancel c
         cancel d
         => a: cancelled · b: skipped (needs a) · c: cancelled · d: running · e: running
         d fails
         cancel d
         e succeeds
         workers close
         => a: cancelled · b: skipped (needs a) · c: cancelled · d: failed · e: completed · the run failed",
    );
    check(
        "run: a command lost=2
         cancel a
         a vanishes
         => a: cancelled",
    );
    check(
        "run: a, b teardown
         cancel b
         => a: running · b: cancelled",
    );
}

#[test]
fn a_cancelled_task_makes_the_run_a_failed_one() {
    check(
        "run: a
         cancel a
         workers close
         => a: cancelled · the run failed",
    );
}

#[test]
fn a_run_that_takes_too_long_is_cancelled_and_has_failed() {
    check(
        "run timeout=100: a, b command, c teardown
         next at 100
         => a: cancelled · b: running · c: pending
         nothing is due
         b ends
         c succeeds
         workers close
         => a: cancelled · b: cancelled · c: completed · the run failed",
    );
    check(
        "run timeout=100: a command
         next at 100
         a succeeds
         workers close
         => a: completed · the run failed",
    );
}

#[test]
fn a_run_whose_tasks_have_ended_runs_out_of_time_no_more() {
    check(
        "run timeout=100: a
         a succeeds
         wait 100
         => a: completed
         nothing is due
         wait 100
         => a: completed
         workers close
         => a: completed · the run succeeded",
    );
}

#[test]
fn a_run_ends_with_its_workers_and_nothing_happens_after() {
    check(
        "run: a
         workers close
         => a: running
         a succeeds
         => a: completed
         declare b
         => a: completed
         workers close
         => a: completed · the run succeeded
         workers close
         cancel
         kill
         stop
         => a: completed · the run succeeded
         nothing is due",
    );
}

#[test]
fn while_a_run_stands_still_nothing_starts_and_no_time_passes() {
    check(
        "run slots=1 timeout=500: a timeout=100, b, c retry=2@50
         wait 20
         stop
         stop
         nothing is due
         wait 300
         => a: running · b: pending · c: pending
         go on
         go on
         => a: running · b: pending · c: pending
         next at 400
         => a: timed_out · b: running · c: pending
         next at 800
         => a: timed_out · b: cancelled · c: cancelled",
    );
}

#[test]
fn what_is_heard_while_a_run_stands_still_counts_and_follows_when_it_goes_on() {
    check(
        "run slots=2: a, b(a), c retry=2@50, ok approval timeout=80
         stop
         wait 1000
         a succeeds
         c fails
         => a: completed · b: pending · c: retrying · ok: waiting
         wait 1000
         => a: completed · b: pending · c: retrying · ok: waiting
         go on
         => a: completed · b: running · c: retrying · ok: waiting
         next at 2050
         => a: completed · b: running · c: running #2 · ok: waiting
         next at 2080
         => a: completed · b: running · c: running #2 · ok: timed_out",
    );
}

#[test]
fn the_longest_time_there_is_can_stand_still_too() {
    check(
        "run: a timeout=18446744073709551615
         stop
         wait 5
         go on
         next at 9223370336854775807
         => a: running",
    );
}

#[test]
fn a_run_that_stands_still_can_be_cancelled() {
    check(
        "run: a, b(a), c(a) always
         stop
         cancel
         => a: cancelled · b: cancelled · c: pending
         go on
         => a: cancelled · b: cancelled · c: running",
    );
}

#[test]
fn the_time_a_run_stands_still_does_not_count_as_running() {
    let story = "run: a
                 wait 30
                 stop
                 wait 500
                 go on
                 wait 10
                 a succeeds";
    assert_eq!(wall_us(story), 40_000);
    let story = "run: a
                 wait 30
                 stop
                 wait 500
                 a succeeds";
    assert_eq!(wall_us(story), 30_000);
}
