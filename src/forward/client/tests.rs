use super::*;

#[test]
fn a_message_over_the_servers_limit_is_told_from_a_quota() {
    let cases = [
        (Code::ResourceExhausted, "grpc: received message larger than max (5000000 vs. 4194304)", Code::OutOfRange),
        (Code::ResourceExhausted, "SERVER: Received message larger than max (5 vs. 4)", Code::OutOfRange),
        (Code::ResourceExhausted, "gRPC message exceeds maximum size 4194304: 5000000", Code::OutOfRange),
        (Code::ResourceExhausted, "Received message exceeds the maximum configured message size.", Code::OutOfRange),
        (
            Code::ResourceExhausted,
            "the request is larger than 16777216 bytes (otlp.max_request_bytes)",
            Code::OutOfRange,
        ),
        (Code::ResourceExhausted, "Quota exceeded for quota metric 'Ingested bytes'", Code::ResourceExhausted),
        (Code::ResourceExhausted, "", Code::ResourceExhausted),
        (Code::Unavailable, "received message larger than max", Code::Unavailable),
    ];
    for (code, message, expected) in cases {
        let status = size_or_quota(Status::new(code, message));
        assert_eq!((status.code(), status.message()), (expected, message), "{code:?} {message}");
    }
}
