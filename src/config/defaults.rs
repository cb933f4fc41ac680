//! The settings of an empty file.

use std::time::Duration;

use http::HeaderMap;

use super::settings::{
    AllowedProjects, Api, AttributeMapping, Batch, DecisionCache, Embedded, Endpoint, Export, Policy, Rescue, Rule,
    Settings, TailSampling, Tls,
};
use crate::condition::Condition;
use crate::receiver::settings::Otlp;
use crate::resource::settings::Resource;
use crate::settings::Size;
use crate::tail::settings::Memory;
use crate::telemetry::settings::Telemetry;

/// `export.spool.max_bytes`: the kept spans of hours at a thousand a minute, on disks that have room for logs.
pub(super) const SPOOL_BYTES: u64 = 4 << 30;

impl Default for Settings {
    fn default() -> Self {
        Settings {
            otlp: Otlp::default(),
            journal: None,
            tail_sampling: TailSampling {
                decision_wait: Duration::from_secs(10),
                decision_wait_after_root_received: Duration::ZERO,
                decision_cache: DecisionCache { sampled_cache_size: 1_000_000, non_sampled_cache_size: 1_000_000 },
                rescue: Rescue { window: Duration::from_secs(60), max_bytes: Size::Percent(25.0) },
                spans_max: 100_000,
                bytes_max: Size::Percent(10.0),
                annotate: true,
                sample_on_first_match: false,
                policies: default_policies(),
            },
            resource: Resource::default(),
            export: Export {
                api: Api::CloudTrace,
                endpoint: Endpoint::Tls("https://cloudtrace.googleapis.com".into()),
                headers: HeaderMap::new(),
                embedded: Embedded { listen: "127.0.0.1:8080".into(), allowed_hosts: Vec::new(), max_bytes: 256 << 20 },
                project: None,
                allowed_projects: AllowedProjects::default(),
                tls: Tls::default(),
                attribute_mapping: AttributeMapping::default(),
                cloud_run_revision: false,
                destination_project_quota: false,
                batch: Batch { max_spans: 2000, max_bytes: 4 << 20, max_delay: Duration::from_secs(1) },
                spool: None,
                give_up_after: Duration::ZERO,
            },
            memory: Memory::default(),
            telemetry: Telemetry::default(),
        }
    }
}

fn default_policies() -> Vec<Policy> {
    let policy = |name: &str, rule| Policy { name: name.into(), rule };
    vec![
        policy("errors", Rule::AnySpan(Condition::failed(true, true, true))),
        policy("slow", Rule::Latency { threshold_ms: 1000, upper_threshold_ms: 0 }),
        policy("baseline", Rule::Probabilistic { sampling_percentage: 5.0 }),
    ]
}
