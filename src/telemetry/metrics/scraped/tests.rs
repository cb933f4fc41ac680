use super::*;

const METRICS: &str = "# HELP spansieve_received_spans_total Spans.\n\
    spansieve_received_spans_total{protocol=\"grpc\"} 40\n\
    spansieve_received_spans_total{protocol=\"http_json\"} 2\n\
    spansieve_received_spans_total_other 7\n\
    spansieve_decided_traces_total{policy=\"errors\",verdict=\"kept\",trigger=\"evidence\"} 3\n";

#[test]
fn series_are_found_by_their_whole_name() {
    assert_eq!(sum(METRICS, "spansieve_received_spans_total"), 42.0);
    let decided: Vec<_> = series(METRICS, "spansieve_decided_traces_total").collect();
    assert_eq!(decided.len(), 1);
    assert_eq!(label(decided[0].0, "trigger"), Some("evidence"));
    assert_eq!(label(decided[0].0, "absent"), None);
}
