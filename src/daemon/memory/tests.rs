use super::*;

const GIB: u64 = 1 << 30;

/// Path and text.
type File = (&'static str, &'static str);

/// A root file system of these files.
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
fn the_least_limit_counts() {
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
fn a_size_is_taken_as_it_is() {
    assert_eq!(limit_bytes(Size::Bytes(512)).unwrap(), 512);
}
