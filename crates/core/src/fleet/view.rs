//! The members of a fleet as one of them sees them, and the owners of traces.

use crate::otlp::TraceId;
use crate::sampling::ConfigMark;

/// The most members of a fleet. Of a longer list, those with the smallest numbers count.
pub const MEMBERS_MAX: usize = 256;

/// The number of an instance, random at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

impl std::fmt::Display for MemberId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl MemberId {
    /// Reads the form that [`MemberId`] is displayed in.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_it = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_digit() || digit.is_ascii_lowercase());
        u64::from_str_radix(text, 16).ok().filter(|_| is_it).map(MemberId)
    }
}

/// A member, as the list of members says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberFacts {
    /// Its number.
    pub id: MemberId,
    /// The mark of its policies.
    pub config: ConfigMark,
}

/// Members with equal policies. They own traces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View(Vec<MemberId>);

impl View {
    /// Creates the view of these members.
    pub fn new(ids: impl IntoIterator<Item = MemberId>) -> Self {
        let mut ids: Vec<_> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        View(ids)
    }

    /// Returns the members.
    #[must_use]
    pub fn ids(&self) -> &[MemberId] {
        &self.0
    }

    /// Returns true if this is one of the members.
    #[must_use]
    pub fn contains(&self, id: MemberId) -> bool {
        self.0.binary_search(&id).is_ok()
    }

    /// Returns the bytes of memory that the list takes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<MemberId>()
    }

    /// Returns the owner of a trace: the member with the greatest weight for it. `None` if there are no members. When
    /// members come or go, only their own share of the traces changes its owner.
    #[must_use]
    pub fn owner(&self, id: TraceId) -> Option<MemberId> {
        self.0.iter().copied().max_by_key(|member| (weight(*member, id), *member))
    }
}

/// Returns the weight of a member for a trace.
fn weight(member: MemberId, id: TraceId) -> u64 {
    let id = u128::from_be_bytes(id.0);
    mix(mix(member.0 ^ (id >> 64) as u64) ^ id as u64)
}

/// The finalizer of splitmix64 (<https://prng.di.unimi.it/splitmix64.c>).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
