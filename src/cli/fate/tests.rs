use super::*;
use crate::api::answers::FateWord;

fn kept() -> FateAnswer {
    FateAnswer {
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        fate: FateWord::Kept,
        explanation: "The policy errors kept the trace.".into(),
        policy: Some("errors".into()),
        adjusted_count: Some(1.0),
        trigger: Some("evidence".into()),
        decided_at: Some("2026-11-30T10:00:00Z".into()),
        until: None,
        spans: Some(3),
        late_spans: Some(1),
        duration_ms: None,
        missing_parent: None,
        dry_run: false,
        policies: None,
    }
}

#[test]
fn only_what_is_known_is_printed() {
    let expected = "\
4bf92f3577b34da6a3ce929d0e0e4736: kept
  The policy errors kept the trace.
  policy           errors
  adjusted count   1
  trigger          evidence
  decided at       2026-11-30T10:00:00Z
  spans            3, 1 of them late
";
    assert_eq!(text(&kept(), Paint::PLAIN), expected);
}

#[test]
fn each_policy_has_a_row() {
    let policy = |policy: &str, answer: &str, adjusted_count| PolicyAnswer {
        policy: policy.into(),
        answer: answer.into(),
        adjusted_count,
        shadow: false,
    };
    let shadow = PolicyAnswer { shadow: true, ..policy("slow", "keeps", None) };
    let policies = vec![policy("errors", "does not keep", None), policy("all", "keeps", Some(1.0)), shadow];
    let pending = FateAnswer {
        fate: FateWord::Pending,
        until: Some("2026-11-30T10:00:09Z".into()),
        late_spans: None,
        policies: Some(policies),
        ..kept()
    };
    let printed = text(&pending, Paint::PLAIN);
    assert!(printed.contains("\n  decided by       2026-11-30T10:00:09Z\n  spans            3\n"), "{printed}");
    assert!(
        printed.ends_with(
            "  policies\n    errors  does not keep\n    all     keeps (adjusted count 1)\n    slow    keeps  (shadow policy: decides nothing)\n"
        ),
        "{printed}"
    );
}

#[test]
fn the_words_of_a_daemon_do_not_control_the_terminal_and_have_any_length() {
    let hostile = "a\x1b]0;owned\x07\u{9b}2J\u{202e}";
    let text_of = |text: &str| Some(text.to_owned());
    let policy =
        PolicyAnswer { policy: hostile.repeat(10_000), answer: hostile.into(), adjusted_count: None, shadow: true };
    let answer = FateAnswer {
        trace_id: hostile.into(),
        explanation: hostile.into(),
        policy: text_of(hostile),
        trigger: text_of(hostile),
        decided_at: text_of(hostile),
        until: text_of(hostile),
        missing_parent: text_of(hostile),
        policies: Some(vec![policy]),
        ..kept()
    };
    let printed = text(&answer, Paint::PLAIN);
    assert!(printed.chars().all(|c| c == '\n' || crate::settings::diagnostic::printable(c) == c), "{printed:?}");
    assert!(printed.lines().all(|line| line.chars().count() < 200), "{printed}");
}
