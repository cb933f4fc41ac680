//! Google Cloud in the daemon: its identity (credentials), and its place (project, region).

use std::error::Error;

use http::{HeaderName, HeaderValue};

pub mod adc;
pub mod advice;
pub mod certs;
pub mod credentials;
pub mod metadata;
pub mod place;
pub mod project;

/// The page of Cloud Trace in the console of Google Cloud. It also shows the spans of the Telemetry API.
pub const TRACE_CONSOLE: &str = "https://console.cloud.google.com/traces/list";

/// A function that returns the value of an environment variable.
pub type Variables<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// Returns the value of a variable in the environment of this process.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The header with the project whose quota a call uses (<https://cloud.google.com/apis/docs/system-parameters>).
const QUOTA_PROJECT_HEADER: HeaderName = HeaderName::from_static("x-goog-user-project");

/// Returns the header of a call that uses the quota of `project`, or `None` if `project` is not a valid header value.
pub(crate) fn quota_of(project: &str) -> Option<(HeaderName, HeaderValue)> {
    HeaderValue::from_str(project).ok().map(|project| (QUOTA_PROJECT_HEADER, project))
}

/// Returns the text of an error and its causes, in one line.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent wrappers repeat the text of their cause.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod testing;
