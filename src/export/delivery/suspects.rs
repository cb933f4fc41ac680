//! Finds the spans that a refusal is probably about: spans that the sink named, and spans that share features with
//! refused ones. Pure: time is an argument.
//!
//! A suspected span is only sent separately, in a smaller call. The answer to that call decides.

use std::time::Duration;

use prost::Message;
use tokio::time::Instant;

use crate::export::batch::SpanDescription;
use crate::export::failure::Failure;
use crate::proto::google::rpc;

/// The largest number of spans that are taken from one refusal. Each is sent in a call of its own.
const NAMED_MAX: usize = 8;
/// The largest number of digits of a place in a batch. The limit bounds the work on a text with many beginnings of a
/// place.
const PLACE_DIGITS_MAX: usize = 6;
/// The number of hexadecimal digits of a span id.
const ID_DIGITS: usize = 16;
/// The largest number of features that are remembered for a project. A service that sends bad spans sends only a few
/// kinds of them.
const FEATURES_MAX: usize = 64;
/// The time without a refusal after which a feature is forgotten. While any is remembered, the spans of every stored
/// batch are compared with it.
const REFUSAL_MEMORY: Duration = Duration::from_secs(600);
/// A feature is suspected while at least one of this many spans that had it was refused.
const SUSPECTED_SHARE: u32 = 8;

/// Returns the places of the spans that `failure` names, by `spans[place]` or by their ids.
pub(super) fn named(failure: &Failure, spans: &[SpanDescription]) -> Vec<usize> {
    let text = text(failure);
    let mut places = Vec::new();
    let by_place = text.match_indices("spans[").filter_map(|(at, start)| {
        let rest = &text[at + start.len()..];
        let digits = &rest[..rest.bytes().take(PLACE_DIGITS_MAX).take_while(u8::is_ascii_digit).count()];
        digits.parse::<usize>().ok().filter(|_| rest[digits.len()..].starts_with(']'))
    });
    // In a part of an OTLP request, the place is not the place in the batch.
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

/// Returns the message of a failure, and the fields that `google.rpc.BadRequest` names in its details.
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

/// The features of the spans of a project that were refused.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// In the order of their last refusals.
    features: Vec<Feature>,
}

/// A feature, with the spans that had it since the first refusal.
#[derive(Debug)]
struct Feature {
    feature: u64,
    refused: u32,
    stored: u32,
    last_refused: Instant,
}

impl Refusals {
    /// Returns true if no feature is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// Records that a single span was refused.
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

    /// Records that these spans were stored.
    pub(super) fn stored(&mut self, spans: &[SpanDescription], now: Instant) {
        self.features.retain(|known| now - known.last_refused < REFUSAL_MEMORY);
        for known in &mut self.features {
            let alike = spans.iter().filter(|span| span.features.contains(&known.feature)).count();
            known.stored = known.stored.saturating_add(u32::try_from(alike).unwrap_or(u32::MAX));
        }
    }

    /// Returns true if the span has a suspected feature.
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
