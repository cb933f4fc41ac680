//! `spansieve top`: a table of rates by policy and by service, from a running daemon.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{self, ClientError, DaemonArgs, DaemonClient};
use super::output::{self, printable_json};
use super::validate::Format;
use crate::api::answers::{PoliciesAnswer, PolicyCounts, ServiceCounts, ShadowCounts, TriggerCounts};
use crate::settings::diagnostic::printable_start;
use crate::settings::units::display_seconds;
use crate::terminal::has_sequences;

const EXAMPLES: &str = "\
Examples:
  spansieve top --from http://127.0.0.1:8090                  a table every two seconds, until Ctrl-C
  spansieve top --from http://127.0.0.1:8090 --once           one table, of the next two seconds
  spansieve top --from http://127.0.0.1:8090 --interval 10    rates of ten seconds
  spansieve top --from http://127.0.0.1:8090 --format json | jq .received_spans_per_second

The figures by service are estimates from a sample of traces.";

/// The most services in the table, those with the highest rates.
const SERVICES_MAX: usize = 20;
/// The most characters of a name in the table.
const NAME_CHARS_MAX: usize = 40;
/// The most characters of the effect of a shadow policy in the table: it is `keep` or `drop`.
const EFFECT_CHARS_MAX: usize = 12;
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
    /// The form of the output; json is one object a line for each table, with all services
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
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
    let clear = if has_sequences(io::stdout().is_terminal()) && !args.once { CLEAR } else { "" };
    loop {
        tokio::time::sleep(Duration::from_secs(args.interval)).await;
        let after = ask().await?;
        let rates = Rates::new(&before, &after);
        output::write(&match args.format {
            Format::Text => format!("{clear}{}", rates.table(daemon.url())),
            Format::Json => printable_json(&format!("{}\n", rates.json())),
        })?;
        if args.once {
            return Ok(());
        }
        before = after;
    }
}

/// The rates between two answers, with the later counts.
struct Rates<'a> {
    after: &'a PoliciesAnswer,
    seconds: f64,
    received: f64,
    exported: f64,
    sampled_out: f64,
    /// Kept and dropped traces a second of each policy.
    policies: Vec<(&'a PolicyCounts, f64, f64)>,
    /// Traces that no policy kept, a second and in all.
    kept_by_none: (f64, u64),
    /// Traces a second that each shadow policy would keep or drop in addition.
    shadow: Vec<(&'a ShadowCounts, f64)>,
    /// Spans and late spans a second of each service, those with the highest rates first.
    services: Vec<(&'a ServiceCounts, f64, f64)>,
}

impl<'a> Rates<'a> {
    fn new(before: &PoliciesAnswer, after: &'a PoliciesAnswer) -> Self {
        let nothing = PoliciesAnswer::default();
        // A daemon that has started again counts from zero.
        let before = if before.uptime_ms > after.uptime_ms { &nothing } else { before };
        let seconds = (after.uptime_ms - before.uptime_ms).max(1) as f64 / 1_000.0;
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        let earlier: HashMap<&str, &PolicyCounts> =
            before.policies.iter().map(|row| (row.policy.as_str(), row)).collect();
        let policies = after.policies.iter().map(|row| {
            let earlier = earlier.get(row.policy.as_str());
            let (kept, dropped) = earlier.map_or((0, 0), |earlier| (earlier.kept_traces, earlier.dropped_traces));
            (row, rate(kept, row.kept_traces), rate(dropped, row.dropped_traces))
        });
        let earlier: HashMap<&str, &ServiceCounts> =
            before.services.iter().map(|row| (row.service.as_str(), row)).collect();
        let services = after.services.iter().map(|row| {
            let earlier = earlier.get(row.service.as_str());
            let (spans, late) = earlier.map_or((0, 0), |earlier| (earlier.spans, earlier.late_spans));
            (row, rate(spans, row.spans), rate(late, row.late_spans))
        });
        let shadow = after.shadow.iter().map(|row| {
            let is_same = |earlier: &&ShadowCounts| (&earlier.policy, &earlier.effect) == (&row.policy, &row.effect);
            let earlier = before.shadow.iter().find(is_same).map_or(0, |earlier| earlier.traces);
            (row, rate(earlier, row.traces))
        });
        let mut services: Vec<_> = services.collect();
        services.sort_by(|(_, a, _), (_, b, _)| b.total_cmp(a));
        let (from, to) = (before.spans, after.spans);
        let kept_by_none = sum(&after.dropped_without_policy);
        Rates {
            after,
            seconds,
            received: rate(from.received, to.received),
            exported: rate(from.exported, to.exported),
            sampled_out: rate(from.sampled_out, to.sampled_out),
            policies: policies.collect(),
            kept_by_none: (rate(sum(&before.dropped_without_policy), kept_by_none), kept_by_none),
            shadow: shadow.collect(),
            services,
        }
    }

    /// Returns the rates as a table.
    fn table(&self, url: &str) -> String {
        let Rates { after, seconds, received, exported, sampled_out, .. } = self;
        let (up, held) = (display_seconds(after.uptime_ms / 1_000), after.spans.held);
        let mut text = format!(
            "{url}, up {up}, rates of {seconds:.1} s\nspans a second: received {received:.1}, exported {exported:.1}, sampled out {sampled_out:.1}; held now: {held}\n",
        );
        // Writing to a string does not fail.
        let _ =
            writeln!(text, "\n{:<40} {:>12} {:>12} {:>14} {:>14}", "POLICY", "KEPT/S", "DROPPED/S", "KEPT", "DROPPED");
        for (PolicyCounts { policy, kept_traces, dropped_traces, .. }, kept, dropped) in &self.policies {
            let name = printable_start(policy, NAME_CHARS_MAX);
            let _ = writeln!(text, "{name:<40} {kept:>12.1} {dropped:>12.1} {kept_traces:>14} {dropped_traces:>14}");
        }
        let (rate, all) = self.kept_by_none;
        let _ = writeln!(text, "{:<40} {:>12} {rate:>12.1} {:>14} {all:>14}", "(kept by no policy)", "", "");
        text.push_str(&self.shadow_table());
        let _ = writeln!(text, "\n{:<40} {:>12} {:>12} {:>14} {:>14}", "SERVICE", "SPANS/S", "LATE/S", "SPANS", "LATE");
        for (ServiceCounts { service, spans, late_spans, .. }, rate, late) in self.services.iter().take(SERVICES_MAX) {
            let name = printable_start(service, NAME_CHARS_MAX);
            let _ = writeln!(text, "{name:<40} {rate:>12.1} {late:>12.1} {spans:>14} {late_spans:>14}");
        }
        let left_out = self.services.len().saturating_sub(SERVICES_MAX);
        if left_out > 0 {
            let _ = writeln!(text, "({left_out} more services)");
        }
        text
    }

    /// Returns the part of the table about shadow policies, which is empty if there are none.
    fn shadow_table(&self) -> String {
        let mut text = String::new();
        if !self.shadow.is_empty() {
            let header = ("SHADOW POLICY", "WOULD", "TRACES/S", "TRACES", "DOLLARS");
            let (policy, would, rate, traces, dollars) = header;
            // Writing to a string does not fail.
            let _ = writeln!(text, "\n{policy:<40} {would:>12} {rate:>12} {traces:>14} {dollars:>14}");
        }
        for (ShadowCounts { policy, effect, traces, dollars, .. }, rate) in &self.shadow {
            let (name, effect) = (printable_start(policy, NAME_CHARS_MAX), printable_start(effect, EFFECT_CHARS_MAX));
            let _ = writeln!(text, "{name:<40} {effect:>12} {rate:>12.1} {traces:>14} {dollars:>14.2}");
        }
        text
    }

    /// Returns the rates as JSON.
    fn json(&self) -> Value {
        let policies = self.policies.iter().map(|(row, kept, dropped)| {
            json!({
                "policy": row.policy,
                "kept_traces_per_second": kept,
                "dropped_traces_per_second": dropped,
                "kept_traces": row.kept_traces,
                "dropped_traces": row.dropped_traces,
            })
        });
        let services = self.services.iter().map(|(row, spans, late)| {
            json!({
                "service": row.service,
                "spans_per_second": spans,
                "late_spans_per_second": late,
                "spans": row.spans,
                "late_spans": row.late_spans,
            })
        });
        let shadow = self.shadow.iter().map(|(row, rate)| {
            json!({
                "policy": row.policy,
                "effect": row.effect,
                "traces_per_second": rate,
                "traces": row.traces,
                "spans": row.spans,
                "dollars": row.dollars,
            })
        });
        json!({
            "uptime_ms": self.after.uptime_ms,
            "seconds": self.seconds,
            "received_spans_per_second": self.received,
            "exported_spans_per_second": self.exported,
            "sampled_out_spans_per_second": self.sampled_out,
            "held_spans": self.after.spans.held,
            "policies": policies.collect::<Vec<_>>(),
            "dropped_without_policy_per_second": self.kept_by_none.0,
            "dropped_without_policy": self.kept_by_none.1,
            "shadow": shadow.collect::<Vec<_>>(),
            "services": services.collect::<Vec<_>>(),
        })
    }
}

/// Returns the sum of counts. The numbers are those of a daemon, so they can be any.
fn sum(counts: &TriggerCounts) -> u64 {
    counts.values().fold(0, |sum, count| sum.saturating_add(*count))
}

#[cfg(test)]
mod tests;
