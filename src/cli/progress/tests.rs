use super::*;

#[test]
fn the_line_is_shown_after_a_second_changes_seldom_and_is_removed() {
    let (mut out, start) = (Vec::new(), Instant::now());
    let progress = Progress::on(&mut out, true, start);
    for millis in (0..1_250).step_by(50) {
        progress.show_at(start + Duration::from_millis(millis), || millis.to_string());
    }
    drop(progress);
    assert_eq!(String::from_utf8(out).unwrap(), format!("{CLEAR}1000{CLEAR}1100{CLEAR}1200{CLEAR}"));
}

#[test]
fn nothing_is_shown_without_a_terminal_and_nothing_of_a_short_command() {
    let start = Instant::now();
    for (is_terminal, millis) in [(false, 5_000), (true, 900)] {
        let mut out = Vec::new();
        let progress = Progress::on(&mut out, is_terminal, start);
        progress.show_at(start + Duration::from_millis(millis), || "text".to_owned());
        drop(progress);
        assert!(out.is_empty());
    }
}

/// An output that tells what is written.
struct Told(mpsc::SyncSender<String>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nobody reads the end.
        let _ = self.0.try_send(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn work_without_steps_shows_its_seconds() {
    let (tell, told) = mpsc::sync_channel(100);
    let long_ago = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
    let progress = Progress::on(Told(tell), true, long_ago);
    // The work ends once a line is shown.
    let line = progress.beside("reading a file", || told.recv_timeout(Duration::from_secs(60)).unwrap());
    assert!(line.starts_with(&format!("{CLEAR}reading a file: ")) && line.ends_with(" s"), "{line}");
    assert_eq!(told.iter().last().unwrap(), CLEAR);
}
