use super::{ended, summary, trials};
use crate::config::load;

fn check(policies: &str, expected: &str) {
    let text = format!("tail_sampling: {{policies: [{policies}]}}\nexport: {{endpoint: embedded}}");
    let loaded = load(&text, &|_| None).unwrap();
    assert_eq!(summary(&loaded.settings, 1_764_547_200), format!("{expected}; writes to the embedded Cloud Trace"));
}

#[test]
fn the_summary_lists_policies_that_keep_and_policies_that_drop() {
    let drop = "{name: d, type: drop, drop: {drop_sub_policy: [{name: e, type: error}]}}";
    check("{name: a, type: error}, {name: b, type: always_sample}", "keeps by a, b");
    check(&format!("{{name: a, type: error}}, {drop}"), "keeps by a; drops by d");
    check(drop, "keeps nothing; drops by d");
    // 1,764,547,200 is 2025-12-01T00:00:00Z.
    let with_end = |end: &str| format!("{{name: a, type: error}}, {{name: b, type: always_sample, until: {end}}}");
    check(&with_end("2025-12-01T00:00:00Z"), "keeps by a");
    check(&with_end("2025-12-01T00:00:01Z"), "keeps by a, b");
}

#[test]
fn validate_says_when_policies_end_and_which_only_try() {
    let lines = |policies: &str, more: &str| {
        let text = format!("tail_sampling: {{{more} policies: [{policies}]}}");
        trials(&load(&text, &|_| None).unwrap().settings, 1_764_547_200)
    };
    let errors = "{name: a, type: error}";
    assert_eq!(lines(errors, ""), Vec::<String>::new());
    // 1,764,547,200 is 2025-12-01T00:00:00Z.
    let until = |time: &str| lines(&format!("{errors}, {{name: b, type: always_sample, until: {time}}}"), "");
    assert_eq!(until("2025-12-03T04:05:00Z"), ["b counts until 2025-12-03T04:05:00Z, for 2 d 4 h"]);
    assert_eq!(until("2025-12-01T03:00:00+01:00"), ["b counts until 2025-12-01T02:00:00Z, for 2 h 0 min"]);
    assert_eq!(until("2025-12-01T00:05:30Z"), ["b counts until 2025-12-01T00:05:30Z, for 5 min 30 s"]);
    assert_eq!(until("2025-12-01T00:00:00Z"), ["b does not count any more: it ended at 2025-12-01T00:00:00Z"]);
    let shadow = format!("{errors}, {{name: b, type: always_sample, shadow: true}}");
    let found = lines(&shadow, "dry_run: true, shadow: {policies: [{name: c, type: trace_flags}]},");
    let expected = [
        "only evaluated and counted, as shadow policies: b, c",
        "dry run: everything is exported, whatever the policies say",
    ];
    assert_eq!(found, expected);
}

#[test]
fn validate_warns_of_policies_whose_time_is_over() {
    let text = "tail_sampling:\n  policies:\n    - {name: a, type: error}\n    - {name: b, type: always_sample, until: 2025-12-01T00:00:00Z}\n    \
                - name: c\n      until: \"2025-12-01T01:00:01+01:00\"\n      type: error\n  shadow:\n    policies:\n      \
                - {name: d, type: error, until: 2025-11-30T23:59:59Z}\n";
    let loaded = load(text, &|_| None).unwrap();
    // 1,764,547,200 is 2025-12-01T00:00:00Z.
    let found: Vec<String> = ended(&loaded, text, 1_764_547_200).iter().map(ToString::to_string).collect();
    let help = "(remove it, or write a time to come)";
    let expected = [
        format!("4:45: the policy `b` does not count any more: it ended at 2025-12-01T00:00:00Z {help}"),
        format!("10:39: the policy `d` does not count any more: it ended at 2025-11-30T23:59:59Z {help}"),
    ];
    assert_eq!(found, expected);
    assert_eq!(ended(&loaded, text, 1_764_547_201).len(), 3, "a second later");
}
