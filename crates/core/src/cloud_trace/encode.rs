//! The span encoder. It converts the OTLP bytes of a kept span directly to Cloud Trace v2 bytes.
//!
//! `docs/cloud-trace-mapping.md` describes the conversion of each field. It follows Google's Go exporter
//! (opentelemetry-operations-go, `exporter/{collector,trace}`) within the present limits of the API
//! (<https://cloud.google.com/trace/docs/quotas>).
//!
//! Invariants
//! - Every written span is valid for the API, no matter what the sender sent. Cloud Trace would refuse a whole batch
//!   for one invalid span.
//! - Dropped attributes, events and links, and the bytes that are cut from texts, are counted in the span. A cut status
//!   message is not counted there, and neither are elements of a list or map that begin after the cut.
//! - Each attribute key occurs once on the wire, and each length is the shortest varint.
//! - Nothing is allocated for a span of up to 30 attributes, once the buffers have grown.
//! - The data that spans share is read once for each request.
//! - No span becomes larger than [`SPAN_BYTES_MAX`].

use std::ops::RangeInclusive;
use std::sync::Arc;

use thiserror::Error;

use self::attributes::{AttributeList, Scratch, entry};
use self::span::EncodedFieldsOfSpan;
use crate::otlp::altered::AlteredSpans;
use crate::otlp::view::{self, AnyValue};
use crate::otlp::wire::WireError;
use crate::otlp::write;
use crate::resource::cache::{ById, Cache, shared_head};
use crate::resource::settings::AllowedProjects;
use crate::resource::{RewriterUser, SharedRewriter};
use crate::sampling::annotation::Annotations;
use crate::sampling::{Keep, PolicyNames};
use crate::tail::request::{ScopeId, SpanBytes};

pub use self::names::KeyNames;
pub use self::origin::SpanOrigin;
pub use self::resource::EncodedResource;

mod attributes;
mod events;
pub mod fields;
mod labels;
mod links;
mod merge;
mod names;
mod origin;
mod resource;
mod span;
mod text;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

/// The most attributes of a span, including those of its resource and those that Spansieve adds. Also the most
/// attributes of an event or a link.
pub const ATTRIBUTES_MAX: usize = 1_024;
/// The most bytes of an attribute's key. An attribute with a longer key is dropped.
pub const KEY_BYTES_MAX: usize = 512;
/// The most bytes of the text of an attribute's value or of a status message. Longer texts are cut.
pub const VALUE_BYTES_MAX: usize = 65_532;
/// The most bytes of the name of a span, an event or a scope, and of a scope's version. Longer texts are cut.
pub const NAME_BYTES_MAX: usize = 1_024;
/// The most bytes of the labels and attributes of a resource. Cloud Trace has no place for them but the spans, so a
/// thousand spans of one request repeat them a thousand times. Real resources take 1 to 4 KiB.
pub const RESOURCE_BYTES_MAX: usize = 32 << 10;
/// The most bytes of a value if its resource would take more than [`RESOURCE_BYTES_MAX`].
pub const LONG_VALUE_BYTES_MAX: usize = 1_024;
/// The most bytes of an encoded span. No limit is documented, but gRPC servers accept messages of 4 MiB by default. A
/// span and the name of its request must fit into one message.
pub const SPAN_BYTES_MAX: usize = (4 << 20) - 1_024;
/// The bytes that are reserved after the attributes, events and links of a span for its status, counts and lengths.
const STATUS_BYTES_MAX: usize = VALUE_BYTES_MAX + 1_024;
/// The most events of a span. Later events are dropped and counted.
pub const EVENTS_MAX: usize = 256;
/// The most time by which an event may precede the start of its span: 365 days, in nanoseconds.
pub const EVENT_LEAD_NANOS_MAX: u64 = 365 * 24 * 3_600 * 1_000_000_000;
/// The most time since the start of a span: 14 days, in nanoseconds.
pub const PAST_NANOS_MAX: u64 = 14 * 24 * 3_600 * 1_000_000_000;
/// The most time by which the end of a span may be in the future: 3 days, in nanoseconds. The clock of the host may be
/// ahead.
pub const FUTURE_NANOS_MAX: u64 = 3 * 24 * 3_600 * 1_000_000_000;
/// The most links of a span. Later links are dropped and counted.
pub const LINKS_MAX: usize = 128;

/// The version of this program, for the agent label of a span.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The reason why a span cannot be encoded. Retrying cannot help. A span that was accepted on arrival fails only
/// because of its times or its project.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EncodeError {
    /// The bytes are not a protobuf message.
    #[error("the span is malformed: {0}")]
    Wire(#[from] WireError),
    /// The trace id is not 16 bytes, or is all zero.
    #[error("the span has no valid trace id")]
    TraceId,
    /// The span id is not 8 bytes, or is all zero.
    #[error("the span has no valid span id")]
    SpanId,
    /// The span started more than [`PAST_NANOS_MAX`] ago. The API would refuse its whole batch.
    #[error("the span started more than 14 days ago, which Cloud Trace refuses")]
    Past,
    /// The span ends more than [`FUTURE_NANOS_MAX`] from now. The API would refuse its whole batch.
    #[error("the span ends more than 3 days from now, which Cloud Trace refuses")]
    Future,
    /// The resource names a project that is not in `export.allowed_projects`. The name has at most 128 characters,
    /// all of which are allowed in project ids.
    #[error(
        "the project {0} is not allowed: list it in export.allowed_projects, or rewrite gcp.project_id in \
         resource.attributes"
    )]
    Project(Arc<str>),
}

/// The settings of an [`Encoder`].
#[derive(Clone, Debug, Default)]
pub struct EncoderSettings {
    /// The project of spans whose resource does not name one.
    pub default_project: Arc<str>,
    /// The other projects that spans may name. The list is needed because senders choose the project, and the owner of
    /// the project pays for the spans.
    pub allowed_projects: AllowedProjects,
    /// True if spans get attributes that say why they were kept ([`crate::sampling::annotation`]).
    pub annotate: bool,
    /// The names under which attribute keys are written.
    pub names: KeyNames,
    /// True if a resource on Cloud Run gets the type `cloud_run_revision` (`export.cloud_run_revision`).
    pub cloud_run_revision: bool,
    /// The names of the policies, indexed by [`Keep::policy`].
    pub policy_names: PolicyNames,
}

impl EncoderSettings {
    fn allows(&self, project: &Arc<str>) -> bool {
        *project == self.default_project || self.allowed_projects.allows(project)
    }
}

/// The encoder of kept spans. Each worker has an encoder with buffers and caches of its own.
#[derive(Debug)]
pub struct Encoder {
    settings: EncoderSettings,
    rewriter: RewriterUser,
    origins: ById<ScopeId, SpanOrigin>,
    resources: Cache<1, EncodedResource>,
    annotations: Annotations,
    /// The times that the API accepts, in nanoseconds since 1970.
    times: RangeInclusive<u64>,
    altered: AlteredSpans,
    scratch: Scratch,
}

impl Encoder {
    /// Creates an encoder that rewrites resources with `rewriter`.
    #[must_use]
    pub fn new(settings: EncoderSettings, rewriter: impl Into<SharedRewriter>) -> Self {
        Encoder {
            settings,
            rewriter: rewriter.into().user(),
            origins: ById::default(),
            resources: Cache::default(),
            annotations: Annotations::default(),
            times: 0..=u64::MAX,
            altered: AlteredSpans::default(),
            scratch: Scratch::default(),
        }
    }

    /// Sets the present time, in nanoseconds since 1970. From now on, spans whose times are too far from it fail.
    /// Before the first call, spans with any times are accepted.
    pub fn set_now(&mut self, unix_nano: u64) {
        self.times = unix_nano.saturating_sub(PAST_NANOS_MAX)..=unix_nano.saturating_add(FUTURE_NANOS_MAX);
    }

    /// Returns the number of spans since the last call whose contents the encoder had to change, by reason.
    pub fn take_altered(&mut self) -> AlteredSpans {
        std::mem::take(&mut self.altered)
    }

    /// Returns the data that the span shares with the other spans of its resource and scope. The result is cached by
    /// the request and the place of the scope in it.
    pub fn origin(&mut self, span: SpanBytes<'_>) -> Arc<SpanOrigin> {
        if self.rewriter.refresh() {
            self.origins.clear();
            self.resources = Cache::default();
        }
        if let Some(origin) = span.scope_id.and_then(|id| self.origins.get(id)) {
            return Arc::clone(origin);
        }
        let resource = self.resource(span.resource);
        let origin = Arc::new(SpanOrigin::new(resource, span.scope, &mut self.scratch));
        if let Some(id) = span.scope_id {
            self.origins.insert(id, Arc::clone(&origin), origin.size_bytes());
        }
        origin
    }

    /// Rewrites and encodes the message `Resource` for all spans with an equal resource. The result is cached by the
    /// bytes of the message, if the [`Cache`] has room.
    pub fn resource(&mut self, raw: &[u8]) -> Arc<EncodedResource> {
        let raw = shared_head(raw);
        if let Some(resource) = self.resources.get([raw]) {
            return Arc::clone(resource);
        }
        let resource = Arc::new(EncodedResource::new(raw, &self.settings, self.rewriter.get(), &mut self.scratch));
        if self.resources.insert([raw], Arc::clone(&resource), resource.size_bytes()) {
            // Otherwise the origins would keep resources in memory that the cache has removed.
            self.origins.clear();
        }
        resource
    }

    /// Returns the bytes of memory that the caches of the encoder take.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.origins.size_bytes() + self.resources.size_bytes()
    }

    /// Appends the OTLP span `span` to `out`, as one `spans` field of a `BatchWriteSpansRequest` to the project of its
    /// origin.
    ///
    /// # Errors
    /// See [`EncodeError`]. `out` is then unchanged.
    pub fn span(&mut self, origin: &SpanOrigin, span: &[u8], keep: Keep, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let resource = &*origin.resource;
        resource.check_project()?;
        let mut attributes = AttributeList::beside(resource.filter(), &self.settings.names);
        let fields = EncodedFieldsOfSpan::read(span, &mut attributes)?;
        fields.check_times(&self.times)?;
        let keep = Keep { threshold: fields.passed(keep.threshold), ..keep };
        let scratch = &mut self.scratch;
        scratch.end = out.len() + SPAN_BYTES_MAX - STATUS_BYTES_MAX;
        let annotations = if self.settings.annotate {
            let write =
                |out: &mut Vec<u8>, key: &str, value: AnyValue<'_>| entry(out, key, value, &mut scratch.renderer);
            self.annotations.get(keep, &self.settings.policy_names, write)
        } else {
            &[]
        };
        write::message(out, fields::batch_write_spans_request::SPANS, |out| {
            fields.write_head(out, resource, scratch);
            merge::write(out, &mut attributes, origin, annotations, scratch);
            fields.write_tail(out, &self.settings.names, scratch);
        });
        scratch.renderer.note(fields.altered());
        scratch.renderer.note(resource.altered);
        self.altered.add(scratch.renderer.take_altered());
        Ok(())
    }
}
