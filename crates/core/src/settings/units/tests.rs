use super::*;

#[test]
fn times_have_two_units() {
    for (seconds, text) in [(0, "0 s"), (61, "1 min 1 s"), (3_700, "1 h 1 min"), (90_000, "1 d 1 h")] {
        assert_eq!(display_seconds(seconds), text);
    }
}
