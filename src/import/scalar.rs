//! Scalars as YAML text that Spansieve reads with the meaning that they have in the file.

use super::foreign::Foreign;
use crate::settings::node::ScalarType;

/// Returns a scalar of the Collector as YAML text, with its references to the environment in the form that Spansieve
/// reads (opentelemetry-collector `confmap/README.md`, "Configuration substitution").
///
/// # Errors
/// The value is not a scalar, or comes from a source that Spansieve does not read; the error says which.
pub(super) fn collector(value: &Foreign<'_>) -> Result<String, String> {
    let scalar = value.scalar().ok_or_else(|| format!("`{}` is not a single value", value.path))?;
    match scalar.kind {
        ScalarType::Bool(value) => Ok(value.to_string()),
        ScalarType::Int(_) | ScalarType::Float(_) => Ok(scalar.text.clone()),
        ScalarType::Null | ScalarType::Text => references(&scalar.text).map(|text| quoted(&text)),
    }
}

/// Returns a text in which Spansieve finds no references to the environment.
pub(super) fn escaped(text: &str) -> String {
    if text.contains("$$") || text.contains("${") { text.replace('$', "$$") } else { text.to_owned() }
}

/// Returns `text` with the Collector's references as Spansieve writes them.
pub(super) fn references(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            out.push_str("$$");
            after
        } else if let Some((body, after)) = after.strip_prefix('{').and_then(|after| after.split_once('}')) {
            out.push_str(&format!("${{env:{}}}", variable(body)?));
            after
        } else {
            // `${` without its end is plain text in the Collector.
            out.push_str(if after.starts_with('{') { "$$" } else { "$" });
            after
        };
    }
    out.push_str(rest);
    Ok(out)
}

/// Returns the variable of `${body}`, with its default.
fn variable(body: &str) -> Result<&str, String> {
    let reference = body.strip_prefix("env:").unwrap_or(body);
    let name = reference.split_once(":-").map_or(reference, |(name, _)| name);
    if name.contains("${") || reference.contains("${") {
        return Err("it has a reference within a reference".to_owned());
    }
    if let Some((scheme, _)) = name.split_once(':') {
        return Err(format!("it comes from `{scheme}:`, and Spansieve reads environment variables only"));
    }
    let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if name.starts_with(is_first) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Ok(reference)
    } else {
        Err("it refers to something that is not an environment variable".to_owned())
    }
}

/// Returns the names of the variables without a default in a line of a configuration of Spansieve.
pub(super) fn variables(line: &str) -> impl Iterator<Item = &str> {
    line.split("${env:").skip(1).filter_map(|rest| {
        let body = rest.split('}').next()?;
        (!body.contains(":-")).then_some(body)
    })
}

/// Returns a text as a YAML scalar that is read as a string, within brackets and outside of them.
pub(super) fn quoted(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '%');
    let is_start = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/');
    if text.starts_with(is_start) && text.chars().all(is_word) && ScalarType::of_plain(text) == ScalarType::Text {
        return text.to_owned();
    }
    // Printable characters of YAML 1.2.2, production 1, that no reader takes for a line break.
    let is_printable =
        |c: char| matches!(c, ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}');
    if !text.chars().all(is_printable) {
        return escaped_quotes(text);
    }
    if text.contains(['"', '\\']) { format!("'{}'", text.replace('\'', "''")) } else { format!("\"{text}\"") }
}

fn escaped_quotes(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            _ => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
