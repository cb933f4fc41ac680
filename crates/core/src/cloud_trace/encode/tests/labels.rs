//! Tests of the data that a resource gives to its spans: project, monitored resource and agent.

use super::*;

#[test]
fn the_agent_names_the_sdk_if_its_language_and_version_are_valid() {
    let sdk = |language: &str, version: &str| {
        vec![string("telemetry.sdk.language", language), string("telemetry.sdk.version", version)]
    };
    let cases = [
        (sdk("java", "1.55.0"), format!("opentelemetry-java 1.55.0; google-cloud-trace-exporter {VERSION}")),
        (sdk("java", "1.55.0-rc1"), format!("spansieve {VERSION}")),
        (sdk("java", "1.55"), format!("spansieve {VERSION}")),
        (sdk("ja va", "1.55.0"), format!("spansieve {VERSION}")),
        (sdk("", "1.55.0"), format!("spansieve {VERSION}")),
        (vec![string("g.co/agent", "mine")], "mine".to_string()),
    ];
    let scope = InstrumentationScope::default();
    for (attributes, expected) in cases {
        let found = check(&resource(attributes.clone()), &scope, &plain_span()).attributes.unwrap().attribute_map;
        assert_eq!(found["g.co/agent"], text(&expected), "{attributes:?}");
    }
    assert_eq!(
        check_span(&with_attributes(vec![string("g.co/agent", "x")])).attributes.unwrap().attribute_map["g.co/agent"],
        text("x")
    );
}

/// Returns the labels of a resource with these attributes as `label=value`, without their common prefix.
#[track_caller]
fn labels_of(attributes: &[(&str, &str)]) -> Vec<String> {
    let attributes = attributes.iter().map(|(k, v)| string(k, v)).collect();
    let found = check(&resource(attributes), &InstrumentationScope::default(), &plain_span());
    let labels = found.attributes.unwrap().attribute_map.into_iter().filter_map(|(key, value)| {
        let Some(V2Value::StringValue(text)) = value.value else { return None };
        key.strip_prefix("g.co/r/").map(|label| format!("{label}={}", text.value))
    });
    let mut labels: Vec<_> = labels.collect();
    labels.sort();
    labels
}

#[test]
fn attributes_of_a_resource_select_the_monitored_resource() {
    let zone = ("cloud.availability_zone", "z");
    let region = ("cloud.region", "r");
    let (cluster, namespace) = (("k8s.cluster.name", "c"), ("k8s.namespace.name", "n"));
    let (pod, container, node) = (("k8s.pod.name", "p"), ("k8s.container.name", "k"), ("k8s.node.name", "m"));
    let platform = |name| ("cloud.platform", name);
    let host = ("host.id", "h");
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (&[], &[]),
        (&[platform("gcp_compute_engine"), zone, host], &["gce_instance/instance_id=h", "gce_instance/zone=z"]),
        (&[platform("gcp_compute_engine"), region], &["gce_instance/instance_id=", "gce_instance/zone="]),
        (
            &[platform("gcp_app_engine"), region, ("faas.name", "f"), ("faas.version", "1"), ("faas.instance", "i")],
            &[
                "gae_instance/instance_id=i",
                "gae_instance/location=r",
                "gae_instance/module_id=f",
                "gae_instance/version_id=1",
            ],
        ),
        (
            &[platform("aws_ec2"), region, host, ("cloud.account.id", "a")],
            &["aws_ec2_instance/aws_account=a", "aws_ec2_instance/instance_id=h", "aws_ec2_instance/region=r"],
        ),
        (
            &[platform("gcp_bare_metal_solution"), zone, region, host],
            &[
                "baremetalsolution.googleapis.com/Instance/instance_id=h",
                "baremetalsolution.googleapis.com/Instance/location=r",
            ],
        ),
        (
            &[cluster, container, pod, node, namespace, zone, region],
            &[
                "k8s_container/cluster_name=c",
                "k8s_container/container_name=k",
                "k8s_container/location=z",
                "k8s_container/namespace_name=n",
                "k8s_container/pod_name=p",
            ],
        ),
        (
            &[cluster, pod, node],
            &["k8s_pod/cluster_name=c", "k8s_pod/location=", "k8s_pod/namespace_name=", "k8s_pod/pod_name=p"],
        ),
        (&[cluster, node], &["k8s_node/cluster_name=c", "k8s_node/location=", "k8s_node/node_name=m"]),
        (
            &[platform("gcp_kubernetes_engine"), cluster, region],
            &["k8s_cluster/cluster_name=c", "k8s_cluster/location=r"],
        ),
        (
            &[platform("gcp_cloud_run"), region, ("service.name", "s"), ("service.instance.id", "i")],
            &["generic_task/job=s", "generic_task/location=r", "generic_task/namespace=", "generic_task/task_id=i"],
        ),
        (
            &[("faas.name", "f"), ("faas.instance", "i"), ("service.name", "unknown_service:go")],
            &[
                "generic_task/job=f",
                "generic_task/location=global",
                "generic_task/namespace=",
                "generic_task/task_id=i",
            ],
        ),
        (
            &[("service.name", "unknown_service"), ("service.instance.id", "i"), ("service.namespace", "n")],
            &[
                "generic_task/job=unknown_service",
                "generic_task/location=global",
                "generic_task/namespace=n",
                "generic_task/task_id=i",
            ],
        ),
        (
            &[("service.name", "s"), ("host.name", "h"), pod],
            &["generic_node/location=global", "generic_node/namespace=", "generic_node/node_id=h"],
        ),
    ];
    for (attributes, expected) in cases {
        assert_eq!(labels_of(attributes), *expected, "{attributes:?}");
    }
}

#[test]
fn labels_win_over_attributes_of_the_user() {
    let attributes = vec![string("g.co/r/generic_node/location", "mine"), string("host.name", "h")];
    let span = with_attributes(vec![string("g.co/r/generic_node/node_id", "mine")]);
    let found = check(&resource(attributes), &InstrumentationScope::default(), &span).attributes.unwrap();
    assert_eq!(found.attribute_map["g.co/r/generic_node/location"], text("global"));
    assert_eq!(found.attribute_map["g.co/r/generic_node/node_id"], text("h"));
    assert_eq!(found.dropped_attributes_count, 0);
}

#[test]
fn empty_service_attributes_are_not_written() {
    let keys = ["service.name", "service.namespace", "service.instance.id"];
    let map = |found: v2::Span| found.attributes.unwrap().attribute_map;
    for empty in [Value::StringValue(String::new()), Value::BytesValue(Vec::new())] {
        let value = OtlpValue { value: Some(empty.clone()) };
        let attributes = keys.map(|key| KeyValue { value: Some(value.clone()), ..string(key, "") }).to_vec();
        let found = map(check(&resource(attributes.clone()), &InstrumentationScope::default(), &plain_span()));
        assert!(keys.iter().all(|key| !found.contains_key(*key)), "{empty:?}");
        let found = map(check_span(&with_attributes(attributes)));
        assert!(keys.iter().all(|key| !found.contains_key(*key)), "{empty:?}");
    }
}

#[test]
fn a_resource_with_a_valid_project_selects_it() {
    let long = "p".repeat(129);
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "default"),
        (&[("gcp.project.id", "a")], "a"),
        (&[("gcp.project_id", "a")], "a"),
        (&[("gcp.project.id", "a"), ("gcp.project_id", "b")], "b"),
        (&[("gcp.project.id", "a"), ("gcp.project_id", "")], "a"),
        (&[("gcp.project.id", "")], "default"),
        (&[("gcp.project.id", "example.com:a-1")], "example.com:a-1"),
        (&[("gcp.project.id", "a/traces/b")], "default"),
        (&[("gcp.project.id", &long)], "default"),
        (&[("cloud.account.id", "a")], "default"),
    ];
    for (attributes, expected) in cases {
        let resource = resource(attributes.iter().map(|(k, v)| string(k, v)).collect());
        let found = check(&resource, &InstrumentationScope::default(), &plain_span());
        assert!(found.name.starts_with(&format!("projects/{expected}/traces/")), "{attributes:?}: {}", found.name);
        assert_eq!(&**encoder(true).resource(&resource.encode_to_vec()).project(), *expected);
    }
}

#[test]
fn only_allowed_projects_are_written_to() {
    let listed = |names: &[&str]| AllowedProjects::Listed(names.iter().map(|&name| name.into()).collect());
    // Each case is (the allowed projects, the project of the resource, true if it is refused).
    let cases = [
        (listed(&[]), "", false),
        (listed(&[]), "default", false),
        (listed(&[]), "no/project", false),
        (listed(&[]), "other", true),
        (listed(&["another", "other"]), "other", false),
        (listed(&["other"]), "other-1", true),
        (listed(&["other"]), "OTHER", true),
        (AllowedProjects::Any, "other", false),
    ];
    for (allowed, named, refused) in cases {
        let mut encoder = encoder(true);
        encoder.settings.allowed_projects = allowed.clone();
        let named_resource = resource(vec![string("gcp.project_id", named)]).encode_to_vec();
        let origin = origin(&mut encoder, &named_resource, &[]);
        let mut out = b"before".to_vec();
        let result = encoder.span(&origin, &plain_span().encode_to_vec(), errors(), &mut out);
        let expected = if refused { Err(EncodeError::Project(named.into())) } else { Ok(()) };
        assert_eq!((result, out == b"before"), (expected, refused), "{allowed:?}: {named:?}");
    }
    let error = EncodeError::Project("other".into()).to_string();
    assert!(error.starts_with("the project other is not allowed: list it in export.allowed_projects"), "{error}");
}

#[test]
fn resources_are_rewritten_first() {
    use crate::resource::settings::{self, ActionType, AttributeAction, Keys, LiteralValue as Literal, ValueSource};
    let action = |action| AttributeAction { condition: None, action };
    let upsert = |key: &str, value: &str| {
        let source = ValueSource::Value(Literal::String(value.into()));
        action(ActionType::Upsert { key: key.into(), source })
    };
    let delete = action(ActionType::Delete(Keys { key: Some("secret".into()), pattern: None }));
    let attributes = vec![upsert("gcp.project_id", "other"), upsert("host.name", "h"), delete];
    let mut encoder = encoder(false);
    let rewriter =
        Rewriter::new(&settings::ResourceSettings { attributes, ..settings::ResourceSettings::default() }, &[]);
    encoder.rewriter = SharedRewriter::from(rewriter).user();
    let sent = resource(vec![string("secret", "s")]);
    let found = encode_body(&mut encoder, body(Some(&sent), None, &plain_span()), errors()).remove(0);
    assert!(found.name.starts_with("projects/other/"));
    let map = found.attributes.unwrap().attribute_map;
    assert_eq!(map["g.co/r/generic_node/node_id"], text("h"));
    assert!(!map.contains_key("secret"));
}
