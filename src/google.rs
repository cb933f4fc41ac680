//! Google Cloud around the daemon: who it is (credentials), and where it runs (project, region).

use std::error::Error;

use http::{HeaderName, HeaderValue};

pub mod adc;
pub mod advice;
pub mod certs;
pub mod credentials;
pub mod metadata;
pub mod place;
pub mod project;

/// Looks up an environment variable.
pub type Variables<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// The environment of this process.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The project whose quota a call counts on (<https://cloud.google.com/apis/docs/system-parameters>).
const QUOTA_PROJECT_HEADER: HeaderName = HeaderName::from_static("x-goog-user-project");

/// The header of a call that counts on the quota of `project`.
pub(crate) fn quota_of(project: &str) -> Option<(HeaderName, HeaderValue)> {
    HeaderValue::from_str(project).ok().map(|project| (QUOTA_PROJECT_HEADER, project))
}

/// An error with its causes, in one line.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent wrappers say the same again.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod testing;
