use std::io::Write;

use super::*;
use crate::budget::ladder::{self, LIMIT_PERCENT_DEFAULT};

const GIB: u64 = 1 << 30;

/// The path and the text of a file.
type File = (&'static str, &'static str);

/// Returns a directory with these files, as the root of a file system.
fn root(files: &[File]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

#[test]
fn the_lowest_memory_limit_applies() {
    let meminfo = ("proc/meminfo", "MemFree: 1 kB\nMemTotal:        8388608 kB\n");
    let cases: &[(&[File], Option<u64>)] = &[
        (&[], None),
        (&[meminfo], Some(8 * GIB)),
        (&[meminfo, ("sys/fs/cgroup/memory.max", "max\n")], Some(8 * GIB)),
        (&[meminfo, ("sys/fs/cgroup/memory.max", "1073741824\n")], Some(GIB)),
        (&[meminfo, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n")], Some(2 * GIB)),
        (&[meminfo, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")], Some(8 * GIB)),
        (&[meminfo, ("proc/self/cgroup", "0::/a/b\n"), ("sys/fs/cgroup/a/memory.max", "1073741824\n")], Some(GIB)),
        (
            &[
                meminfo,
                ("proc/self/cgroup", "5:cpu,memory:/a\n"),
                ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n"),
            ],
            Some(GIB),
        ),
    ];
    for (files, expected) in cases {
        assert_eq!(container_bytes(root(files).path()), *expected, "{files:?}");
    }
}

#[test]
fn a_limit_in_bytes_is_not_changed() {
    assert_eq!(limit_bytes(Size::Bytes(512)).unwrap(), 512);
}

#[test]
fn only_memory_that_is_neither_booked_nor_allowed_for_is_charged() {
    const MIB: usize = 1 << 20;
    // MiB: resident, accounted for, limit, expected excess.
    let cases = [
        (0, 0, 1600, 0),
        (500, 1000, 1600, 0),
        (1300, 1000, 1600, 0),
        (1310, 1000, 1600, 10),
        (2000, 0, 1600, 1700),
        (40, 8, 8, 0),
        (50, 8, 8, 10),
    ];
    for (resident, booked, limit, expected) in cases {
        let excess = unbooked_bytes(resident * MIB, booked * MIB, limit * MIB);
        assert_eq!(excess, expected * MIB, "{resident} resident, {booked} of {limit} booked");
    }
}

#[test]
fn resident_memory_is_read_anew_each_time() {
    let status = |text: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file
    };
    let known = status(b"Name:\t\xff\nVmRSS:\t   99999 kB\nRssAnon:\t   12345 kB\n");
    for _ in 0..2 {
        assert_eq!(resident_bytes(&known), Some(12345 * 1024));
    }
    assert_eq!(resident_bytes(&status(b"Name:\tx\n")), None);
    for groups in [0, 900, 20_000] {
        let text = format!("Name:\tx\nGroups:\t{}\nRssAnon:\t   12345 kB\nSeccomp:\t0\n", "1234 ".repeat(groups));
        assert_eq!(resident_bytes(&status(text.as_bytes())), Some(12345 * 1024), "{groups} groups");
    }
    for offset in 0..40 {
        let text = format!("Name:\t{}\nRssAnon:\t   12345 kB\n", "x".repeat(READ_BYTES - offset));
        assert_eq!(resident_bytes(&status(text.as_bytes())), Some(12345 * 1024), "a line in two reads");
    }
    let own = resident_bytes(&std::fs::File::open(STATUS).unwrap()).unwrap();
    assert!((1 << 16..1 << 40).contains(&own), "{own} bytes");
}

#[test]
fn a_percentage_leaves_memory_free_in_a_small_container() {
    const MIB: u64 = 1 << 20;
    let mib = |total: u64, percent| part(total * MIB, percent) as u64 / MIB;
    assert_eq!(mib(512, 70.0), 358);
    assert_eq!(mib(192, 70.0), 112);
    assert_eq!(mib(192, 50.0), 96);
    assert_eq!(mib(128, 70.0), 48);
    assert_eq!(mib(64, 70.0), 16);
}

/// All that may be held at once, in a container of any size.
#[test]
fn all_that_is_held_leaves_a_part_of_the_container_free() {
    const MIB: u64 = 1 << 20;
    for mib in (64..1024).chain([2 << 10, 8 << 10, 64 << 10]) {
        let limit = part(mib * MIB, LIMIT_PERCENT_DEFAULT);
        let beyond = (ladder::ENCODED.of(limit) + ladder::RESERVE.of(limit)) as u64;
        let all = limit as u64 + beyond + allowed_bytes(limit) as u64;
        // The transition from LEFT_BYTES_MIN to the percentage is the tightest, at 266 MiB.
        assert!(all * 100 <= mib * MIB * if (256..=300).contains(&mib) { 91 } else { 90 }, "{all} bytes in {mib} MiB");
    }
}
