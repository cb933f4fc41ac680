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
use crate::resource::cache::Cache;
use crate::sampling::Keep;
use crate::sampling::annotation::Annotations;
use crate::tail::request::SpanBytes;

pub use self::origin::Origin;

mod origin;
mod span;
#[cfg(test)]
mod tests;

/// The name that stands for the project in batches of spans that have none.
const NO_PROJECT: &str = "otlp";

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
    origins: Cache<4, Origin>,
    annotations: Annotations,
    altered: AlteredSpans,
}

impl Encoder {
    /// An encoder whose resources are rewritten by `rewriter`.
    #[must_use]
    pub fn new(settings: EncoderSettings, rewriter: Rewriter) -> Self {
        let (origins, annotations) = (Cache::default(), Annotations::default());
        Encoder { settings, rewriter, origins, annotations, altered: AlteredSpans::default() }
    }

    /// Takes the number of spans that were encoded otherwise than they were sent, since the last call.
    pub fn take_altered(&mut self) -> AlteredSpans {
        std::mem::take(&mut self.altered)
    }

    /// Resource and scope of a span, for all spans that have the same. Remembered by their bytes, as far as the
    /// [`Cache`] has room.
    pub fn origin(&mut self, span: SpanBytes<'_>) -> Arc<Origin> {
        let key = [span.resource, span.resource_schema_url, span.scope, span.scope_schema_url];
        if let Some(origin) = self.origins.get(key) {
            return Arc::clone(origin);
        }
        let origin = Arc::new(Origin::new(span, &self.settings, &self.rewriter));
        self.origins.insert(key, Arc::clone(&origin), origin.size_bytes());
        origin
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
