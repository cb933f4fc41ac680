use super::*;

#[test]
fn connections_leave_files_for_everything_else() {
    let cases = [
        (None, 4_300, 4_300),
        (Some(u64::MAX), 4_300, 4_300),
        (Some(1 << 20), 4_300, 4_300),
        (Some(4_812), 4_300, 4_300),
        (Some(4_811), 4_300, 4_299),
        (Some(1_024), 4_300, 512),
        (Some(600), 4_300, 150),
        (Some(256), 64, 64),
        (Some(100), 64, 25),
    ];
    for (files, wanted, expected) in cases {
        assert_eq!(connections_within(files, wanted), expected, "{files:?} files");
    }
}

#[test]
fn the_soft_limit_is_raised() {
    assert_eq!(raise_limit(), getrlimit(Resource::Nofile).maximum);
    assert_eq!(getrlimit(Resource::Nofile).current, getrlimit(Resource::Nofile).maximum);
}
