//! Conditions in OTTL, wherever they stand.

use crate::condition::Condition;
use crate::condition::ottl::OttlError;
use crate::config::values;
use crate::settings::fault::Fault;
use crate::settings::node::Node;
use crate::settings::reader::Section;

/// The condition in `node`, read by `parse`; what is wrong with it is shown where it stands.
pub(super) fn condition(
    section: &mut Section<'_>,
    node: &Node,
    parse: impl Fn(&str) -> Result<Condition, OttlError>,
) -> Option<Condition> {
    let text = section.check(node, values::searched)?;
    let found = parse(&text).map_err(|error| {
        let fault = Fault::new(format!("OTTL: {}", error.message));
        section.error(node.at_byte(error.offset), error.help.into_iter().fold(fault, Fault::help));
    });
    found.ok()
}
