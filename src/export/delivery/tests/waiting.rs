//! Projects whose spans the sink does not accept: the log, the metrics, and giving up.

use super::*;
use crate::export::testing::{Lines, span_name};

async fn go_on<S: Sink>(delivery: &mut Delivery<S>, time: Duration) {
    let forever = async {
        loop {
            delivery.progress().await;
        }
    };
    let _ = tokio::time::timeout(time, forever).await;
}

/// Returns the number of spans of projects whose calls fail, by cause: unavailable, quota, unauthenticated, denied.
fn waiting(bench: &Bench) -> [u64; 4] {
    ["unavailable", "quota", "unauthenticated", "denied"]
        .map(|cause| counter(&bench.metrics, "spansieve_waiting_spans", &format!("cause=\"{cause}\"")))
}

#[tokio::test(start_paused = true)]
async fn the_log_has_the_advice_of_the_sink_and_repeats_itself_seldom() {
    for (status, advice) in [
        (Status::permission_denied("no role"), "advice on Answer(PermissionDenied) for shop"),
        (Status::unauthenticated("bad token"), "advice on Answer(Unauthenticated) for shop"),
        (Status::resource_exhausted("quota"), "advice on Answer(ResourceExhausted) for shop"),
        (Status::unavailable("away"), "advice on Answer(Unavailable) for shop"),
    ] {
        let lines = Lines::capture();
        let said = status.clone();
        let mut bench = Bench::with(Script::with_rule(move |_| Some(said.clone())));
        (0..100).for_each(|id| bench.delivery.push(batch(&bench.budget, "shop", id)));
        go_on(&mut bench.delivery, Duration::from_secs(3600)).await;
        let lines = lines.take();
        assert!(lines[0].contains(advice) && lines[0].contains(status.message()), "{lines:?}");
        // One line at once, and one every five minutes after that.
        assert!((11..=13).contains(&lines.len()), "{} lines for {status:?}", lines.len());
        assert!(bench.script.calls().len() > 100, "{} calls", bench.script.calls().len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_project_that_comes_and_goes_does_not_fill_the_log() {
    let lines = Lines::capture();
    let turn = AtomicBool::new(false);
    let mut bench = Bench::with(Script::with_rule(move |_| {
        turn.fetch_xor(true, Ordering::Relaxed).then(|| Status::permission_denied("now and then"))
    }));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3600) {
        bench.push("p", &["a"]);
        bench.deliver_all().await;
    }
    let lines = lines.take();
    // In each minute one line that calls fail, and one line that they succeed.
    assert!((60..=122).contains(&lines.len()), "{} lines", lines.len());
    assert!(bench.script.calls().len() > 10 * lines.len(), "{} calls", bench.script.calls().len());
}

#[tokio::test(start_paused = true)]
async fn many_failing_projects_and_long_answers_do_not_fill_the_log() {
    let lines = Lines::capture();
    let mut bench = Bench::with(Script::with_rule(|_| Some(Status::permission_denied("no\nERROR \x1b[31mforged"))));
    for n in 0..60 {
        bench.push(&format!("p{n}"), &["a"]);
    }
    let minutes = Duration::from_secs(180);
    let _ = tokio::time::timeout(minutes, bench.deliver_all()).await;
    let lines = lines.take();
    assert!((60..=80).contains(&lines.len()), "each project in three minutes, twenty a minute: {}", lines.len());
    assert!(lines.iter().all(|line| line.contains("ERROR") && !line.contains('\x1b')), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn losses_are_logged_with_their_number_and_seldom() {
    let lines = Lines::capture();
    let mut bench = Bench::new([]);
    for _ in 0..25 {
        bench.push("p", &[BAD]);
        bench.deliver_all().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    bench.assert_settled(0, 25);
    let lines = lines.take();
    assert_eq!(lines.len(), 3, "{lines:?}");
    // The line has the id of the span, the reason of the server, and the number of further losses.
    let name = span_name("p", 0);
    assert!(lines[0].contains(&format!("{name} was refused: INVALID_ARGUMENT: {name} has no sense")), "{lines:?}");
    assert!(lines[0].contains("others=0") && lines[1].contains("others=9"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_renewed_once_before_the_project_waits() {
    let refused = Reply::Say(Status::unauthenticated("token expired"));
    for (refusals, at_once) in [(1, true), (2, false)] {
        let lines = Lines::capture();
        let mut bench = Bench::new(vec![refused.clone(); refusals]);
        bench.push("p", &["a"]);
        bench.deliver_all().await;
        bench.assert_settled(1, 0);
        let first_wait = bench.gaps()[0];
        assert!(first_wait < 0.03, "{first_wait} s");
        assert_eq!(lines.take().is_empty(), at_once, "an alarm at the second refusal");
    }
    // The token is also renewed after failures of another kind.
    let mut replies = vec![Reply::Say(Status::unavailable("away")); 8];
    replies.push(refused);
    let mut bench = Bench::new(replies);
    bench.push("p", &["a"]);
    bench.deliver_all().await;
    assert!(bench.gaps()[8] < 0.03, "{:?}", bench.gaps());
}

#[tokio::test(start_paused = true)]
async fn metrics_have_the_number_of_waiting_spans_by_cause() {
    let mut bench = Bench::with(Script::with_rule(|request| match request.name.as_str() {
        "projects/away" => Some(Status::unavailable("away")),
        "projects/quota" => Some(Status::resource_exhausted("quota")),
        "projects/token" => Some(Status::unauthenticated("token")),
        "projects/role" => Some(Status::permission_denied("role")),
        "projects/typo" => Some(Status::not_found("project")),
        _ => None,
    }));
    for (spans, project) in ["fine", "away", "quota", "token", "role", "typo"].into_iter().enumerate() {
        bench.push(project, &vec!["a"; spans + 1]);
    }
    go_on(&mut bench.delivery, Duration::from_secs(60)).await;
    assert_eq!(waiting(&bench), [2, 3, 4, 5 + 6]);
    assert_eq!(bench.kept.unsettled_spans(), 20);
}

#[tokio::test(start_paused = true)]
async fn spans_are_given_up_only_after_the_configured_time() {
    let denied = || {
        Script::with_rule(|request| (request.name == "projects/denied").then(|| Status::permission_denied("no role")))
    };
    let age = Duration::from_secs(3600);
    // Each case has the setting, and the number of spans that are left of five.
    for (give_up_after, left) in [(Duration::ZERO, 5), (age, 2)] {
        let lines = Lines::capture();
        let settings = settings::Export { give_up_after, ..settings_of(1) };
        let mut bench = Bench::of(denied(), &settings);
        bench.push("denied", &["a", "b"]);
        bench.push("denied", &["a"]);
        bench.push("fine", &["a"]);
        go_on(&mut bench.delivery, age - Duration::from_secs(60)).await;
        assert_eq!(waiting(&bench)[3], 3);
        bench.push("denied", &["young", "young"]);
        go_on(&mut bench.delivery, Duration::from_secs(60) + retry::DELAY_MAX).await;
        assert_eq!(waiting(&bench)[3], left);
        assert_eq!(bench.kept.unsettled_spans(), left);
        let gave_up = counter(&bench.metrics, "spansieve_dropped_spans_total", "reason=\"gave_up\"");
        assert_eq!(gave_up, 5 - left);
        let said = lines.take().iter().any(|line| line.contains("not accepted within export.give_up_after"));
        assert_eq!(said, left < 5);
        assert_eq!(settled(&bench.metrics), (1, [0, 0, 0]));
    }
}
