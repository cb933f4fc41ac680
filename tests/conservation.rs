//! The conservation law in the metrics: received = exported + sampled out + rejected + dropped + held, exactly.
#![allow(clippy::unwrap_used)]

use opentelemetry_proto::tonic::trace::v1::Span;
use spansieve::otlp::TraceId;

use crate::support::{self, Client, conservation, error, eventually, metric, request, slow, span, start, trace_id};

#[tokio::test]
async fn every_span_of_a_mixed_run_is_accounted_for() {
    let config = support::CONFIG.replace("decision_wait: 1s", "decision_wait: 1s\n  rescue: {window: 1s}");
    let daemon = start(&config).await;
    let mut client = Client::new(&support::otlp(&daemon));
    let late = trace_id(false);
    for round in 0..20 {
        let spans = vec![
            error(trace_id(false), "error"),
            slow(trace_id(false), "slow"),
            span(trace_id(true), "kept by ratio"),
            span(trace_id(false), "sampled out"),
            Span { trace_id: vec![1; 15], ..span(1, "rejected") },
            Span { span_id: vec![0; 8], ..span(1, "rejected") },
            span(late, "early spans of a trace that fails late"),
        ];
        let reply = client.export(request(&format!("service-{}", round % 3), spans)).await.unwrap();
        assert_eq!(reply.partial_success.unwrap().rejected_spans, 2);
    }
    let (received, accounted) = conservation(&(daemon.scrape())());
    assert_eq!((received, accounted), (140.0, 140.0), "the law holds before any decision");

    // The pending and rescuable traces are counted as held. Now the late error is sent.
    let scrape = std::sync::Arc::clone(daemon.scrape());
    eventually("traces are decided and rescuable", || metric(&scrape(), "spansieve_held_spans", &["rescuable"]) > 0.0)
        .await;
    client.export(request("service-0", vec![error(late, "late error")])).await.unwrap();
    eventually("all is settled", || metric(&scrape(), "spansieve_held_spans", &[]) == 0.0).await;

    let text = scrape();
    assert_eq!(conservation(&text), (141.0, 141.0), "{text}");
    assert_eq!(metric(&text, "spansieve_rejected_spans_total", &[]), 40.0);
    assert_eq!(metric(&text, "spansieve_sampled_out_spans_total", &[]), 20.0);
    assert_eq!(metric(&text, "spansieve_exported_spans_total", &[]), 81.0);
    assert_eq!(metric(&text, "spansieve_late_spans_total", &["rescued"]), 1.0);
    assert_eq!(metric(&text, "spansieve_decided_traces_total", &["errors", "kept"]), 21.0);
    for family in ["spansieve_decided", "spansieve_service_decided"] {
        let spans = |verdict: &str| metric(&text, &format!("{family}_spans_total"), &[verdict]);
        assert_eq!((spans("verdict=\"kept\""), spans("verdict=\"dropped\"")), (81.0, 20.0), "{family}\n{text}");
        let bytes = |verdict: &str| metric(&text, &format!("{family}_bytes_total"), &[verdict]);
        assert!(bytes("kept") > 81.0 * 40.0 && bytes("dropped") > 20.0 * 40.0, "{family}\n{text}");
    }
    let kept_by = |policy: &str| metric(&text, "spansieve_decided_spans_total", &[policy, "kept"]);
    // The late error rescued 20 spans.
    assert_eq!((kept_by("errors"), kept_by("slow"), kept_by("baseline")), (41.0, 20.0, 20.0));
    assert!(metric(&text, "spansieve_service_decided_spans_total", &["service-0", "kept"]) > 0.0);
    let received_bytes = metric(&text, "spansieve_received_bytes_total", &["grpc"]);
    let decided_bytes = metric(&text, "spansieve_decided_bytes_total", &[]);
    assert!(received_bytes > decided_bytes && decided_bytes > 0.0);
    let rescued = support::store(&daemon).trace(&TraceId(late.to_be_bytes())).unwrap();
    assert_eq!(rescued.len(), 21, "the whole trace, not only its late error");
    assert_eq!(daemon.stop(std::time::Duration::from_secs(8)).await, 0);
}
