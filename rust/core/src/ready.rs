//! The tasks that could start at once, by what they take: of those that take the same, only the first has to be looked at.

use crate::ids::TaskIndex;
use crate::spec::{Claim, Policy, Resource};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet, VecDeque};

/// What decides who goes first: priority, then the order of declaration.
type Place = (Reverse<i32>, TaskIndex);

/// Tasks waiting for a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    classes: Vec<Class>,
}

/// Those that take the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    claims: Box<[Claim]>,
    slotless: bool,
    tasks: BTreeSet<Place>,
}

impl Ready {
    fn class(&mut self, policy: &Policy) -> &mut BTreeSet<Place> {
        let is_its = |class: &Class| *class.claims == *policy.claims && class.slotless == policy.slotless;
        let at = self.classes.iter().position(is_its).unwrap_or_else(|| {
            let (claims, slotless) = (policy.claims.as_slice().into(), policy.slotless);
            self.classes.push(Class { claims, slotless, tasks: BTreeSet::new() });
            self.classes.len() - 1
        });
        &mut self.classes[at].tasks
    }

    pub(crate) fn insert(&mut self, task: TaskIndex, policy: &Policy) {
        self.class(policy).insert((Reverse(policy.priority), task));
    }

    pub(crate) fn remove(&mut self, task: TaskIndex, policy: &Policy) {
        self.class(policy).remove(&(Reverse(policy.priority), task));
    }

    /// Picks the first tasks that fit into what is free, in the order in which they should start; it is less by them afterwards.
    pub(crate) fn pick(
        &self,
        picked: &mut Vec<TaskIndex>,
        slots: &mut usize,
        use_of: &mut Cow<'_, Use>,
        held_back: &HashSet<TaskIndex>,
        now_ms: i64,
    ) {
        let may_start = |place: &&Place| !held_back.contains(&place.1);
        if let [class] = &self.classes[..]
            && class.claims.is_empty()
            && !class.slotless
        {
            let before = picked.len();
            picked.extend(class.tasks.iter().filter(may_start).take(*slots).map(|(_, task)| *task));
            *slots -= picked.len() - before;
            return;
        }
        if self.classes.is_empty() {
            return;
        }
        let use_of = use_of.to_mut();
        let mut heads: Vec<_> = self
            .classes
            .iter()
            .map(|class| (class, class.tasks.iter().filter(may_start).peekable()))
            .collect();
        loop {
            let fitting = heads.iter_mut().enumerate().filter(|(_, (class, _))| {
                (class.slotless || *slots > 0) && use_of.fits(&class.claims, now_ms)
            });
            let first = fitting.filter_map(|(i, (_, tasks))| tasks.peek().map(|place| (**place, i))).min();
            let Some(((_, task), i)) = first else {
                return;
            };
            let (class, tasks) = &mut heads[i];
            tasks.next();
            use_of.take(&class.claims, now_ms);
            *slots -= usize::from(!class.slotless);
            picked.push(task);
        }
    }

    /// Whether something waits that claims this resource.
    pub(crate) fn awaits(&self, resource: u32) -> bool {
        self.classes.iter().any(|class| claims_of(&class.claims, resource) > 0 && !class.tasks.is_empty())
    }
}

/// How much of a resource is claimed in all.
pub(crate) fn claims_of(claims: &[Claim], resource: u32) -> u64 {
    let its = claims.iter().filter(|claim| claim.resource == resource);
    its.fold(0, |sum, claim| sum.saturating_add(claim.amount))
}

/// How much of each resource is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Use {
    resources: Vec<Resource>,
    held: Vec<u64>,
    /// Of a rate: what was taken, and when, within its time.
    taken: Vec<VecDeque<(i64, u64)>>,
}

impl Use {
    pub(crate) fn new(resources: &[Resource]) -> Self {
        let count = resources.len();
        Self { resources: resources.to_vec(), held: vec![0; count], taken: vec![VecDeque::new(); count] }
    }

    pub(crate) fn resources(&self) -> &[Resource] {
        &self.resources
    }

    fn fits(&mut self, claims: &[Claim], now_ms: i64) -> bool {
        claims.iter().all(|claim| {
            let i = claim.resource as usize;
            self.forget(i, now_ms);
            self.resources.get(i).is_none_or(|resource| {
                self.held[i].saturating_add(claims_of(claims, claim.resource)) <= resource.capacity
            })
        })
    }

    pub(crate) fn take(&mut self, claims: &[Claim], now_ms: i64) {
        for claim in claims {
            let i = claim.resource as usize;
            self.forget(i, now_ms);
            if let Some(resource) = self.resources.get(i) {
                self.held[i] += claim.amount;
                if resource.per_ms.is_some() {
                    self.taken[i].push_back((now_ms, claim.amount));
                }
            }
        }
    }

    /// Forgets what was taken of a rate longer ago than its time.
    fn forget(&mut self, resource: usize, now_ms: i64) {
        let Some(per_ms) = self.resources.get(resource).and_then(|resource| resource.per_ms) else {
            return;
        };
        let taken = &mut self.taken[resource];
        let is_over = |(at_ms, _): &(i64, u64)| at_ms.saturating_add_unsigned(per_ms) <= now_ms;
        while taken.front().is_some_and(is_over) {
            self.held[resource] -= taken.pop_front().map_or(0, |(_, amount)| amount);
        }
    }

    pub(crate) fn give_back(&mut self, claims: &[Claim]) {
        for claim in claims {
            let i = claim.resource as usize;
            if self.resources.get(i).is_some_and(|resource| resource.per_ms.is_none()) {
                self.held[i] -= claim.amount;
            }
        }
    }

    /// When, after now, the first part of a rate that is waited for is free again.
    pub(crate) fn next_due_ms(&self, now_ms: i64, is_awaited: impl Fn(u32) -> bool) -> Option<i64> {
        let due = |(i, resource): (usize, &Resource)| {
            let per_ms = resource.per_ms?;
            let mut due = self.taken[i].iter().map(|(at_ms, _)| at_ms.saturating_add_unsigned(per_ms));
            let due_ms = due.find(|due_ms| *due_ms > now_ms)?;
            is_awaited(u32::try_from(i).ok()?).then_some(due_ms)
        };
        self.resources.iter().enumerate().filter_map(due).min()
    }
}
