//! A configuration in plain sentences.

use std::time::Duration;

use super::settings::Settings;
use crate::export::settings::Endpoint;
use crate::sampling::settings::{PolicyWords, Rule, explain};
use crate::settings::document;
use crate::settings::node::Node;
use crate::settings::units::display_duration;

/// The policies of an empty configuration, as they would be written.
pub(super) const DEFAULT_POLICIES: &str = "\
- {name: errors, type: error}
- {name: slow, type: latency, latency: {threshold_ms: 1000}}
- {name: baseline, type: probabilistic, probabilistic: {sampling_percentage: 5}}
";

/// A configuration in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Sentences about each policy, in the order of the configuration.
    pub policies: Vec<PolicyWords>,
    /// Sentences about all policies together.
    pub whole: Vec<String>,
}

/// Returns `text`, a configuration from which `settings` were read without an error, in words.
pub(super) fn explanation(text: &str, env: &dyn Fn(&str) -> Option<String>, settings: &Settings) -> Explanation {
    let root = document::parse(text, Some(env), &mut Vec::new()).ok().flatten();
    let defaults = document::parse(DEFAULT_POLICIES, Some(env), &mut Vec::new()).ok().flatten();
    let written = root.as_deref().and_then(|root| root.find(&["tail_sampling", "policies"]));
    let nodes: Vec<&Node> = written.or(defaults.as_deref()).into_iter().flat_map(Node::items).collect();
    Explanation { policies: explain(&nodes), whole: whole(settings) }
}

fn whole(settings: &Settings) -> Vec<String> {
    let tail = &settings.tail_sampling;
    let is_drop = |rule: &Rule| matches!(rule, Rule::Drop(_));
    let drops = tail.policies.iter().any(|policy| is_drop(&policy.rule));
    let keeps = tail.policies.iter().any(|policy| !is_drop(&policy.rule));
    let kept = match (keeps, drops) {
        (false, _) => "No trace is kept: no policy keeps any.",
        (true, false) => "It is kept if at least one policy keeps it.",
        (true, true) => "It is kept if at least one policy keeps it and none drops it.",
    };
    let mut sentences = vec![wait(tail.decision_wait, tail.decision_wait_after_root_received), kept.to_owned()];
    if tail.sample_on_first_match {
        sentences.push("The first policy that keeps it is the one that its spans name.".to_owned());
    }
    if !tail.rescue.window.is_zero() {
        let window = display_duration(tail.rescue.window);
        sentences.push(format!(
            "A dropped trace is kept after all if a span that comes within {window} is evidence for it, as long as memory has it."
        ));
    }
    sentences.push(format!("Kept traces are written to {}.", sink(&settings.export.endpoint)));
    sentences
}

fn wait(wait: Duration, after_root: Duration) -> String {
    let wait = display_duration(wait);
    if after_root.is_zero() {
        return format!("A trace is decided {wait} after its first span.");
    }
    let after_root = display_duration(after_root);
    format!("A trace is decided {wait} after its first span, or {after_root} after its root span, if that is earlier.")
}

/// Returns the name of the sink in a sentence.
pub(crate) fn sink(endpoint: &Endpoint) -> &str {
    match endpoint {
        Endpoint::Embedded => "the embedded Cloud Trace",
        Endpoint::Tls(url) | Endpoint::Plaintext(url) => url,
    }
}
