//! Deterministic simulation of the pure core: scan, trace table with budget and caches, policies, kept queue, encoder
//! and batches. A seed determines a scenario, and a model beside the core checks every promise after each step. Threads
//! are not simulated: the locks of the shards turn the work of threads into steps.
//!
//! A failing seed prints its scenario, reduced to the steps that it needs. To replay it, or to run for longer:
//!
//! ```text
//! SPANSIEVE_SEED=4711 cargo test --lib simulation
//! SPANSIEVE_SCENARIOS=1000000 cargo test --release --lib simulation::every_promise
//! SPANSIEVE_SEED=1000000 SPANSIEVE_SCENARIOS=1000000 cargo test --release --lib simulation::every_promise
//! ```
//!
//! These tests prove nothing about races between threads, about speed, or about memory that the budget does not count.

mod account;
mod exporter;
mod reference;
mod requests;
mod scenario;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use scenario::{Scenario, Step};
use world::{Broken, BrokenReload, World};

use crate::sampling::Keep;

/// Number of scenarios in a run of all tests: a few seconds.
const SCENARIOS: u64 = 200;

fn number(variable: &str) -> Option<u64> {
    Some(std::env::var(variable).ok()?.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

/// Plays a scenario to its end. Returns, for each trace, the verdict that its spans were kept with and the number of
/// kept spans.
fn play(scenario: &Scenario) -> Vec<(Option<Keep>, u64)> {
    let mut world = World::new(scenario);
    scenario.steps.iter().for_each(|step| world.step(step));
    world.finish()
}

fn fails(scenario: &Scenario) -> Option<String> {
    let cause = catch_unwind(AssertUnwindSafe(|| play(scenario))).err()?;
    let text = cause.downcast_ref::<String>().cloned();
    Some(text.or_else(|| Some((*cause.downcast_ref::<&str>()?).to_owned())).unwrap_or_default())
}

/// Removes the steps, and then the spans, that a scenario does not need to fail.
fn reduce(mut scenario: Scenario) -> Scenario {
    let mut part = scenario.steps.len().next_power_of_two();
    while part > 0 {
        let mut at = 0;
        while at < scenario.steps.len() {
            let mut without = scenario.clone();
            without.steps.drain(at..(at + part).min(without.steps.len()));
            if fails(&without).is_some() { scenario = without } else { at += part }
        }
        part /= 2;
    }
    for at in 0..scenario.steps.len() {
        let mut span = 0;
        while let Step::Send(spans) = &scenario.steps[at]
            && span < spans.len()
        {
            let mut without = scenario.clone();
            if let Step::Send(spans) = &mut without.steps[at] {
                spans.remove(span);
            }
            if fails(&without).is_some() { scenario = without } else { span += 1 }
        }
    }
    scenario
}

/// Plays the scenario of a seed. On failure, panics with the reduced scenario and the cause.
fn check(seed: u64) {
    let scenario = Scenario::new(seed);
    if fails(&scenario).is_some() {
        let reduced = reduce(scenario);
        let cause = fails(&reduced).unwrap_or_default();
        panic!("SPANSIEVE_SEED={seed}\n{}\n{cause}", reduced.describe());
    }
}

#[test]
fn every_promise_holds_after_each_step() {
    let seed = number("SPANSIEVE_SEED");
    let scenarios = number("SPANSIEVE_SCENARIOS").unwrap_or(if seed.is_some() { 1 } else { SCENARIOS });
    (seed.unwrap_or(0)..).take(scenarios as usize).for_each(check);
}

#[test]
fn verdicts_do_not_depend_on_order_or_requests() {
    for seed in 0..SCENARIOS / 4 {
        let scenario = Scenario::new(seed).orderly();
        assert_eq!(play(&scenario), play(&scenario.reordered()), "{seed}");
    }
}

#[test]
fn planted_faults_are_found() {
    for broken in [Broken::Loss, Broken::Repetition, Broken::Memory, Broken::Verdict] {
        let mut planted = 0;
        for seed in 0..20 {
            let scenario = Scenario::new(seed);
            let found = catch_unwind(|| {
                let mut world = World::new(&scenario);
                let mut is_planted = false;
                for step in &scenario.steps {
                    world.step(step);
                    is_planted = is_planted || world.break_promise(broken);
                }
                world.finish();
                is_planted
            });
            planted += u64::from(found.is_err());
            assert!(!found.unwrap_or(false), "{broken:?} in {seed} was not found");
        }
        assert!(planted > 0, "{broken:?}");
    }
}

#[test]
fn planted_faults_of_reloads_are_found() {
    for broken in [BrokenReload::Ignored, BrokenReload::Stale] {
        let is_found = |seed| {
            let scenario = Scenario::new(seed);
            let played = catch_unwind(|| {
                let mut world = World::new(&scenario);
                world.broken_reload = Some(broken);
                scenario.steps.iter().for_each(|step| world.step(step));
                world.finish()
            });
            played.is_err()
        };
        // Not every reload changes the verdict on a trace that is pending.
        let found = (0..SCENARIOS).filter(|&seed| is_found(seed)).take(3).count();
        assert_eq!(found, 3, "{broken:?}");
    }
}
