use super::*;
use crate::config;

fn load(text: &str) -> Result<TestFile, String> {
    config::load_tests(text, &|_| None).map(|(file, _)| file).map_err(|problems| problems.to_string())
}

#[test]
fn the_triggers_have_the_names_that_metrics_use() {
    for (name, trigger) in TRIGGERS {
        assert_eq!(name, trigger.as_str());
    }
}

#[test]
fn every_key_is_read() {
    let text = "tests:\n  - name: a\n    repeat: 3\n    every: 10ms\n    seed: 7\n    at: 2026-01-02T00:00:00Z\n    resource: {host.id: 5, flag: true}\n    \
                trace: 'api  GET  20ms'\n    expect:\n      policy: errors\n      trigger: rescue\n      \
                spans: 2\n      kept: 4.3% - 5.7%\n      adjusted_count: 20\n      attributes: {a: 1}\n      resource: {b: c}\n      \
                absent: [d]\n      written: [{name: GET, attributes: {e: 1.5}}]\n";
    let file = load(text).unwrap();
    let keys = &file.tests[0].keys;
    assert_eq!((keys.repeat, keys.every, keys.seed), (3, Duration::from_millis(10), 7));
    assert_eq!(keys.resource, [("host.id".into(), TextValue::Int(5)), ("flag".into(), TextValue::Bool(true))]);
    let expect = &keys.expect;
    assert_eq!(keys.at, Some(TestTime(1_767_312_000)));
    assert_eq!((expect.trigger, expect.spans), (Some(Trigger::Rescue), Some(2)));
    let verdict = &load("tests: [{name: a, trace: 'api  GET  20ms', expect: {verdict: dropped}}]").unwrap().tests[0];
    assert_eq!(verdict.keys.expect.verdict, Some(ExpectedVerdict::Dropped));
    assert_eq!(expect.kept, Some(PercentRange { min: 4.3, max: 5.7 }));
    assert_eq!(expect.policy.as_ref().unwrap().at.line, 10);
    assert_eq!(expect.written[0].attributes, [("e".into(), TextValue::Double(1.5))]);
}

/// Tests with a mistake, and the message about it.
const MISTAKES: [(&str, &str); 22] = [
    ("{name: x, expect: {verdict: kept}, file: '-'}", "a test cannot read standard input"),
    ("{expect: {verdict: kept}, trace: 'a  b  1ms'}", "the key `name` is missing"),
    ("{name: x, trace: 'a  b  1ms'}", "the key `expect` is missing"),
    ("{name: x, expect: {}, trace: 'a  b  1ms'}", "nothing is expected"),
    ("{name: x, expect: {attributes: {}}, trace: 'a  b  1ms'}", "nothing is expected"),
    ("{name: x, expect: {verdict: kept}}", "the test has no trace"),
    ("{name: x, expect: {verdict: kept}, trace: 'a  b  1ms', file: f}", "`trace` and `file` are both given"),
    ("{name: x, expect: {verdict: kept}, file: f, repeat: 2}", "`repeat` has no effect on the traces of a file"),
    ("{name: x, expect: {verdikt: kept}, trace: 'a  b  1ms'}", "did you mean `verdict`?"),
    ("{name: x, expect: {verdict: keept}, trace: 'a  b  1ms'}", "did you mean `kept`?"),
    ("{name: x, expect: {trigger: shutdown}, trace: 'a  b  1ms'}", "unknown trigger `shutdown`"),
    ("{name: x, expect: {kept: 5}, trace: 'a  b  1ms'}", "`5` is not a range of percentages"),
    ("{name: x, expect: {kept: 6% - 5%}, trace: 'a  b  1ms'}", "`6% - 5%` is not a range of percentages"),
    ("{name: x, expect: {verdict: dropped, spans: 1}, trace: 'a  b  1ms'}", "a dropped trace has none"),
    ("{name: x, expect: {verdict: kept}, trace: 'a  b  1ms', trace_id: 12}", "`12` is not a trace id"),
    (
        "{name: x, expect: {verdict: kept}, trace: 'a  b  1ms', at: 2026-12-01}",
        "`2026-12-01` is not a time with a zone",
    ),
    ("{name: x, expect: {verdict: kept}, trace: 'a  b  1ms', at: 2200-01-01T00:00:00Z}", "is too late"),
    (
        "{name: x, expect: {verdict: kept}, file: f, at: 2026-12-01T00:00:00Z}",
        "`at` has no effect on the traces of a file",
    ),
    ("{name: x, expect: {kept: 5%, verdict: kept}, trace: 'a  b  1ms'}", "`verdict` means nothing beside `kept`"),
    ("{name: x, expect: {kept: 0%, policy: p}, trace: 'a  b  1ms'}", "`policy` is about kept traces, and `kept: 0%`"),
    ("{name: x, expect: {kept: 0%, trigger: evidence}, trace: 'a  b  1ms'}", "`trigger` is about kept traces"),
    ("{name: x, expect: {kept: 0%, spans: 1}, trace: 'a  b  1ms'}", "`spans` is about kept traces"),
];

#[test]
fn a_mistake_is_told_with_its_remedy() {
    for (test, expected) in MISTAKES {
        let error = load(&format!("tests: [{test}]")).expect_err(test);
        assert!(error.contains(expected), "{test}: {error}");
        assert_eq!(error.lines().count(), 1, "{test}: {error}");
    }
}

#[test]
fn traces_with_too_many_spans_together_are_refused_at_their_place() {
    let spans = |count| "      a  b  1ms\n".repeat(count);
    let text = |repeat, count| {
        format!(
            "tests:\n  - name: x\n    repeat: {repeat}\n    expect: {{verdict: kept}}\n    trace: |\n{}",
            spans(count)
        )
    };
    assert!(load(&text(1_000_000, 10)).is_ok());
    assert_eq!(
        load(&text(1_000_000, 11)).unwrap_err(),
        "3:13: 1000000 traces of 11 spans are 11000000 spans (at most 10000000 spans: repeat it at most 909090 times)"
    );
}

#[test]
fn the_place_of_a_mistake_in_a_trace_is_found_in_every_form() {
    for (trace, line, column) in [
        ("'api  GET  1ms  eror'", 2, 28),
        ("\"api  GET  1ms  eror\"", 2, 28),
        ("|\n      api  GET  1ms  eror", 3, 22),
        ("|-\n\n      # é\n      api  GET  1ms\n        db  é  1ms  eror", 6, 21),
        ("|2\n       api  GET  1ms  eror", 3, 23),
    ] {
        let text = format!("tests:\n  - trace: {trace}\n    name: x\n    expect: {{verdict: kept}}\n");
        let error = load(&text).expect_err(trace);
        assert!(error.starts_with(&format!("{line}:{column}: unknown word `eror`")), "{trace}: {error}");
    }
}
