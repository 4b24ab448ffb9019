//! What it changes that another engine takes a run up: its clock stood still, and what was cancelled with the run is open again.

use super::State;
use super::task::{Needs, TaskStatus};
use crate::event::SkipReason;
use crate::ids::TaskIndex;
use crate::ready::Ready;
use crate::value::Kept;
use std::collections::BTreeSet;
use std::sync::Arc;

impl State {
    /// Takes the run up. What was under way when the last engine went is told to be lost by facts of its own.
    pub(super) fn take_up(&mut self, at_ms: i64) {
        let since_ms = self.suspended_at_ms.take().unwrap_or(self.last_ms);
        self.stopped_ms += (at_ms - since_ms).max(0);
        self.killed = false;
        self.end = None;
        if self.cancel.take().is_some() {
            self.reopen(&self.cancelled_with_the_run());
        }
        // Whoever was asked is gone.
        let unanswered: Vec<TaskIndex> = self.those(|state, task| {
            let it = &state.tasks[task.usize()];
            it.status == TaskStatus::Pending
                && it.is_released
                && !it.is_let_go
                && it.spec.policy.has_condition
        });
        self.to_ask.extend(unanswered);
        let unknown: Vec<TaskIndex> = self.those(|state, task| {
            let it = &state.tasks[task.usize()];
            let may_be_known = it.spec.policy.reuse.is_some() && !it.has_to_run;
            it.status == TaskStatus::Pending && it.is_let_go && may_be_known
        });
        self.to_know.extend(unknown);
    }

    /// Opens a task again, with those that it is a part of. What depends on them and does not run waits for them again.
    pub(super) fn open_with_wholes(&mut self, task: TaskIndex) {
        let mut reopened = BTreeSet::from([task]);
        let mut part = task;
        while let Some(whole) = self.tasks[part.usize()].parent {
            if self.tasks[whole.usize()].status.is_final() {
                reopened.insert(whole);
            }
            part = whole;
        }
        let dependents: BTreeSet<TaskIndex> =
            reopened.iter().flat_map(|task| self.graph.dependents(*task)).collect();
        for dependent in dependents {
            if self.tasks[dependent.usize()].status == TaskStatus::Retrying {
                self.set_due(dependent, None);
                self.set_status(dependent, TaskStatus::Pending);
            }
            if self.tasks[dependent.usize()].status == TaskStatus::Pending {
                self.tasks[dependent.usize()].is_let_go = false;
            }
        }
        self.reopen(&reopened);
    }

    /// The tasks that completed, and what each gave, where that is recorded and something that has not ended needs it.
    pub fn needed_values(&self) -> impl Iterator<Item = (TaskIndex, &Arc<Kept>)> {
        let mut is_needed = vec![false; self.tasks.len()];
        for (index, task) in (0u32..).map(TaskIndex).zip(&self.tasks) {
            let is_open = |task: TaskIndex| !self.tasks[task.usize()].status.is_final();
            // What a task of tasks gave is what those gave. They come after it.
            let with_whole = task.parent.is_some_and(|whole| is_open(whole) || is_needed[whole.usize()]);
            is_needed[index.usize()] = with_whole || self.graph.dependents(index).any(is_open);
        }
        let tasks = (0u32..).map(TaskIndex).zip(&self.tasks).zip(is_needed);
        tasks.filter(|(_, is_needed)| *is_needed).filter_map(|((index, task), _)| {
            let ended = task.ended.as_ref().filter(|_| task.status == TaskStatus::Completed)?;
            Some((index, ended.value.as_ref()?))
        })
    }

    /// Opens tasks again, and finds anew what follows for those that wait.
    fn reopen(&mut self, reopened: &BTreeSet<TaskIndex>) {
        for task in reopened {
            self.open_again(*task);
        }
        self.find_failed_children();
        self.find_needs();
        self.ready = Ready::default();
        self.doomed.clear();
        self.to_ask.clear();
        self.to_wait.clear();
        self.to_know.clear();
        self.last.clear();
        for task in self.those(|state, task| state.tasks[task.usize()].status == TaskStatus::Pending) {
            let it = &mut self.tasks[task.usize()];
            if it.is_let_go {
                self.make_ready(task);
                continue;
            }
            it.is_released = false;
            if let Some(text) = &it.spec.policy.skip {
                self.doomed.insert(task, SkipReason::Declared { text: text.clone() });
            } else if it.spec.cleans_up_last() && it.parent.is_none() {
                self.last.push(task);
            } else {
                self.judge(task);
            }
        }
        self.finished_parents = self
            .those(|state, task| {
                let it = &state.tasks[task.usize()];
                it.status == TaskStatus::Running && it.open_children == 0 && it.consists_of_tasks
            })
            .into_iter()
            .collect();
        self.release_last();
    }

    /// The tasks that ended with the run: those that were cancelled, those skipped because of them, and those that cleaned
    /// up, since there will be more to clean up. A part of a task that is through stays as it is.
    fn cancelled_with_the_run(&self) -> BTreeSet<TaskIndex> {
        let mut reopened = BTreeSet::new();
        for (index, task) in (0u32..).map(TaskIndex).zip(&self.tasks) {
            let is_parent_open = task.parent.is_none_or(|parent| {
                !self.tasks[parent.usize()].status.is_final() || reopened.contains(&parent)
            });
            let is_orphan = task.parent.is_some_and(|parent| reopened.contains(&parent));
            let ended_with_the_run = match task.status {
                TaskStatus::Cancelled => !task.is_asked_to_end || is_orphan,
                TaskStatus::Completed => task.spec.policy.teardown,
                _ => false,
            };
            if ended_with_the_run && is_parent_open {
                reopened.insert(index);
            }
        }
        let mut found: Vec<TaskIndex> = reopened.iter().copied().collect();
        while let Some(task) = found.pop() {
            for dependent in self.graph.dependents(task) {
                let was_skipped_for_it = matches!(
                    self.tasks[dependent.usize()].skipped.as_deref(),
                    Some(SkipReason::NeedNotMet { .. } | SkipReason::TriggerNotMet)
                );
                if was_skipped_for_it && reopened.insert(dependent) {
                    found.push(dependent);
                }
            }
        }
        reopened
    }

    fn open_again(&mut self, task: TaskIndex) {
        // One that consists of tasks has done its own part.
        let it = &self.tasks[task.usize()];
        let is_after_run = matches!(it.status, TaskStatus::Cancelled | TaskStatus::Completed);
        let goes_on = is_after_run && it.consists_of_tasks;
        self.set_status(task, if goes_on { TaskStatus::Running } else { TaskStatus::Pending });
        let it = &mut self.tasks[task.usize()];
        it.is_asked_to_end = false;
        it.ended = None;
        it.ended_at_ms = None;
        it.skipped = None;
        it.remark = None;
        it.reused = None;
        it.has_to_run = false;
        it.is_let_go = goes_on;
        it.is_released = goes_on;
        if let Some(parent) = it.parent {
            self.tasks[parent.usize()].open_children += 1;
        }
    }

    /// Which of its tasks made a task fail may have changed.
    fn find_failed_children(&mut self) {
        for parent in self.those(|state, task| state.tasks[task.usize()].failed_child.is_some()) {
            let family = self.families.get(&parent).into_iter().flatten().cloned().flatten().map(TaskIndex);
            let failed = family.filter(|child| self.tasks[child.usize()].status.is_failure()).min();
            self.tasks[parent.usize()].failed_child = failed;
        }
    }

    fn find_needs(&mut self) {
        let waiting = self.those(|state, task| state.tasks[task.usize()].status == TaskStatus::Pending);
        for task in waiting {
            self.tasks[task.usize()].needs = Needs::all_open(self.graph.need_count(task));
        }
        for need in self.those(|state, task| state.tasks[task.usize()].status.is_final()) {
            let status = self.tasks[need.usize()].status;
            for dependent in self.graph.dependents(need) {
                let dependent = &mut self.tasks[dependent.usize()];
                if dependent.status == TaskStatus::Pending {
                    dependent.needs.note(need, status);
                }
            }
        }
    }

    fn those(&self, which: impl Fn(&Self, TaskIndex) -> bool) -> Vec<TaskIndex> {
        let tasks = 0..u32::try_from(self.tasks.len()).unwrap_or(u32::MAX);
        tasks.map(TaskIndex).filter(|task| which(self, *task)).collect()
    }
}
