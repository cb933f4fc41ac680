//! Spans by service, kept and dropped. A service is known by its `service.name`, which senders choose. So the number of
//! services is bounded, and each name is short and readable, no matter how many names senders send and what the names
//! contain.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::RwLock;

use super::tally::SpanAmount;

/// The most bytes of a name as it was sent. Longer names are cut.
pub const NAME_BYTES_MAX: usize = 64;
/// The label of all names after the first ones. A sender with this very name is counted there, too.
pub const OTHER: &str = "other";

/// The names as they were sent that are remembered for each service. Most services have one.
const SENT_NAMES_EACH: usize = 2;

/// The number of a service. 0 stands for all services after the first ones.
pub type ServiceNumber = u16;

/// The number of [`OTHER`].
const OTHER_NUMBER: ServiceNumber = 0;

/// The services that were seen since the process began, with their spans. Clones share them.
#[derive(Clone, Debug)]
pub struct Services(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    names: RwLock<Names>,
    /// The counts by number, all of them from the start.
    counts: Box<[Counts]>,
}

#[derive(Debug)]
struct Names {
    /// The labels by number.
    labels: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, ServiceNumber>,
    /// The numbers of names as they were sent, so that a name need not be made readable each time.
    sent: HashMap<Box<[u8]>, ServiceNumber>,
    max: usize,
}

#[derive(Debug, Default)]
struct Counts {
    kept_spans: AtomicU64,
    kept_bytes: AtomicU64,
    dropped_spans: AtomicU64,
    dropped_bytes: AtomicU64,
}

/// Dropped spans by service that are not counted yet. They save two atomic operations for each fragment.
#[derive(Debug, Default)]
pub struct ServiceTally {
    /// The amounts by number.
    amounts: Vec<SpanAmount>,
    /// The numbers that have spans.
    numbers: Vec<ServiceNumber>,
}

/// The spans of one service whose traces are decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAmounts {
    /// The label of the service.
    pub service: Arc<str>,
    /// Spans of kept traces.
    pub kept: SpanAmount,
    /// Spans of dropped traces.
    pub dropped: SpanAmount,
}

impl Services {
    /// The most services, if the configuration does not say it: more than most projects have, and still few series.
    pub const MAX_DEFAULT: usize = 100;

    /// Creates a ledger that tells `max` services apart.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let other: Arc<str> = OTHER.into();
        let names = Names {
            numbers: HashMap::from([(Arc::clone(&other), OTHER_NUMBER)]),
            labels: vec![other],
            sent: HashMap::new(),
            max: max.min(usize::from(ServiceNumber::MAX)),
        };
        let counts = (0..=names.max).map(|_| Counts::default()).collect();
        Services(Arc::new(Inner { names: RwLock::new(names), counts }))
    }

    /// Returns the number of the service with this name, which may be any bytes.
    #[inline]
    #[must_use]
    pub fn number(&self, sent: &[u8]) -> ServiceNumber {
        let sent = &sent[..sent.len().min(NAME_BYTES_MAX)];
        let names = self.0.names.read();
        if let Some(&number) = names.sent.get(sent) {
            return number;
        }
        if names.is_full() {
            // All labels are among the names as they were sent, so a legible name that is not has no label.
            let known = if is_legible(sent) { None } else { names.numbers.get(&*legible(sent)).copied() };
            return known.unwrap_or(OTHER_NUMBER);
        }
        drop(names);
        self.0.names.write().number(sent)
    }

    /// Returns the label of the service with this name: the name, cut to [`NAME_BYTES_MAX`], with U+FFFD for control
    /// characters and for bytes that are not UTF-8. Returns [`OTHER`] if there are too many services.
    #[must_use]
    pub fn label(&self, sent: &[u8]) -> Arc<str> {
        let number = self.number(sent);
        let names = self.0.names.read();
        Arc::clone(names.labels.get(usize::from(number)).unwrap_or(&names.labels[0]))
    }

    /// Counts spans of a service whose trace is decided.
    #[inline]
    pub(super) fn count(&self, number: ServiceNumber, is_kept: bool, amount: SpanAmount) {
        let Some(counts) = self.0.counts.get(usize::from(number)) else { return };
        let (spans, bytes) = match is_kept {
            true => (&counts.kept_spans, &counts.kept_bytes),
            false => (&counts.dropped_spans, &counts.dropped_bytes),
        };
        spans.fetch_add(amount.spans, Relaxed);
        bytes.fetch_add(amount.bytes, Relaxed);
    }

    /// Returns the amounts of all services in the order in which they came, beginning with those of [`OTHER`].
    #[must_use]
    pub fn amounts(&self) -> Vec<ServiceAmounts> {
        let names = self.0.names.read();
        let get = |spans: &AtomicU64, bytes: &AtomicU64| SpanAmount {
            spans: spans.load(Relaxed),
            bytes: bytes.load(Relaxed),
        };
        let amounts = names.labels.iter().zip(&self.0.counts).map(|(service, counts)| ServiceAmounts {
            service: Arc::clone(service),
            kept: get(&counts.kept_spans, &counts.kept_bytes),
            dropped: get(&counts.dropped_spans, &counts.dropped_bytes),
        });
        amounts.collect()
    }
}

impl ServiceTally {
    /// Adds spans of a service.
    #[inline]
    pub(super) fn add(&mut self, number: ServiceNumber, amount: SpanAmount) {
        let at = usize::from(number);
        if at >= self.amounts.len() {
            self.amounts.resize(at + 1, SpanAmount::default());
        }
        let known = &mut self.amounts[at];
        if known.spans == 0 {
            self.numbers.push(number);
        }
        *known += amount;
    }

    /// Counts the spans of all services as dropped. Empties the tally.
    pub(super) fn count(&mut self, services: &Services) {
        for number in self.numbers.drain(..) {
            let amount = self.amounts.get_mut(usize::from(number)).map(std::mem::take).unwrap_or_default();
            services.count(number, false, amount);
        }
    }

    /// Returns the bytes of memory that the tally takes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.amounts.capacity() * size_of::<SpanAmount>() + self.numbers.capacity() * size_of::<ServiceNumber>()
    }
}

impl Default for Services {
    fn default() -> Self {
        Services::new(Services::MAX_DEFAULT)
    }
}

impl Names {
    /// Returns true if no further service is told apart.
    fn is_full(&self) -> bool {
        self.labels.len() > self.max
    }

    fn number(&mut self, sent: &[u8]) -> ServiceNumber {
        let label = legible(sent);
        let number = match self.numbers.get(&*label) {
            Some(&number) => number,
            None if self.is_full() => return OTHER_NUMBER,
            None => self.add(label.as_str().into()),
        };
        if self.sent.len() < SENT_NAMES_EACH * (self.max + 1) {
            self.sent.insert(sent.into(), number);
        }
        number
    }

    fn add(&mut self, label: Arc<str>) -> ServiceNumber {
        let number = self.labels.len() as ServiceNumber;
        // The label itself is remembered in any case: `Services::number` relies on that.
        self.sent.insert(label.as_bytes().into(), number);
        self.labels.push(Arc::clone(&label));
        self.numbers.insert(label, number);
        number
    }
}

/// Returns true if [`legible`] would not change the name.
fn is_legible(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| !name.chars().any(char::is_control))
}

/// Returns a name that a sender chose as readable text: cut to [`NAME_BYTES_MAX`], with U+FFFD for control characters and
/// for bytes that are not UTF-8.
#[must_use]
pub fn legible(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(&name[..name.len().min(NAME_BYTES_MAX)]);
    name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests;
