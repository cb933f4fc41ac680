//! Faults of the disk that tests plan. Outside of tests there are no faults, and the checks cost nothing.

use std::io;
use std::path::Path;

/// A system call on a file of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SystemCall {
    /// `open` of an existing file.
    Open,
    /// `open` that creates a file.
    Create,
    /// `read` and `pread`.
    Read,
    /// `write` and `pwrite`.
    Write,
    /// `fdatasync` of a file.
    Sync,
    /// `fsync` of the directory.
    SyncDirectory,
    /// `ftruncate`.
    Cut,
    /// `unlink`.
    Remove,
}

/// The planned faults of a directory's files. Clones share the plan.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    #[cfg(test)]
    plan: std::sync::Arc<parking_lot::Mutex<planned::Plan>>,
}

impl Faults {
    /// Returns an error if a test has planned a fault for this call on the file at `path`.
    #[cfg(test)]
    pub(in crate::segment) fn check(&self, call: SystemCall, path: &Path) -> io::Result<()> {
        self.plan.lock().check(call, path)
    }

    #[cfg(not(test))]
    #[inline]
    pub(in crate::segment) fn check(&self, _: SystemCall, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod planned {
    use super::*;

    /// The planned faults, and the calls so far (failed calls included).
    #[derive(Debug, Default)]
    pub(super) struct Plan {
        faults: Vec<Fault>,
        calls: Vec<SystemCall>,
    }

    #[derive(Debug)]
    struct Fault {
        call: SystemCall,
        /// The end of the file names that the fault applies to.
        name: String,
        /// The number of calls that still succeed.
        skip: usize,
    }

    impl Plan {
        pub(super) fn check(&mut self, call: SystemCall, path: &Path) -> io::Result<()> {
            self.calls.push(call);
            let name = path.to_string_lossy();
            for fault in self.faults.iter_mut().filter(|fault| fault.call == call && name.ends_with(&fault.name)) {
                if fault.skip == 0 {
                    return Err(io::Error::from_raw_os_error(libc::EIO));
                }
                fault.skip -= 1;
            }
            Ok(())
        }
    }

    impl Faults {
        /// Makes every call of this kind fail from now on.
        pub(crate) fn fail(&self, call: SystemCall) {
            self.fail_on(call, "", 0);
        }

        /// Makes calls of this kind, on files whose names end with `name`, fail after the next `skip` calls.
        pub(crate) fn fail_on(&self, call: SystemCall, name: &str, skip: usize) {
            self.plan.lock().faults.push(Fault { call, name: name.to_owned(), skip });
        }

        /// Removes all faults.
        pub(crate) fn mend(&self) {
            self.plan.lock().faults.clear();
        }

        /// Returns the number of calls of this kind so far, failed ones included.
        pub(crate) fn calls(&self, call: SystemCall) -> usize {
            self.plan.lock().calls.iter().filter(|&&made| made == call).count()
        }
    }
}
