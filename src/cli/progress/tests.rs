use super::*;

#[test]
fn the_line_is_shown_after_a_second_changes_seldom_and_is_removed() {
    let (mut out, start) = (Vec::new(), Instant::now());
    let progress = Progress::on(&mut out, true, start);
    for millis in (0..1_250).step_by(50) {
        progress.show_at(start + Duration::from_millis(millis), || millis.to_string());
    }
    drop(progress);
    assert_eq!(String::from_utf8(out).unwrap(), format!("{CLEAR}1000{CLEAR}1100{CLEAR}1200{CLEAR}"));
}

#[test]
fn nothing_is_shown_without_a_terminal_and_nothing_of_a_short_command() {
    let start = Instant::now();
    for (is_terminal, millis) in [(false, 5_000), (true, 900)] {
        let mut out = Vec::new();
        let progress = Progress::on(&mut out, is_terminal, start);
        progress.show_at(start + Duration::from_millis(millis), || "text".to_owned());
        drop(progress);
        assert!(out.is_empty());
    }
}
