//! Every YAML file in the repository agrees with the daemon.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use spansieve::cli::source::ConfigSource;
use spansieve::cli::validate::Checks;
use spansieve::cloud_trace::settings::BaseMapping;
use spansieve::config::Settings;
use spansieve::config::{self, render};
use spansieve::export::settings::Endpoint;
use spansieve::resource::settings::Normalize;
use spansieve::terminal::Paint;

/// The value that Cloud Run gives `PORT` by default.
const PORT: u16 = 8080;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn load(path: &Path) -> Settings {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.display().to_string();
    let loaded =
        config::load(&text, &|_| None).unwrap_or_else(|problems| panic!("{}", problems.render(&name, Paint::PLAIN)));
    assert!(loaded.warnings.is_empty(), "{}", render(&loaded.warnings, &text, &name, Paint::PLAIN));
    loaded.settings
}

/// Adds every `config.yaml` below `directory` to `found`.
fn configurations(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            configurations(&path, found);
        } else if path.file_name().is_some_and(|name| name == "config.yaml") {
            found.push(path);
        }
    }
}

#[test]
fn every_configuration_is_valid_without_warnings() {
    let files = ["config.yaml", "tests/fixtures/example.yaml", "benches/spansieve.yaml"];
    let mut paths = files.map(|file| root().join(file)).to_vec();
    configurations(&root().join("deploy"), &mut paths);
    assert!(paths.len() >= 3);
    for path in paths {
        load(&path);
    }
}

#[test]
fn the_local_configuration_needs_no_google_cloud() {
    let settings = load(&root().join("config.yaml"));
    assert_eq!(settings.export.endpoint, Endpoint::Embedded);
    assert_eq!(settings.otlp.listen, ["0.0.0.0:4317", "0.0.0.0:4318"]);
}

#[test]
fn the_configuration_for_cloud_run_uses_its_port_and_its_project() {
    let settings = load(&root().join("deploy/cloud-run/config.yaml"));
    assert_eq!(settings.otlp.listen, [format!("0.0.0.0:{PORT}")]);
    assert_eq!(settings.export.endpoint, Endpoint::Tls("https://cloudtrace.googleapis.com".into()));
    assert_eq!(settings.export.project, None);
    assert_eq!(settings.export.attribute_mapping.base, BaseMapping::Console);
    assert_eq!(settings.resource.normalize, Normalize::Span);
}

fn yaml(file: &str) -> Value {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn the_collector_of_the_benchmarks_does_the_same_work() {
    let (ours, collector) = (yaml("benches/spansieve.yaml"), yaml("benches/collector/config.yaml"));
    let theirs = &collector["processors"];
    for (key, section) in
        [("policies", "tail_sampling"), ("decision_wait", "tail_sampling"), ("attributes", "resource")]
    {
        assert!(!ours[section][key].is_null(), "{key}");
        assert_eq!(ours[section][key], theirs[section][key]);
    }
    assert_eq!(ours["export"]["project"], collector["exporters"]["googlecloud"]["project"]);
}

fn service() -> Value {
    yaml("deploy/cloud-run/service.yaml")
}

#[test]
fn the_service_has_one_instance_with_a_cpu_of_its_own() {
    let service = service();
    let annotations = &service["metadata"]["annotations"];
    assert_eq!(annotations["run.googleapis.com/scalingMode"], "manual");
    assert_eq!(annotations["run.googleapis.com/manualInstanceCount"], "1");
    assert_eq!(annotations["run.googleapis.com/ingress"], "internal");
    assert_eq!(service["spec"]["template"]["metadata"]["annotations"]["run.googleapis.com/cpu-throttling"], "false");
}

#[test]
fn the_service_uses_ports_paths_and_files_that_the_daemon_has() {
    let service = service();
    let spec = &service["spec"]["template"]["spec"];
    let container = &spec["containers"][0];
    assert_eq!(container["ports"], json!([{"name": "h2c", "containerPort": PORT}]));
    assert_eq!(container["startupProbe"]["httpGet"], json!({"path": "/readyz", "port": PORT}));
    assert_eq!(container["livenessProbe"]["httpGet"], json!({"path": "/livez", "port": PORT}));

    let (mount, volume) = (&container["volumeMounts"][0], &spec["volumes"][0]);
    assert_eq!(mount["name"], volume["name"]);
    let directory = mount["mountPath"].as_str().unwrap();
    let file = volume["secret"]["items"][0]["path"].as_str().unwrap();
    assert_eq!(container["args"], json!(["run", "--config", format!("{directory}/{file}")]));
}

#[test]
fn validate_tells_good_from_bad() {
    let validate = |path: &Path| {
        format!("{:?}", spansieve::cli::validate::run(&ConfigSource::File(path.to_owned()), &Checks::default()))
    };
    let bad = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bad.path(), "otlp: {listn: []}").unwrap();
    let refused = format!("{:?}", ExitCode::from(78));
    assert_eq!(validate(&root().join("config.yaml")), format!("{:?}", ExitCode::SUCCESS));
    assert_eq!(validate(bad.path()), refused);
    assert_eq!(validate(&root().join("no-such-file.yaml")), refused);
    // Each policy is valid, but together they have more keys than memory allows.
    let policy = |n| format!("    - {{name: p{n}, type: rare, rare: {{key: [k{n}]}}}}\n");
    let policies: String = (0..9).map(policy).collect();
    std::fs::write(bad.path(), format!("tail_sampling:\n  policies:\n{policies}")).unwrap();
    assert_eq!(validate(bad.path()), refused);
    std::fs::write(bad.path(), [0xff, 0xfe]).unwrap();
    assert_eq!(validate(bad.path()), refused);
}
