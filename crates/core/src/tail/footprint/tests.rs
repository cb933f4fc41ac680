use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::budget::Budget;
use crate::otlp::scan::{Scan, SpanFact};
use crate::otlp::{ByteRange, TraceId};
use crate::sampling::settings::{Policy, Rule};
use crate::settings::Size;
use crate::tail::Table;
use crate::tail::fleet::{FleetTimes, TableFleet};
use crate::tail::settings::{DecisionCache, Rescue};
use crate::tail::table::RoundOutcome;

const LIMIT_BYTES: usize = 256 << 20;
/// The traffic in the table: 21 spans in a request, three of each trace, from 100 requests a second.
const TRAFFIC: Traffic = Traffic {
    spans_per_second: 2_100.0,
    bytes_per_span: 570.0,
    spans_per_request: 21.0,
    spans_per_fragment: 3.0,
    kept: 0.0,
};
const MILLIS_BETWEEN: u64 = 10;

fn settings(rescue: &Rescue) -> TailSampling {
    TailSampling {
        decision_wait: Duration::from_secs(5),
        rescue: rescue.clone(),
        decision_cache: DecisionCache { sampled_cache_size: 1_000, non_sampled_cache_size: 1_000 },
        policies: vec![Policy::new("errors", Rule::AnySpan(crate::condition::Condition::status(2)))],
        ..TailSampling::default()
    }
}

fn request(number: u64) -> Scan {
    let mut scan = Scan::default();
    scan.scopes.push(Scope::default());
    scan.facts.extend((0..TRAFFIC.spans_per_request as u32).map(|n| SpanFact {
        trace_id: TraceId(
            (u128::from(number) << 32 | u128::from(n / TRAFFIC.spans_per_fragment as u32 + 1)).to_be_bytes(),
        ),
        start_unix_nano: 1_000_000_000,
        end_unix_nano: 1_001_000_000,
        bits: 0,
        randomness: None,
        span: ByteRange { offset: n * TRAFFIC.bytes_per_span as u32, len: TRAFFIC.bytes_per_span as u32 },
        scope: 0,
        root: false,
        error: false,
    }));
    scan
}

/// Sends the traffic for `seconds`, with bodies that have no blocks. Returns the bytes that the table then holds, and
/// the computed ones.
fn measured(rescue: &Rescue, seconds: u64, additions: Additions) -> (f64, Footprint) {
    let settings = settings(rescue);
    let policies = Arc::new(Policies::compile(&settings.policies, false).unwrap());
    let budget = Budget::new(LIMIT_BYTES);
    let table = Table::seeded(&settings, Arc::clone(&policies), budget.clone(), 1);
    let table = if additions.facts { table.with_facts() } else { table };
    let times = FleetTimes { quiet_ms: 250, repeat_ms: 1_000, verdict_wait_ms: 3_000 };
    // No other instance can be reached, so the table decides by itself.
    let fleet = Arc::new(TableFleet::new(times));
    let table = if additions.fleet { table.with_fleet(fleet) } else { table };
    let mut out = RoundOutcome::default();
    for number in 0..seconds * 1_000 / MILLIS_BETWEEN {
        let now_ms = number * MILLIS_BETWEEN;
        let body = vec![0; (TRAFFIC.spans_per_request * TRAFFIC.bytes_per_span) as usize];
        let share = table.admit(body.len(), now_ms, &mut out).unwrap();
        table.insert(body.into(), &request(number), share, now_ms, &mut out);
        for shard in 0..table.shard_count() {
            while table.sweep(shard, now_ms, &mut out) {}
        }
        while table.relieve(now_ms, &mut out) {}
    }
    let footprint = Footprint::of(&settings, &Memory::default(), &policies, &TRAFFIC, LIMIT_BYTES, additions);
    (budget.used_bytes() as f64, footprint)
}

fn assert_near(measured: f64, computed: f64) {
    let error = (computed - measured) / measured;
    assert!((-0.02..=0.05).contains(&error), "measured {measured}, computed {computed}: off by {error}");
}

#[test]
fn the_estimate_is_what_the_table_charges() {
    let off = Rescue { window: Duration::ZERO, max_bytes: Size::Percent(0.0) };
    let (bytes, footprint) = measured(&off, 12, Additions::default());
    assert_near(bytes, footprint.required() - footprint.blocks);
    assert_eq!((footprint.rescue, footprint.rescue_unbounded), (0.0, 0.0));
    let (with_facts, more) = measured(&off, 12, Additions { facts: true, ..Additions::default() });
    assert!(more.caches > footprint.caches);
    assert_eq!(with_facts - bytes, more.caches - footprint.caches, "the facts are charged from the start");
    let (in_a_fleet, more) = measured(&off, 12, Additions { fleet: true, ..Additions::default() });
    assert_near(in_a_fleet, more.required() - more.blocks);
    assert!(more.index > footprint.index);
}

#[test]
fn rescue_is_estimated_by_its_window_and_by_its_bound() {
    // The window ends first.
    let (bytes, footprint) =
        measured(&Rescue { window: Duration::from_secs(3), max_bytes: Size::Percent(25.0) }, 12, Additions::default());
    assert_near(bytes, footprint.required() - footprint.blocks + footprint.rescue);
    assert_eq!(footprint.rescue, footprint.rescue_unbounded);
    // The bound is reached first.
    let bounded = Rescue { window: Duration::from_secs(60), max_bytes: Size::Bytes(2 << 20) };
    let (bytes, footprint) = measured(&bounded, 12, Additions::default());
    assert_near(bytes, footprint.required() - footprint.blocks + footprint.rescue);
    assert!(footprint.rescue < footprint.rescue_unbounded / 10.0);
}

#[test]
fn compression_leaves_a_quarter_of_what_is_older_than_a_second() {
    assert_eq!(held_seconds(10.0, false), 10.0);
    assert_eq!(held_seconds(9.0, true), 3.0);
    assert_eq!(held_seconds(0.5, true), 0.5);
}
