use super::*;

#[test]
fn texts_from_elsewhere_do_not_control_a_terminal() {
    for (text, expected) in [
        ("plain, \u{e4}\u{1f600}", "plain, \u{e4}\u{1f600}"),
        ("a\tb\r\nc", "a b  c"),
        ("\x1b[31mred\x1b[0m", " [31mred [0m"),
        // The same with the one-character forms of the sequences (ECMA-48, 5.3).
        ("\u{9b}31mred\u{7f}", " 31mred "),
        ("nimda\u{202e}\u{2066}\u{200f}\u{61c}", "nimda    "),
    ] {
        assert_eq!(printable_text(text), expected);
    }
}

#[test]
fn the_start_is_counted_in_characters() {
    assert_eq!(printable_start("\u{e4}\u{e4}\u{e4}", 2), "\u{e4}\u{e4}");
    assert_eq!(printable_start("a", 2), "a");
    assert_eq!(quote_start("abc", 2), "`ab...`");
    assert_eq!(quote_start("ab", 2), "`ab`");
}
