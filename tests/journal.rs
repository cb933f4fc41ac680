//! The journal of the real program: kills at random moments, a stop, a corrupt byte, a missing disk, a directory in
//! use.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use spansieve_test_support::sink::{Answer, Sink, free_address};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tonic::Status;

use crate::support::process::{Program, config_file, spansieve};
use crate::support::{Client, conservation, error, metric, request, slow, span, trace_id};

/// Maximum spans of a batch.
const BATCH: usize = 100;
/// Maximum concurrent calls of a project when the process is killed (`docs/delivery.md`).
const CALLS_MAX: usize = 16;
/// Number of traces of each kind in a request.
const TRACES: usize = 5;

/// The journal's directory, the sink's address, and the daemon's OTLP address.
struct Place {
    directory: TempDir,
    sink: SocketAddr,
    otlp: SocketAddr,
}

impl Place {
    async fn new() -> Self {
        Place { directory: TempDir::new().unwrap(), sink: free_address().await, otlp: free_address().await }
    }

    fn journal(&self) -> PathBuf {
        self.directory.path().join("journal")
    }

    fn config(&self) -> String {
        format!(
            "
otlp: {{listen: [\"{}\"]}}
journal: {{directory: {}}}
tail_sampling:
  decision_wait: 500ms
  rescue: {{window: 1s}}
  policies:
    - {{name: errors, type: error}}
    - {{name: slow, type: latency, latency: {{threshold_ms: 1000}}}}
export:
  endpoint: http://{}
  project: p
  batch: {{max_spans: {BATCH}, max_delay: 50ms}}
memory: {{limit: 128MiB}}
",
            self.otlp,
            self.journal().display(),
            self.sink
        )
    }

    async fn start(&self) -> Program {
        Program::start(format!("http://{}", self.otlp), &self.config()).await
    }

    fn sink(&self, script: Vec<Answer>) -> Sink {
        Sink::start_at(self.sink, Duration::ZERO, script)
    }

    fn segments(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.journal()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "segment")).collect();
        files.sort();
        files
    }
}

fn hex(id: u128) -> String {
    format!("{id:032x}")
}

/// Sends a request with traces of one span each. If it was acknowledged, returns the ids of the failed and slow traces,
/// which must be exported.
async fn send(client: &mut Client) -> Option<BTreeSet<String>> {
    let ids: Vec<u128> = (0..3 * TRACES).map(|_| trace_id(false)).collect();
    let (due, others) = ids.split_at(2 * TRACES);
    let spans = due.iter().enumerate().map(|(i, &id)| if i < TRACES { error(id, "failed") } else { slow(id, "slow") });
    let spans = spans.chain(others.iter().map(|&id| span(id, "well"))).collect();
    client.export(request("shop", spans)).await.ok()?;
    Some(due.iter().copied().map(hex).collect())
}

async fn send_many(program: &Program, requests: usize) -> BTreeSet<String> {
    let mut client = Client::new(&program.uri);
    let mut due = BTreeSet::new();
    for _ in 0..requests {
        due.extend(send(&mut client).await.unwrap());
    }
    due
}

fn exported(text: &str) -> f64 {
    metric(text, "spansieve_exported_spans_total", &[])
}

fn recovered(text: &str) -> f64 {
    metric(text, "spansieve_recovered_spans_total", &["journal"])
}

fn is_done(text: &str) -> bool {
    metric(text, "spansieve_held_spans", &[]) == 0.0 && metric(text, "spansieve_journal_unread_bytes", &[]) == 0.0
}

/// Returns the trace ids in the sink, and the number of spans that came more than once.
fn written(sink: &Sink) -> (BTreeSet<String>, usize) {
    let written = sink.written();
    assert!(written.changed.is_empty());
    let ids = written.spans.keys().map(|name| name.split('/').nth(3).unwrap().to_owned()).collect();
    (ids, written.spans.values().map(|(_, count)| count - 1).sum())
}

fn assert_conserved(text: &str) {
    let (came, accounted) = conservation(text);
    assert_eq!(came, accounted, "{text}");
}

#[tokio::test]
async fn every_acknowledged_error_and_slow_trace_survives_kills_at_random_moments() {
    const KILLS: usize = 6;
    let place = Place::new().await;
    let sink = place.sink(Vec::new());
    let mut due = BTreeSet::new();
    for _ in 0..KILLS {
        let program = place.start().await;
        let (sent, stop) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(AtomicBool::new(false)));
        let senders = (0..4).map(|_| {
            let (sent, stop, mut client) = (Arc::clone(&sent), Arc::clone(&stop), Client::new(&program.uri));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let acknowledged = send(&mut client).await;
                    sent.lock().await.extend(acknowledged.unwrap_or_default());
                }
            })
        });
        let senders = senders.collect::<Vec<_>>();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..1_500))).await;
        program.signal("-KILL");
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            sender.await.unwrap();
        }
        due.append(&mut *sent.lock().await);
    }
    let last = place.start().await;
    let text = last.eventually("all is decided and written", is_done).await;
    assert_conserved(&text);
    let (ids, repeated) = written(&sink);
    let missing: Vec<_> = due.difference(&ids).collect();
    assert!(missing.is_empty(), "{} of {} are missing", missing.len(), due.len());
    assert!(due.len() > 100, "too little was sent: {}", due.len());
    assert!(repeated <= KILLS * CALLS_MAX * BATCH, "{repeated} of {} came again", due.len());
    assert_eq!(last.signal("-TERM"), Some(0));
    assert_eq!(place.segments(), [] as [PathBuf; 0], "no segment is left");
}

#[tokio::test]
async fn spans_confirmed_before_a_kill_are_not_exported_again() {
    let place = Place::new().await;
    let sink = place.sink(Vec::new());
    let first = place.start().await;
    let confirmed = send_many(&first, 40).await;
    let all = confirmed.len() as f64;
    first.eventually("all is exported", |text| exported(text) == all).await;
    // The confirmations are noted in the journal within milliseconds. Only healthy spans are still held.
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(sink);
    let away = send_many(&first, 20).await;
    first.signal("-KILL");
    assert_ne!(place.segments(), [] as [PathBuf; 0]);

    let sink = place.sink(Vec::new());
    let second = place.start().await;
    let text = second.eventually("the rest is exported", is_done).await;
    assert_eq!(written(&sink), (away.clone(), 0));
    assert_eq!(exported(&text), away.len() as f64);
    assert!(recovered(&text) >= away.len() as f64);
    assert_conserved(&text);
}

#[tokio::test]
async fn a_trace_stays_kept_after_a_part_of_it_was_confirmed() {
    let place = Place::new().await;
    let sink = place.sink(Vec::new());
    let first = place.start().await;
    let mut client = Client::new(&first.uri);
    let id = trace_id(false);
    client.export(request("shop", vec![error(id, "failed")])).await.unwrap();
    first.eventually("the first part is exported", |text| exported(text) == 1.0).await;
    drop(sink);
    // Nothing in this second part is a reason to keep the trace.
    client.export(request("shop", vec![span(id, "late and well")])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.signal("-KILL");

    let sink = place.sink(Vec::new());
    let second = place.start().await;
    second.eventually("the second part is exported", |text| is_done(text) && exported(text) == 1.0).await;
    assert_eq!(written(&sink), ([hex(id)].into(), 0));
}

#[tokio::test]
async fn the_next_start_exports_the_spans_that_a_stop_could_not() {
    let place = Place::new().await;
    let first = place.start().await;
    let due = send_many(&first, 20).await;
    assert_eq!(first.signal("-TERM"), Some(0), "the sink is away, and nothing is lost");

    let sink = place.sink(Vec::new());
    let second = place.start().await;
    let text = second.eventually("all is exported", is_done).await;
    assert_eq!(recovered(&text), due.len() as f64, "sampled out spans are not recovered");
    assert_eq!(written(&sink), (due, 0));
    assert_conserved(&text);
    assert_eq!(second.signal("-TERM"), Some(0));
    assert_eq!(place.segments(), [] as [PathBuf; 0]);
}

/// Sends failed traces of some kilobytes until a request is refused or `enough` are acknowledged. Returns the ids of
/// the acknowledged traces, and the refusal.
async fn fill(program: &Program, enough: usize) -> (BTreeSet<String>, Option<Status>) {
    let (mut client, mut due) = (Client::new(&program.uri), BTreeSet::new());
    let text = "failed ".repeat(700);
    while due.len() < enough {
        let ids: Vec<u128> = (0..BATCH).map(|_| trace_id(false)).collect();
        let spans = ids.iter().map(|&id| error(id, &text)).collect();
        match client.export(request("shop", spans)).await {
            Ok(_) => due.extend(ids.into_iter().map(hex)),
            Err(status) => return (due, Some(status)),
        }
    }
    (due, None)
}

#[tokio::test]
async fn a_full_journal_refuses_requests_until_the_sink_takes_its_spans() {
    let place = Place::new().await;
    let config = place.config().replace("journal: {", "journal: {max_bytes: 64MiB, ").replace("128MiB", "512MiB");
    let program = Program::start(format!("http://{}", place.otlp), &config).await;
    let (due, refusal) = fill(&program, usize::MAX).await;
    let refusal = refusal.unwrap();
    assert_eq!(refusal.code(), tonic::Code::ResourceExhausted);
    assert!(!refusal.details().is_empty(), "the refusal says when to retry");
    let files: u64 = place.segments().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!((60 << 20..64 << 20).contains(&files), "{files} bytes");

    let sink = place.sink(Vec::new());
    let text = program.eventually("all is exported", is_done).await;
    assert_conserved(&text);
    assert_eq!(written(&sink), (due, 0));
    assert_eq!(fill(&program, BATCH).await.1.map(|status| status.code()), None, "there is room again");
}

#[tokio::test]
async fn with_a_spool_an_outage_of_the_sink_does_not_fill_the_journal() {
    let place = Place::new().await;
    let spool = place.directory.path().join("spool");
    let spool = format!("project: p\n  spool: {{directory: {}}}", spool.display());
    let config = place.config().replace("journal: {", "journal: {max_bytes: 64MiB, ").replace("128MiB", "512MiB");
    let config = config.replace("project: p", &spool);
    let program = Program::start(format!("http://{}", place.otlp), &config).await;
    let (mut due, _) = fill(&program, 12_000).await;
    program.eventually("the disk has them", |text| metric(text, "spansieve_held_spans", &["spooled"]) > 0.0).await;
    while due.len() < 30_000 {
        due.extend(fill(&program, 1_000).await.0);
    }
    program.signal("-KILL");

    let sink = place.sink(Vec::new());
    let program = Program::start(format!("http://{}", place.otlp), &config).await;
    let text = program.eventually("all is exported", is_done).await;
    assert_conserved(&text);
    let (ids, repeated) = written(&sink);
    assert_eq!(ids, due);
    assert!(repeated <= CALLS_MAX * BATCH, "{repeated} came again");
}

#[tokio::test]
async fn a_request_too_large_for_memory_stays_in_the_journal_and_delays_no_other() {
    let place = Place::new().await;
    let first = place.start().await;
    let id = trace_id(false);
    let mut client = Client::new(&first.uri);
    client.export(request("shop", vec![error(id, &"failed ".repeat(1 << 20))])).await.unwrap();
    first.signal("-KILL");

    let sink = place.sink(Vec::new());
    let small = "memory: {limit: 12MiB}";
    let config =
        place.config().replace("memory: {limit: 128MiB}", small).replace("otlp: {", "otlp: {max_request_bytes: 1MiB, ");
    let caches = "tail_sampling:\n  decision_cache: {sampled_cache_size: 10000, non_sampled_cache_size: 10000}";
    let config = config.replace("tail_sampling:", caches);
    let second = Program::start(format!("http://{}", place.otlp), &config).await;
    let due = send_many(&second, 3).await;
    let text = second.eventually("the others are exported", |text| exported(text) == due.len() as f64).await;
    assert_eq!(metric(&text, "spansieve_journal_faults_total", &["too_large"]), 1.0);
    assert_eq!(metric(&text, "spansieve_decided_traces_total", &["pressure"]), 0.0);
    let text = second.eventually("nothing is left to be read", is_done).await;
    assert_conserved(&text);
    assert_eq!(second.signal("-TERM"), Some(0));
    assert_eq!(place.segments().len(), 1, "the segment with the large request is left");

    let third = place.start().await;
    third.eventually("it is exported", |text| exported(text) == 1.0 && is_done(text)).await;
    let (ids, repeated) = written(&sink);
    assert_eq!((ids.contains(&hex(id)), ids.len(), repeated), (true, due.len() + 1, 0));
}

#[tokio::test]
async fn a_journal_whose_directory_was_removed_acknowledges_nothing() {
    let place = Place::new().await;
    let _sink = place.sink(Vec::new());
    let program = place.start().await;
    send_many(&program, 1).await;
    fs::remove_dir_all(place.journal()).unwrap();
    let mut client = Client::new(&program.uri);
    assert_eq!(send(&mut client).await, None);
    assert_eq!(program.get("/readyz").await, None);
    assert!(program.get("/livez").await.is_some());
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_segment_does_not_stop_the_program() {
    let place = Place::new().await;
    let _sink = place.sink(Vec::new());
    fs::create_dir(place.journal()).unwrap();
    for number in [1, u64::MAX] {
        let pipe = place.journal().join(format!("journal-{number:020}.segment"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    }
    let program = place.start().await;
    send_many(&program, 1).await;
    program.eventually("all is written", is_done).await;
    assert_eq!(program.signal("-TERM"), Some(0));
}

#[tokio::test]
async fn spans_that_the_sink_refuses_for_good_are_forgotten() {
    let place = Place::new().await;
    let _sink = place.sink(vec![Answer::Say(Status::invalid_argument("no")); 1_000]);
    let first = place.start().await;
    let due = send_many(&first, 1).await;
    let dropped = |text: &str| metric(text, "spansieve_dropped_spans_total", &["refused"]);
    first.eventually("all is refused", |text| dropped(text) == due.len() as f64 && is_done(text)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.signal("-KILL");
    let second = place.start().await;
    let text = second.eventually("all is read back", is_done).await;
    assert_eq!((recovered(&text), dropped(&text)), (0.0, 0.0));
}

#[tokio::test]
async fn a_corrupt_byte_loses_one_request_and_is_counted() {
    let place = Place::new().await;
    let first = place.start().await;
    let due = send_many(&first, 3).await;
    first.signal("-KILL");
    let path = place.segments().remove(0);
    let mut bytes = fs::read(&path).unwrap();
    // This byte is in the body of the first request, behind the headers of the segment and of the record.
    bytes[60] ^= 1;
    fs::write(&path, bytes).unwrap();

    let sink = place.sink(Vec::new());
    let second = place.start().await;
    let text = second.eventually("the others are exported", is_done).await;
    assert_eq!(metric(&text, "spansieve_journal_faults_total", &["corrupt"]), 1.0);
    let (ids, _) = written(&sink);
    assert_eq!((ids.is_subset(&due), ids.len()), (true, due.len() * 2 / 3));
    assert_conserved(&text);
}

#[tokio::test]
async fn while_the_disk_is_away_requests_are_refused_and_readiness_is_red() {
    let place = Place::new().await;
    let _sink = place.sink(Vec::new());
    let program = place.start().await;
    let away = place.directory.path().join("away");
    assert!(program.get("/readyz").await.is_some());
    fs::rename(place.journal(), &away).unwrap();
    let mut client = Client::new(&program.uri);
    let status = client.export(request("shop", vec![error(trace_id(false), "failed")])).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(!status.details().is_empty(), "the refusal says when to retry");
    assert_eq!(program.get("/readyz").await, None);
    assert!(program.get("/livez").await.is_some());
    let text = program.scrape().await.unwrap();
    assert_eq!(metric(&text, "spansieve_received_spans_total", &[]), 0.0);
    assert_eq!(metric(&text, "spansieve_requests_total", &["\"journal\""]), 1.0);
    fs::rename(&away, place.journal()).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while program.get("/readyz").await.is_none() {
        assert!(tokio::time::Instant::now() < deadline, "the program did not become ready again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.export(request("shop", vec![error(trace_id(false), "failed")])).await.unwrap();
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_ends_the_start_and_names_the_key() {
    let place = Place::new().await;
    let _running = place.start().await;
    let other = Place { otlp: free_address().await, ..Place::new().await };
    fs::write(other.journal(), "a file").unwrap();
    let in_use = place.config().replace(&place.otlp.to_string(), &other.otlp.to_string());
    for (config, reason) in [(in_use, "in use by another process"), (other.config(), "cannot be used")] {
        let output = spansieve(&config_file(&config)).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("journal.directory") && text.contains(reason), "{text}");
    }
}
