use std::cell::Cell;

use http_body_util::BodyExt;

use super::*;
use crate::api::answers::DecisionAnswer;

struct Decided<'a> {
    verdict: &'static str,
    policy: &'a str,
    encoded: &'a Cell<usize>,
}

impl Candidate for Decided<'_> {
    fn verdict(&self) -> &'static str {
        self.verdict
    }

    fn policy(&self) -> String {
        self.policy.to_owned()
    }

    fn services(&self) -> Vec<String> {
        vec![format!("service-{}", self.policy)]
    }

    fn answer(&self, services: Vec<String>) -> DecisionAnswer {
        self.encoded.set(self.encoded.get() + 1);
        DecisionAnswer {
            time: "2026-11-30T10:00:00Z".into(),
            trace_id: "4b".repeat(16),
            verdict: self.verdict.into(),
            policy: Some(self.policy.into()),
            adjusted_count: Some(1.0),
            trigger: "evidence".into(),
            spans: 3,
            duration_ms: 20,
            services,
            dry_run: false,
        }
    }
}

fn budget() -> Budget {
    Budget::new(64 << 20)
}

fn listen(hub: &Arc<DecisionHub>, query: &str) -> DecisionStream {
    hub.listen(Filter::parse(query).unwrap(), &budget()).unwrap()
}

/// Publishes `count` decisions of each verdict at `now_ms`; returns how many were encoded.
fn publish(hub: &DecisionHub, count: usize, now_ms: Millis) -> usize {
    let encoded = Cell::new(0);
    let decisions = (0..count).flat_map(|_| [("kept", "errors"), ("dropped", "health")]);
    let decisions = decisions.map(|(verdict, policy)| Decided { verdict, policy, encoded: &encoded });
    hub.publish(decisions, now_ms);
    encoded.get()
}

/// Returns the lines of the next chunk.
async fn lines(stream: &mut DecisionStream) -> Vec<String> {
    let chunk = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    String::from_utf8(chunk.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn each_listener_gets_what_it_wants_and_each_line_is_encoded_once() {
    let hub = Arc::new(DecisionHub::default());
    assert!(!hub.is_listened_to());
    let mut all = [listen(&hub, ""), listen(&hub, "")];
    let mut kept = listen(&hub, "verdict=kept");
    let mut of_service = listen(&hub, "service=service-health");
    assert!(hub.is_listened_to());
    assert_eq!(publish(&hub, 1, 0), 2);
    for stream in &mut all {
        assert_eq!(lines(stream).await.len(), 2);
    }
    assert!(matches!(&lines(&mut kept).await[..], [one] if one.contains("\"errors\"")));
    assert!(matches!(&lines(&mut of_service).await[..], [one] if one.contains("\"health\"")));
    drop((all, kept, of_service));
    assert!(!hub.is_listened_to());
    assert_eq!(publish(&hub, 1, 0), 0, "without a listener nothing is encoded");
}

#[tokio::test(start_paused = true)]
async fn what_exceeds_the_rate_is_left_out_and_the_stream_says_so() {
    let hub = Arc::new(DecisionHub::default());
    let mut stream = listen(&hub, "verdict=kept");
    assert!(publish(&hub, 1_500, 0) <= RATE_MAX as usize);
    let got = lines(&mut stream).await;
    let left_out: Vec<_> = got.iter().filter(|line| line.contains("left_out")).collect();
    let decisions = got.len() - left_out.len();
    let told = left_out.first().map_or(0, |line| serde_json::from_str::<LeftOut>(line).unwrap().left_out as usize);
    assert_eq!(decisions + told, 1_500, "each decision is there or counted");
    assert!(decisions <= RATE_MAX as usize);
    publish(&hub, 3, 2_000);
    assert_eq!(lines(&mut stream).await.len(), 3, "two seconds later there is room again");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_listener_is_bounded() {
    let hub = Arc::new(DecisionHub::default());
    let mut stream = listen(&hub, "");
    for second in 0..30 {
        publish(&hub, 1_000, second * 1_000);
    }
    let held = stream.listener.queue.lock().lines.len();
    assert!((QUEUE_BYTES_MAX - 1_000..QUEUE_BYTES_MAX).contains(&held), "{held}");
    let got = lines(&mut stream).await;
    assert!(got[0].starts_with("{\"left_out\":"), "{}", got[0]);
    publish(&hub, 1, 30_000);
    assert_eq!(lines(&mut stream).await.len(), 2, "there is room again");
}

#[tokio::test(start_paused = true)]
async fn listeners_and_their_memory_are_limited() {
    let hub = Arc::new(DecisionHub::default());
    let budget = budget();
    let streams: Vec<_> = (0..LISTENERS_MAX).map(|_| hub.listen(Filter::default(), &budget).unwrap()).collect();
    assert_eq!(budget.used_bytes(), LISTENERS_MAX * LISTENER_BYTES);
    assert_eq!(hub.listen(Filter::default(), &budget).unwrap_err(), NoPlace::Listeners);
    drop(streams);
    assert_eq!((budget.used_bytes(), hub.is_listened_to()), (0, false));
    let small = Budget::new(1_000);
    assert_eq!(hub.listen(Filter::default(), &small).unwrap_err(), NoPlace::Memory);
    assert!(!hub.is_listened_to());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_shows_that_it_goes_on_and_a_closed_one_ends() {
    let hub = Arc::new(DecisionHub::default());
    let mut stream = listen(&hub, "");
    let start = Instant::now();
    assert_eq!(stream.frame().await.unwrap().unwrap().into_data().unwrap(), "\n");
    assert!(start.elapsed() >= KEEP_ALIVE_INTERVAL);
    publish(&hub, 1, 0);
    hub.close();
    assert_eq!(lines(&mut stream).await.len(), 2, "what waits is sent");
    assert!(stream.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_listener_holds_no_more_than_it_is_charged() {
    let hub = Arc::new(DecisionHub::default());
    let stream = listen(&hub, "");
    let mut second = 0;
    let mut fill = || {
        let mut capacity = 0;
        for _ in 0..2_000 {
            second += 1;
            publish(&hub, 1, second * 1_000);
            let grown = stream.listener.queue.lock().lines.capacity();
            assert!(grown == capacity || capacity <= QUEUE_BYTES_MAX / 2 || grown == QUEUE_BYTES_MAX, "{grown}");
            capacity = grown;
        }
        capacity
    };
    let full = fill();
    let (sent, _) = stream.listener.take(Waker::noop());
    assert!(sent.starts_with(b"{\"left_out\":"));
    assert!(full <= QUEUE_BYTES_MAX && sent.capacity() <= QUEUE_BYTES_MAX, "{full}, {}", sent.capacity());
    assert!(sent.capacity() + fill() + QUEUE_BYTES_MAX / 2 <= LISTENER_BYTES);
}
