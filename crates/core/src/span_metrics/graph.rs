//! The service graph: the calls between services. They are estimated from the traces that are followed anyway
//! ([`crate::tail`]'s uniform sample of all traces, kept or not).
//!
//! A call has two halves: the span of the client, and its child, the span of the server. The half that comes first
//! waits for the other one. Each pair counts one call for each trace that its trace stands for. A database has no
//! spans, so the client's half is enough. The same is true of a peer that the client names and that sends no spans.

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::duration_nanos;
use super::exposition::{HistogramPart, Writer, bounds_text, write_label};
use super::label;
use crate::otlp::fields::span;
use crate::otlp::view::{self, AnyValue, StatusCode};
use crate::otlp::wire::{Reader, WireValue};
use crate::tail::request::OpenFragment;
use crate::tail::table::Millis;

/// The most halves that wait. Some 20 traces a second are followed, each with some 20 halves.
const WAITING_MAX: usize = 16_384;

/// The time that a half waits for the other one: longer than most traces last.
const WAIT_MS: Millis = 30_000;

/// The most pairs of services that are told apart. Further ones are counted together.
const EDGES_MAX: usize = 1_000;

const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// The caller of a server whose span has no parent.
const USER: &str = "user";

/// Attributes of a client that name a database, in the order in which they are asked.
const DATABASE: [&[u8]; 4] = [b"db.namespace", b"db.name", b"db.system.name", b"db.system"];

/// Attributes of a client that name a peer, in the order in which they are asked.
const PEER: [&[u8]; 3] = [b"peer.service", b"service.peer.name", b"server.address"];

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
    client: Box<str>,
    server: Box<str>,
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

/// The ids of a trace and of the client's span.
type CallId = ([u8; 16], [u8; 8]);

/// One half of a call, which waits for the other one.
#[derive(Debug)]
struct Half {
    is_server: bool,
    service: Box<str>,
    /// The peer that a client names.
    peer: Option<Box<str>>,
    is_messaging: bool,
    failed: bool,
    nanos: u64,
    weight: u64,
    since_ms: Millis,
}

/// The calls between services.
#[derive(Debug)]
pub(super) struct ServiceGraph {
    bounds: Box<[u64]>,
    waiting: HashMap<CallId, Half, RandomState>,
    /// The halves in the order in which they came. Some may be gone.
    order: VecDeque<(CallId, Millis)>,
    edges: HashMap<EdgeKey, Edge, RandomState>,
    expire_ms: Millis,
    /// Bytes of all names.
    name_bytes: usize,
}

/// The parts of a span that the graph needs.
#[derive(Debug, Default)]
struct GraphSpan<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent_span_id: &'a [u8],
    kind: i32,
    start_unix_nano: u64,
    end_unix_nano: u64,
    failed: bool,
    /// The values of [`DATABASE`] and of [`PEER`].
    database: [&'a [u8]; DATABASE.len()],
    peer: [&'a [u8]; PEER.len()],
}

impl<'a> GraphSpan<'a> {
    fn read(message: &'a [u8]) -> Self {
        let mut found = GraphSpan::default();
        let mut reader = Reader::new(message);
        while let Ok(Some(field)) = reader.field() {
            match field {
                (span::TRACE_ID, WireValue::Len(v)) => found.trace_id = v,
                (span::SPAN_ID, WireValue::Len(v)) => found.span_id = v,
                (span::PARENT_SPAN_ID, WireValue::Len(v)) => found.parent_span_id = v,
                (span::KIND, WireValue::Varint(v)) => found.kind = v as i32,
                (span::START_TIME_UNIX_NANO, WireValue::Fixed64(v)) => found.start_unix_nano = v,
                (span::END_TIME_UNIX_NANO, WireValue::Fixed64(v)) => found.end_unix_nano = v,
                (span::STATUS, WireValue::Len(v)) => found.failed = view::status(v).0 == StatusCode::Error,
                (span::ATTRIBUTES, WireValue::Len(v)) => found.attribute(view::key_value(v)),
                _ => {}
            }
        }
        found
    }

    fn attribute(&mut self, (key, value): (&'a [u8], AnyValue<'a>)) {
        let AnyValue::String(value) = value else { return };
        let known = DATABASE.iter().zip(&mut self.database).chain(PEER.iter().zip(&mut self.peer));
        for (_, place) in known.filter(|(name, _)| **name == key) {
            *place = value;
        }
    }

    fn first<'b>(values: &'b [&'a [u8]]) -> Option<&'a [u8]> {
        values.iter().copied().find(|value| !value.is_empty())
    }

    /// Returns the id of the call that the span is a half of: its own for a client, and that of its parent for a server.
    fn call(&self) -> Option<CallId> {
        let id = match self.kind {
            CLIENT | PRODUCER => self.span_id,
            SERVER | CONSUMER => self.parent_span_id,
            _ => return None,
        };
        let id: [u8; 8] = id.try_into().ok().filter(|id| *id != [0; 8])?;
        Some((self.trace_id.try_into().ok()?, id))
    }
}

impl ServiceGraph {
    pub(super) fn new(bounds: &[u64], expire_after: Duration) -> Self {
        ServiceGraph {
            bounds: bounds.into(),
            waiting: HashMap::default(),
            order: VecDeque::new(),
            edges: HashMap::default(),
            expire_ms: expire_after.as_millis() as Millis,
            name_bytes: 0,
        }
    }

    /// Takes the spans of a followed trace that stands for `weight` traces.
    pub(super) fn follow(&mut self, fragment: &OpenFragment<'_>, weight: u64, now_ms: Millis) {
        for (message, service) in fragment.spans_with_service() {
            let span = GraphSpan::read(message);
            self.span(&span, service, weight, now_ms);
        }
    }

    fn span(&mut self, span: &GraphSpan<'_>, service: &[u8], weight: u64, now_ms: Millis) {
        let is_server = matches!(span.kind, SERVER | CONSUMER);
        let nanos = duration_nanos(span.start_unix_nano, span.end_unix_nano);
        let half = Half {
            is_server,
            service: text(service),
            peer: GraphSpan::first(&span.peer).map(text),
            is_messaging: matches!(span.kind, PRODUCER | CONSUMER),
            failed: span.failed,
            nanos,
            weight,
            since_ms: now_ms,
        };
        let database = GraphSpan::first(&span.database).filter(|_| span.kind == CLIENT);
        if let Some(database) = database {
            self.count(half.service.clone(), text(database), ConnectionType::Database, &half, now_ms);
        } else if let Some(call) = span.call() {
            self.pair(call, half, now_ms);
        } else if span.kind == SERVER {
            self.count(USER.into(), half.service.clone(), ConnectionType::VirtualNode, &half, now_ms);
        }
    }

    /// Counts the call if its other half waits, or lets this one wait.
    fn pair(&mut self, call: CallId, half: Half, now_ms: Millis) {
        match self.waiting.get(&call) {
            Some(other) if other.is_server != half.is_server => {
                let Some(other) = self.waiting.remove(&call) else { return };
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
                while self.waiting.len() >= WAITING_MAX {
                    self.expire_first(now_ms);
                }
                self.name_bytes += half.bytes();
                self.order.push_back((call, now_ms));
                self.waiting.insert(call, half);
            }
        }
    }

    fn count(&mut self, client: Box<str>, server: Box<str>, connection: ConnectionType, half: &Half, now_ms: Millis) {
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
        while self.order.front().is_some_and(|(_, since_ms)| now_ms.saturating_sub(*since_ms) >= WAIT_MS) {
            self.expire_first(now_ms);
        }
        let expire_ms = self.expire_ms;
        self.edges.retain(|_, edge| now_ms.saturating_sub(edge.last_ms) < expire_ms);
    }

    /// Ends the wait of the first half. A client that names its peer counts as a call to a node without spans.
    fn expire_first(&mut self, now_ms: Millis) {
        let Some((call, since_ms)) = self.order.pop_front() else { return self.waiting.clear() };
        // The half may be gone, and a later one may have its id.
        if self.waiting.get(&call).is_none_or(|half| half.since_ms != since_ms) {
            return;
        }
        let Some(mut half) = self.waiting.remove(&call) else { return };
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
            + self.order.capacity() * size_of::<(CallId, Millis)>()
            + self.edges.allocation_size()
            + self.edges.len() * edge
    }

    /// Writes all series.
    pub(super) fn render(&self, writer: &mut Writer<'_>) {
        let bounds = bounds_text(&self.bounds);
        let mut edges: Vec<(String, &Edge)> = self.edges.iter().map(|(key, edge)| (key.labels(), edge)).collect();
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

impl Half {
    fn bytes(&self) -> usize {
        self.service.len() + self.peer.as_ref().map_or(0, |peer| peer.len())
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

/// Returns the name of a service or a peer as a label.
fn text(name: &[u8]) -> Box<str> {
    let name = if name.is_empty() { super::read::UNKNOWN_SERVICE } else { name };
    let mut out = Vec::new();
    label::write_value(name, &mut out);
    label::split_value(&out).0.into()
}

#[cfg(test)]
mod tests;
