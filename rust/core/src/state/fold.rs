//! What each fact changes. Nothing else changes anything.

use super::task::{Judgement, Needs, TaskState, TaskStatus};
use super::{Header, RunEnd, State};
use crate::event::{Event, Fact, SkipReason};
use crate::graph::Graph;
use crate::ids::TaskIndex;
use crate::outcome::{Ended, Outcome};
use crate::ready::Use;
use crate::spec::{Action, Task, Trigger};
use std::sync::Arc;

impl State {
    /// Changes the state by one event: the only way it changes.
    pub fn apply(&mut self, event: &Event) {
        self.next_seq = event.seq + 1;
        let at_ms = event.at_ms;
        match &event.fact {
            Fact::RunCreated(created) => {
                self.header = Some(Header {
                    run: created.run.clone(),
                    workflow: created.workflow.clone(),
                    max_concurrency: created.max_concurrency,
                    fail_fast: created.fail_fast,
                    origin: (*created.origin).clone(),
                    created_at_ms: at_ms,
                    seed: created.seed,
                });
                self.use_of = Use::new(&created.resources);
                self.deadline_ms = created.timeout_ms.map(|ms| at_ms.saturating_add_unsigned(ms));
            }
            Fact::TasksDeclared { tasks, parent } => self.declare(tasks, *parent),
            Fact::ConditionAsked { task } => {
                self.to_ask.remove(task);
            }
            Fact::ConditionHeld { task } => self.make_ready(*task),
            Fact::ActionSettled { task, action } => {
                let spec = &mut self.tasks[task.usize()].spec;
                *spec = Arc::new(Task { action: (**action).clone(), ..(**spec).clone() });
            }
            Fact::AttemptStarted { task, attempt } => self.start(*task, *attempt, at_ms),
            Fact::AttemptEnded { task, ended, retry_at_ms, .. } => {
                self.end_attempt(*task, ended, *retry_at_ms, at_ms);
            }
            Fact::ReuseAsked { task } => {
                self.to_know.remove(task);
            }
            Fact::ReuseDeclined { task, key, .. } => {
                let state = &mut self.tasks[task.usize()];
                state.has_to_run = true;
                state.key.clone_from(key);
                self.make_ready(*task);
            }
            Fact::TaskReused { task, reused } => {
                let state = &mut self.tasks[task.usize()];
                let value = reused.value.clone();
                state.reused = Some(Arc::clone(reused));
                state.ended = Some(Arc::new(Ended { value, ..Ended::new(Outcome::Returned) }));
                self.close(*task, TaskStatus::Completed);
            }
            Fact::ValueLost { task, .. } => self.open_with_wholes(*task),
            Fact::WaitStarted { task } => {
                self.to_wait.remove(task);
                self.set_status(*task, TaskStatus::Waiting);
                self.tasks[task.usize()].started_at_ms = Some(at_ms);
                let timeout_ms = self.tasks[task.usize()].spec.policy.limits.timeout_ms;
                self.set_due(*task, timeout_ms.map(|ms| self.run_ms(at_ms).saturating_add_unsigned(ms)));
            }
            Fact::WaitAnswered { task, approved, comment, value, .. } => {
                self.tasks[task.usize()].remark = Some(comment.clone());
                if value.is_some() {
                    self.tasks[task.usize()].ended =
                        Some(Arc::new(Ended { value: value.clone(), ..Ended::new(Outcome::Returned) }));
                }
                self.tasks[task.usize()].ended_at_ms = Some(at_ms);
                self.close(*task, if *approved { TaskStatus::Completed } else { TaskStatus::Failed });
            }
            Fact::WaitTimedOut { task } => {
                self.tasks[task.usize()].ended_at_ms = Some(at_ms);
                self.close(*task, TaskStatus::TimedOut);
            }
            Fact::TaskFailed { task, why } => {
                self.tasks[task.usize()].remark = Some(why.clone());
                self.close(*task, TaskStatus::Failed);
            }
            Fact::TaskSkipped { task, reason } => {
                self.tasks[task.usize()].skipped = Some(Box::new(reason.clone()));
                self.close(*task, TaskStatus::Skipped);
            }
            Fact::TaskCancelled { task } => self.close(*task, TaskStatus::Cancelled),
            Fact::CancelRequested { reason } => self.cancel = Some(*reason),
            Fact::TaskCancelRequested { task } => {
                self.tasks[task.usize()].is_asked_to_end = true;
                self.orphans.remove(task);
            }
            Fact::KillRequested => self.killed = true,
            Fact::RunResumed { origin } => {
                if let Some(header) = &mut self.header {
                    let source = header.origin.source.take();
                    header.origin = (**origin).clone();
                    header.origin.source = source;
                }
                self.take_up(at_ms);
            }
            Fact::RunSuspended => self.suspended_at_ms = Some(at_ms),
            Fact::RunContinued => {
                self.stopped_ms += self.suspended_at_ms.take().map_or(0, |since_ms| at_ms - since_ms);
            }
            Fact::RunEnded { verdict, strays, survivors } => {
                self.end =
                    Some(RunEnd { at_ms, verdict: *verdict, strays: *strays, survivors: survivors.clone() });
            }
        }
        self.last_ms = at_ms;
    }

    fn declare(&mut self, tasks: &[Arc<Task>], parent: Option<TaskIndex>) {
        let first = self.tasks.len();
        if self.graph.is_empty() {
            self.graph = Graph::new(tasks.iter().map(|task| &*task.needs));
        } else {
            // What cleans up after all others, as a part of a task cleans up after its other parts.
            let parts = (first as u32..).map(TaskIndex).zip(tasks);
            let regular: Vec<TaskIndex> =
                parts.filter(|(_, task)| !task.policy.teardown).map(|(index, _)| index).collect();
            for task in tasks {
                let is_last = parent.is_some() && task.cleans_up_last();
                self.graph.push(if is_last { &regular } else { &task.needs });
            }
        }
        self.tasks.reserve(tasks.len());
        let family = parent.map(|parent| &self.tasks[parent.usize()]);
        let outlives_failure = family.is_some_and(TaskState::outlives_failure);
        let outlives_cancel = family.is_some_and(TaskState::outlives_cancel);
        for spec in tasks {
            self.tasks.push(TaskState {
                spec: Arc::clone(spec),
                history: None,
                needs: Needs::default(),
                parent,
                attempts: 0,
                status: TaskStatus::Pending,
                consists_of_tasks: false,
                holds: false,
                is_released: false,
                is_let_go: false,
                is_asked_to_end: false,
                outlives_failure: outlives_failure || spec.policy.outlives_failure(),
                outlives_cancel: outlives_cancel || spec.policy.outlives_cancel(),
            });
        }
        let numbers = first as u32..self.tasks.len() as u32;
        if let Some(parent) = parent {
            self.give_back(parent);
            self.tasks[parent.usize()].consists_of_tasks = true;
            self.tasks[parent.usize()].open_children += numbers.len() as u32;
            self.families.entry(parent).or_default().push(numbers.clone());
        }
        for (task, spec) in numbers.map(TaskIndex).zip(tasks) {
            self.tally(task, 1);
            let mut needs = Needs::all_open(self.graph.need_count(task));
            // Of those declared with it none has ended.
            for need in spec.needs.iter().filter(|need| need.usize() < first) {
                let status = self.tasks[need.usize()].status;
                if status.is_final() {
                    needs.note(*need, status);
                }
            }
            self.tasks[task.usize()].needs = needs;
            if let Some(text) = &spec.policy.skip {
                self.doomed.insert(task, SkipReason::Declared { text: text.clone() });
            } else if spec.cleans_up_last() && parent.is_none() {
                self.last.push(task);
            } else {
                self.judge(task);
            }
        }
        self.release_last();
    }

    /// Adds a task to the counts, or with -1 takes it out of them.
    fn tally(&mut self, task: TaskIndex, by: i32) {
        let task = &self.tasks[task.usize()];
        let policy = &task.spec.policy;
        let counts = &mut self.counts;
        let add = |count: &mut u32, is_one: bool| {
            if is_one {
                *count = count.wrapping_add_signed(by);
            }
        };
        let status = task.status;
        let is_unstarted = matches!(status, TaskStatus::Pending | TaskStatus::Waiting);
        let is_idle = is_unstarted || status == TaskStatus::Retrying;
        let is_function = task.is_running_function();
        add(&mut counts.open, !status.is_final());
        add(&mut counts.open_regular, !status.is_final() && !policy.teardown);
        add(&mut counts.mortal_by_failure, is_unstarted && !task.outlives_failure);
        add(&mut counts.mortal_by_cancel, is_idle && !task.outlives_cancel);
        add(&mut counts.idle, is_idle);
        add(&mut counts.running_mortal, is_function && !task.outlives_cancel);
        add(&mut counts.running_functions, is_function);
        add(&mut counts.idle_slotless, is_idle && policy.slotless);
    }

    pub(super) fn set_status(&mut self, task: TaskIndex, status: TaskStatus) {
        self.tally(task, -1);
        self.tasks[task.usize()].status = status;
        self.tally(task, 1);
    }

    pub(super) fn set_due(&mut self, task: TaskIndex, due_ms: Option<i64>) {
        let state = &mut self.tasks[task.usize()];
        if state.due_ms == due_ms {
            return;
        }
        if let Some(old_ms) = std::mem::replace(&mut state.due_ms, due_ms) {
            self.timers.remove(&(old_ms, task));
        }
        if let Some(due_ms) = due_ms {
            self.timers.insert((due_ms, task));
        }
    }

    /// Looks at what the needs of a task mean for it.
    pub(super) fn judge(&mut self, task: TaskIndex) {
        let state = &self.tasks[task.usize()];
        if state.status != TaskStatus::Pending || state.is_released {
            return;
        }
        let policy = &state.spec.policy;
        let trigger = if policy.teardown { Trigger::Always } else { policy.trigger };
        match state.needs.judge(trigger) {
            Judgement::Wait => {}
            Judgement::Skip(reason) => {
                self.doomed.entry(task).or_insert(reason);
            }
            Judgement::Release if policy.skip.is_some() => {}
            Judgement::Release => {
                let has_condition = policy.has_condition;
                self.tasks[task.usize()].is_released = true;
                if has_condition {
                    self.to_ask.insert(task);
                } else {
                    self.make_ready(task);
                }
            }
        }
    }

    pub(super) fn make_ready(&mut self, task: TaskIndex) {
        self.tasks[task.usize()].is_let_go = true;
        let spec = &self.tasks[task.usize()].spec;
        if matches!(spec.action, Action::Approval(_)) {
            self.to_wait.insert(task);
        } else if spec.policy.reuse.is_some() && !self.tasks[task.usize()].has_to_run() {
            self.to_know.insert(task);
        } else {
            self.ready.insert(task, &spec.policy);
        }
    }

    /// Lets the tasks that clean up after all others start.
    pub(super) fn release_last(&mut self) {
        if self.counts.open_regular > 0 || self.last.is_empty() {
            return;
        }
        for task in std::mem::take(&mut self.last) {
            self.judge(task);
        }
    }

    fn start(&mut self, task: TaskIndex, attempt: u32, at_ms: i64) {
        let spec = Arc::clone(&self.tasks[task.usize()].spec);
        let policy = &spec.policy;
        self.ready.remove(task, policy);
        self.set_status(task, TaskStatus::Running);
        let began_ms = self.run_ms(at_ms);
        let is_function = matches!(spec.action, Action::Function(_));
        let timeout_ms = policy.limits.timeout_ms.filter(|_| is_function);
        self.set_due(task, timeout_ms.map(|ms| began_ms.saturating_add_unsigned(ms)));
        let state = &mut self.tasks[task.usize()];
        state.attempts = attempt;
        state.started_at_ms = Some(at_ms);
        state.ended_at_ms = None;
        state.began_ms = began_ms;
        state.failed_child = None;
        state.consists_of_tasks = false;
        state.holds = true;
        self.running += u32::from(!policy.slotless);
        self.use_of.take(&policy.claims, at_ms);
    }

    /// Frees the slot of a task and what it claims.
    fn give_back(&mut self, task: TaskIndex) {
        let state = &mut self.tasks[task.usize()];
        if std::mem::take(&mut state.holds) {
            self.running -= u32::from(!state.spec.policy.slotless);
            self.use_of.give_back(&state.spec.policy.claims);
        }
    }

    fn end_attempt(&mut self, task: TaskIndex, ended: &Arc<Ended>, retry_at_ms: Option<i64>, at_ms: i64) {
        self.give_back(task);
        self.finished_parents.remove(&task);
        let is_to_end = self.is_to_end(task);
        let retry_ms = retry_at_ms.map(|ms| ms - at_ms + self.run_ms(at_ms));
        let state = &mut self.tasks[task.usize()];
        state.ended_at_ms = Some(at_ms);
        let status = match ended.outcome {
            Outcome::Succeeded { .. } | Outcome::Returned => TaskStatus::Completed,
            Outcome::TimedOut { .. } => TaskStatus::TimedOut,
            Outcome::Cancelled => TaskStatus::Cancelled,
            Outcome::Lost { .. } if is_to_end => TaskStatus::Cancelled,
            Outcome::Lost { .. }
            | Outcome::Raised { .. }
            | Outcome::Unmet { .. }
            | Outcome::Unfinished
            | Outcome::ChildFailed { .. }
            | Outcome::Failed { .. }
            | Outcome::Killed { .. }
            | Outcome::MemoryExceeded { .. }
            | Outcome::CouldNotStart { .. } => TaskStatus::Failed,
        };
        match ended.outcome {
            Outcome::Lost { .. } => state.lost += 1,
            Outcome::Unfinished => {
                state.failures = 0;
                state.repeats += 1;
            }
            _ => state.failures += 1,
        }
        state.ended = Some(Arc::clone(ended));
        if retry_ms.is_some() {
            self.set_status(task, TaskStatus::Retrying);
            self.set_due(task, retry_ms);
            self.leave_children(task);
        } else {
            self.close(task, status);
        }
    }

    /// Gives a task its last status, and its dependents what follows from it.
    fn close(&mut self, task: TaskIndex, status: TaskStatus) {
        self.set_due(task, None);
        self.doomed.remove(&task);
        self.orphans.remove(&task);
        let spec = Arc::clone(&self.tasks[task.usize()].spec);
        if self.tasks[task.usize()].is_released && self.tasks[task.usize()].status == TaskStatus::Pending {
            self.ready.remove(task, &spec.policy);
            self.to_ask.remove(&task);
            self.to_wait.remove(&task);
            self.to_know.remove(&task);
        }
        self.set_status(task, status);
        if status.is_failure() && self.first_failure.is_none() {
            self.first_failure = Some(task);
        }
        let dependents = std::mem::take(&mut self.graph);
        for dependent in dependents.dependents(task) {
            // What has started needs nothing more, and may hear of the same need twice.
            if self.tasks[dependent.usize()].status == TaskStatus::Pending {
                self.tasks[dependent.usize()].needs.note(task, status);
                self.judge(dependent);
            }
        }
        self.graph = dependents;
        if let Some(parent) = self.tasks[task.usize()].parent {
            self.close_child(parent, task, status);
        }
        self.leave_children(task);
        self.release_last();
    }

    /// Notes that the tasks which a task consists of are to end, since it has.
    fn leave_children(&mut self, task: TaskIndex) {
        if self.tasks[task.usize()].open_children == 0 {
            return;
        }
        let family = self.families.get(&task).into_iter().flatten().cloned();
        let goes_on = |child: &TaskIndex| {
            let child = &self.tasks[child.usize()];
            !child.status.is_final() && !child.is_asked_to_end
        };
        self.orphans.extend(family.flatten().map(TaskIndex).filter(goes_on));
    }

    fn close_child(&mut self, parent: TaskIndex, child: TaskIndex, status: TaskStatus) {
        let siblings = self.families.get(&parent).and_then(|families| families.last());
        let is_well = match (status, self.tasks[child.usize()].skipped.as_deref()) {
            (TaskStatus::Skipped, Some(SkipReason::FailFast { .. })) => false,
            // Where a sibling is to blame, it has been noted already, or was not to run either.
            (TaskStatus::Skipped, Some(SkipReason::NeedNotMet { need })) => {
                siblings.is_some_and(|siblings| siblings.contains(&need.0))
            }
            (status, _) => matches!(status, TaskStatus::Completed | TaskStatus::Skipped),
        };
        let family = &mut self.tasks[parent.usize()];
        family.open_children -= 1;
        if !is_well {
            family.failed_child.get_or_insert(child);
        }
        if family.open_children == 0 && family.status == TaskStatus::Running {
            self.finished_parents.insert(parent);
        }
    }
}
