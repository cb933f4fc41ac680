//! `spansieve explain`: what the daemon would do with the traces in files, or with those that a running daemon holds, and
//! why.

mod held;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::output;
use super::progress::Progress;
use super::requests::{self, Requests};
use super::validate::{self, EXIT_CONFIG};
use super::{Config, OutputFormat};
use crate::config::Settings;
use crate::daemon::memory;
use crate::offline::inspect::{InspectedTrace, Inspector};
use crate::offline::render::TraceView;
use crate::offline::sink_spans::SinkEncoder;
use crate::offline::{Replay, ReplaySettings};
use crate::otlp::TraceId;
use crate::sampling::{Policies, PolicyParts};
use crate::settings::diagnostic::printable;
use crate::terminal::Paint;

/// The memory that the explained traces may take. The other traces of a larger recording are decided, but not shown.
const HELD_BYTES_MAX: usize = 256 << 20;

/// The memory budget if `memory.limit` is a percentage and the memory of this machine is unknown.
const LIMIT_BYTES: usize = 512 << 20;

const EXAMPLES: &str = "\
Examples:
  spansieve explain --config config.yaml trace.json          OTLP in JSON: one request, or one in each line
  spansieve explain request.pb                               OTLP in protobuf, with ./config.yaml
  spansieve explain --trace 4bf92f3577b34da6a3ce929d0e0e4736 recording/
                                                             one trace of a recording
  curl -s -H 'Accept: application/protobuf' http://tempo:3200/api/traces/ID | spansieve explain -
                                                             a trace that Grafana Tempo has
  spansieve explain --from http://127.0.0.1:8090 TRACE_ID    a trace that a running daemon holds, with its own answers
  spansieve explain --from http://127.0.0.1:8090 --config new.yaml TRACE_ID
                                                             the same with another configuration

The traces go through the code that the daemon runs, all spans of a file at once, at the time of the spans: a policy whose
`until` was over by then does not count. The exit code is 0, 1 if a file or a trace cannot be read, 2 if an argument is
wrong, and 78 if the configuration cannot be used.";

/// The arguments of `explain`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Files with traces: OTLP in JSON or protobuf, also with gzip or zstd, or recordings; `-` is standard input. With
    /// --from: the ids of traces
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Explain traces that a running daemon holds: the URL of its API (api.listen), such as http://127.0.0.1:8090. Without
    /// --config, its own answers are shown
    #[arg(long, value_name = "URL", conflicts_with = "traces")]
    from: Option<String>,
    /// With --from: a file with the token that the daemon asks for; - is standard input
    #[arg(long, value_name = "FILE", requires = "from")]
    token_file: Option<PathBuf>,
    /// The configuration file.
    #[command(flatten)]
    config: Config,
    /// Only this trace, by its id in hexadecimal digits; can be repeated
    #[arg(long = "trace", value_name = "TRACE_ID", value_parser = parse_trace_id)]
    traces: Vec<TraceId>,
    /// The form of the output
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

fn parse_trace_id(text: &str) -> Result<TraceId, String> {
    let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
    number.map(|id| TraceId(id.to_be_bytes())).ok_or_else(|| "a trace id has 32 hexadecimal digits".to_owned())
}

/// Explains the traces in the files, or those that a daemon holds.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    if arguments.from.is_some() && arguments.config.config.is_none() {
        return held::run(arguments);
    }
    let Some(loaded) = validate::load(&arguments.config.source(), arguments.format.into()) else {
        return ExitCode::from(EXIT_CONFIG);
    };
    let requests = match &arguments.from {
        Some(from) => held::inputs(from, arguments).and_then(requests::of),
        None => requests::open(&arguments.files),
    };
    let Some(requests) = requests else { return ExitCode::FAILURE };
    match explain(arguments, requests, &loaded.settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => output::exit_code(Err(error), ExitCode::SUCCESS),
    }
}

/// Explains the traces. Returns false if something could not be read.
fn explain(arguments: &Arguments, mut requests: Requests, settings: &Settings) -> io::Result<bool> {
    let tail_sampling = &settings.tail_sampling;
    let Ok(policies) = Policies::compile_set(tail_sampling.policy_set(), None).map(Arc::new) else {
        // `validate::load` has compiled the same policies.
        return Ok(false);
    };
    let Ok(parts) = PolicyParts::compile(tail_sampling.policy_set(), &policies) else { return Ok(false) };
    let encoder = SinkEncoder::new(settings, &policies);
    let mut inspector = Inspector::new(&policies, &parts, encoder, HELD_BYTES_MAX);
    if !arguments.traces.is_empty() {
        inspector = inspector.of(arguments.traces.iter().copied().collect());
    }
    let limit_bytes = memory::limit_bytes(settings.memory.limit).unwrap_or(LIMIT_BYTES);
    let replay = ReplaySettings { limit_bytes, sweep_ms: 0, seed: 0, with_answers: true };
    let replay = Replay::new(tail_sampling, Arc::clone(&policies), replay);
    let is_read = play(&mut requests, replay, &mut inspector);
    let (traces, left_out) = inspector.into_traces();
    if left_out > 0 {
        let fault = format!("{left_out} spans are not shown: their traces take more than {} MiB", HELD_BYTES_MAX >> 20);
        report("warning", &fault, Some("name the traces to explain, with --trace"));
    }
    let view = TraceView { tail_sampling, policies: &policies, parts: &parts, paint: Paint::stdout() };
    print(&view, arguments.format, &traces)?;
    Ok(is_read && is_found(&arguments.traces, &traces))
}

/// Plays all requests. Returns false if something could not be read or taken in.
fn play(requests: &mut Requests, mut replay: Replay, inspector: &mut Inspector<'_>) -> bool {
    let (mut is_read, mut played, progress) = (true, 0, Progress::begin());
    while let Some(request) = requests.next() {
        let refusal = match request {
            Ok(request) => {
                played += 1;
                let taken = replay.take(request, inspector);
                taken.err().map(|error| (format!("a request is not taken in: {error}"), None))
            }
            Err(error) => Some((error.to_string(), error.help)),
        };
        if let Some((refusal, help)) = refusal {
            is_read = false;
            progress.clear();
            report("error", &refusal, help.as_deref());
        }
        progress.show(|| requests.progress("reading", played));
    }
    replay.finish(inspector);
    progress.clear();
    requests.report_faults();
    is_read
}

/// Reports the traces that were asked for and did not come. Returns true if there are none.
fn is_found(wanted: &[TraceId], traces: &[InspectedTrace]) -> bool {
    let missing = wanted.iter().filter(|id| !traces.iter().any(|trace| trace.id == **id));
    let missing: Vec<String> = missing.map(ToString::to_string).collect();
    for id in &missing {
        report("error", &format!("no span of the trace {id} is in the files"), None);
    }
    missing.is_empty()
}

fn print(view: &TraceView<'_>, format: OutputFormat, traces: &[InspectedTrace]) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match format {
        OutputFormat::Text => {
            for (number, trace) in traces.iter().enumerate() {
                let gap = if number == 0 { "" } else { "\n" };
                write!(out, "{gap}{}", view.text(trace))?;
            }
            if view.tail_sampling.dry_run && !traces.is_empty() {
                writeln!(out, "\ndry run: every span is written, whatever the verdict")?;
            }
        }
        // One line for each trace, so that a long output can be read piece by piece.
        OutputFormat::Json => traces.iter().try_for_each(|trace| {
            view.write_json(trace, &mut out)?;
            out.write_all(b"\n")
        })?,
    }
    out.flush()
}

/// Writes a problem to standard error. It may quote a file.
pub(super) fn report(severity: &str, fault: &str, help: Option<&str>) {
    let fault: String = fault.chars().map(printable).collect();
    let help = help.map_or(String::new(), |help| format!("  = help: {help}\n"));
    // If standard error is closed, there is no reader to tell.
    let _ = write!(io::stderr(), "{severity}: {fault}\n{help}");
}
