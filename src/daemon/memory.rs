//! How much memory the container has, and how much of it the process takes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::settings::Size;
use crate::tail::budget::Budget;

/// What the process may hold beyond the budget, as a part of it: connections, buffers, the allocator's slack. With the
/// default budget of 70 % of the container, beyond which encoded spans may take a sixteenth and small senders a thirty-second, some
/// percent of that stay free.
const UNBOOKED: f64 = 0.25;
/// No less than this, which a process with hardly any budget needs, too.
const UNBOOKED_BYTES_MIN: usize = 32 << 20;
/// What a percentage leaves of a container, or three quarters of a very small one: [`UNBOOKED_BYTES_MIN`], and what comes and goes
/// between two looks, which does not shrink with the container.
const LEFT_BYTES_MIN: u64 = 80 << 20;
/// How often it is looked: in a tenth of a second, what is unbooked grows by a small part of what is taken in.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// The memory limit cannot be worked out.
#[derive(Debug, Error)]
#[error(
    "cannot find out how much memory there is (neither cgroup files nor /proc/meminfo): set memory.limit to a size such as 512MiB"
)]
pub struct UnknownMemory;

/// The budget in bytes that `limit` means on this machine.
///
/// # Errors
/// A percentage, and nothing says of what.
pub fn limit_bytes(limit: Size) -> Result<usize, UnknownMemory> {
    match limit {
        Size::Bytes(bytes) => Ok(usize::try_from(bytes).unwrap_or(usize::MAX)),
        Size::Percent(percent) => {
            let total = container_bytes(Path::new("/")).ok_or(UnknownMemory)?;
            Ok(part(total, percent))
        }
    }
}

/// So many per cent of the container's `total_bytes`, less in a small one: see [`LEFT_BYTES_MIN`].
fn part(total_bytes: u64, percent: f64) -> usize {
    let most = total_bytes.saturating_sub(LEFT_BYTES_MIN).max(total_bytes / 4);
    ((total_bytes as f64 * percent / 100.0) as u64).min(most) as usize
}

/// Counts in `budget`, for ever, what the process holds beyond its books and [`UNBOOKED`]: books are kept of what was asked for,
/// and the kernel counts what the allocator took for it. Only for a process that has nothing else in it.
pub(super) async fn watch(budget: Budget) {
    let mut interval = tokio::time::interval(WATCH_INTERVAL);
    let mut unbooked = budget.share();
    loop {
        interval.tick().await;
        let Some(resident_bytes) = resident_bytes(Path::new("/")) else { return };
        let booked_bytes = budget.used_bytes().saturating_sub(unbooked.bytes()) + budget.idle_bytes();
        unbooked.resize(unbooked_bytes(resident_bytes, booked_bytes, budget.limit_bytes()));
    }
}

/// Of `resident_bytes`, what is neither booked nor allowed for.
fn unbooked_bytes(resident_bytes: usize, booked_bytes: usize, limit_bytes: usize) -> usize {
    let allowed_bytes = UNBOOKED_BYTES_MIN.max((limit_bytes as f64 * UNBOOKED) as usize);
    resident_bytes.saturating_sub(booked_bytes).saturating_sub(allowed_bytes)
}

/// The process's memory, if the system has a `/proc` (`man 5 proc_pid_status`, `RssAnon`).
/// Without the program's own file, which the kernel can always read again.
fn resident_bytes(root: &Path) -> Option<usize> {
    let status = std::fs::read_to_string(root.join("proc/self/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: usize = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The least of the limits of the process's control groups (version 2, then 1) and the machine's memory. `root` is
/// the file system's root.
fn container_bytes(root: &Path) -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let groups = root.join("sys/fs/cgroup");
    let mut limits: Vec<u64> = Vec::new();
    let own = read(&root.join("proc/self/cgroup")).unwrap_or_default();
    for path in cgroup_files(&groups, &own) {
        limits.extend(read(&path).and_then(|text| text.trim().parse::<u64>().ok()));
    }
    limits.extend(read(&root.join("proc/meminfo")).and_then(|text| meminfo_total(&text)));
    limits.into_iter().min()
}

/// The files that may limit the process, itself and its parents. `own` is `/proc/self/cgroup`.
fn cgroup_files(groups: &Path, own: &str) -> Vec<PathBuf> {
    let mut files = vec![groups.join("memory.max"), groups.join("memory/memory.limit_in_bytes")];
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (base, file) = match controllers {
            "" => (groups.to_path_buf(), "memory.max"),
            c if c.split(',').any(|c| c == "memory") => (groups.join("memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        files.extend(path.ancestors().map(|group| base.join(group).join(file)));
    }
    files
}

/// `MemTotal` in bytes.
fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests;
