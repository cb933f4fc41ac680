//! An inspected trace as text and as JSON. The lines of the spans have the form in which tests are written, so they can
//! be pasted into one.
//!
//! Invariants
//! - Text that comes from a trace or a file goes through [`shown`] before it is printed for people.
//! - JSON is written piece by piece: only one span at a time is in memory as a document.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

use super::TextValue;
use super::inspect::{InspectedSpan, InspectedTrace, PartFinding, PolicyFinding, REASONS_MAX};
use super::sink_spans::{SharedAttributes, SinkSpan};
use crate::otlp::view::Lineage;
use crate::sampling::settings::display_unix_seconds;
use crate::sampling::{Answer, Keep, Policies, PolicyParts, Threshold, Verdict};
use crate::settings::diagnostic::printable;
use crate::tail::Decision;
use crate::tail::settings::TailSampling;
use crate::terminal::Paint;

/// The most spans of a trace that are shown as text.
const SHOWN_SPANS_MAX: usize = 200;
/// The most attributes of a span that are shown as text.
const SHOWN_ATTRIBUTES_MAX: usize = 12;
/// The most characters of a value that are shown as text.
const SHOWN_CHARS_MAX: usize = 80;
/// The deepest indentation that is shown.
const SHOWN_DEPTH_MAX: usize = 40;
/// The words of the kinds of spans, by their numbers in `trace.proto`.
const KINDS: [&str; 6] = ["", "", "server", "client", "producer", "consumer"];

/// A view of inspected traces for people and programs.
#[derive(Clone, Copy, Debug)]
pub struct TraceView<'a> {
    /// The settings: all policies, and whether it is a dry run.
    pub tail_sampling: &'a TailSampling,
    /// The policies, with the names of all.
    pub policies: &'a Policies,
    /// Their parts.
    pub parts: &'a PolicyParts,
    /// The colours of text.
    pub paint: Paint,
}

impl TraceView<'_> {
    /// Returns the trace as text: head, spans, answers of the policies, and what is written.
    #[must_use]
    pub fn text(&self, trace: &InspectedTrace) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(trace, &mut out);
        out
    }

    fn write(&self, trace: &InspectedTrace, out: &mut String) -> fmt::Result {
        let findings = trace.findings(self.parts);
        writeln!(out, "{}", self.paint.with(Paint::BOLD, &self.head(trace)))?;
        self.spans(trace, &findings, out)?;
        writeln!(out, "  policies:")?;
        let ended = self.ended(&findings);
        let names = findings.iter().map(|finding| self.name(finding.policy)).chain(ended.iter().map(|(name, _)| *name));
        let width = names.map(|name| shown(name).chars().count()).max().unwrap_or(0);
        for finding in &findings {
            let (name, answer) = (shown(self.name(finding.policy)), answer_text(finding.answer, finding.is_shadow));
            let holds = finding.answer.holds() == Some(true) && !finding.is_shadow;
            let style = if holds { Paint::GREEN } else { Paint::DIM };
            let line = format!("    {name:<width$}  {answer}{}", self.reason(trace, finding));
            writeln!(out, "{}", self.paint.with(style, line.trim_end()))?;
        }
        for (name, until) in ended {
            let line = format!("    {:<width$}  did not count any more: it ended at {until}", shown(name));
            writeln!(out, "{}", self.paint.with(Paint::DIM, &line))?;
        }
        self.written(trace, out)
    }

    /// Returns the policies that were not in force at the decision because their time was over, each with its end.
    fn ended(&self, findings: &[PolicyFinding]) -> Vec<(&str, String)> {
        if findings.is_empty() {
            return Vec::new();
        }
        let answered = |name: &str| findings.iter().any(|finding| self.name(finding.policy) == name);
        let all = self.tail_sampling.policies.iter().chain(&self.tail_sampling.shadow.policies);
        let ended = all.filter_map(|policy| Some((policy.name.as_str(), policy.until?)));
        ended.filter(|(name, _)| !answered(name)).map(|(name, until)| (name, display_unix_seconds(until))).collect()
    }

    /// Returns the lines of the spans, as tests have them.
    #[must_use]
    pub fn span_lines(&self, trace: &InspectedTrace) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.spans(trace, &[], &mut out);
        out
    }

    /// Returns the verdict in one line.
    #[must_use]
    pub fn head(&self, trace: &InspectedTrace) -> String {
        let Some(decision) = trace.last_decision() else { return format!("trace {}: not decided", trace.id) };
        let Decision { trigger, at_ms, .. } = decision;
        let first_ms = trace.spans.first().map_or(0, |span| span.arrival_ms);
        let when = format!("{}, after {}", trigger.as_str(), milliseconds(at_ms.saturating_sub(first_ms)));
        let verdict = match decision.verdict {
            Verdict::Kept(Keep { policy, threshold, .. }) => {
                format!("kept by {} ({when}); stands for {}", shown(self.name(policy)), traces(threshold))
            }
            Verdict::Dropped => format!("dropped: no policy keeps it ({when})"),
            Verdict::DroppedByPolicy(policy) => format!("dropped by {} ({when})", shown(self.name(policy))),
        };
        let before = if trace.decisions.len() > 1 { "first dropped, then " } else { "" };
        let dry_run = match decision.verdict {
            Verdict::Kept(_) => "",
            _ if self.tail_sampling.dry_run => "; written all the same: dry run",
            _ => "",
        };
        format!("trace {}: {before}{verdict}{dry_run}", trace.id)
    }

    fn spans(&self, trace: &InspectedTrace, findings: &[PolicyFinding], out: &mut String) -> fmt::Result {
        let lines = tree(&trace.spans);
        let first_ms = trace.spans.first().map_or(0, |span| span.arrival_ms);
        let starts = starts_after_parents(&trace.spans);
        let heads: Vec<String> = lines
            .iter()
            .take(SHOWN_SPANS_MAX)
            .map(|&(index, depth)| head_of(&trace.spans[index], depth, first_ms, starts[index]))
            .collect();
        let width = heads.iter().map(|head| head.chars().count()).filter(|width| *width <= 100).max().unwrap_or(0);
        for (&(index, _), head) in lines.iter().zip(&heads) {
            let names = self.reasons_of(index, findings);
            let mark = if names.is_empty() { String::new() } else { format!("  <- {}", names.join(", ")) };
            let line = format!("  {head:<width$}");
            writeln!(
                out,
                "{}{}",
                if mark.is_empty() { line.trim_end() } else { &line },
                self.paint.with(Paint::GREEN, &mark)
            )?;
        }
        if lines.len() > heads.len() {
            writeln!(out, "  ... and {} more spans", lines.len() - heads.len())?;
        }
        Ok(())
    }

    /// Returns the parts of policies that hold for the span alone.
    fn reasons_of(&self, span: usize, findings: &[PolicyFinding]) -> Vec<String> {
        let parts = findings.iter().flat_map(|finding| &finding.parts);
        parts.filter(|part| part.spans.contains(&span)).map(|part| self.part_name(part)).collect()
    }

    fn part_name(&self, part: &PartFinding) -> String {
        self.parts.parts().get(part.part).map_or(String::new(), |part| shown(&part.path.join(" / ")))
    }

    fn name(&self, policy: u16) -> &str {
        self.policies.names().get(usize::from(policy)).map_or("", String::as_str)
    }

    /// Returns the reason for the answer of a policy, in words.
    fn reason(&self, trace: &InspectedTrace, finding: &PolicyFinding) -> String {
        let spans = finding.spans();
        let several = |count: usize| match count {
            0 | 1 => String::new(),
            REASONS_MAX.. => " and many more".to_owned(),
            _ => format!(" and {} more", count - 1),
        };
        if finding.parts.len() == 1 || finding.answer.holds() == Some(true) {
            return match spans.first().and_then(|index| trace.spans.get(*index)) {
                Some(span) => {
                    let (service, name) = (shown(&span.service()), shown(&span.name()));
                    format!(" because of `{service} {name}`{}", several(spans.len()))
                }
                None => String::new(),
            };
        }
        // Of a policy that needs several parts, the ones that do not hold are the reason.
        let missing: Vec<String> = finding
            .parts
            .iter()
            .filter(|part| part.holds == Some(false))
            .filter_map(|part| self.parts.parts().get(part.part).filter(|part| !part.is_alternative))
            .filter_map(|part| part.path.get(1..).map(|path| shown(&path.join(" / "))))
            .collect();
        match missing.as_slice() {
            [] => String::new(),
            [one] => format!(": {one} does not hold"),
            several => format!(": {} do not hold", several.join(", ")),
        }
    }

    fn written(&self, trace: &InspectedTrace, out: &mut String) -> fmt::Result {
        if trace.written.is_empty() {
            return Ok(());
        }
        writeln!(out, "  written:")?;
        for written in trace.written.iter().take(SHOWN_SPANS_MAX) {
            match written {
                Ok(span) => writeln!(out, "    {}{}", shown(&span.name), pairs(&span.attributes))?,
                Err(error) => writeln!(out, "    {}", self.paint.with(Paint::RED, &format!("not written: {error}")))?,
            }
        }
        let more = trace.written.len().saturating_sub(SHOWN_SPANS_MAX) as u64 + trace.written_left_out;
        if more > 0 {
            writeln!(out, "    ... and {more} more spans")?;
        }
        let mut last: Option<&SharedAttributes> = None;
        for span in trace.written.iter().take(SHOWN_SPANS_MAX).flatten() {
            if last.is_none_or(|last| !Arc::ptr_eq(last, &span.resource) && *last != span.resource) {
                writeln!(out, "    resource of {}{}", shown(&span.name), pairs(&span.resource))?;
                last = Some(&span.resource);
            }
        }
        Ok(())
    }

    /// Returns the trace as JSON. It takes several times the memory of the trace.
    #[must_use]
    pub fn json(&self, trace: &InspectedTrace) -> Value {
        let mut text = Vec::new();
        // Writing to a Vec cannot fail, and what was written is JSON.
        let _ = self.write_json(trace, &mut text);
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes the trace as JSON on one line, without a line break.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, trace: &InspectedTrace, out: &mut dyn io::Write) -> io::Result<()> {
        let findings = trace.findings(self.parts);
        let head = self.json_head(trace, &findings).to_string();
        out.write_all(head.strip_suffix('}').unwrap_or(&head).as_bytes())?;
        list(out, "spans", trace.spans.iter().map(json_of_span))?;
        list(out, "policies", findings.iter().map(|finding| self.json_of_finding(trace, finding)))?;
        let mut resources = Resources::default();
        list(out, "written", trace.written.iter().map(|written| json_of_written(written, &mut resources)))?;
        list(out, "resources", resources.all.iter().map(|resource| map(resource)))?;
        out.write_all(b"}")
    }

    /// Returns the spans as JSON.
    pub fn json_spans<'t>(&self, trace: &'t InspectedTrace) -> impl Iterator<Item = Value> + use<'t> {
        trace.spans.iter().map(json_of_span)
    }

    /// Returns the facts about a trace that are not lists of spans.
    fn json_head(&self, trace: &InspectedTrace, findings: &[PolicyFinding]) -> Value {
        let decision = trace.last_decision();
        let keep = decision.and_then(|decision| match decision.verdict {
            Verdict::Kept(keep) => Some(keep),
            _ => None,
        });
        let policy = decision.and_then(|decision| match decision.verdict {
            Verdict::Kept(Keep { policy, .. }) | Verdict::DroppedByPolicy(policy) => Some(self.name(policy)),
            Verdict::Dropped => None,
        });
        let ended = self.ended(findings).into_iter();
        json!({
            "trace_id": trace.id.to_string(),
            "verdict": decision.map(|_| if keep.is_some() { "kept" } else { "dropped" }),
            "policy": policy,
            "trigger": decision.map(|decision| decision.trigger.as_str()),
            "decided_ms": decision.map(|decision| decision.at_ms),
            "adjusted_count": keep.map(|keep| keep.threshold.adjusted_count()),
            "dry_run": self.tail_sampling.dry_run,
            "kept_spans": trace.kept_spans,
            "written_left_out": trace.written_left_out,
            "ended_policies": ended.map(|(name, until)| json!({"name": name, "until": until})).collect::<Vec<_>>(),
        })
    }

    fn json_of_finding(&self, trace: &InspectedTrace, finding: &PolicyFinding) -> Value {
        let ids = |spans: &[usize]| -> Vec<String> {
            spans.iter().filter_map(|index| Some(span_id(trace.spans.get(*index)?.lineage().span_id))).collect()
        };
        let part = |part: &PartFinding| json!({"name": self.part_name(part), "holds": part.holds, "span_ids": ids(&part.spans)});
        let threshold = match finding.answer {
            Answer::Keeps(threshold) => Some(threshold.adjusted_count()),
            _ => None,
        };
        json!({
            "name": self.name(finding.policy),
            "answer": answer_word(finding.answer),
            "shadow": finding.is_shadow,
            "adjusted_count": threshold,
            "span_ids": ids(&finding.spans()),
            "parts": finding.parts.iter().map(part).collect::<Vec<_>>(),
        })
    }
}

/// Returns the spans as a tree: each with its index and its depth, children after their parent in the order in which
/// they started.
fn tree(spans: &[InspectedSpan]) -> Vec<(usize, usize)> {
    let lineages: Vec<_> = spans.iter().map(InspectedSpan::lineage).collect();
    let mut places = HashMap::new();
    for (index, lineage) in lineages.iter().enumerate() {
        places.entry(lineage.span_id).or_insert(index);
    }
    let mut children: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
    for (index, lineage) in lineages.iter().enumerate() {
        let parent = places.get(&lineage.parent_span_id).copied().filter(|&parent| parent != index);
        children.entry(parent).or_default().push(index);
    }
    let mut lines = Vec::with_capacity(spans.len());
    let mut is_placed = vec![false; spans.len()];
    // Parents that are each other's children have no place below a root; they come last.
    let starts = [None].into_iter().chain((0..spans.len()).map(Some));
    for start in starts {
        let mut open = match start {
            None => level(&children, None, 0, &lineages),
            Some(index) => vec![(index, 0)],
        };
        while let Some((index, depth)) = open.pop() {
            if !std::mem::replace(&mut is_placed[index], true) {
                lines.push((index, depth));
                open.extend(level(&children, Some(index), depth + 1, &lineages));
            }
        }
    }
    lines
}

/// Returns the children of a span, the last one first.
fn level(
    children: &HashMap<Option<usize>, Vec<usize>>,
    parent: Option<usize>,
    depth: usize,
    lineages: &[Lineage],
) -> Vec<(usize, usize)> {
    let mut level: Vec<_> = children.get(&parent).into_iter().flatten().map(|&index| (index, depth)).collect();
    level.sort_by_key(|&(index, _)| std::cmp::Reverse((lineages[index].start_unix_nano, index)));
    level
}

/// Returns for each span the nanoseconds from the start of its parent to its own, or 0 if it has no parent here.
fn starts_after_parents(spans: &[InspectedSpan]) -> Vec<u64> {
    let lineages: Vec<_> = spans.iter().map(InspectedSpan::lineage).collect();
    let starts: HashMap<u64, u64> = lineages.iter().map(|span| (span.span_id, span.start_unix_nano)).collect();
    let after = |span: &Lineage| {
        let parent = starts.get(&span.parent_span_id).copied().filter(|start| *start != 0);
        parent.map_or(0, |start| span.start_unix_nano.saturating_sub(start))
    };
    lineages.iter().map(after).collect()
}

/// Returns the line of a span, as tests have it. The span starts `start` nanoseconds after its parent.
fn head_of(span: &InspectedSpan, depth: usize, first_ms: u64, start: u64) -> String {
    let lineage = span.lineage();
    let arrival = match span.arrival_ms - first_ms {
        0 => String::new(),
        late_ms => format!("+{} ", milliseconds(late_ms)),
    };
    let indent = "  ".repeat(depth.min(SHOWN_DEPTH_MAX));
    let service = span.service();
    let service = if service.is_empty() { "unknown".to_owned() } else { shown(&service) };
    let duration = span.duration_nanos().map_or("0ms".to_owned(), nanoseconds);
    let start = if start == 0 { String::new() } else { format!(" @{}", nanoseconds(start)) };
    let kind = usize::try_from(lineage.kind).ok().and_then(|kind| KINDS.get(kind)).filter(|kind| !kind.is_empty());
    let kind = kind.map_or(String::new(), |kind| format!(" {kind}"));
    let error = if span.has_error() { " error" } else { "" };
    let (name, pairs) = (shown(&span.name()), pairs(&span.attributes()));
    format!("{indent}{arrival}{service}  {name}  {duration}{start}{error}{kind}{pairs}")
}

/// Returns attributes as tests have them, each with a space before it.
fn pairs(attributes: &[(String, TextValue)]) -> String {
    let mut text = String::new();
    for (key, value) in attributes.iter().take(SHOWN_ATTRIBUTES_MAX) {
        text += &format!(" {}={}", shown(key), shown(&value.to_string()));
    }
    if attributes.len() > SHOWN_ATTRIBUTES_MAX {
        text += &format!(" ({} more)", attributes.len() - SHOWN_ATTRIBUTES_MAX);
    }
    text
}

/// Returns the beginning of a text, without characters that would disturb a terminal.
pub fn shown(text: &str) -> String {
    let plain: String = text.chars().take(SHOWN_CHARS_MAX).map(printable).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() { plain + "..." } else { plain }
}

fn answer_text(answer: Answer, is_shadow: bool) -> String {
    let count = |threshold: Threshold| match threshold {
        Threshold::ALWAYS => String::new(),
        threshold => format!(", as one of {}", number(threshold.adjusted_count())),
    };
    match (answer, is_shadow) {
        (Answer::Keeps(threshold), false) => format!("keeps it{}", count(threshold)),
        (Answer::Keeps(threshold), true) => format!("(shadow) would keep it{}", count(threshold)),
        (Answer::KeepsNot, false) => "does not keep it".to_owned(),
        (Answer::KeepsNot, true) => "(shadow) would not keep it".to_owned(),
        (Answer::Drops, false) => "drops it".to_owned(),
        (Answer::Drops, true) => "(shadow) would drop it".to_owned(),
        (Answer::DropsNot(_), false) => "does not drop it".to_owned(),
        (Answer::DropsNot(_), true) => "(shadow) would not drop it".to_owned(),
        (Answer::NotAsked, false) => "was not asked: its answer depends on other traces".to_owned(),
        (Answer::NotAsked, true) => "(shadow) its answer depends on other traces".to_owned(),
    }
}

fn answer_word(answer: Answer) -> &'static str {
    match answer {
        Answer::Keeps(_) => "keeps",
        Answer::KeepsNot => "does_not_keep",
        Answer::Drops => "drops",
        Answer::DropsNot(_) => "does_not_drop",
        Answer::NotAsked => "not_asked",
    }
}

fn traces(threshold: Threshold) -> String {
    match threshold {
        Threshold::ALWAYS => "1 trace".to_owned(),
        threshold => format!("{} traces", number(threshold.adjusted_count())),
    }
}

/// Returns a number with at most three digits behind the point.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn milliseconds(ms: u64) -> String {
    if ms > 0 && ms.is_multiple_of(1_000) { format!("{}s", ms / 1_000) } else { format!("{ms}ms") }
}

fn nanoseconds(nanos: u64) -> String {
    format!("{}ms", number(nanos as f64 / 1e6))
}

fn span_id(id: u64) -> String {
    format!("{id:016x}")
}

fn json_of_span(span: &InspectedSpan) -> Value {
    let lineage = span.lineage();
    let parent = (lineage.parent_span_id != 0).then(|| span_id(lineage.parent_span_id));
    json!({
        "span_id": span_id(lineage.span_id),
        "parent_span_id": parent,
        "service": span.service(),
        "name": span.name(),
        "kind": lineage.kind,
        "arrival_ms": span.arrival_ms,
        "duration_ns": span.duration_nanos(),
        "error": span.has_error(),
        "attributes": map(&span.attributes()),
    })
}

/// The resources of written spans, each once.
#[derive(Default)]
struct Resources<'t> {
    all: Vec<&'t SharedAttributes>,
    /// The index of each by its address.
    places: HashMap<usize, usize>,
}

impl<'t> Resources<'t> {
    fn place(&mut self, resource: &'t SharedAttributes) -> usize {
        *self.places.entry(resource.as_ptr().addr()).or_insert_with(|| {
            self.all.push(resource);
            self.all.len() - 1
        })
    }
}

/// Returns a written span. Its resource is an index of `resources`.
fn json_of_written<'t>(written: &'t Result<SinkSpan, String>, resources: &mut Resources<'t>) -> Value {
    match written {
        Ok(span) => {
            json!({
                "span_id": span_id(span.span_id),
                "name": span.name,
                "attributes": map(&span.attributes),
                "resource": resources.place(&span.resource),
            })
        }
        Err(error) => json!({"error": error}),
    }
}

fn map(attributes: &[(String, TextValue)]) -> Value {
    attributes.iter().map(|(key, value)| (key.clone(), value.to_json())).collect()
}

/// Appends a list to an object that has other keys.
fn list(out: &mut dyn io::Write, key: &str, items: impl Iterator<Item = Value>) -> io::Result<()> {
    write!(out, ",\"{key}\":[")?;
    for (number, item) in items.enumerate() {
        let comma = if number == 0 { "" } else { "," };
        write!(out, "{comma}{item}")?;
    }
    out.write_all(b"]")
}
