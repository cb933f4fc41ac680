use super::*;
use crate::config::load;

const RATE: Rate =
    Rate { spans_per_second: 1_000.0, bytes_per_span: 500.0, spans_per_trace: 9.0, container_bytes: None };

fn estimate(text: &str, rate: Rate) -> Estimate {
    let settings = load(text, &|_| None).unwrap().settings;
    let policies = Policies::compile(&settings.tail_sampling.policies, false).unwrap();
    Estimate::of(&settings, &policies, rate, 0).unwrap()
}

const SMALL_CACHES: &str = "decision_cache: {sampled_cache_size: 1000, non_sampled_cache_size: 1000}";

#[test]
fn what_does_not_fit_comes_with_remedies_that_help() {
    let config = |limit: &str, wait: &str, rest: &str| {
        format!("memory: {{limit: {limit}{rest}}}\ntail_sampling: {{decision_wait: {wait}, {SMALL_CACHES}}}\n")
    };
    let tight = estimate(&config("32MiB", "60s", ""), RATE);
    assert!(!tight.fits());
    let [memory, wait, compress] = tight.remedies.as_slice() else { panic!("{:?}", tight.remedies) };
    assert!(compress.starts_with("memory.compress: lz4"), "{compress}");
    assert!(estimate(&config("32MiB", "60s", ", compress: lz4"), RATE).fits());
    // Each remedy is enough, and a little less is not.
    let number = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>().parse::<u64>().unwrap();
    let (mebibytes, seconds) = (number(memory), number(wait));
    assert!(estimate(&config(&format!("{mebibytes}MiB"), "60s", ""), RATE).fits(), "{memory}");
    assert!(!estimate(&config(&format!("{}MiB", mebibytes - 1), "60s", ""), RATE).fits(), "{memory}");
    assert!(estimate(&config("32MiB", &format!("{seconds}s"), ""), RATE).fits(), "{wait}");
    assert!(!estimate(&config("32MiB", &format!("{}s", seconds + 1), ""), RATE).fits(), "{wait}");
}

#[test]
fn a_remedy_that_is_not_enough_is_not_named() {
    let text = format!("memory: {{limit: 16MiB}}\ntail_sampling: {{decision_wait: 60s, {SMALL_CACHES}}}\n");
    let tight = estimate(&text, RATE);
    assert_eq!(tight.remedies.len(), 2, "{:?}", tight.remedies);
    assert!(!estimate(&text.replace("16MiB", "16MiB, compress: lz4"), RATE).fits());
}

#[test]
fn a_percentage_is_of_the_container() {
    let rate = Rate { container_bytes: Some(1 << 30), ..RATE };
    let percent = estimate("memory: {limit: 50%}", rate);
    assert_eq!(percent.json()["limit_bytes"], 512 << 20);
    assert!(percent.text().contains("  memory.limit: 50% of 1024 MiB\n"), "{}", percent.text());
    let tight = Rate { spans_per_second: 100_000.0, ..rate };
    let tight = estimate("memory: {limit: 50%}", tight);
    assert!(tight.remedies[0].starts_with("a container of "), "{:?}", tight.remedies);
}

#[test]
fn a_member_of_a_fleet_needs_memory_for_the_traces_that_it_owns() {
    let text = |limit: &str, fleet: &str| {
        format!("memory: {{limit: {limit}}}\ntail_sampling: {{decision_wait: 10s, {SMALL_CACHES}}}\n{fleet}")
    };
    let fleet = "fleet: {url: 'redis://valkey'}\n";
    let (alone, member) = (estimate(&text("1GiB", ""), RATE), estimate(&text("1GiB", fleet), RATE));
    assert!(member.required() > alone.required() + 6.0 * 1_048_576.0);
    assert!(member.fits() && member.text().contains("of a member of a fleet") && !alone.text().contains("fleet"));
    // Many small traces: their spans fit, but not their summaries.
    let many = Rate { bytes_per_span: 10.0, spans_per_trace: 1.0, ..RATE };
    let tight = estimate(&text("128MiB", fleet), Rate { spans_per_second: 2_000.0, ..many });
    assert!(tight.fits_in_budget() && !tight.fits(), "{}", tight.text());
    let [memory] = tight.remedies.as_slice() else { panic!("{:?}", tight.remedies) };
    let least: String = memory.chars().filter(char::is_ascii_digit).collect();
    assert!(
        estimate(&text(&format!("{least}MiB"), fleet), Rate { spans_per_second: 2_000.0, ..many }).fits(),
        "{memory}"
    );
}

/// The limit that the member needs is far above that of the spans.
#[test]
fn a_remedy_for_any_traffic_is_found_at_once_or_there_is_none() {
    let text = |limit: &str| {
        format!(
            "memory: {{limit: {limit}}}\ntail_sampling: {{decision_wait: 10s, {SMALL_CACHES}}}\nfleet: {{url: 'redis://valkey'}}\n"
        )
    };
    let rate = |spans_per_second| Rate { spans_per_second, bytes_per_span: 1.0, spans_per_trace: 1.0, ..RATE };
    let much = estimate(&text("1GiB"), rate(5e6));
    let least_bytes = much.least_limit_bytes.unwrap();
    assert!(estimate(&text(&least_bytes.to_string()), rate(5e6)).fits(), "{least_bytes}");
    assert!(!estimate(&text(&(least_bytes - 1).to_string()), rate(5e6)).fits(), "{least_bytes}");
    for spans_per_second in [1e8, 1e30, f64::MAX] {
        let endless = estimate(&text("1GiB"), rate(spans_per_second));
        assert_eq!(endless.json()["least_limit_bytes"], Value::Null);
        assert_eq!(
            endless.remedies[0], "less traffic for each instance: no memory.limit up to 1 TiB is enough",
            "{spans_per_second}"
        );
        assert!(!endless.text().is_empty());
    }
}

#[test]
fn the_parts_add_up() {
    let estimate = estimate(&format!("memory: {{limit: 1GiB}}\ntail_sampling: {{{SMALL_CACHES}}}\n"), RATE);
    let json = estimate.json();
    let sum: u64 = json["bytes"].as_object().unwrap().values().map(|bytes| bytes.as_u64().unwrap()).sum();
    let required = json["required_bytes"].as_u64().unwrap();
    assert!(required.abs_diff(sum) <= 5, "{json}");
    // 10 s of 1,000 spans of 500 bytes.
    assert_eq!(json["bytes"]["bodies"], 5_000_000);
    assert_eq!(json["fits"], true);
    let sum: f64 = estimate
        .text()
        .lines()
        .skip(1)
        .take(6)
        .map(|line| line.split_whitespace().next().unwrap().parse::<f64>().unwrap())
        .sum();
    let needed: f64 = estimate.text().lines().nth(7).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!((sum - needed).abs() < 0.3, "{}", estimate.text());
}

#[test]
fn what_the_api_remembers_is_counted() {
    let text = "tail_sampling: {decision_cache: {sampled_cache_size: 1000000, non_sampled_cache_size: 1000000}}\n";
    let caches = |text: &str| estimate(text, RATE).json()["bytes"]["verdicts"].as_u64().unwrap();
    let (off, on) = (caches(text), caches(&format!("{text}api: {{listen: '127.0.0.1:8090'}}\n")));
    // 8 bytes for each of two million ids, and a third more for the slack of the buckets.
    assert!((16_000_000..48_000_000).contains(&(on - off)), "{off} {on}");
}
