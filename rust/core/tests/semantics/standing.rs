//! What a state tells of a run, beside how it goes.

use dirigent_core::decide::{Input, decide, follow};
use dirigent_core::spec::{Action, Policy, Task, Workflow};
use dirigent_core::state::TaskStatus;
use dirigent_core::value::{Encoding, Kept};
use dirigent_core::{Event, Fact, State, TaskIndex};
use std::sync::Arc;

/// A workflow of one task that waits for an answer.
fn asking() -> Workflow {
    let task = Task {
        name: "ok".into(),
        action: Action::approval("well?", true),
        needs: Box::default(),
        policy: Arc::new(Policy { slotless: true, ..Policy::default() }),
    };
    Workflow::new("asking", vec![task]).expect("it is well-formed")
}

fn apply(state: &mut State, facts: Vec<Fact>) {
    for fact in facts {
        state.apply(&Event { seq: state.next_seq(), at_ms: 0, fact });
    }
}

#[test]
fn a_run_that_is_only_thought_of_has_its_tasks_and_nothing_has_happened() {
    let state = State::thought_of(&asking());
    assert_eq!(state.header().map(|header| header.workflow.as_str()), Some("asking"));
    assert_eq!(state.tasks().iter().map(|task| task.status).collect::<Vec<_>>(), [TaskStatus::Pending]);
}

#[test]
fn what_was_given_with_an_answer_is_the_value_of_what_waited() {
    let mut state = State::thought_of(&asking());
    let facts = follow(&state, 0);
    apply(&mut state, facts);
    let value = Some(Arc::new(Kept::Inline { encoding: Encoding::Json, text: "7".into() }));
    let answered = Input::Answered {
        task: TaskIndex(0),
        approved: true,
        comment: "yes".into(),
        actor: "me".into(),
        value: value.clone(),
    };
    let facts = decide(&state, answered, 0);
    apply(&mut state, facts);
    let task = &state.tasks()[0];
    assert_eq!((task.status, task.remark.as_deref()), (TaskStatus::Completed, Some("yes")));
    assert_eq!(task.ended.as_ref().map(|ended| &ended.value), Some(&value));
}
