//! The validated settings, in the order that spans flow. What every room is given.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderMap;

use crate::journal::settings::Journal;
use crate::receiver::settings::Otlp;
use crate::resource::settings::ResourceSettings;
use crate::tail::settings::{Memory, TailSampling};
use crate::telemetry::settings::Telemetry;

/// Everything that the operator can set.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where spans come in.
    pub otlp: Otlp,
    /// Where requests are until their spans are settled; `None`: in memory alone.
    pub journal: Option<Journal>,
    /// Which traces are kept.
    pub tail_sampling: TailSampling,
    /// How the resources of kept spans are rewritten.
    pub resource: ResourceSettings,
    /// Where kept spans go.
    pub export: Export,
    /// The memory budget.
    pub memory: Memory,
    /// Own metrics and logs.
    pub telemetry: Telemetry,
}

/// `export`.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// What the endpoint speaks.
    pub api: ExportApi,
    /// Where spans are written.
    pub endpoint: Endpoint,
    /// What each call carries as well. All values are marked as sensitive, so that they are shown nowhere.
    pub headers: HeaderMap,
    /// The embedded Cloud Trace.
    pub embedded: Embedded,
    /// The project for spans whose resource names none; `None`: the ambient project.
    pub project: Option<String>,
    /// The other projects that spans may name.
    pub allowed_projects: AllowedProjects,
    /// How an endpoint with TLS is known.
    pub tls: ExportTls,
    /// What attribute keys are called.
    pub attribute_mapping: AttributeMapping,
    /// Whether the monitored resource of spans from Cloud Run is `cloud_run_revision`, as that of its logs; otherwise it
    /// is what Google's exporters write, `generic_task` or `generic_node`.
    pub cloud_run_revision: bool,
    /// Whether a call counts on the quota of the project that it writes to, and not on that of the credentials.
    pub destination_project_quota: bool,
    /// When a batch is full.
    pub batch: BatchSettings,
    /// Where kept spans go when they are too many for the memory; `None`: nowhere.
    pub spool: Option<SpoolSettings>,
    /// How long a kept span may wait for a project that takes none; zero: for ever.
    pub give_up_after: Duration,
}

/// `export.attribute_mapping`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeMapping {
    /// The keys that are renamed if nothing else is said.
    pub base: BaseMapping,
    /// The operator's own: keys and what they are called.
    pub own: Vec<(String, String)>,
}

/// `export.attribute_mapping.base`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BaseMapping {
    /// No key is renamed.
    None,
    /// The five keys that Google's Go exporter renames.
    #[default]
    Google,
    /// These, and the keys of all ages of the semantic conventions for which the console has a label.
    Console,
}

/// `export.api`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportApi {
    /// Cloud Trace v2.
    CloudTrace,
    /// Google's Telemetry API: OTLP, with a project in each resource.
    Telemetry,
    /// OTLP.
    Otlp,
}

/// `export.endpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The Cloud Trace inside this process.
    Embedded,
    /// TLS, and Google credentials unless it is somebody else's: `https://host[:port]`.
    Tls(String),
    /// Plaintext without credentials: `http://host:port`.
    Plaintext(String),
}

impl Export {
    /// Whether calls are signed with Google credentials: not to a plaintext endpoint, and of those that take plain OTLP to
    /// Google's alone, as a token is nobody else's business.
    #[must_use]
    pub fn signs_calls(&self) -> bool {
        matches!(self.endpoint, Endpoint::Tls(_)) && (self.api != ExportApi::Otlp || self.is_google())
    }

    /// Whether the endpoint is one of Google's own.
    #[must_use]
    pub fn is_google(&self) -> bool {
        let Endpoint::Tls(uri) = &self.endpoint else { return false };
        let authority = uri.trim_start_matches("https://");
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).to_ascii_lowercase();
        host.ends_with(".googleapis.com")
    }
}

/// `export.allowed_projects`. The own project is always allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedProjects {
    /// These.
    Listed(Vec<String>),
    /// All (`["*"]`).
    Any,
}

impl AllowedProjects {
    /// Whether `project` is one of them.
    #[must_use]
    pub fn allows(&self, project: &str) -> bool {
        match self {
            AllowedProjects::Listed(allowed) => allowed.iter().any(|allowed| allowed == project),
            AllowedProjects::Any => true,
        }
    }
}

impl Default for AllowedProjects {
    fn default() -> Self {
        AllowedProjects::Listed(Vec::new())
    }
}

/// `export.tls`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportTls {
    /// The certificates (PEM) in `ca_file`, one of which must have signed the server's; `None`: the machine's own.
    pub ca_pem: Option<String>,
}

/// `export.embedded`.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// Address (`host:port`) of its page, its API and its gRPC service.
    pub listen: String,
    /// Names by which a browser may call it, beside `localhost`, IP addresses and the host of `listen`.
    pub allowed_hosts: Vec<String>,
    /// The most bytes of spans that it keeps; the oldest traces go first.
    pub max_bytes: usize,
}

/// `export.batch`.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchSettings {
    /// Spans in a call.
    pub max_spans: usize,
    /// Bytes in a call.
    pub max_bytes: usize,
    /// How long a span waits for its batch to fill.
    pub max_delay: Duration,
}

/// `export.spool`.
#[derive(Clone, Debug, PartialEq)]
pub struct SpoolSettings {
    /// Where its files are; of this process alone.
    pub directory: PathBuf,
    /// The most bytes of its files.
    pub max_bytes: u64,
}
