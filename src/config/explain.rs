//! A configuration in plain sentences.

use std::time::Duration;

use super::settings::Settings;
use crate::export::settings::Endpoint;
use crate::sampling::settings::{Policy, PolicyWords, Rule, display_unix_seconds, explain};
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
pub(super) fn explanation(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    settings: &Settings,
    now_s: u64,
) -> Explanation {
    let root = document::parse(text, Some(env), &mut Vec::new()).ok().flatten();
    let defaults = document::parse(DEFAULT_POLICIES, Some(env), &mut Vec::new()).ok().flatten();
    let written = |keys: &[&str]| root.as_deref().and_then(|root| root.find(keys));
    let policies = written(&["tail_sampling", "policies"]).or(defaults.as_deref());
    let shadow = written(&["tail_sampling", "shadow", "policies"]);
    let nodes: Vec<&Node> = policies.into_iter().chain(shadow).flat_map(Node::items).collect();
    let mut words = explain(&nodes);
    words.iter_mut().for_each(|words| tell_of_trial(words, settings, now_s));
    Explanation { policies: words, whole: whole(settings, now_s) }
}

/// Changes the sentences about a policy that does not decide at `now_s`, and says when a policy ends.
fn tell_of_trial(words: &mut PolicyWords, settings: &Settings, now_s: u64) {
    let tail = &settings.tail_sampling;
    let of_name = |policies: &[Policy]| policies.iter().find(|policy| policy.name == words.name).cloned();
    let shadow = of_name(&tail.shadow.policies);
    let (is_shadow, policy) = (shadow.is_some(), shadow.or_else(|| of_name(&tail.policies)));
    let until = policy.and_then(|policy| policy.until);
    let has_ended = until.is_some_and(|until| until <= now_s);
    let verbs = match (is_shadow, has_ended) {
        (true, _) => [("Keeps ", "Would keep "), ("Drops ", "Would drop ")],
        (false, true) => [("Keeps ", "Kept "), ("Drops ", "Dropped ")],
        (false, false) => [("Keeps ", "Keeps "), ("Drops ", "Drops ")],
    };
    if let Some(first) = words.sentences.first_mut()
        && let Some((rest, verb)) =
            verbs.iter().find_map(|(verb, other)| first.strip_prefix(verb).map(|rest| (rest, other)))
    {
        *first = format!("{verb}{rest}");
    }
    if is_shadow {
        words.sentences.push("It is a shadow policy: evaluated and counted, but it decides nothing.".to_owned());
    }
    if let Some(until) = until {
        let time = display_unix_seconds(until);
        words.sentences.push(match has_ended {
            true => format!("It ended at {time} and does not count any more."),
            false => format!("It counts until {time}."),
        });
    }
}

fn whole(settings: &Settings, now_s: u64) -> Vec<String> {
    let tail = &settings.tail_sampling;
    let is_drop = |rule: &Rule| matches!(rule, Rule::Drop(_));
    let mut counted = tail.policies.iter().filter(|policy| policy.counts_at(now_s));
    let keeps = counted.clone().any(|policy| !is_drop(&policy.rule));
    let drops = counted.any(|policy| is_drop(&policy.rule));
    let kept = match (keeps, drops) {
        (false, _) => "No trace is kept: no policy keeps any.",
        (true, false) => "It is kept if at least one policy keeps it.",
        (true, true) => "It is kept if at least one policy keeps it and none drops it.",
    };
    let mut sentences = vec![wait(tail.decision_wait, tail.decision_wait_after_root_received), kept.to_owned()];
    if tail.sample_on_first_match && keeps {
        sentences.push("The first policy that keeps it is the one that its spans name.".to_owned());
    }
    if !tail.rescue.window.is_zero() && keeps {
        let window = display_duration(tail.rescue.window);
        sentences.push(format!(
            "A dropped trace is kept after all if a span that comes within {window} is evidence for it, as long as memory has it."
        ));
    }
    let sink = sink(&settings.export.endpoint);
    sentences.push(match tail.dry_run {
        true => format!("All traces are written to {sink}, dropped ones too: this is a dry run, which annotates and counts verdicts."),
        false => format!("Kept traces are written to {sink}."),
    });
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
