//! `spansieve fate`: asks a running daemon what became of a trace.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::client::{self, ClientError, DaemonArgs, DaemonClient, style};
use super::output::{self, printable_json};
use super::validate::Format;
use crate::api::answers::{FateAnswer, PolicyAnswer};
use crate::settings::diagnostic::{printable_start, printable_text};
use crate::terminal::Paint;

const EXAMPLES: &str = "\
Examples:
  spansieve fate --from http://127.0.0.1:8090 4bf92f3577b34da6a3ce929d0e0e4736
  spansieve fate --from https://spansieve.internal --token-file /secrets/token TRACE_ID
  spansieve fate --from http://127.0.0.1:8090 --format json TRACE_ID | jq -r .policy

The daemon answers if its configuration has `api: {listen: \"127.0.0.1:8090\"}`. The exit code is 0 for an answer, even if
it is that the trace is unknown, and 1 if there is no answer.";

/// The most characters of a policy's name in the table: as many as a configuration may give it, in bytes.
const NAME_CHARS_MAX: usize = 128;

/// The arguments of `fate`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct FateArgs {
    /// The id of the trace: 32 hexadecimal digits
    #[arg(value_name = "TRACE_ID")]
    pub trace_id: String,
    /// The daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// The form of the answer
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
}

/// Asks the daemon, and prints its answer.
#[must_use]
pub fn run(args: &FateArgs) -> ExitCode {
    client::run(ask(args))
}

async fn ask(args: &FateArgs) -> Result<(), ClientError> {
    let daemon = DaemonClient::new(&args.daemon)?;
    // Encoded, the argument stays one segment of the path. The daemon checks if it is a trace id.
    let id: String = form_urlencoded::byte_serialize(args.trace_id.trim().as_bytes()).collect();
    let path = format!("/api/decisions/{id}");
    let text = match args.format {
        Format::Text => text(&daemon.document(&path).await?, Paint::stdout()),
        Format::Json => printable_json(&format!("{:#}\n", daemon.document::<serde_json::Value>(&path).await?)),
    };
    Ok(output::write(&text)?)
}

/// Returns the answer for people.
pub(super) fn text(answer: &FateAnswer, paint: Paint) -> String {
    let fate = answer.fate.as_str();
    let (id, explanation) = (printable_text(&answer.trace_id), printable_text(&answer.explanation));
    let mut text = format!("{id}: {}\n  {explanation}\n", paint.with(style(fate), fate));
    let until = if fate == "pending" { "decided by" } else { "rescuable until" };
    let spans = match (answer.spans, answer.late_spans) {
        (Some(spans), Some(late)) if late > 0 => Some(format!("{spans}, {late} of them late")),
        (spans, _) => spans.map(|spans| spans.to_string()),
    };
    let rows = [
        ("policy", answer.policy.clone()),
        ("adjusted count", answer.adjusted_count.map(|count| count.to_string())),
        ("trigger", answer.trigger.clone()),
        ("decided at", answer.decided_at.clone()),
        (until, answer.until.clone()),
        ("spans", spans),
        ("duration", answer.duration_ms.map(|duration_ms| format!("{duration_ms} ms"))),
        ("missing parent", answer.missing_parent.clone()),
    ];
    for (name, value) in rows.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:<15}  {}", printable_text(&value));
    }
    if let Some(policies) = answer.policies.as_deref().filter(|policies| !policies.is_empty()) {
        text.push_str("  policies\n");
        let width = policies.iter().map(|policy| policy.policy.chars().take(NAME_CHARS_MAX).count()).max();
        let width = width.unwrap_or_default();
        policies.iter().for_each(|policy| _ = writeln!(text, "    {}", row(policy, width, paint)));
    }
    text
}

fn row(policy: &PolicyAnswer, width: usize, paint: Paint) -> String {
    let name = printable_start(&policy.policy, NAME_CHARS_MAX);
    let answer = paint.with(style(&policy.answer), &printable_text(&policy.answer));
    let count = policy.adjusted_count.map_or_else(String::new, |count| format!(" (adjusted count {count})"));
    let shadow = if policy.shadow { "  (shadow policy: decides nothing)" } else { "" };
    format!("{name:<width$}  {answer}{count}{shadow}")
}

#[cfg(test)]
mod tests;
