//! `spansieve tail`: the stream of decisions of a running daemon.

use std::process::ExitCode;
use std::time::Duration;

use form_urlencoded::Serializer;

use super::client::{self, ClientError, DaemonArgs, DaemonClient, style};
use super::output::{self, print_error, printable_json};
use super::validate::Format;
use crate::api::answers::{DecisionAnswer, LeftOut, PoliciesAnswer};
use crate::settings::diagnostic::{printable_text, quote};
use crate::settings::suggest::did_you_mean;
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

/// The most names in a message.
const NAMES_MAX: usize = 20;

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
    if !(args.policies.is_empty() && args.services.is_empty()) {
        let known: PoliciesAnswer = daemon.document("/api/policies").await?;
        check_policies(&args.policies, &known, daemon.url())?;
        args.services.iter().filter_map(|service| unseen(service, &known)).for_each(|warning| print_error(&warning));
    }
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

/// Refuses a policy that the daemon does not have, which would be waited for without end.
fn check_policies(asked: &[String], known: &PoliciesAnswer, url: &str) -> Result<(), ClientError> {
    let names = || known.policies.iter().map(|row| row.policy.as_str());
    let Some(name) = asked.iter().find(|name| names().all(|known| known != name.as_str())) else { return Ok(()) };
    let help = match known.shadow.iter().any(|row| row.policy == *name) {
        true => "it is a shadow policy, which decides nothing; spansieve top has its counts".to_owned(),
        false => did_you_mean(name, names()).unwrap_or_else(|| format!("it has {}", listed(names()))),
    };
    Err(ClientError::NoPolicy { url: url.to_owned(), name: quote(name), help })
}

/// Returns a warning if the daemon has not had a span of `service`. It may come yet.
fn unseen(service: &str, known: &PoliciesAnswer) -> Option<String> {
    let names = || known.services.iter().map(|row| row.service.as_str());
    // All services after the first hundred are counted as one.
    if names().any(|name| name == service || name == "other") {
        return None;
    }
    let help = did_you_mean(service, names()).unwrap_or_else(|| format!("so far it had {}", listed(names())));
    Some(format!("warning: the daemon has had no span of the service {}: {}\n", quote(service), printable_text(&help)))
}

/// Returns the first names of a list, and the number of the others.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 if names.is_empty() => "none".to_owned(),
        0 => shown,
        more => format!("{shown} and {more} more"),
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
