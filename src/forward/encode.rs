//! A kept span goes on in its own bytes, below its rewritten resource. What is changed, and what is not, stands in
//! `docs/telemetry-api.md`.
//!
//! Invariants
//! - No span makes its whole request unreadable, whatever was sent: strings are UTF-8, ids have their length.
//! - What is lost on the way is counted in the span's own dropped counts.
//! - A span says once by which policy it was kept; nobody else can say it.

use std::sync::Arc;

use thiserror::Error;

use crate::config::settings::AllowedProjects;
use crate::otlp::altered::AlteredSpans;
use crate::otlp::wire::WireError;
use crate::resource::Rewriter;
use crate::resource::cache::{ById, Cache, shared_head};
use crate::sampling::Keep;
use crate::sampling::annotation::Annotations;
use crate::tail::request::{ScopeId, SpanBytes};

pub use self::origin::Origin;

mod origin;
mod span;
#[cfg(test)]
mod tests;
mod trim;

/// Bytes of a resource, and of a scope, that stand before its spans in each batch. As much as Google's Telemetry API takes as one
/// value; real ones take one to four KiB.
pub const SHARED_BYTES_MAX: usize = 64 << 10;
/// Bytes of a schema URL; a longer one is left out. Real ones take 40.
pub const SCHEMA_URL_BYTES_MAX: usize = 2 << 10;
/// Bytes of a span, which fits with its resource and scope into 4 MiB: larger messages gRPC servers refuse unless they are told
/// otherwise.
pub const SPAN_BYTES_MAX: usize = (4 << 20) - 2 * SHARED_BYTES_MAX - (8 << 10);

/// The name that stands for the project in batches of spans that have none.
pub const NO_PROJECT: &str = "otlp";

/// Why a span cannot be sent on. Retrying cannot help.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EncodeError {
    /// The bytes are not a protobuf message; no span that the scan accepted is that.
    #[error("the span is malformed: {0}")]
    Wire(#[from] WireError),
    /// Its resource names a project that `cloud_trace.allowed_projects` does not have.
    #[error(
        "the project {0} is not allowed: list it in cloud_trace.allowed_projects, or rewrite gcp.project_id in \
         resource.attributes"
    )]
    Project(Arc<str>),
}

/// What an [`Encoder`] must know.
#[derive(Clone, Debug, Default)]
pub struct EncoderSettings {
    /// The project of spans whose resource names none; all resources name theirs then. `None`: resources stay as they
    /// are in this, and all spans go together.
    pub default_project: Option<Arc<str>>,
    /// The other projects that spans may name, where resources name theirs.
    pub allowed_projects: AllowedProjects,
    /// Whether spans say which policy kept them.
    pub annotate: bool,
    /// The names of the policies by [`Keep::policy`].
    pub policy_names: Arc<[String]>,
}

/// Prepares kept spans. It has buffers and a cache of its own: one for each worker.
#[derive(Debug)]
pub struct Encoder {
    settings: EncoderSettings,
    rewriter: Rewriter,
    /// By the places of spans in their requests, and by bytes.
    placed: ById<ScopeId, Origin>,
    origins: Cache<4, Origin>,
    origin_count: u64,
    annotations: Annotations,
    altered: AlteredSpans,
}

impl Encoder {
    /// An encoder whose resources are rewritten by `rewriter`.
    #[must_use]
    pub fn new(settings: EncoderSettings, rewriter: Rewriter) -> Self {
        Encoder {
            settings,
            rewriter,
            placed: ById::default(),
            origins: Cache::default(),
            origin_count: 0,
            annotations: Annotations::default(),
            altered: AlteredSpans::default(),
        }
    }

    /// Takes the number of spans that were encoded otherwise than they were sent, since the last call.
    pub fn take_altered(&mut self) -> AlteredSpans {
        std::mem::take(&mut self.altered)
    }

    /// Resource and scope of a span, for all spans that have the same. Remembered by the span's place in its request, and by their
    /// bytes as far as the [`Cache`] has room.
    pub fn origin(&mut self, span: SpanBytes<'_>) -> Arc<Origin> {
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
            // Its bytes count where it is remembered by them.
            self.placed.insert(id, Arc::clone(&origin), 0);
        }
        origin
    }

    fn known_origin(&mut self, span: SpanBytes<'_>) -> Arc<Origin> {
        let key = [span.resource, span.resource_schema_url, span.scope, span.scope_schema_url];
        if let Some(origin) = self.origins.get(key) {
            return Arc::clone(origin);
        }
        self.origin_count += 1;
        let origin = Arc::new(Origin::new(self.origin_count, span, &self.settings, &self.rewriter));
        if self.origins.insert(key, Arc::clone(&origin), origin.size_bytes()) {
            // They would hold what the cache has given up.
            self.placed.clear();
        }
        origin
    }

    /// Bytes that are held from span to span.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.placed.size_bytes() + self.origins.size_bytes()
    }

    /// Appends the OTLP span `span` to `out`, as one field `spans` of a `ScopeSpans`.
    ///
    /// # Errors
    /// See [`EncodeError`]; what was appended is to be thrown away.
    pub fn span(&mut self, origin: &Origin, span: &[u8], keep: Keep, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if origin.is_foreign() {
            return Err(EncodeError::Project(Arc::clone(origin.project())));
        }
        let annotations = if self.settings.annotate {
            let keep = Keep { threshold: span::passed(span, keep.threshold), ..keep };
            self.annotations.get(keep, &self.settings.policy_names, span::attribute)
        } else {
            &[]
        };
        let mut altered = span::write(span, keep.threshold, annotations, out)?;
        altered |= origin.altered();
        self.altered.add(altered);
        Ok(())
    }
}
