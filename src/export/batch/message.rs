//! The messages of batches: adds spans to a message, and finds the spans in a finished message. Pure.
//!
//! In both forms, the spans are a repeated field 2 after a head of other fields. In Cloud Trace's message, the head is
//! the name of the project. In OTLP's message, it is a scope, and scopes with their spans stand inside a resource.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::otlp::fields::{self, export_trace_service_request, resource_spans as resource_fields, scope_spans};
use crate::otlp::view::submessages;
use crate::otlp::wire::Reader;
use crate::otlp::write;
use spansieve_core::cloud_trace::encode::fields as cloud_trace;

/// The number of `BatchWriteSpansRequest.spans` and of `ScopeSpans.spans`. The encoders also write the key of the
/// field: a record is a whole field.
pub const SPANS_FIELD: u32 = scope_spans::SPANS;
const _: () = assert!(SPANS_FIELD == cloud_trace::batch_write_spans_request::SPANS);

/// The longest key and length of an OTLP submessage. A message is always smaller than 4 GiB.
const WRAP_BYTES_MAX: usize = 6;

/// The kind of message that a batch is sent as. Its number identifies it on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// `google.devtools.cloudtrace.v2.BatchWriteSpansRequest`, with the spans of one project.
    CloudTrace = 1,
    /// `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`, with spans by resource and scope.
    Otlp = 2,
}

/// The place of a span: its project, and its position in a message.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The project of the batch.
    pub project: &'a Arc<str>,
    /// The fields of the span's `ResourceSpans`, without the spans. It is empty for Cloud Trace, where each span
    /// contains its resource.
    pub resource: &'a [u8],
    /// The fields before the spans: `name` of the `BatchWriteSpansRequest`, or the fields of the `ScopeSpans`.
    pub head: &'a [u8],
    /// A number that identifies `resource` and `head`, so that their bytes need not be compared for each span. `None`
    /// where they are short.
    pub number: Option<u64>,
}

/// The position of a span in a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessagePlace<'a> {
    resource: &'a [u8],
    head: &'a [u8],
    number: Option<u64>,
}

impl<'a> Place<'a> {
    pub(super) fn in_message(self) -> MessagePlace<'a> {
        MessagePlace { resource: self.resource, head: self.head, number: self.number }
    }
}

type ByBytes<V> = HashMap<Vec<u8>, V, RandomState>;

/// A message under construction. Spans of the same place stand together, in the order in which they were added.
#[derive(Debug)]
pub(super) struct MessageBuilder {
    form: Form,
    /// Indices into `records`, by resource and then by head.
    resources: ByBytes<ByBytes<usize>>,
    /// The same indices, by the number of the place.
    numbers: HashMap<u64, usize, RandomState>,
    records: Vec<Vec<u8>>,
    span_count: u32,
    encoded_len: usize,
    held_bytes: usize,
}

impl MessageBuilder {
    pub(super) fn new(form: Form) -> Self {
        MessageBuilder {
            form,
            resources: ByBytes::default(),
            numbers: HashMap::default(),
            records: Vec::new(),
            span_count: 0,
            encoded_len: 0,
            held_bytes: 0,
        }
    }

    pub(super) fn span_count(&self) -> u32 {
        self.span_count
    }

    /// Returns an upper bound of the length of the message in bytes.
    pub(super) fn encoded_len(&self) -> usize {
        self.encoded_len
    }

    /// Returns the bytes of memory in use.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Returns the value that [`MessageBuilder::encoded_len`] would have with one more span.
    pub(super) fn len_with(&self, place: MessagePlace<'_>, record: &[u8]) -> usize {
        let place_len = if self.find(place).is_some() { 0 } else { self.place_len(place) };
        self.encoded_len + place_len + record.len()
    }

    /// Adds a span: the whole field with its key and length.
    pub(super) fn push(&mut self, place: MessagePlace<'_>, record: &[u8]) {
        let at = match self.find(place) {
            Some(at) => at,
            None => self.add(place),
        };
        self.encoded_len += record.len();
        self.span_count += 1;
        let records = &mut self.records[at];
        self.held_bytes -= records.capacity();
        records.extend_from_slice(record);
        self.held_bytes += records.capacity();
    }

    /// Returns the index of the spans of a place, if it has any.
    fn find(&self, place: MessagePlace<'_>) -> Option<usize> {
        match place.number {
            Some(number) => self.numbers.get(&number).copied(),
            None => self.resources.get(place.resource)?.get(place.head).copied(),
        }
    }

    /// Adds an empty list of spans for a place, and returns its index.
    fn add(&mut self, place: MessagePlace<'_>) -> usize {
        self.encoded_len += self.place_len(place);
        let heads = slot(&mut self.resources, place.resource, &mut self.held_bytes);
        let next = self.records.len();
        let at = *heads.entry_ref(place.head).or_insert(next);
        if at == next {
            self.held_bytes += place.head.len() + size_of::<(Vec<u8>, usize, Vec<u8>)>();
            self.records.push(Vec::new());
        }
        if let Some(number) = place.number {
            self.held_bytes += size_of::<(u64, usize)>();
            self.numbers.insert(number, at);
        }
        at
    }

    /// Returns the bytes that a new place adds to the message, without its spans.
    fn place_len(&self, place: MessagePlace<'_>) -> usize {
        let wrap = match self.form {
            Form::CloudTrace => 0,
            Form::Otlp => WRAP_BYTES_MAX,
        };
        match self.resources.get(place.resource) {
            Some(heads) if heads.contains_key(place.head) => 0,
            Some(_) => place.head.len() + wrap,
            None => place.resource.len() + wrap + place.head.len() + wrap,
        }
    }

    /// Returns the encoded message.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len);
        for (resource, heads) in &self.resources {
            let scopes = || heads.iter().map(|(head, at)| (&head[..], &self.records[*at][..]));
            match self.form {
                // There is only one head, because a call is for one project.
                Form::CloudTrace => scopes().for_each(|(head, records)| put(&mut out, &[head, records])),
                Form::Otlp => resource_spans(&mut out, resource, scopes),
            }
        }
        out
    }
}

/// Returns the value of `key`. If it is new, its bytes are added to `held_bytes`.
fn slot<'m, V: Default>(map: &'m mut ByBytes<V>, key: &[u8], held_bytes: &mut usize) -> &'m mut V {
    map.entry_ref(key).or_insert_with(|| {
        *held_bytes += key.len() + size_of::<(Vec<u8>, V)>();
        V::default()
    })
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// Appends one field `resource_spans`.
fn resource_spans<'a, I: Iterator<Item = (&'a [u8], &'a [u8])>>(
    out: &mut Vec<u8>,
    resource: &[u8],
    scopes: impl Fn() -> I,
) {
    let scopes_len = scopes()
        .map(|(scope, records)| write::field_len(resource_fields::SCOPE_SPANS, scope.len() + records.len()))
        .sum::<usize>();
    write::header(out, export_trace_service_request::RESOURCE_SPANS, resource.len() + scopes_len);
    out.extend_from_slice(resource);
    for (scope, records) in scopes() {
        write::header(out, resource_fields::SCOPE_SPANS, scope.len() + records.len());
        put(out, &[scope, records]);
    }
}

/// A span in a finished message: its position, and the whole field.
#[derive(Clone, Copy, Debug)]
struct LocatedSpan<'a> {
    resource: &'a [u8],
    head: &'a [u8],
    /// The index of the `ScopeSpans`, or of the message if there are no scopes.
    place: u64,
    record: &'a [u8],
}

impl Form {
    /// Returns the spans of a finished message as records.
    pub(super) fn records(self, message: &[u8]) -> Vec<&[u8]> {
        self.spans([message].into_iter()).into_iter().map(|span| span.record).collect()
    }

    /// Divides the spans of a finished message into several messages, and returns each with its number of spans.
    /// `part_of` maps the place of a span to the number of its message. The messages are in the order of these numbers;
    /// none is empty.
    pub(super) fn parts(self, message: &[u8], part_of: impl Fn(usize) -> usize) -> Vec<(Vec<u8>, u32)> {
        let mut parts: BTreeMap<usize, Vec<LocatedSpan<'_>>> = BTreeMap::new();
        for (place, span) in self.spans([message].into_iter()).into_iter().enumerate() {
            parts.entry(part_of(place)).or_default().push(span);
        }
        parts.into_values().map(|spans| (self.gather(&spans), spans.len() as u32)).collect()
    }

    /// Returns one message with the spans of several finished messages.
    pub(super) fn join<'a>(self, messages: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        self.gather(&self.spans(messages))
    }

    fn gather(self, spans: &[LocatedSpan<'_>]) -> Vec<u8> {
        let mut gathered = MessageBuilder::new(self);
        for &LocatedSpan { resource, head, place, record } in spans {
            gathered.push(MessagePlace { resource, head, number: Some(place) }, record);
        }
        gathered.finish()
    }

    /// Finds all spans of finished messages.
    fn spans<'a>(self, messages: impl Iterator<Item = &'a [u8]>) -> Vec<LocatedSpan<'a>> {
        let mut found = Vec::new();
        let mut place = 0;
        let mut find = |resource, message| {
            find(resource, message, place, &mut found);
            place += 1;
        };
        for message in messages {
            match self {
                Form::CloudTrace => find(&[], message),
                Form::Otlp => {
                    for resource_spans in submessages(message, export_trace_service_request::RESOURCE_SPANS) {
                        let resource = head(resource_spans, resource_fields::SCOPE_SPANS);
                        submessages(resource_spans, resource_fields::SCOPE_SPANS)
                            .for_each(|scope| find(resource, scope));
                    }
                }
            }
        }
        found
    }

    /// Returns the ids of the first span of a finished message as text.
    pub(super) fn first_span_name(self, message: &[u8]) -> String {
        let first = |bytes, number| submessages(bytes, number).next().unwrap_or_default();
        match self {
            // `Span.name` has the form `projects/../traces/../spans/..`.
            Form::CloudTrace => {
                String::from_utf8_lossy(first(first(message, SPANS_FIELD), cloud_trace::span::NAME)).into_owned()
            }
            Form::Otlp => {
                let scope_spans =
                    first(first(message, export_trace_service_request::RESOURCE_SPANS), resource_fields::SCOPE_SPANS);
                let span = first(scope_spans, SPANS_FIELD);
                format!(
                    "traces/{}/spans/{}",
                    hex(first(span, fields::span::TRACE_ID)),
                    hex(first(span, fields::span::SPAN_ID))
                )
            }
        }
    }
}

/// Returns the fields of a message before the first field `number`.
fn head(message: &[u8], number: u32) -> &[u8] {
    let mut reader = Reader::new(message);
    let mut end = 0;
    while matches!(reader.field(), Ok(Some((found, _))) if found != number) {
        end = reader.position();
    }
    &message[..end]
}

/// Appends the spans of `message` to `found`. They stand after its head.
fn find<'a>(resource: &'a [u8], message: &'a [u8], place: u64, found: &mut Vec<LocatedSpan<'a>>) {
    let (head, spans) = message.split_at(head(message, SPANS_FIELD).len());
    let mut reader = Reader::new(spans);
    let mut start = 0;
    while let Ok(Some(_)) = reader.field() {
        found.push(LocatedSpan { resource, head, place, record: &spans[start..reader.position()] });
        start = reader.position();
    }
}

/// Returns the id in lower-case hexadecimal.
fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
