//! A kept span goes on in its own bytes, below its rewritten resource. What is changed, and what is not, stands in
//! `docs/telemetry-api.md`.
//!
//! Invariants
//! - No span makes its whole request unreadable, whatever was sent: strings are UTF-8, ids have their length.
//! - What is lost on the way is counted in the span's own dropped counts.
//! - A span says once by which policy it was kept; nobody else can say it.

use std::sync::Arc;

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

/// What an [`Encoder`] must know.
#[derive(Clone, Debug)]
pub struct EncoderSettings {
    /// The project of spans whose resource names none; all resources name theirs then. `None`: resources stay as they
    /// are in this, and all spans go together.
    pub default_project: Option<Arc<str>>,
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
}

impl Encoder {
    /// An encoder whose resources are rewritten by `rewriter`.
    #[must_use]
    pub fn new(settings: EncoderSettings, rewriter: Rewriter) -> Self {
        Encoder { settings, rewriter, origins: Cache::default(), annotations: Annotations::default() }
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
    /// A [`WireError`] for bytes that the scan did not accept; what was appended is to be thrown away.
    pub fn span(&mut self, span: &[u8], keep: Keep, out: &mut Vec<u8>) -> Result<(), WireError> {
        let annotations = if self.settings.annotate {
            self.annotations.get(keep, &self.settings.policy_names, span::attribute)
        } else {
            &[]
        };
        span::write(span, keep.threshold, annotations, out)
    }
}
