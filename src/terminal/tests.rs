use super::*;

#[test]
fn an_empty_no_color_counts_as_unset() {
    for (value, expected) in [(None, false), (Some(""), false), (Some("1"), true), (Some("0"), true)] {
        assert_eq!(forbids_colors(value.map(OsStr::new), Some(OsStr::new("xterm"))), expected, "{value:?}");
        assert_eq!(forbids_colors(value.map(OsStr::new), None), expected, "{value:?}");
    }
    assert!(forbids_colors(None, Some(OsStr::new("dumb"))), "a terminal without colours");
    assert!(!is_colored(false), "a file is never coloured");
}

#[test]
fn a_style_ends_after_its_text() {
    assert_eq!(Paint::new(true).with(Paint::RED, "a"), "\x1b[1;31ma\x1b[0m");
    assert_eq!(Paint::new(true).with(Paint::RED, ""), "");
    assert_eq!(Paint::PLAIN.with(Paint::RED, "a"), "a");
}
