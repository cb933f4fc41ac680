use serde::Deserialize;

use super::{Pattern, as_go_reads};
use crate::otlp::view::AnyValue;

/// Answers of Go's `regexp`, written by `tools/go-regexp`.
#[derive(Deserialize)]
struct Fixture {
    /// The searched texts in hexadecimal digits, because some are not UTF-8.
    texts: Vec<String>,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    pattern: String,
    #[serde(default)]
    refused: bool,
    /// One digit for each text: 1 if the pattern is found in it, 0 if not.
    #[serde(default)]
    found: String,
    /// For each text in which the pattern is found: the parts that the named groups match, in hexadecimal digits.
    #[serde(default)]
    groups: Vec<Vec<String>>,
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// Describes in one line the first difference from Go for a pattern; `None` if there is none.
fn differences(answer: &Answer, texts: &[Vec<u8>]) -> Option<String> {
    let Answer { pattern, refused, found, groups } = answer;
    let compiled = match Pattern::new(pattern) {
        Err(_) if *refused => return None,
        Err(error) => return Some(format!("{pattern:?} is refused: {error}")),
        Ok(_) if *refused => return Some(format!("{pattern:?} is not refused")),
        Ok(compiled) => compiled,
    };
    let own: String = texts.iter().map(|text| if compiled.is_match(text) { '1' } else { '0' }).collect();
    let differ = texts.iter().zip(own.bytes().zip(found.bytes())).find(|(_, (own, go))| own != go);
    if let Some((text, _)) = differ {
        return Some(format!("{pattern:?} of {:?}", String::from_utf8_lossy(text)));
    }
    let captured = texts.iter().filter_map(|text| compiled.captures(text));
    let captured: Vec<Vec<Vec<u8>>> = captured
        .map(|parts| parts.into_iter().map(|(_, part)| part).collect())
        .filter(|parts: &Vec<_>| !parts.is_empty())
        .collect();
    let expected: Vec<Vec<Vec<u8>>> =
        groups.iter().map(|parts| parts.iter().map(|part| as_go_reads(&bytes(part)).into_owned()).collect()).collect();
    (captured != expected).then(|| format!("groups of {pattern:?}: {captured:?}, not {expected:?}"))
}

#[test]
fn patterns_match_as_in_go() {
    let Fixture { texts, answers } = serde_json::from_str(include_str!("tests/go.json")).unwrap();
    let texts: Vec<Vec<u8>> = texts.iter().map(|text| bytes(text)).collect();
    let differences: Vec<String> = answers.iter().filter_map(|answer| differences(answer, &texts)).collect();
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), answers.len(), differences.join("\n"));
    assert!(answers.len() > 1000);
}

#[test]
fn error_help_says_what_to_write_instead() {
    for (pattern, message, help) in [
        (r"(a", "missing closing ): `(a`", r"a literal parenthesis is written `\(`"),
        (r"^\K", r"invalid escape sequence: `\K`", r"a literal backslash is `\\`"),
        ("a(?=b)", "invalid or unsupported Perl syntax: `(?=`", "lookahead"),
        ("a**", "invalid nested repetition operator: `**`", "`(?:a*)+`"),
        (r"\pL{1000}", "the expression takes more than 1 MiB when it is compiled: `\\pL{1000}`", "lower the counts"),
        ("x{1001}", "invalid repeat count: `{1001}`", "at most 1000"),
    ] {
        let error = Pattern::new(pattern).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(error.help.contains(help), "{error:?}");
    }
}

#[test]
fn deep_and_long_expressions_are_bounded() {
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Pattern::new(&nested(250)).unwrap().is_match(b"a"));
    assert!(Pattern::new(&nested(251)).is_err());
    for usual in [r"^\w{1,255}$", "^.{1,1000}$", r"^[\w.%+-]{1,64}@[\w.-]{1,255}$", r"(?i)^[[:alnum:]]{1,1000}$"] {
        assert!(Pattern::new(usual).is_ok(), "{usual}");
    }
}

#[test]
fn patterns_match_the_text_of_simple_values() {
    let cases = [
        (AnyValue::String(b"abc"), "^abc$", true),
        (AnyValue::String(b"abc"), "^d", false),
        (AnyValue::Bool(true), "^true$", true),
        (AnyValue::Bool(false), "^false$", true),
        (AnyValue::Int(503), "^5..$", true),
        (AnyValue::Int(i64::MIN), "^-9223372036854775808$", true),
        (AnyValue::Double(0.25), "^0\\.25$", true),
        (AnyValue::Double(500.0), "^500$", true),
        (AnyValue::Double(-123_456_789_012_345_680_000.0), "^-123456789012345680000$", true),
        (AnyValue::Double(1e21), r"^1e\+21$", true),
        (AnyValue::Double(0.000_001), r"^0\.000001$", true),
        (AnyValue::Double(-0.000_000_12), r"^-1\.2e-7$", true),
        (AnyValue::Double(-5e-324), "^-5e-324$", true),
        (AnyValue::Double(-f64::MAX), r"^-1\.7976931348623157e\+308$", true),
        (AnyValue::Double(-0.0), "^-0$", true),
        (AnyValue::Double(f64::NEG_INFINITY), "-Inf$", true),
        (AnyValue::Bytes(b"abc"), "", false),
        (AnyValue::Empty, "", false),
    ];
    for (value, pattern, expected) in cases {
        assert_eq!(Pattern::new(pattern).unwrap().is_match_text(value), expected, "{value:?} {pattern}");
    }
}

#[test]
fn expressions_that_are_found_everywhere_are_known() {
    for everywhere in [
        "", ".*", ".", ".+", "a*", "(.*)", "a?b?", "x|.*", "^.*$", "^.*", "^", ".*$", "^(.+)$", "^a*", "(?s).*",
        "[^\\n]+",
    ] {
        assert!(Pattern::finds_everything(everywhere), "{everywhere}");
    }
    for some in [
        "a",
        "a.*",
        ".*a",
        "^$",
        "^a*$",
        "..",
        "^.$",
        "[^/]*x",
        "\\b",
        "^/api/.*$",
        "(?m)^x*$",
        "a|b",
        "[",
        "^[^/]+$",
        "[^x]",
    ] {
        assert!(!Pattern::finds_everything(some), "{some}");
    }
}
