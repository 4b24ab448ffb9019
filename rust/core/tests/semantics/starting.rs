//! When tasks start: triggers, conditions, approvals, slots, resources, rates, order.

use crate::story::check;

#[test]
fn a_task_starts_when_all_it_needs_completed() {
    check(
        "run: a, b, c(a b)
         a succeeds
         => a: completed · b: running · c: pending
         b succeeds
         => a: completed · b: completed · c: running
         c succeeds
         workers close
         => a: completed · b: completed · c: completed · the run succeeded",
    );
}

#[test]
fn a_skip_travels_to_all_that_wait_for_it() {
    check(
        "run: a, b(a), c(b), d
         a fails
         => a: failed · b: skipped (needs a) · c: skipped (needs b) · d: running
         d succeeds
         workers close
         => a: failed · b: skipped (needs a) · c: skipped (needs b) · d: completed · the run failed",
    );
}

#[test]
fn a_task_is_skipped_by_declaration_with_its_dependents_and_the_run_succeeds() {
    check(
        "run: a skip, b(a)
         workers close
         => a: skipped (not today) · b: skipped (needs a) · the run succeeded",
    );
}

#[test]
fn a_task_skipped_by_declaration_is_skipped_whatever_its_trigger() {
    check(
        "run: a, b(a) skip any_failed, c(a) skip teardown
         => a: running · b: skipped (not today) · c: skipped (not today)
         a fails
         => a: failed · b: skipped (not today) · c: skipped (not today)",
    );
}

#[test]
fn all_done_waits_for_all_however_they_end() {
    check(
        "run: a, b, c skip, d(a b c) all_done
         a fails
         => a: failed · b: running · c: skipped (not today) · d: pending
         b succeeds
         => a: failed · b: completed · c: skipped (not today) · d: running",
    );
}

#[test]
fn any_success_starts_with_the_first_success() {
    check(
        "run: a, b, c(a b) any_success
         a fails
         => a: failed · b: running · c: pending
         b succeeds
         => a: failed · b: completed · c: running",
    );
    check(
        "run: a, b, c(a b) any_success
         a succeeds
         => a: completed · b: running · c: running",
    );
    check(
        "run: a, b, c(a b) any_success
         a fails
         b fails
         => a: failed · b: failed · c: skipped (needs a)",
    );
}

#[test]
fn any_failed_starts_with_the_first_failure() {
    check(
        "run: a, b, c(a b) any_failed
         a fails
         => a: failed · b: running · c: running",
    );
    check(
        "run: a timeout=50, b, c(a b) any_failed
         next at 50
         => a: timed_out · b: running · c: running",
    );
    check(
        "run: a, b skip, c(a b) any_failed
         a succeeds
         => a: completed · b: skipped (not today) · c: skipped (trigger)",
    );
}

#[test]
fn none_failed_starts_also_after_skips_but_not_after_a_failure() {
    check(
        "run: a, b skip, c(a b) none_failed
         => a: running · b: skipped (not today) · c: pending
         a succeeds
         => a: completed · b: skipped (not today) · c: running",
    );
    check(
        "run: a, b, c(a b) none_failed
         a fails
         => a: failed · b: running · c: skipped (needs a)",
    );
}

#[test]
fn always_waits_for_all_however_they_end() {
    check(
        "run: a, b, c(a b) always
         a fails
         => a: failed · b: running · c: pending
         b succeeds
         => a: failed · b: completed · c: running",
    );
}

#[test]
fn a_teardown_starts_when_its_needs_ended_whatever_its_trigger_says() {
    check(
        "run: a, b(a) teardown, c(a) teardown any_success
         => a: running · b: pending · c: pending
         a fails
         => a: failed · b: running · c: running",
    );
}

#[test]
fn a_teardown_without_needs_starts_after_all_that_clean_nothing_up() {
    check(
        "run: tidy teardown, a, b(a), c(a) teardown
         a fails
         => tidy: running · a: failed · b: skipped (needs a) · c: running",
    );
    check(
        "run: tidy teardown, a, b
         a succeeds
         => tidy: pending · a: completed · b: running
         b succeeds
         => tidy: running · a: completed · b: completed",
    );
    check(
        "run: tidy teardown
         => tidy: running",
    );
}

#[test]
fn a_condition_is_asked_after_the_needs_are_met() {
    check(
        "run: a, b(a) asks
         b should run
         => a: running · b: pending
         a succeeds
         => a: completed · b: pending
         b should run
         => a: completed · b: running
         b should not run
         => a: completed · b: running",
    );
}

#[test]
fn a_condition_that_does_not_hold_skips_and_one_that_cannot_be_judged_fails() {
    check(
        "run: a asks, b(a), c asks, d(c) any_failed
         a should not run
         c cannot be judged
         => a: skipped (condition) · b: skipped (needs a) · c: failed · d: running",
    );
}

#[test]
fn an_approval_waits_without_a_slot_until_it_is_answered() {
    check(
        "run slots=1: ok approval, a, b(ok)
         => ok: waiting · a: running · b: pending
         a succeeds
         ok is approved
         => ok: completed · a: completed · b: running
         ok is rejected
         => ok: completed · a: completed · b: running",
    );
    check(
        "run: ok approval, b(ok)
         ok is rejected
         => ok: failed · b: skipped (needs ok)",
    );
}

#[test]
fn an_approval_runs_out_of_time() {
    check(
        "run: ok approval timeout=50, b(ok)
         next at 50
         => ok: timed_out · b: skipped (needs ok)
         ok is approved
         => ok: timed_out · b: skipped (needs ok)",
    );
}

#[test]
fn an_approval_with_a_condition_waits_after_that_holds() {
    check(
        "run: ok approval asks
         ok is approved
         => ok: pending
         ok should run
         => ok: waiting",
    );
}

#[test]
fn slots_are_given_by_priority_then_in_the_order_of_declaration() {
    check(
        "run slots=1: a, b, c priority=2, d priority=-1
         => a: pending · b: pending · c: running · d: pending
         c succeeds
         => a: running · b: pending · c: completed · d: pending
         a succeeds
         b succeeds
         => a: completed · b: completed · c: completed · d: running",
    );
}

#[test]
fn a_task_tried_again_goes_before_those_not_started() {
    check(
        "run slots=1: a retry=2, b priority=5
         => a: pending · b: running
         b succeeds
         declare c priority=9
         a fails
         => a: running #2 · b: completed · c: pending",
    );
}

#[test]
fn a_task_that_takes_no_slot_starts_when_none_is_free() {
    check(
        "run slots=1: a, b slotless, c, d slotless retry=2
         => a: running · b: running · c: pending · d: running
         d fails
         => a: running · b: running · c: pending · d: running #2
         b succeeds
         => a: running · b: completed · c: pending · d: running #2",
    );
}

#[test]
fn a_resource_is_never_claimed_beyond_its_capacity_and_smaller_claims_pass() {
    check(
        "run cpu=4: a cpu=3, b cpu=2, c cpu=1, d
         => a: running · b: pending · c: running · d: running
         c succeeds
         => a: running · b: pending · c: completed · d: running
         a fails
         => a: failed · b: running · c: completed · d: running",
    );
}

#[test]
fn several_claims_of_one_resource_count_together() {
    check(
        "run cpu=3: a cpu=1 cpu=1, b cpu=1 cpu=1
         => a: running · b: pending
         a succeeds
         => a: completed · b: running",
    );
}

#[test]
fn a_task_without_a_slot_holds_its_claims() {
    check(
        "run cpu=1: a slotless cpu=1, b cpu=1
         => a: running · b: pending
         a succeeds
         => a: completed · b: running",
    );
}

#[test]
fn a_rate_lets_so_much_pass_in_any_such_time() {
    check(
        "run api=2/100: a api=1, b api=1, c api=1, d api=1, e api=2
         => a: running · b: running · c: pending · d: pending · e: pending
         wait 40
         a succeeds
         => a: completed · b: running · c: pending · d: pending · e: pending
         next at 100
         => a: completed · b: running · c: running · d: running · e: pending
         next at 200
         => a: completed · b: running · c: running · d: running · e: running
         nothing is due",
    );
}

#[test]
fn parts_of_a_rate_are_free_again_one_by_one() {
    check(
        "run api=2/100: a api=1, x, b(x) api=1, c(b) api=2
         wait 30
         x succeeds
         b succeeds
         => a: running · x: completed · b: completed · c: pending
         next at 100
         => a: running · x: completed · b: completed · c: pending
         next at 130
         => a: running · x: completed · b: completed · c: running",
    );
}

#[test]
fn a_task_tried_again_waits_for_its_rate_and_is_woken() {
    check(
        "run api=1/100: a api=1 retry=3
         wait 10
         a fails
         => a: retrying
         next at 100
         => a: running #2
         a fails
         next at 200
         => a: running #3",
    );
}
