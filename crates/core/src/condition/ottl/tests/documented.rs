//! Checks that each example in `docs/ottl.md` has the documented answer for the trace in the same document.

use opentelemetry_proto::tonic::trace::v1::TracesData;

use super::super::{event_condition, resource_condition, span_condition};
use super::Parse;
use super::decoded::Sample;

const DOCUMENT: &str = include_str!("../../../../../../docs/ottl.md");

/// Returns the blocks of code in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let blocks = DOCUMENT.split("\n```").filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'));
    blocks.collect()
}

/// Returns the examples in this language, each with the expected answer, which comes after its `#`.
fn examples(language: &str) -> Vec<(&'static str, &'static str)> {
    let lines = blocks(language).into_iter().flat_map(str::lines);
    let examples: Vec<_> = lines.map(|line| line.rsplit_once('#').unwrap()).collect();
    assert!(!examples.is_empty(), "no examples in {language}");
    examples.into_iter().map(|(condition, answer)| (condition.trim(), answer.trim())).collect()
}

fn sample() -> Sample {
    let data: TracesData = serde_json::from_str(blocks("json")[0]).unwrap();
    let resource_spans = &data.resource_spans[0];
    let scope_spans = &resource_spans.scope_spans[0];
    Sample {
        resource: resource_spans.resource.clone().unwrap(),
        scope: scope_spans.scope.clone().unwrap(),
        span: scope_spans.spans[0].clone(),
        defaults_are_absent: true,
    }
}

#[test]
fn examples_hold_as_documented() {
    let contexts: [(&str, Parse); 3] =
        [("ottl-span", span_condition), ("ottl-event", event_condition), ("ottl-resource", resource_condition)];
    for (language, parse) in contexts {
        for (text, answer) in examples(language) {
            let condition = parse(text).expect(text);
            assert_eq!(sample().holds(&condition, None).to_string(), answer, "{text}");
        }
    }
}

#[test]
fn errors_are_as_documented() {
    for (text, message) in examples("ottl-error") {
        assert_eq!(span_condition(text).map_err(|error| error.message), Err(message.to_owned()), "{text}");
    }
}

#[test]
fn every_function_is_known_and_documented() {
    for name in super::super::function::NAMES {
        assert!(DOCUMENT.contains(&format!("`{name}")), "{name}");
        let error = span_condition(&format!("{name}(1, 2, 3, 4)")).unwrap_err();
        assert!(error.message.contains(" takes "), "{name}: {error}");
    }
}
