//! The memory of the container, and the part of it that the process uses.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::budget::Budget;
use crate::budget::ladder::UNACCOUNTED;
use crate::settings::Size;

/// The least memory that the process may use beyond the budget, even if [`UNACCOUNTED`] is less. A process with a very
/// small budget needs it, too.
const UNBOOKED_BYTES_MIN: usize = 32 << 20;
/// The bytes of the container that a percentage leaves free, or three quarters of a very small container. They hold
/// [`UNBOOKED_BYTES_MIN`] and the memory that comes and goes between two measurements, which does not shrink with the
/// container.
const LEFT_BYTES_MIN: u64 = 80 << 20;
/// The interval between two measurements. In a tenth of a second, the memory that is not accounted for grows by a small
/// part of the bytes that senders send.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// The file with the memory of the process.
const STATUS: &str = "/proc/self/status";
/// Bytes of one read of [`STATUS`]. The kernel writes some 1,500, and more if the process has hundreds of groups.
const READ_BYTES: usize = 4_096;
/// The most bytes of [`STATUS`] that are read.
const STATUS_BYTES_MAX: usize = 1 << 20;

/// The memory limit cannot be computed.
#[derive(Debug, Error)]
#[error(
    "cannot find the size of the memory (neither in cgroup files nor in /proc/meminfo): set memory.limit to a size such as 512MiB"
)]
pub struct UnknownMemory;

/// Returns the budget in bytes that `limit` means on this machine.
///
/// # Errors
/// `limit` is a percentage, and the memory of the machine is unknown.
pub fn limit_bytes(limit: Size) -> Result<usize, UnknownMemory> {
    match limit {
        Size::Bytes(bytes) => Ok(usize::try_from(bytes).unwrap_or(usize::MAX)),
        Size::Percent(_) => detected_bytes().map(|total| limit_bytes_of(limit, total)).ok_or(UnknownMemory),
    }
}

/// Returns the budget in bytes that `limit` means in a container of `container_bytes`.
#[must_use]
pub fn limit_bytes_of(limit: Size, container_bytes: u64) -> usize {
    match limit {
        Size::Bytes(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
        Size::Percent(percent) => part(container_bytes, percent),
    }
}

/// Returns the memory of the container, or of the machine if nothing limits it further. `None` if it is unknown.
#[must_use]
pub fn detected_bytes() -> Option<u64> {
    container_bytes(Path::new("/"))
}

/// Returns `percent` per cent of the container's `total_bytes`, or less in a small container: see [`LEFT_BYTES_MIN`].
fn part(total_bytes: u64, percent: f64) -> usize {
    let most = total_bytes.saturating_sub(LEFT_BYTES_MIN).max(total_bytes / 4);
    ((total_bytes as f64 * percent / 100.0) as u64).min(most) as usize
}

/// Charges to `budget`, for as long as the process runs, the memory that the process uses beyond its accounts and
/// [`UNACCOUNTED`]. The accounts hold the bytes that were requested; the kernel counts the bytes that the allocator took
/// for them. Use it only if nothing else runs in the process.
pub(super) async fn watch(budget: Budget) {
    // Opened once: senders can use up all files of the process.
    let Ok(status) = File::open(STATUS) else { return };
    let mut interval = tokio::time::interval(WATCH_INTERVAL);
    let mut unbooked = budget.share();
    if resident_bytes(&status).is_none() {
        tracing::warn!(
            file = STATUS,
            "The memory of the process cannot be measured: only the memory that it accounts for is limited."
        );
    }
    loop {
        interval.tick().await;
        // Without a measurement, the last one stays in force.
        let Some(resident_bytes) = resident_bytes(&status) else { continue };
        let booked_bytes = budget.filled_bytes().saturating_sub(unbooked.bytes()) + budget.idle_bytes();
        unbooked.resize(unbooked_bytes(resident_bytes, booked_bytes, budget.limit_bytes()));
    }
}

/// Returns the part of `resident_bytes` that is neither accounted for nor allowed by [`UNACCOUNTED`].
fn unbooked_bytes(resident_bytes: usize, booked_bytes: usize, limit_bytes: usize) -> usize {
    resident_bytes.saturating_sub(booked_bytes).saturating_sub(allowed_bytes(limit_bytes))
}

/// Returns the bytes that the process may use beside a budget of `limit_bytes`.
fn allowed_bytes(limit_bytes: usize) -> usize {
    UNBOOKED_BYTES_MIN.max(UNACCOUNTED.of(limit_bytes))
}

/// Returns the memory of the process, if the system has a `/proc` (`man 5 proc_pid_status`, `RssAnon`). Excludes the
/// pages of the program's file, which the kernel can always read again.
fn resident_bytes(status: &File) -> Option<usize> {
    let (mut text, mut part) = (Vec::new(), [0; READ_BYTES]);
    while text.len() < STATUS_BYTES_MAX {
        let length = status.read_at(&mut part, text.len() as u64).ok()?;
        text.extend_from_slice(&part[..length]);
        let value = text.split_inclusive(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"RssAnon:"));
        match value {
            // The last line may not be complete.
            Some([value @ .., b'\n']) => return kibibytes(value),
            _ if length == 0 => break,
            _ => {}
        }
    }
    None
}

/// Returns the bytes that a value such as `  12345 kB` stands for.
fn kibibytes(value: &[u8]) -> Option<usize> {
    let kib: usize = str::from_utf8(value).ok()?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Returns the least of the memory limits of the process's control groups (version 2, then 1) and the machine's memory.
/// `root` is the root of the file system.
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

/// Returns the files that may limit the memory of the process: those of its control group and of the groups above it.
/// `own` is the text of `/proc/self/cgroup`.
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

/// Returns `MemTotal` in bytes.
fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests;
