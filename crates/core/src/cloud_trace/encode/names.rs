//! The names of attribute keys in Cloud Trace: the labels that its console knows, and the names that the operator sets.

use hashbrown::HashMap;

use crate::cloud_trace::settings::{AttributeMapping, BaseMapping};
use crate::resource::settings::Normalize;
use crate::resource::span_keys;

/// The default attribute mappings of Google's Go exporter (opentelemetry-operations-go, `exporter/trace`).
const GOOGLE: &[(&str, &str)] = &[
    ("http.method", "/http/method"),
    ("http.host", "/http/host"),
    ("http.path", "/http/path"),
    ("http.user_agent", "/http/user_agent"),
    ("http.status_code", "/http/status_code"),
];

/// The labels that the console knows (<https://cloud.google.com/trace/docs/trace-labels>), by the keys of the semantic
/// conventions from 1.0 to the present version. Google's exporters for Python, JavaScript and Java rename the older
/// keys.
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

/// The attribute keys that are renamed, and their new names.
#[derive(Clone, Debug)]
pub struct KeyNames {
    names: HashMap<Box<[u8]>, Box<[u8]>, foldhash::fast::FixedState>,
    /// Bit `n` is set if a key of `n` bytes is renamed. The length alone shows for most keys that they are not renamed.
    lengths: u64,
}

impl KeyNames {
    /// Creates the names of `mapping`. Its own keys take precedence over those of its base. With `normalize`, a key of
    /// older semantic conventions gets the name of its present key.
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

    /// Returns the name under which `key` is written.
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

/// Returns the bit for the length of `key`. Keys of 63 bytes and more share a bit.
#[inline]
fn length_bit(key: impl AsRef<[u8]>) -> u64 {
    1 << key.as_ref().len().min(63)
}
