//! A value that is replaced while others use it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

/// A value that can be replaced. Users hold the value that they saw last. One load of a number tells them if it is
/// still the present one.
#[derive(Debug, Default)]
pub(crate) struct Replaceable<T> {
    /// A number that grows with each replacement. It changes only while `value` is locked.
    version: AtomicU64,
    value: RwLock<Arc<T>>,
}

/// The value of a [`Replaceable`] as it was last seen.
#[derive(Debug)]
pub(crate) struct Seen<T> {
    version: u64,
    value: Arc<T>,
}

impl<T> Deref for Seen<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Replaceable<T> {
    pub(crate) fn new(value: T) -> Self {
        Replaceable { version: AtomicU64::new(0), value: RwLock::new(Arc::new(value)) }
    }

    /// Returns the present value.
    pub(crate) fn see(&self) -> Seen<T> {
        let value = self.value.read();
        Seen { version: self.version.load(Ordering::Relaxed), value: Arc::clone(&value) }
    }

    /// Returns true if `seen` is the present value. If a lock is held that the replacing thread takes afterwards, it
    /// stays the present one for that thread's later work.
    #[inline]
    pub(crate) fn is_present(&self, seen: &Seen<T>) -> bool {
        self.version.load(Ordering::Acquire) == seen.version
    }

    /// Makes `seen` the present value. Returns true if it was not.
    #[inline]
    pub(crate) fn refresh(&self, seen: &mut Seen<T>) -> bool {
        let is_present = self.is_present(seen);
        if !is_present {
            *seen = self.see();
        }
        !is_present
    }

    /// Calls `next` with the present value, and puts the result in its place. `None` changes nothing.
    pub(crate) fn replace(&self, next: impl FnOnce(&T) -> Option<T>) {
        let mut value = self.value.write();
        if let Some(next) = next(&value) {
            *value = Arc::new(next);
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// Returns the value, if nothing has seen it yet.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        Arc::get_mut(self.value.get_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_sees_each_replacement_once() {
        let value = Replaceable::new(1);
        let mut seen = value.see();
        assert!(value.is_present(&seen) && !value.refresh(&mut seen));
        value.replace(|_| None);
        assert!(!value.refresh(&mut seen), "nothing was replaced");
        value.replace(|present| Some(present + 1));
        assert!(!value.is_present(&seen) && *seen == 1);
        assert!(value.refresh(&mut seen) && !value.refresh(&mut seen));
        assert_eq!(*seen, 2);
    }
}
