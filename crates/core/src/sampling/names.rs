//! The names of all policies that were in force since the start of the process, by number.

use std::sync::Arc;

use parking_lot::RwLock;

/// The most names. Each is a value of a metric label for as long as the process runs. A configuration has at most 256
/// at a time.
pub(super) const NAMES_MAX: usize = 4_096;

/// The names of policies by [`Keep::policy`](super::Keep::policy). A number never changes its name, so a verdict keeps
/// its meaning while policies are replaced. Clones share the names.
#[derive(Clone, Debug, Default)]
pub struct PolicyNames(Arc<RwLock<Vec<String>>>);

impl PolicyNames {
    /// Returns names that nothing else shares.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        PolicyNames(Arc::new(RwLock::new(names.to_vec())))
    }

    /// Adds the names that are new in `names`, which begins with all names so far.
    pub fn extend_to(&self, names: &[String]) {
        let mut known = self.0.write();
        let first = known.len();
        known.extend(names.iter().skip(first).cloned());
    }

    /// Returns the result of `work` on the name of `policy`; on an empty name if the number is that of no policy.
    pub fn with<T>(&self, policy: u16, work: impl FnOnce(&str) -> T) -> T {
        work(self.0.read().get(usize::from(policy)).map_or("", String::as_str))
    }

    /// Returns the name of `policy`; `None` if the number is that of no policy.
    #[must_use]
    pub fn get(&self, policy: u16) -> Option<String> {
        self.0.read().get(usize::from(policy)).cloned()
    }

    /// Returns the number of the first name for which `is_it` returns true.
    #[must_use]
    pub fn position(&self, is_it: impl Fn(&str) -> bool) -> Option<u16> {
        self.0.read().iter().position(|name| is_it(name)).and_then(|at| u16::try_from(at).ok())
    }
}

impl<const N: usize> From<[String; N]> for PolicyNames {
    fn from(names: [String; N]) -> Self {
        PolicyNames::new(&names)
    }
}

impl From<&[String]> for PolicyNames {
    fn from(names: &[String]) -> Self {
        PolicyNames::new(names)
    }
}
