//! Policies that are replaced while traces are held. The spans are real, because they are read again.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use super::*;
use crate::otlp::{scan, visited};
use crate::sampling::PolicyNames;

struct Live {
    settings: TailSampling,
    table: Table,
    now_ms: Millis,
    out: RoundOutcome,
    kept: Vec<(u128, String, u32)>,
    names: PolicyNames,
}

fn read(policies: &str) -> TailSampling {
    let text = format!("tail_sampling:\n  decision_wait: 10s\n  rescue: {{window: 60s}}\n  policies:\n{policies}\n");
    crate::testing::load(&text).unwrap_or_else(|error| panic!("{error}")).tail_sampling
}

impl Live {
    fn new(policies: &str) -> Self {
        let settings = read(policies);
        let compiled = Policies::compile_set(settings.policy_set(), None).unwrap();
        let names = PolicyNames::new(compiled.names());
        let table = Table::new(&settings, Arc::new(compiled), Budget::new(256 << 20));
        Live { settings, table, now_ms: 0, out: RoundOutcome::default(), kept: Vec::new(), names }
    }

    /// Puts other policies in force, without reading held spans again.
    fn replace(&mut self, policies: &str) {
        self.settings = read(policies);
        self.replace_by_settings();
    }

    fn replace_by_settings(&mut self) {
        let previous = self.table.policies();
        let policies = Policies::compile_set(self.settings.policy_set(), Some(&previous)).unwrap();
        self.names.extend_to(policies.names());
        self.table.replace(&self.settings, Arc::new(policies));
    }

    fn rescan(&mut self) {
        let mut kept = Vec::new();
        self.table.rescan(&mut RoundOutcome::default(), || self.now_ms, |out| kept.append(&mut out.kept));
        self.out.kept.append(&mut kept);
        self.collect();
    }

    fn scanned(&self, spans: &[Span]) -> (Bytes, Scan) {
        let scope_spans = vec![ScopeSpans { spans: spans.to_vec(), ..ScopeSpans::default() }];
        let group = ResourceSpans { scope_spans, ..ResourceSpans::default() };
        let body = ExportTraceServiceRequest { resource_spans: vec![group] }.encode_to_vec();
        let mut scanned = Scan::default();
        let body = scan::scan(body.into(), self.table.policies().probe(), &mut scanned).unwrap();
        (body, scanned)
    }

    fn insert(&mut self, (body, scanned): (Bytes, Scan)) {
        let share = self.table.admit(body.len(), self.now_ms, &mut self.out).unwrap();
        self.table.insert(body, &scanned, share, self.now_ms, &mut self.out);
        self.collect();
    }

    fn send(&mut self, spans: &[Span]) {
        let scanned = self.scanned(spans);
        self.insert(scanned);
    }

    fn advance(&mut self, millis: Millis) {
        self.now_ms += millis;
        for shard in 0..self.table.shard_count() {
            while self.table.sweep(shard, self.now_ms, &mut self.out) {}
        }
        self.collect();
    }

    fn collect(&mut self) {
        for kept in self.out.kept.drain(..) {
            let opened = kept.fragment.open();
            let first = Span::decode(opened.spans().next().unwrap().span).unwrap();
            let trace = u128::from_be_bytes(first.trace_id.try_into().unwrap());
            self.kept.push((trace, self.names.get(kept.keep.policy).unwrap(), kept.fragment.span_count()));
        }
    }

    fn kept(&self) -> Vec<(u128, &str, u32)> {
        let mut kept: Vec<_> = self.kept.iter().map(|(trace, name, spans)| (*trace, name.as_str(), *spans)).collect();
        kept.sort_unstable();
        kept
    }
}

/// Returns a span of a trace that no ratio below 100 % keeps.
fn work(trace: u128, name: &str) -> Span {
    Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: vec![1; 8],
        parent_span_id: vec![2; 8],
        name: name.into(),
        start_time_unix_nano: 1_000_000_000,
        end_time_unix_nano: 1_001_000_000,
        ..Span::default()
    }
}

fn failed(trace: u128) -> Span {
    Span { status: Some(Status { code: 2, ..Status::default() }), ..work(trace, "work") }
}

const ERRORS: &str = "    - {name: errors, type: error}";
/// The first policy is never evidence. Its condition has the bit that errors have in the other set.
const CHECKOUT: &str = "    - {name: first, type: and, and: {and_sub_policy: [{type: trace_flags}, {type: probabilistic, probabilistic: {sampling_percentage: 1}}]}}
    - {name: checkout, type: ottl_condition, ottl_condition: {span: ['name == \"checkout\"']}}
    - {name: errors, type: error}";

#[test]
fn a_pending_trace_is_decided_by_the_policies_in_force() {
    for rescans in [false, true] {
        let mut live = Live::new(ERRORS);
        live.send(&[work(1, "checkout"), work(2, "cart")]);
        live.replace(CHECKOUT);
        // One trace begins before, one after, and one in both requests.
        live.send(&[work(3, "checkout"), work(2, "cart")]);
        assert_eq!(live.kept(), [(3, "checkout", 1)]);
        if rescans {
            live.rescan();
            assert_eq!(live.kept(), [(1, "checkout", 1), (3, "checkout", 1)], "evidence counts at once");
        }
        live.advance(WAIT_MS);
        assert_eq!(live.kept(), [(1, "checkout", 1), (3, "checkout", 1)]);
        // The dropped trace is not decided again, but a late span is judged by the policies in force.
        live.replace(ERRORS);
        live.replace(CHECKOUT);
        live.rescan();
        live.send(&[work(2, "checkout")]);
        assert_eq!(live.kept().iter().filter(|(trace, ..)| *trace == 2).map(|(.., spans)| spans).sum::<u32>(), 3);
    }
}

#[test]
fn a_policy_that_is_gone_keeps_nothing() {
    let mut live = Live::new(CHECKOUT);
    live.send(&[work(1, "cart")]);
    // A condition of the old policies has the bit of another one of the new policies.
    live.replace("    - {name: cart, type: ottl_condition, ottl_condition: {span: ['name == \"other\"']}}");
    live.send(&[work(1, "checkout")]);
    live.rescan();
    live.advance(WAIT_MS);
    assert!(live.kept().is_empty());
}

#[test]
fn a_scan_for_earlier_policies_is_made_again() {
    let mut live = Live::new(ERRORS);
    let scanned = live.scanned(&[work(1, "checkout"), failed(2), work(3, "cart")]);
    live.replace(CHECKOUT);
    live.insert(scanned);
    assert_eq!(live.kept(), [(1, "checkout", 1)]);
    live.advance(WAIT_MS);
    assert_eq!(live.kept(), [(1, "checkout", 1), (2, "errors", 1)]);
}

#[test]
fn late_spans_find_the_name_of_the_policy_that_kept_their_trace() {
    let mut live = Live::new(CHECKOUT);
    live.send(&[work(1, "checkout")]);
    live.replace(ERRORS);
    live.rescan();
    live.send(&[work(1, "late"), failed(2)]);
    live.replace(CHECKOUT);
    live.send(&[failed(3)]);
    live.advance(WAIT_MS);
    assert_eq!(live.kept(), [(1, "checkout", 1), (1, "checkout", 1), (2, "errors", 1), (3, "errors", 1)]);
}

#[test]
fn a_large_trace_waits_until_it_is_read_without_the_lock() {
    let mut live = Live::new(ERRORS);
    let large: Vec<_> = (0..500).map(|_| work(1, &"checkout ".repeat(100))).chain([work(1, "checkout")]).collect();
    live.send(&large);
    live.replace(CHECKOUT);
    live.advance(WAIT_MS);
    assert!(live.kept().is_empty());
    assert_eq!(live.table.held().pending_traces, 1);
    live.rescan();
    assert_eq!(live.kept(), [(1, "checkout", 501)]);
    // Without the second reading it would be decided under the lock when memory is short or the process stops.
    let mut live = Live::new(ERRORS);
    live.send(&large);
    live.replace(CHECKOUT);
    while live.table.drain(live.now_ms, &mut live.out) {}
    live.collect();
    assert_eq!(live.kept(), [(1, "checkout", 501)]);
}

#[test]
fn late_spans_of_a_large_dropped_trace_rescue_it_by_themselves() {
    let mut live = Live::new(ERRORS);
    let large: Vec<_> = (0..500).map(|_| work(1, &"checkout ".repeat(100))).chain([work(1, "checkout")]).collect();
    live.send(&large);
    live.advance(WAIT_MS);
    live.replace(CHECKOUT);
    live.send(&[work(1, "late")]);
    assert!(live.kept().is_empty(), "the large trace is not read again while its shard is locked");
    live.send(&[failed(1)]);
    assert_eq!(live.kept().iter().map(|kept| kept.2).sum::<u32>(), 503);
}

#[test]
fn decisions_of_a_second_reading_are_noted() {
    let mut live = Live::new(ERRORS);
    live.send(&[work(1, "checkout"), work(2, "cart")]);
    live.replace(CHECKOUT);
    let mut out = RoundOutcome { decisions: Some(DecisionLog::with_services()), ..RoundOutcome::default() };
    let mut noted = Vec::new();
    let note = |out: &mut RoundOutcome| noted.extend(out.decisions.as_mut().unwrap().drain().map(|noted| noted.trace));
    live.table.rescan(&mut out, || 0, note);
    assert_eq!(noted, [TraceId(1_u128.to_be_bytes())]);
}

#[test]
fn compressed_requests_are_read_again() {
    let mut live = Live::new(ERRORS);
    live.table = Table::new(&live.settings, live.table.policies(), Budget::new(256 << 20)).with_compression();
    let filler = "checkout ".repeat(300);
    live.send(&[work(1, &filler), work(1, "checkout"), work(2, &filler), work(3, "checkout")]);
    // The first call gives the request its time.
    assert!(!live.table.compress(0) && live.table.compress(2_000));
    live.replace(CHECKOUT);
    live.rescan();
    assert_eq!(live.kept(), [(1, "checkout", 2), (3, "checkout", 1)]);
}

#[test]
fn waits_apply_to_traces_that_begin_after_the_change() {
    let mut live = Live::new("    - {name: all, type: probabilistic, probabilistic: {sampling_percentage: 98}}");
    live.send(&[Span { trace_state: "ot=rv:ffffffffffffff".into(), ..work(1, "work") }]);
    live.settings.policies[0].rule = Rule::Probabilistic { sampling_percentage: 99.0 };
    live.settings.decision_wait = Duration::from_secs(2);
    live.replace_by_settings();
    live.send(&[Span { trace_state: "ot=rv:ffffffffffffff".into(), ..work(2, "work") }]);
    live.advance(2_000);
    assert_eq!(live.kept(), [(2, "all", 1)]);
    live.advance(8_000);
    assert_eq!(live.kept(), [(1, "all", 1), (2, "all", 1)]);
}

#[test]
fn the_keys_of_new_policies_are_charged_and_given_back() {
    let mut live = Live::new(ERRORS);
    let idle = live.table.budget().used_bytes();
    let spans: Vec<_> = (1..200).map(|trace| work(trace, "work")).collect();
    live.send(&spans);
    let before = live.table.budget().used_bytes();
    live.replace("    - {name: rare, type: rare, rare: {traces_per_minute: 1, max_keys: 1}}");
    let states = live.table.policies().state_bytes_max();
    live.rescan();
    let keys = 199 * live.table.policies().summary_heap_bytes();
    assert!(keys > 0);
    assert_eq!(live.table.budget().used_bytes(), before + states + keys);
    live.advance(WAIT_MS);
    live.advance(WINDOW_MS);
    assert_eq!(live.table.held(), HeldCounts::default());
    assert_eq!(live.table.budget().used_bytes(), idle + states);
}

#[test]
fn shadow_policies_are_counted_and_never_decide() {
    let mut live = Live::new(
        "    - {name: errors, type: error}
    - {name: keeps, type: ottl_condition, shadow: true, ottl_condition: {span: ['name == \"checkout\"']}}
    - {name: drops, type: drop, shadow: true, drop: {drop_sub_policy: [{type: error}]}}",
    );
    live.send(&[work(1, "checkout"), work(1, "cart"), failed(2), work(3, "cart")]);
    live.advance(WAIT_MS);
    assert_eq!(live.kept(), [(2, "errors", 1)]);
    let mut shadowed = live.out.tally.shadowed.clone();
    shadowed.sort_by_key(|shadowed| shadowed.policy);
    let named: Vec<_> = shadowed
        .iter()
        .map(|shadowed| (live.names.get(shadowed.policy).unwrap(), shadowed.effect, shadowed.traces, shadowed.spans))
        .collect();
    use crate::sampling::ShadowEffect::{Drop, Keep};
    assert_eq!(named, [("keeps".to_owned(), Keep, 1, 2), ("drops".to_owned(), Drop, 1, 1)]);
}

/// Returns the shards that have stale traces, with these.
fn stale(table: &Table) -> Vec<(usize, Vec<crate::tail::shard::StaleTrace>)> {
    let policies = table.policies();
    let found = |at: usize| (at, table.shards.lock(at).stale(0, &policies).0);
    (0..table.shards.count()).map(found).filter(|(_, stale)| !stale.is_empty()).collect()
}

/// Large traces are found, then more spans of them come, and only then the summaries of the first ones are there.
#[test]
fn what_comes_for_a_large_trace_while_it_is_read_is_not_read_again() {
    let mut live = Live::new(ERRORS);
    let idle = live.table.budget().used_bytes();
    let many = |trace: u128| vec![work(trace, "cart"); 2_000];
    // One is large before, one becomes large, and one stays small.
    live.send(&many(1));
    live.send(&[work(2, "cart")]);
    live.send(&[work(3, "cart")]);
    live.replace(CHECKOUT);
    let found = stale(&live.table);
    assert_eq!(found.iter().map(|(_, stale)| stale.len()).sum::<usize>(), 3);
    for trace in [1, 2] {
        live.send(&[work(trace, "first")]);
        live.send(&many(trace));
        live.send(&[work(trace, "checkout")]);
    }
    live.send(&[work(3, "checkout")]);
    assert!(live.kept().is_empty(), "stale traces wait");
    let in_force = live.table.in_force.see();
    let policies = &in_force.policies;
    let mut again = Vec::new();
    for (at, stale) in found {
        let mut reader = SpanReader::new(policies, policies.probe(), live.table.budget().share());
        let read = stale.into_iter().map(|stale| {
            let summary = reader.summary(&stale.fragments);
            (stale, summary)
        });
        again.push((at, read.collect::<Vec<_>>()));
    }
    let _ = visited::take();
    for (at, read) in again {
        let mut shard = live.table.shards.lock(at);
        shard.take_again(read, &mut live.table.round(&in_force, live.now_ms, &mut live.out));
        shard.end_rescan();
    }
    let read_bytes = visited::take();
    assert!(read_bytes < 1_000, "{read_bytes} bytes were read under the locks");
    live.collect();
    let spans = |trace| {
        live.kept
            .iter()
            .filter(|(kept, policy, _)| (*kept, policy.as_str()) == (trace, "checkout"))
            .map(|(.., spans)| spans)
            .sum::<u32>()
    };
    assert_eq!([1, 2, 3].map(spans), [4_002, 2_003, 2], "the later spans are evidence");
    assert_eq!((live.table.held(), live.table.budget().used_bytes()), (HeldCounts::default(), idle));
}

#[test]
fn what_came_for_a_large_trace_under_earlier_policies_counts_for_nothing() {
    let mut live = Live::new(ERRORS);
    live.send(&vec![work(1, "cart"); 2_000]);
    live.replace(CHECKOUT);
    live.send(&[work(1, "checkout")]);
    live.replace(ERRORS);
    live.send(&[work(1, "cart")]);
    live.rescan();
    live.advance(WAIT_MS);
    assert!(live.kept().is_empty());
    live.replace(CHECKOUT);
    live.rescan();
    live.send(&[work(1, "late")]);
    assert_eq!(live.kept().iter().map(|(.., spans)| spans).sum::<u32>(), 2_003, "the trace is rescued");
}

#[test]
fn reading_small_traces_again_from_compressed_requests_takes_slices() {
    let mut live = Live::new(ERRORS);
    live.table = live.table.with_compression();
    let of_first_shard = |trace: &u128| shard_of(hash(&live.table.hasher, TraceId(trace.to_be_bytes()))) == 0;
    let traces: Vec<u128> = (1..).filter(of_first_shard).take(40).collect();
    // Each request also has a span of another trace, which fills a block and has left the table.
    for &trace in &traces {
        let filler = Span { name: "x".repeat(64 << 10), ..failed(u128::MAX - trace) };
        live.send(&[work(trace, "cart"), filler]);
    }
    live.table.compress(0);
    while live.table.compress(WAIT_MS / 2) {}
    live.replace(CHECKOUT);
    let pending = |live: &Live| live.table.held().pending_traces;
    assert_eq!(pending(&live), 40);
    while pending(&live) > 0 {
        let (before, _) = (pending(&live), visited::take());
        live.table.drain(live.now_ms, &mut live.out);
        let unpacked_bytes = visited::take();
        assert!(pending(&live) < before && unpacked_bytes < 2 * SLICE_BYTES, "{unpacked_bytes} bytes");
    }
}

#[test]
fn a_stale_trace_that_becomes_full_is_decided_at_once() {
    for (name, kept) in [("cart", 0), ("checkout", 3_001)] {
        let mut live = Live::new(ERRORS);
        live.settings.spans_max = 3_000;
        live.replace_by_settings();
        live.rescan();
        live.send(&vec![work(1, name); 1_500]);
        let limits = live.settings.spans_max;
        live.settings = TailSampling { spans_max: limits, ..read(CHECKOUT) };
        live.replace_by_settings();
        live.send(&[work(1, "cart")]);
        assert_eq!(live.table.held().pending_spans, 1_501, "it waits for its turn");
        live.send(&vec![work(1, "cart"); 1_500]);
        assert_eq!(live.table.held().pending_traces, 0);
        assert_eq!(live.kept().iter().map(|(.., spans)| spans).sum::<u32>(), kept);
        assert_eq!(live.out.tally.dropped[Trigger::TraceSize as usize], u64::from(kept == 0));
    }
}
