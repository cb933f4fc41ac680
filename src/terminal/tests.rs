use super::*;

#[test]
fn an_empty_no_color_counts_as_unset() {
    for (value, expected) in [(None, false), (Some(""), false), (Some("1"), true), (Some("0"), true)] {
        assert_eq!(forbids_colors(value.map(OsStr::new)), expected, "{value:?}");
    }
    assert!(!is_colored(false), "a file is never coloured");
}

#[test]
fn only_a_dumb_terminal_shows_sequences_as_they_are() {
    for (term, expected) in [(None, false), (Some(""), false), (Some("xterm-256color"), false), (Some("dumb"), true)] {
        assert_eq!(is_dumb(term.map(OsStr::new)), expected, "{term:?}");
    }
    assert!(!has_sequences(false), "a file has none");
}

#[test]
fn a_style_ends_after_its_text() {
    assert_eq!(Paint::new(true).with(Paint::RED, "a"), "\x1b[1;31ma\x1b[0m");
    assert_eq!(Paint::new(true).with(Paint::RED, ""), "");
    assert_eq!(Paint::PLAIN.with(Paint::RED, "a"), "a");
}
