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
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep, timeout};

use self::file::{FileError, PartialFile};
use self::writer::{Piece, Recorder, WriterError, Written};
use super::client::{ClientError, DaemonArgs, DaemonClient};
use crate::api::recordings::REMARK_DELAY_MAX;
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
1 if the recording is not what was asked for, or 2 if an argument is wrong.";

/// The time without a byte after which the daemon is taken to be gone. It sends a sign of life every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Pieces of the answer that wait for the disk. They are some tens of KiB each.
const PIECES_MAX: usize = 16;
/// The time to read on after the end: the daemon may still say how many requests it left out before.
const LAST_REMARK_WAIT: Duration = REMARK_DELAY_MAX.saturating_add(Duration::from_millis(250));
/// The time for which nothing is said about a disk that is slow.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

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

/// The end of a recording, and its time.
struct Ended {
    end: End,
    at: Instant,
}

impl Ended {
    fn now(end: End) -> Self {
        Ended { end, at: Instant::now() }
    }
}

/// Records.
#[must_use]
pub fn run(args: &RecordArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(record(args)).map_err(|error| error.to_string());
            // A writer that waits for the disk must not hold up the end.
            runtime.shutdown_background();
            result
        }
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
    let (partial, bytes_max) = (file.partial().to_owned(), args.max_bytes as u64);
    let mut writing =
        tokio::task::spawn_blocking(move || Recorder::new(file, bytes_max, begin.into_std()).write(received));
    let (ended, written) = tokio::select! {
        ended = feed(args.duration, &daemon, response, pieces, &mut signals) => {
            (ended, finished(&mut writing, partial, &mut signals).await)
        }
        // The writer ends by itself only when the file is full or cannot be written.
        written = &mut writing => (Ended::now(End::Bytes), result_of(written)),
    };
    conclude(args, ended.end, &daemon, written, ended.at - begin)
}

type WriterResult = Result<Written, WriterError>;

fn result_of(written: Result<WriterResult, JoinError>) -> WriterResult {
    written.unwrap_or_else(|error| Err(WriterError::Ended(error.to_string())))
}

/// Waits until the file is whole, or until the operator does not wait any more.
async fn finished(writing: &mut JoinHandle<WriterResult>, partial: PathBuf, signals: &mut Signals) -> WriterResult {
    let mut hint = std::pin::pin!(sleep(DISK_PATIENCE));
    let mut is_hinted = false;
    loop {
        tokio::select! {
            written = &mut *writing => return result_of(written),
            () = signals.received() => return Err(WriterError::Abandoned { path: partial }),
            () = &mut hint, if !is_hinted => {
                is_hinted = true;
                // If standard error is closed, there is no reader to tell.
                let _ = writeln!(io::stderr(), "The disk has not taken all of the recording yet; Ctrl-C gives up.");
            }
        }
    }
}

/// Passes the answer on, until the recording has to end. Then waits for the last remark of the daemon.
async fn feed(
    duration: Duration,
    daemon: &DaemonClient,
    mut response: Response,
    pieces: mpsc::Sender<Piece>,
    signals: &mut Signals,
) -> Ended {
    let end = tokio::select! {
        error = pass_on(daemon, &mut response, &pieces) => End::Lost(error),
        () = sleep(duration) => End::Time,
        () = signals.received() => End::Signal,
    };
    let ended = Ended::now(end);
    if !matches!(ended.end, End::Lost(_)) {
        let rest = async {
            if pieces.send(Piece::Over).await.is_ok() {
                pass_on(daemon, &mut response, &pieces).await;
            }
        };
        tokio::select! {
            () = rest => {}
            () = sleep(LAST_REMARK_WAIT) => {}
            () = signals.received() => {}
        }
    }
    ended
}

/// Passes the answer on until it ends. No piece is lost if the future is dropped.
async fn pass_on(daemon: &DaemonClient, response: &mut Response, pieces: &mpsc::Sender<Piece>) -> ClientError {
    loop {
        // If the disk takes nothing, nothing more is read.
        let Ok(place) = pieces.reserve().await else {
            // The writer has ended, and says why.
            return std::future::pending().await;
        };
        match timeout(SILENCE_MAX, response.chunk()).await {
            Err(_) => return daemon.silent(SILENCE_MAX),
            Ok(Err(error)) => return daemon.unreachable(error),
            Ok(Ok(None)) => return daemon.ended(),
            Ok(Ok(Some(piece))) => place.send(Piece::Bytes(piece)),
        }
    }
}

/// Says what was recorded.
fn conclude(
    args: &RecordArgs,
    end: End,
    daemon: &DaemonClient,
    written: WriterResult,
    duration: Duration,
) -> Result<(), RecordError> {
    let written = match (written, end) {
        (Err(WriterError::Nothing), End::Lost(error)) => return Err(error.into()),
        (Err(WriterError::Foreign(what)), _) => return Err(daemon.foreign(what).into()),
        (Err(error), _) => return Err(error.into()),
        (Ok(written), End::Lost(error)) => {
            say(&summary(args, &written, duration));
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
    say(&summary(args, &written, duration));
    Ok(())
}

fn summary(args: &RecordArgs, written: &Written, duration: Duration) -> String {
    let Written { requests, left_out, received_bytes, file_bytes } = *written;
    let seconds = Duration::from_secs(duration.as_secs_f64().round() as u64);
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

#[cfg(test)]
mod tests;
