//! Conditions, patterns and numbers in the configuration.

use super::ottl::OttlError;
use super::{Condition, Number, Pattern};
use crate::settings::diagnostic::SettingError;
use crate::settings::kinds::AsText;
use crate::settings::node::{Node, ScalarType};
use crate::settings::reader::Section;
use crate::settings::values::{Read, kind, not_a_number, text};

/// Bytes of a value that spans are searched for.
const VALUE_BYTES_MAX: usize = 65_532;

impl AsText for Pattern {}

/// Reads a number, whole or not.
pub(crate) fn number(node: &Node) -> Read<Number> {
    match kind(node) {
        ScalarType::Int(value) => Ok(Number::Int(value)),
        ScalarType::Float(value) if value.is_finite() => Ok(Number::Double(value)),
        _ => Err(not_a_number(node)),
    }
}

/// Reads a string that spans are searched for.
pub(crate) fn searched(node: &Node) -> Read<String> {
    let text = text("a string", node)?;
    if text.len() > VALUE_BYTES_MAX {
        return Err(SettingError::new(format!("a value must be at most {VALUE_BYTES_MAX} bytes")));
    }
    Ok(text.to_owned())
}

/// Reads a regular expression.
pub(crate) fn pattern(node: &Node) -> Read<Pattern> {
    Pattern::new(&searched(node)?)
        .map_err(|error| SettingError::new(format!("not a regular expression: {error}")).help(error.help))
}

/// Returns the condition in `node`, which `parse` reads. A problem is reported at its place in the text.
pub(crate) fn condition(
    section: &mut Section<'_>,
    node: &Node,
    parse: impl Fn(&str) -> Result<Condition, OttlError>,
) -> Option<Condition> {
    let text = section.check(node, searched)?;
    let found = parse(&text).map_err(|error| {
        let fault = SettingError::new(format!("OTTL: {}", error.message));
        section.error(node.at_byte(error.offset), error.help.into_iter().fold(fault, SettingError::help));
    });
    found.ok()
}
