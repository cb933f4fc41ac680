use std::path::Path;

use parking_lot::Mutex;

use super::*;

/// A name, and a change of the file before a look.
type Step = (&'static str, fn(&Path));

/// Returns the contents that `look` passed on, each with the name of its step.
async fn looks(steps: &[Step]) -> Vec<(String, Vec<Vec<u8>>)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "old").unwrap();
    let (mut watched, first) = WatchedFiles::open(vec![path.clone()]).await.unwrap();
    assert_eq!(first, [b"old"]);
    let taken = Mutex::new(Vec::new());
    let metrics = Metrics::new();
    for (name, step) in steps {
        step(&path);
        watched
            .reload(&metrics, |contents| {
                taken.lock().push(((*name).to_owned(), contents.to_vec()));
                Ok(())
            })
            .await;
    }
    taken.into_inner()
}

#[tokio::test]
async fn contents_are_compared_and_not_dates() {
    let taken = looks(&[
        ("nothing", |_| {}),
        ("written again", |path| std::fs::write(path, "old").unwrap()),
        ("longer than allowed", |path| std::fs::write(path, vec![b'x'; FILE_BYTES_MAX + 1]).unwrap()),
        ("removed", |path| std::fs::remove_file(path).unwrap()),
        ("a pipe without a writer", |path| {
            assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
        ("a directory", |path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        }),
        ("removed again", |path| std::fs::remove_dir(path).unwrap()),
        ("renamed into its place", |path| {
            let next = path.with_extension("next");
            std::fs::write(&next, "new").unwrap();
            std::fs::rename(next, path).unwrap();
        }),
        ("a link that is swapped", |path| {
            let (target, link) = (path.with_extension("target"), path.with_extension("link"));
            std::fs::write(&target, "linked").unwrap();
            std::os::unix::fs::symlink(&target, &link).unwrap();
            std::fs::rename(link, path).unwrap();
        }),
    ])
    .await;
    let expected = [("renamed into its place", "new"), ("a link that is swapped", "linked")];
    let expected = expected.map(|(name, text)| (name.to_owned(), vec![text.as_bytes().to_vec()]));
    assert_eq!(taken, expected);
}

#[tokio::test]
async fn a_pipe_does_not_hang_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let error = WatchedFiles::open(vec![path]).await.unwrap_err().to_string();
    assert!(error.contains("secret: it is not a regular file"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_missing_from_the_start_is_named() {
    let error = WatchedFiles::open(vec!["/nowhere/at all".into()]).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot read /nowhere/at all: "), "{error}");
}
