//! The view that other instances have of the policies: marks of names and of configurations, and the parts of limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};

use super::Keep;
use super::policies::{Policies, PolicySet};
use super::threshold::Threshold;

/// The number of instances that share each limit. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Members(Arc<AtomicU32>);

impl Default for Members {
    fn default() -> Self {
        Members(Arc::new(AtomicU32::new(1)))
    }
}

impl Members {
    pub(super) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The mark of a policy's name. It means the same on every instance; the number of a policy does not, because it depends
/// on the earlier configurations of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameMark(pub u32);

impl NameMark {
    /// Returns the mark of a name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let [a, b, c, d, ..] = Sha256::digest(name.as_bytes())[..] else { return NameMark(0) };
        NameMark(u32::from_le_bytes([a, b, c, d]))
    }
}

/// The mark of a configuration of policies. Summaries of instances with equal marks can be merged: their bits and keys
/// mean the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigMark(pub u64);

impl ConfigMark {
    /// Returns the mark of `set` for this version of the program.
    #[must_use]
    pub fn of(set: &PolicySet<'_>) -> Self {
        let text = format!("{} {set:?}", env!("CARGO_PKG_VERSION"));
        let [a, b, c, d, e, f, g, h, ..] = Sha256::digest(text.as_bytes())[..] else { return ConfigMark(0) };
        ConfigMark(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl Policies {
    /// Sets the number of instances that share each limit. It holds for the successors of these policies, too.
    pub fn share_among(&self, members: u32) {
        self.members_ref().0.store(members.max(1), Ordering::Relaxed);
    }

    /// Returns true if a policy has this number.
    #[must_use]
    pub fn has_name(&self, number: u16) -> bool {
        usize::from(number) < self.marks().len()
    }

    /// Returns the mark of the policy with this number, or of an empty name if there is none.
    #[must_use]
    pub fn mark(&self, number: u16) -> NameMark {
        self.marks().get(usize::from(number)).copied().unwrap_or_else(|| NameMark::of(""))
    }

    /// Returns the number of the policy with this mark.
    #[must_use]
    pub fn number_of(&self, mark: NameMark) -> Option<u16> {
        let at = self.marks().iter().position(|known| *known == mark)?;
        u16::try_from(at).ok()
    }

    /// Returns the verdict on a trace that an instance with other policies kept on evidence. Names the policy with `mark`,
    /// or the first one that keeps traces on evidence if there is none.
    #[must_use]
    pub fn kept_elsewhere(&self, mark: NameMark, threshold: Threshold) -> Keep {
        Keep::new(self.number_of(mark).unwrap_or_else(|| self.first_certain()), threshold)
    }
}
