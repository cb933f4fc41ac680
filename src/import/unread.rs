//! Reports the keys of a file that no other code of the import has read, so that none vanishes.

use super::foreign::Foreign;
use super::report::Report;

const REASON: &str = "nothing in Spansieve is set by it";
const HELP: &str = "docs/configuration.md has all settings";

/// Reports the parts of `root` about which neither a finding nor the result tells.
pub(super) fn report(root: &Foreign<'_>, report: &mut Report) {
    let mut unread = Vec::new();
    if !is_told(root, report, &mut unread) {
        unread.push(root.clone());
    }
    for part in &unread {
        if part.is_leaf() && part.text().is_none_or(str::is_empty) {
            report.not_needed(part, "it has no value");
        } else {
            report.not_carried(part, REASON, HELP);
        }
    }
}

/// Returns true if the report tells about some of `part`; the rest of it is then added to `unread`.
fn is_told<'a>(part: &Foreign<'a>, report: &Report, unread: &mut Vec<Foreign<'a>>) -> bool {
    if report.tells_all_of(part) {
        return true;
    }
    let (mut told, mut rest) = (report.touches(part), Vec::new());
    for child in part.children() {
        if is_told(&child, report, unread) {
            told = true;
        } else {
            rest.push(child);
        }
    }
    if told {
        unread.append(&mut rest);
    }
    told
}
