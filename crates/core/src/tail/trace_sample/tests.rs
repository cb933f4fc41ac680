use super::*;

/// Returns a hash like that of a trace. Different numbers have different hashes.
fn hash(n: u64) -> u64 {
    n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[test]
fn all_traces_are_followed_at_low_traffic() {
    let mut sample = TraceSample::new();
    for n in 0..2_000 {
        let now_ms = n * 4_000;
        assert_eq!(sample.record(hash(n), now_ms), Some(SampledArrival { weight: 1, delay_ms: None }));
        assert_eq!(sample.record(hash(n), now_ms + 70), Some(SampledArrival { weight: 1, delay_ms: Some(70) }));
        let Some(earlier) = n.checked_sub(200) else { continue };
        let delay_ms = Some(now_ms - earlier * 4_000);
        assert_eq!(sample.record(hash(earlier), now_ms), Some(SampledArrival { weight: 1, delay_ms }));
    }
}

#[test]
fn weights_add_up_to_the_number_of_traces_at_any_rate() {
    for traces_per_second in [1, 10, 100, 2_000] {
        let mut sample = TraceSample::new();
        let (mut estimate, traces) = (0, traces_per_second * 2_000);
        for n in 0..traces {
            let sampled = sample.record(hash(n), n * 1_000 / traces_per_second);
            estimate += sampled.map_or(0, |sampled| sampled.weight);
            assert!(sample.sampled.len() <= TRACES_MAX && sample.order.len() <= TRACES_MAX);
        }
        // The sample counted a few hundred traces, so the estimate has a random error.
        let error = (estimate as f64 - traces as f64).abs() / traces as f64;
        assert!(error < 0.15, "{estimate} of {traces}");
    }
}

#[test]
fn the_sample_adapts_to_bursts_and_back() {
    let mut sample = TraceSample::new();
    (0..1_000_000).for_each(|n| _ = sample.record(hash(n), 1_000));
    assert!(sample.mask >= 0xfff, "{:x}", sample.mask);
    for n in 0..3_600 {
        // New traces, of which only a small part is in the sample.
        (0..1_000).for_each(|i| _ = sample.record(hash(10_000_000 + n * 1_000 + i), HORIZON_MS + n * 10_000));
        if n == 60 {
            assert!(sample.mask < 0xfff, "{:x}", sample.mask);
        }
    }
    let sampled = sample.sampled.len();
    assert!((TRACES_MIN..=TRACES_MAX).contains(&sampled), "{sampled}");
}

#[test]
fn a_trace_is_followed_to_the_horizon() {
    let mut sample = TraceSample::new();
    sample.record(1, 0);
    assert_eq!(sample.record(1, HORIZON_MS - 1).unwrap().delay_ms, Some(HORIZON_MS - 1));
    assert_eq!(sample.record(1, HORIZON_MS).unwrap().delay_ms, None);
}

#[test]
fn memory_stays_within_its_bound() {
    let mut sample = TraceSample::new();
    (0..100_000).for_each(|n| _ = sample.record(hash(n), n));
    let bytes = sample.sampled.allocation_size() + sample.order.capacity() * size_of::<u64>();
    assert!(bytes <= TraceSample::BYTES_MAX, "{bytes} of {}", TraceSample::BYTES_MAX);
}
