//! The real program with Google's endpoint: credentials, project and readiness by the environment, and TLS.
#![allow(clippy::unwrap_used)]

mod fleet;
#[allow(unreachable_pub)]
mod script;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use script::{CloudTrace, Http};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{self, Client, conservation, error, eventually, metric, request, trace_id};

/// The program. Its home is a folder of its own, and its environment has only the given variables.
struct Program {
    child: Child,
    /// All output so far, printed and logged.
    text: Arc<Mutex<String>>,
}

impl Program {
    fn start(folder: &Path, export: &str, environment: &[(&str, &str)]) -> Self {
        let config = folder.join("config.yaml");
        let text = support::CONFIG.split("export:").next().unwrap().to_owned()
            + &format!("export:\n  batch: {{max_delay: 50ms}}\n{export}\n");
        std::fs::write(&config, text.replace("decision_wait: 1s", "decision_wait: 50ms")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_spansieve"))
            .args(["run", "--config", config.to_str().unwrap()])
            .env_clear()
            .env("HOME", folder)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let text = Arc::default();
        collect(child.stdout.take().unwrap(), Arc::clone(&text));
        collect(child.stderr.take().unwrap(), Arc::clone(&text));
        Program { child, text }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Waits until the program prints its OTLP endpoint, and returns it.
    async fn endpoint(&self) -> String {
        let marker = "OTEL_EXPORTER_OTLP_ENDPOINT=";
        eventually("the program prints its endpoint", || self.text().contains(marker)).await;
        self.text().split(marker).nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
    }

    /// Waits until the program exits; returns its exit code and its output.
    async fn ended(mut self) -> (Option<i32>, String) {
        let mut code = None;
        eventually("the program ends", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        })
        .await;
        // The last output is complete when both reader threads have ended, and no longer share the text.
        eventually("its text is read", || Arc::strong_count(&self.text) == 1).await;
        (code.unwrap().code(), self.text())
    }

    fn terminate(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // An error means that the program has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(pipe: impl Read + Send + 'static, text: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            text.lock().unwrap().push_str(&(line + "\n"));
        }
    });
}

/// Sends `GET path` to the program; returns the whole answer.
async fn get(endpoint: &str, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Repeats `GET path` until the answer contains `wanted`; returns that answer.
async fn wait_for(endpoint: &str, path: &str, wanted: &str) -> String {
    for _ in 0..400 {
        let answer = get(endpoint, path).await;
        if answer.contains(wanted) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{path} never said {wanted}: {}", get(endpoint, path).await);
}

/// Returns the keys of the section `export` that lead to `cloud_trace`.
fn section(folder: &Path, cloud_trace: &CloudTrace) -> String {
    let ca_file = folder.join("ca.pem");
    std::fs::write(&ca_file, &cloud_trace.ca_pem).unwrap();
    format!("  endpoint: \"{}\"\n  tls: {{ca_file: {}}}", cloud_trace.uri, ca_file.display())
}

fn token(name: &str) -> String {
    json!({"access_token": name, "expires_in": 3600, "token_type": "Bearer"}).to_string()
}

const ACCOUNT_PATH: &str = "/computemetadata/v1/instance/service-accounts/default/";

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_metadata_server_signs_calls_to_cloud_trace() {
    let folder = tempfile::tempdir().unwrap();
    let cloud_trace = CloudTrace::start().await;
    let has_account = Arc::new(AtomicBool::new(false));
    let granted = Arc::clone(&has_account);
    let metadata = Http::start(move |path| {
        let token_path = format!("{ACCOUNT_PATH}token");
        Some(match path {
            "/computemetadata/v1/project/project-id" => ("200 OK", "of-metadata".to_owned()),
            path if path == token_path && granted.load(Ordering::Relaxed) => ("200 OK", token("secret")),
            path if path == token_path => ("404 Not Found", "no account yet".to_owned()),
            _ => ("200 OK", "run@of-metadata.iam.gserviceaccount.com".to_owned()),
        })
    })
    .await;
    let host = metadata.address.to_string();
    let program = Program::start(folder.path(), &section(folder.path(), &cloud_trace), &[("GCE_METADATA_HOST", &host)]);
    let endpoint = program.endpoint().await;

    // The daemon is not ready and gives the reason. It is alive and accepts spans.
    let unready = wait_for(&endpoint, "/readyz", "not ready: ").await;
    assert!(unready.starts_with("HTTP/1.1 503 "), "{unready}");
    let gcloud = folder.path().join(".config/gcloud/application_default_credentials.json");
    let places = ["GOOGLE_APPLICATION_CREDENTIALS is not set", gcloud.to_str().unwrap(), &host, "404"];
    assert!(places.iter().all(|place| unready.contains(place)), "{unready}");
    assert!(get(&endpoint, "/livez").await.starts_with("HTTP/1.1 200 "));
    let mut client = Client::new(&endpoint);
    client.export(request("shop", vec![error(trace_id(false), "failed")])).await.unwrap();
    let mut foreign = request("shop", vec![error(trace_id(false), "elsewhere")]);
    let project = AnyValue { value: Some(Value::StringValue("not-ours".into())) };
    let attribute = KeyValue { key: "gcp.project_id".into(), value: Some(project), ..KeyValue::default() };
    foreign.resource_spans[0].resource.as_mut().unwrap().attributes.push(attribute);
    client.export(foreign).await.unwrap();
    eventually("the log has the reason, too", || program.text().contains("kept spans wait in memory")).await;

    has_account.store(true, Ordering::Relaxed);
    let ready = wait_for(&endpoint, "/readyz", "ready\n").await;
    assert!(ready.starts_with("HTTP/1.1 200 ") && ready.ends_with("\r\n\r\nready\n"), "{ready}");
    wait_for(&endpoint, "/metrics", "spansieve_exported_spans_total 1\n").await;
    // The first scrape that has the export may still count its span as held.
    let metrics = get(&endpoint, "/metrics").await;
    assert_eq!(metric(&metrics, "spansieve_dropped_spans_total", &["project_not_allowed"]), 1.0);
    assert_eq!(conservation(&metrics), (2.0, 2.0));
    let calls = cloud_trace.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].header("authorization"), Some("Bearer secret"));
    assert_eq!(calls[0].header("x-goog-user-project"), None);
    assert_eq!(calls[0].request.name, "projects/of-metadata");
    eventually("the account is logged", || program.text().contains("run@of-metadata.iam.gserviceaccount.com")).await;
    assert!(program.text().contains("the project not-ours is not allowed"), "{}", program.text());
    program.terminate();
    assert_eq!(program.ended().await.0, Some(0));
}

/// Writes `text` to the file `name` in `folder`; returns its path.
fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_credentials_signs_calls() {
    let google = Http::start(|path| {
        Some(match path {
            "/user" => ("200 OK", token("of-user")),
            "/sts" => {
                let issued = "urn:ietf:params:oauth:token-type:access_token";
                let body = json!({"access_token": "federated", "issued_token_type": issued, "token_type": "Bearer",
                    "expires_in": 3600});
                ("200 OK", body.to_string())
            }
            path if path.ends_with(":generateaccesstoken") => {
                let body = json!({"accessToken": "impersonated", "expireTime": "2999-01-01T00:00:00Z"});
                ("200 OK", body.to_string())
            }
            _ => ("404 Not Found", String::new()),
        })
    })
    .await;
    let url = format!("http://{}", google.address);
    let user = json!({"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r",
        "token_uri": format!("{url}/user"), "quota_project_id": "of-file"});
    let impersonation = format!("{url}/v1/projects/-/serviceAccounts/robot@p.test:generateAccessToken");
    let subject = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(subject.path(), "subject").unwrap();
    let federated = json!({"type": "external_account", "audience": "//iam.googleapis.com/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": format!("{url}/sts"),
        "credential_source": {"file": subject.path()}, "quota_project_id": "of-file"});
    let mut federated_robot = federated.clone();
    federated_robot["service_account_impersonation_url"] = json!(impersonation);
    let key = json!({"type": "service_account", "client_email": "key@p.test", "private_key_id": "k", "project_id": "p",
        "private_key": include_str!("fixtures/test-only-key.pem")});
    let robot = json!({"type": "impersonated_service_account", "source_credentials": user,
        "service_account_impersonation_url": impersonation});
    // Credentials file, quota project in the environment; expected beginning of the token, quota project and account.
    let cases = [
        (&user, None, "Bearer of-user", Some("of-file"), None),
        (&user, Some("of-variable"), "Bearer of-user", Some("of-variable"), None),
        (&user, Some(""), "Bearer of-user", None, None),
        (&federated, None, "Bearer federated", Some("of-file"), None),
        (&federated_robot, None, "Bearer impersonated", Some("of-file"), Some("robot@p.test")),
        (&robot, None, "Bearer impersonated", None, Some("robot@p.test")),
        // A JWT that the key itself signs. "eyJ" is the beginning of `{"alg":"RS256",...` in base64.
        (&key, Some("of-variable"), "Bearer eyJ", Some("of-variable"), Some("key@p.test")),
    ];
    for (index, (credentials, quota_variable, authorization, quota_project, account)) in cases.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let cloud_trace = CloudTrace::start().await;
        // gcloud's own file is found without an environment variable.
        let named = index % 2 == 0;
        let name = if named { "adc.json" } else { ".config/gcloud/application_default_credentials.json" };
        let path = file(folder.path(), name, &credentials.to_string());
        let mut environment = vec![("GOOGLE_CLOUD_PROJECT", "p")];
        environment.extend(named.then(|| ("GOOGLE_APPLICATION_CREDENTIALS", path.to_str().unwrap())));
        environment.extend(quota_variable.map(|project| ("GOOGLE_CLOUD_QUOTA_PROJECT", project)));
        let program = Program::start(folder.path(), &section(folder.path(), &cloud_trace), &environment);
        let endpoint = program.endpoint().await;
        wait_for(&endpoint, "/readyz", "\r\n\r\nready").await;
        Client::new(&endpoint).export(request("shop", vec![error(trace_id(false), "failed")])).await.unwrap();
        eventually("a call arrives", || !cloud_trace.calls().is_empty()).await;
        let call = cloud_trace.calls().remove(0);
        assert!(call.header("authorization").unwrap().starts_with(authorization), "{credentials}");
        assert_eq!(call.header("x-goog-user-project"), quota_project, "{credentials}");
        assert_eq!(call.request.name, "projects/p");
        eventually("it says that it signed in", || program.text().contains("Signed in")).await;
        assert_eq!(account.filter(|account| !program.text().contains(account)), None, "{}", program.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_set_up_is_explained_before_the_program_exits() {
    let metadata = Http::start(|_| Some(("404 Not Found", String::new()))).await;
    let host = metadata.address.to_string();
    let folder = tempfile::tempdir().unwrap();
    let key = file(folder.path(), "key.json", r#"{"type": "nonsense"}"#);
    let gcloud = ".config/gcloud/application_default_credentials.json of gcloud does not exist";
    // The environment, and the texts that the output must contain.
    let cases = [
        (
            vec![("GCE_METADATA_HOST", host.as_str())],
            vec![
                "no Google Cloud project found",
                "GOOGLE_CLOUD_PROJECT is not set",
                gcloud,
                &host,
                "404",
                "set export.project",
            ],
        ),
        (
            vec![("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json"), ("GOOGLE_CLOUD_PROJECT", "p")],
            vec!["application default credentials cannot be used", "/nowhere.json (GOOGLE_APPLICATION_CREDENTIALS)"],
        ),
        (
            vec![("GOOGLE_APPLICATION_CREDENTIALS", key.to_str().unwrap()), ("GOOGLE_CLOUD_PROJECT", "p")],
            vec!["application default credentials cannot be used", "nonsense"],
        ),
        (
            vec![("HTTPS_PROXY", "socks5://user:geheim@proxy:1"), ("GOOGLE_CLOUD_PROJECT", "p")],
            vec!["the proxy of HTTPS_PROXY cannot be used"],
        ),
    ];
    for (environment, said) in cases {
        let program = Program::start(folder.path(), "  endpoint: https://cloudtrace.googleapis.com", &environment);
        let (code, text) = program.ended().await;
        assert_eq!(code, Some(1), "{text}");
        assert!(said.iter().all(|said| text.contains(said)), "{said:?}: {text}");
        assert!(!text.contains("geheim"), "{text}");
    }
    let program = Program::start(folder.path(), "  tls: {ca_file: /nowhere.pem}", &[]);
    let (code, text) = program.ended().await;
    assert!(
        code == Some(78) && text.contains("config.yaml:11:18\n") && text.contains("cannot read `/nowhere.pem`"),
        "{code:?}: {text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_waits_for_the_project_can_be_stopped() {
    let metadata = Http::start(|_| None).await;
    let host = metadata.address.to_string();
    let folder = tempfile::tempdir().unwrap();
    let program =
        Program::start(folder.path(), "  endpoint: https://cloudtrace.googleapis.com", &[("GCE_METADATA_HOST", &host)]);
    let project = "/computemetadata/v1/project/project-id".to_owned();
    eventually("the project is asked for", || metadata.requests().contains(&project)).await;
    program.terminate();
    assert_eq!(program.ended().await.0, Some(0));
}
