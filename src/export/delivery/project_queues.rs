//! All project queues, and the choice of the queue that starts the next call. Time is an argument.
//!
//! Invariants
//! - The cost of a step does not grow with the number of projects. If every project is allowed, senders determine this
//!   number. Every change of a queue goes through [`ProjectQueues::with`], which updates the orders and the sums.
//! - Projects take turns: of those that may start a call, the one that has waited longest is first.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::pace::{PROJECT_CALLS_MAX, Pace};
use super::project_queue::{ProjectQueue, Work};
use crate::budget::{Budget, Share};
use crate::export::retry::Action;
use crate::export::settings;
use crate::export::spool::QueuedBatch;

/// The number of queues that are kept, with their pace, although they are empty.
const QUEUES_KEPT_MAX: usize = 64;
/// Bytes that each queue beyond the first [`QUEUES_KEPT_MAX`] is charged to the memory budget: the queue, its name, and
/// its entries in the orders.
const QUEUE_BYTES: usize = 1024;

/// A class of queues. Each class has its own call slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Class {
    /// The last calls of the project succeeded, or it is the daemon's own project.
    Proven,
    /// The last calls of the project failed, and earlier ones succeeded. One call at a time tests it.
    Away,
    /// No call of the project has succeeded so far. Senders may invent such projects.
    Trial,
}

impl Class {
    pub(super) const ALL: [Class; 3] = [Class::Proven, Class::Away, Class::Trial];
}

/// The properties of a queue from which the orders and sums are computed.
#[derive(Debug, Default)]
struct View {
    ready: Option<(Class, Instant)>,
    spillable: Option<Instant>,
    held_up: Option<(Action, u64)>,
    calls_limit: Option<usize>,
    waiting_bytes: usize,
    is_supplied: bool,
}

#[derive(Debug)]
struct Slot {
    queue: ProjectQueue,
    view: View,
    _share: Option<Share>,
}

/// Projects in the order of a time.
type ProjectsByTime = BTreeSet<(Instant, Arc<str>)>;

/// The projects with so many batches in memory that none is read from the spool. The spool's thread also reads this
/// set.
pub(super) type SuppliedProjects = Arc<RwLock<HashSet<Arc<str>>>>;

/// The queues of all projects with batches, and of some without.
#[derive(Debug)]
pub(super) struct ProjectQueues {
    limits: settings::BatchSettings,
    /// The shortest time between calls of a project.
    call_interval: Duration,
    /// The daemon's own project.
    own: Option<Arc<str>>,
    /// Returns the name of a project for the log.
    shown_project: fn(&str) -> Option<&str>,
    budget: Budget,
    slots: HashMap<Arc<str>, Slot>,
    /// The times at which queues may start a call, for each class.
    ready: [ProjectsByTime; Class::ALL.len()],
    /// The times since which the oldest batches wait that are not in the spool.
    spillable: ProjectsByTime,
    /// The number of spans that wait because calls fail, for each action.
    held_up: Vec<(Action, u64)>,
    /// The number of queues that are not idle, for each limit of concurrent calls.
    limited: [usize; PROJECT_CALLS_MAX + 1],
    waiting_bytes: usize,
    supplied: SuppliedProjects,
}

impl ProjectQueues {
    /// Creates an empty set of queues. Batches are joined up to `limits`. Queues beyond the first [`QUEUES_KEPT_MAX`]
    /// are charged to `budget`.
    pub(super) fn new(
        limits: settings::BatchSettings,
        call_interval: Duration,
        own: Option<Arc<str>>,
        shown_project: fn(&str) -> Option<&str>,
        budget: Budget,
    ) -> Self {
        ProjectQueues {
            limits,
            call_interval,
            own,
            shown_project,
            budget,
            slots: HashMap::new(),
            ready: Default::default(),
            spillable: ProjectsByTime::new(),
            held_up: Vec::new(),
            limited: [0; PROJECT_CALLS_MAX + 1],
            waiting_bytes: 0,
            supplied: SuppliedProjects::default(),
        }
    }

    /// Changes the queue of `project`, which is created if it does not exist.
    pub(super) fn with<T>(
        &mut self,
        project: &Arc<str>,
        now: Instant,
        change: impl FnOnce(&mut ProjectQueue) -> T,
    ) -> T {
        let slot = self.slots.remove(project);
        let mut slot = slot.unwrap_or_else(|| self.new_slot(project, now));
        let result = change(&mut slot.queue);
        self.observe(project, &mut slot);
        self.slots.insert(Arc::clone(project), slot);
        result
    }

    fn new_slot(&mut self, project: &Arc<str>, now: Instant) -> Slot {
        let idle_queues = self.slots.len() - self.limited.iter().sum::<usize>();
        if idle_queues >= QUEUES_KEPT_MAX {
            // A queue that can be deleted waits for nothing, so it is not in any order.
            self.slots.retain(|_, slot| !slot.queue.is_forgettable(now));
        }
        let share = (self.slots.len() >= QUEUES_KEPT_MAX).then(|| self.budget.force(QUEUE_BYTES));
        let is_own = self.own.as_ref() == Some(project);
        let alarm = Alarm::new((self.shown_project)(project).map(Arc::from));
        let queue = ProjectQueue::new(alarm, self.limits.clone(), Pace::new(self.call_interval, now), is_own);
        Slot { queue, view: View::default(), _share: share }
    }

    /// Updates the orders and sums after a change of the queue.
    fn observe(&mut self, project: &Arc<str>, slot: &mut Slot) {
        let queue = &slot.queue;
        let view = View {
            ready: queue.ready_at().map(|at| (queue.class(), at)),
            spillable: queue.next_spilled(),
            held_up: queue.held_up(),
            calls_limit: (!queue.is_idle()).then(|| queue.calls_limit()),
            waiting_bytes: queue.waiting_bytes(),
            is_supplied: !queue.needs_batches(),
        };
        let old = std::mem::replace(&mut slot.view, view);
        let new = &slot.view;
        for class in Class::ALL {
            let at = |view: &View| view.ready.filter(|(of, _)| *of == class).map(|(_, at)| at);
            reorder(&mut self.ready[class as usize], project, at(&old), at(new));
        }
        reorder(&mut self.spillable, project, old.spillable, new.spillable);
        match (old.is_supplied, new.is_supplied) {
            (false, true) => _ = self.supplied.write().insert(Arc::clone(project)),
            (true, false) => _ = self.supplied.write().remove(project),
            _ => {}
        }
        if let Some((action, spans)) = old.held_up {
            *self.held_up_by(action) -= spans;
        }
        if let Some((action, spans)) = new.held_up {
            *self.held_up_by(action) += spans;
        }
        if let Some(limit) = old.calls_limit {
            self.limited[limit] -= 1;
        }
        if let Some(limit) = new.calls_limit {
            self.limited[limit] += 1;
        }
        self.waiting_bytes = self.waiting_bytes - old.waiting_bytes + new.waiting_bytes;
    }

    fn held_up_by(&mut self, action: Action) -> &mut u64 {
        let at = self.held_up.iter().position(|(of, _)| *of == action).unwrap_or_else(|| {
            self.held_up.push((action, 0));
            self.held_up.len() - 1
        });
        &mut self.held_up[at].1
    }

    /// Returns the time at which the next queue of this class may start a call.
    pub(super) fn ready_at(&self, class: Class) -> Option<Instant> {
        self.ready[class as usize].first().map(|(at, _)| *at)
    }

    /// Returns the next batch of this class, if a call may start now.
    pub(super) fn start(&mut self, class: Class, now: Instant) -> Option<Work> {
        let (at, project) = self.ready[class as usize].first()?;
        let project = Arc::clone(project);
        let budget = self.budget.clone();
        (*at <= now).then(|| self.with(&project, now, |queue| queue.start(now, &budget)))?
    }

    /// Removes and returns the oldest batch that is not in the spool. Batches behind it are joined to it.
    pub(super) fn spill_oldest(&mut self, now: Instant) -> Option<QueuedBatch> {
        let project = Arc::clone(&self.spillable.first()?.1);
        let budget = self.budget.clone();
        self.with(&project, now, |queue| queue.spill(&budget))
    }

    /// Returns the bytes of all waiting batches.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Returns true if nothing waits and no call is running.
    pub(super) fn is_idle(&self) -> bool {
        self.limited.iter().all(|queues| *queues == 0)
    }

    /// Returns the actions for which spans wait because calls fail, each with the number of spans.
    pub(super) fn held_up(&self) -> impl Iterator<Item = (Action, u64)> {
        self.held_up.iter().copied()
    }

    /// Returns the lowest limit of concurrent calls among the queues that are not idle.
    pub(super) fn calls_limit_min(&self) -> Option<usize> {
        self.limited.iter().position(|queues| *queues > 0)
    }

    /// Lets every queue start its next call at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        let projects: Vec<Arc<str>> = self.slots.keys().cloned().collect();
        projects.iter().for_each(|project| self.with(project, now, |queue| queue.hurry(now)));
    }

    /// Returns the set of projects for which nothing is read from the spool. The set stays up to date.
    pub(super) fn supplied(&self) -> SuppliedProjects {
        Arc::clone(&self.supplied)
    }
}

/// Moves `project` in `order` from one time to another.
fn reorder(order: &mut ProjectsByTime, project: &Arc<str>, from: Option<Instant>, to: Option<Instant>) {
    if from == to {
        return;
    }
    if let Some(from) = from {
        order.remove(&(from, Arc::clone(project)));
    }
    if let Some(to) = to {
        order.insert((to, Arc::clone(project)));
    }
}
