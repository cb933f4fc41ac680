//! The processors that rewrite resources: `resource` and `resourcedetection`.

use super::pipelines::Component;
use super::{copied, report_rest};
use crate::import::draft::Item;
use crate::import::report::Report;

/// Detectors whose attributes `resource.detect: gcp` adds.
const GCP_DETECTORS: [&str; 4] = ["gcp", "gke", "gce", "cloud_run"];

const CONTEXT_HELP: &str = "let the sender set an attribute, and use `from_attribute`";

/// Returns the actions of a `resource` processor, at most `max`. `is_before` says that it stands before the sampler.
pub(super) fn actions(processor: &Component<'_>, is_before: bool, max: usize, report: &mut Report) -> Vec<Item> {
    let part = &processor.definition;
    report_rest(part, &["attributes"], &[], report);
    if is_before {
        report.different(part, "resources are rewritten after the decision, so policies see them as they were sent");
    }
    let actions = part.get("attributes").map(|list| list.items()).unwrap_or_default();
    let mut items = Vec::new();
    for action in actions {
        if let Some(context) = action.get("from_context") {
            report.not_carried(&context, "requests are not kept with their metadata", CONTEXT_HELP);
            report.read(&action);
            continue;
        }
        if items.len() == max {
            report.not_carried(&action, "there are too many actions", "leave out those that no query needs");
            continue;
        }
        match copied(&action) {
            Ok(item) => items.push(item.from(&action)),
            Err(reason) => report.not_carried(&action, reason, "write the value itself"),
        }
    }
    items
}

/// Returns `resource.detect` for a `resourcedetection` processor.
pub(super) fn detect(processor: &Component<'_>, report: &mut Report) -> Option<Item> {
    let part = &processor.definition;
    let mut item = None;
    for detector in part.filled("detectors").map(|list| list.items()).unwrap_or_default() {
        if detector.text().is_some_and(|name| GCP_DETECTORS.contains(&name)) {
            let reason =
                "it adds the daemon's own project and region to resources that have none; not what the senders run on";
            report.different(&detector, reason);
            item = Some(Item::text("gcp").from(&detector));
        } else {
            let reason = "Spansieve knows its own place on Google Cloud only";
            report.not_carried(
                &detector,
                reason,
                "let the senders' SDKs detect their resource, or write `resource.attributes`",
            );
        }
    }
    let known = [
        ("timeout", crate::import::report::Outcome::NotNeeded, "the platform is asked once, at the start"),
        ("override", crate::import::report::Outcome::Different, "attributes that a resource has are left as they are"),
    ];
    report_rest(part, &["detectors"], &known, report);
    item
}
