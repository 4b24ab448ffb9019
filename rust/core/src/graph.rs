//! Who waits for whom, in compressed rows: two flat arrays for any number of tasks, and no recursion.
//!
//! Tasks that come later, while the run goes on, are kept beside the rows: they are few, or come one at a time.

use crate::ids::TaskIndex;
use std::collections::HashMap;

/// The tasks that wait for each task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// `dependents[starts[i]..starts[i + 1]]` wait for task `i`.
    starts: Vec<u32>,
    dependents: Vec<TaskIndex>,
    /// How many tasks each one needs.
    need_counts: Vec<u32>,
    /// Those that came later and wait for a task.
    later: HashMap<TaskIndex, Vec<TaskIndex>>,
}

/// Tasks that wait for each other: each needs the next, the last needs the first. The shortest such circle.
#[derive(Debug, PartialEq, Eq)]
pub struct Cycle(pub Vec<TaskIndex>);

impl Graph {
    /// Builds the rows from what each task needs, in the order of the tasks.
    pub fn new<'a>(needs: impl ExactSizeIterator<Item = &'a [TaskIndex]> + Clone) -> Self {
        // Counted two places on and filled one place on, each row's start ends up where it belongs.
        let mut starts = vec![0u32; needs.len() + 2];
        for need in needs.clone().flatten() {
            starts[need.usize() + 2] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut dependents = vec![TaskIndex(0); starts.pop().unwrap_or(0) as usize];
        let mut need_counts = Vec::with_capacity(needs.len());
        for (task, its_needs) in (0u32..).zip(needs) {
            need_counts.push(u32::try_from(its_needs.len()).unwrap_or(u32::MAX));
            for need in its_needs {
                let place = &mut starts[need.usize() + 1];
                dependents[*place as usize] = TaskIndex(task);
                *place += 1;
            }
        }
        Self { starts, dependents, need_counts, later: HashMap::new() }
    }

    /// Adds a task after all others; it may need any of them.
    pub fn push(&mut self, needs: &[TaskIndex]) {
        let task = TaskIndex(u32::try_from(self.need_counts.len()).unwrap_or(u32::MAX));
        self.need_counts.push(u32::try_from(needs.len()).unwrap_or(u32::MAX));
        for need in needs {
            self.later.entry(*need).or_default().push(task);
        }
    }

    /// The tasks that wait for this one.
    pub fn dependents(&self, task: TaskIndex) -> impl Iterator<Item = TaskIndex> + '_ {
        let i = task.usize();
        let row = match self.starts.get(i..i + 2) {
            Some(&[start, end]) => &self.dependents[start as usize..end as usize],
            _ => &[],
        };
        let later = if self.later.is_empty() { None } else { self.later.get(&task) };
        row.iter().chain(later.into_iter().flatten()).copied()
    }

    /// Whether there are no tasks.
    pub fn is_empty(&self) -> bool {
        self.need_counts.is_empty()
    }

    /// How many tasks this one needs.
    pub fn need_count(&self, task: TaskIndex) -> u32 {
        self.need_counts[task.usize()]
    }

    /// Checks that there is an order in which every task can run.
    ///
    /// # Errors
    ///
    /// The shortest circle of tasks that wait for each other.
    pub fn check(&self) -> Result<(), Cycle> {
        let mut unmet = self.need_counts.clone();
        let mut free: Vec<TaskIndex> =
            (0u32..).zip(&unmet).filter(|(_, n)| **n == 0).map(|(i, _)| TaskIndex(i)).collect();
        let mut done = 0;
        while let Some(task) = free.pop() {
            done += 1;
            for dependent in self.dependents(task) {
                unmet[dependent.usize()] -= 1;
                if unmet[dependent.usize()] == 0 {
                    free.push(dependent);
                }
            }
        }
        if done == unmet.len() { Ok(()) } else { Err(self.shortest_cycle(&unmet)) }
    }

    /// Finds the shortest circle among the tasks that never became free.
    ///
    /// Breadth first from each of them, never looking further than the best found so far; bounded in all, so that a
    /// hostile graph costs a longer circle and not an hour.
    fn shortest_cycle(&self, unmet: &[u32]) -> Cycle {
        const MOST_STEPS: usize = 20_000_000;
        let stuck = |task: TaskIndex| unmet[task.usize()] > 0;
        let mut best: Vec<TaskIndex> = Vec::new();
        let mut came_from: Vec<(u32, u32)> = vec![(u32::MAX, 0); unmet.len()];
        let mut steps = 0;
        for root in (0u32..).map(TaskIndex).take(unmet.len()).filter(|task| stuck(*task)) {
            let mut queue = std::collections::VecDeque::from([(root, 1usize)]);
            came_from[root.usize()] = (root.0, root.0);
            'search: while let Some((task, length)) = queue.pop_front() {
                if !best.is_empty() && length >= best.len() {
                    break;
                }
                for next in self.dependents(task) {
                    steps += 1;
                    if next == root {
                        // Walking back along who-came-from-whom names each task before the one it needs … the root.
                        let mut circle = vec![task];
                        while let Some(&last) = circle.last().filter(|last| **last != root) {
                            circle.push(TaskIndex(came_from[last.usize()].1));
                        }
                        best = circle;
                        break 'search;
                    }
                    if stuck(next) && came_from[next.usize()].0 != root.0 {
                        came_from[next.usize()] = (root.0, task.0);
                        queue.push_back((next, length + 1));
                    }
                }
            }
            if best.len() == 1 || (steps > MOST_STEPS && !best.is_empty()) {
                break;
            }
        }
        Cycle(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(needs: &[&[u32]]) -> Graph {
        let rows: Vec<Vec<TaskIndex>> =
            needs.iter().map(|row| row.iter().copied().map(TaskIndex).collect()).collect();
        Graph::new(rows.iter().map(Vec::as_slice))
    }

    #[track_caller]
    fn check(needs: &[&[u32]], expected: Result<(), &[u32]>) {
        let expected = expected.map_err(|cycle| Cycle(cycle.iter().copied().map(TaskIndex).collect()));
        assert_eq!(graph(needs).check(), expected);
    }

    #[test]
    fn a_graph_without_a_circle_passes() {
        check(&[], Ok(()));
        check(&[&[], &[0], &[0, 1]], Ok(()));
    }

    #[test]
    fn the_shortest_circle_is_named_in_the_order_of_needing() {
        check(&[&[0]], Err(&[0]));
        check(&[&[1], &[2], &[0]], Err(&[1, 2, 0]));
        check(&[&[3], &[0], &[1], &[2, 4], &[3]], Err(&[4, 3]));
        check(&[&[3], &[0, 2], &[1], &[2]], Err(&[2, 1]));
    }

    #[test]
    fn a_circle_of_a_hundred_thousand_is_found_without_recursion() {
        let n = 100_000u32;
        let rows: Vec<Vec<TaskIndex>> = (0..n).map(|i| vec![TaskIndex((i + 1) % n)]).collect();
        let Err(Cycle(members)) = Graph::new(rows.iter().map(Vec::as_slice)).check() else {
            panic!("the circle was not found");
        };
        assert_eq!(members.len(), n as usize);
    }

    #[test]
    fn dependents_are_those_that_wait() {
        let graph = graph(&[&[], &[0], &[0, 1]]);
        let dependents = |task| graph.dependents(TaskIndex(task)).map(|task| task.0).collect::<Vec<_>>();
        assert_eq!(dependents(0), [1, 2]);
        assert_eq!(graph.need_count(TaskIndex(2)), 2);
    }

    #[test]
    fn a_task_that_comes_later_waits_like_any_other() {
        let mut graph = graph(&[&[], &[0]]);
        graph.push(&[TaskIndex(0), TaskIndex(1)]);
        graph.push(&[TaskIndex(2)]);
        let dependents = |task| graph.dependents(TaskIndex(task)).map(|task| task.0).collect::<Vec<_>>();
        assert_eq!(
            [dependents(0), dependents(1), dependents(2), dependents(3)],
            [vec![1, 2], vec![2], vec![3], vec![]]
        );
        assert_eq!(graph.need_count(TaskIndex(2)), 2);
    }
}
