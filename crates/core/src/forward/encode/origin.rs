//! The origin of spans: their resource and scope, encoded once for all spans that share them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use super::trim::{RESOURCE, SCOPE, trimmed};
use super::{NO_PROJECT, OtlpEncoderSettings, SCHEMA_URL_BYTES_MAX, SHARED_BYTES_MAX};
use crate::otlp::altered::Alteration;
use crate::otlp::fields::{entity_ref, resource as fields, resource_spans, scope_spans};
use crate::otlp::text::{mended_resource, mended_scope, mended_string};
use crate::otlp::view::submessages;
use crate::otlp::write;
use crate::resource::cache;
use crate::resource::{ResourceAttributes, Rewriter};
use crate::tail::request::SpanBytes;

/// The numbers of the resource of a `ResourceSpans`, and of its schema URL.
const RESOURCE_NUMBERS: [u32; 2] = [resource_spans::RESOURCE, resource_spans::SCHEMA_URL];
/// The numbers of the scope of a `ScopeSpans`, and of its schema URL.
const SCOPE_NUMBERS: [u32; 2] = [scope_spans::SCOPE, scope_spans::SCHEMA_URL];

/// The encoded fields that come before the spans of one resource and scope.
#[derive(Debug)]
pub struct EncodedOrigin {
    /// A number that is unique within the encoder.
    number: u64,
    project: Arc<str>,
    is_foreign: bool,
    resource: Vec<u8>,
    scope: Vec<u8>,
    altered: Alteration,
}

impl EncodedOrigin {
    /// Encodes the origin of `span`. The resource and scope in `span` are already cut to their heads (`shared_head`).
    pub(super) fn new(number: u64, span: SpanBytes<'_>, settings: &OtlpEncoderSettings, rewriter: &Rewriter) -> Self {
        let mut attributes = rewriter.rewrite(span.resource);
        let project = settings.default_project.as_ref().map(|default| {
            let project = attributes.project().unwrap_or_else(|| Arc::clone(default));
            attributes.set_project(&project);
            project
        });
        let resource = resource(&attributes, span.resource);
        // The scan accepts only valid messages, so mending cannot fail here. If it did, the bytes would stay as they
        // are.
        let mended = mended_resource(&resource).unwrap_or(Cow::Borrowed(&resource));
        let resource = trimmed(&mended, SHARED_BYTES_MAX, RESOURCE);
        let whole_scope = trimmed(span.scope, cache::SHARED_BYTES_MAX, SCOPE);
        let mended_scope = mended_scope(&whole_scope).unwrap_or(Cow::Borrowed(&whole_scope));
        let scope = trimmed(&mended_scope, SHARED_BYTES_MAX, SCOPE);
        let urls = [span.resource_schema_url, span.scope_schema_url];
        let altered = Alteration {
            utf8: is_owned(&mended)
                || is_owned(&mended_scope)
                || urls.into_iter().any(|url| matches!(mended_string(url), Cow::Owned(_))),
            cut: attributes.is_cut()
                || is_owned(&resource)
                || is_owned(&whole_scope)
                || is_owned(&scope)
                || urls.into_iter().any(|url| url.len() > SCHEMA_URL_BYTES_MAX),
            ..Alteration::default()
        };
        let is_own = |project: &Arc<str>| Some(project) == settings.default_project.as_ref();
        let is_allowed = |project: &Arc<str>| is_own(project) || settings.allowed_projects.allows(project);
        EncodedOrigin {
            number,
            is_foreign: project.as_ref().is_some_and(|project| !is_allowed(project)),
            project: project.unwrap_or_else(|| NO_PROJECT.into()),
            resource: with_schema_url(RESOURCE_NUMBERS, &resource, span.resource_schema_url),
            scope: with_schema_url(SCOPE_NUMBERS, &scope, span.scope_schema_url),
            altered,
        }
    }

    /// Returns the number that is unique within the encoder.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the project that the spans belong to; [`NO_PROJECT`] if they have none.
    #[must_use]
    pub fn project(&self) -> &Arc<str> {
        &self.project
    }

    /// Returns true if the project is neither the default project nor an allowed one.
    pub(super) fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// Returns the encoded fields of the `ResourceSpans`, without the spans.
    #[must_use]
    pub fn resource(&self) -> &[u8] {
        &self.resource
    }

    /// Returns the encoded fields of the `ScopeSpans`, without the spans.
    #[must_use]
    pub fn scope(&self) -> &[u8] {
        &self.scope
    }

    /// Returns the alterations of resource and scope that the operator's rewriting did not ask for.
    pub(super) fn altered(&self) -> Alteration {
        self.altered
    }

    /// Returns the approximate size of the origin in memory, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.project.len() + self.resource.len() + self.scope.len()
    }
}

/// Encodes a `Resource` with these attributes and with the entities of `raw`. An entity is left out if the rewriting
/// removed one of its attributes (`EntityRef.id_keys`: "must be present").
fn resource(attributes: &ResourceAttributes, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    attributes.encode(&mut out);
    let mut entities = submessages(raw, fields::ENTITY_REFS).peekable();
    if entities.peek().is_some() {
        let keys: HashSet<&[u8]> = attributes.iter().map(|(key, _)| key).collect();
        let is_whole = |entity: &&[u8]| {
            let mut needed = [entity_ref::ID_KEYS, entity_ref::DESCRIPTION_KEYS].into_iter();
            needed.all(|number| submessages(entity, number).all(|key| keys.contains(key)))
        };
        entities.filter(is_whole).for_each(|entity| write::bytes(&mut out, fields::ENTITY_REFS, entity));
    }
    out
}

#[expect(clippy::ptr_arg, reason = "a reference to the contents does not tell whose they are")]
fn is_owned<T: ToOwned + ?Sized>(message: &Cow<'_, T>) -> bool {
    matches!(message, Cow::Owned(_))
}

/// Encodes a message and its schema URL as the fields of these two numbers. A schema URL that is too long is left out.
fn with_schema_url(numbers: [u32; 2], message: &[u8], schema_url: &[u8]) -> Vec<u8> {
    let schema_url = if schema_url.len() > SCHEMA_URL_BYTES_MAX { &[] } else { schema_url };
    let mut out = Vec::with_capacity(message.len() + schema_url.len() + 12);
    for (number, content) in numbers.into_iter().zip([message, mended_string(schema_url).as_bytes()]) {
        if !content.is_empty() {
            write::bytes(&mut out, number, content);
        }
    }
    out
}
