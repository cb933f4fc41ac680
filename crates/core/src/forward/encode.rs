//! The encoder for OTLP sinks. It copies the bytes of a kept span and puts the span below its rewritten resource. See
//! `docs/telemetry-api.md` for the parts that it changes.
//!
//! Invariants
//! - No span makes its whole request unreadable, no matter what the sender sent: strings are UTF-8, and ids have the
//!   right length.
//! - Attributes, events and links that are cut are counted in the dropped counts of their span, resource or scope.
//! - With annotations on, a span names the policy that kept it exactly once. A sender cannot forge the name.

use std::sync::Arc;

use thiserror::Error;

use crate::otlp::altered::{Alteration, AlteredSpans};
use crate::otlp::wire::WireError;
use crate::resource::cache::{ById, Cache, shared_head};
use crate::resource::settings::AllowedProjects;
use crate::resource::{RewriterUser, SharedRewriter};
use crate::sampling::annotation::Annotations;
use crate::sampling::{Keep, PolicyNames};
use crate::tail::request::{ScopeId, SpanBytes};

pub use self::origin::EncodedOrigin;
use self::plain::PlainSpan;

mod origin;
mod plain;
mod span;
mod trim;

/// The most bytes of a resource, and of a scope. They are repeated in each batch of its spans. Google's Telemetry API
/// accepts values of this size; real resources take 1 to 4 KiB.
pub const SHARED_BYTES_MAX: usize = 64 << 10;
/// The most bytes of a schema URL. A longer URL is left out; real ones take about 40.
pub const SCHEMA_URL_BYTES_MAX: usize = 2 << 10;
/// The most bytes of a span. With its resource and its scope it fits into 4 MiB, because gRPC servers refuse larger
/// messages by default.
pub const SPAN_BYTES_MAX: usize = (4 << 20) - 2 * SHARED_BYTES_MAX - (8 << 10);

/// The project name of batches whose spans have no project.
pub const NO_PROJECT: &str = "otlp";

/// An error of a span that cannot be encoded. Retrying cannot help.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OtlpEncodeError {
    /// The bytes are not a valid protobuf message. A span that the scan accepted cannot cause this.
    #[error("the span is malformed: {0}")]
    Wire(#[from] WireError),
    /// The resource of the span names a project that is not in `export.allowed_projects`.
    #[error(
        "the project {0} is not allowed: list it in export.allowed_projects, or rewrite gcp.project_id in \
         resource.attributes"
    )]
    Project(Arc<str>),
}

/// The settings of an [`OtlpEncoder`].
#[derive(Clone, Debug, Default)]
pub struct OtlpEncoderSettings {
    /// The project of spans whose resource does not name one. If set, the encoder writes the project into each
    /// resource, and batches are separated by project. `None`: resources keep the project that the sender sent, and
    /// batches mix projects.
    pub default_project: Option<Arc<str>>,
    /// The other projects that resources may name. Used only if there is a default project.
    pub allowed_projects: AllowedProjects,
    /// True if the encoder adds attributes that name the policy that kept the span.
    pub annotate: bool,
    /// The names of the policies, indexed by [`Keep::policy`].
    pub policy_names: PolicyNames,
}

/// An encoder of kept spans. Each worker has its own, because it contains buffers and a cache.
#[derive(Debug)]
pub struct OtlpEncoder {
    settings: OtlpEncoderSettings,
    rewriter: RewriterUser,
    /// Origins by the place of their spans in a request.
    placed: ById<ScopeId, EncodedOrigin>,
    /// Origins by the bytes of resource, scope and schema URLs.
    origins: Cache<4, EncodedOrigin>,
    origin_count: u64,
    annotations: Annotations,
    altered: AlteredSpans,
}

impl OtlpEncoder {
    /// Makes an encoder that rewrites resources with `rewriter`.
    #[must_use]
    pub fn new(settings: OtlpEncoderSettings, rewriter: impl Into<SharedRewriter>) -> Self {
        OtlpEncoder {
            settings,
            rewriter: rewriter.into().user(),
            placed: ById::default(),
            origins: Cache::default(),
            origin_count: 0,
            annotations: Annotations::default(),
            altered: AlteredSpans::default(),
        }
    }

    /// Returns the counts of spans that were altered since the last call, and resets them.
    pub fn take_altered(&mut self) -> AlteredSpans {
        std::mem::take(&mut self.altered)
    }

    /// Returns the encoded resource and scope of a span; spans with the same resource and scope share them. The encoder
    /// remembers them by the span's place in its request, and by their bytes in a bounded [`Cache`].
    pub fn origin(&mut self, span: SpanBytes<'_>) -> Arc<EncodedOrigin> {
        if self.rewriter.refresh() {
            self.placed.clear();
            self.origins = Cache::default();
        }
        if let Some(origin) = span.scope_id.and_then(|id| self.placed.get(id)) {
            return Arc::clone(origin);
        }
        let origin = self.known_origin(SpanBytes {
            resource: shared_head(span.resource),
            resource_schema_url: shared_head(span.resource_schema_url),
            scope: shared_head(span.scope),
            scope_schema_url: shared_head(span.scope_schema_url),
            ..span
        });
        if let Some(id) = span.scope_id {
            // 0 bytes: the size of the origin already counts in `origins`.
            self.placed.insert(id, Arc::clone(&origin), 0);
        }
        origin
    }

    fn known_origin(&mut self, span: SpanBytes<'_>) -> Arc<EncodedOrigin> {
        let key = [span.resource, span.resource_schema_url, span.scope, span.scope_schema_url];
        if let Some(origin) = self.origins.get(key) {
            return Arc::clone(origin);
        }
        self.origin_count += 1;
        let origin = Arc::new(EncodedOrigin::new(self.origin_count, span, &self.settings, self.rewriter.get()));
        if self.origins.insert(key, Arc::clone(&origin), origin.size_bytes()) {
            // `placed` would keep origins alive that the cache has evicted.
            self.placed.clear();
        }
        origin
    }

    /// Returns the bytes that the encoder keeps in memory between spans.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.placed.size_bytes() + self.origins.size_bytes()
    }

    /// Appends the OTLP span `span` to `out`, as one field `spans` of a `ScopeSpans`.
    ///
    /// # Errors
    /// See [`OtlpEncodeError`]. After an error the caller must discard the bytes that were appended.
    pub fn span(
        &mut self,
        origin: &EncodedOrigin,
        span: &[u8],
        keep: Keep,
        out: &mut Vec<u8>,
    ) -> Result<(), OtlpEncodeError> {
        if origin.is_foreign() {
            return Err(OtlpEncodeError::Project(Arc::clone(origin.project())));
        }
        let plain = PlainSpan::read(span, self.settings.annotate);
        let annotations = if self.settings.annotate {
            // A plain span has no tracestate, and so has passed no threshold before.
            let passed = if plain.is_some() { keep.threshold } else { span::passed(span, keep.threshold) };
            self.annotations.get(Keep { threshold: passed, ..keep }, &self.settings.policy_names, span::attribute)
        } else {
            &[]
        };
        let mut altered = Alteration::default();
        match plain {
            Some(plain) => plain.write(keep.export_threshold(), annotations, out),
            None => altered = span::write(span, keep.export_threshold(), annotations, out)?,
        }
        altered |= origin.altered();
        self.altered.add(altered);
        Ok(())
    }
}
