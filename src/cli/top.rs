//! `spansieve top`: a table of rates by policy and by service, from a running daemon.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use super::client::{self, ClientError, DaemonArgs, DaemonClient};
use crate::api::answers::{PoliciesAnswer, PolicyCounts, ServiceCounts, TriggerCounts};
use crate::settings::diagnostic::printable;

const EXAMPLES: &str = "\
Examples:
  spansieve top --from http://127.0.0.1:8090                  a table every two seconds, until Ctrl-C
  spansieve top --from http://127.0.0.1:8090 --once           one table, of the next two seconds
  spansieve top --from http://127.0.0.1:8090 --interval 10    rates of ten seconds

The figures by service are estimates from a sample of traces.";

/// The most services in the table, those with the highest rates.
const SERVICES_MAX: usize = 20;
/// The most characters of a name in the table.
const NAME_CHARS_MAX: usize = 40;
/// The sequence that clears a terminal: the cursor to its first line, and all below it erased.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// The arguments of `top`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TopArgs {
    /// The daemon.
    #[command(flatten)]
    pub daemon: DaemonArgs,
    /// Seconds between two tables
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,
    /// Print one table and end
    #[arg(long)]
    pub once: bool,
}

/// Prints tables.
#[must_use]
pub fn run(args: &TopArgs) -> ExitCode {
    client::run(watch(args))
}

async fn watch(args: &TopArgs) -> Result<(), ClientError> {
    let daemon = DaemonClient::new(&args.daemon)?;
    let ask = || daemon.document::<PoliciesAnswer>("/api/policies");
    let mut before = ask().await?;
    let clear = if io::stdout().is_terminal() && !args.once { CLEAR } else { "" };
    loop {
        tokio::time::sleep(Duration::from_secs(args.interval)).await;
        let after = ask().await?;
        let table = table(&before, &after, daemon.url());
        // If standard output is closed, there is no reader left.
        let is_read = io::stdout().write_all(format!("{clear}{table}").as_bytes()).is_ok();
        if args.once || !is_read {
            return Ok(());
        }
        before = after;
    }
}

/// Returns the table of the rates from `before` to `after`.
fn table(before: &PoliciesAnswer, after: &PoliciesAnswer, url: &str) -> String {
    let nothing = PoliciesAnswer::default();
    // A daemon that has started again counts from zero.
    let before = if before.uptime_ms > after.uptime_ms { &nothing } else { before };
    let seconds = (after.uptime_ms - before.uptime_ms).max(1) as f64 / 1_000.0;
    let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
    let (from, to) = (before.spans, after.spans);
    let mut text = format!(
        "{url}, up {}, rates of {seconds:.1} s\nspans a second: received {:.1}, exported {:.1}, sampled out {:.1}; held now: {}\n",
        duration(after.uptime_ms),
        rate(from.received, to.received),
        rate(from.exported, to.exported),
        rate(from.sampled_out, to.sampled_out),
        to.held,
    );
    // Writing to a string does not fail.
    let _ = writeln!(text, "\n{:<40} {:>12} {:>12} {:>14} {:>14}", "POLICY", "KEPT/S", "DROPPED/S", "KEPT", "DROPPED");
    for row in &after.policies {
        let earlier = before.policies.iter().find(|earlier| earlier.policy == row.policy);
        let (kept, dropped) = earlier.map_or((0, 0), |earlier| (earlier.kept_traces, earlier.dropped_traces));
        let &PolicyCounts { kept_traces, dropped_traces, .. } = row;
        let (kept, dropped) = (rate(kept, kept_traces), rate(dropped, dropped_traces));
        let name = name(&row.policy);
        let _ = writeln!(text, "{name:<40} {kept:>12.1} {dropped:>12.1} {kept_traces:>14} {dropped_traces:>14}");
    }
    let sum = |counts: &TriggerCounts| counts.values().sum::<u64>();
    let (from, to) = (sum(&before.dropped_without_policy), sum(&after.dropped_without_policy));
    let _ = writeln!(text, "{:<40} {:>12} {:>12.1} {:>14} {to:>14}", "(kept by no policy)", "", rate(from, to), "");
    let mut services: Vec<_> = after.services.iter().map(|row| service_rates(row, before, &rate)).collect();
    services.sort_by(|a, b| b.0.total_cmp(&a.0));
    let _ = writeln!(text, "\n{:<40} {:>12} {:>12} {:>14} {:>14}", "SERVICE", "SPANS/S", "LATE/S", "SPANS", "LATE");
    for (spans, late, row) in services.iter().take(SERVICES_MAX) {
        let (name, all, all_late) = (name(&row.service), row.spans, row.late_spans);
        let _ = writeln!(text, "{name:<40} {spans:>12.1} {late:>12.1} {all:>14} {all_late:>14}");
    }
    let left_out = services.len().saturating_sub(SERVICES_MAX);
    if left_out > 0 {
        let _ = writeln!(text, "({left_out} more services)");
    }
    text
}

/// Returns the rates of spans and late spans of a service, with the service.
fn service_rates<'a>(
    row: &'a ServiceCounts,
    before: &PoliciesAnswer,
    rate: &impl Fn(u64, u64) -> f64,
) -> (f64, f64, &'a ServiceCounts) {
    let earlier = before.services.iter().find(|earlier| earlier.service == row.service);
    let (spans, late) = earlier.map_or((0, 0), |earlier| (earlier.spans, earlier.late_spans));
    (rate(spans, row.spans), rate(late, row.late_spans), row)
}

/// Returns a name that fits into its column, without control characters.
fn name(name: &str) -> String {
    name.chars().take(NAME_CHARS_MAX).map(printable).collect()
}

/// Returns a time in its two largest units.
fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests;
