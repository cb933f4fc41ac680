//! The description of a request, made from arbitrary bytes.

use crate::otlp::fields::{
    any_value, export_trace_service_request, instrumentation_scope, key_value, resource, resource_spans, scope_spans,
    span, status,
};
use crate::otlp::write;

/// The start of the first span, in nanoseconds since 1970.
pub(super) const BEGIN_UNIX_NANO: u64 = 1_700_000_000_000_000_000;

/// The approximate maximum of a body, in bytes: enough for hundreds of spans that share a resource of a hundred KiB,
/// and small enough to try thousands of shapes.
const BODY_BYTES_MAX: usize = 1 << 18;

/// Maximum number of resources, and of scopes below each resource.
const GROUPS_MAX: usize = 4;

/// The description of a request: resources with their scopes and spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    resources: Vec<Resource>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Resource {
    attributes: Attributes,
    scopes: Vec<Scope>,
    /// True if the message has the resource after its spans.
    is_last: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Scope {
    attributes: Attributes,
    name_len: usize,
    spans: Spans,
}

/// Attributes of a resource, a scope or a span: at most one with a key that the policies ask for, and others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attributes {
    count: usize,
    value_len: usize,
    /// The position of the attribute with the key that the policies ask for.
    asked: Place,
    asked_len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// There is no such attribute.
    No,
    First,
    Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spans {
    count: usize,
    /// True if each span has a trace of its own.
    alone: bool,
    /// True if all spans start at the same time. Then a key may be read from any of them.
    tied: bool,
    failed: bool,
    attributes: Attributes,
}

/// A source of numbers that are made from bytes. When the bytes are used up it gives zeros.
struct Source<'a>(std::slice::Iter<'a, u8>);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    /// Returns a number below 2^`bits_max`. Every number of bits is equally likely.
    fn size(&mut self, bits_max: u32) -> usize {
        let bits = u32::from(self.byte()) % (bits_max + 1);
        let below = usize::from(self.byte()) + 256;
        (below << bits) >> 9
    }

    fn attributes(&mut self, count_bits: u32, value_bits: u32) -> Attributes {
        let asked = [Place::No, Place::First, Place::Last][usize::from(self.byte()) % 3];
        let asked_len = self.size(value_bits);
        Attributes { count: self.size(count_bits), value_len: self.size(value_bits), asked, asked_len }
    }
}

impl Shape {
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let mut source = Source(bytes.iter());
        let group_count = |source: &mut Source<'_>| 1 + usize::from(source.byte()) % GROUPS_MAX;
        let resources = (0..group_count(&mut source)).map(|_| {
            let attributes = source.attributes(15, 17);
            let is_last = source.byte() % 2 == 1;
            let scopes = (0..group_count(&mut source)).map(|_| {
                let (attributes, name_len) = (source.attributes(15, 17), source.size(17));
                let (count, flags) = (source.size(11), source.byte());
                let [alone, tied, failed] = [1, 2, 4].map(|flag| flags & flag != 0);
                let spans = Spans { count, alone, tied, failed, attributes: source.attributes(6, 10) };
                Scope { attributes, name_len, spans }
            });
            Resource { attributes, scopes: scopes.collect(), is_last }
        });
        Shape { resources: resources.collect() }
    }

    /// Returns the body of the request. Each scope has an equal part of `BODY_BYTES_MAX`: attributes and spans that
    /// exceed it are left out, but every scope has at least one span.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut number = 0;
        let scopes: usize = self.resources.iter().map(|resource| resource.scopes.len()).sum();
        // Of each part a quarter is for the resource, a quarter for the scope and the rest for spans.
        let part = BODY_BYTES_MAX / scopes;
        let mut body = Vec::new();
        for resource in &self.resources {
            let mut groups = Vec::new();
            for scope in &resource.scopes {
                write::message(&mut groups, resource_spans::SCOPE_SPANS, |out| scope.write(out, part, &mut number));
            }
            write::message(&mut body, export_trace_service_request::RESOURCE_SPANS, |out| {
                let message = |out: &mut Vec<u8>| {
                    resource.attributes.write(out, resource::ATTRIBUTES, "service.name", part / 4);
                };
                if resource.is_last {
                    out.extend_from_slice(&groups);
                }
                write::message(out, resource_spans::RESOURCE, message);
                if !resource.is_last {
                    out.extend_from_slice(&groups);
                }
            });
        }
        body
    }
}

impl Scope {
    /// Writes the fields of a `ScopeSpans`. `number` counts the spans of the request.
    fn write(&self, out: &mut Vec<u8>, bytes_max: usize, number: &mut u64) {
        write::message(out, scope_spans::SCOPE, |out| {
            write::bytes(out, instrumentation_scope::NAME, &vec![b'n'; self.name_len.min(bytes_max / 8)]);
            self.attributes.write(out, instrumentation_scope::ATTRIBUTES, "region", bytes_max / 8);
        });
        let spans_max = bytes_max / 2;
        let start = out.len();
        for _ in 0..self.spans.count.max(1) {
            *number += 1;
            write::message(out, scope_spans::SPANS, |out| self.spans.write(out, *number));
            if out.len() - start >= spans_max {
                break;
            }
        }
    }
}

impl Spans {
    fn write(&self, out: &mut Vec<u8>, number: u64) {
        let trace = if self.alone { number } else { 0 };
        let begin = BEGIN_UNIX_NANO + if self.tied { 0 } else { number };
        write::bytes(out, span::TRACE_ID, &(1 << 127 | u128::from(trace)).to_be_bytes());
        write::bytes(out, span::SPAN_ID, &number.to_be_bytes());
        write::bytes(out, span::NAME, b"n");
        write::fixed64(out, span::START_TIME_UNIX_NANO, begin);
        write::fixed64(out, span::END_TIME_UNIX_NANO, begin + 1);
        self.attributes.write(out, span::ATTRIBUTES, "http.route", 1 << 12);
        if self.failed {
            write::message(out, span::STATUS, |out| write::int(out, status::CODE, 2));
        }
    }
}

impl Attributes {
    /// Writes the attributes as field `number`, in about `bytes_max` bytes: one with the key `asked`, and others
    /// without a key. If `value_len` is 0 the others are empty messages, the smallest possible.
    fn write(self, out: &mut Vec<u8>, number: u32, asked: &str, bytes_max: usize) {
        let text = |out: &mut Vec<u8>, len: usize| {
            let text = vec![b'v'; len.min(bytes_max / 2)];
            write::message(out, key_value::VALUE, |out| write::bytes(out, any_value::STRING_VALUE, &text));
        };
        let named = |out: &mut Vec<u8>| {
            write::message(out, number, |out| {
                write::bytes(out, key_value::KEY, asked.as_bytes());
                text(out, self.asked_len);
            });
        };
        if self.asked == Place::First {
            named(out);
        }
        let start = out.len();
        for _ in 0..self.count {
            if out.len() - start >= bytes_max / 2 {
                break;
            }
            match self.value_len {
                0 => write::bytes(out, number, &[]),
                len => write::message(out, number, |out| text(out, len)),
            }
        }
        if self.asked == Place::Last {
            named(out);
        }
    }
}
