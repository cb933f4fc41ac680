//! Labels for the origin of a span: the monitored resource (`g.co/r/...`) and the agent (`g.co/agent`). The mapping
//! follows `internal/resourcemapping` of Google's opentelemetry-operations-go.

use std::borrow::Cow;

use super::VERSION;
use super::text::mended;
use crate::otlp::view::AnyValue;
use crate::resource::ResourceAttributes;

/// The key of the label that names the software that made or exported a span.
pub(super) const AGENT: &str = "g.co/agent";

const ZONE: &str = "cloud.availability_zone";
const REGION: &str = "cloud.region";
const HOST_ID: &str = "host.id";
const SERVICE_NAME: &str = "service.name";
const CLUSTER_NAME: &str = "k8s.cluster.name";
/// The name, or its beginning, that an SDK uses if no service name is configured (semantic conventions,
/// `service.name`).
const UNKNOWN_SERVICE: &str = "unknown_service";

/// A label of a monitored resource type.
struct Label {
    name: &'static str,
    /// The resource attributes that can give the value. The first with a text counts.
    keys: &'static [&'static str],
    /// The value if none of the attributes has a text.
    fallback: &'static str,
}

/// A monitored resource type. All its labels are written, even if empty.
struct ResourceType {
    name: &'static str,
    labels: &'static [Label],
}

const fn label(name: &'static str, keys: &'static [&'static str]) -> Label {
    Label { name, keys, fallback: "" }
}

const LOCATION: Label = label("location", &[ZONE, REGION]);
const GENERIC_LOCATION: Label = Label { fallback: "global", ..LOCATION };
const NAMESPACE: Label = label("namespace", &["service.namespace"]);
const INSTANCE_ID: Label = label("instance_id", &[HOST_ID]);
const K8S_CLUSTER_NAME: Label = label("cluster_name", &[CLUSTER_NAME]);
const K8S_NAMESPACE_NAME: Label = label("namespace_name", &["k8s.namespace.name"]);
const K8S_POD_NAME: Label = label("pod_name", &["k8s.pod.name"]);

/// The types by the value of `cloud.platform`.
const BY_PLATFORM: &[(&str, ResourceType)] = &[
    ("gcp_compute_engine", ResourceType { name: "gce_instance", labels: &[label("zone", &[ZONE]), INSTANCE_ID] }),
    (
        "gcp_app_engine",
        ResourceType {
            name: "gae_instance",
            labels: &[
                LOCATION,
                label("module_id", &["faas.name"]),
                label("version_id", &["faas.version"]),
                label("instance_id", &["faas.instance"]),
            ],
        },
    ),
    (
        "aws_ec2",
        ResourceType {
            name: "aws_ec2_instance",
            labels: &[INSTANCE_ID, label("region", &[ZONE, REGION]), label("aws_account", &["cloud.account.id"])],
        },
    ),
    (
        "gcp_bare_metal_solution",
        ResourceType {
            name: "baremetalsolution.googleapis.com/Instance",
            labels: &[label("location", &[REGION]), INSTANCE_ID],
        },
    ),
];

/// The types inside a Kubernetes cluster, by the attribute that the resource must have. The most specific is first.
const IN_CLUSTER: &[(&str, ResourceType)] = &[
    (
        "k8s.container.name",
        ResourceType {
            name: "k8s_container",
            labels: &[
                LOCATION,
                K8S_CLUSTER_NAME,
                K8S_NAMESPACE_NAME,
                K8S_POD_NAME,
                label("container_name", &["k8s.container.name"]),
            ],
        },
    ),
    (
        "k8s.pod.name",
        ResourceType { name: "k8s_pod", labels: &[LOCATION, K8S_CLUSTER_NAME, K8S_NAMESPACE_NAME, K8S_POD_NAME] },
    ),
    (
        "k8s.node.name",
        ResourceType {
            name: "k8s_node",
            labels: &[LOCATION, K8S_CLUSTER_NAME, label("node_name", &["k8s.node.name"])],
        },
    ),
    (CLUSTER_NAME, ResourceType { name: "k8s_cluster", labels: &[LOCATION, K8S_CLUSTER_NAME] }),
];

/// The value that resource detectors set for Cloud Run (semantic conventions, `cloud.platform`).
const CLOUD_RUN: &str = "gcp_cloud_run";

/// The type of the logs and metrics that Cloud Run itself writes
/// (<https://cloud.google.com/monitoring/api/resources#tag_cloud_run_revision>).
const CLOUD_RUN_REVISION: ResourceType = ResourceType {
    name: "cloud_run_revision",
    labels: &[
        label("location", &[REGION]),
        label("service_name", &["faas.name"]),
        label("configuration_name", &["faas.name"]),
        label("revision_name", &["faas.version"]),
    ],
};

const GENERIC_TASK: ResourceType = ResourceType {
    name: "generic_task",
    labels: &[
        GENERIC_LOCATION,
        NAMESPACE,
        label("job", &[SERVICE_NAME, "faas.name"]),
        label("task_id", &["service.instance.id", "faas.instance"]),
    ],
};

const GENERIC_NODE: ResourceType = ResourceType {
    name: "generic_node",
    labels: &[GENERIC_LOCATION, NAMESPACE, label("node_id", &[HOST_ID, "host.name"])],
};

/// Returns the keys and values of the `g.co/r/...` labels of a resource. A resource without attributes has no labels.
pub(super) fn monitored_resource(
    attributes: &ResourceAttributes,
    cloud_run_revision: bool,
) -> Vec<(String, Cow<'_, str>)> {
    if attributes.is_empty() {
        return Vec::new();
    }
    let kind = resource_type(attributes, cloud_run_revision);
    let labels = kind.labels.iter();
    labels.map(|label| (format!("g.co/r/{}/{}", kind.name, label.name), label.value(attributes))).collect()
}

fn resource_type(attributes: &ResourceAttributes, cloud_run_revision: bool) -> &'static ResourceType {
    let platform = text(attributes, "cloud.platform");
    if cloud_run_revision && platform == CLOUD_RUN {
        return &CLOUD_RUN_REVISION;
    }
    if let Some((_, kind)) = BY_PLATFORM.iter().find(|(name, _)| *name == platform) {
        return kind;
    }
    let has = |key| attributes.get(key).is_some();
    if has(CLUSTER_NAME)
        && let Some((_, kind)) = IN_CLUSTER.iter().find(|(key, _)| has(key))
    {
        return kind;
    }
    let is_task = has(SERVICE_NAME) && has("service.instance.id") || has("faas.name") && has("faas.instance");
    if is_task { &GENERIC_TASK } else { &GENERIC_NODE }
}

impl Label {
    fn value<'a>(&self, attributes: &'a ResourceAttributes) -> Cow<'a, str> {
        let texts = || self.keys.iter().map(|key| text(attributes, key)).filter(|text| !text.is_empty());
        let named = texts().find(|text| !text.starts_with(UNKNOWN_SERVICE));
        named.or_else(|| texts().next()).unwrap_or(Cow::Borrowed(self.fallback))
    }
}

/// Returns the text of a string attribute. It is empty for any other value, or if the attribute is missing.
pub(super) fn text<'a>(attributes: &'a ResourceAttributes, key: &str) -> Cow<'a, str> {
    match attributes.get(key) {
        Some(AnyValue::String(raw)) => mended(raw),
        _ => Cow::Borrowed(""),
    }
}

/// Returns the agent label. If the SDK states a language of letters and a version of three numbers, the label has the
/// form that Google's exporters write (`opentelemetry-<letters> <n.n.n>; google-cloud-trace-exporter <n.n.n>`). The
/// second version is the one of this program. Otherwise the label names only this program.
pub(super) fn agent(attributes: &ResourceAttributes) -> String {
    let language = text(attributes, "telemetry.sdk.language");
    let version = text(attributes, "telemetry.sdk.version");
    let is_language = !language.is_empty() && language.bytes().all(|b| b.is_ascii_alphabetic());
    if is_language && is_release(&version) {
        format!("opentelemetry-{language} {version}; google-cloud-trace-exporter {VERSION}")
    } else {
        format!("spansieve {VERSION}")
    }
}

/// Returns true if `version` is three numbers, as in `1.38.0`.
fn is_release(version: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    version.split('.').count() == 3 && version.split('.').all(number)
}
