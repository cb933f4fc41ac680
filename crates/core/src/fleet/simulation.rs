//! Deterministic simulation of a fleet: several trace tables with their members, and a network between them that delays,
//! reorders, repeats and loses batches, while members join, leave, crash and disagree, and the engine goes away. A seed
//! determines everything. Messages pass through their form on the wire.
//!
//! ```text
//! SPANSIEVE_SEED=4711 cargo test -p spansieve-core --lib fleet::simulation
//! SPANSIEVE_SCENARIOS=100000 cargo test -p spansieve-core --lib fleet::simulation
//! ```
//!
//! These tests prove nothing about the real engine, about sockets, or about speed.

mod scenario;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use scenario::Scenario;
use world::{Fate, Plant, World};

/// Number of scenarios in a run of all tests: a few seconds. Without the evidence of a holder against a drop, the 111th fails;
/// without the time that an owner gives holders for one more report, the 149th.
const SCENARIOS: u64 = 160;

fn number(variable: &str) -> Option<u64> {
    Some(std::env::var(variable).ok()?.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

fn seeds() -> impl Iterator<Item = u64> {
    let seed = number("SPANSIEVE_SEED");
    let scenarios = number("SPANSIEVE_SCENARIOS").unwrap_or(if seed.is_some() { 1 } else { SCENARIOS });
    (seed.unwrap_or(0)..).take(scenarios as usize)
}

fn play(scenario: &Scenario, plant: Option<Plant>) -> World<'_> {
    let mut world = World::new(scenario, plant);
    world.run();
    world
}

/// Checks that the fleet kept the same spans as one table, with the same policies and adjusted counts.
fn check_equal(scenario: &Scenario, plant: Option<Plant>) {
    let alone = Scenario { nodes: 1, ..scenario.clone() };
    let alone = play(&alone, None).fates();
    let fleet = play(scenario, plant).fates();
    let plain = |fates: BTreeMap<usize, Fate>| -> BTreeMap<usize, _> {
        fates.into_iter().map(|(span, fate)| (span, fate.kept)).collect()
    };
    let (alone, fleet) = (plain(alone), plain(fleet));
    for (span, fate) in &alone {
        let of = &scenario.spans[*span];
        let (mut found, mut expected) = (fleet[span].clone(), fate.clone());
        if scenario.has_late_spans(of.trace) {
            // The node that rescues the trace names the policy that its own part proves.
            found.iter_mut().chain(&mut expected).for_each(|(policy, _)| policy.clear());
        }
        assert_eq!(found, expected, "{of:?} of {:?}", scenario.trace(of.trace));
    }
    assert_eq!(alone.len(), fleet.len());
}

/// Checks what holds whatever happens.
fn check_promises(scenario: &Scenario, plant: Option<Plant>) {
    let world = play(scenario, plant);
    let fates = world.fates();
    world.check_books();
    for (&span, fate) in &fates {
        let of = &scenario.spans[span];
        let about = || format!("{of:?} at {fate:?}, of {:?}\n{}", scenario.trace(of.trace), scenario.describe());
        if of.kind.is_evidence() && fate.is_there {
            assert!(fate.kept.is_some(), "evidence lost: {}", about());
        }
        // Where the evidence is at an instance that is still there, all spans at such instances are kept.
        let spans = || scenario.trace(of.trace).into_iter().filter(|(other, _)| fates.contains_key(other));
        // The last messages of one that has left are not repeated.
        let counts = |fate: &Fate| fate.is_there || fate.has_left && scenario.loses_nothing();
        let is_proven = spans().any(|(other, span)| span.kind.is_evidence() && counts(&fates[&other]));
        // Without a rescue, spans that were dropped before the evidence came are gone.
        if is_proven && fate.is_there && scenario.rescue_s > 0 {
            assert!(fate.kept.is_some(), "split: {}", about());
        }
        if scenario.is_plain(of.trace) && fate.is_there {
            assert_eq!(fate.kept.is_some(), scenario.ratio_keeps(of.trace), "the ratio decides: {}", about());
        }
    }
}

/// Returns true if a scenario fails.
fn fails(check: impl Fn(u64)) -> bool {
    (0..200).any(|seed| catch_unwind(AssertUnwindSafe(|| check(seed))).is_err())
}

#[test]
fn a_fleet_keeps_what_one_table_keeps() {
    for seed in seeds() {
        let scenario = Scenario::quiet(seed);
        let checked = catch_unwind(AssertUnwindSafe(|| check_equal(&scenario, None)));
        assert!(checked.is_ok(), "SPANSIEVE_SEED={seed}");
    }
}

#[test]
fn every_promise_holds_whatever_happens() {
    for seed in seeds() {
        let scenario = Scenario::stormy(seed);
        let checked = catch_unwind(AssertUnwindSafe(|| check_promises(&scenario, None)));
        assert!(checked.is_ok(), "SPANSIEVE_SEED={seed}");
    }
}

#[test]
fn a_seed_replays() {
    for seed in 0..5 {
        let scenario = Scenario::stormy(seed);
        assert_eq!(play(&scenario, None).fates(), play(&Scenario::stormy(seed), None).fates(), "{seed}");
    }
}

#[test]
fn planted_faults_are_found() {
    let quiet = |plant| fails(|seed| check_equal(&Scenario::quiet(seed), Some(plant)));
    let stormy = |plant| fails(|seed| check_promises(&Scenario::stormy(seed), Some(plant)));
    assert!(quiet(Plant::LosesSummaries), "a fleet without summaries");
    assert!(quiet(Plant::TurnsVerdicts), "verdicts that are turned round");
    assert!(stormy(Plant::LosesProofs), "a fleet without proofs");
    assert!(stormy(Plant::KeepsOwners), "reports that do not follow a new owner");
    assert!(stormy(Plant::LeavesInSilence), "last decisions that are not told");
}
