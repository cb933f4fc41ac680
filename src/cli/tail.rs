//! `spansieve tail`: the stream of decisions of a running daemon.

use std::process::ExitCode;
use std::time::Duration;

use form_urlencoded::Serializer;

use super::client::{self, ClientError, DaemonArgs, DaemonClient, style};
use super::output::{self, printable_json};
use super::validate::Format;
use crate::api::answers::{DecisionAnswer, LeftOut};
use crate::settings::diagnostic::printable_text;
use crate::terminal::Paint;

const EXAMPLES: &str = "\
Examples:
  spansieve tail --from http://127.0.0.1:8090                               every decision, until Ctrl-C
  spansieve tail --from http://127.0.0.1:8090 --verdict kept --policy errors --policy slow
  spansieve tail --from http://127.0.0.1:8090 --service checkout --count 10
  spansieve tail --from http://127.0.0.1:8090 --format json | jq -r .trace_id

A listener gets at most 1,000 decisions a second. The stream says how many it left out; a filter makes them fewer.";

/// The time without a byte after which the daemon is taken to be gone. It sends an empty line every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// The most bytes of a line; a decision has less than two thousand.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The arguments of `tail`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TailArgs {
    /// The daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Only decisions of this policy; can be repeated
    #[arg(long = "policy", value_name = "NAME")]
    pub policies: Vec<String>,
    /// Only traces with spans of this service; can be repeated
    #[arg(long = "service", value_name = "NAME")]
    pub services: Vec<String>,
    /// Only this verdict
    #[arg(long, value_enum, value_name = "VERDICT")]
    pub verdict: Option<VerdictArg>,
    /// End after this many decisions
    #[arg(long, value_name = "NUMBER")]
    pub count: Option<u64>,
    /// The form of the output; json is one document a line
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
}

/// A verdict to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum VerdictArg {
    /// Kept traces
    Kept,
    /// Dropped traces
    Dropped,
}

/// Prints decisions.
#[must_use]
pub fn run(args: &TailArgs) -> ExitCode {
    client::run(follow(args))
}

async fn follow(args: &TailArgs) -> Result<(), ClientError> {
    let daemon = DaemonClient::new(&args.daemon)?;
    let mut response = daemon.open(&path(args)).await?;
    let mut printer = Printer { format: args.format, paint: Paint::stdout(), left: args.count };
    let mut rest = Vec::new();
    loop {
        let chunk = tokio::time::timeout(SILENCE_MAX, response.chunk()).await;
        let chunk = chunk.map_err(|_| daemon.silent(SILENCE_MAX))?.map_err(|error| daemon.unreachable(error))?;
        let Some(chunk) = chunk else { return Err(daemon.ended()) };
        for part in chunk.split_inclusive(|&byte| byte == b'\n') {
            rest.extend_from_slice(part);
            if rest.len() > LINE_BYTES_MAX {
                return Err(daemon.foreign(format!("a line has more than {LINE_BYTES_MAX} bytes")));
            }
            if rest.ends_with(b"\n") {
                let line = printer.line(&rest);
                let line = line.map_err(|error| daemon.foreign(format!("a line has another form ({error})")))?;
                output::write(&line)?;
                if printer.left == Some(0) {
                    return Ok(());
                }
                rest.clear();
            }
        }
    }
}

/// Returns the path with the filter of the arguments.
fn path(args: &TailArgs) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(args.policies.iter().map(|policy| ("policy", policy)));
    query.extend_pairs(args.services.iter().map(|service| ("service", service)));
    let verdict = args.verdict.map(|verdict| match verdict {
        VerdictArg::Kept => "kept",
        VerdictArg::Dropped => "dropped",
    });
    query.extend_pairs(verdict.map(|verdict| ("verdict", verdict)));
    let query = query.finish();
    if query.is_empty() { "/api/decisions".to_owned() } else { format!("/api/decisions?{query}") }
}

struct Printer {
    format: Format,
    paint: Paint,
    /// Decisions that are still to be printed, if they are limited.
    left: Option<u64>,
}

impl Printer {
    /// Returns what is printed for a line of the stream, and counts it if it is a decision.
    fn line(&mut self, line: &[u8]) -> Result<String, serde_json::Error> {
        if line == b"\n" {
            return Ok(String::new());
        }
        if let Ok(LeftOut { left_out }) = serde_json::from_slice(line) {
            return Ok(match self.format {
                Format::Text => format!("({left_out} decisions were left out)\n"),
                Format::Json => printable_json(&String::from_utf8_lossy(line)),
            });
        }
        let decision: DecisionAnswer = serde_json::from_slice(line)?;
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(match self.format {
            Format::Text => self.text(&decision),
            Format::Json => printable_json(&String::from_utf8_lossy(line)),
        })
    }

    fn text(&self, decision: &DecisionAnswer) -> String {
        let DecisionAnswer { spans, duration_ms, services, .. } = decision;
        let [time, trace, trigger] =
            [&decision.time, &decision.trace_id, &decision.trigger].map(|text| printable_text(text));
        let verdict = self.paint.with(style(&decision.verdict), &format!("{:<7}", printable_text(&decision.verdict)));
        let policy = printable_text(decision.policy.as_deref().unwrap_or("-"));
        let services = if services.is_empty() { "-".to_owned() } else { printable_text(&services.join(",")) };
        let exported = if decision.dry_run && decision.verdict == "dropped" { "  (dry run: exported)" } else { "" };
        format!(
            "{time}  {trace}  {verdict}  {policy:<20}  {trigger:<13}  {spans:>5} spans  {duration_ms:>7} ms  {services}{exported}\n"
        )
    }
}

#[cfg(test)]
mod tests;
