//! Resident memory as the kernel counts it stays near `memory.limit` at any load, because the memory of bodies is
//! reused.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use spansieve_test_support::sink::{Sink, free_address};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::process::Program;
use crate::support::{self, conservation, request, span};

const LIMIT_MIB: usize = 96;
/// The limit plus the memory that the process may hold beyond it (`docs/overload.md`), and a tenth of the latter for
/// growth between two measurements.
const RESIDENT_MIB_MAX: usize = LIMIT_MIB + 32 + 4;
/// Requests in flight on one connection.
const IN_FLIGHT: usize = 100;
const BODY_BYTES: usize = 300_000;
const LOAD_TIME: Duration = Duration::from_secs(6);

/// A gRPC message of about [`BODY_BYTES`], and the positions of its trace ids.
struct Template {
    message: Vec<u8>,
    places: Vec<usize>,
}

impl Template {
    fn new() -> Self {
        let id = u128::from_be_bytes(*b"a-trace-id-here!");
        let spans = (0..BODY_BYTES / 1_000).map(|_| span(id, &"a long name ".repeat(76))).collect();
        let body = request("shop", spans).encode_to_vec();
        let mut message = BytesMut::new();
        message.put_u8(0);
        message.put_u32(body.len() as u32);
        message.put_slice(&body);
        let places = message.windows(16).enumerate().filter(|(_, part)| *part == id.to_be_bytes());
        Template { places: places.map(|(at, _)| at).collect(), message: message.to_vec() }
    }

    /// Returns the message with spans of a new trace.
    fn stamped(&self) -> Bytes {
        let mut message = self.message.clone();
        let id = support::trace_id(false).to_be_bytes();
        for &at in &self.places {
            message[at..at + 16].copy_from_slice(&id);
        }
        message.into()
    }
}

/// Sends requests on one connection until `stop`, without a pause after a refusal.
async fn flood(
    uri: String,
    in_flight: usize,
    template: Arc<Template>,
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
) {
    let stream = TcpStream::connect(uri.trim_start_matches("http://")).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_frame_size(64 << 10);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let senders = (0..in_flight).map(|_| {
        let (mut sender, uri, template) = (sender.clone(), uri.clone(), Arc::clone(&template));
        let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let uri = format!("{uri}/opentelemetry.proto.collector.trace.v1.TraceService/Export");
                let call = http::Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
                let Ok(answer) = sender.send_request(call.body(Full::new(template.stamped())).unwrap()).await else {
                    return;
                };
                let _ = answer.into_body().collect().await;
                answers.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
}

/// Returns the `RssAnon` of a process in MiB.
fn resident_mib(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() / 1024
}

/// Returns the number of minor page faults of a process so far (`man 5 proc_pid_stat`, field 10).
fn page_faults(pid: u32) -> usize {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(7).unwrap().parse().unwrap()
}

async fn start(sink: &Sink, tail_sampling: &str) -> Program {
    let address = free_address().await;
    let config = format!(
        "
otlp: {{listen: [\"{address}\"]}}
tail_sampling:
  decision_cache: {{sampled_cache_size: 10000, non_sampled_cache_size: 10000}}
  policies: [{{name: errors, type: error}}]
  {tail_sampling}
export: {{endpoint: \"http://{}\", project: p}}
memory: {{limit: {LIMIT_MIB}MiB}}
",
        sink.address
    );
    Program::start(format!("http://{address}"), &config).await
}

/// Running senders, and the number of their answers.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    floods: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(program: &Program, connections: usize, in_flight: usize) -> Self {
        let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let template = Arc::new(Template::new());
        let flood = |_| {
            let (template, stop, answers) = (Arc::clone(&template), Arc::clone(&stop), Arc::clone(&answers));
            tokio::spawn(flood(program.uri.clone(), in_flight, template, stop, answers))
        };
        let floods = (0..connections).map(flood).collect();
        Load { stop, answers, floods }
    }

    fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// Waits until `count` requests are answered.
    async fn answered(&self, count: usize) {
        while self.answers() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for flood in self.floods {
            flood.await.unwrap();
        }
    }
}

/// Floods a daemon on `connections` connections; returns the peak of resident memory in MiB.
async fn peak_mib(connections: usize) -> usize {
    let sink = Sink::start(Duration::ZERO, vec![]).await;
    let program = start(&sink, "decision_wait: 2s").await;
    let load = Load::start(&program, connections, IN_FLIGHT);
    let (start, mut peak_mib) = (Instant::now(), 0);
    while start.elapsed() < LOAD_TIME {
        peak_mib = peak_mib.max(resident_mib(program.id()));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    load.stop().await;
    let is_conserved = |text: &str| {
        let (came, settled) = conservation(text);
        came > 0.0 && came == settled
    };
    program.eventually("the conservation law holds", is_conserved).await;
    peak_mib
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_flat_out_sender_leaves_resident_memory_within_its_bound() {
    let peak = peak_mib(1).await;
    assert!(peak <= RESIDENT_MIB_MAX, "{peak} MiB resident at a limit of {LIMIT_MIB} MiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_flat_out_senders_leave_resident_memory_within_its_bound() {
    let peak = peak_mib(8).await;
    assert!(peak <= RESIDENT_MIB_MAX, "{peak} MiB resident at a limit of {LIMIT_MIB} MiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_reuse_the_memory_of_earlier_bodies() {
    let sink = Sink::start(Duration::ZERO, vec![]).await;
    let program = start(&sink, "decision_wait: 300ms\n  rescue: {window: 0s}").await;
    let load = Load::start(&program, 1, 4);
    load.answered(200).await;
    let (faults_before, answers_before) = (page_faults(program.id()), load.answers());
    load.answered(answers_before + 400).await;
    let pages = (load.answers() - answers_before) * BODY_BYTES / 4096;
    let faults = page_faults(program.id()) - faults_before;
    load.stop().await;
    assert!(2 * faults < pages, "{faults} page faults for {pages} pages of bodies");
}
