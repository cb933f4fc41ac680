//! `${env:NAME}`, `${env:NAME:-default}` and `$$` inside one scalar.
//!
//! Runs on scalars that are parsed already: positions stay right, and the value of a variable can add neither keys
//! nor comments.

use crate::settings::diagnostic::{SettingError, quote};

/// Looks up an environment variable.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A text whose references are replaced.
pub(super) struct Expanded {
    pub(super) text: String,
    /// True if a variable was set, so that a part of the text is not from the file.
    pub(super) is_from_environment: bool,
}

/// Returns `text` with its references replaced; at most `bytes_max` long.
pub(super) fn expand(text: &str, env: Env<'_>, bytes_max: usize) -> Result<Expanded, SettingError> {
    let mut out = String::with_capacity(text.len());
    let mut is_from_environment = false;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = if let Some(escaped) = after.strip_prefix('$') {
            out.push('$');
            escaped
        } else if let Some(reference) = after.strip_prefix('{') {
            let (body, after) = reference.split_once('}').ok_or_else(unclosed)?;
            let (value, is_set) = lookup(body, env)?;
            out.push_str(&value);
            is_from_environment |= is_set;
            after
        } else {
            out.push('$');
            after
        };
        refuse_beyond(bytes_max, &out)?;
    }
    out.push_str(rest);
    refuse_beyond(bytes_max, &out)?;
    Ok(Expanded { text: out, is_from_environment })
}

fn refuse_beyond(bytes_max: usize, text: &str) -> Result<(), SettingError> {
    if text.len() <= bytes_max {
        return Ok(());
    }
    Err(SettingError::new(format!("the environment makes this longer than {bytes_max} bytes")))
}

/// Returns the value of `env:NAME` or `env:NAME:-default`, and true if the variable is set. As in the Collector, a variable
/// that is set but empty is empty.
fn lookup(body: &str, env: Env<'_>) -> Result<(String, bool), SettingError> {
    let Some(reference) = body.strip_prefix("env:") else {
        let fault = SettingError::new(format!(
            "{} is not a valid reference to an environment variable",
            quote(&format!("${{{body}}}"))
        ));
        return Err(fault.help("write `${env:NAME}`, or `$$` for a dollar sign"));
    };
    let (name, default) = reference.split_once(":-").map_or((reference, None), |(name, d)| (name, Some(d)));
    if !is_name(name) {
        let fault = SettingError::new(format!("{} is not a valid name of an environment variable", quote(name)));
        return Err(fault.help("a name is made of letters, digits and `_`, and does not start with a digit"));
    }
    let value = env(name).map(|value| (value, true));
    value.or_else(|| default.map(|default| (default.to_owned(), false))).ok_or_else(|| {
        let fault = SettingError::new(format!("the environment variable `{name}` is not set"));
        fault.help(format!("set it, or give a default: `${{env:{name}:-default}}`"))
    })
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn unclosed() -> SettingError {
    SettingError::new("`${` without `}`").help("write `${env:NAME}`, or `$$` for a dollar sign")
}
