use super::*;
use crate::sampling::Keep;
use crate::tail::{DecisionFacts, HeldReport, Trigger};

const ID: TraceId = TraceId([0x4b; 16]);
const DATES: Dates = Dates { now_ms: 60_000, now: Duration::from_secs(1_800_000_000) };

fn facts(trigger: Trigger) -> DecisionFacts {
    DecisionFacts { at_ms: 50_000, trigger, spans: 5, late_spans: 2, drop_policy: None }
}

fn of(fate: Fate, keep: Option<Keep>, decision: Option<DecisionFacts>) -> FateAnswer {
    let settings = crate::config::load("", &|_| None).unwrap().settings;
    let policies = Policies::compile(&settings.tail_sampling.policies, false).unwrap();
    answer(ID, &TraceReport { fate, keep, decision, held: None }, &policies, DATES, false)
}

#[test]
fn a_dry_run_says_that_the_trace_is_exported_all_the_same() {
    let policies = Policies::compile(&[], false).unwrap();
    let told = |fate, decision, is_dry_run| {
        let report = TraceReport { fate, keep: None, decision, held: None };
        answer(ID, &report, &policies, DATES, is_dry_run)
    };
    let facts = Some(facts(Trigger::DecisionWait));
    for (fate, decision, words) in [
        (Fate::Pending, None, "the trace is exported whatever its verdict is."),
        (Fate::SampledOut { rescuable: true }, facts, "exported all the same, when its spans leave memory."),
        (Fate::SampledOut { rescuable: false }, facts, "the trace was exported all the same."),
        (Fate::DroppedByPolicy, facts, "the trace was exported all the same."),
    ] {
        let dry = told(fate, decision, true);
        assert!(dry.dry_run && dry.explanation.ends_with(words), "{}", dry.explanation);
        let real = told(fate, decision, false);
        assert!(!real.dry_run && !real.explanation.contains("export"), "{}", real.explanation);
    }
    // It is not known if the earlier process made a dry run.
    let earlier = told(Fate::SampledOut { rescuable: false }, None, true);
    assert!(earlier.explanation.ends_with("so only the verdict is known."), "{}", earlier.explanation);
}

#[test]
fn policies_answer_in_the_order_of_the_configuration_and_shadow_policies_last() {
    let set = |text: &str| crate::config::load(text, &|_| None).unwrap().settings.tail_sampling;
    let errors = "{name: errors, type: error}";
    let before = set(&format!("tail_sampling: {{policies: [{errors}]}}"));
    let after = set(&format!(
        "tail_sampling: {{policies: [{{name: no flags, type: drop, drop: {{drop_sub_policy: [{{type: trace_flags}}]}}}}, \
         {{name: all, type: always_sample}}, {{name: tried, type: always_sample, shadow: true}}, {errors}]}}"
    ));
    let before = Policies::compile_set(before.policy_set(), None).unwrap();
    let policies = Policies::compile_set(after.policy_set(), Some(&before)).unwrap();
    let mut summary = Summary::of_generation(policies.generation());
    summary.span_count = 1;
    let answers = policy_answers(&policies, &summary, ID);
    let answers: Vec<_> = answers.iter().map(|it| (it.policy.as_str(), it.answer.as_str(), it.shadow)).collect();
    let expected = [
        ("no flags", "does not drop", false),
        ("all", "keeps", false),
        ("errors", "does not keep", false),
        ("tried", "keeps", true),
    ];
    assert_eq!(answers, expected);
}

#[test]
fn a_trace_id_is_32_hexadecimal_digits() {
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    assert_eq!(trace_id(id).unwrap().to_string(), id);
    assert_eq!(trace_id(&id.to_uppercase()).unwrap().to_string(), id);
    for bad in
        ["", "4bf92f35", "+bf92f3577b34da6a3ce929d0e0e4736", "4bf92f35-77b34da6-a3ce929d-0e0e4736", &"g".repeat(32)]
    {
        assert_eq!(trace_id(bad), Err(IdError::Form), "{bad}");
    }
    assert_eq!(trace_id(&"4".repeat(33)), Err(IdError::Form));
    assert_eq!(trace_id(&"\u{e4}".repeat(16)), Err(IdError::Form));
    assert_eq!(trace_id(&"0".repeat(32)), Err(IdError::Zero));
}

#[test]
fn a_kept_trace_has_its_policy_and_the_facts_of_its_decision() {
    let keep = Keep::new(2, Threshold::from_percent(5.0));
    let kept = of(Fate::Kept { policy: 2 }, Some(keep), Some(facts(Trigger::DecisionWait)));
    assert_eq!(
        (kept.fate, kept.policy.as_deref(), kept.adjusted_count),
        (FateWord::Kept, Some("baseline"), Some(20.0))
    );
    assert_eq!((kept.trigger.as_deref(), kept.spans, kept.late_spans), (Some("decision_wait"), Some(5), Some(2)));
    assert_eq!(kept.decided_at.as_deref(), Some("2027-01-15T07:59:50Z"), "ten seconds ago");
    assert_eq!(kept.explanation, "The policy baseline kept the trace.");
    let rescued = Keep { rescued: true, ..Keep::new(0, Threshold::ALWAYS) };
    let rescued = of(Fate::Kept { policy: 0 }, Some(rescued), Some(facts(Trigger::Rescue)));
    assert!(rescued.explanation.starts_with("The trace was dropped at first."), "{}", rescued.explanation);
}

#[test]
fn a_trace_of_which_only_the_verdict_is_known_says_so() {
    let keep = Keep::new(0, Threshold::ALWAYS);
    for (fate, keep) in [
        (Fate::Kept { policy: 0 }, Some(keep)),
        (Fate::SampledOut { rescuable: false }, None),
        (Fate::DroppedByPolicy, None),
    ] {
        let told = of(fate, keep, None);
        assert!(told.explanation.ends_with("so only the verdict is known."), "{}", told.explanation);
        assert_eq!((told.trigger, told.decided_at, told.spans, told.late_spans), (None, None, None, None));
    }
}

#[test]
fn a_policy_that_drops_is_named_if_it_is_known() {
    let known = DecisionFacts { drop_policy: Some(1), ..facts(Trigger::DecisionWait) };
    assert_eq!(of(Fate::DroppedByPolicy, None, Some(known)).policy.as_deref(), Some("slow"));
    let unknown = of(Fate::DroppedByPolicy, None, Some(facts(Trigger::DecisionWait)));
    assert_eq!((unknown.fate, unknown.policy), (FateWord::Dropped, None));
}

#[test]
fn an_unknown_trace_may_be_a_forgotten_one() {
    let unknown = of(Fate::Unknown, None, None);
    assert_eq!(unknown.fate, FateWord::Unknown);
    assert!(unknown.explanation.contains("forgotten") && !unknown.explanation.contains("earlier process"));
}

#[test]
fn a_pending_trace_says_when_it_is_decided() {
    let mut summary = Summary::default();
    (summary.start_unix_nano, summary.end_unix_nano, summary.span_count) = (1_000_000, 21_000_000, 3);
    let held = HeldReport { summary, trigger: Trigger::RootReceived, until_ms: 64_000 };
    let report = TraceReport { fate: Fate::Pending, keep: None, decision: None, held: Some(held) };
    let settings = crate::config::load("", &|_| None).unwrap().settings;
    let policies = Policies::compile(&settings.tail_sampling.policies, false).unwrap();
    let pending = answer(ID, &report, &policies, DATES, false);
    assert_eq!((pending.fate, pending.spans, pending.late_spans), (FateWord::Pending, Some(3), None));
    assert_eq!(pending.until.as_deref(), Some("2027-01-15T08:00:04Z"), "in four seconds");
    assert_eq!((pending.trigger.as_deref(), pending.decided_at), (Some("root_received"), None));
    assert_eq!(pending.duration_ms, Some(20));
    let answers = pending.policies.unwrap();
    let rows: Vec<_> = answers.iter().map(|row| (row.policy.as_str(), row.answer.as_str())).collect();
    assert_eq!(rows, [("errors", "does not keep"), ("slow", "does not keep"), ("baseline", "does not keep")]);
    let stale = answer(ID, &report, &policies.renumbered(1), DATES, false);
    assert_eq!((stale.policies, stale.spans), (None, Some(3)), "the summary was made for other policies");
}

#[test]
fn a_policy_that_depends_on_other_traces_is_not_asked() {
    let text = "tail_sampling: {policies: [{name: all, type: always_sample}, \
                {name: few, type: rate_limiting, rate_limiting: {spans_per_second: 5}}]}";
    let settings = crate::config::load(text, &|_| None).unwrap().settings;
    let policies = Policies::compile(&settings.tail_sampling.policies, false).unwrap();
    let answers = policy_answers(&policies, &Summary::default(), ID);
    assert_eq!((answers[0].answer.as_str(), answers[0].adjusted_count), ("keeps", Some(1.0)));
    assert_eq!((answers[1].answer.as_str(), answers[1].adjusted_count), ("not asked", None));
}
