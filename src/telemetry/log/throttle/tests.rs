use super::*;

#[test]
fn a_limited_number_of_lines_passes_and_the_others_are_counted() {
    let start = Instant::now();
    let throttle = Throttle::new(2, Duration::from_secs(10));
    let at = |seconds| throttle.pass(start + Duration::from_secs(seconds));
    assert_eq!([at(0), at(9), at(9), at(9)], [Some(0), Some(0), None, None]);
    assert_eq!([at(10), at(19), at(19)], [Some(2), Some(0), None]);
    assert_eq!([at(1_000), at(1_000)], [Some(1), Some(0)]);
}
