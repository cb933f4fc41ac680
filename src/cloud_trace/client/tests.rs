use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpListener;
use tonic::Code;

use super::*;
use crate::budget::Budget;
use crate::export::batch::{Batcher, Form};
use crate::export::retry::server_wait;
use crate::export::settings;
use crate::export::testing::{Reply, Script, Server, decode, push_record, record, span_name, with_retry_info};
use crate::proto::google::devtools::cloudtrace::v2::{Span, TruncatableString};

fn batch(project: &str, spans: u64, name: &str) -> Batch {
    let limits =
        settings::BatchSettings { max_spans: spans as usize, max_bytes: usize::MAX, max_delay: Duration::ZERO };
    let mut batcher = Batcher::new(Form::CloudTrace, limits, Budget::new(0));
    for id in 0..spans {
        push_record(&mut batcher, &project.into(), Instant::now(), &record(project, id, name));
    }
    batcher.take_closed().next().unwrap()
}

#[tokio::test]
async fn a_call_has_the_request_and_the_headers_that_cloud_trace_expects() {
    let script = Script::new([]);
    let server = Server::any(Arc::clone(&script));
    let client = CloudTrace::plaintext(&server.uri()).unwrap();
    for (project, routing) in
        [("my-project", "name=projects%2Fmy-project"), ("example.com:old", "name=projects%2Fexample.com%3Aold")]
    {
        let batch = batch(project, 3, "a");
        client.write(&batch).await.unwrap();
        let call = script.calls().pop().unwrap();
        assert_eq!(call.request, decode(&batch));
        assert_eq!(call.request.name, format!("projects/{project}"));
        let header = |name| call.metadata.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("x-goog-request-params"), Some(routing));
        assert!(header("user-agent").unwrap().starts_with("spansieve/"), "{:?}", header("user-agent"));
        assert_eq!(header("grpc-timeout"), Some("60S"));
        assert_eq!(header("authorization"), None);
    }
}

#[tokio::test]
async fn a_call_uses_the_quota_of_its_project_if_configured() {
    let script = Script::new([]);
    let server = Server::any(Arc::clone(&script));
    for (asked, expected) in [(false, None), (true, Some("my-project"))] {
        let client = CloudTrace::open(ChannelSettings::plain(&server.uri(), CALL_DEADLINE), asked).unwrap();
        client.write(&batch("my-project", 1, "a")).await.unwrap();
        let call = script.calls().pop().unwrap();
        let header = call.metadata.get("x-goog-user-project").map(|value| value.to_str().unwrap());
        assert_eq!(header, expected);
    }
}

#[tokio::test]
async fn a_large_batch_is_stored() {
    let script = Script::new([]);
    let server = Server::any(Arc::clone(&script));
    let batch = batch("p", 2000, &"n".repeat(8000));
    assert!(batch.encoded_len() > 16_000_000);
    CloudTrace::plaintext(&server.uri()).unwrap().write(&batch).await.unwrap();
    assert_eq!(script.stored().0.len(), 2000);
}

#[tokio::test]
async fn the_status_arrives_with_its_details() {
    let script = Script::new([Reply::Say(with_retry_info(Code::ResourceExhausted, 9))]);
    let server = Server::any(script);
    let status =
        CloudTrace::plaintext(&server.uri()).unwrap().write(&batch("p", 1, "a")).await.unwrap_err().status().clone();
    assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "later"));
    assert_eq!(server_wait(&status), Some(Duration::from_secs(9)));
}

#[tokio::test]
async fn an_unreachable_sink_is_unavailable_and_comes_back() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let client = CloudTrace::plaintext(&format!("http://{address}")).unwrap();
    let status = client.write(&batch("p", 1, "a")).await.unwrap_err().status().clone();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let script = Script::new([]);
    let _server = Server::start(Arc::clone(&script), address);
    client.write(&batch("p", 1, "a")).await.unwrap();
    assert_eq!(script.stored().0.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_never_answers_is_given_up_at_the_deadline() {
    // The sink accepts connections, but never sends a byte, not even of HTTP/2.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", silent.local_addr().unwrap());
    let start = tokio::time::Instant::now();
    let status = CloudTrace::plaintext(&uri).unwrap().write(&batch("p", 1, "a")).await.unwrap_err().status().clone();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Unavailable), "{status:?}");
    assert!(start.elapsed() <= CALL_DEADLINE, "{:?}", start.elapsed());
}

#[tokio::test]
async fn calls_have_a_quota_and_a_repetition_is_no_failure() {
    let sink = CloudTrace::plaintext("http://127.0.0.1:1").unwrap();
    assert_eq!(sink.calls_per_minute(), Some(4_800));
    assert_eq!(sink.action(Code::AlreadyExists), Action::Done);
    assert_eq!(sink.action(Code::OutOfRange), Action::Search);
}

#[tokio::test]
async fn spans_that_have_become_too_old_break_a_rule() {
    let span = |id: u64, age_days: i64| {
        let now = clock::since_1970().as_secs();
        let seconds = i64::try_from(now).unwrap() - age_days * 86_400;
        let time = Some(prost_types::Timestamp { seconds, nanos: 0 });
        let display_name = Some(TruncatableString { value: "a".to_owned(), truncated_byte_count: 0 });
        let name = span_name("p", id);
        let span_id = name.rsplit('/').next().unwrap().to_owned();
        Span { name, span_id, display_name, start_time: time, end_time: time, ..Span::default() }
    };
    let spans = vec![span(1, 0), span(2, 15), span(3, 13), span(4, 100)];
    let request = BatchWriteSpansRequest { name: "projects/p".to_owned(), spans };
    let batch = Batch::new(Form::CloudTrace, "p".into(), request.encode_to_vec().into(), 4, &Budget::new(0));
    assert_eq!(CloudTrace::plaintext("http://127.0.0.1:1").unwrap().rule_breakers(&batch), [1, 3]);
    let ids = batch.descriptions().iter().map(|span| span.span_id).collect::<Vec<_>>();
    assert_eq!(ids, [1, 2, 3, 4]);
}
