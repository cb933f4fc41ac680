//! The configuration changes while the daemon runs: no span is lost, no error trace is missing, no trace is decided
//! twice, and a file that cannot be used changes nothing.
//!
//! A larger run, with the rate and the number of reloads of an evaluation:
//!
//! ```text
//! SPANSIEVE_RELOADS=100 SPANSIEVE_SPANS_PER_SECOND=20000 cargo test --release --test integration under_load -- --nocapture
//! ```

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::{self, Client, conservation, error, eventually, metric, process, request, span, trace_id};
use opentelemetry_proto::tonic::trace::v1::Span;
use spansieve::config;
use spansieve::daemon::ConfigFile;
use spansieve::otlp::TraceId;
use tokio::sync::mpsc;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

const ERRORS: &str = "    - {name: errors, type: error}\n";
const BASELINE: &str = "    - {name: baseline, type: probabilistic, probabilistic: {sampling_percentage: 5}}\n";
const CHECKOUT: &str =
    "    - {name: checkout, type: ottl_condition, ottl_condition: {span: ['name == \"checkout\"']}}\n";
const RARE: &str = "    - {name: rare, type: rare, rare: {traces_per_minute: 2, key: [name]}}\n";

fn config_with(policies: &[&str]) -> String {
    format!(
        "otlp: {{listen: [\"127.0.0.1:0\"]}}\ntail_sampling:\n  decision_wait: 500ms\n  rescue: {{window: 5s}}\n  \
         policies:\n{}export:\n  endpoint: embedded\n  embedded: {{listen: \"127.0.0.1:0\", max_bytes: 2GiB}}\n  \
         batch: {{max_delay: 100ms}}\nmemory: {{limit: 1GiB}}\n",
        policies.concat()
    )
}

/// Returns the contents that the reloads write, one after the other: good ones with other policies, and bad ones.
fn contents() -> [String; 5] {
    [
        config_with(&[ERRORS, CHECKOUT, BASELINE]),
        "tail_sampling: {policies: [{name: errors, type: eror}]}\n".to_owned(),
        config_with(&[RARE, ERRORS, BASELINE]),
        config_with(&[ERRORS]).replace("decision_wait: 500ms", "decision_wait: 300ms"),
        config_with(&[ERRORS, BASELINE]),
    ]
}

/// Writes a file in the way in which an operator should.
fn write_in_place(path: &Path, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, path).unwrap();
}

/// The senders of a run: error traces and healthy ones, each in two requests.
struct Senders {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Vec<u128>>>,
    traces: Arc<AtomicU64>,
    longest_us: Arc<AtomicU64>,
}

impl Senders {
    fn start(uri: &str, spans_per_second: u64) -> Self {
        const SENDERS: u64 = 4;
        const TRACES: u64 = 10;
        let (stop, traces) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let longest_us = Arc::new(AtomicU64::new(0));
        // Two spans a trace.
        let pause = Duration::from_micros(1_000_000 * SENDERS * 2 * TRACES / spans_per_second);
        let task = |_| {
            let (stop, traces, longest_us) = (Arc::clone(&stop), Arc::clone(&traces), Arc::clone(&longest_us));
            let mut client = Client::new(uri);
            tokio::spawn(async move {
                let mut failed = Vec::new();
                let mut ticks = tokio::time::interval(pause);
                while !stop.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    let ids: Vec<u128> = (0..TRACES).map(|_| trace_id(false)).collect();
                    let second = |&id: &u128| if id == ids[0] { error(id, "cart") } else { span(id, "checkout") };
                    let parts: [Vec<Span>; 2] =
                        [ids.iter().map(|&id| span(id, "cart")).collect(), ids.iter().map(second).collect()];
                    for spans in parts {
                        let begin = Instant::now();
                        client.export(request("shop", spans)).await.expect("every request is taken");
                        longest_us.fetch_max(begin.elapsed().as_micros() as u64, Ordering::Relaxed);
                    }
                    failed.push(ids[0]);
                    traces.fetch_add(TRACES, Ordering::Relaxed);
                }
                failed
            })
        };
        let tasks = (0..SENDERS).map(task).collect();
        Senders { stop, tasks, traces, longest_us }
    }

    /// Stops the senders. Returns the ids of the traces with an error, and the number of all traces.
    async fn stop(self) -> (Vec<u128>, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let mut failed = Vec::new();
        for task in self.tasks {
            failed.extend(task.await.unwrap());
        }
        (failed, self.traces.load(Ordering::Relaxed))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_lose_nothing_and_decide_nothing_twice() {
    let reloads = number("SPANSIEVE_RELOADS", 15);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let first = config_with(&[ERRORS, BASELINE]);
    write_in_place(&path, &first);
    let mut daemon = support::start(&first).await;
    let load = |text: &str| {
        let loaded = config::load(text, &|_| None).map_err(|problems| problems.to_string())?;
        Ok(loaded)
    };
    let (ask, asked) = mpsc::channel(1);
    let file = ConfigFile::loaded(path.clone(), &first, Arc::new(load));
    daemon.follow(file, asked);
    let scrape = Arc::clone(daemon.scrape());
    let outcomes = |outcome: &str| metric(&scrape(), "spansieve_config_reloads_total", &[outcome]);

    let senders = Senders::start(&support::otlp(&daemon), number("SPANSIEVE_SPANS_PER_SECOND", 2_000));
    let begin = Instant::now();
    let (mut good, mut bad) = (0, 0);
    for (text, _) in contents().iter().cycle().zip(0..reloads) {
        write_in_place(&path, text);
        ask.send(()).await.unwrap();
        let is_bad = text.contains("eror");
        (good, bad) = (good + u64::from(!is_bad), bad + u64::from(is_bad));
        eventually("the file is read", || (outcomes("ok"), outcomes("failed")) == (good as f64, bad as f64)).await;
        assert_eq!(metric(&scrape(), "spansieve_config_rejected", &[]), f64::from(u8::from(is_bad)));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (elapsed, longest_us) = (begin.elapsed(), senders.longest_us.load(Ordering::Relaxed));
    let (failed, traces) = senders.stop().await;
    eventually("all is settled", || metric(&scrape(), "spansieve_held_spans", &[]) == 0.0).await;

    let text = scrape();
    let (received, accounted) = conservation(&text);
    println!(
        "{reloads} reloads in {:.1} s, {:.0} spans/s, longest answer {:.1} ms",
        elapsed.as_secs_f64(),
        received / elapsed.as_secs_f64(),
        longest_us as f64 / 1e3
    );
    assert_eq!((received, accounted), ((2 * traces) as f64, (2 * traces) as f64), "{text}");
    // A rescued trace was decided once more, by design: its late spans are evidence.
    let decided = metric(&text, "spansieve_decided_traces_total", &[]);
    let rescued = metric(&text, "spansieve_decided_traces_total", &["trigger=\"rescue\""]);
    assert_eq!(decided - rescued, traces as f64, "{text}");
    for policy in ["errors", "checkout", "rare"] {
        assert!(metric(&text, "spansieve_decided_traces_total", &[policy, "kept"]) > 0.0, "{policy} in {text}");
    }
    let store = support::store(&daemon);
    for id in &failed {
        let spans = store.trace(&TraceId(id.to_be_bytes())).unwrap_or_default();
        assert_eq!(spans.len(), 2, "an error trace is there as a whole");
    }
    assert_eq!(daemon.stop(Duration::from_secs(8)).await, 0);
}

/// The real program with a configuration that is mounted as Kubernetes does it.
struct Mounted {
    folder: tempfile::TempDir,
    child: Child,
    uri: String,
    versions: u32,
}

impl Mounted {
    fn path(&self) -> PathBuf {
        self.folder.path().join("config.yaml")
    }

    /// Mounts another version: `config.yaml` leads to `..data/config.yaml`, and `..data` to the version.
    fn mount(folder: &Path, version: u32, text: &str) {
        let version = folder.join(format!("..{version}"));
        std::fs::create_dir(&version).unwrap();
        std::fs::write(version.join("config.yaml"), text).unwrap();
        let next = folder.join("..next");
        std::os::unix::fs::symlink(version.file_name().unwrap(), &next).unwrap();
        std::fs::rename(next, folder.join("..data")).unwrap();
    }

    fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::mount(folder.path(), 0, text);
        std::os::unix::fs::symlink("..data/config.yaml", folder.path().join("config.yaml")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_spansieve"))
            .args(["run", "--config"])
            .arg(folder.path().join("config.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let uri = lines.map_while(Result::ok).find_map(|line| {
            let (_, uri) = line.split_once("OTEL_EXPORTER_OTLP_ENDPOINT=")?;
            Some(uri.trim().to_owned())
        });
        Mounted { folder, child, uri: uri.expect("an address"), versions: 0 }
    }

    fn change(&mut self, text: &str) {
        self.versions += 1;
        Self::mount(self.folder.path(), self.versions, text);
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    async fn get(&self, path: &str) -> String {
        process::get(&self.uri, path).await.unwrap_or_default()
    }

    async fn eventually(&self, expected: &str, path: &str, condition: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition(&self.get(path).await) {
            assert!(Instant::now() < deadline, "never happened: {expected}: {}", self.get(path).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the program. Returns its log.
    fn end(mut self) -> String {
        self.signal("-TERM");
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(self.child.wait().unwrap().success(), "{log}");
        log
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // An error means that the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_file_of_the_configuration_is_followed() {
    let reloads = |outcome: &'static str, n: f64| {
        move |text: &str| metric(text, "spansieve_config_reloads_total", &[outcome]) == n
    };
    let first = config_with(&[ERRORS, BASELINE]);
    let mut program = Mounted::start(&first);
    program.eventually("it answers", "/metrics", |text| metric(text, "spansieve_config_hash", &[]) > 0.0).await;
    let hash = metric(&program.get("/metrics").await, "spansieve_config_hash", &[]);

    // A mistake: the earlier policies stay in force, and the reason is told.
    program.change("tail_sampling: {policies: [{name: errors, type: eror}]}\n");
    program.eventually("it is refused", "/metrics", reloads("failed", 1.0)).await;
    let text = program.get("/metrics").await;
    assert_eq!(metric(&text, "spansieve_config_rejected", &[]), 1.0);
    assert_eq!(metric(&text, "spansieve_config_hash", &[]), hash);
    let ready = program.get("/readyz").await;
    let (start, rest) = ready.split_once("/config.yaml: ").unwrap_or_else(|| panic!("{ready}"));
    assert!(start.starts_with("ready\nthe configuration on disk is not in force: "), "{ready}");
    assert_eq!(rest, "an error at 1:49; the log says why\n", "its place, and no value of the file");

    // Another policy, and an address that needs a restart.
    let second = config_with(&[ERRORS, CHECKOUT, BASELINE]).replacen("127.0.0.1:0", "127.0.0.1:1", 1);
    program.change(&second);
    program.eventually("it is in force", "/metrics", reloads("ok", 1.0)).await;
    let text = program.get("/metrics").await;
    assert_eq!(metric(&text, "spansieve_config_rejected", &[]), 0.0);
    assert_ne!(metric(&text, "spansieve_config_hash", &[]), hash);
    assert!(text.contains("spansieve_decided_traces_total{policy=\"checkout\""), "{text}");
    assert_eq!(program.get("/readyz").await, "ready\n");
    let mut client = Client::new(&program.uri);
    client.export(request("shop", vec![span(trace_id(false), "checkout")])).await.unwrap();
    let is_kept = |text: &str| metric(text, "spansieve_decided_traces_total", &["checkout", "kept"]) == 1.0;
    program.eventually("the new policy keeps", "/metrics", is_kept).await;

    // SIGHUP reads the file at once, changed or not.
    program.signal("-HUP");
    program.eventually("it is read again", "/metrics", reloads("ok", 2.0)).await;
    std::fs::remove_file(program.path()).unwrap();
    program.signal("-HUP");
    program.eventually("it is missing", "/metrics", reloads("failed", 2.0)).await;

    let log = program.end();
    for expected in [
        "The earlier one stays in force.",
        "unknown policy type `eror`",
        "otlp.listen",
        "need a restart",
        "cannot read",
    ] {
        assert!(log.contains(expected), "{expected} in {log}");
    }
}
