//! Encoded requests that can be sent repeatedly, each time with new trace and span ids.
//!
//! Ids have a fixed width in both encodings, so they can be overwritten in place, which is much cheaper than encoding
//! again.
#![allow(dead_code)] // Each benchmark uses a part.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::workload;

/// The encoding of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    Json,
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
}

impl Template {
    /// Encodes `request`.
    pub(crate) fn new(request: &ExportTraceServiceRequest, encoding: Encoding) -> Self {
        let bytes = match encoding {
            Encoding::Protobuf => request.encode_to_vec(),
            Encoding::Json => serde_json::to_vec(request).expect("a message that has a JSON form"),
        };
        let mut template = Template { encoding, bytes, ids: Vec::new(), spans: 0, errors: 0, slow: 0 };
        let mut cursor = 0;
        for span in workload::spans(request) {
            for id in [&span.trace_id, &span.span_id, &span.parent_span_id] {
                cursor = template.find(id, cursor);
            }
            template.spans += 1;
            template.errors += usize::from(workload::is_error(span));
            template.slow += usize::from(workload::is_slow_root(span));
        }
        template
    }

    /// Notes the position of `id`, which is somewhere after `cursor`; returns the position of its end.
    fn find(&mut self, id: &[u8], mut cursor: usize) -> usize {
        for word in id.chunks_exact(8).map(|word| u64::from_be_bytes(word.try_into().expect("8 bytes"))) {
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

fn hex(word: u64) -> [u8; 16] {
    std::array::from_fn(|i| b"0123456789abcdef"[(word >> (60 - 4 * i)) as usize & 15])
}

/// Returns the requests of `shape` as templates.
pub(crate) fn templates(shape: &workload::Shape, encoding: Encoding) -> Vec<Template> {
    workload::requests(shape).iter().map(|request| Template::new(request, encoding)).collect()
}
