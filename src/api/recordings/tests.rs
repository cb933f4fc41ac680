use std::future::Future;
use std::io::Cursor;
use std::task::Waker;

use http_body_util::BodyExt;
use prost::Message;

use super::*;
use crate::api::settings::RecordingSettings;
use crate::journal::recording::{Recorded, Remark, StreamRecord, StreamRecords};
use crate::otlp::reference::{AnyValue, KeyValue, Request, Resource, ResourceSpans, Value};

const START: RecordingStart = RecordingStart { since_1970: Duration::from_secs(1_700_000_000), now_ms: 500 };

fn budget() -> Budget {
    Budget::new(64 << 20)
}

fn redaction(query: &str) -> Redaction {
    let settings = RecordingSettings { redact: vec!["cookie".to_owned()], ..RecordingSettings::default() };
    Redaction::parse(query, &settings).unwrap()
}

fn unchanged() -> Redaction {
    Redaction::parse("", &RecordingSettings::default()).unwrap()
}

/// Reads what the stream has ready.
async fn read(stream: &mut RecordingStream, bytes: &mut Vec<u8>, requests: usize) -> Vec<StreamRecord> {
    loop {
        let mut records = StreamRecords::open(Cursor::new(&bytes[..]));
        let mut found = Vec::new();
        if let Ok(Ok(records)) = &mut records {
            // The last record may not be there yet as a whole.
            while let Some(Ok(record)) = records.next_record().unwrap() {
                found.push(record);
            }
        }
        if found.iter().filter(|record| matches!(record, StreamRecord::Request(_))).count() >= requests
            && !found.is_empty()
        {
            return found;
        }
        bytes.extend_from_slice(stream.frame().await.unwrap().unwrap().data_ref().unwrap());
    }
}

fn offer(hub: &RecordingHub, body: &[u8], now_ms: Millis, budget: &Budget) {
    hub.offer(&Bytes::copy_from_slice(body), now_ms, budget);
}

fn request(key: &str, value: &str) -> Vec<u8> {
    let value = Some(AnyValue { value: Some(Value::String(value.into())) });
    let attribute = KeyValue { key: key.into(), value, ..KeyValue::default() };
    let resource = Some(Resource { attributes: vec![attribute], ..Resource::default() });
    Request { resource_spans: vec![ResourceSpans { resource, ..ResourceSpans::default() }] }.encode_to_vec()
}

#[tokio::test]
async fn a_recording_has_each_request_and_the_time_at_which_it_came() {
    let hub = Arc::new(RecordingHub::default());
    assert!(!hub.is_recording());
    let mut stream = hub.record(unchanged(), START, &budget()).unwrap();
    assert!(hub.is_recording());
    offer(&hub, b"first", 500, &budget());
    offer(&hub, b"second", 742, &budget());
    let mut bytes = Vec::new();
    let found = read(&mut stream, &mut bytes, 2).await;
    let recorded = |ms: u64, body: &'static [u8]| {
        let unix_nano = (1_700_000_000_000 + ms) * 1_000_000;
        StreamRecord::Request(Recorded { unix_nano, body: body.into() })
    };
    let expected = [StreamRecord::Remark(Remark::default()), recorded(0, b"first"), recorded(242, b"second")];
    assert_eq!(found, expected);
    offer(&hub, b"third", 800, &budget());
    hub.close();
    assert!(!hub.is_recording());
    let rest = stream.collect().await.unwrap().to_bytes();
    assert!(rest.ends_with(b"third"), "what waits is sent before the end");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_loses_requests_and_is_told_how_many() {
    let hub = Arc::new(RecordingHub::default());
    let mut stream = hub.record(unchanged(), START, &budget()).unwrap();
    let body = vec![7; QUEUE_BYTES_MAX / 4];
    (0..6).for_each(|_| offer(&hub, &body, 500, &budget()));
    offer(&hub, &vec![0; QUEUE_BYTES_MAX + 1], 500, &budget());
    let found = read(&mut stream, &mut Vec::new(), 3).await;
    let remark = StreamRecord::Remark(Remark { requests_left_out: 4, ..Remark::default() });
    let requests = found.iter().filter(|record| matches!(record, StreamRecord::Request(_))).count();
    assert_eq!((found.get(1), requests), (Some(&remark), 3));
    // A request that is left out while nothing else comes is told within a second.
    offer(&hub, &vec![0; QUEUE_BYTES_MAX + 1], 500, &budget());
    let told = tokio::time::timeout(Duration::from_millis(1_001), stream.frame()).await.expect("a remark");
    assert!(told.unwrap().unwrap().data_ref().unwrap().ends_with(br#"{"requests_left_out":1}"#));
    // Without a request there is a sign of life.
    let frame = stream.frame().await.unwrap().unwrap();
    assert!(frame.data_ref().unwrap().ends_with(b"{}"));
    // A client that takes nothing for a minute loses its place.
    (0..6).for_each(|_| offer(&hub, &body, 1_000, &budget()));
    offer(&hub, &body, 60_000, &budget());
    assert!(hub.is_recording());
    offer(&hub, &body, 61_001, &budget());
    assert!(!hub.is_recording());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_wakes_up_for_a_request_that_is_left_out() {
    let hub = Arc::new(RecordingHub::default());
    let mut stream = hub.record(unchanged(), START, &budget()).unwrap();
    stream.frame().await.unwrap().unwrap();
    let waiting = tokio::spawn(async move { (tokio::time::Instant::now(), stream.frame().await, stream) });
    tokio::time::sleep(Duration::from_secs(5)).await;
    (0..2).for_each(|_| offer(&hub, &vec![0; QUEUE_BYTES_MAX + 1], 500, &budget()));
    let (begin, frame, _stream) = waiting.await.unwrap();
    assert!(frame.unwrap().unwrap().data_ref().unwrap().ends_with(br#"{"requests_left_out":2}"#));
    assert!(begin.elapsed() < Duration::from_millis(6_100), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn nothing_is_recorded_while_memory_is_short() {
    let (hub, budget) = (Arc::new(RecordingHub::default()), budget());
    let mut stream = hub.record(unchanged(), START, &budget).unwrap();
    let used = budget.reserve((64 << 20) - budget.used_bytes()).unwrap();
    offer(&hub, b"left out", 500, &budget);
    drop(used);
    offer(&hub, b"recorded", 501, &budget);
    let found = read(&mut stream, &mut Vec::new(), 1).await;
    assert_eq!(found[1], StreamRecord::Remark(Remark { requests_left_out: 1, ..Remark::default() }));
    assert!(matches!(&found[2], StreamRecord::Request(request) if &request.body[..] == b"recorded"), "{found:?}");
}

#[tokio::test]
async fn places_and_memory_are_given_back() {
    let (hub, budget) = (Arc::new(RecordingHub::default()), budget());
    let streams: Vec<_> = (0..RECORDINGS_MAX).map(|_| hub.record(unchanged(), START, &budget).unwrap()).collect();
    assert_eq!(budget.used_bytes(), RECORDINGS_MAX * CLIENT_BYTES);
    assert_eq!(hub.record(unchanged(), START, &budget).unwrap_err(), NoRecording::Places);
    drop(streams);
    assert_eq!((budget.used_bytes(), hub.is_recording()), (0, false));
    assert_eq!(hub.record(unchanged(), START, &Budget::new(1 << 20)).unwrap_err(), NoRecording::Memory);
}

#[tokio::test]
async fn attributes_are_gone_before_the_bytes_leave() {
    let hub = Arc::new(RecordingHub::default());
    let redaction = redaction("hash=enduser.id&redact=token&hash=token");
    assert_eq!(
        (redaction.redacted(), redaction.hashed()),
        (&["cookie".into(), "token".into()][..], &["enduser.id".into()][..])
    );
    let mut stream = hub.record(redaction, START, &budget()).unwrap();
    for (key, value) in
        [("cookie", "s3cret"), ("token", "s3cret"), ("enduser.id", "ann"), ("enduser.id", "ann"), ("a", "b")]
    {
        offer(&hub, &request(key, value), 500, &budget());
    }
    let mut bytes = Vec::new();
    let found = read(&mut stream, &mut bytes, 5).await;
    assert!(!bytes.windows(6).any(|window| window == b"s3cret") && !bytes.windows(3).any(|window| window == b"ann"));
    let remark = Remark {
        redacted: vec!["cookie".into(), "token".into()],
        hashed: vec!["enduser.id".into()],
        ..Remark::default()
    };
    assert_eq!(found[0], StreamRecord::Remark(remark));
    let bodies: Vec<&[u8]> = found
        .iter()
        .filter_map(|record| match record {
            StreamRecord::Request(request) => Some(&request.body[..]),
            _ => None,
        })
        .collect();
    assert_eq!((bodies[2], bodies[4]), (bodies[3], &request("a", "b")[..]), "equal values have equal hashes");
}

/// Returns a request of some `bytes` whose attributes have next to no bytes, so that hashes take five times as many.
fn many_attributes(bytes: usize) -> Vec<u8> {
    let attribute = KeyValue { key: "k".into(), ..KeyValue::default() };
    let resource = Some(Resource { attributes: vec![attribute; bytes / 5], ..Resource::default() });
    Request { resource_spans: vec![ResourceSpans { resource, ..ResourceSpans::default() }] }.encode_to_vec()
}

#[tokio::test]
async fn hashes_do_not_stop_a_worker_and_do_not_fill_the_memory() {
    let (hub, budget) = (Arc::new(RecordingHub::default()), budget());
    let mut stream = hub.record(redaction("hash=k"), START, &budget).unwrap();
    stream.frame().await.unwrap().unwrap();
    let (small, large) = (many_attributes(QUEUE_BYTES_MAX / 8), many_attributes(QUEUE_BYTES_MAX / 2));
    offer(&hub, &small, 500, &budget);
    let mut context = std::task::Context::from_waker(Waker::noop());
    let first = std::pin::pin!(stream.frame()).poll(&mut context);
    assert!(first.is_pending(), "another thread does it");
    // The request that is being hashed still takes its room.
    offer(&hub, &vec![0; QUEUE_BYTES_MAX - small.len()], 501, &budget);
    offer(&hub, &large, 502, &budget);
    hub.close();
    let recorded = stream.collect().await.unwrap().to_bytes();
    assert!(recorded.len() > 4 * small.len() && recorded.len() < 6 * small.len(), "{} bytes", recorded.len());
    let segment = [&crate::journal::format::segment_header()[..], &recorded].concat();
    let mut records = StreamRecords::open(Cursor::new(&segment[..])).unwrap().unwrap();
    let mut found = Vec::new();
    while let Some(record) = records.next_record().unwrap() {
        found.push(record.unwrap());
    }
    let left_out = StreamRecord::Remark(Remark { requests_left_out: 1, ..Remark::default() });
    assert!(matches!(&found[0], StreamRecord::Request(_)), "{found:?}");
    // The second one had no room, and the third one would grow to ten MiB.
    assert_eq!(found[1..], [left_out.clone(), left_out]);
}

#[test]
fn a_query_that_is_wrong_says_what_to_write() {
    let settings = RecordingSettings::default();
    let problem = |query: &str| Redaction::parse(query, &settings).unwrap_err().to_string();
    assert!(problem("redakt=a").contains("\"redakt\" is neither"));
    assert!(problem("redact=").contains("1 to 1024 bytes"));
    assert!(problem(&"hash=a&".repeat(200)).contains("at most 100"));
    assert!(Redaction::parse("", &settings).unwrap().is_empty());
}

#[test]
fn a_queue_that_is_closed_ends_with_what_waits() {
    let queue = Queue::new();
    queue.push(1, &Bytes::from_static(b"x"), false, 0);
    queue.close();
    let taken = queue.take(Waker::noop());
    assert_eq!((taken.requests.len(), taken.is_last, queue.totals()), (1, true, (1, 0)));
}

#[test]
fn few_bodies_are_not_copied_and_a_slow_client_gets_copies() {
    let queue = Queue::new();
    let large = Bytes::from(vec![1; 40 << 10]);
    let is_shared = |(_, body): &queue::Waiting| body.as_ptr() == large.as_ptr();
    (0..3).for_each(|n| queue.push(n, &large, false, 0));
    let first = queue.take(Waker::noop()).requests;
    assert_eq!(first.iter().map(is_shared).collect::<Vec<_>>(), [true, true, false]);
    queue.push(3, &large, false, 0);
    assert!(!is_shared(&queue.take(Waker::noop()).requests[0]), "the first ones are not sent yet");
    drop(first);
    queue.push(4, &large, false, 0);
    queue.push(5, &Bytes::from_static(b"small"), false, 0);
    let last = queue.take(Waker::noop()).requests;
    assert!(is_shared(&last[0]) && last[1].1 == b"small"[..]);
}
