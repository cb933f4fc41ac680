//! The examples of `docs/daemon-api.md` are what the daemon answers.

use std::sync::Arc;

use serde_json::Value;
use spansieve::api::answers::ConfigAnswer;
use spansieve::config;
use spansieve::daemon::Daemon;

use super::asking::{get, spansieve};
use super::stream::Listening;
use crate::support::{self, Client, error, eventually, otlp, request, span, trace_id};

const DOCUMENT: &str = include_str!("../../docs/daemon-api.md");

/// An example of the document: a request and its answer.
struct Example {
    path: &'static str,
    status: u16,
    body: &'static str,
}

/// Returns the example with this name.
fn example(name: &str) -> Example {
    let (_, rest) = DOCUMENT.split_once(&format!("<!-- example: {name} -->\n```http\n")).unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let (request, answer) = text.split_once("\n\n").unwrap();
    let (status, body) = answer.split_once('\n').unwrap();
    let path = request.strip_prefix("GET ").unwrap();
    Example { path, status: status.split(' ').next().unwrap().parse().unwrap(), body }
}

/// Replaces values that differ from run to run by those of the example.
fn like(mut answer: Value, example: &Value, varying: &[&str]) -> Value {
    for pointer in varying {
        if let (Some(found), Some(shown)) = (answer.pointer_mut(pointer), example.pointer(pointer)) {
            assert_eq!(found.is_string(), shown.is_string(), "{pointer}");
            *found = shown.clone();
        }
    }
    answer
}

/// Checks the transcript of `spansieve fate`.
async fn check_transcript(url: &str) {
    let (_, rest) = DOCUMENT.split_once("<!-- example: fate-text -->\n```text\n$ ").unwrap();
    let (command, expected) = rest.split_once("```").unwrap().0.split_once('\n').unwrap();
    let args: Vec<&str> = command.split(' ').skip(1).map(|arg| if arg.contains("://") { url } else { arg }).collect();
    let printed = spansieve(&args).await;
    let without_time = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.contains("decided at")).map(str::to_owned).collect()
    };
    assert_eq!((printed.code, without_time(&printed.stdout)), (Some(0), without_time(expected)));
    assert!(printed.stdout.contains("\n  decided at       20"), "{}", printed.stdout);
}

/// Starts to listen as the example of the stream does.
async fn listen(daemon: &Daemon) -> Listening {
    let Example { path, status, .. } = example("stream");
    assert_eq!(status, 200);
    Listening::to(daemon, path.strip_prefix("/api/decisions").unwrap()).await
}

/// Checks the example of the stream: its decision is the one that the daemon has made.
async fn check_stream(mut listening: Listening) {
    let shown: Value = serde_json::from_str(example("stream").body).unwrap();
    let line = listening.next().await.unwrap();
    assert!(line["duration_ms"].as_u64() >= shown["duration_ms"].as_u64(), "{line}");
    assert_eq!(like(line, &shown, &["/time", "/duration_ms"]), shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_are_what_the_daemon_answers() {
    let text = "
otlp: {listen: [\"127.0.0.1:0\"]}
export: {endpoint: embedded, embedded: {listen: \"127.0.0.1:0\"}}
memory: {limit: 512MiB}
api: {listen: \"127.0.0.1:0\"}
";
    let loaded = config::load(text, &|_| None).unwrap();
    let shown = ConfigAnswer::new("config.yaml".to_owned(), &loaded.shown);
    let daemon = Daemon::start_with(loaded.settings, Some(shown)).await.unwrap();
    let listening = listen(&daemon).await;
    let trace = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
    Client::new(&otlp(&daemon)).export(request("checkout", vec![error(trace, "pay")])).await.unwrap();
    let observed = Arc::clone(daemon.observed());
    eventually("the span is exported", || observed.accounts().exported == 1).await;
    check_stream(listening).await;
    check_transcript(daemon.api_url().unwrap()).await;
    // The price of a month depends on the time of the measurement.
    let of_policies = ["/uptime_ms", "/policies/0/month_dollars", "/services/0/month_dollars"];
    let cases: [(&str, &[&str]); 5] = [
        ("bad-id", &[]),
        ("no-recording", &[]),
        ("fate", &["/decided_at"]),
        ("config", &[]),
        ("policies", &of_policies),
    ];
    for (name, varying) in cases {
        let Example { path, status, body } = example(name);
        let (found, content_type, answer) = get(&format!("{}{path}", daemon.api_url().unwrap())).await;
        assert_eq!((found, content_type.as_str()), (status, "application/json"), "{name}");
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        if name == "config" {
            // The document shows the first settings.
            let settings = answer["settings"].as_array_mut().unwrap();
            assert!(settings.len() > 40, "{settings:?}");
            settings.truncate(3);
        }
        let shown: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(like(answer, &shown, varying), shown, "{name}");
    }
}

/// Returns the arguments and the output of the transcript `name`, with the daemon's URL in the place of its own.
fn transcript(name: &str, url: &str) -> (Vec<String>, &'static str) {
    let (_, rest) = DOCUMENT.split_once(&format!("<!-- example: {name} -->\n```text\n$ ")).unwrap();
    let (command, expected) = rest.split_once("\n```").unwrap().0.split_once('\n').unwrap();
    let argument = |word: &str| if word.contains("://") { url.to_owned() } else { word.to_owned() };
    (command.split(' ').skip(1).map(argument).collect(), expected)
}

/// Returns the words of each line. Words with a digit, such as times, ids, rates and the URL, differ from run to run.
fn masked(text: &str) -> Vec<Vec<&str>> {
    let mask = |word| if str::contains(word, |c: char| c.is_ascii_digit()) { "#" } else { word };
    text.trim_end().lines().map(|line| line.split_whitespace().map(mask).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transcripts_are_what_the_commands_print() {
    let text = "
otlp: {listen: [\"127.0.0.1:0\"]}
export: {endpoint: embedded, embedded: {listen: \"127.0.0.1:0\"}}
memory: {limit: 512MiB}
tail_sampling:
  decision_wait: 60s
  policies:
    - {name: errors, type: error}
    - {name: baseline, type: probabilistic, probabilistic: {sampling_percentage: 5}}
    - {name: slower, type: latency, shadow: true, latency: {threshold_ms: 300}}
api: {listen: \"127.0.0.1:0\"}
";
    let daemon = support::start(text).await;
    let url = daemon.api_url().unwrap().to_owned();
    let traffic = async {
        let mut client = Client::new(&otlp(&daemon));
        loop {
            client.export(request("checkout", vec![error(trace_id(false), "pay")])).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let pending = trace_id(false);
    Client::new(&otlp(&daemon)).export(request("checkout", vec![span(pending, "list")])).await.unwrap();
    let commands = async {
        for name in ["tail-text", "top-text", "explain-text"] {
            let (mut args, expected) = transcript(name, &url);
            if name == "explain-text" {
                *args.last_mut().unwrap() = format!("{pending:032x}");
            }
            let printed = spansieve(&args.iter().map(String::as_str).collect::<Vec<_>>()).await;
            assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""), "{name}");
            assert_eq!(masked(&printed.stdout), masked(expected), "{name}:\n{}", printed.stdout);
        }
    };
    tokio::select! {
        () = traffic => unreachable!("it does not end"),
        () = commands => {}
    }
}
