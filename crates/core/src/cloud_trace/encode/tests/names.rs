//! Tests of the names of attribute keys, and of the switch for Cloud Run's resource.

use super::*;
use crate::cloud_trace::settings::{AttributeMapping, BaseMapping};
use crate::resource::settings::Normalize;

/// Returns the keys and texts of a span's attributes, sorted, without the scope's name and the agent.
fn map_with(settings: EncoderSettings, resource: &Resource, span: &Span) -> Vec<(String, String)> {
    let mut encoder = Encoder::new(settings, Rewriter::default());
    let span = encode_body(&mut encoder, body(Some(resource), None, span), errors()).remove(0);
    let texts = span.attributes.unwrap().attribute_map.into_iter().filter_map(|(key, value)| match value.value {
        Some(V2Value::StringValue(text)) if key != "otel.scope.name" && key != "g.co/agent" => Some((key, text.value)),
        _ => None,
    });
    let mut map: Vec<_> = texts.collect();
    map.sort();
    map
}

/// Returns the names of attributes with these keys. The value of each attribute is its original key.
fn names_of(base: BaseMapping, own: &[(&str, &str)], keys: &[&str]) -> Vec<(String, String)> {
    let own = own.iter().map(|(key, name)| ((*key).to_owned(), (*name).to_owned())).collect();
    let names = KeyNames::new(&AttributeMapping { base, own }, Normalize::Off);
    let span = with_attributes(keys.iter().map(|key| string(key, key)).collect());
    map_with(EncoderSettings { names, ..EncoderSettings::default() }, &Resource::default(), &span)
}

#[track_caller]
fn check_names(base: BaseMapping, own: &[(&str, &str)], expected: &[(&str, &str)]) {
    for (key, name) in expected {
        assert_eq!(names_of(base, own, &[key]), [((*name).to_owned(), (*key).to_owned())], "{base:?}");
    }
}

#[test]
fn each_base_renames_its_own_keys() {
    let google = [("http.method", "/http/method"), ("http.status_code", "/http/status_code")];
    let console = [
        ("http.request.method", "/http/method"),
        ("http.route", "/http/route"),
        ("http.response.status_code", "/http/status_code"),
        ("url.full", "/http/url"),
        ("http.url", "/http/url"),
        ("url.path", "/http/path"),
        ("server.address", "/http/host"),
        ("user_agent.original", "/http/user_agent"),
        ("http.response.body.size", "/http/response/size"),
        ("error.type", "/error/name"),
        ("thread.id", "/tid"),
    ];
    let unchanged = |pairs: &[(&'static str, &str)]| pairs.iter().map(|(key, _)| (*key, *key)).collect::<Vec<_>>();
    check_names(BaseMapping::Google, &[], &google);
    check_names(BaseMapping::Google, &[], &unchanged(&console));
    check_names(BaseMapping::Console, &[], &google);
    check_names(BaseMapping::Console, &[], &console);
    check_names(BaseMapping::None, &[], &unchanged(&google));
    check_names(BaseMapping::Console, &[], &[("http.request.header.x", "http.request.header.x"), ("key", "key")]);
}

#[test]
fn names_of_the_operator_take_precedence() {
    let own = [("tenant.id", "/tenant"), ("http.method", "verb"), ("http.route", "http.route")];
    check_names(
        BaseMapping::Console,
        &own,
        &[("tenant.id", "/tenant"), ("http.method", "verb"), ("http.route", "http.route"), ("url.path", "/http/path")],
    );
}

#[test]
fn of_an_old_and_a_present_key_the_last_one_is_written() {
    let sent = ["http.request.method", "key", "http.method"];
    let expected = [("/http/method", "http.method"), ("key", "key")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(names_of(BaseMapping::Console, &[], &sent), expected);
}

#[test]
fn old_keys_get_the_names_of_their_present_keys() {
    let own = vec![("db.statement".to_owned(), "sql".to_owned()), ("db.namespace".to_owned(), "database".to_owned())];
    let names = |base, keys: &[&str]| {
        let names = KeyNames::new(&AttributeMapping { base, own: own.clone() }, Normalize::Span);
        let span = with_attributes(keys.iter().map(|key| string(key, key)).collect());
        let map = map_with(EncoderSettings { names, ..EncoderSettings::default() }, &Resource::default(), &span);
        map.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(
        names(BaseMapping::None, &["http.status_code", "db.system"]),
        ["db.system.name", "http.response.status_code"]
    );
    assert_eq!(names(BaseMapping::Console, &["http.status_code"]), ["/http/status_code"]);
    assert_eq!(names(BaseMapping::Console, &["db.statement", "db.name"]), ["database", "sql"]);
}

#[test]
fn the_limit_of_keys_applies_to_the_name_and_not_to_the_sent_key() {
    let long = "k".repeat(KEY_BYTES_MAX + 1);
    let names = names_of(BaseMapping::None, &[(&long, "short")], &[&long]);
    assert_eq!(names, [("short".to_owned(), long)]);
}

#[test]
fn cloud_run_is_a_revision_if_configured() {
    let attributes = [
        ("cloud.platform", "gcp_cloud_run"),
        ("cloud.region", "europe-west1"),
        ("faas.name", "api"),
        ("faas.version", "api-00042"),
        ("faas.instance", "00f1"),
    ];
    let resource = resource(attributes.iter().map(|(key, value)| string(key, value)).collect());
    let labels = |cloud_run_revision| {
        let settings = EncoderSettings { cloud_run_revision, ..EncoderSettings::default() };
        let map = map_with(settings, &resource, &plain_span()).into_iter();
        map.filter_map(|(key, value)| key.strip_prefix("g.co/r/").map(|key| format!("{key}={value}")))
            .collect::<Vec<_>>()
    };
    let revision = ["configuration_name=api", "location=europe-west1", "revision_name=api-00042", "service_name=api"];
    assert_eq!(labels(true), revision.map(|label| format!("cloud_run_revision/{label}")));
    let task = ["job=api", "location=europe-west1", "namespace=", "task_id=00f1"];
    assert_eq!(labels(false), task.map(|label| format!("generic_task/{label}")));
}
