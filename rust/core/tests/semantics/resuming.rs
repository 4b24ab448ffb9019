//! What becomes of a run that another engine takes up: after the first one died, or ended it at somebody's wish.

use crate::story::{check, wall_us};

#[test]
fn what_was_under_way_is_tried_again_and_what_completed_is_not() {
    check(
        "run slots=1: a, b(a), c(b)
         a succeeds
         another engine
         => a: completed · b: running #2 · c: pending
         b#1 succeeds
         => a: completed · b: running #2 · c: pending
         b succeeds
         => a: completed · b: completed #2 · c: running",
    );
}

#[test]
fn what_was_under_way_waits_for_what_it_needs_where_that_is_lost() {
    check(
        "run: a, b(a), c(a) asks, d(a) retry=2@50
         a succeeds
         c should run
         d fails
         => a: completed · b: running · c: running · d: retrying
         another engine without a
         => a: running #2 · b: pending · c: pending · d: pending
         a succeeds
         => a: completed #2 · b: running #2 · c: pending · d: running #2
         c should run
         => a: completed #2 · b: running #2 · c: running #2 · d: running #2",
    );
    check(
        "run slots=1: x, a, b(a)
         x succeeds
         a succeeds
         another engine without a
         => x: completed · a: running #2 · b: pending
         a succeeds
         => x: completed · a: completed #2 · b: running #2",
    );
}

#[test]
fn the_time_without_an_engine_counts_against_nothing() {
    check(
        "run timeout=100: a retry=2@50, ok approval timeout=80
         wait 10
         a fails
         => a: retrying · ok: waiting
         wait 10
         another engine
         next at 70
         => a: running #2 · ok: waiting
         next at 90
         => a: running #2 · ok: timed_out
         next at 110
         => a: cancelled #2 · ok: timed_out",
    );
}

#[test]
fn an_attempt_that_was_lost_with_its_engine_ran_up_to_the_last_event() {
    let story = "run: a, b
                 wait 20
                 b succeeds
                 wait 300
                 another engine";
    assert_eq!(wall_us(story), 20_000);
}

#[test]
fn a_run_that_stood_still_goes_on_with_another_engine() {
    check(
        "run: a timeout=100
         wait 10
         stop
         wait 1000
         another engine
         => a: running #2
         next at 1110
         => a: timed_out #2",
    );
}

#[test]
fn whoever_was_asked_is_asked_again() {
    check(
        "run: a asks, b asks
         b should run
         another engine
         a should run
         => a: running · b: running #2",
    );
}

#[test]
fn a_task_that_consists_of_others_goes_on_with_them() {
    check(
        "run: a, b(a)
         a becomes x, y, z(x y)
         x succeeds
         another engine
         => a: running · b: pending · x: completed · y: running #2 · z: pending
         y succeeds
         z succeeds
         => a: completed · b: running · x: completed · y: completed #2 · z: completed",
    );
}

#[test]
fn one_that_is_tried_again_does_not_go_on_with_the_parts_it_had_before() {
    check(
        "run: a retry=2
         a becomes x
         a vanishes
         another engine
         => a: failed · x: cancelled",
    );
    check(
        "run: a retry=2
         a becomes x
         a fails
         => a: running #2 · x: cancelled
         another engine
         => a: running #3 · x: cancelled",
    );
}

#[test]
fn what_was_cancelled_with_the_run_is_open_again() {
    check(
        "run slots=1: a, b(a) command, c(b), d asks
         a succeeds
         cancel
         => a: completed · b: running · c: cancelled · d: cancelled
         b ends
         workers close
         => a: completed · b: cancelled · c: cancelled · d: cancelled · the run was cancelled
         another engine
         => a: completed · b: running #2 · c: pending · d: pending
         b succeeds
         => a: completed · b: completed #2 · c: running · d: pending
         d should run
         c succeeds
         d succeeds
         workers close
         => a: completed · b: completed #2 · c: completed · d: completed · the run succeeded",
    );
}

#[test]
fn parts_of_a_task_that_was_cancelled_with_the_run_are_open_again_with_it() {
    check(
        "run slots=1: a, b(a)
         a becomes x, y, z
         x succeeds
         y raises
         cancel
         => a: cancelled · b: cancelled · x: completed · y: failed · z: cancelled
         workers close
         another engine
         => a: running · b: pending · x: completed · y: failed · z: running #2
         z succeeds
         => a: failed · b: skipped (needs a) · x: completed · y: failed · z: completed #2",
    );
}

#[test]
fn what_was_cancelled_with_a_task_made_it_no_failed_one() {
    check(
        "run: a
         a becomes x, y command
         cancel
         => a: cancelled · x: cancelled · y: running
         y ends
         workers close
         another engine
         => a: running · x: running #2 · y: running #2
         x succeeds
         y succeeds
         => a: completed · x: completed #2 · y: completed #2",
    );
}

#[test]
fn a_task_all_of_whose_parts_ended_after_it_was_cancelled_ends_as_they_did() {
    check(
        "run: a, b(a)
         a becomes x command
         cancel
         x succeeds
         => a: cancelled · b: cancelled · x: completed
         workers close
         another engine
         => a: completed · b: running · x: completed",
    );
    check(
        "run: a
         a becomes x command
         cancel
         x fails
         workers close
         another engine
         => a: failed · x: failed",
    );
}

#[test]
fn parts_of_a_task_that_is_through_stay_as_they_are() {
    check(
        "run: a, b
         a becomes x, tidy teardown
         x succeeds
         tidy succeeds
         cancel
         workers close
         another engine
         => a: completed · b: running #2 · x: completed · tidy: completed",
    );
}

#[test]
fn what_completed_whatever_became_of_its_needs_does_not_run_again() {
    check(
        "run: a, b(a) always
         cancel
         b succeeds
         workers close
         another engine
         => a: running #2 · b: completed",
    );
}

#[test]
fn a_task_that_was_cancelled_by_itself_stays_so() {
    check(
        "run slots=1: a, b, c(b)
         cancel b
         cancel
         workers close
         another engine
         => a: running #2 · b: cancelled · c: skipped (needs b)",
    );
}

#[test]
fn what_cleaned_up_cleans_up_again_after_what_is_done_from_here_on() {
    check(
        "run: a, tidy teardown
         cancel
         tidy succeeds
         workers close
         => a: cancelled · tidy: completed · the run was cancelled
         another engine
         => a: running #2 · tidy: pending
         a succeeds
         => a: completed #2 · tidy: running #2",
    );
}

#[test]
fn a_run_that_died_while_it_was_being_cancelled_goes_on_whole() {
    check(
        "run: a command, b(a)
         cancel
         => a: running · b: cancelled
         another engine
         => a: running #2 · b: pending",
    );
}

#[test]
fn a_run_that_ended_by_itself_is_over() {
    check(
        "run: a
         a raises
         workers close
         another engine
         => a: failed · the run failed",
    );
}

#[test]
fn a_task_whose_outcome_is_known_need_not_run() {
    check(
        "run slots=1: a, b(a), c(b)
         b is known
         => a: running · b: completed · c: pending
         in vain: a is known
         in vain: b is known
         => a: running · b: completed · c: pending",
    );
    check(
        "run slots=1: a, b skip, tidy teardown
         in vain: b is known
         cancel
         tidy succeeds
         workers close
         another engine
         in vain: tidy is known
         => a: running #2 · b: skipped (not today) · tidy: pending",
    );
}

#[test]
fn a_task_whose_value_is_gone_is_carried_out_again_for_those_that_have_not_ended() {
    check(
        "run slots=1: a, b(a), c(a), d(b c)
         a succeeds
         b succeeds
         a is gone
         => a: pending · b: completed · c: running · d: pending
         c succeeds
         => a: running #2 · b: completed · c: completed · d: pending
         b is gone
         a succeeds
         => a: completed #2 · b: running #2 · c: completed · d: pending
         b succeeds
         => a: completed #2 · b: completed #2 · c: completed · d: running",
    );
}

#[test]
fn a_part_whose_value_is_gone_is_carried_out_again_within_its_whole() {
    check(
        "run: a, b(a)
         a becomes x, y
         x succeeds
         y succeeds
         => a: completed · b: running · x: completed · y: completed
         x is gone
         => a: running · b: running · x: running #2 · y: completed
         x succeeds
         => a: completed · b: running · x: completed #2 · y: completed",
    );
}
