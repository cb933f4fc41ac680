use super::*;

#[test]
fn silence_is_the_time_since_the_last_sign() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let pulse = Pulse::new(start);
    assert_eq!(pulse.silence(at(7)), Duration::from_secs(7), "the start counts as a sign");
    pulse.clone().beat(at(10));
    assert_eq!(pulse.silence(at(10)), Duration::ZERO);
    assert_eq!(pulse.silence(at(70)), SILENCE_MAX);
    assert_eq!(pulse.silence(at(9)), Duration::ZERO, "a caller that read the clock a little earlier");
}

#[test]
fn a_worker_that_waits_for_the_disk_is_not_silent_and_the_disk_is() {
    let start = Instant::now();
    let pulse = Pulse::new(start);
    pulse.at_disk(start);
    let later = start + 2 * SILENCE_MAX;
    assert_eq!((pulse.silence(later), pulse.disk_wait(later)), (Duration::ZERO, 2 * SILENCE_MAX));
    pulse.beat(later);
    assert_eq!(
        (pulse.silence(later + SILENCE_MAX), pulse.disk_wait(later + SILENCE_MAX)),
        (SILENCE_MAX, Duration::ZERO)
    );
}
