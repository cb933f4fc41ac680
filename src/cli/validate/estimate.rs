//! `spansieve validate --rate`: the memory that the traffic needs, and the memory that the configuration has.

use std::fmt::Write;

use serde_json::{Value, json};

use super::dollars::kept_part;
use crate::budget::ladder::{EARLY, RESCUE};
use crate::config::Settings;
use crate::daemon::fleet::MemberFootprint;
use crate::daemon::memory;
use crate::export::settings::Export;
use crate::sampling::Policies;
use crate::settings::Size;
use crate::settings::units::{display_duration, grouped};
use crate::tail::footprint::{Additions, Footprint, Traffic};
use crate::tail::settings::{Compress, LIMIT_BYTES, Memory};

/// Spans in a request where many services send: their exporters gather spans for seconds, and each service has few.
const SPANS_PER_REQUEST: f64 = 21.0;
/// The requests in which a trace arrives: one from each of its services.
const REQUESTS_PER_TRACE: f64 = 3.0;
/// Seconds from the moment at which a batch is sent until the sink has answered.
const ANSWER_SECONDS: f64 = 1.0;

/// The traffic in the words of the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) spans_per_second: f64,
    pub(super) bytes_per_span: f64,
    pub(super) spans_per_trace: f64,
    /// The container's memory, if it is not the one of this machine.
    pub(super) container_bytes: Option<u64>,
}

/// The memory that the traffic needs, and the memory that there is.
#[derive(Clone, Debug)]
pub(super) struct Estimate {
    rate: Rate,
    footprint: Footprint,
    /// Kept spans that wait for their batch or for the sink's answer.
    export_bytes: f64,
    /// The memory of a member of a fleet.
    member: Option<MemberFootprint>,
    limit_bytes: usize,
    /// The least limit in which the traffic fits; `None` if it fits in none.
    least_limit_bytes: Option<usize>,
    /// The container's memory, if the limit is a part of it.
    container_bytes: Option<u64>,
    limit: Size,
    wait: String,
    remedies: Vec<String>,
}

impl Estimate {
    /// Computes the estimate for the time `now_s`, in seconds since 1970.
    ///
    /// # Errors
    /// The memory limit is a percentage, and the memory of the machine is unknown.
    pub(super) fn of(
        settings: &Settings,
        policies: &Policies,
        rate: Rate,
        now_s: u64,
    ) -> Result<Self, memory::UnknownMemory> {
        let limit = settings.memory.limit;
        let container_bytes = match (limit, rate.container_bytes) {
            (Size::Bytes(_), _) => None,
            (Size::Percent(_), Some(bytes)) => Some(bytes),
            (Size::Percent(_), None) => Some(memory::detected_bytes().ok_or(memory::UnknownMemory)?),
        };
        let limit_bytes = memory::limit_bytes_of(limit, container_bytes.unwrap_or_default());
        let tail = &settings.tail_sampling;
        let kept = kept_part(tail, rate.spans_per_second, now_s);
        let traffic = Traffic {
            spans_per_second: rate.spans_per_second,
            bytes_per_span: rate.bytes_per_span,
            spans_per_request: SPANS_PER_REQUEST,
            spans_per_fragment: (rate.spans_per_trace / REQUESTS_PER_TRACE).max(1.0),
            kept,
        };
        // As the daemon decides it: the API answers with facts about decisions.
        let additions = Additions { facts: settings.api.listen.is_some(), fleet: settings.fleet.has_engine() };
        let footprint_with =
            |memory, limit_bytes| Footprint::of(tail, memory, policies, &traffic, limit_bytes, additions);
        let footprint_in = |limit_bytes| footprint_with(&settings.memory, limit_bytes);
        let export_bytes = export_bytes(&settings.export, &traffic);
        let traces_per_second = rate.spans_per_second / rate.spans_per_trace;
        let member_in = |limit_bytes| MemberFootprint::of(settings, traces_per_second, limit_bytes);
        let required_in = |limit_bytes| {
            let member_bytes = member_in(limit_bytes).map_or(0.0, |member| member.bytes);
            footprint_in(limit_bytes).required() + export_bytes + member_bytes
        };
        let fits_in = |limit_bytes| {
            required_in(limit_bytes) <= EARLY.of(limit_bytes) as f64
                && member_in(limit_bytes).is_none_or(|member| member.fits)
        };
        let mut estimate = Estimate {
            rate,
            footprint: footprint_in(limit_bytes),
            export_bytes,
            member: member_in(limit_bytes),
            limit_bytes,
            least_limit_bytes: least_limit(fits_in),
            container_bytes,
            limit,
            wait: display_duration(tail.decision_wait),
            remedies: Vec::new(),
        };
        if !estimate.fits() {
            let compressed = Memory { compress: Compress::Lz4, ..settings.memory.clone() };
            let compressed = footprint_with(&compressed, limit_bytes).required();
            let is_enough = compressed + export_bytes + estimate.member_bytes() <= estimate.early_bytes();
            estimate.remedies = estimate.remedies_for(settings, is_enough);
        }
        Ok(estimate)
    }

    fn required(&self) -> f64 {
        self.footprint.required() + self.export_bytes + self.member_bytes()
    }

    fn member_bytes(&self) -> f64 {
        self.member.map_or(0.0, |member| member.bytes)
    }

    /// Returns true if nothing is decided before its time.
    pub(super) fn fits(&self) -> bool {
        self.fits_in_budget() && self.member.is_none_or(|member| member.fits)
    }

    fn fits_in_budget(&self) -> bool {
        self.required() <= self.early_bytes()
    }

    /// Returns the bytes from which traces are decided before their time.
    fn early_bytes(&self) -> f64 {
        EARLY.of(self.limit_bytes) as f64
    }

    /// Returns the bytes that rescue holds in the room that the rest leaves.
    fn rescue_bytes(&self) -> f64 {
        (RESCUE.of(self.limit_bytes) as f64 - self.required()).clamp(0.0, self.footprint.rescue)
    }

    /// Returns the changes each of which makes the traffic fit; compression only if it `is_enough`.
    fn remedies_for(&self, settings: &Settings, is_enough: bool) -> Vec<String> {
        let mut remedies = vec![self.more_memory()];
        if self.fits_in_budget() {
            return remedies;
        }
        let fixed = self.required() - self.footprint.bodies - self.footprint.index;
        let wait = settings.tail_sampling.decision_wait.as_secs_f64();
        let room = self.early_bytes() - fixed;
        let seconds = (wait * room / (self.footprint.bodies + self.footprint.index)).floor();
        if seconds >= 1.0 {
            remedies.push(format!("tail_sampling.decision_wait: {seconds}s or less"));
        }
        if settings.memory.compress == Compress::Off && is_enough {
            remedies
                .push("memory.compress: lz4, which holds about four times as many spans in the same memory".to_owned());
        }
        if self.required() - self.footprint.caches - self.footprint.policies <= self.early_bytes() {
            remedies
                .push("smaller tail_sampling.decision_cache sizes, or fewer keys (max_keys) of policies".to_owned());
        }
        remedies
    }

    fn more_memory(&self) -> String {
        let Some(least_bytes) = self.least_limit_bytes else {
            return format!(
                "less traffic for each instance: no memory.limit up to {} TiB is enough",
                LIMIT_BYTES.max >> 40
            );
        };
        let least = mebibytes(least_bytes as f64).ceil();
        match self.limit {
            Size::Bytes(_) => format!("memory.limit: {least}MiB or more"),
            Size::Percent(percent) => {
                let container = (least / percent * 100.0).ceil();
                format!("a container of {container}MiB or more (memory.limit: {percent}% of it is {least}MiB)")
            }
        }
    }

    fn parts(&self) -> [(&'static str, f64); 7] {
        let Footprint { bodies, blocks, index, caches, policies, .. } = self.footprint;
        [
            ("spans that wait for their decision", bodies),
            ("blocks of these spans that are not full", blocks),
            ("their index: traces, requests, places of spans", index),
            ("remembered verdicts", caches),
            ("keys of policies", policies),
            ("kept spans on their way to the sink", self.export_bytes),
            ("summaries and verdicts of a member of a fleet, batches on their way", self.member_bytes()),
        ]
    }

    /// Returns the estimate as text, one line for each part.
    pub(super) fn text(&self) -> String {
        let Rate { spans_per_second, bytes_per_span, spans_per_trace, .. } = self.rate;
        let mut text = format!(
            "Memory for {} spans a second of {bytes_per_span} bytes, {spans_per_trace} in a trace, and a wait of {}:\n",
            grouped(spans_per_second as u64),
            self.wait
        );
        let mut line = |what: &str, bytes: f64| {
            let _ = writeln!(text, "  {:>8.1} MiB  {what}", mebibytes(bytes));
        };
        let parts = self.parts().into_iter().take(if self.member.is_some() { 7 } else { 6 });
        parts.for_each(|(what, bytes)| line(what, bytes));
        line("needed", self.required());
        line(&self.limit_words(), self.limit_bytes as f64);
        text += &self.verdict();
        self.remedies.iter().for_each(|remedy| {
            let _ = writeln!(text, "  - {remedy}");
        });
        text
    }

    fn limit_words(&self) -> String {
        match (self.limit, self.container_bytes) {
            (Size::Percent(percent), Some(bytes)) => {
                format!("memory.limit: {percent}% of {:.0} MiB", mebibytes(bytes as f64))
            }
            _ => "memory.limit".to_owned(),
        }
    }

    fn verdict(&self) -> String {
        if !self.fits() && self.fits_in_budget() {
            return "It does not fit: a member of a fleet remembers fewer undecided traces than it owns, and decides some before \
                    their wait is over. Write:\n"
                .to_owned();
        }
        if !self.fits() {
            return format!(
                "It does not fit: at {:.0} % of the limit, traces are decided before their wait is over. Write one of:\n",
                percent(self.early_bytes(), self.limit_bytes as f64)
            );
        }
        let used = percent(self.required(), self.limit_bytes as f64);
        let Footprint { rescue, rescue_unbounded, .. } = self.footprint;
        if rescue == 0.0 {
            return format!("It fits: {used:.0} % of the limit.\n");
        }
        let part = percent(self.rescue_bytes(), rescue_unbounded);
        format!(
            "It fits: {used:.0} % of the limit. Rescue has room for {part:.0} % of the dropped traces of its window.\n"
        )
    }

    pub(super) fn json(&self) -> Value {
        let Rate { spans_per_second, bytes_per_span, spans_per_trace, .. } = self.rate;
        let [bodies, blocks, index, verdicts, keys, export, fleet] = self.parts().map(|(_, bytes)| bytes as u64);
        json!({
            "spans_per_second": spans_per_second,
            "bytes_per_span": bytes_per_span,
            "spans_per_trace": spans_per_trace,
            "bytes": {"bodies": bodies, "blocks": blocks, "index": index, "verdicts": verdicts, "keys": keys, "export": export, "fleet": fleet},
            "required_bytes": self.required() as u64,
            "limit_bytes": self.limit_bytes,
            "container_bytes": self.container_bytes,
            "least_limit_bytes": self.least_limit_bytes,
            "rescue_bytes": self.rescue_bytes() as u64,
            "rescue_bytes_wanted": self.footprint.rescue_unbounded as u64,
            "fits": self.fits(),
            "remedies": self.remedies,
        })
    }
}

/// Returns the least limit for which `fits_in` returns true; `None` if none that can be configured is enough. What fits in a limit
/// fits in each larger one: blocks and the summaries of a member grow with the limit, but less than the limit.
fn least_limit(fits_in: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut tight, mut enough) = (LIMIT_BYTES.min as usize, LIMIT_BYTES.max as usize);
    if fits_in(tight) || !fits_in(enough) {
        return fits_in(tight).then_some(tight);
    }
    while enough - tight > 1 {
        let middle = tight.midpoint(enough);
        if fits_in(middle) { enough = middle } else { tight = middle }
    }
    Some(enough)
}

/// Returns the bytes of kept spans from their decision to the sink's answer.
fn export_bytes(export: &Export, traffic: &Traffic) -> f64 {
    let seconds = export.batch.max_delay.as_secs_f64() + ANSWER_SECONDS;
    traffic.spans_per_second * traffic.kept * traffic.bytes_per_span * seconds
}

fn mebibytes(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole * 100.0 } else { 0.0 }
}

#[cfg(test)]
mod tests;
