//! Where spans come from: resource and scope, encoded once for all spans that have the same.

use std::borrow::Cow;
use std::sync::Arc;

use super::{EncoderSettings, NO_PROJECT};
use crate::otlp::altered::Alteration;
use crate::otlp::text::{mended_resource, mended_scope, mended_string};
use crate::otlp::view::submessages;
use crate::otlp::write;
use crate::resource::{Attributes, Rewriter};
use crate::tail::request::SpanBytes;

/// The fields that stand before the spans of one resource and scope.
#[derive(Debug)]
pub struct Origin {
    project: Arc<str>,
    is_foreign: bool,
    resource: Vec<u8>,
    scope: Vec<u8>,
    altered: Alteration,
}

impl Origin {
    pub(super) fn new(span: SpanBytes<'_>, settings: &EncoderSettings, rewriter: &Rewriter) -> Self {
        let mut attributes = rewriter.rewrite(span.resource);
        let project = settings.default_project.as_ref().map(|default| {
            let project = attributes.project().unwrap_or_else(|| Arc::clone(default));
            attributes.set_project(&project);
            project
        });
        let resource = resource(&attributes, span.resource);
        // Bytes that no scan accepted cannot come here; they would go on as they are.
        let resource = mended_resource(&resource).unwrap_or(Cow::Borrowed(&resource));
        let scope = mended_scope(span.scope).unwrap_or(Cow::Borrowed(span.scope));
        let urls = [span.resource_schema_url, span.scope_schema_url];
        let utf8 = matches!(resource, Cow::Owned(_))
            || matches!(scope, Cow::Owned(_))
            || urls.into_iter().any(|url| matches!(mended_string(url), Cow::Owned(_)));
        let is_own = |project: &Arc<str>| Some(project) == settings.default_project.as_ref();
        let is_allowed = |project: &Arc<str>| is_own(project) || settings.allowed_projects.allows(project);
        Origin {
            is_foreign: project.as_ref().is_some_and(|project| !is_allowed(project)),
            project: project.unwrap_or_else(|| NO_PROJECT.into()),
            resource: with_schema_url(&resource, span.resource_schema_url),
            scope: with_schema_url(&scope, span.scope_schema_url),
            altered: Alteration { utf8, ..Alteration::default() },
        }
    }

    /// The project that the spans belong to, or what stands for it.
    #[must_use]
    pub fn project(&self) -> &Arc<str> {
        &self.project
    }

    /// Whether the project is neither the own one nor an allowed one.
    pub(super) fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// The fields of the `ResourceSpans`.
    #[must_use]
    pub fn resource(&self) -> &[u8] {
        &self.resource
    }

    /// The fields of the `ScopeSpans`.
    #[must_use]
    pub fn scope(&self) -> &[u8] {
        &self.scope
    }

    /// What became of resource and scope beside the rewriting.
    pub(super) fn altered(&self) -> Alteration {
        self.altered
    }

    /// Roughly what it holds, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.project.len() + self.resource.len() + self.scope.len()
    }
}

/// The message `Resource` with these attributes, and with the entities that `raw` names by them. An entity whose
/// attributes were rewritten away is none any more (`EntityRef.id_keys`: "must be present").
fn resource(attributes: &Attributes, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    attributes.encode(&mut out);
    let is_there = |key: &[u8]| std::str::from_utf8(key).is_ok_and(|key| attributes.get(key).is_some());
    let is_whole = |entity: &&[u8]| submessages(entity, 3).chain(submessages(entity, 4)).all(is_there);
    submessages(raw, 3).filter(is_whole).for_each(|entity| write::bytes(&mut out, 3, entity));
    out
}

/// Field 1, the message, and field 3, the schema URL, as `ResourceSpans` and `ScopeSpans` both have them.
fn with_schema_url(message: &[u8], schema_url: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + schema_url.len() + 12);
    for (number, content) in [(1, message), (3, mended_string(schema_url).as_bytes())] {
        if !content.is_empty() {
            write::bytes(&mut out, number, content);
        }
    }
    out
}
