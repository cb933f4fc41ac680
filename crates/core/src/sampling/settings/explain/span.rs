//! The phrases for policies on single spans, and for `latency`.

use super::{is_true, number, or, own, quoted, text, text_or};
use crate::settings::node::Node;

/// The signs of a failure, each with its key and its words.
const SIGNS: [(&str, &str); 3] = [
    ("status", "status ERROR"),
    ("http", "an HTTP status of 500 or more"),
    ("rpc", "a gRPC status that means a fault of the server"),
];

pub(super) fn error(section: Option<&Node>) -> String {
    let signs = SIGNS.iter().filter(|(key, _)| is_true(section, key, true));
    format!("in which a span has {}", or(&signs.map(|(_, words)| (*words).to_owned()).collect::<Vec<_>>()))
}

pub(super) fn status_code(section: Option<&Node>) -> String {
    let codes = section.and_then(|section| section.find(&["status_codes"])).into_iter().flat_map(Node::items);
    format!("in which a span has status {}", or(&codes.map(|code| text(code).to_owned()).collect::<Vec<_>>()))
}

/// Returns "in which a span or its resource has …", or its opposite with `invert_match`.
fn with_attribute(section: Option<&Node>, value: &str) -> String {
    let key = text_or(section, "key", "");
    let who =
        if is_true(section, "invert_match", false) { "no span and no resource" } else { "a span or its resource" };
    format!("in which {who} has an attribute `{key}` {value}")
}

pub(super) fn string_attribute(section: Option<&Node>) -> String {
    let values = quoted(section, "values");
    let value = match (is_true(section, "enabled_regex_matching", false), values.len()) {
        (true, _) => format!("in which the regular expression {} is found", or(&values)),
        (false, 0) => "with a value of an empty list".to_owned(),
        (false, _) => format!("with the value {}", or(&values)),
    };
    with_attribute(section, &value)
}

pub(super) fn numeric_attribute(section: Option<&Node>) -> String {
    let [min, max] = ["min_value", "max_value"].map(|key| section.and_then(|section| section.find(&[key])).map(text));
    let value = match (min.map(number), max.map(number)) {
        (Some(min), Some(max)) if min == max => format!("that is {min}"),
        (Some(min), Some(max)) => format!("from {min} to {max}"),
        (Some(min), None) => format!("of {min} or more"),
        (None, max) => format!("of {} or less", max.unwrap_or_default()),
    };
    with_attribute(section, &value)
}

pub(super) fn boolean_attribute(section: Option<&Node>) -> String {
    with_attribute(section, &format!("with the value {}", is_true(section, "value", false)))
}

pub(super) fn trace_state(section: Option<&Node>) -> String {
    let key = text_or(section, "key", "");
    format!("in which a span's tracestate has an entry `{key}` with the value {}", or(&quoted(section, "values")))
}

pub(super) fn ottl_condition(section: Option<&Node>) -> String {
    let conditions = [("span", "a span"), ("spanevent", "an event of a span")].into_iter().filter_map(|(key, who)| {
        let quoted = quoted(section, key);
        (!quoted.is_empty()).then(|| format!("in which {who} fulfils {}", or(&quoted)))
    });
    conditions.collect::<Vec<_>>().join(", or ")
}

pub(super) fn latency(section: Option<&Node>) -> String {
    if section.is_some_and(|section| section.find(&["percentile"]).is_some()) {
        return super::keyed::percentile(section);
    }
    let over = number(&text_or(section, "threshold_ms", "0"));
    let upper = text_or(section, "upper_threshold_ms", "0");
    let upper = if upper == "0" { String::new() } else { format!(" and at most {} ms", number(&upper)) };
    let took = format!("took longer than {over} ms{upper}");
    let of_spans = match text_or(section, "of", "trace").as_str() {
        "root" => "a root span",
        "any_span" => "a span",
        "synchronous" => "a span for which a caller waits",
        _ => return format!("that {took}, from its earliest start to its latest end"),
    };
    format!("in which {of_spans} {took}{}", thresholds(section))
}

fn thresholds(section: Option<&Node>) -> String {
    let thresholds = section.and_then(|section| section.find(&["thresholds"])).into_iter().flat_map(Node::items);
    let words = thresholds.map(|threshold| {
        let parts = [("service", "service"), ("route", "route")].into_iter().filter_map(|(key, word)| {
            let value = own(threshold, key);
            (!value.is_empty()).then(|| format!("the {word} `{value}`"))
        });
        let parts = parts.collect::<Vec<_>>().join(" and ");
        format!("; {} ms for {parts}", number(&own(threshold, "threshold_ms")))
    });
    words.collect()
}
