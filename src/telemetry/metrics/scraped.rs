//! A reader of the text of `/metrics`, which the process uses to show its own metrics.

/// Returns the labels and the value of each series of the metric `name`.
pub fn series<'a>(metrics: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    metrics.lines().filter_map(move |line| {
        let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        (labels.is_empty() || labels.starts_with('{')).then_some((labels, value.parse().ok()?))
    })
}

/// Returns the sum of all series of the metric `name`.
#[must_use]
pub fn sum(metrics: &str, name: &str) -> f64 {
    series(metrics, name).map(|(_, value)| value).sum()
}

/// Returns the value of the label `name` in `labels`.
#[must_use]
pub fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let value = labels.split_once(&format!("{name}=\""))?.1;
    value.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests;
