use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, mpsc};
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};
use tracing::{Level, debug, error, info, trace, warn};

use super::*;

/// A wait that is longer than any machine stalls.
const FOREVER: Duration = Duration::from_secs(60);

/// A buffer of the logged bytes, to be read back.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Returns the text that `log` writes in `format`.
fn logged(format: LogFormat, terminal: bool, level: LogLevel, log: impl FnOnce()) -> String {
    let sink = Sink::default();
    let writer = sink.clone();
    let layer = layer(format, terminal, false, move || writer.clone()).with_filter(filter(level));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
    sink.text()
}

/// Returns the objects that `log` writes as JSON, one a line.
fn objects(log: impl FnOnce()) -> Vec<BTreeMap<String, Value>> {
    let text = logged(LogFormat::Json, false, LogLevel::Trace, log);
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_has_the_fields_that_cloud_logging_knows() {
    let lines = objects(|| info!(spans = 3, sink = "embedded", "Kept."));
    let line = lines.first().unwrap();
    assert_eq!(line["severity"], "INFO");
    assert_eq!(line["message"], "Kept.");
    assert_eq!(line["spans"], 3);
    assert_eq!(line["sink"], "embedded");
    assert_eq!(line["target"], "spansieve::telemetry::log::tests");
    let location = &line["logging.googleapis.com/sourceLocation"];
    assert!(location["file"].as_str().unwrap().ends_with("log/tests.rs"));
    assert!(location["line"].as_str().unwrap().parse::<u32>().unwrap() > 0);
    let time: prost_types::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
    assert!(SystemTime::try_from(time).unwrap().elapsed().unwrap() < Duration::from_secs(60));
    assert_eq!(lines.len(), 1);
}

#[test]
fn time_has_nanoseconds() {
    let sink = Sink::default();
    let writer = sink.clone();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(move || writer.clone())
        .event_format(Json { now: || UNIX_EPOCH + Duration::new(1_795_000_000, 123_456_789) });
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || info!("Now."));
    assert_eq!(serde_json::from_str::<Value>(&sink.text()).unwrap()["time"], "2026-11-18T11:06:40.123456789Z");
}

#[test]
fn levels_are_severities() {
    let lines = objects(|| {
        error!("m");
        warn!("m");
        info!("m");
        debug!("m");
        trace!("m");
    });
    let severities: Vec<_> = lines.iter().map(|line| line["severity"].as_str().unwrap()).collect();
    assert_eq!(severities, ["ERROR", "WARNING", "INFO", "DEBUG", "DEBUG"]);
}

#[test]
fn hostile_strings_come_back_whole() {
    let hostile = [
        "\"},{\"severity\":\"EMERGENCY\"",
        "a\nb\r\nc\u{2028}d",
        "\0\u{1}\u{1b}[31m\u{7f}",
        "\\\\\"",
        "\u{10ffff}\u{feff}",
        "",
    ];
    for text in hostile {
        let lines = objects(|| {
            info!(text, debugged = ?text, "{text}");
        });
        assert_eq!(lines.len(), 1, "one object a line: {text:?}");
        let line = lines.first().unwrap();
        assert_eq!(line["text"], text);
        assert_eq!(line["message"], text);
        assert_eq!(line["debugged"], format!("{text:?}"));
        assert_eq!(line["severity"], "INFO");
    }
}

#[test]
fn values_keep_their_type() {
    let cause = io::Error::other(std::fmt::Error);
    let lines = objects(|| {
        info!(
            int = i64::MIN,
            uint = u64::MAX,
            wide = u128::MAX,
            double = 0.5,
            nan = f64::NAN,
            yes = true,
            nothing = tracing::field::Empty,
            error = &cause as &(dyn std::error::Error + 'static),
            "m"
        );
    });
    let line = lines.first().unwrap();
    assert_eq!(line["int"], json!(i64::MIN));
    assert_eq!(line["uint"], json!(u64::MAX));
    assert_eq!(line["wide"], u128::MAX.to_string());
    assert_eq!(line["double"], json!(0.5));
    assert_eq!(line["nan"], "NaN");
    assert_eq!(line["yes"], true);
    assert!(line["error"].as_str().unwrap().starts_with(&cause.to_string()));
    assert!(!line.contains_key("nothing"));
}

#[test]
fn an_error_names_its_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot listen")]
    struct Outer(#[source] io::Error);
    let error = Outer(io::Error::other("address in use"));
    let lines = objects(|| error!(error = &error as &(dyn std::error::Error + 'static), "m"));
    assert_eq!(lines.first().unwrap()["error"], "cannot listen: address in use");
}

#[test]
fn a_field_cannot_hide_a_standard_field() {
    let lines = objects(|| info!(severity = "NONE", time = 1, target = 2, "m"));
    let line = lines.first().unwrap();
    assert_eq!(line["severity"], "INFO");
    assert_eq!(line["field.severity"], "NONE");
    assert_eq!(line["field.time"], 1);
    assert_eq!(line["field.target"], 2);
}

#[test]
fn the_format_follows_the_terminal() {
    let cases = [
        (LogFormat::Auto, true, false),
        (LogFormat::Auto, false, true),
        (LogFormat::Text, false, false),
        (LogFormat::Json, true, true),
    ];
    for (format, terminal, json) in cases {
        let text = logged(format, terminal, LogLevel::Info, || info!(port = 4317, "Listening."));
        assert_eq!(serde_json::from_str::<Value>(&text).is_ok(), json, "{format:?}, terminal: {terminal}: {text}");
        assert!(text.contains("Listening.") && text.contains("4317"), "{text}");
    }
}

#[test]
fn text_keeps_control_characters_from_the_terminal() {
    let text = logged(LogFormat::Text, true, LogLevel::Info, || info!("{}", "\u{1b}[2J"));
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn libraries_log_only_warnings_and_errors_unless_debugging() {
    let cases = [
        (LogLevel::Error, Level::ERROR, Level::ERROR),
        (LogLevel::Warn, Level::WARN, Level::WARN),
        (LogLevel::Info, Level::INFO, Level::WARN),
        (LogLevel::Debug, Level::DEBUG, Level::DEBUG),
        (LogLevel::Trace, Level::TRACE, Level::TRACE),
    ];
    for (level, own, libraries) in cases {
        let filter = filter(level);
        for event in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
            assert_eq!(filter.would_enable("spansieve::tail", &event), event <= own, "{level:?} {event}");
            assert_eq!(filter.would_enable("h2::codec", &event), event <= libraries, "{level:?} {event}");
        }
    }
}

#[test]
fn queued_lines_are_written_in_order() {
    let sink = Sink::default();
    let queue = LineQueue::start(sink.clone()).unwrap();
    for line in ["a\n", "b\n", "c\n"] {
        (&queue).write_all(line.as_bytes()).unwrap();
    }
    assert!(queue.flush(FOREVER));
    assert_eq!(sink.text(), "a\nb\nc\n");
}

/// A reader that accepts nothing until the test releases it.
struct Stuck(mpsc::Receiver<()>, Sink);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stuck_reader_costs_lines_but_no_time() {
    let (release, stuck) = mpsc::sync_channel(0);
    let sink = Sink::default();
    let queue = LineQueue::start(Stuck(stuck, sink.clone())).unwrap();
    for _ in 0..2 * queue::LINES_MAX {
        (&queue).write_all(b"x\n").unwrap();
    }
    assert!(!queue.flush(Duration::ZERO), "no line is written yet");
    drop(release);
    assert!(queue.flush(FOREVER));
    // The thread may have taken one line out of the queue before it filled up.
    let written = sink.text().lines().count();
    assert!((queue::LINES_MAX..=queue::LINES_MAX + 1).contains(&written), "{written}");
}

/// A reader that has closed its end of the pipe.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_closed_pipe_does_not_stop_logging() {
    let queue = LineQueue::start(Closed).unwrap();
    let layer = layer(LogFormat::Json, false, false, Arc::new(queue.clone()));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        for _ in 0..2 {
            info!("Into the void.");
            assert!(queue.flush(FOREVER), "the thread still takes lines");
        }
    });
}
