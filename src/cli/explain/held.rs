//! `spansieve explain --from`: traces that a running daemon holds.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;

use super::{Arguments, HELD_BYTES_MAX, parse_trace_id, report};
use crate::api::answers::TraceAnswer;
use crate::cli::OutputFormat;
use crate::cli::client::{self, ClientError, DaemonArgs, DaemonClient};
use crate::cli::{fate, output};
use crate::config::Settings;
use crate::offline::Observer;
use crate::offline::input::{self, Input};
use crate::offline::inspect::{InspectedTrace, Inspector};
use crate::offline::render::TraceView;
use crate::offline::sink_spans::SinkEncoder;
use crate::otlp::TraceId;
use crate::otlp::scan::{Scan, scan};
use crate::sampling::{Policies, PolicyParts, PolicySet};
use crate::terminal::Paint;

/// Returns the traces that the daemon at `from` holds as inputs. Problems go to standard error.
pub(super) fn inputs(from: &str, arguments: &Arguments) -> Option<Vec<Input>> {
    let answers = ask(from, arguments)?;
    let input = |answer: &TraceAnswer| Input::of_request(&answer.fate.trace_id, request(answer)?.to_vec());
    let inputs: Result<Vec<Input>, _> = answers.iter().map(input).collect();
    let mut inputs = inputs.inspect_err(|error| report("error", &error.to_string(), error.help.as_deref())).ok()?;
    input::arrive_together(&mut inputs);
    Some(inputs)
}

/// Shows the traces with the answers of the daemon itself.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let from = arguments.from.as_deref().unwrap_or_default();
    let Some(answers) = ask(from, arguments) else { return ExitCode::FAILURE };
    output::exit_code(show(&answers, arguments.format), ExitCode::SUCCESS)
}

/// Asks the daemon for each trace. Problems go to standard error.
fn ask(from: &str, arguments: &Arguments) -> Option<Vec<TraceAnswer>> {
    let mut ids = Vec::new();
    for argument in &arguments.files {
        match parse_trace_id(&argument.to_string_lossy()) {
            Ok(id) => ids.push(id),
            Err(error) => {
                let fault = format!("{}: {error}", argument.display());
                report("error", &fault, Some("with --from, the arguments are the ids of traces"));
                return None;
            }
        }
    }
    let daemon = DaemonArgs { from: from.to_owned(), token_file: arguments.token_file.clone() };
    client::wait(ask_for(&daemon, &ids))
}

async fn ask_for(daemon: &DaemonArgs, ids: &[TraceId]) -> Result<Vec<TraceAnswer>, ClientError> {
    let client = DaemonClient::new(daemon)?;
    let mut answers = Vec::with_capacity(ids.len());
    for id in ids {
        answers.push(client.document(&format!("/api/traces/{id}")).await?);
    }
    Ok(answers)
}

/// Returns the spans of an answer as an export request.
fn request(answer: &TraceAnswer) -> Result<Bytes, input::InputError> {
    let decoded = STANDARD.decode(&answer.request);
    decoded.map(Bytes::from).map_err(|error| input::InputError {
        name: answer.fate.trace_id.clone(),
        fault: format!("the answer of the daemon is not base64: {error}"),
        help: None,
    })
}

/// Prints the spans of each trace below its fate.
fn show(answers: &[TraceAnswer], format: OutputFormat) -> io::Result<()> {
    let settings = Settings::default();
    let none = PolicySet { policies: &[], shadow: &[], sample_on_first_match: false, counted: None };
    let Ok(policies) = Policies::compile_set(none, None).map(Arc::new) else { return Ok(()) };
    let Ok(parts) = PolicyParts::compile(none, &policies) else { return Ok(()) };
    let tail_sampling = &settings.tail_sampling;
    let view = TraceView { tail_sampling, policies: &policies, parts: &parts, paint: Paint::PLAIN };
    let mut out = io::BufWriter::new(io::stdout().lock());
    for (number, answer) in answers.iter().enumerate() {
        let encoder = SinkEncoder::new(&settings, &policies);
        let traces = inspected(answer, Inspector::new(&policies, &parts, encoder, HELD_BYTES_MAX));
        match format {
            OutputFormat::Text => {
                let gap = if number == 0 { "" } else { "\n" };
                writeln!(out, "{gap}{}  spans", fate::text(&answer.fate, Paint::stdout()))?;
                traces.iter().try_for_each(|trace| write!(out, "{}", view.span_lines(trace)))?;
            }
            OutputFormat::Json => {
                let spans: Vec<_> = traces.iter().flat_map(|trace| view.json_spans(trace)).collect();
                let json = json!({"fate": answer.fate, "spans": spans}).to_string();
                writeln!(out, "{}", output::printable_json(&json))?;
            }
        }
    }
    out.flush()
}

/// Returns the trace of an answer, without decisions.
fn inspected(answer: &TraceAnswer, mut inspector: Inspector<'_>) -> Vec<InspectedTrace> {
    let mut found = Scan::default();
    let body = request(answer).map_err(|error| report("error", &error.to_string(), None)).ok();
    let none = crate::otlp::scan::NoProbe;
    if let Some(body) = body.and_then(|body| scan(body, &none, &mut found).ok()) {
        inspector.accepted(&body, &found, 0);
    }
    inspector.into_traces().0
}
