use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpListener;
use tonic::Code;

use super::*;
use crate::config::settings;
use crate::export::batch::{Batcher, Form};
use crate::export::retry::server_wait;
use crate::export::testing::{Reply, Script, Server, decode, push_record, record, with_retry_info};
use crate::tail::budget::Budget;

fn batch(project: &str, spans: u64, name: &str) -> Batch {
    let limits = settings::Batch { max_spans: spans as usize, max_bytes: usize::MAX, max_delay: Duration::ZERO };
    let mut batcher = Batcher::new(Form::CloudTrace, limits, Budget::new(0));
    for id in 0..spans {
        push_record(&mut batcher, &project.into(), Instant::now(), &record(project, id, name));
    }
    batcher.take_closed().next().unwrap()
}

#[tokio::test]
async fn a_call_is_what_cloud_trace_expects() {
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
        // 60 s in the protocol's own units.
        assert_eq!(header("grpc-timeout"), Some("60000000u"));
        assert_eq!(header("authorization"), None);
    }
}

#[tokio::test]
async fn a_large_batch_goes_through() {
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
    let status = CloudTrace::plaintext(&server.uri()).unwrap().write(&batch("p", 1, "a")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "later"));
    assert_eq!(server_wait(&status), Some(Duration::from_secs(9)));
}

#[tokio::test]
async fn an_unreachable_sink_is_unavailable_and_comes_back() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let client = CloudTrace::plaintext(&format!("http://{address}")).unwrap();
    let status = client.write(&batch("p", 1, "a")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let script = Script::new([]);
    let _server = Server::start(Arc::clone(&script), address);
    client.write(&batch("p", 1, "a")).await.unwrap();
    assert_eq!(script.stored().0.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_never_answers_is_given_up_at_the_deadline() {
    // It accepts connections and says nothing at all, not even HTTP/2.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", silent.local_addr().unwrap());
    let start = tokio::time::Instant::now();
    let status = CloudTrace::plaintext(&uri).unwrap().write(&batch("p", 1, "a")).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Unavailable), "{status:?}");
    assert!(start.elapsed() <= CALL_DEADLINE, "{:?}", start.elapsed());
}
