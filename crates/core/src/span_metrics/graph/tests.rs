use std::collections::BTreeMap;

use super::call::GraphSpan;
use super::*;
use crate::budget::Budget;
use crate::span_metrics::exposition::{Format, Writer};

const MS: u64 = 1_000_000;

const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

fn graph() -> ServiceGraph {
    graph_of(&Budget::new(256 << 20))
}

fn graph_of(budget: &Budget) -> ServiceGraph {
    ServiceGraph::new(&[10 * MS, 100 * MS], Duration::from_secs(3_600), budget.share())
}

impl ServiceGraph {
    fn span(&mut self, span: &GraphSpan<'_>, service: &[u8], weight: u64, now_ms: Millis) {
        self.take(&mut span.call(&name(service), weight).into_iter().collect(), now_ms);
    }
}

/// Returns a span of 20 ms of trace 1.
fn span(kind: i32, id: u8, parent: u8) -> ([u8; 8], [u8; 8], i32) {
    ([id; 8], if parent == 0 { [0; 8] } else { [parent; 8] }, kind)
}

fn read<'a>((id, parent, kind): &'a ([u8; 8], [u8; 8], i32)) -> GraphSpan<'a> {
    let (start_unix_nano, end_unix_nano) = (MS, 21 * MS);
    let parent_span_id = if *parent == [0; 8] { &[][..] } else { parent };
    GraphSpan {
        trace_id: &[1; 16],
        span_id: id,
        parent_span_id,
        kind: *kind,
        start_unix_nano,
        end_unix_nano,
        ..GraphSpan::default()
    }
}

/// Returns the requests by labels.
fn requests(graph: &ServiceGraph) -> BTreeMap<String, u64> {
    graph.edges.iter().map(|(key, edge)| (key.labels(), edge.requests)).collect()
}

fn edge(client: &str, server: &str, connection: &str) -> String {
    let connection = if connection.is_empty() { String::new() } else { format!(",connection_type=\"{connection}\"") };
    format!("client=\"{client}\",server=\"{server}\"{connection}")
}

#[test]
fn a_call_is_a_client_and_a_server_in_any_order() {
    for backwards in [false, true] {
        let mut graph = graph();
        let (client, server) = (span(CLIENT, 2, 1), span(SERVER, 3, 2));
        let mut halves = vec![(read(&client), &b"shop"[..]), (GraphSpan { failed: true, ..read(&server) }, b"pay")];
        if backwards {
            halves.reverse();
        }
        for (half, service) in &halves {
            graph.span(half, service, 4, 0);
            // A span that comes twice is not a second call.
            graph.span(half, service, 4, 0);
        }
        assert_eq!(requests(&graph), [(edge("shop", "pay", ""), 4)].into());
        let counted = graph.edges.values().next().unwrap();
        assert_eq!((counted.failed, &*counted.buckets), (4, &[0, 4, 0][..]));
        assert!((counted.sum_s - 0.08).abs() < 1e-9);
    }
}

#[test]
fn nodes_without_spans_are_counted_by_their_clients() {
    let mut graph = graph();
    let (db, called, root) = (span(CLIENT, 2, 1), span(CLIENT, 4, 1), span(SERVER, 1, 0));
    let (producer, consumer) = (span(PRODUCER, 6, 1), span(CONSUMER, 7, 6));
    let database = GraphSpan { database: [b"orders", b"", b"postgresql", b""], ..read(&db) };
    graph.span(&database, b"shop", 1, 0);
    graph.span(&GraphSpan { peer: [b"mailer", b"", b""], ..read(&called) }, b"shop", 1, 0);
    graph.span(&read(&root), b"shop", 1, 0);
    graph.span(&read(&producer), b"shop", 1, 0);
    graph.span(&read(&consumer), b"ship", 1, 0);
    let mut expected: BTreeMap<String, u64> = [
        (edge("shop", "orders", "database"), 1),
        (edge("user", "shop", "virtual_node"), 1),
        (edge("shop", "ship", "messaging_system"), 1),
    ]
    .into();
    assert_eq!(requests(&graph), expected);
    graph.expire(WAIT_MS - 1);
    assert_eq!(requests(&graph), expected, "the server may still come");
    graph.expire(WAIT_MS);
    expected.insert(edge("shop", "mailer", "virtual_node"), 1);
    assert_eq!(requests(&graph), expected);
}

#[test]
fn neither_calls_nor_pairs_grow_without_bound() {
    let mut graph = graph();
    for n in 0..40_000_u64 {
        let id = n.to_be_bytes();
        let half = GraphSpan { span_id: &id, kind: CLIENT, trace_id: &[1; 16], ..GraphSpan::default() };
        graph.span(&half, b"shop", 1, n);
        let name = n.to_string();
        let database = GraphSpan { database: [name.as_bytes(), b"", b"", b""], ..half };
        graph.span(&database, b"shop", 1, n);
    }
    assert!(graph.waiting.len() <= WAITING_MAX && graph.order.len() <= WAITING_MAX);
    assert_eq!(graph.share.bytes(), graph.heap_bytes());
    assert_eq!(graph.edges.len(), EDGES_MAX + 1);
    assert_eq!(requests(&graph)["otel_metric_overflow=\"true\""], 40_000 - EDGES_MAX as u64);
    graph.expire(40_000 + WAIT_MS);
    assert_eq!((graph.waiting.len(), graph.order.len(), graph.name_bytes), (0, 0, 0));
    graph.expire(40_000 + 3_600_000);
    assert_eq!(graph.edges.len(), 0, "silent pairs go");
    assert!(graph.heap_bytes() < 16 << 10, "{}", graph.heap_bytes());
}

/// The halves of calls that are counted wait no more. One trace may have any number of them, also with the same ids.
#[test]
fn calls_that_are_counted_take_no_memory() {
    for same_ids in [false, true] {
        let budget = Budget::new(256 << 20);
        let mut graph = graph_of(&budget);
        let waiting = span(CLIENT, 9, 1);
        graph.span(&GraphSpan { peer: [b"mailer", b"", b""], ..read(&waiting) }, b"shop", 1, 0);
        for n in 0..100_000_u64 {
            let id = if same_ids { 1 } else { (n + 1) << 8 }.to_be_bytes();
            let client = GraphSpan { span_id: &id, kind: CLIENT, trace_id: &[1; 16], ..GraphSpan::default() };
            let server = GraphSpan { parent_span_id: &id, kind: SERVER, span_id: &[2; 8], ..client };
            graph.span(&client, b"shop", 1, 1);
            assert!(graph.order.len() <= 2 * WAITING_MAX);
            graph.span(&server, b"pay", 1, 1);
        }
        assert_eq!(requests(&graph), [(edge("shop", "pay", ""), 100_000)].into());
        assert!(budget.used_bytes() < 2 << 20, "{}", budget.used_bytes());
        assert_eq!(graph.waiting.len(), 1, "the half that waits is still there");
        graph.expire(WAIT_MS + 1);
        assert_eq!(requests(&graph)[&edge("shop", "mailer", "virtual_node")], 1);
        assert_eq!((graph.waiting.len(), graph.order.len(), graph.name_bytes), (0, 0, 0));
        assert!(budget.used_bytes() < 16 << 10, "{}", budget.used_bytes());
    }
}

#[test]
fn spans_of_neither_clients_nor_servers_are_not_looked_at() {
    for kind in [-1, 0, INTERNAL, 6] {
        assert!(read(&span(kind, 2, 1)).call(&name(b"shop"), 1).is_none(), "{kind}");
    }
}

#[test]
fn the_text_has_the_names_of_the_collector() {
    let mut graph = graph();
    graph.span(&read(&span(SERVER, 1, 0)), b"shop", 2, 0);
    let mut text = String::new();
    graph.counts().render(&mut Writer::new(Format::Prometheus, None, &mut text));
    let labels = edge("user", "shop", "virtual_node");
    for line in [
        format!("traces_service_graph_request_total{{{labels}}} 2"),
        format!("traces_service_graph_request_failed_total{{{labels}}} 0"),
        format!("traces_service_graph_request_server_seconds_bucket{{{labels},le=\"0.01\"}} 0"),
        format!("traces_service_graph_request_server_seconds_bucket{{{labels},le=\"0.1\"}} 2"),
        format!("traces_service_graph_request_server_seconds_count{{{labels}}} 2"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
