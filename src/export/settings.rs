//! The section `export` of the configuration: where kept spans go.

mod read;

pub(crate) use read::{endpoint_url as read_endpoint, headers as read_headers};

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderMap;

use crate::emulator::settings::Embedded;
use crate::resource::settings::AllowedProjects;
use crate::settings::kinds::{
    Bool, ByHand, ByteCount, DIRECTORY, DurationKind, OrEmpty, OrNone, ParsedText, Required, Sub, SubIf, WholeNumber,
};
use crate::settings::setting::Shape;
use crate::settings::{KIB, Limit, MIB, TIB, section};
use spansieve_core::cloud_trace::settings::{AttributeMapping, mapping};

section! {
    /// The destination of kept spans.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Export {
        /// The protocol of the endpoint. `cloud_trace`: Cloud Trace v2 (the first name of this value, `v2`, is accepted with
        /// a warning). `telemetry`: Google's Telemetry API, OTLP that belongs to a project. `otlp`: OTLP, as Jaeger, Tempo, a
        /// Collector or another Spansieve accept it. The last two over gRPC; [what is sent](telemetry-api.md).
        pub api: ExportApi = ExportApi::CloudTrace, ByHand::of(Shape::Choice(read::API_NAMES.to_vec())).default("cloud_trace");
        /// The address of the sink. `embedded` (`cloud_trace` only): the Cloud Trace inside the process.
        /// `https://host[:port]`: TLS and Google credentials; for `otlp` these only if the host is one of `googleapis.com`.
        /// `http://host:port`: plaintext, no credentials. For `telemetry` the default is
        /// `https://telemetry.googleapis.com`; `otlp` has none.
        pub endpoint: Endpoint = Endpoint::Tls(CLOUD_TRACE_ENDPOINT.into()), ByHand::of(Shape::Text("string")).default(CLOUD_TRACE_ENDPOINT);
        /// Headers of each call, such as `authorization: "Bearer ${env:TOKEN}"`. Up to 32, with values of up to 4096 bytes of
        /// printable ASCII, which are never logged. Headers that the protocol sets itself are errors. Headers of Google
        /// credentials replace those of the same name.
        pub headers: HeaderMap = HeaderMap::new(), ByHand::of(Shape::Secret(Box::new(Shape::OwnKeys)));
        /// The project of spans whose resource names none (`gcp.project_id`, `gcp.project.id`). Absent or empty: the ambient
        /// project, `local-project` for `embedded`, and no project for `otlp`.
        pub project: Option<String> = None, OrNone(ParsedText { word: "string", read: read::project });
        /// The other projects that spans may name in their resource; `["*"]` allows all. Kept spans of any other project are
        /// dropped, counted and logged ([how](cloud-trace-mapping.md#the-project)).
        pub allowed_projects: AllowedProjects = AllowedProjects::default(), ByHand::list(Shape::Text("string"), &PROJECTS).default("[]");
        /// TLS to an endpoint with `https://`.
        pub tls: ExportTls = ExportTls::default(), Sub;
        /// The embedded Cloud Trace.
        pub embedded: Embedded = Embedded::default(), Sub;
        /// The names of attribute keys in Cloud Trace: the name of a base, or a section. For `cloud_trace` only. See
        /// `docs/cloud-trace-mapping.md`.
        pub attribute_mapping: AttributeMapping = AttributeMapping::default(), mapping();
        /// True if spans from Cloud Run get the labels of `cloud_run_revision`, as their logs have. False: they get the
        /// labels that Google's exporters write, `generic_task` or `generic_node`. For `cloud_trace` only.
        pub cloud_run_revision: bool = false, Bool;
        /// True if a call counts on the quota of the project that it writes to (header `x-goog-user-project`), not on that
        /// of the credentials, as the Collector's exporter has it. The account then needs
        /// `roles/serviceusage.serviceUsageConsumer` on that project. For `cloud_trace` and `telemetry`.
        pub destination_project_quota: bool = false, Bool;
        /// The bounds of a batch, which is written when it reaches one of them.
        pub batch: BatchSettings = BatchSettings::default(), Sub;
        /// The files for kept spans that do not fit into memory while the sink is away, and for those that a stop could not
        /// write. Off without this section.
        pub spool: Option<SpoolSettings> = None, SubIf(SpoolSettings::has_directory);
        /// The time after which a kept span that the sink has not accepted is dropped at the next failure, counted as
        /// `gave_up`. It begins when the span is batched; for spans that an earlier process has spooled, with the start.
        /// `0s`: never, the span waits.
        pub give_up_after: Duration = Duration::ZERO, DurationKind(GIVE_UP_AFTER);
    }
    check: Export::check;
}

const PROJECTS: Limit<usize> = Limit { min: 0, max: 1000, why: "the spans of each project go in calls of their own" };
const GIVE_UP_AFTER: Limit<Duration> = Limit {
    min: Duration::ZERO,
    max: Duration::from_secs(14 * 24 * 3600),
    why: "Cloud Trace takes no spans that are older than 14 days",
};

const CLOUD_TRACE_ENDPOINT: &str = "https://cloudtrace.googleapis.com";

section! {
    /// TLS to the endpoint.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ExportTls {
        /// A PEM file with the certificates one of which must have signed the server's, in place of the machine's own. For
        /// private endpoints and tests. It is read at the start, and `validate` reads it as well. Empty: none.
        pub ca_pem as "ca_file": Option<String> = None, ByHand::of(Shape::OrNothing(Box::new(Shape::Text("path"))));
    }
    check: ExportTls::read_file;
}

section! {
    /// The bounds of a batch.
    #[derive(Clone, Debug, PartialEq)]
    pub struct BatchSettings {
        /// The most spans in a call.
        pub max_spans: usize = 2000, WholeNumber::within(BATCH_SPANS);
        /// The most bytes in a call.
        pub max_bytes: usize = 4 << 20, ByteCount::within(BATCH_BYTES);
        /// The longest time for which a span waits for its batch to fill.
        pub max_delay: Duration = Duration::from_secs(1), DurationKind(BATCH_DELAY);
    }
}

const BATCH_SPANS: Limit<u64> =
    Limit { min: 1, max: 25_000, why: "version 1 of the API took 25000 spans a call, and version 2 names no limit" };
const BATCH_BYTES: Limit<u64> =
    Limit { min: 64 * KIB, max: 32 * MIB, why: "one attribute may be 64KiB, and a call is held until it is answered" };
const BATCH_DELAY: Limit<Duration> = Limit {
    min: Duration::from_millis(1),
    max: Duration::from_secs(60),
    why: "kept spans wait in memory for their batch",
};

section! {
    /// Kept spans on disk.
    #[derive(Clone, Debug, PartialEq)]
    pub struct SpoolSettings {
        /// A directory on a disk, of this process alone. It is made if it does not exist. Empty: no spool. Do not use Cloud
        /// Run's own file system, which is memory, or the directory of the journal.
        pub directory: PathBuf = PathBuf::new(), Required(OrEmpty(DIRECTORY));
        /// The most bytes that its files take.
        pub max_bytes: u64 = DEFAULT_SPOOL_BYTES, ByteCount::within(SPOOL_BYTES);
    }
}

/// The kept spans of hours at a thousand a minute, on disks that have room for logs.
const DEFAULT_SPOOL_BYTES: u64 = 4 << 30;
const SPOOL_BYTES: Limit<u64> =
    Limit { min: 64 * MIB, max: 1024 * TIB, why: "its files are of 16MiB, or as large as a batch" };

impl SpoolSettings {
    fn has_directory(&self) -> bool {
        !self.directory.as_os_str().is_empty()
    }
}

/// The protocol of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportApi {
    /// Cloud Trace v2.
    CloudTrace,
    /// Google's Telemetry API: OTLP, with a project in each resource.
    Telemetry,
    /// OTLP, without a project.
    Otlp,
}

/// The endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The Cloud Trace inside this process.
    Embedded,
    /// TLS, with Google credentials if it is one of Google's: `https://host[:port]`.
    Tls(String),
    /// Plaintext without credentials: `http://host:port`.
    Plaintext(String),
}

impl Export {
    /// Returns true if calls are signed with Google credentials. They are not to a plaintext endpoint, and with plain OTLP
    /// only to Google's own endpoints, because no other server may see the token.
    #[must_use]
    pub(crate) fn signs_calls(&self) -> bool {
        matches!(self.endpoint, Endpoint::Tls(_)) && (self.api != ExportApi::Otlp || self.is_google())
    }

    /// Returns true if the endpoint is one of Google's own.
    #[must_use]
    pub(crate) fn is_google(&self) -> bool {
        let Endpoint::Tls(uri) = &self.endpoint else { return false };
        let authority = uri.trim_start_matches("https://");
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).to_ascii_lowercase();
        host.ends_with(".googleapis.com")
    }
}
