//! What Cloud Trace calls an attribute key: the labels that its console knows, and the operator's own.

use hashbrown::HashMap;

use crate::config::settings::{AttributeMapping, BaseMapping, Normalize};
use crate::resource::span_keys;

/// Google's Go exporter's (opentelemetry-operations-go `exporter/trace`, its default attribute mappings).
const GOOGLE: &[(&str, &str)] = &[
    ("http.method", "/http/method"),
    ("http.host", "/http/host"),
    ("http.path", "/http/path"),
    ("http.user_agent", "/http/user_agent"),
    ("http.status_code", "/http/status_code"),
];

/// The labels that the console knows (<https://cloud.google.com/trace/docs/trace-labels>), for the keys of the semantic
/// conventions from 1.0 to the present ones. Google's exporters for Python, JavaScript and Java rename the older of them.
const CONSOLE: &[(&str, &str)] = &[
    ("http.request.method", "/http/method"),
    ("http.route", "/http/route"),
    ("http.response.status_code", "/http/status_code"),
    ("http.url", "/http/url"),
    ("url.full", "/http/url"),
    ("http.target", "/http/path"),
    ("url.path", "/http/path"),
    ("net.host.name", "/http/host"),
    ("server.address", "/http/host"),
    ("user_agent.original", "/http/user_agent"),
    ("http.request_content_length", "/http/request/size"),
    ("http.request.body.size", "/http/request/size"),
    ("http.request.size", "/http/request/size"),
    ("http.response_content_length", "/http/response/size"),
    ("http.response.body.size", "/http/response/size"),
    ("http.response.size", "/http/response/size"),
    ("error.type", "/error/name"),
    ("exception.type", "/error/name"),
    ("exception.message", "/error/message"),
    ("thread.id", "/tid"),
];

/// The keys that are renamed.
#[derive(Clone, Debug)]
pub struct KeyNames {
    names: HashMap<Box<[u8]>, Box<[u8]>, foldhash::fast::FixedState>,
    /// Bit `n` is set if a key of `n` bytes is renamed: most keys are passed by on their length alone.
    lengths: u64,
}

impl KeyNames {
    /// The keys that `mapping` renames; its own come before those of its base. With `normalize`, keys of older semantic
    /// conventions are called what their present names are.
    #[must_use]
    pub fn new(mapping: &AttributeMapping, normalize: Normalize) -> Self {
        let base: &[&[(&str, &str)]] = match mapping.base {
            BaseMapping::None => &[],
            BaseMapping::Google => &[GOOGLE],
            BaseMapping::Console => &[GOOGLE, CONSOLE],
        };
        let base = base.iter().copied().flatten().copied();
        let own = mapping.own.iter().map(|(key, name)| (key.as_str(), name.as_str()));
        let mut key_names = KeyNames { names: HashMap::default(), lengths: 0 };
        for (key, name) in base.chain(own) {
            key_names.add(key, name.as_bytes().into());
        }
        if normalize == Normalize::Span {
            let is_own = |key: &str| mapping.own.iter().any(|(own, _)| own == key);
            for (key, present) in span_keys().filter(|(key, _)| !is_own(key)) {
                let name = key_names.get(present.as_bytes()).into();
                key_names.add(key, name);
            }
        }
        key_names
    }

    fn add(&mut self, key: &str, name: Box<[u8]>) {
        self.lengths |= length_bit(key);
        self.names.insert(key.as_bytes().into(), name);
    }

    /// What `key` is called.
    #[inline]
    pub(super) fn get<'a>(&'a self, key: &'a [u8]) -> &'a [u8] {
        if self.lengths & length_bit(key) == 0 {
            return key;
        }
        self.names.get(key).map_or(key, |name| name)
    }
}

impl Default for KeyNames {
    fn default() -> Self {
        KeyNames::new(&AttributeMapping::default(), Normalize::Off)
    }
}

/// Keys of 63 bytes and more share a bit.
#[inline]
fn length_bit(key: impl AsRef<[u8]>) -> u64 {
    1 << key.as_ref().len().min(63)
}
