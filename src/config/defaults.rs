//! The settings of an empty file.

use std::time::Duration;

use http::HeaderMap;

use super::settings::{
    AllowedProjects, AttributeMapping, BatchSettings, Embedded, Endpoint, Export, ExportApi, ExportTls, Settings,
};
use crate::receiver::settings::Otlp;
use crate::resource::settings::ResourceSettings;
use crate::tail::settings::{Memory, TailSampling};
use crate::telemetry::settings::Telemetry;

/// `export.spool.max_bytes`: the kept spans of hours at a thousand a minute, on disks that have room for logs.
pub(super) const SPOOL_BYTES: u64 = 4 << 30;

impl Default for Settings {
    fn default() -> Self {
        Settings {
            otlp: Otlp::default(),
            journal: None,
            tail_sampling: TailSampling::default(),
            resource: ResourceSettings::default(),
            export: Export {
                api: ExportApi::CloudTrace,
                endpoint: Endpoint::Tls("https://cloudtrace.googleapis.com".into()),
                headers: HeaderMap::new(),
                embedded: Embedded { listen: "127.0.0.1:8080".into(), allowed_hosts: Vec::new(), max_bytes: 256 << 20 },
                project: None,
                allowed_projects: AllowedProjects::default(),
                tls: ExportTls::default(),
                attribute_mapping: AttributeMapping::default(),
                cloud_run_revision: false,
                destination_project_quota: false,
                batch: BatchSettings { max_spans: 2000, max_bytes: 4 << 20, max_delay: Duration::from_secs(1) },
                spool: None,
                give_up_after: Duration::ZERO,
            },
            memory: Memory::default(),
            telemetry: Telemetry::default(),
        }
    }
}
