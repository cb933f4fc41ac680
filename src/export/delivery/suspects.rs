//! The spans that a refusal points at: by the sink's own words, or because they feature like others that it refused. Pure:
//! time is an argument.
//!
//! A suspected span is only asked about apart, in a call of fewer spans: what the sink says of that is what counts.

use std::time::Duration;

use prost::Message;
use tokio::time::Instant;

use crate::export::batch::SpanDescription;
use crate::export::failure::Failure;
use crate::proto::google::rpc;

/// Spans that one refusal names, at most: each goes in a call of its own.
const NAMED_MAX: usize = 8;
/// Digits of the place of a span in a batch. No more are looked at: a text may have many beginnings of a place.
const PLACE_DIGITS_MAX: usize = 6;
/// Digits of a span id in hexadecimal.
const ID_DIGITS: usize = 16;
/// Looks of refused spans that are remembered for a project: a service that sends bad spans has few kinds of them.
const FEATURES_MAX: usize = 64;
/// A feature that no span was refused with for so long is forgotten: while there is one, every stored batch is looked through.
const REFUSAL_MEMORY: Duration = Duration::from_secs(600);
/// A feature is suspected while at least one span in so many that had it was refused.
const SUSPECTED_SHARE: u32 = 8;

/// The places of the spans that `failure` names: by `spans[place]`, or by their ids.
pub(super) fn named(failure: &Failure, spans: &[SpanDescription]) -> Vec<usize> {
    let text = text(failure);
    let mut places = Vec::new();
    let by_place = text.match_indices("spans[").filter_map(|(at, start)| {
        let rest = &text[at + start.len()..];
        let digits = &rest[..rest.bytes().take(PLACE_DIGITS_MAX).take_while(u8::is_ascii_digit).count()];
        digits.parse::<usize>().ok().filter(|_| rest[digits.len()..].starts_with(']'))
    });
    // A place in a part of an OTLP request is not one in the batch.
    if !text.contains("scope_spans[") {
        places.extend(by_place.filter(|&place| place < spans.len()).take(NAMED_MAX));
    }
    let ids = text.split(|c: char| !c.is_ascii_hexdigit()).filter(|run| run.len() == ID_DIGITS);
    for id in ids.filter_map(|id| u64::from_str_radix(id, 16).ok()).take(NAMED_MAX) {
        places.extend(spans.iter().position(|span| span.span_id == id));
    }
    places.sort_unstable();
    places.dedup();
    places.truncate(NAMED_MAX);
    places
}

/// The message of a failure, and the fields that `google.rpc.BadRequest` names in its details.
fn text(failure: &Failure) -> String {
    let mut text = failure.status().message().to_owned();
    let details = rpc::Status::decode(failure.status().details()).unwrap_or_default().details;
    for any in details.iter().filter(|any| any.type_url.ends_with("/google.rpc.BadRequest")) {
        let request = rpc::BadRequest::decode(any.value.as_slice()).unwrap_or_default();
        for violation in request.field_violations.into_iter().take(NAMED_MAX) {
            text.extend([" ", &violation.field, " ", &violation.description]);
        }
    }
    text
}

/// What spans of a project looked like that were refused.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// In the order in which they were last refused.
    features: Vec<Feature>,
}

/// What became of spans that feature alike, since one of them was refused.
#[derive(Debug)]
struct Feature {
    feature: u64,
    refused: u32,
    stored: u32,
    last_refused: Instant,
}

impl Refusals {
    /// Whether nothing is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// A span was refused by itself.
    pub(super) fn refused(&mut self, span: &SpanDescription, now: Instant) {
        for feature in span.features {
            let at = self.features.iter().position(|known| known.feature == feature);
            let new = Feature { feature, refused: 0, stored: 0, last_refused: now };
            let mut known = at.map_or(new, |at| self.features.remove(at));
            known.refused = known.refused.saturating_add(1);
            known.last_refused = now;
            if self.features.len() == FEATURES_MAX {
                self.features.remove(0);
            }
            self.features.push(known);
        }
    }

    /// These spans were stored.
    pub(super) fn stored(&mut self, spans: &[SpanDescription], now: Instant) {
        self.features.retain(|known| now - known.last_refused < REFUSAL_MEMORY);
        for known in &mut self.features {
            let alike = spans.iter().filter(|span| span.features.contains(&known.feature)).count();
            known.stored = known.stored.saturating_add(u32::try_from(alike).unwrap_or(u32::MAX));
        }
    }

    /// Whether the span features like others that were refused.
    pub(super) fn suspects(&self, span: &SpanDescription) -> bool {
        self.features.iter().any(|known| span.features.contains(&known.feature) && known.is_suspected())
    }
}

impl Feature {
    fn is_suspected(&self) -> bool {
        self.stored < SUSPECTED_SHARE.saturating_mul(self.refused)
    }
}

#[cfg(test)]
mod tests;
