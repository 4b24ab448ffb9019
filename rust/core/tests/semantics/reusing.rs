//! Tasks that need not run where nothing that they depend on has changed: somebody is asked first.

use crate::story::check;

#[test]
fn a_task_that_is_known_has_completed_and_one_that_is_not_runs() {
    check(
        "run slots=1: a reuse, b(a) reuse, c(b)
         => a: pending · b: pending · c: pending
         a is known
         => a: completed · b: pending · c: pending
         b is unknown
         => a: completed · b: running · c: pending
         b succeeds
         => a: completed · b: completed · c: running",
    );
}

#[test]
fn the_condition_comes_first_and_an_answer_to_what_was_not_asked_means_nothing() {
    check(
        "run: a reuse asks, b reuse
         a is unknown
         => a: pending · b: pending
         a should run
         b is unknown
         a is unknown
         a is unknown
         => a: running · b: running
         a is known
         => a: running · b: running",
    );
}

#[test]
fn whoever_was_asked_is_asked_again_by_another_engine() {
    check(
        "run: a reuse, b reuse
         b is unknown
         another engine
         => a: pending · b: running #2
         a is known
         => a: completed · b: running #2",
    );
}

#[test]
fn one_that_was_cancelled_while_somebody_was_asked_does_not_run() {
    check(
        "run: a reuse, b(a)
         cancel a
         a is unknown
         => a: cancelled · b: skipped (needs a)",
    );
    check(
        "run: a reuse
         cancel
         workers close
         another engine
         => a: pending
         a is known
         => a: completed",
    );
}

#[test]
fn another_attempt_does_not_ask_again() {
    check(
        "run: a reuse retry=2
         a is unknown
         a fails
         => a: running #2",
    );
}

#[test]
fn one_that_was_under_way_when_it_was_cancelled_with_the_run_asks_again() {
    check(
        "run: a reuse
         a is unknown
         cancel
         workers close
         another engine
         => a: pending
         a is known
         => a: completed",
    );
}
