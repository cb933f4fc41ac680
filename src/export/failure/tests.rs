use super::*;

#[test]
fn a_size_limit_is_distinguished_from_a_quota() {
    let size = [
        (Code::ResourceExhausted, "grpc: received message larger than max (5000000 vs. 4194304)"),
        (Code::ResourceExhausted, "grpc: received message after decompression larger than max (5 vs. 4)"),
        (Code::ResourceExhausted, "SERVER: Received message larger than max (5 vs. 4)"),
        (Code::ResourceExhausted, "gRPC message exceeds maximum size 4194304: 5000000"),
        (Code::ResourceExhausted, "Received message exceeds the maximum configured message size."),
        (Code::ResourceExhausted, "the request is larger than 16777216 bytes (otlp.max_request_bytes)"),
        (Code::OutOfRange, "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes"),
        (Code::InvalidArgument, "Request payload size exceeds the limit: 10485760 bytes."),
    ];
    for (code, message) in size {
        assert!(Failure::sink(Status::new(code, message)).is_size(), "{code:?} {message}");
        assert!(!Failure::connection(Status::new(code, message)).is_size(), "{code:?} {message}");
    }
    let others = [
        (Code::ResourceExhausted, "Quota exceeded for quota metric 'Ingested bytes'"),
        (Code::ResourceExhausted, ""),
        (Code::Unavailable, "received message larger than max"),
        (Code::InvalidArgument, "the name of a span has 2000 bytes"),
    ];
    for (code, message) in others {
        assert!(!Failure::sink(Status::new(code, message)).is_size(), "{code:?} {message}");
    }
    assert!(Failure::http(StatusCode::PAYLOAD_TOO_LARGE, &HeaderMap::new()).is_size());
}

#[test]
fn an_http_status_has_the_code_of_grpcs_table_and_names_the_server() {
    let codes = [
        (400, Code::Internal),
        (401, Code::Unauthenticated),
        (403, Code::PermissionDenied),
        (404, Code::Unimplemented),
        (413, Code::Unknown),
        (429, Code::Unavailable),
        (500, Code::Unknown),
        (502, Code::Unavailable),
        (503, Code::Unavailable),
        (504, Code::Unavailable),
        (302, Code::Unknown),
    ];
    let headers = HeaderMap::from_iter([
        (http::header::SERVER, "nginx/1.27".parse().unwrap()),
        (http::header::RETRY_AFTER, "7".parse().unwrap()),
    ]);
    for (http, code) in codes {
        let failure = Failure::http(StatusCode::from_u16(http).unwrap(), &headers);
        assert_eq!(failure.code(), code, "{http}");
        assert!(failure.to_string().contains(&format!("HTTP {http}")), "{failure}");
        assert!(failure.to_string().contains("(server: nginx/1.27), an answer that is not gRPC"), "{failure}");
        assert_eq!(failure.status().metadata().get("retry-after").unwrap(), "7");
    }
}
