use tempfile::TempDir;

use super::*;

const OWNER: DirectoryOwner = DirectoryOwner { name: "test", key: "test.directory" };

fn open(path: &Path) -> (Directory, Vec<u64>) {
    Directory::open(path, OWNER).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn no_other_user_can_hold_the_lock_or_read_a_segment() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a/b");
    let (mut made, _) = open(&path);
    let (number, _) = made.create(b"header").unwrap();
    let lock = path.join("test.lock");
    assert_eq!([&path, &lock, &made.segment(number)].map(|path| mode(path)), [0o700, 0o600, 0o600]);
    drop(made);
    fs::set_permissions(&lock, Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    let _made = open(&path);
    assert_eq!(mode(&lock), 0o600, "the mode of a lock file of an earlier version is corrected");
    assert_eq!(mode(&path), 0o755, "the mode of an existing directory is left to the operator");
}

#[test]
fn pipes_and_directories_with_segment_names_are_ignored() {
    let directory = TempDir::new().unwrap();
    let pipe = directory.path().join(OWNER.file_name(1));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::create_dir(directory.path().join(OWNER.file_name(2))).unwrap();
    let (mut opened, segments) = open(directory.path());
    assert_eq!(segments, [] as [u64; 0]);
    assert_eq!(opened.create(b"header").unwrap().0, 3, "new segments do not take the names of existing files");
    assert!(opened.open_segment(1).unwrap_err().to_string().contains("not a regular file"));
    drop(opened);
    let lock = directory.path().join("test.lock");
    fs::remove_file(&lock).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&lock).status().unwrap().success());
    assert!(matches!(Directory::open(directory.path(), OWNER), Err(OpenError::Unusable { .. })));
}

#[test]
fn numbers_that_this_program_never_gives_are_left_alone() {
    let directory = TempDir::new().unwrap();
    for number in [7, u64::MAX, u64::MAX - 1, 1 << 63, NUMBER_MAX + 1] {
        fs::write(directory.path().join(OWNER.file_name(number)), "").unwrap();
    }
    let (mut opened, segments) = open(directory.path());
    assert_eq!(segments, [7]);
    assert_eq!(opened.create(b"header").unwrap().0, 8);
    fs::write(opened.segment(9), "made by another program").unwrap();
    assert_eq!(opened.create(b"header").unwrap().0, 10);
    opened.next_number = NUMBER_MAX + 1;
    let error = opened.create(b"header").unwrap_err().to_string();
    assert!(error.contains(&OWNER.file_name(NUMBER_MAX)), "{error}");
}

#[test]
fn a_new_file_is_either_durable_or_removed() {
    let directory = TempDir::new().unwrap();
    let (mut opened, _) = open(directory.path());
    for call in [SystemCall::Create, SystemCall::Write, SystemCall::SyncDirectory] {
        opened.faults().fail(call);
        opened.create(b"header").unwrap_err();
        opened.faults().mend();
        assert_eq!(OWNER.segments(directory.path()).unwrap(), [], "{call:?}");
    }
    opened.faults().fail(SystemCall::Write);
    opened.faults().fail(SystemCall::Remove);
    for _ in 0..3 {
        opened.create(b"header").unwrap_err();
    }
    opened.faults().mend();
    assert_eq!(
        OWNER.segments(directory.path()).unwrap().len(),
        1,
        "at most one unused file is left, not one for each attempt"
    );
    let (number, _) = opened.create(b"header").unwrap();
    assert_eq!(OWNER.segments(directory.path()).unwrap(), [(number, opened.segment(number))]);
    let syncs = opened.faults().calls(SystemCall::SyncDirectory);
    opened.create(b"header").unwrap();
    assert_eq!(opened.faults().calls(SystemCall::SyncDirectory), syncs + 1);
}

#[test]
fn a_missing_directory_is_not_mistaken_for_an_empty_one() {
    let directory = TempDir::new().unwrap();
    let (path, away) = (directory.path().join("here"), directory.path().join("away"));
    let (mut opened, _) = open(&path);
    let (number, file) = opened.create(b"header").unwrap();
    assert!(file.is_in_place());
    fs::rename(&path, &away).unwrap();
    assert!(!file.is_in_place());
    opened.check().unwrap_err();
    opened.remove(number).unwrap_err();
    fs::create_dir(&path).unwrap();
    assert!(opened.create(b"header").unwrap_err().to_string().contains("another directory"));
    opened.remove(number).unwrap_err();
    fs::remove_dir(&path).unwrap();
    fs::rename(&away, &path).unwrap();
    assert!(file.is_in_place());
    opened.remove(number).unwrap();
    opened.remove(number).unwrap();
    assert!(!file.is_in_place());
    opened.create(b"header").unwrap();
}
