//! Compares written spans, one after the other, with the expectations of a test. Spans that are as expected are not
//! held, except for some of their names.

use std::collections::BTreeSet;

use crate::offline::TextValue;
use crate::offline::render::shown;
use crate::offline::sink_spans::{SinkEncoder, SinkSpan};
use crate::otlp::TraceId;
use crate::policy_tests::settings::{Expectations, WrittenSpan};
use crate::tail::kept::KeptSpans;

/// The most names of written spans that a failure has.
const NAMES_MAX: usize = 20;

/// The most reasons in a failure why spans cannot be written.
const UNWRITTEN_MAX: usize = 10;

/// The findings about the written spans of a test.
#[derive(Debug)]
pub(super) struct WrittenFindings<'e> {
    encoder: SinkEncoder,
    /// The expectation of every written span.
    every: WrittenSpan,
    /// The expected spans, each with what is known of it.
    expected: Vec<(&'e WrittenSpan, Search)>,
    span_count: u64,
    /// The first difference of a span from what is expected of every one.
    different: Option<String>,
    /// The trace of the first span that is different from what is expected of every one, or cannot be written.
    different_trace: Option<TraceId>,
    /// The reasons why spans cannot be written.
    unwritten: BTreeSet<String>,
    /// Names of written spans.
    names: BTreeSet<String>,
}

/// The result of the search for an expected span, so far.
#[derive(Debug)]
enum Search {
    /// No span has its name.
    Nameless,
    /// Spans with its name are different in something. This is the first difference.
    Different(String),
    /// It is there.
    Found,
}

impl<'e> WrittenFindings<'e> {
    pub(super) fn new(expect: &'e Expectations, encoder: SinkEncoder) -> Self {
        let Expectations { attributes, resource, absent, written, .. } = expect;
        let every = WrittenSpan {
            attributes: attributes.clone(),
            resource: resource.clone(),
            absent: absent.clone(),
            ..WrittenSpan::default()
        };
        WrittenFindings {
            encoder,
            every,
            expected: written.iter().map(|expected| (expected, Search::Nameless)).collect(),
            span_count: 0,
            different: None,
            different_trace: None,
            unwritten: BTreeSet::new(),
            names: BTreeSet::new(),
        }
    }

    /// Compares the spans of a trace, which are written at this time, in nanoseconds since 1970.
    pub(super) fn add(&mut self, spans: &KeptSpans, trace: Option<TraceId>, unix_nano: u64) {
        let WrittenFindings { encoder, every, expected, span_count, different, different_trace, unwritten, names } =
            self;
        encoder.written(spans, unix_nano, |written| {
            *span_count += 1;
            let span = match written {
                Ok(span) => span,
                Err(error) => {
                    *different_trace = different_trace.or(trace);
                    if unwritten.len() < UNWRITTEN_MAX {
                        unwritten.insert(format!("a kept span cannot be written: {error}"));
                    }
                    return;
                }
            };
            if different.is_none() {
                *different = difference(every, &span);
                if different.is_some() {
                    *different_trace = different_trace.or(trace);
                }
            }
            if !expected.is_empty() && names.len() <= NAMES_MAX {
                names.insert(shown(&span.name));
            }
            expected.iter_mut().for_each(|(expected, search)| search.note(expected, &span));
        });
    }

    /// Returns a trace with a span that is not as every span is expected to be.
    pub(super) fn different_trace(&self) -> Option<TraceId> {
        self.different_trace
    }

    /// Returns the expectations that do not hold.
    pub(super) fn failures(&self) -> Vec<String> {
        if self.span_count == 0 {
            return vec!["expected kept spans, but no trace is kept".to_owned()];
        }
        let missing = self.expected.iter().filter_map(|(expected, search)| match search {
            Search::Found => None,
            Search::Different(difference) => Some(difference.clone()),
            Search::Nameless => {
                let names: Vec<&str> = self.names.iter().take(NAMES_MAX).map(String::as_str).collect();
                let more = if self.names.len() > NAMES_MAX { ", ..." } else { "" };
                let found = names.join(", ");
                Some(format!("written: expected a span `{}`, found {found}{more}", shown(&expected.name)))
            }
        });
        let mut failures: Vec<String> = self.unwritten.iter().chain(&self.different).cloned().chain(missing).collect();
        failures.dedup();
        failures
    }
}

impl Search {
    fn note(&mut self, expected: &WrittenSpan, span: &SinkSpan) {
        if matches!(self, Search::Found) || span.name != expected.name {
            return;
        }
        match (difference(expected, span), &self) {
            (None, _) => *self = Search::Found,
            (Some(difference), Search::Nameless) => *self = Search::Different(difference),
            _ => {}
        }
    }
}

/// Returns the first thing in which a written span is not as expected.
fn difference(expected: &WrittenSpan, span: &SinkSpan) -> Option<String> {
    let name = || shown(&span.name);
    let wrong = |what: &str, expected: &[(String, TextValue)], found: &[(String, TextValue)]| {
        expected.iter().find_map(|(key, value)| {
            let found = found.iter().find(|(found, _)| found == key).map(|(_, found)| plain(found));
            let value = plain(value);
            let is = found.as_ref() == Some(&value);
            let found = || found.as_ref().map_or("nothing".to_owned(), |found| format!("`{}`", shown(found)));
            (!is).then(|| {
                let (key, value) = (shown(key), shown(&value));
                format!("{what}: expected {key}=`{value}` of the span `{}`, found {}", name(), found())
            })
        })
    };
    let present = || {
        let key = expected.absent.iter().find(|key| has(&span.attributes, key) || has(&span.resource, key))?;
        let key = shown(key);
        Some(format!("absent: expected no `{key}` in the span `{}` and its resource, but it is there", name()))
    };
    wrong("attributes", &expected.attributes, &span.attributes)
        .or_else(|| wrong("resource", &expected.resource, &span.resource))
        .or_else(present)
}

fn has(attributes: &[(String, TextValue)], key: &str) -> bool {
    attributes.iter().any(|(found, _)| found == key)
}

/// Returns a value as text, so that a number equals the text in which a sink without such numbers has it.
fn plain(value: &TextValue) -> String {
    match value {
        TextValue::String(text) => text.clone(),
        value => value.to_string(),
    }
}
