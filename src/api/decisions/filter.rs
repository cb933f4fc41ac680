//! The decisions that a listener wants: the query of its request.

use thiserror::Error;

use crate::receiver::QUOTE_CHARS_MAX;
use crate::settings::diagnostic::printable_start;

/// The most values of all keys of a query together.
const VALUES_MAX: usize = 64;

/// The verdicts that can be asked for.
const VERDICTS: [&str; 2] = ["kept", "dropped"];

/// The decisions that a listener wants. An empty list stands for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    policies: Vec<String>,
    services: Vec<String>,
    verdicts: Vec<String>,
}

/// The reason why a query is not a filter.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FilterError {
    /// The query has an unknown key.
    #[error("a query has the keys policy, service and verdict, each as often as needed; {0:?} is none of them")]
    Key(String),
    /// The verdict is unknown.
    #[error("the verdict is kept or dropped, not {0:?}")]
    Verdict(String),
    /// The query has too many values.
    #[error("a query has at most {VALUES_MAX} values")]
    Values,
}

impl Filter {
    /// Reads the query of a request.
    ///
    /// # Errors
    /// See [`FilterError`].
    pub fn parse(query: &str) -> Result<Self, FilterError> {
        let mut filter = Filter::default();
        for (number, (key, value)) in form_urlencoded::parse(query.as_bytes()).enumerate() {
            if number >= VALUES_MAX {
                return Err(FilterError::Values);
            }
            let values = match key.as_ref() {
                "policy" => &mut filter.policies,
                "service" => &mut filter.services,
                "verdict" if VERDICTS.contains(&value.as_ref()) => &mut filter.verdicts,
                "verdict" => return Err(FilterError::Verdict(printable_start(&value, QUOTE_CHARS_MAX))),
                _ => return Err(FilterError::Key(printable_start(&key, QUOTE_CHARS_MAX))),
            };
            values.push(value.into_owned());
        }
        Ok(filter)
    }

    /// Returns true if a decision with this verdict, by the policy that `policy` names, can be wanted. Asks for the policy
    /// only if that matters.
    pub(super) fn wants(&self, verdict: &str, policy: impl FnOnce() -> String) -> bool {
        let is_verdict = self.verdicts.is_empty() || self.verdicts.iter().any(|wanted| wanted == verdict);
        is_verdict && (self.policies.is_empty() || self.policies.contains(&policy()))
    }

    /// Returns true if only decisions with some services are wanted.
    pub(super) fn names_services(&self) -> bool {
        !self.services.is_empty()
    }

    /// Returns true if one of these services is wanted.
    pub(super) fn wants_any(&self, services: &[String]) -> bool {
        services.iter().any(|service| self.services.contains(service))
    }
}

#[cfg(test)]
mod tests;
