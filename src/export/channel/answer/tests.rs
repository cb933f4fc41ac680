use http::HeaderName;
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::codegen::tokio_stream;

use super::*;
use crate::export::failure::Origin;
use crate::export::retry::server_wait;
use crate::export::testing::with_retry_info;

type Headers<'a> = &'a [(&'static str, &'a str)];

const GRPC: (&str, &str) = ("content-type", "application/grpc");
const OK: Headers<'_> = &[("grpc-status", "0")];

fn headers(headers: Headers<'_>) -> HeaderMap {
    let header = |&(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
    let mut map = HeaderMap::new();
    headers.iter().map(header).for_each(|(name, value)| _ = map.append(name, value));
    map
}

/// Returns the result of reading an answer with these parts.
async fn read_of(status: u16, head: Headers<'_>, data: Vec<Bytes>, trailers: Headers<'_>) -> Result<Bytes, Failure> {
    let mut frames = data.into_iter().map(|data| Ok::<_, Status>(Frame::data(data))).collect::<Vec<_>>();
    if !trailers.is_empty() {
        frames.push(Ok(Frame::trailers(headers(trailers))));
    }
    let mut response = Response::new(Body::new(StreamBody::new(tokio_stream::iter(frames))));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    *response.headers_mut() = headers(head);
    read(response).await
}

fn framed(message: &[u8]) -> Bytes {
    [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat().into()
}

#[tokio::test]
async fn an_ok_status_counts_with_any_message() {
    let large = framed(&vec![b'm'; 5 << 20]);
    let cases: [(Headers<'_>, Vec<Bytes>, Headers<'_>, usize); 8] = [
        (&[GRPC], vec![framed(b"")], OK, 0),
        (&[GRPC], vec![framed(b"hello")], OK, 5),
        (&[GRPC], vec![framed(b"hello").slice(..3), framed(b"hello").slice(3..)], OK, 5),
        // This message is larger than the part that is kept, and larger than the four MiB at which client libraries
        // fail.
        (&[GRPC], vec![large], OK, MESSAGE_BYTES_MAX),
        // The message is compressed although the call did not accept that, is cut, is absent; the last status is in the
        // head.
        (&[GRPC], vec![Bytes::from_static(b"\x01\0\0\0\x02zz")], OK, 0),
        (&[GRPC], vec![Bytes::from_static(b"\0\0\0\0\x09zz")], OK, 2),
        (&[GRPC], vec![], OK, 0),
        (&[GRPC, ("grpc-status", "0")], vec![], &[], 0),
    ];
    for (at, (head, data, trailers, bytes)) in cases.into_iter().enumerate() {
        assert_eq!(
            read_of(200, head, data, trailers).await.map(|message| message.len()).ok(),
            Some(bytes),
            "case {at}"
        );
    }
}

#[tokio::test]
async fn each_failure_says_where_it_comes_from() {
    let page = || vec![Bytes::from_static(b"<html>413 Request Entity Too Large</html>")];
    let html: Headers<'_> = &[("content-type", "text/html"), ("server", "nginx")];
    let http = |status| Origin::Http(StatusCode::from_u16(status).unwrap());
    type Case<'a> = (u16, Headers<'a>, Vec<Bytes>, Headers<'a>, Origin, Code, &'static str);
    let endless = vec![Bytes::from(vec![0; 1 << 20]); 65];
    let cases: [Case<'_>; 17] = [
        (
            200,
            &[GRPC, ("grpc-status", "3"), ("grpc-message", "a%20b")],
            vec![],
            &[],
            Origin::Sink,
            Code::InvalidArgument,
            "a b",
        ),
        (
            200,
            &[GRPC],
            vec![],
            &[("grpc-status", "8"), ("grpc-message", "100%, %e2%82%ac")],
            Origin::Sink,
            Code::ResourceExhausted,
            "100%, €",
        ),
        (200, &[GRPC], vec![framed(b"x")], &[("grpc-status", " 14 ")], Origin::Sink, Code::Unavailable, ""),
        (200, &[GRPC], vec![], &[("grpc-status", "99")], Origin::Sink, Code::Unknown, ""),
        (200, &[GRPC], vec![], &[("grpc-status", "word")], Origin::Sink, Code::Unknown, ""),
        // A proxy may pass on the gRPC status under an HTTP status of its own.
        (503, &[GRPC, ("grpc-status", "7")], vec![], &[], Origin::Sink, Code::PermissionDenied, ""),
        (503, &[GRPC, ("grpc-status", "0")], vec![], &[], http(503), Code::Unavailable, "HTTP 503"),
        (503, &[GRPC, ("grpc-status", "6")], vec![], &[], http(503), Code::Unavailable, "HTTP 503"),
        // The trailers override the head.
        (
            200,
            &[GRPC, ("grpc-status", "0")],
            vec![framed(b"")],
            &[("grpc-status", "14")],
            Origin::Sink,
            Code::Unavailable,
            "",
        ),
        (200, &[GRPC, ("grpc-status", "0")], vec![], &[("grpc-status", "3")], Origin::Sink, Code::InvalidArgument, ""),
        (200, &[GRPC], endless, OK, Origin::Connection, Code::Unknown, "longer than 64 MiB"),
        (413, html, page(), &[], http(413), Code::Unknown, "HTTP 413 Payload Too Large (server: nginx)"),
        (403, html, page(), &[], http(403), Code::PermissionDenied, "HTTP 403"),
        (404, &[], vec![], &[], http(404), Code::Unimplemented, "HTTP 404"),
        // For example a login page.
        (200, html, page(), &[], http(200), Code::Unknown, "HTTP 200 OK (server: nginx), an answer that is not gRPC"),
        (200, &[GRPC], vec![framed(b"x")], &[], Origin::Connection, Code::Unknown, "ended before its status"),
        (500, &[GRPC], vec![], &[], http(500), Code::Unknown, "HTTP 500"),
    ];
    for (at, (status, head, data, trailers, origin, code, message)) in cases.into_iter().enumerate() {
        let failure = read_of(status, head, data, trailers).await.unwrap_err();
        assert_eq!((failure.origin(), failure.code()), (origin, code), "case {at}: {failure}");
        assert!(failure.status().message().contains(message), "case {at}: {failure}");
    }
}

#[tokio::test]
async fn details_that_cannot_be_read_are_left_out() {
    let whole = with_retry_info(Code::Unavailable, 7).details().to_vec();
    let padded = base64::engine::general_purpose::STANDARD.encode(&whole);
    let bare = padded.trim_end_matches('=').to_owned();
    let joined = format!("!!, {padded},{bare}");
    let cases: [(&[&str], Option<u64>); 8] = [
        (&[&padded], Some(7)),
        (&[&bare], Some(7)),
        (&[&joined], Some(7)),
        (&["not base64!", &padded], Some(7)),
        (&["not base64!"], None),
        (&["_-_-"], None),
        (&["", ",", "===="], None),
        (&["AAAA"], None),
    ];
    for (values, seconds) in cases {
        let mut trailers = vec![("grpc-status", "14")];
        trailers.extend(values.iter().map(|value| ("grpc-status-details-bin", *value)));
        let failure = read_of(200, &[GRPC], vec![], &trailers).await.unwrap_err();
        let wait = server_wait(failure.status()).map(|wait| wait.as_secs());
        assert_eq!((failure.code(), wait), (Code::Unavailable, seconds), "{values:?}");
    }
}
