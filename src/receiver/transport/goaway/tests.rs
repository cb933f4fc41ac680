use super::*;

#[test]
fn the_end_of_a_frame_is_found_in_any_pieces() {
    let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[0xff; 8]].concat();
    let data = [&[0, 1, 2, 0, 1, 0, 0, 0, 1][..], &[0xff; 258]].concat();
    let all = [ping.clone(), vec![0, 0, 0, 4, 1, 0, 0, 0, 0], data, calm_down(5).to_vec()].concat();
    let ends = [17, 17 + 9, 17 + 9 + 267, all.len()];
    for step in [1, 2, 5, 9, 100, 1000] {
        let (mut sent, mut written) = (SentFrames::default(), 0);
        assert!(!sent.is_between(), "the first frame is still to come");
        for piece in all.chunks(step) {
            sent.follow(piece);
            written += piece.len();
            assert_eq!(sent.is_between(), ends.contains(&written), "{written} bytes in pieces of {step}");
        }
    }
}
