mod advice;

use super::*;
use crate::config;

#[test]
fn the_text_at_the_start_names_the_destination_of_spans() {
    let console = (SEEN, TRACE_CONSOLE);
    let others = "kept spans go to:";
    let cases = [
        ("endpoint: \"https://cloudtrace.googleapis.com\"", console),
        ("api: telemetry", console),
        ("{api: otlp, endpoint: \"http://tempo:4317\"}", (others, "http://tempo:4317 (OTLP over gRPC)")),
        ("{api: otlp, endpoint: \"https://otlp.example.com\"}", (others, "https://otlp.example.com (OTLP over gRPC)")),
        ("{api: otlp, endpoint: \"https://telemetry.googleapis.com\"}", console),
        ("endpoint: \"http://127.0.0.1:9443\"", (others, "http://127.0.0.1:9443 (Cloud Trace v2)")),
        ("{api: telemetry, endpoint: \"http://127.0.0.1:1\"}", (others, "http://127.0.0.1:1 (Telemetry API)")),
    ];
    for (text, (label, address)) in cases {
        let section = if text.starts_with('{') { text.to_owned() } else { format!("{{{text}}}") };
        let settings = config::load(&format!("export: {section}\n"), &|_| None).unwrap().settings;
        assert_eq!(destination(&settings.export, None), (label, address.to_owned()), "{text}");
    }
}
