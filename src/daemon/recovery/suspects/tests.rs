use tempfile::TempDir;

use super::*;

/// Processes one after the other that read back the requests 1 to 20. One of them is fatal.
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

    /// Lives until it is killed, or all is let go; returns what was dropped, and whether it was killed. The fatal request kills when
    /// those that are taken with it would be let go.
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

    /// Whether that kills.
    fn let_go(&mut self, bodies: &mut Vec<(Sequence, Bytes)>) -> bool {
        if bodies.iter().any(|(request, _)| *request == self.fatal) {
            return true;
        }
        bodies.drain(..).for_each(|(request, _)| self.left.retain(|left| *left != request));
        false
    }
}

#[test]
fn a_request_that_kills_is_found_and_dropped_alone() {
    for fatal in 1..=20 {
        let mut lives = Lives::new(fatal);
        let mut killed = 0;
        let dropped = loop {
            match lives.live() {
                (dropped, false) => break dropped,
                (dropped, true) => assert!(dropped.is_empty(), "{fatal}"),
            }
            killed += 1;
            assert!(killed < 20, "a crash loop: {fatal}");
        };
        assert_eq!((dropped, &lives.left[..]), (vec![fatal], &[][..]));
        assert!(!lives.path().exists());
    }
}

#[test]
fn nothing_is_dropped_because_of_kills_by_chance() {
    // Two kills while all are taken, and one while the first is taken alone.
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
fn a_stop_and_a_file_that_cannot_be_read_leave_no_suspicion() {
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
fn a_pipe_in_the_place_of_the_file_stops_nothing() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("journal.recovery");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut suspects = Suspects::open(path);
    assert!(suspects.next(1).is_err(), "the log says so");
    assert_eq!(suspects.next(2).unwrap(), Advice::Take);
}
