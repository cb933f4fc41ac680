//! The daemon's own metrics as OpenMetrics, from the text that the recorder writes.
//!
//! The two formats differ in what is around the samples: the family of a counter has no `_total`, there are no empty
//! lines, and quotes in help texts are escaped. The samples are the same.

const TOTAL: &str = "_total";

/// Returns a text in the format of Prometheus as OpenMetrics, without the line that ends it.
pub(super) fn of_prometheus(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            let is_counter = lines.peek().is_some_and(|next| next.starts_with("# TYPE ") && next.ends_with(" counter"));
            out.extend(["# HELP ", family(name, is_counter), " ", &help.replace('"', "\\\"")]);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            out.extend(["# TYPE ", family(name, kind == "counter"), " ", kind]);
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

/// Returns the name of the family of a metric.
fn family(name: &str, is_counter: bool) -> &str {
    if is_counter { name.strip_suffix(TOTAL).unwrap_or(name) } else { name }
}
