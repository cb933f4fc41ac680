use super::*;

fn roster(same: &[u64], others: &[u64]) -> Roster {
    let view = |ids: &[u64]| View::new(ids.iter().map(|&id| MemberId(id)));
    Roster::of(MemberId(1), &view(same), &view(others))
}

#[test]
fn members_that_come_and_go_are_named() {
    let (before, after) = (roster(&[1, 2, 3], &[]), roster(&[1, 3, 4], &[5]));
    assert_eq!(after.beyond(&before), "0000000000000004, 0000000000000005 (other policies)");
    assert_eq!(before.beyond(&after), "0000000000000002");
    assert_eq!((before.counts(), after.counts()), ((3, 0), (3, 1)));
    assert_eq!(before.beyond(&before), "");
    // One that has other policies now is named on both sides.
    assert_eq!(roster(&[1], &[3]).beyond(&roster(&[1, 3], &[])), "0000000000000003 (other policies)");
}

#[test]
fn a_large_fleet_is_named_in_part() {
    assert_eq!(roster(&[1], &[]).to_string(), "no other member");
    let many = roster(&(0..256).collect::<Vec<_>>(), &[]).to_string();
    assert!(many.starts_with("with 0000000000000000, 0000000000000002, "), "{many}");
    assert!(many.ends_with(", 000000000000000c and 243 more") && many.len() < 300, "{many}");
}
