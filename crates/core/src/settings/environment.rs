//! Keeps values of the environment out of messages: they may be secrets, and messages end up in logs.

use std::collections::HashMap;

use super::diagnostic::{Diagnostic, quote};
use super::node::{Node, NodeValue, ScalarNode};

/// The shortest value that is recognized within another text on its line, and in a message about another line. Shorter
/// ones are often in the file as well.
const PART_CHARS_MIN: usize = 4;
const ELSEWHERE_CHARS_MIN: usize = 8;

/// The values of a configuration that come from the environment, in whole or in part.
#[derive(Debug, Default)]
pub struct EnvironmentValues {
    by_line: HashMap<usize, Vec<Hidden>>,
    /// The references of longer values, as messages quote both.
    elsewhere: HashMap<String, String>,
}

/// A value, and the reference that stands in the file, as messages show them.
#[derive(Debug)]
struct Hidden {
    value: String,
    reference: String,
}

impl EnvironmentValues {
    /// Returns the values in the tree of `root`.
    #[must_use]
    pub fn of(root: &Node) -> Self {
        let mut values = EnvironmentValues::default();
        values.add(root);
        values
    }

    fn add(&mut self, node: &Node) {
        match &node.value {
            NodeValue::Scalar(ScalarNode { text, written: Some(written), .. }) if !text.is_empty() => {
                let bare = |text: &str| quote(text).trim_matches('`').trim_end_matches("...").to_owned();
                if text.chars().count() >= ELSEWHERE_CHARS_MIN {
                    self.elsewhere.insert(quote(text), quote(written));
                }
                let hidden = Hidden { value: bare(text), reference: bare(written) };
                self.by_line.entry(node.at.line).or_default().push(hidden);
            }
            NodeValue::Scalar(_) | NodeValue::Broken => {}
            NodeValue::Seq(items) => items.iter().for_each(|item| self.add(item)),
            NodeValue::Map(entries) => entries.iter().for_each(|(_, value)| self.add(value)),
        }
    }

    /// Puts the references in the place of their values in the message and the advice of `problem`.
    pub fn hide_in(&self, problem: &mut Diagnostic) {
        for hidden in self.by_line.get(&problem.line).into_iter().flatten() {
            problem.message = hidden.replaced(&problem.message);
            if hidden.is_repeated_in(&problem.message) {
                problem.message = format!("the value of `{}` cannot be used here", hidden.reference);
            }
            problem.help = problem.help.take().map(|help| hidden.replaced(&help));
            problem.help.take_if(|help| hidden.is_repeated_in(help));
        }
        for text in [Some(&mut problem.message), problem.help.as_mut()].into_iter().flatten() {
            let found = quoted(text).filter_map(|part| self.elsewhere.get_key_value(&format!("`{part}`")));
            let found: Vec<_> = found.collect();
            found.into_iter().for_each(|(value, reference)| *text = text.replace(value, reference));
        }
    }
}

impl Hidden {
    /// Returns `text` with the reference in the place of the value.
    fn replaced(&self, text: &str) -> String {
        let Hidden { value, reference } = self;
        match value.chars().count() >= PART_CHARS_MIN {
            true => text.replace(value, reference),
            false => text.replace(&format!("`{value}`"), &format!("`{reference}`")),
        }
    }

    /// Returns true if `text` quotes a part of the value that is not in the reference.
    fn is_repeated_in(&self, text: &str) -> bool {
        let mut parts = quoted(text).map(|part| part.trim_end_matches("...").trim());
        parts.any(|part| part.len() > 2 && self.value.contains(part) && !self.reference.contains(part))
    }
}

/// Returns the parts of `text` in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests;
