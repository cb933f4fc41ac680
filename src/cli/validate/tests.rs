use super::summary;
use crate::config::load;

fn check(policies: &str, expected: &str) {
    let text = format!("tail_sampling: {{policies: [{policies}]}}\nexport: {{endpoint: embedded}}");
    let loaded = load(&text, &|_| None).unwrap();
    assert_eq!(summary(&loaded.settings), format!("{expected}; writes to the embedded Cloud Trace"));
}

#[test]
fn the_summary_lists_policies_that_keep_and_policies_that_drop() {
    let drop = "{name: d, type: drop, drop: {drop_sub_policy: [{name: e, type: error}]}}";
    check("{name: a, type: error}, {name: b, type: always_sample}", "keeps by a, b");
    check(&format!("{{name: a, type: error}}, {drop}"), "keeps by a; drops by d");
    check(drop, "keeps nothing; drops by d");
}
