//! How much memory the container has.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::config::settings::Size;

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
            Ok((total as f64 * percent / 100.0) as usize)
        }
    }
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
