//! Refinery's conditions and samplers, each with its result.

use super::{findings, has_finding, imported, loaded};

/// Returns the result for one rule that keeps what meets the condition, before a rule that drops the rest.
fn rule(condition: &str, more: &str) -> super::Imported {
    let rules = format!("[{{Name: r, SampleRate: 1, Conditions: [{condition}]{more}}}, {{Name: rest, Drop: true}}]");
    imported(&format!("RulesVersion: 2\nSamplers: {{__default__: {{RulesBasedSampler: {{Rules: {rules}}}}}}}\n"))
        .unwrap()
}

#[test]
fn conditions() {
    for (condition, expected) in [
        (
            "{Field: a, Operator: '=', Value: x}",
            "(attributes[\"a\"] == \"x\") or (resource.attributes[\"a\"] == \"x\")",
        ),
        ("{Field: service.name, Operator: '=', Value: x}", "resource.attributes[\"service.name\"] == \"x\""),
        (
            "{Field: service.name, Operator: '!=', Value: x}",
            "IsString(resource.attributes[\"service.name\"]) and resource.attributes[\"service.name\"] != \"x\"",
        ),
        ("{Field: service.x, Operator: '>=', Value: 5}", "resource.attributes[\"service.x\"] >= 5"),
        (
            "{Field: service.x, Operator: '!=', Value: 5}",
            "resource.attributes[\"service.x\"] < 5 or resource.attributes[\"service.x\"] > 5",
        ),
        (
            "{Field: service.x, Operator: '=', Value: '5', Datatype: int}",
            "Int(resource.attributes[\"service.x\"]) == 5",
        ),
        (
            "{Field: service.x, Operator: '<', Value: 0.5, Datatype: float}",
            "Double(resource.attributes[\"service.x\"]) < 0.5",
        ),
        (
            "{Field: service.x, Operator: '!=', Value: true, Datatype: bool}",
            "Bool(resource.attributes[\"service.x\"]) == false",
        ),
        (
            "{Field: service.x, Operator: '=', Value: 5, Datatype: string}",
            "String(resource.attributes[\"service.x\"]) == \"5\"",
        ),
        ("{Field: service.x, Operator: exists}", "resource.attributes[\"service.x\"] != nil"),
        ("{Field: a, Operator: not-exists}", "(attributes[\"a\"] == nil) and (resource.attributes[\"a\"] == nil)"),
        (
            "{Field: service.x, Operator: starts-with, Value: /a.b}",
            "IsMatch(resource.attributes[\"service.x\"], \"^/a\\\\.b\")",
        ),
        ("{Field: service.x, Operator: contains, Value: a}", "IsMatch(resource.attributes[\"service.x\"], \"a\")"),
        (
            "{Field: service.x, Operator: does-not-contain, Value: a}",
            "not IsMatch(resource.attributes[\"service.x\"], \"a\")",
        ),
        (
            "{Field: service.x, Operator: matches, Value: '^\\d+$'}",
            "IsMatch(resource.attributes[\"service.x\"], \"^\\\\d+$\")",
        ),
        (
            "{Field: service.x, Operator: in, Value: [a, b.c]}",
            "IsMatch(resource.attributes[\"service.x\"], \"^(?:a|b\\\\.c)$\")",
        ),
        (
            "{Field: service.x, Operator: not-in, Value: [1, 2], Datatype: int}",
            "not (Int(resource.attributes[\"service.x\"]) == 1 or Int(resource.attributes[\"service.x\"]) == 2)",
        ),
        ("{Field: duration_ms, Operator: '>', Value: 1.5}", "end_time_unix_nano - start_time_unix_nano > 1500000"),
        (
            "{Field: error, Operator: '=', Value: true}",
            "status.code == STATUS_CODE_ERROR or attributes[\"error\"] == true",
        ),
        ("{Field: error, Operator: exists}", "status.code == STATUS_CODE_ERROR or attributes[\"error\"] != nil"),
        ("{Field: status_code, Operator: '=', Value: 2}", "status.code == 2"),
        (
            "{Field: span.kind, Operator: in, Value: [server, client]}",
            "kind == SPAN_KIND_SERVER or kind == SPAN_KIND_CLIENT",
        ),
        ("{Field: trace.parent_id, Operator: not-exists}", "IsRootSpan()"),
        ("{Field: trace.parent_id, Operator: exists}", "not IsRootSpan()"),
        ("{Field: trace.parent_id, Operator: '=', Value: root}", "IsRootSpan()"),
        ("{Field: trace.parent_id, Operator: '=', Value: '', Datatype: string}", "IsRootSpan()"),
        ("{Field: trace.parent_id, Operator: '!=', Value: root}", "not IsRootSpan()"),
        (
            "{Field: trace.parent_id, Operator: '=', Value: 00f067aa0ba902b7}",
            "parent_span_id.string == \"00f067aa0ba902b7\"",
        ),
        (
            "{Field: trace.parent_id, Operator: '!=', Value: 00f067aa0ba902b7}",
            "not IsRootSpan() and (parent_span_id.string != \"00f067aa0ba902b7\")",
        ),
        (
            "{Field: trace.parent_id, Operator: matches, Value: '^(00.*)?$'}",
            "not IsRootSpan() and (IsMatch(parent_span_id.string, \"^(00.*)?$\"))",
        ),
        (
            "{Field: trace.parent_id, Operator: does-not-contain, Value: '00'}",
            "IsRootSpan() or not IsMatch(parent_span_id.string, \"00\")",
        ),
        ("{Field: root.name, Operator: '=', Value: x}", "IsRootSpan() and (name == \"x\")"),
        ("{Field: name, Operator: '=', Value: x}", "name == \"x\""),
        ("{Operator: has-root-span, Value: true}", "IsRootSpan()"),
    ] {
        let imported = rule(condition, "");
        loaded(&imported);
        let yaml = imported.text.replace("\\\\\\\\", "\\\\");
        let quoted = format!("span: ['{expected}']");
        let plain = format!("span: [\"{expected}\"]");
        assert!(yaml.contains(&quoted) || yaml.contains(&plain), "{condition}: {expected}\n{}", imported.text);
    }
}

#[test]
fn a_parent_called_root_is_taken_as_meant_and_said_so() {
    let condition = |operator: &str| format!("{{Field: trace.parent_id, Operator: '{operator}', Value: root}}");
    let words = ["different", "Conditions[0]", "without a parent"];
    let equal = rule(&condition("="), "");
    assert!(has_finding(&equal, &words), "{:#?}", findings(&equal));
    // A span with a parent has an id that is not `root`, in Refinery as well.
    let other = rule(&condition("!="), "");
    assert!(!has_finding(&other, &words), "{:#?}", findings(&other));
}

#[test]
fn conditions_on_the_trace() {
    for (condition, expected) in [
        ("{Field: '?.NUM_DESCENDANTS', Operator: '>', Value: 10}", "span_count: {min_spans: 11}"),
        ("{Field: '?.NUM_DESCENDANTS', Operator: '<=', Value: 10}", "span_count: {max_spans: 10}"),
        ("{Operator: has-root-span, Value: false}", "not: {not_sub_policy: {type: ottl_condition"),
    ] {
        let imported = rule(condition, "");
        loaded(&imported);
        assert!(imported.text.contains(expected), "{condition}:\n{}", imported.text);
    }
}

#[test]
fn rules_that_cannot_be_carried_say_why() {
    for (condition, more, word) in [
        ("{Field: meta.stressed, Operator: exists}", "", "field of Refinery itself"),
        ("{Field: a, Operator: like, Value: x}", "", "unknown operator"),
        ("{Operator: '=', Value: x}", "", "no `Field`"),
        ("{Field: a, Operator: '='}", "", "no `Value`"),
        ("{Field: a, Operator: matches, Value: '('}", "", "not a regular expression"),
        ("{Field: duration_ms, Operator: contains, Value: 5}", "", "does not fit"),
        ("{Operator: has-root-span, Value: true}", ", Scope: span", "never matches"),
        ("{Field: a, Operator: exists}", ", Scope: galaxy", "neither `span` nor `trace`"),
        ("{Fields: [root.a, b], Operator: exists}", "", "mixes fields"),
    ] {
        let imported = rule(condition, more);
        loaded(&imported);
        assert!(has_finding(&imported, &["not carried", "Rules[0]", word]), "{word}: {:#?}", findings(&imported));
    }
}

/// Returns the policies of rules, as the lines of the result without comments.
fn policies(rules: &str) -> Vec<String> {
    let imported =
        imported(&format!("Samplers: {{__default__: {{RulesBasedSampler: {{Rules: {rules}}}}}}}\n")).unwrap();
    loaded(&imported);
    let lines =
        imported.text.lines().map(str::trim).filter(|line| line.starts_with("- {") || line.starts_with("- name"));
    lines.map(|line| line.split(" # ").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn order_of_rules() {
    let is = |name: &str| format!("{{Field: service.name, Operator: '=', Value: {name}}}");
    let (a, b) = (is("a"), is("b"));
    // A smaller ratio after a larger one keeps a part of the same traces, so nothing is excluded.
    let falling = policies(&format!("[{{Name: x, SampleRate: 2, Conditions: [{a}]}}, {{Name: y, SampleRate: 10}}]"));
    assert!(!falling.concat().contains("not"), "{falling:?}");
    // A larger ratio must not keep what the first rule has dropped.
    let rising = format!("[{{Name: x, SampleRate: 10, Conditions: [{a}]}}, {{Name: y, SampleRate: 1}}]");
    let rising = imported(&format!("Samplers: {{e: {{RulesBasedSampler: {{Rules: {rising}}}}}}}\n")).unwrap();
    loaded(&rising);
    assert!(rising.text.contains("- name: y"), "{}", rising.text);
    assert!(rising.text.contains("not_sub_policy: {type: ottl_condition"), "{}", rising.text);
    // Without a last rule, what none matches is kept.
    let open = policies(&format!("[{{Name: x, Drop: true, Conditions: [{a}]}}]"));
    assert_eq!(open.len(), 2, "{open:?}");
    assert!(open[0].contains("name: x"), "{open:?}");
    assert_eq!(open[1], "- {name: \"no rule matched\", type: always_sample}");
    // A rule with two conditions does not match if one of them does not hold.
    let either = policies(&format!("[{{Name: x, SampleRate: 9, Conditions: [{a}, {b}]}}, {{Name: y, SampleRate: 1}}]"));
    assert_eq!(
        either.iter().filter(|line| line.contains("name: y") || line.contains("y (2)")).count(),
        2,
        "{either:?}"
    );
}

#[test]
fn samplers() {
    for (sampler, expected) in [
        (
            "{DeterministicSampler: {SampleRate: 20}}",
            "- {name: rest, type: probabilistic, probabilistic: {sampling_percentage: 5%}}",
        ),
        ("{DeterministicSampler: {SampleRate: 1}}", "- {name: rest, type: always_sample}"),
        (
            "{DynamicSampler: {SampleRate: 10, ClearFrequency: 1m0s, FieldList: [service.name, a]}}",
            "goal_percentage: 10%",
        ),
        ("{EMADynamicSampler: {GoalSampleRate: 4, Weight: 0.3, FieldList: [a]}}", "weight: 0.3"),
        (
            "{EMAThroughputSampler: {GoalThroughputPerSec: 100, FieldList: [a], MaxKeys: 9}}",
            "goal_spans_per_second: 100",
        ),
        (
            "{WindowedThroughputSampler: {GoalThroughputPerSec: 100, UpdateFrequency: 100ms, FieldList: [a]}}",
            "adjustment_interval: 1s",
        ),
        ("{TotalThroughputSampler: {GoalThroughputPerSec: 100, ClearFrequency: 2h, FieldList: [a]}}", "lookback: 1h"),
        ("{DynamicSampler: {SampleRate: 10}}", "- {name: \"no rule matched\", type: always_sample}"),
        ("{Strange: {}}", "type: always_sample"),
    ] {
        let imported = imported(&format!("RulesVersion: 2\nSamplers: {{__default__: {sampler}}}\n")).unwrap();
        loaded(&imported);
        assert!(imported.text.contains(expected), "{sampler}: {expected}\n{}", imported.text);
    }
}
