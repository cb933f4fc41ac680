use tempfile::TempDir;

use super::*;

/// Processes that run one after the other and read back the requests 1 to 20. One of the requests is fatal.
struct Lives {
    directory: TempDir,
    fatal: Sequence,
    left: Vec<Sequence>,
}

impl Lives {
    fn new(fatal: Sequence) -> Self {
        Lives { directory: TempDir::new().unwrap(), fatal, left: (1..=20).collect() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("journal.recovery")
    }

    /// Runs a process until it is killed, or all requests are finished. Returns the dropped requests, and true if it
    /// was killed. The fatal request kills the process when its group of requests would be finished.
    fn live(&mut self) -> (Vec<Sequence>, bool) {
        let mut suspects = Suspects::open(self.path());
        let (mut bodies, mut dropped) = (Vec::new(), Vec::new());
        for request in self.left.clone() {
            loop {
                match suspects.next(request).unwrap() {
                    Advice::Take => {
                        bodies.push((request, suspects.watched(Bytes::from_static(b"body"))));
                        break;
                    }
                    Advice::Wait if self.let_go(&mut bodies) => return (dropped, true),
                    Advice::Wait => {}
                    Advice::Drop => {
                        self.left.retain(|left| *left != request);
                        dropped.push(request);
                        break;
                    }
                }
            }
        }
        let is_killed = self.let_go(&mut bodies);
        if !is_killed {
            assert!(suspects.is_idle());
            suspects.end();
        }
        (dropped, is_killed)
    }

    /// Finishes the requests. Returns true if that kills the process.
    fn let_go(&mut self, bodies: &mut Vec<(Sequence, Bytes)>) -> bool {
        if bodies.iter().any(|(request, _)| *request == self.fatal) {
            return true;
        }
        bodies.drain(..).for_each(|(request, _)| self.left.retain(|left| *left != request));
        false
    }
}

#[test]
fn only_the_request_that_kills_is_dropped() {
    for fatal in 1..=20 {
        let mut lives = Lives::new(fatal);
        let mut killed = 0;
        let dropped = loop {
            match lives.live() {
                (dropped, false) => break dropped,
                (dropped, true) => assert!(dropped.is_empty(), "{fatal}"),
            }
            killed += 1;
            assert!(killed < 20, "the crash loop does not end: {fatal}");
        };
        assert_eq!((dropped, &lives.left[..]), (vec![fatal], &[][..]));
        assert!(!lives.path().exists());
    }
}

#[test]
fn kills_by_chance_drop_no_request() {
    // Two processes are killed while all requests are taken, and one while the first request is taken alone.
    let mut lives = Lives::new(20);
    assert!(lives.live().1 && lives.live().1);
    let mut suspects = Suspects::open(lives.path());
    assert_eq!(suspects.killed(), Some(2));
    assert_eq!(suspects.next(1).unwrap(), Advice::Take);
    let body = suspects.watched(Bytes::from_static(b"body"));
    assert_eq!(suspects.next(2).unwrap(), Advice::Wait);
    assert_eq!(body, "body");
    drop((suspects, body));
    lives.fatal = 0;
    assert_eq!(lives.live(), (vec![], false));
    assert!(lives.left.is_empty());
}

#[test]
fn after_a_stop_or_with_an_invalid_file_there_are_no_suspects() {
    let lives = Lives::new(0);
    let mut suspects = Suspects::open(lives.path());
    assert_eq!(suspects.next(7).unwrap(), Advice::Take);
    assert!(lives.path().exists());
    suspects.end();
    assert!(!lives.path().exists());
    for text in ["", "1 2", "1 2 3 x 1", "\u{0}\u{0}"] {
        fs::write(lives.path(), text).unwrap();
        assert_eq!(Suspects::open(lives.path()).killed(), None, "{text:?}");
    }
}

#[test]
fn a_pipe_in_place_of_the_file_does_not_stop_the_recovery() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("journal.recovery");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut suspects = Suspects::open(path);
    assert!(suspects.next(1).is_err(), "the first failure is reported");
    assert_eq!(suspects.next(2).unwrap(), Advice::Take);
}
