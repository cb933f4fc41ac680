//! The service graph: the calls between services. They are estimated from the traces that are followed anyway
//! ([`crate::tail`]'s uniform sample of all traces, kept or not).
//!
//! A call has two halves: the span of the client, and its child, the span of the server. The half that comes first
//! waits for the other one. Each pair counts one call for each trace that its trace stands for. A database has no
//! spans, so the client's half is enough. The same is true of a peer that the client names and that sends no spans.

mod call;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;

use self::call::{Call, CallId, CallPlace, Half, name};
use super::SLICE_SPANS;
use super::exposition::{HistogramPart, Writer, bounds_text, write_label};
use crate::budget::Share;
use crate::tail::request::Fragment;
use crate::tail::table::Millis;

/// The most halves that wait. Some 20 traces a second are followed, each with some 20 halves.
const WAITING_MAX: usize = 16_384;

/// The time that a half waits for the other one: longer than most traces last.
const WAIT_MS: Millis = 30_000;

/// The number of entries up to which no memory is given back.
const CAPACITY_MIN: usize = 256;

/// The most pairs of services that are told apart. Further ones are counted together.
const EDGES_MAX: usize = 1_000;

/// The caller of a server whose span has no parent.
const USER: &str = "user";

/// The value of `connection_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ConnectionType {
    Plain,
    Database,
    Messaging,
    VirtualNode,
}

impl ConnectionType {
    fn label(self) -> &'static str {
        match self {
            ConnectionType::Plain => "",
            ConnectionType::Database => "database",
            ConnectionType::Messaging => "messaging_system",
            ConnectionType::VirtualNode => "virtual_node",
        }
    }
}

/// A pair of services. Empty names stand for all pairs beyond [`EDGES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EdgeKey {
    client: Arc<str>,
    server: Arc<str>,
    connection: ConnectionType,
}

#[derive(Clone, Debug)]
struct Edge {
    requests: u64,
    failed: u64,
    buckets: Box<[u64]>,
    sum_s: f64,
    last_ms: Millis,
}

/// A half that waits for the other one.
#[derive(Debug)]
struct Waiting {
    half: Half,
    since_ms: Millis,
    /// The number of its entry in the order.
    number: u64,
}

/// The calls between services.
#[derive(Debug)]
pub(super) struct ServiceGraph {
    bounds: Box<[u64]>,
    waiting: HashMap<CallId, Waiting, RandomState>,
    /// The halves in the order in which they came, each with a number of its own. Some may be gone; at most twice as many
    /// as may wait.
    order: VecDeque<(CallId, u64)>,
    next_number: u64,
    edges: HashMap<EdgeKey, Edge, RandomState>,
    expire_ms: Millis,
    /// Bytes of the names of the halves that wait. A name that several of them share counts for each.
    name_bytes: usize,
    /// The name of [`USER`].
    user: Arc<str>,
    /// The memory that is charged.
    share: Share,
}

/// A copy of the counts of a [`ServiceGraph`].
#[derive(Debug)]
pub(super) struct GraphCounts {
    bounds: Box<[u64]>,
    edges: Vec<(EdgeKey, Edge)>,
}

/// Takes the spans of followed traces, each with the number of traces that its trace stands for. They are read outside
/// the lock, because requests wait for it.
pub(super) fn follow(graph: &Mutex<ServiceGraph>, followed: &[(Fragment, u64)], now_ms: Millis) {
    let mut calls = Vec::new();
    for (fragment, weight) in followed {
        let fragment = fragment.peek();
        // The spans of a fragment are nearly always of one service.
        let mut last: Option<(&[u8], Arc<str>)> = None;
        for (message, service) in fragment.spans_with_service() {
            if last.as_ref().is_none_or(|(sent, _)| *sent != service) {
                last = Some((service, name(service)));
            }
            let Some((_, service)) = &last else { continue };
            calls.extend(Call::read(message, service, *weight));
            if calls.len() >= SLICE_SPANS {
                graph.lock().take(&mut calls, now_ms);
            }
        }
    }
    if !calls.is_empty() {
        graph.lock().take(&mut calls, now_ms);
    }
}

impl ServiceGraph {
    /// Creates a graph without any calls. The empty `share` becomes that of its memory.
    pub(super) fn new(bounds: &[u64], expire_after: Duration, share: Share) -> Self {
        ServiceGraph {
            bounds: bounds.into(),
            waiting: HashMap::default(),
            order: VecDeque::new(),
            next_number: 0,
            edges: HashMap::default(),
            expire_ms: expire_after.as_millis() as Millis,
            name_bytes: 0,
            user: USER.into(),
            share,
        }
    }

    /// Takes calls, and leaves `calls` empty.
    fn take(&mut self, calls: &mut Vec<Call>, now_ms: Millis) {
        for Call { place, half } in calls.drain(..) {
            match place {
                CallPlace::Database(database) => {
                    self.count(half.service.clone(), database, ConnectionType::Database, &half, now_ms);
                }
                CallPlace::FromOutside => {
                    let user = Arc::clone(&self.user);
                    self.count(user, half.service.clone(), ConnectionType::VirtualNode, &half, now_ms);
                }
                CallPlace::Between(call) => self.pair(call, half, now_ms),
            }
        }
        self.share.resize(self.heap_bytes());
    }

    /// Counts the call if its other half waits, or lets this one wait.
    fn pair(&mut self, call: CallId, half: Half, now_ms: Millis) {
        match self.waiting.get(&call) {
            Some(other) if other.half.is_server != half.is_server => {
                let Some(Waiting { half: other, .. }) = self.waiting.remove(&call) else { return };
                self.name_bytes = self.name_bytes.saturating_sub(other.bytes());
                let (client, server) = if half.is_server { (other, half) } else { (half, other) };
                let failed = client.failed || server.failed;
                let is_messaging = client.is_messaging || server.is_messaging;
                let connection = if is_messaging { ConnectionType::Messaging } else { ConnectionType::Plain };
                let server = Half { failed, ..server };
                self.count(client.service, server.service.clone(), connection, &server, now_ms);
            }
            // A span that came twice, or a client with several servers, of which the first one counts.
            Some(_) => {}
            None => {
                self.make_room(now_ms);
                self.name_bytes += half.bytes();
                self.order.push_back((call, self.next_number));
                self.waiting.insert(call, Waiting { half, since_ms: now_ms, number: self.next_number });
                self.next_number += 1;
            }
        }
    }

    /// Makes room for one more half.
    fn make_room(&mut self, now_ms: Millis) {
        // The halves of a call that is counted leave `waiting`, but not `order`.
        if self.order.len() >= 2 * WAITING_MAX {
            let waiting = &self.waiting;
            self.order.retain(|entry| half_of(waiting, entry).is_some());
        }
        while self.waiting.len() >= WAITING_MAX {
            self.expire_first(now_ms);
        }
    }

    fn count(&mut self, client: Arc<str>, server: Arc<str>, connection: ConnectionType, half: &Half, now_ms: Millis) {
        let mut key = EdgeKey { client, server, connection };
        if self.edges.len() >= EDGES_MAX && !self.edges.contains_key(&key) {
            key = EdgeKey { client: "".into(), server: "".into(), connection: ConnectionType::Plain };
        }
        let width = self.bounds.len() + 1;
        let bucket = self.bounds.partition_point(|&bound| bound < half.nanos);
        let new = || Edge { requests: 0, failed: 0, buckets: vec![0; width].into(), sum_s: 0.0, last_ms: now_ms };
        let edge = self.edges.entry(key).or_insert_with(new);
        edge.requests += half.weight;
        edge.failed += if half.failed { half.weight } else { 0 };
        edge.sum_s += half.nanos as f64 / 1e9 * half.weight as f64;
        edge.last_ms = now_ms;
        if let Some(count) = edge.buckets.get_mut(bucket) {
            *count += half.weight;
        }
    }

    /// Ends the wait of halves whose time is over, and removes pairs of services that were silent for long.
    pub(super) fn expire(&mut self, now_ms: Millis) {
        let is_over = |waiting: &Waiting| now_ms.saturating_sub(waiting.since_ms) >= WAIT_MS;
        while self.order.front().is_some_and(|entry| half_of(&self.waiting, entry).is_none_or(is_over)) {
            self.expire_first(now_ms);
        }
        let expire_ms = self.expire_ms;
        self.edges.retain(|_, edge| now_ms.saturating_sub(edge.last_ms) < expire_ms);
        self.shrink();
        self.share.resize(self.heap_bytes());
    }

    /// Gives back the memory that remains after a burst.
    fn shrink(&mut self) {
        let is_spare = |capacity: usize, len: usize| capacity > 4 * len.max(CAPACITY_MIN);
        if is_spare(self.order.capacity(), self.order.len()) {
            self.order.shrink_to(2 * self.order.len());
        }
        if is_spare(self.waiting.capacity(), self.waiting.len()) {
            self.waiting.shrink_to(2 * self.waiting.len());
        }
        if is_spare(self.edges.capacity(), self.edges.len()) {
            self.edges.shrink_to(2 * self.edges.len());
        }
    }

    /// Removes the first entry of the order, and ends the wait of its half. A client that names its peer counts as a call to a node without spans.
    fn expire_first(&mut self, now_ms: Millis) {
        let Some(entry) = self.order.pop_front() else { return };
        if half_of(&self.waiting, &entry).is_none() {
            return;
        }
        let Some(Waiting { mut half, .. }) = self.waiting.remove(&entry.0) else { return };
        self.name_bytes = self.name_bytes.saturating_sub(half.bytes());
        if let Some(peer) = half.peer.take().filter(|_| !half.is_server) {
            self.count(half.service.clone(), peer, ConnectionType::VirtualNode, &half, now_ms);
        }
    }

    /// Returns the bytes of memory that the graph takes.
    pub(super) fn heap_bytes(&self) -> usize {
        let edge = size_of::<Edge>() + (self.bounds.len() + 1) * size_of::<u64>() + 64;
        self.waiting.allocation_size()
            + self.name_bytes
            + self.order.capacity() * size_of::<(CallId, u64)>()
            + self.edges.allocation_size()
            + self.edges.len() * edge
    }

    /// Returns a copy of the counts, to be written without a lock.
    pub(super) fn counts(&self) -> GraphCounts {
        let edges = self.edges.iter().map(|(key, edge)| (key.clone(), edge.clone())).collect();
        GraphCounts { bounds: self.bounds.clone(), edges }
    }
}

impl GraphCounts {
    /// Writes all series.
    pub(super) fn render(self, writer: &mut Writer<'_>) {
        let bounds = bounds_text(&self.bounds);
        let labelled = self.edges.iter().map(|(key, edge)| (key.labels(), edge));
        let mut edges: Vec<(String, &Edge)> = labelled.collect();
        edges.sort_by(|(one, _), (other, _)| one.cmp(other));
        let name = "traces_service_graph_request";
        writer.family(name, "counter", "Calls between services; an estimate.");
        edges.iter().for_each(|(labels, edge)| writer.counter(name, labels, edge.requests));
        let name = "traces_service_graph_request_failed";
        writer.family(name, "counter", "Calls that failed; an estimate.");
        edges.iter().for_each(|(labels, edge)| writer.counter(name, labels, edge.failed));
        let name = "traces_service_graph_request_server_seconds";
        writer.family(name, "histogram", "Durations of calls on the side of the server; an estimate.");
        for (labels, edge) in &edges {
            let part = HistogramPart { bounds: &bounds, buckets: &edge.buckets, sum_s: edge.sum_s, exemplar: None };
            writer.histogram(name, labels, &part);
        }
    }
}

impl EdgeKey {
    fn labels(&self) -> String {
        let mut labels = String::new();
        if self.client.is_empty() && self.server.is_empty() {
            write_label(&mut labels, "otel_metric_overflow", "true");
            return labels;
        }
        write_label(&mut labels, "client", &self.client);
        write_label(&mut labels, "server", &self.server);
        if self.connection != ConnectionType::Plain {
            write_label(&mut labels, "connection_type", self.connection.label());
        }
        labels
    }
}

/// Returns the half of an entry of the order, if it still waits. A later half may have the same id.
fn half_of<'w>(
    waiting: &'w HashMap<CallId, Waiting, RandomState>,
    (call, number): &(CallId, u64),
) -> Option<&'w Waiting> {
    waiting.get(call).filter(|waiting| waiting.number == *number)
}

#[cfg(test)]
mod tests;
