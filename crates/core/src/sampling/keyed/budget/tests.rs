use super::*;
use crate::sampling::keyed::tests::{Tally, Trace, key};

/// The traffic of `spansieve demo`: visits of people, some with errors or slow, and a scraper that repeats one healthy
/// route.
struct Shop {
    random: fastrand::Rng,
    now_ms: f64,
}

/// Traces a second of people (`VISITS`) and of the scraper (`SCRAPES`), as in the demo.
const VISITS: f64 = 60.0;
const SCRAPES: f64 = 240.0;

const SCRAPE: u64 = 5;

impl Shop {
    fn new() -> Self {
        Shop { random: fastrand::Rng::with_seed(3), now_ms: 0.0 }
    }

    /// Returns the next trace, and true if it has an error or is slow. `errors` is the share of such visits, 0 to 1.
    fn next(&mut self, flood: bool, errors: f64) -> (Trace, bool) {
        let per_second = if flood { VISITS + SCRAPES } else { VISITS };
        self.now_ms -= (1.0 - self.random.f64()).ln() * 1000.0 / per_second;
        let evidence = self.random.f64() < errors;
        let (key, span_count) = match self.random.f64() * per_second {
            visit if visit >= VISITS => (SCRAPE, 3),
            _ if evidence => (1, 7),
            visit if visit < 0.6 * VISITS => (2, 3),
            visit if visit < 0.9 * VISITS => (3, 7),
            _ => (4, 4),
        };
        let randomness = self.random.u64(..1 << 56);
        (Trace { key, span_count, randomness, now_ms: self.now_ms as u64 }, evidence && key != SCRAPE)
    }
}

/// Creates a policy with a budget of `spans_per_second`.
fn budget(spans_per_second: f64) -> BudgetState {
    BudgetState::new(&settings::BudgetPolicy {
        spans_per_month: spans_per_second * MONTH_SECONDS,
        key: key(),
        max_keys: 1_000,
    })
}

/// The traces of a period, and the kept ones.
#[derive(Default)]
struct Played {
    all: Tally,
    /// The visits of people without errors that are not slow.
    visits: Tally,
    kept_spans: f64,
}

/// Plays traffic until `until_s`. Another policy keeps the errors; the budget is charged for them, too.
fn play(policy: &mut BudgetState, shop: &mut Shop, flood: bool, errors: f64, until_s: f64) -> Played {
    let mut played = Played::default();
    while shop.now_ms < until_s * 1000.0 {
        let (trace, evidence) = shop.next(flood, errors);
        let ratio = policy.threshold(trace.key, trace.span_count, trace.now_ms);
        let threshold = if evidence { Threshold::ALWAYS } else { ratio };
        if !evidence && trace.key != SCRAPE {
            played.visits.add(trace, threshold);
        }
        if played.all.add(trace, threshold) {
            played.kept_spans += f64::from(trace.span_count);
            policy.kept(trace.span_count, trace.now_ms);
        }
    }
    played
}

impl Played {
    /// Returns the share of the visits that was kept.
    fn visits_kept(&self) -> f64 {
        self.visits.kept_traces / self.visits.traces
    }
}

#[test]
fn a_flood_of_one_route_cannot_use_up_the_budget() {
    // The traffic is 258 spans a second of people and 720 of the scraper.
    for spans_per_second in [20.0, 40.0, 100.0] {
        let (mut policy, mut shop) = (budget(spans_per_second), Shop::new());
        let month = spans_per_second * MONTH_SECONDS;
        let calm = play(&mut policy, &mut shop, false, 0.01, 3_600.0);
        calm.all.assert_unbiased("calm");
        let mut spans = calm.kept_spans;
        for quarter in 1..=8 {
            let flood = quarter % 2 == 1;
            let played = play(&mut policy, &mut shop, flood, 0.01, 3_600.0 + 900.0 * f64::from(quarter));
            let case = format!("{spans_per_second} spans/s, quarter {quarter}");
            played.all.assert_unbiased(&case);
            spans += played.kept_spans;
            let estimate = policy.month_estimate(shop.now_ms as u64) / month;
            assert!((estimate - 1.0).abs() < 0.01, "{case}: {estimate} of the budget at this pace");
            // The flood is 80 % of the traces. It reduces the share of kept visits by at most 35 %.
            let (is, was) = (played.visits_kept(), calm.visits_kept());
            assert!(is > if flood { 0.65 } else { 0.93 } * was, "{case}: kept {is} of the visits, {was} before");
        }
        let spent = spans / (10_800.0 * spans_per_second);
        assert!((spent - 1.0).abs() < 0.01, "{spans_per_second} spans/s: {spent} of the budget in 3 hours");
    }
}

#[test]
fn the_ratio_spends_what_errors_leave_of_the_budget() {
    let (mut policy, mut shop) = (budget(40.0), Shop::new());
    let month = 40.0 * MONTH_SECONDS;
    let calm = play(&mut policy, &mut shop, false, 0.01, 3_600.0).visits_kept();
    // 5 % of the visits are errors, with 7 spans each. They take half of the budget, so the ratio falls.
    let half = play(&mut policy, &mut shop, false, 0.05, 9_000.0).visits_kept();
    let estimate = policy.month_estimate(shop.now_ms as u64) / month;
    assert!((estimate - 1.0).abs() < 0.05, "{estimate} of the budget");
    assert!(0.3 * calm < half && half < 0.7 * calm, "kept {half} of the visits, {calm} before");
    // 20 % of the visits are errors, twice the budget. Nearly no other trace is kept, and the estimate shows the
    // excess.
    play(&mut policy, &mut shop, false, 0.2, 12_600.0);
    let storm = play(&mut policy, &mut shop, false, 0.2, 20_000.0).visits_kept();
    let estimate = policy.month_estimate(shop.now_ms as u64) / month;
    assert!((1.9..2.5).contains(&estimate), "{estimate} of the budget");
    assert!(storm < 0.005, "kept {storm} of the visits");
    assert!(policy.threshold(2, 3, shop.now_ms as u64) < Threshold::NEVER, "the adjusted count must be finite");
    // Afterwards the debt, which is bounded, is paid back. Then the ratio is as before.
    play(&mut policy, &mut shop, false, 0.01, 20_000.0 + 3.0 * DEBT_SECONDS);
    let from_s = shop.now_ms / 1000.0;
    let after = play(&mut policy, &mut shop, false, 0.01, from_s + 3_600.0).visits_kept();
    assert!((after / calm - 1.0).abs() < 0.1, "kept {after} of the visits, {calm} before");
}

#[test]
fn unused_budget_is_carried_for_some_minutes_only() {
    let (mut policy, mut shop) = (budget(40.0), Shop::new());
    play(&mut policy, &mut shop, false, 0.0, 3_600.0);
    // There is no traffic for three days.
    shop.now_ms += 3.0 * 86_400_000.0;
    let from_s = shop.now_ms / 1000.0;
    let morning = play(&mut policy, &mut shop, false, 0.0, from_s + 3_600.0);
    let extra_seconds = morning.kept_spans / 40.0 - 3_600.0;
    assert!(
        (0.8..1.1).contains(&(extra_seconds / CARRY_SECONDS)),
        "kept {extra_seconds} s of budget more than an hour has"
    );
}

#[test]
fn a_restart_costs_no_more_than_the_budget_that_may_be_carried() {
    let mut shop = Shop::new();
    let mut spans = 0.0;
    // A restart every ten minutes, for two hours.
    for restart in 1..=12 {
        spans += play(&mut budget(40.0), &mut shop, true, 0.01, 600.0 * f64::from(restart)).kept_spans;
    }
    let spent = spans / (7_200.0 * 40.0);
    assert!((0.9..1.6).contains(&spent), "{spent} of the budget");
}

#[test]
fn all_traces_are_kept_if_the_budget_exceeds_the_traffic() {
    let (mut policy, mut shop) = (budget(400.0), Shop::new());
    let played = play(&mut policy, &mut shop, false, 0.01, 1_800.0);
    assert_eq!(played.all.kept_traces, played.all.traces);
    // The estimate is the pace of the traffic: 258 spans a second and a few more for errors.
    let estimate = policy.month_estimate(shop.now_ms as u64) / MONTH_SECONDS;
    assert!((250.0..270.0).contains(&estimate), "{estimate} spans/s");
}

#[test]
fn a_budget_of_a_span_every_few_seconds_is_held() {
    // The budget is a million spans a month. The traffic is 258 spans a second of people and 720 of the scraper.
    let (mut policy, mut shop) = (budget(1e6 / MONTH_SECONDS), Shop::new());
    let played = play(&mut policy, &mut shop, true, 0.0, 4.0 * 3_600.0);
    let spent = played.kept_spans / (4.0 * 3_600.0 * 1e6 / MONTH_SECONDS);
    assert!((0.9..1.1).contains(&spent), "{spent} of the budget");
}

#[test]
fn the_estimate_is_the_pace_of_the_last_hour() {
    let mut policy = budget(40.0);
    assert_eq!(policy.month_estimate(0), 0.0);
    for (second, spans_per_second, estimate) in
        [(1, 50, 50.0), (1_000, 50, 50.0), (1_001, 90, 50.0), (30_000, 90, 90.0)]
    {
        let from = policy.now_ms.unwrap_or(0) / 1000;
        for second in from + 1..=second {
            policy.kept(spans_per_second, second * 1000);
        }
        let now = policy.month_estimate(second * 1000) / MONTH_SECONDS;
        assert!((now / estimate - 1.0).abs() < 0.01, "{now} spans/s after {second} s, not {estimate}");
    }
}
