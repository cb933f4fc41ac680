use super::*;

#[test]
fn pauses_double_up_to_their_limit_and_begin_anew() {
    let mut pauses = Pauses::new(Duration::from_secs(1));
    let mut next = || pauses.next(0.0).as_millis();
    assert_eq!([next(), next(), next(), next(), next()], [200, 400, 800, 1_000, 1_000]);
    pauses.restart();
    assert_eq!(pauses.next(0.0), PAUSE_MIN);
}

#[test]
fn a_random_part_of_a_pause_is_left_out() {
    let pause = |random| Pauses::new(Duration::from_secs(1)).next(random).as_millis();
    assert_eq!([0.0, 0.5, 0.999].map(pause), [200, 150, 100]);
}
