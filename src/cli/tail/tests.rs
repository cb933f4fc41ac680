use super::*;

fn args() -> TailArgs {
    TailArgs {
        daemon: DaemonArgs { from: "http://127.0.0.1:1".into(), token_file: None },
        policies: Vec::new(),
        services: Vec::new(),
        verdict: None,
        count: None,
        format: Format::Text,
    }
}

const DECISION: &str = r#"{"time":"2026-11-30T10:00:00.001Z","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","verdict":"dropped","policy":null,"adjusted_count":null,"trigger":"decision_wait","spans":3,"duration_ms":20,"services":["api","d\nb"]}"#;

fn printer(format: Format, left: Option<u64>) -> Printer {
    Printer { format, paint: Paint::PLAIN, left }
}

#[test]
fn a_filter_is_a_query() {
    assert_eq!(path(&args()), "/api/decisions");
    let filtered = TailArgs {
        policies: vec!["errors".into(), "a&b".into()],
        services: vec!["api".into()],
        verdict: Some(VerdictArg::Kept),
        ..args()
    };
    assert_eq!(path(&filtered), "/api/decisions?policy=errors&policy=a%26b&service=api&verdict=kept");
}

#[test]
fn a_decision_is_one_line() {
    let mut printer = printer(Format::Text, Some(2));
    let line = printer.line(format!("{DECISION}\n").as_bytes()).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let expected = [
        "2026-11-30T10:00:00.001Z",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "dropped",
        "-",
        "decision_wait",
        "3",
        "spans",
        "20",
        "ms",
        "api,d",
        "b",
    ];
    assert_eq!((words, line.lines().count()), (expected.to_vec(), 1));
    assert_eq!(printer.left, Some(1));
}

#[test]
fn a_dropped_trace_of_a_dry_run_is_exported() {
    let line = |verdict: &str, more: &str| {
        let document = DECISION.replace("dropped", verdict).replace(r#"]}"#, &format!("]{more}}}"));
        printer(Format::Text, None).line(format!("{document}\n").as_bytes()).unwrap()
    };
    let dry_run = r#","dry_run":true"#;
    assert!(line("dropped", dry_run).ends_with("  (dry run: exported)\n"), "{}", line("dropped", dry_run));
    assert!(!line("dropped", "").contains("dry run"));
    assert!(!line("kept", dry_run).contains("dry run"));
}

#[test]
fn empty_lines_and_what_was_left_out_are_not_counted() {
    for format in [Format::Text, Format::Json] {
        let mut printer = printer(format, Some(1));
        assert_eq!(printer.line(b"\n").unwrap(), "");
        let left_out = printer.line(b"{\"left_out\":12}\n").unwrap();
        assert!(left_out.contains("12") && left_out.ends_with('\n'), "{left_out}");
        assert_eq!(printer.left, Some(1));
    }
    let json = printer(Format::Json, None).line(format!("{DECISION}\n").as_bytes()).unwrap();
    assert_eq!(json, format!("{DECISION}\n"));
    assert!(printer(Format::Json, None).line(b"<html>\n").is_err());
}

#[test]
fn json_lines_have_no_characters_that_control_a_terminal() {
    let mut printer = printer(Format::Json, None);
    let line = printer.line(DECISION.replace("api", "\u{9b}2Japi").as_bytes()).unwrap();
    assert!(line.contains("\"\\u009b2Japi\"") && line.contains("\"d\\nb\""), "{line}");
}

#[test]
fn a_policy_that_the_daemon_does_not_have_is_refused_with_those_that_it_has() {
    let counts = |policy: &str| crate::api::answers::PolicyCounts {
        policy: policy.into(),
        kept_traces: 0,
        dropped_traces: 0,
        triggers: Default::default(),
        amounts: Default::default(),
    };
    let shadow = crate::api::answers::ShadowCounts {
        policy: "tried".into(),
        effect: "keep".into(),
        traces: 0,
        spans: 0,
        dollars: 0.0,
    };
    let policies = vec![counts("errors"), counts("slow")];
    let known = PoliciesAnswer { policies, shadow: vec![shadow], ..PoliciesAnswer::default() };
    let said = |asked: &str| {
        let names: Vec<String> = asked.split(',').map(str::to_owned).collect();
        check_policies(&names, &known, "http://d").map_err(|error| error.to_string())
    };
    assert_eq!(said("slow,errors"), Ok(()));
    let no = |name: &str, help: &str| Err(format!("http://d has no policy `{name}` that decides: {help}"));
    assert_eq!(said("slow,erors"), no("erors", "did you mean `errors`?"));
    assert_eq!(said("baseline"), no("baseline", "it has errors, slow"));
    assert_eq!(
        said("tried"),
        no("tried", "it is a shadow policy, which decides nothing; spansieve top has its counts")
    );
}

#[test]
fn a_service_that_the_daemon_has_not_seen_is_a_warning() {
    let service = |service: &str| crate::api::answers::ServiceCounts {
        service: service.into(),
        spans: 1,
        late_spans: 0,
        amounts: Default::default(),
    };
    let mut known =
        PoliciesAnswer { services: vec![service("checkout"), service("cart")], ..PoliciesAnswer::default() };
    assert_eq!(unseen("cart", &known), None);
    let warning = unseen("chekout", &known).unwrap();
    assert_eq!(warning, "warning: the daemon has had no span of the service `chekout`: did you mean `checkout`?\n");
    assert!(unseen("mail", &known).unwrap().ends_with("so far it had checkout, cart\n"));
    known.services.push(service("other"));
    assert_eq!(unseen("mail", &known), None, "it may be one of the others");
}
