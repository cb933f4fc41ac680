//! `spansieve record`: a recording of what a running daemon receives.

mod file;
mod writer;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use form_urlencoded::Serializer;
use reqwest::Response;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use self::file::{FileError, PartialFile};
use self::writer::{Recorder, WriterError, Written};
use super::client::{ClientError, DaemonArgs, DaemonClient};
use crate::config;
use crate::receiver::RECORDING;
use crate::settings::units::{display_bytes, display_duration, grouped};

const EXAMPLES: &str = "\
Examples:
  spansieve record --from http://127.0.0.1:8090 --for 60s --out shop.rec
  spansieve record --from http://127.0.0.1:8090 --max-bytes 1GiB --for 24h --out day.rec
  spansieve record --from https://spansieve.internal --token-file /secrets/token --out shop.rec \\
      --redact http.request.header.cookie --hash enduser.id
  spansieve simulate --config new.yaml --against config.yaml shop.rec

The daemon lets clients record if its configuration has `api: {listen: \"127.0.0.1:8090\", recording: {enabled: true}}`.
A recording ends after the time, at the number of bytes, or with Ctrl-C; what came until then is kept. The exit code is 0,
or 1 if the recording is not what was asked for.";

/// The time without a byte after which the daemon is taken to be gone. It sends a sign of life every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Pieces of the answer that wait for the disk. They are some tens of KiB each.
const PIECES_MAX: usize = 16;

/// The arguments of `record`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct RecordArgs {
    /// The daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The time to record for
    #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = config::parse_duration)]
    pub duration: Duration,
    /// The most bytes of the file, which is compressed
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = config::parse_size)]
    pub max_bytes: usize,
    /// Leave out the attribute with this key, wherever it stands; can be repeated
    #[arg(long, value_name = "KEY")]
    pub redact: Vec<String>,
    /// Record only a hash of the attribute with this key; can be repeated
    #[arg(long, value_name = "KEY")]
    pub hash: Vec<String>,
}

/// The reason why a recording is not what was asked for.
#[derive(Debug, Error)]
enum RecordError {
    /// The daemon cannot be asked, or its answer ended.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The file cannot be made.
    #[error(transparent)]
    File(#[from] FileError),
    /// The recording cannot be written, or is not one.
    #[error(transparent)]
    Writer(#[from] WriterError),
    /// The operator ended it too early.
    #[error("nothing was recorded: the daemon had not answered yet")]
    Interrupted,
}

/// The signals that end a recording. They are listened to before there is a file, which would be left behind.
struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Signals {
    fn listen() -> Self {
        let listen = |kind| signal(kind).ok();
        Signals { interrupt: listen(SignalKind::interrupt()), terminate: listen(SignalKind::terminate()) }
    }

    async fn received(&mut self) {
        tokio::select! {
            () = received(&mut self.interrupt) => {}
            () = received(&mut self.terminate) => {}
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

/// The reason why a recording ended.
enum End {
    /// The time is over.
    Time,
    /// The file has as many bytes as it may have.
    Bytes,
    /// The operator ended it.
    Signal,
    /// The daemon or the connection ended it.
    Lost(ClientError),
}

/// Records.
#[must_use]
pub fn run(args: &RecordArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(record(args)).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, there is no reader to tell.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn record(args: &RecordArgs) -> Result<(), RecordError> {
    let daemon = DaemonClient::new(&args.daemon)?;
    let mut signals = Signals::listen();
    let file = PartialFile::create(&args.out)?;
    let path = path(args);
    let response = tokio::select! {
        response = daemon.open_as(&path, RECORDING) => response?,
        () = signals.received() => return Err(RecordError::Interrupted),
    };
    let begin = Instant::now();
    let (pieces, received) = mpsc::channel(PIECES_MAX);
    let recorder = Recorder::new(file, args.max_bytes as u64, begin.into_std());
    let mut writing = tokio::task::spawn_blocking(move || recorder.write(received));
    let (end, written) = tokio::select! {
        end = feed(args, &daemon, response, pieces, &mut signals) => (end, writing.await),
        // The writer ends by itself only when the file is full or cannot be written.
        written = &mut writing => (End::Bytes, written),
    };
    let written = written.unwrap_or_else(|error| Err(WriterError::Ended(error.to_string())));
    conclude(args, end, &daemon, written, begin)
}

/// Passes the answer on, until the recording has to end.
async fn feed(
    args: &RecordArgs,
    daemon: &DaemonClient,
    mut response: Response,
    pieces: mpsc::Sender<bytes::Bytes>,
    signals: &mut Signals,
) -> End {
    let mut time = std::pin::pin!(sleep(args.duration));
    loop {
        let piece = tokio::select! {
            piece = timeout(SILENCE_MAX, response.chunk()) => piece,
            () = &mut time => return End::Time,
            () = signals.received() => return End::Signal,
        };
        match piece {
            Err(_) => return End::Lost(daemon.silent(SILENCE_MAX)),
            Ok(Err(error)) => return End::Lost(daemon.unreachable(error)),
            Ok(Ok(None)) => return End::Lost(daemon.ended()),
            Ok(Ok(Some(piece))) => {
                if pieces.send(piece).await.is_err() {
                    // The writer has ended, and says why.
                    return std::future::pending().await;
                }
            }
        }
    }
}

/// Says what was recorded.
fn conclude(
    args: &RecordArgs,
    end: End,
    daemon: &DaemonClient,
    written: Result<Written, WriterError>,
    begin: Instant,
) -> Result<(), RecordError> {
    let written = match (written, end) {
        (Err(WriterError::Nothing), End::Lost(error)) => return Err(error.into()),
        (Err(WriterError::Foreign(what)), _) => return Err(daemon.foreign(what).into()),
        (Err(error), _) => return Err(error.into()),
        (Ok(written), End::Lost(error)) => {
            say(&summary(args, &written, begin));
            return Err(error.into());
        }
        (Ok(written), end) => {
            if matches!(end, End::Bytes) {
                say(&format!(
                    "The recording ended early: the file has the {} of --max-bytes.\n",
                    display_bytes(args.max_bytes as u64)
                ));
            }
            written
        }
    };
    say(&summary(args, &written, begin));
    Ok(())
}

fn summary(args: &RecordArgs, written: &Written, begin: Instant) -> String {
    let Written { requests, left_out, received_bytes, file_bytes } = *written;
    let seconds = Duration::from_secs(begin.elapsed().as_secs_f64().round() as u64);
    let left_out = match left_out {
        0 => String::new(),
        left_out => format!(
            "The daemon left out {} requests: it or the way to here was too busy, or they were too large.\n",
            grouped(left_out)
        ),
    };
    format!(
        "{}: {} requests in {}, {:.1} MiB ({:.1} MiB compressed)\n{left_out}",
        args.out.display(),
        grouped(requests),
        display_duration(seconds),
        received_bytes as f64 / f64::from(1 << 20),
        file_bytes as f64 / f64::from(1 << 20),
    )
}

fn say(text: &str) {
    // If standard output is closed, there is no reader to tell.
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Returns the path with the keys of the arguments.
fn path(args: &RecordArgs) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(args.redact.iter().map(|key| ("redact", key)));
    query.extend_pairs(args.hash.iter().map(|key| ("hash", key)));
    let query = query.finish();
    if query.is_empty() { "/api/recording".to_owned() } else { format!("/api/recording?{query}") }
}
