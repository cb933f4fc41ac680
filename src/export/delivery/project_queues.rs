//! All queues, and which of them starts the next call. Time is an argument.
//!
//! Invariants
//! - What a step costs does not grow with the number of projects, which senders choose where any project is allowed: every
//!   change of a queue goes through [`ProjectQueues::with`], which keeps the order and the sums.
//! - Projects take turns: of those that may start a call, the one that has waited longest does.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::pace::{PROJECT_CALLS_MAX, Pace};
use super::project_queue::{ProjectQueue, Work};
use crate::budget::{Budget, Share};
use crate::config::settings;
use crate::export::retry::Action;
use crate::export::spool::QueuedBatch;

/// Projects whose pace is remembered though nothing of them waits.
const QUEUES_KEPT_MAX: usize = 64;
/// A queue of a further project counts in the memory budget with this: the queue, its name, its places in the orders.
const QUEUE_BYTES: usize = 1024;

/// The classes of queues, each with places of its own for calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Class {
    /// The last calls of the project were answered well, or it is the daemon's own.
    Proven,
    /// The last calls of the project failed, after others were answered well: it is probed with one call at a time.
    Away,
    /// No call of the project was answered well so far. Senders may make up such projects.
    Trial,
}

impl Class {
    pub(super) const ALL: [Class; 3] = [Class::Proven, Class::Away, Class::Trial];
}

/// What the orders and sums know of a queue.
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

/// A queue of projects by time.
type ProjectsByTime = BTreeSet<(Instant, Arc<str>)>;

/// The projects with so much in memory that the spool is to give nothing of them. The spool's thread reads it, too.
pub(super) type SuppliedProjects = Arc<RwLock<HashSet<Arc<str>>>>;

/// The queues of the projects with batches, and of those that had some lately.
#[derive(Debug)]
pub(super) struct ProjectQueues {
    limits: settings::BatchSettings,
    /// Between calls of a project.
    call_interval: Duration,
    /// The daemon's own project.
    own: Option<Arc<str>>,
    /// Returns the name of a project as the log shows it.
    shown_project: fn(&str) -> Option<&str>,
    budget: Budget,
    slots: HashMap<Arc<str>, Slot>,
    /// When queues may start a call, by class.
    ready: [ProjectsByTime; Class::ALL.len()],
    /// Since when the oldest batches wait that the spool does not have.
    spillable: ProjectsByTime,
    /// Spans that wait because calls fail, by what their queues ask for.
    held_up: Vec<(Action, u64)>,
    /// ProjectQueues with something to do, by their limit of calls.
    limited: [usize; PROJECT_CALLS_MAX + 1],
    waiting_bytes: usize,
    supplied: SuppliedProjects,
}

impl ProjectQueues {
    /// ProjectQueues whose batches may be joined to as much as `limits`. ProjectQueues beyond the first ones count in `budget`.
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

    /// Changes the queue of `project`, which is made if there is none.
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
            // They wait for nothing, so that no order has them.
            self.slots.retain(|_, slot| !slot.queue.is_forgettable(now));
        }
        let share = (self.slots.len() >= QUEUES_KEPT_MAX).then(|| self.budget.force(QUEUE_BYTES));
        let is_own = self.own.as_ref() == Some(project);
        let alarm = Alarm::new((self.shown_project)(project).map(Arc::from));
        let queue = ProjectQueue::new(alarm, self.limits.clone(), Pace::new(self.call_interval, now), is_own);
        Slot { queue, view: View::default(), _share: share }
    }

    /// Brings orders and sums to what the queue is now.
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

    /// When the next queue of this class may start a call.
    pub(super) fn ready_at(&self, class: Class) -> Option<Instant> {
        self.ready[class as usize].first().map(|(at, _)| *at)
    }

    /// The next batch of this class, if a call may start now.
    pub(super) fn start(&mut self, class: Class, now: Instant) -> Option<Work> {
        let (at, project) = self.ready[class as usize].first()?;
        let project = Arc::clone(project);
        let budget = self.budget.clone();
        (*at <= now).then(|| self.with(&project, now, |queue| queue.start(now, &budget)))?
    }

    /// Takes out the oldest batch that the spool does not have, filled up with those that wait behind it.
    pub(super) fn spill_oldest(&mut self, now: Instant) -> Option<QueuedBatch> {
        let project = Arc::clone(&self.spillable.first()?.1);
        let budget = self.budget.clone();
        self.with(&project, now, |queue| queue.spill(&budget))
    }

    /// Bytes of all waiting batches.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether nothing waits and no call is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.limited.iter().all(|queues| *queues == 0)
    }

    /// What queues wait for because calls fail, with the number of their spans.
    pub(super) fn held_up(&self) -> impl Iterator<Item = (Action, u64)> {
        self.held_up.iter().copied()
    }

    /// The least limit of calls of a queue with something to do.
    pub(super) fn calls_limit_min(&self) -> Option<usize> {
        self.limited.iter().position(|queues| *queues > 0)
    }

    /// Lets every project be probed at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        let projects: Vec<Arc<str>> = self.slots.keys().cloned().collect();
        projects.iter().for_each(|project| self.with(project, now, |queue| queue.hurry(now)));
    }

    /// The projects of which nothing is to be read from the spool, always as they are now.
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
