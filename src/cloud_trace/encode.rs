//! The span encoder: a kept span goes from OTLP bytes straight to Cloud Trace v2 bytes.
//!
//! What becomes of each field stands in `docs/cloud-trace-mapping.md`. It follows Google's Go exporter
//! (opentelemetry-operations-go, `exporter/{collector,trace}`) within today's limits of the API
//! (<https://cloud.google.com/trace/docs/quotas>).
//!
//! Invariants
//! - Every span written is valid for the API whatever was sent: a bad one would cost its whole batch.
//! - What is lost on the way is counted in the span's own dropped and truncated counts.
//! - Each attribute key occurs once on the wire, each length is the shortest varint.
//! - Nothing is allocated for a span of up to 30 attributes, once the buffers have grown.
//! - What spans share is read once for each request, and no span becomes larger than [`SPAN_BYTES_MAX`].

use std::ops::RangeInclusive;
use std::sync::Arc;

use thiserror::Error;

use self::attributes::{AttributeList, Scratch, entry};
use self::span::SpanFields;
use crate::config::settings::AllowedProjects;
use crate::otlp::altered::AlteredSpans;
use crate::otlp::view::{self, AnyValue};
use crate::otlp::wire::WireError;
use crate::otlp::write;
use crate::resource::Rewriter;
use crate::resource::cache::{ById, Cache, shared_head};
use crate::sampling::Keep;
use crate::sampling::annotation::Annotations;
use crate::tail::request::{ScopeId, SpanBytes};

pub use self::names::KeyNames;
pub use self::origin::Origin;
pub use self::resource::EncodedResource;

mod attributes;
mod events;
mod labels;
mod links;
mod merge;
mod names;
mod origin;
mod resource;
mod span;
mod text;

#[cfg(test)]
mod tests;

/// Attributes of a span, with its resource's and ours, and those of an event or a link.
pub const ATTRIBUTES_MAX: usize = 1_024;
/// Bytes of an attribute's key; a longer one drops the attribute.
pub const KEY_BYTES_MAX: usize = 512;
/// Bytes of an attribute's string value, and of a status message; a longer one is cut.
pub const VALUE_BYTES_MAX: usize = 65_532;
/// Bytes of the name of a span, an event or a scope, and of a scope's version; a longer one is cut.
pub const NAME_BYTES_MAX: usize = 1_024;
/// Bytes of the labels and attributes of a resource, which Cloud Trace has no other place for than each of its spans: a thousand
/// spans of one request would otherwise become a thousand times as many bytes. Real resources take one to four KiB.
pub const RESOURCE_BYTES_MAX: usize = 32 << 10;
/// Bytes of a value of a resource that is larger than [`RESOURCE_BYTES_MAX`].
pub const LONG_VALUE_BYTES_MAX: usize = 1_024;
/// Bytes of an encoded span. No limit is documented; gRPC servers take messages of 4 MiB unless they are told otherwise, and
/// a span must fit into one, with the name of its request.
pub const SPAN_BYTES_MAX: usize = (4 << 20) - 1_024;
/// What a span has room for behind its attributes, events and links: a status, counts and lengths.
const STATUS_BYTES_MAX: usize = VALUE_BYTES_MAX + 1_024;
/// Events of a span.
pub const EVENTS_MAX: usize = 256;
/// How long an event may stand before the start of its span: 365 days, in nanoseconds.
pub const EVENT_LEAD_NANOS_MAX: u64 = 365 * 24 * 3_600 * 1_000_000_000;
/// How long ago a span may have started: 14 days, in nanoseconds.
pub const PAST_NANOS_MAX: u64 = 14 * 24 * 3_600 * 1_000_000_000;
/// How far ahead a span may end, by the clock of its host: 3 days, in nanoseconds.
pub const FUTURE_NANOS_MAX: u64 = 3 * 24 * 3_600 * 1_000_000_000;
/// Links of a span.
pub const LINKS_MAX: usize = 128;

/// This program's version, as the agent label of a span gives it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why a span cannot be encoded. Retrying cannot help; a span that the scan accepted fails by its times or its project
/// only.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EncodeError {
    /// The bytes are not a protobuf message.
    #[error("the span is malformed: {0}")]
    Wire(#[from] WireError),
    /// The trace id is not 16 bytes, or all zero.
    #[error("the span has no valid trace id")]
    TraceId,
    /// The span id is not 8 bytes, or all zero.
    #[error("the span has no valid span id")]
    SpanId,
    /// It started more than [`PAST_NANOS_MAX`] ago: the API would refuse its whole batch.
    #[error("the span started more than 14 days ago, which Cloud Trace refuses")]
    Past,
    /// It ends more than [`FUTURE_NANOS_MAX`] from now.
    #[error("the span ends more than 3 days from now, which Cloud Trace refuses")]
    Future,
    /// Its resource names a project that `cloud_trace.allowed_projects` does not have. The name has only characters of
    /// project ids, and at most 128 of them.
    #[error(
        "the project {0} is not allowed: list it in cloud_trace.allowed_projects, or rewrite gcp.project_id in \
         resource.attributes"
    )]
    Project(Arc<str>),
}

/// What an [`Encoder`] must know.
#[derive(Clone, Debug, Default)]
pub struct EncoderSettings {
    /// The project of spans whose resource names none.
    pub default_project: Arc<str>,
    /// The other projects that spans may name: senders choose that attribute, and what is written there is paid there.
    pub allowed_projects: AllowedProjects,
    /// Whether spans say why they were kept ([`crate::sampling::annotation`]).
    pub annotate: bool,
    /// What attribute keys are called.
    pub names: KeyNames,
    /// Whether Cloud Run is written as `cloud_run_revision` ([`crate::config::settings::CloudTrace`]).
    pub cloud_run_revision: bool,
    /// The names of the policies by [`Keep::policy`].
    pub policy_names: Arc<[String]>,
}

impl EncoderSettings {
    fn allows(&self, project: &Arc<str>) -> bool {
        *project == self.default_project || self.allowed_projects.allows(project)
    }
}

/// Encodes kept spans. It has buffers and a cache of its own: one for each worker.
#[derive(Debug)]
pub struct Encoder {
    settings: EncoderSettings,
    rewriter: Rewriter,
    origins: ById<ScopeId, Origin>,
    resources: Cache<1, EncodedResource>,
    annotations: Annotations,
    /// The times that the API takes, nanoseconds since 1970.
    times: RangeInclusive<u64>,
    altered: AlteredSpans,
    scratch: Scratch,
}

impl Encoder {
    /// An encoder whose resources are rewritten by `rewriter`.
    #[must_use]
    pub fn new(settings: EncoderSettings, rewriter: Rewriter) -> Self {
        Encoder {
            settings,
            rewriter,
            origins: ById::default(),
            resources: Cache::default(),
            annotations: Annotations::default(),
            times: 0..=u64::MAX,
            altered: AlteredSpans::default(),
            scratch: Scratch::default(),
        }
    }

    /// Spans are encoded at this time, nanoseconds since 1970, from here on: those too far from it fail. Before the first
    /// call any time will do.
    pub fn set_now(&mut self, unix_nano: u64) {
        self.times = unix_nano.saturating_sub(PAST_NANOS_MAX)..=unix_nano.saturating_add(FUTURE_NANOS_MAX);
    }

    /// Takes the number of spans that were encoded otherwise than they were sent, since the last call.
    pub fn take_altered(&mut self) -> AlteredSpans {
        std::mem::take(&mut self.altered)
    }

    /// What the span shares with others of its resource and scope. Remembered by its place in its request.
    pub fn origin(&mut self, span: SpanBytes<'_>) -> Arc<Origin> {
        if let Some(origin) = span.scope_id.and_then(|id| self.origins.get(id)) {
            return Arc::clone(origin);
        }
        let resource = self.resource(span.resource);
        let origin = Arc::new(Origin::new(resource, span.scope, &mut self.scratch));
        if let Some(id) = span.scope_id {
            self.origins.insert(id, Arc::clone(&origin), origin.size_bytes());
        }
        origin
    }

    /// The message `Resource` rewritten and encoded, for all spans that have the same one. Remembered by its bytes, as
    /// far as the [`Cache`] has room.
    pub fn resource(&mut self, raw: &[u8]) -> Arc<EncodedResource> {
        let raw = shared_head(raw);
        if let Some(resource) = self.resources.get([raw]) {
            return Arc::clone(resource);
        }
        let resource = Arc::new(EncodedResource::new(raw, &self.settings, &self.rewriter, &mut self.scratch));
        if self.resources.insert([raw], Arc::clone(&resource), resource.size_bytes()) {
            // They would hold what the cache has given up.
            self.origins.clear();
        }
        resource
    }

    /// Bytes that are held from span to span.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.origins.size_bytes() + self.resources.size_bytes()
    }

    /// Appends the OTLP span `span` to `out`, as one `spans` field of a `BatchWriteSpansRequest` to the project of its
    /// origin.
    ///
    /// # Errors
    /// See [`EncodeError`]; `out` is as it was.
    pub fn span(&mut self, origin: &Origin, span: &[u8], keep: Keep, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let resource = &*origin.resource;
        resource.check_project()?;
        let mut attributes = AttributeList::beside(resource.filter(), &self.settings.names);
        let fields = SpanFields::read(span, &mut attributes)?;
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
        write::message(out, 2, |out| {
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
