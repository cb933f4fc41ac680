use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;

use super::*;

fn answer(rejected_spans: i64, error_message: &str) -> Vec<u8> {
    let partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message: error_message.to_owned() });
    ExportTraceServiceResponse { partial_success }.encode_to_vec()
}

#[test]
fn rejected_spans_and_message_are_read() {
    for (rejected, message, spans) in [(0, "", 0), (3, "bad", 3), (-1, "odd", 0), (i64::MAX, "", u32::MAX)] {
        let expected = Written { rejected_spans: spans, message: message.to_owned() };
        assert_eq!(partial_success(&answer(rejected, message)), expected);
    }
    assert_eq!(partial_success(b""), Written::default());
    assert_eq!(partial_success(b"\xff no message"), Written::default());
}

#[test]
fn an_answer_that_is_cut_keeps_its_number_and_the_start_of_its_message() {
    let whole = answer(7, &"long ".repeat(1000));
    let cut = partial_success(&whole[..100]);
    assert_eq!((cut.rejected_spans, cut.message.starts_with("long long "), cut.message.len() < 100), (7, true, true));
}
