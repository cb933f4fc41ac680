//! The commands that ask a daemon: what they print, and their exit codes.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::asking::{config, file, spansieve, spansieve_to, start};
use crate::support::{self, CONFIG, Client, error, otlp, request, trace_id};

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test(flavor = "multi_thread")]
async fn fate_prints_the_answer_for_people_and_for_programs() {
    let daemon = start().await;
    let url = daemon.api_url().unwrap();
    let trace = trace_id(false);
    Client::new(&otlp(&daemon)).export(request("shop", vec![error(trace, "a")])).await.unwrap();
    let id = format!("{trace:032x}");
    let printed = spansieve(&["fate", "--from", url, &id]).await;
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    let start = format!("{id}: kept\n  The policy errors kept the trace.\n  policy           errors\n");
    assert!(printed.stdout.starts_with(&start), "{}", printed.stdout);
    assert!(!printed.stdout.contains('\u{1b}'), "no colors in a pipe");
    let printed = spansieve(&["fate", "--from", &format!("{url}/"), "--format", "json", &id.to_uppercase()]).await;
    let answer: serde_json::Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!((printed.code, &answer["trace_id"], &answer["fate"]), (Some(0), &id.into(), &"kept".into()));
    let unknown = spansieve(&["fate", "--from", url, ID]).await;
    assert!(unknown.code == Some(0) && unknown.stdout.starts_with(&format!("{ID}: unknown\n")), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_printed_is_a_failure_unless_its_reader_has_left() {
    let daemon = start().await;
    let url = daemon.api_url().unwrap();
    for args in [&["fate", "--from", url, ID][..], &["top", "--from", url, "--once", "--interval", "1"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let printed = spansieve_to(args, full.into()).await;
        assert_eq!(printed.code, Some(1), "{printed:?}");
        assert!(printed.stderr.starts_with("error: cannot write to standard output"), "{printed:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let printed = spansieve_to(args, writer.into()).await;
        assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""), "{printed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_is_one_line_that_says_what_to_do() {
    let daemon = start().await;
    let url = daemon.api_url().unwrap();
    let no_api = support::start(CONFIG).await;
    let no_api = otlp(&no_api);
    let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let tls = url.replacen("http:", "https:", 1);
    let cases: [(&str, &str, &str); 8] = [
        (url, "4bf9", "a trace id is 32 hexadecimal digits"),
        (url, "../config", "a trace id is 32 hexadecimal digits"),
        (url, "a?b#c", "a trace id is 32 hexadecimal digits"),
        ("127.0.0.1:8090", ID, "write http://HOST:PORT"),
        (&closed, ID, "cannot reach"),
        (&no_api, ID, "does not serve the API: this address does not serve it: the API is on api.listen"),
        (&tls, ID, "cannot reach"),
        ("http://no-such-host.invalid", ID, "cannot reach"),
    ];
    for (from, id, text) in cases {
        let printed = spansieve(&["fate", "--from", from, id]).await;
        assert_eq!((printed.code, printed.stdout.as_str()), (Some(1), ""), "{from} {id}: {printed:?}");
        assert!(printed.stderr.starts_with("error: ") && printed.stderr.contains(text), "{from} {id}: {printed:?}");
        assert_eq!(printed.stderr.lines().count(), 1, "{printed:?}");
    }
}

/// Answers one connection with these bytes. Returns the URL.
fn answering(answer: impl Into<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = answer.into();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&answer);
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_something_else_is_recognized() {
    let page = "<html>\u{1b}[31mhello</html>";
    let http = |status: &str, kind: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let cases = [
        (http("200 OK", "text/html", page), "not from Spansieve's API: status 200, text/html"),
        (http("404 Not Found", "text/html", page), "not from Spansieve's API: status 404, text/html"),
        (http("404 Not Found", "text/plain", "404 page not found"), "not from Spansieve's API: status 404, text/plain"),
        (http("302 Found", "text/html", ""), "a login page in front of it, perhaps"),
        (http("200 OK", "application/json", "{\"hello\": 1}"), "its JSON has another form"),
        (http("200 OK", "application/json", "{"), "its JSON has another form"),
        (http("503 Unavailable", "application/json", "{\"error\": \"a\\nb\"}"), "refuses the request: a b"),
        ("SSH-2.0-OpenSSH_9.6\r\n".to_owned(), "cannot reach"),
        (String::new(), "cannot reach"),
    ];
    for (answer, text) in cases {
        let printed = spansieve(&["fate", "--from", &answering(answer.clone()), ID]).await;
        assert!(printed.code == Some(1) && printed.stderr.contains(text), "{answer}: {printed:?}");
        assert!(!printed.stderr.contains('\u{1b}'), "{printed:?}");
    }
    let endless = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n".to_owned() + &" ".repeat(17 << 20);
    let printed = spansieve(&["fate", "--from", &answering(endless), ID]).await;
    assert!(printed.code == Some(1) && printed.stderr.contains("more than"), "{printed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_comes_from_a_file() {
    let token = "client-token-0123456789";
    let auth = format!("auth: {{bearer: {{tokens: [{token}]}}}}");
    let daemon = support::start(&config().replacen("api: {", &format!("api: {{{auth}, "), 1)).await;
    let url = daemon.api_url().unwrap();
    let (good, wrong, empty) = (file(&format!("# comment\n{token}\n")), file("wrong\n"), file(""));
    let path = |file: &tempfile::NamedTempFile| file.path().to_str().unwrap().to_owned();
    let printed = spansieve(&["fate", "--from", url, "--token-file", &path(&good), ID]).await;
    assert_eq!(printed.code, Some(0), "{printed:?}");
    for (file, text) in
        [(Some(path(&wrong)), "--token-file FILE"), (Some(path(&empty)), "no token"), (None, "--token-file FILE")]
    {
        let mut args = vec!["fate", "--from", url, ID];
        args.extend(file.iter().flat_map(|file| ["--token-file", file]));
        let printed = spansieve(&args).await;
        assert!(printed.code == Some(1) && printed.stderr.contains(text), "{file:?}: {printed:?}");
        assert!(!printed.stderr.contains("wrong\n") && !printed.stderr.contains(token), "{printed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn top_prints_one_table() {
    let daemon = start().await;
    let mut sender = Client::new(&otlp(&daemon));
    sender.export(request("shop", vec![error(trace_id(false), "a")])).await.unwrap();
    let printed = spansieve(&["top", "--from", daemon.api_url().unwrap(), "--once", "--interval", "1"]).await;
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    for text in ["POLICY", "errors ", "(kept by no policy)", "SERVICE", "shop "] {
        assert!(printed.stdout.contains(text), "{text} is missing:\n{}", printed.stdout);
    }
    let url = daemon.api_url().unwrap();
    let printed = spansieve(&["top", "--from", url, "--once", "--interval", "1", "--format", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!((printed.stdout.lines().count(), &json["services"][0]["service"]), (1, &"shop".into()));
    let help = spansieve(&["top", "--help"]).await;
    assert!(help.stdout.contains("Examples:") && help.stdout.contains("--once"), "{}", help.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn config_show_prints_each_setting_and_its_origin() {
    let file = file("otlp: {listen: [\"127.0.0.1:4317\"]}\nexport: {endpoint: embedded}\n");
    let path = file.path().to_str().unwrap();
    let printed = spansieve(&["config", "show", path]).await;
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    for line in [
        &format!("otlp.listen = [127.0.0.1:4317]  ({path}:1)"),
        &format!("export.endpoint = embedded  ({path}:2)"),
        "tail_sampling.decision_wait = 10s  (default)",
    ] {
        assert!(printed.stdout.lines().any(|found| found == line), "{line} is missing:\n{}", printed.stdout);
    }
    let json = spansieve(&["config", "show", "--config", path, "--format", "json"]).await;
    let answer: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let first = &answer["settings"][0];
    assert_eq!((&first["key"], &first["origin"], &first["line"]), (&"otlp.listen".into(), &"file".into(), &1.into()));
    let bad = super::asking::file("otlp: {lissten: []}\n");
    let printed = spansieve(&["config", "show", bad.path().to_str().unwrap()]).await;
    assert!(printed.code == Some(78) && printed.stderr.contains("lissten") && printed.stdout.is_empty(), "{printed:?}");
}
