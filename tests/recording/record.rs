//! `spansieve record`: what is in the file, how a recording ends, and what is left out.

use std::process::{Command, Stdio};
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use serde_json::Value;
use spansieve::daemon::Daemon;
use tempfile::TempDir;

use super::{config, is_recording, start, text};
use crate::daemon_api::asking::{get, spansieve};
use crate::support::{self, Client, error, otlp, request, span, trace_id, traces};

/// Sends traces, one each 20 ms, with an attribute that must not be recorded.
async fn traffic(daemon: &Daemon) {
    let mut sender = Client::new(&otlp(daemon));
    loop {
        let spans = [error(trace_id(false), "pay"), span(trace_id(false), "look")];
        let spans = spans.map(|span| traces::with(span, "password", AnyValue::StringValue("hunter2".into())));
        // A daemon that stops refuses requests.
        let _ = sender.export(request("shop", spans.to_vec())).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs `work` while traces come.
async fn under_traffic<T>(daemon: &Daemon, work: impl Future<Output = T>) -> T {
    tokio::select! {
        () = traffic(daemon) => unreachable!("it does not end"),
        result = work => result,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_can_be_simulated_and_explained() {
    let daemon = start().await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("shop.rec");
    let url = daemon.api_url().unwrap();
    let args = [
        "record",
        "--from",
        url,
        "--for",
        "2s",
        "--redact",
        "password",
        "--hash",
        "service.name",
        "--out",
        text(&file),
    ];
    let printed = under_traffic(&daemon, spansieve(&args)).await;
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""), "{printed:?}");
    assert!(printed.stdout.contains("shop.rec: ") && printed.stdout.contains(" requests in 2s, "), "{printed:?}");
    assert!(!directory.path().join("shop.rec.partial").exists());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "only the owner may read spans");
    let plain = zstd::stream::copy_decode(std::fs::File::open(&file).unwrap(), std::io::sink());
    assert!(plain.is_ok(), "the file is one that the zstd command reads");

    let printed = spansieve(&["simulate", "--format", "json", text(&file)]).await;
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let report: Value = serde_json::from_str(&printed.stdout).unwrap();
    let recorded = &report["recorded"];
    assert_eq!(
        (&recorded["redacted"], &recorded["hashed"]),
        (&serde_json::json!(["password"]), &serde_json::json!(["service.name"]))
    );
    let (traces, kept) = (recorded["traces"].as_u64().unwrap(), report["sides"][0]["kept_traces"].as_u64().unwrap());
    assert!(traces >= 10 && kept == traces / 2, "every other trace has an error: {report:#}");
    let service = report["sides"][0]["services"][0]["service"].as_str().unwrap();
    assert!(service.len() == 16 && service.bytes().all(|byte| byte.is_ascii_hexdigit()), "{service}");
    let printed = spansieve(&["explain", "--format", "json", text(&file)]).await;
    assert_eq!((printed.code, printed.stdout.lines().count() as u64), (Some(0), traces));
    assert!(!printed.stdout.contains("hunter2") && !printed.stdout.contains("shop"), "{}", printed.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_and_the_end_of_the_daemon_keep_what_was_recorded() {
    let daemon = start().await;
    let directory = TempDir::new().unwrap();
    let [interrupted, lost] = ["interrupted.rec", "lost.rec"].map(|name| directory.path().join(name));
    let record = |file: &std::path::Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spansieve"));
        command.args(["record", "--from", daemon.api_url().unwrap(), "--for", "1h", "--out", text(file)]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap()
    };
    let wait = |child: std::process::Child| async move {
        tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap()
    };
    let used = daemon.observed().held().used_bytes;
    let child = record(&interrupted);
    let output = under_traffic(&daemon, async {
        is_recording(&daemon, used).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        wait(child).await
    })
    .await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("interrupted.rec: "));

    let child = record(&lost);
    under_traffic(&daemon, async {
        is_recording(&daemon, used).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    })
    .await;
    daemon.stop(Duration::from_secs(8)).await;
    let output = wait(child).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(out.contains("lost.rec: ") && err.starts_with("error: ") && err.lines().count() == 1, "{out}{err}");
    for file in [&interrupted, &lost] {
        let printed = spansieve(&["simulate", text(file)]).await;
        assert!(printed.code == Some(0) && printed.stdout.starts_with("Recorded: "), "{printed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_left_out_at_the_end_are_counted() {
    let daemon = start().await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("large.rec");
    let args = ["record", "--from", daemon.api_url().unwrap(), "--for", "2s", "--out", text(&file)];
    let used = daemon.observed().held().used_bytes;
    let send = async {
        let mut sender = Client::new(&otlp(&daemon));
        is_recording(&daemon, used).await;
        let small = error(trace_id(false), "pay");
        let large = traces::with(small.clone(), "text", AnyValue::StringValue("x".repeat(5 << 20)));
        // Nothing comes after the large requests, and nothing is sent to the client for them.
        for span in [small, large.clone(), large.clone(), large] {
            sender.export(request("shop", vec![span])).await.unwrap();
        }
    };
    let (printed, ()) = tokio::join!(spansieve(&args), send);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    assert!(printed.stdout.contains("large.rec: 1 requests in 2s, "), "{printed:?}");
    assert!(printed.stdout.contains("The daemon left out 3 requests"), "{printed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_has_no_more_bytes_than_it_may_have() {
    let daemon = start().await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("small.rec");
    let url = daemon.api_url().unwrap();
    let args = ["record", "--from", url, "--for", "1h", "--max-bytes", "4KiB", "--out", text(&file)];
    let printed = under_traffic(&daemon, spansieve(&args)).await;
    assert!(printed.code == Some(0) && printed.stdout.contains("the file has the 4KiB of --max-bytes"), "{printed:?}");
    assert!(std::fs::metadata(&file).unwrap().len() <= 4_096);
    assert_eq!(spansieve(&["simulate", text(&file)]).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_are_off_unless_the_configuration_has_them() {
    let off = support::start(&config().replace("recording: {enabled: true}", "recording: {}")).await;
    let url = off.api_url().unwrap();
    let (status, _, body) = get(&format!("{url}/api/recording")).await;
    assert!(status == 404 && body.contains("set api.recording.enabled to true"), "{body}");
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("none.rec");
    let printed = spansieve(&["record", "--from", url, "--out", text(&file)]).await;
    assert!(printed.code == Some(1) && printed.stderr.contains("set api.recording.enabled to true"), "{printed:?}");
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0, "no file is left");

    let token = "auth: {bearer: {tokens: [own-token-0123456789]}}";
    let guarded = support::start(&config().replace("api: {", &format!("api: {{{token}, "))).await;
    let url = guarded.api_url().unwrap();
    assert_eq!(get(&format!("{url}/api/recording")).await.0, 401);
    let printed = spansieve(&["record", "--from", url, "--out", text(&file)]).await;
    assert!(printed.code == Some(1) && printed.stderr.contains("--token-file FILE"), "{printed:?}");
}

#[tokio::test]
async fn the_settings_leave_attributes_out_of_every_recording() {
    let settings = "recording: {enabled: true, redact: [password]";
    let daemon = support::start(&config().replace("recording: {enabled: true", settings)).await;
    let url = format!("{}/api/recording", daemon.api_url().unwrap());
    let mut response = crate::daemon_api::asking::client().get(url).send().await.unwrap();
    let recorded = under_traffic(&daemon, async {
        let mut recorded = Vec::new();
        while !recorded.windows(3).any(|window| window == b"pay") {
            recorded.extend_from_slice(&response.chunk().await.unwrap().unwrap());
        }
        recorded
    })
    .await;
    assert!(!recorded.windows(7).any(|window| window == b"hunter2"));
    let (status, _, body) = get(&format!("{}/api/recording?redakt=a", daemon.api_url().unwrap())).await;
    assert!(status == 400 && body.contains("redakt"), "{body}");
}
