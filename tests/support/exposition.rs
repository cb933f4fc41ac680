//! A parser of the Prometheus text format (version 0.0.4), as `/metrics` serves it.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;

/// A parsed scrape.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    /// The help text of each metric.
    pub(crate) help: BTreeMap<String, String>,
    /// The type of each metric.
    pub(crate) kind: BTreeMap<String, String>,
    /// All samples in the order of the text.
    pub(crate) samples: Vec<Sample>,
}

/// A sample, which is one line with a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// The name, with the suffix of a part of a histogram.
    pub(crate) name: String,
    /// The labels in the order of the text.
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
}

impl Exposition {
    /// Parses a scrape; panics if it is not valid.
    pub(crate) fn parse(text: &str) -> Self {
        let mut exposition = Exposition::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect(line);
                assert_eq!(exposition.help.insert(name.into(), help.into()), None, "second HELP: {line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect(line);
                assert_eq!(exposition.kind.insert(name.into(), kind.into()), None, "second TYPE: {line}");
            } else {
                exposition.samples.push(sample(line));
            }
        }
        exposition
    }

    /// Returns the sum of all series of the metric `name` whose labels include `labels`.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let of_metric = self.samples.iter().filter(|sample| sample.name == name);
        let has =
            |sample: &Sample, (name, value): &(&str, &str)| sample.labels.iter().any(|(n, v)| n == name && v == value);
        of_metric.filter(|sample| labels.iter().all(|label| has(sample, label))).map(|sample| sample.value).sum()
    }

    /// Returns the spans that were received or recovered but are not accounted for; 0 if no span is in flight.
    pub(crate) fn missing_spans(&self) -> f64 {
        let accounted = [
            "exported_spans_total",
            "sampled_out_spans_total",
            "handed_over_spans_total",
            "rejected_spans_total",
            "dropped_spans_total",
            "held_spans",
        ];
        let sum = |name: &str| self.sum(&format!("spansieve_{name}"), &[]);
        sum("received_spans_total") + sum("recovered_spans_total") - accounted.map(sum).iter().sum::<f64>()
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect(line);
    let (name, labels) = match series.split_once('{') {
        None => (series, Vec::new()),
        Some((name, rest)) => (name, labels(rest.strip_suffix('}').expect(line))),
    };
    Sample { name: name.into(), labels, value: value.parse().expect(line) }
}

/// Parses labels like `a="x",b="y"`, whose values have the escapes `\\`, `\"` and `\n`.
fn labels(mut text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect(text);
        let (value, rest) = quoted(rest);
        labels.push((name.into(), value));
        text = rest.strip_prefix(',').unwrap_or(rest);
    }
    labels
}

/// Returns the value up to its closing quote, and the text after it.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().map(|(_, escaped)| escaped) {
                Some('n') => value.push('\n'),
                Some(escaped) => value.push(escaped),
                None => break,
            },
            c => value.push(c),
        }
    }
    panic!("no closing quote: {text}")
}
