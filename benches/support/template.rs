//! Encoded requests that can be sent repeatedly, each time with new trace and span ids.
//!
//! Ids have a fixed width in both encodings, so they can be overwritten in place, which is much cheaper than encoding
//! again.
#![allow(dead_code)] // Each benchmark uses a part.

use std::collections::HashSet;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::workload;

/// The encoding of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    Json,
}

/// A span of a trace that must be kept, as it has an error or is slow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence {
    /// The trace id in halves, as in the template.
    pub(crate) trace: [u64; 2],
    /// True if this span has the error.
    pub(crate) is_error: bool,
    /// True if this span is the root of a slow trace.
    pub(crate) is_slow: bool,
}

/// An encoded request.
#[derive(Debug)]
pub(crate) struct Template {
    encoding: Encoding,
    bytes: Vec<u8>,
    /// The position and the value of each 8 bytes of an id.
    ids: Vec<(usize, u64)>,
    pub(crate) spans: usize,
    /// Number of spans with an error. A trace has at most one.
    pub(crate) errors: usize,
    /// Number of roots of slow traces.
    pub(crate) slow: usize,
    /// The spans of traces that must be kept, of which some may be in other requests.
    pub(crate) evidence: Vec<Evidence>,
}

impl Template {
    /// Encodes `request`. `flagged` has the ids of the traces that must be kept.
    fn new(request: &ExportTraceServiceRequest, encoding: Encoding, flagged: &HashSet<&[u8]>) -> Self {
        let bytes = match encoding {
            Encoding::Protobuf => request.encode_to_vec(),
            Encoding::Json => serde_json::to_vec(request).expect("a message that has a JSON form"),
        };
        let (ids, evidence) = (Vec::new(), Vec::new());
        let mut template = Template { encoding, bytes, ids, spans: 0, errors: 0, slow: 0, evidence };
        let mut cursor = 0;
        for span in workload::spans(request) {
            for id in [&span.trace_id, &span.span_id, &span.parent_span_id] {
                cursor = template.find(id, cursor);
            }
            let (is_error, is_slow) = (workload::is_error(span), workload::is_slow_root(span));
            template.spans += 1;
            template.errors += usize::from(is_error);
            template.slow += usize::from(is_slow);
            if flagged.contains(&span.trace_id[..]) {
                let trace = [&span.trace_id[..8], &span.trace_id[8..]].map(word);
                template.evidence.push(Evidence { trace, is_error, is_slow });
            }
        }
        template
    }

    /// Notes the position of `id`, which is somewhere after `cursor`; returns the position of its end.
    fn find(&mut self, id: &[u8], mut cursor: usize) -> usize {
        for word in id.chunks_exact(8).map(word) {
            let needle = self.written(word);
            let found = memchr::memmem::find(&self.bytes[cursor..], &needle).expect("ids in the order of the spans");
            self.ids.push((cursor + found, word));
            cursor += found + needle.len();
        }
        cursor
    }

    fn written(&self, word: u64) -> Vec<u8> {
        match self.encoding {
            Encoding::Protobuf => word.to_be_bytes().into(),
            Encoding::Json => hex(word).into(),
        }
    }

    /// Returns the length of the request in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Replaces the content of `out` with the request. Its ids are changed by `key`; equal ids stay equal.
    pub(crate) fn stamp(&self, key: u64, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.bytes);
        match self.encoding {
            Encoding::Protobuf => {
                for &(at, word) in &self.ids {
                    out[at..at + 8].copy_from_slice(&(word ^ key).to_be_bytes());
                }
            }
            Encoding::Json => {
                for &(at, word) in &self.ids {
                    out[at..at + 16].copy_from_slice(&hex(word ^ key));
                }
            }
        }
    }
}

/// Returns the number that 8 bytes of an id stand for.
fn word(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("8 bytes"))
}

fn hex(word: u64) -> [u8; 16] {
    std::array::from_fn(|i| b"0123456789abcdef"[(word >> (60 - 4 * i)) as usize & 15])
}

/// Returns the requests of `shape` as templates.
pub(crate) fn templates(shape: &workload::Shape, encoding: Encoding) -> Vec<Template> {
    let requests = workload::requests(shape);
    let must_be_kept = |span: &&Span| workload::is_error(span) || workload::is_slow_root(span);
    let flagged =
        requests.iter().flat_map(workload::spans).filter(must_be_kept).map(|span| &span.trace_id[..]).collect();
    requests.iter().map(|request| Template::new(request, encoding, &flagged)).collect()
}
