//! Bad input to `spansieve record` and `spansieve simulate`: what they say, and their exit codes.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use spansieve::journal::format::{RecordKind, put_record, segment_header};
use tempfile::TempDir;

use super::text;
use crate::daemon_api::asking::spansieve;

/// Returns a gigabyte of zeros, compressed.
fn zeros() -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..1_024).for_each(|_| encoder.write_all(&zeros).unwrap());
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn simulate_says_what_it_cannot_read() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    let files: [(&str, &[u8], &str); 6] = [
        ("empty", b"", "is empty"),
        ("foreign", b"hello, this is no recording", "has no traces in it"),
        ("cut", b"SPANJRNL\x01\0", "is not a recording that can be read: it ends within its header"),
        ("later", b"SPANJRNL\x09\0\0\0\0\0\0\0", "its format version is 9"),
        ("gzip", b"\x1f\x8b\x08\0", "the compressed body ends too early"),
        ("zeros", &zeros(), "has no traces in it"),
    ];
    for (name, contents, message) in files {
        std::fs::write(path(name), contents).unwrap();
        let begin = Instant::now();
        let printed = spansieve(&["simulate", text(&path(name))]).await;
        assert_eq!((printed.code, printed.stdout.as_str()), (Some(1), ""), "{name}: {printed:?}");
        assert!(printed.stderr.starts_with("error: ") && printed.stderr.contains(message), "{name}: {printed:?}");
        assert!(printed.stderr.contains("= help: "), "{name}: {printed:?}");
        assert!(begin.elapsed() < Duration::from_secs(30), "{name} fails at once");
    }
    for (file, message) in [(Path::new("."), "a directory without a recording"), (&path("none"), "is the path right?")]
    {
        let printed = spansieve(&["simulate", text(file)]).await;
        assert!(printed.code == Some(1) && printed.stderr.contains(message), "{printed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn simulate_needs_configurations_that_can_be_used() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("bad.yaml"), "otlp: 5\n").unwrap();
    std::fs::write(path("good.yaml"), "").unwrap();
    let (bad, good, file) = (path("bad.yaml"), path("good.yaml"), path("none.rec"));
    for args in [
        vec!["simulate", "--config", text(&bad), text(&file)],
        vec!["simulate", "--config", text(&good), "--against", text(&bad), text(&file)],
    ] {
        let printed = spansieve(&args).await;
        assert!(printed.code == Some(78) && printed.stderr.contains("bad.yaml:1:7"), "{printed:?}");
    }
    let printed = spansieve(&["simulate", "--help"]).await;
    assert!(printed.stdout.contains("Examples:") && printed.stdout.contains("--against"), "{}", printed.stdout);
    let printed = spansieve(&["simulate"]).await;
    assert!(printed.code == Some(2) && printed.stderr.contains("RECORDING"), "{printed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn simulate_replaces_no_file() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("config.yaml"), "").unwrap();
    let mut recording = segment_header();
    put_record(&mut recording, RecordKind::Request, 1, 1, b"");
    std::fs::write(path("shop.rec"), &recording).unwrap();
    std::os::unix::fs::symlink(path("shop.rec"), path("link")).unwrap();
    std::os::unix::fs::symlink(path("nothing"), path("dangling")).unwrap();
    let [config, file] = ["config.yaml", "shop.rec"].map(path);
    for name in ["shop.rec", "link", "dangling"] {
        let ids = path(name);
        let args = ["simulate", "--config", text(&config), "--kept-ids", text(&ids), text(&file)];
        let printed = spansieve(&args).await;
        let message = format!("{name} exists already: give --kept-ids another name, or remove it");
        assert!(printed.code == Some(1) && printed.stderr.contains(&message), "{printed:?}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), recording);
    assert!(!path("nothing").exists());
    let ids = path("none/ids");
    let printed = spansieve(&["simulate", "--config", text(&config), "--kept-ids", text(&ids), text(&file)]).await;
    assert!(printed.code == Some(1) && printed.stderr.contains("none/ids cannot be created"), "{printed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn record_says_what_is_wrong_and_leaves_no_file() {
    let directory = TempDir::new().unwrap();
    let out = directory.path().join("shop.rec");
    let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let page = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\nhello";
    let noise =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.spansieve.recording\r\ncontent-length: 20\r\n\r\nhello, hello, hello!";
    let cases = [
        ("127.0.0.1:8090".to_owned(), "write http://HOST:PORT"),
        (closed, "cannot reach"),
        (answering(page), "is not from Spansieve's API: status 200, text/html"),
        (answering(noise), "is not from Spansieve's API: it does not begin as a segment does"),
    ];
    for (from, message) in cases {
        let printed = spansieve(&["record", "--from", &from, "--out", text(&out)]).await;
        assert_eq!((printed.code, printed.stdout.as_str()), (Some(1), ""), "{from}: {printed:?}");
        assert!(printed.stderr.contains(message) && printed.stderr.lines().count() == 1, "{from}: {printed:?}");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0, "{from}");
    }
    std::fs::write(&out, "precious").unwrap();
    let args = |out| ["record", "--from", "http://127.0.0.1:1", "--out", out];
    let printed = spansieve(&args(text(&out))).await;
    assert!(printed.code == Some(1) && printed.stderr.contains("shop.rec exists already"), "{printed:?}");
    let printed = spansieve(&args("/nonexistent/shop.rec")).await;
    assert!(
        printed.code == Some(1) && printed.stderr.contains("cannot create /nonexistent/shop.rec.partial"),
        "{printed:?}"
    );
    for duration in ["60", "0s", "soon"] {
        let printed = spansieve(&["record", "--from", "http://127.0.0.1:1", "--for", duration, "--out", "x"]).await;
        assert!(printed.code == Some(2) && printed.stderr.contains(duration), "{printed:?}");
    }
}

/// Answers one connection with these bytes. Returns the URL.
fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
        let _ = stream.write_all(answer);
    });
    url
}
