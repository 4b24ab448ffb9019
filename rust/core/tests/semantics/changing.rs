//! How a run grows: functions that turn out to consist of tasks, and tasks that are added while it goes on.

use crate::story::check;

#[test]
fn a_function_that_consists_of_tasks_runs_without_a_slot_until_they_completed() {
    check(
        "run slots=1 cpu=1: a cpu=1, b(a)
         a becomes x cpu=1, y(x)
         => a: running · b: pending · x: running · y: pending
         a succeeds
         => a: running · b: pending · x: running · y: pending
         x succeeds
         y succeeds
         => a: completed · b: running · x: completed · y: completed",
    );
}

#[test]
fn a_function_that_consists_of_nothing_has_completed() {
    check(
        "run: a, b(a)
         a becomes
         => a: completed · b: running",
    );
}

#[test]
fn a_task_with_a_part_that_failed_fails_when_all_parts_ended() {
    check(
        "run: a retry=3, b(a)
         a becomes x, y, z(x)
         x fails
         => a: running · b: pending · x: failed · y: running · z: skipped (needs x)
         y succeeds
         => a: failed · b: skipped (needs a) · x: failed · y: completed · z: skipped (needs x)",
    );
    check(
        "run: a
         a becomes x
         cancel x
         => a: failed · x: cancelled",
    );
}

#[test]
fn parts_that_were_never_to_run_do_no_harm() {
    check(
        "run: a
         a becomes x skip, y asks
         y should not run
         => a: completed · x: skipped (not today) · y: skipped (condition)",
    );
}

#[test]
fn a_task_whose_parts_another_failure_kept_from_starting_has_failed() {
    check(
        "run slots=1 fail_fast: b, a slotless
         a becomes x
         => b: running · a: running · x: pending
         b fails
         => b: failed · a: failed · x: skipped (after b)",
    );
}

#[test]
fn a_part_that_needs_a_failed_task_outside_makes_its_task_fail() {
    check(
        "run: a, b, after(a)
         a becomes x, y(b), z(y)
         x succeeds
         b fails
         => a: failed · b: failed · after: skipped (needs a) · x: completed · y: skipped (needs b) · z: skipped (needs y)",
    );
    check(
        "run: a, b asks
         a becomes y(b)
         b should not run
         => a: failed · b: skipped (condition) · y: skipped (needs b)",
    );
    check(
        "run: a, b
         b fails
         a becomes y(b)
         => a: failed · b: failed · y: skipped (needs b)",
    );
}

#[test]
fn parts_that_need_a_part_that_was_not_to_run_do_no_harm() {
    check(
        "run: a, after(a)
         a becomes x asks, y(x), z(y)
         x should not run
         => a: completed · after: running · x: skipped (condition) · y: skipped (needs x) · z: skipped (needs y)",
    );
}

#[test]
fn parts_may_consist_of_tasks_and_need_tasks_of_the_run() {
    check(
        "run slots=2: a, b
         a becomes x, y(b)
         x becomes z
         => a: running · b: running · x: running · y: pending · z: running
         z succeeds
         => a: running · b: running · x: completed · y: pending · z: completed
         b succeeds
         => a: running · b: completed · x: completed · y: running · z: completed
         y fails
         => a: failed · b: completed · x: completed · y: failed · z: completed",
    );
}

#[test]
fn a_task_consists_of_tasks_once() {
    check(
        "run: a
         a becomes x
         a becomes y
         a becomes
         => a: running · x: running
         x succeeds
         a becomes y
         => a: completed · x: completed",
    );
}

#[test]
fn a_task_that_ends_before_its_parts_takes_them_with_it() {
    check(
        "run: a timeout=50, b(a)
         a becomes x, y(x), c command, ok approval
         x becomes z
         next at 50
         => a: timed_out · b: skipped (needs a) · x: cancelled · y: cancelled · c: running · ok: cancelled · z: cancelled
         c ends
         => a: timed_out · b: skipped (needs a) · x: cancelled · y: cancelled · c: cancelled · ok: cancelled · z: cancelled",
    );
    check(
        "run: a
         a becomes x, y always, z teardown
         cancel a
         => a: cancelled · x: cancelled · y: cancelled · z: cancelled",
    );
    check(
        "run: a
         a becomes x
         a raises
         => a: failed · x: cancelled",
    );
}

#[test]
fn a_cancel_of_the_run_takes_parts_with_their_whole() {
    check(
        "run: a
         a becomes x, c command retry=2, y(x)
         cancel
         => a: cancelled · x: cancelled · c: running · y: cancelled
         c fails
         => a: cancelled · x: cancelled · c: failed · y: cancelled",
    );
}

#[test]
fn a_whole_and_its_part_may_run_out_of_time_together() {
    check(
        "run: a timeout=50
         a becomes x
         x becomes y timeout=50
         wait 60
         => a: timed_out · x: cancelled · y: timed_out",
    );
    check(
        "run: a timeout=50 retry=2@100
         a becomes x timeout=40
         wait 60
         => a: retrying · x: timed_out
         next at 160
         => a: running #2 · x: timed_out",
    );
}

#[test]
fn a_task_is_tried_again_when_the_parts_of_its_last_attempt_ended() {
    check(
        "run: a timeout=50 retry=2
         a becomes x, c command
         next at 50
         => a: retrying · x: cancelled · c: running
         c ends
         => a: running #2 · x: cancelled · c: cancelled
         a becomes y
         y succeeds
         => a: completed #2 · x: cancelled · c: cancelled · y: completed",
    );
}

#[test]
fn parts_of_what_cleans_up_outlive_what_it_outlives() {
    check(
        "run fail_fast: a, tidy teardown, b(a) all_done
         a fails
         b becomes x, y(x)
         => a: failed · tidy: pending · b: running · x: running · y: pending
         x succeeds
         y succeeds
         tidy becomes p, q(p)
         cancel
         p succeeds
         q succeeds
         => a: failed · tidy: completed · b: completed · x: completed · y: completed · p: completed · q: completed",
    );
}

#[test]
fn a_part_without_needs_cleans_up_after_the_other_parts() {
    check(
        "run: a, b
         a becomes x, tidy teardown, y(x)
         x fails
         => a: running · b: running · x: failed · tidy: running · y: skipped (needs x)
         tidy succeeds
         => a: failed · b: running · x: failed · tidy: completed · y: skipped (needs x)",
    );
    check(
        "run: a
         a becomes tidy teardown
         => a: running · tidy: running",
    );
}

#[test]
fn tasks_are_added_while_a_run_goes_on() {
    check(
        "run: a, b
         a succeeds
         declare c(a), d(b c), e teardown, f(a) any_failed
         => a: completed · b: running · c: running · d: pending · e: pending · f: skipped (trigger)
         b fails
         => a: completed · b: failed · c: running · d: skipped (needs b) · e: pending · f: skipped (trigger)
         declare g(b), h(b) any_failed
         => a: completed · b: failed · c: running · d: skipped (needs b) · e: pending · f: skipped (trigger) · g: skipped (needs b) · h: running
         declare",
    );
}

#[test]
fn tasks_added_after_a_cancel_do_not_start() {
    check(
        "run: a command
         cancel
         declare b, c always
         => a: running · b: cancelled · c: running",
    );
}
