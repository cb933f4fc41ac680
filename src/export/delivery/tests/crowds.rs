//! Many projects: those that hang, fail or do not exist do not use the call slots of the others.

use super::*;

/// A sink whose calls get no answer for some projects, and are denied for others.
struct Crowd {
    script: Arc<Script>,
    /// Projects with this prefix get no answer until the deadline.
    hangs: &'static str,
}

impl Sink for Crowd {
    async fn write(&self, batch: &Batch) -> Result<Written, Failure> {
        if batch.project().starts_with(self.hangs) {
            tokio::time::sleep(Duration::from_secs(60)).await;
            return Err(Failure::connection(Status::deadline_exceeded("no answer")));
        }
        if batch.project().starts_with("made-up") {
            tokio::time::sleep(Duration::from_millis(50)).await;
            return Err(Failure::sink(Status::permission_denied("no such project")));
        }
        self.script.write(batch).await
    }

    fn advice(&self, _: Cause, _: Option<&str>) -> Option<String> {
        None
    }
}

struct Crowded {
    delivery: Delivery<Crowd>,
    script: Arc<Script>,
    budget: Budget,
    next_id: u64,
}

impl Crowded {
    /// Creates a delivery whose own project is `p`.
    fn new() -> Self {
        let (kept, metrics) = (Arc::new(KeptQueue::default()), Arc::new(Metrics::new()));
        let (script, budget) = (Script::with_latency(|_| Duration::from_millis(50)), Budget::new(0));
        let sink = Crowd { script: Arc::clone(&script), hangs: "hangs" };
        let ledger = Arc::new(Ledger::new(kept, metrics));
        let delivery = Delivery::new(sink, &settings_of(1), ledger, budget.clone(), None);
        Crowded { delivery, script, budget, next_id: 0 }
    }

    fn push(&mut self, project: &str) {
        self.delivery.push(batch(&self.budget, project, self.next_id));
        self.next_id += 1;
    }

    /// Returns the number of stored spans of `project`.
    fn stored(&self, project: &str) -> usize {
        let prefix = format!("projects/{project}/");
        self.script.stored().0.iter().filter(|name| name.starts_with(&prefix)).count()
    }

    async fn go_on(&mut self, time: Duration) {
        let forever = async {
            loop {
                self.delivery.progress().await;
            }
        };
        let _ = tokio::time::timeout(time, forever).await;
    }
}

#[tokio::test(start_paused = true)]
async fn projects_that_hang_leave_room_for_the_others() {
    let mut crowd = Crowded::new();
    for n in 0..40 {
        (0..10).for_each(|_| crowd.push(&format!("hangs-{n}")));
    }
    // Its first call is a trial, like the calls of the hanging projects. It waits until those have given up their
    // slots.
    crowd.push("fine");
    crowd.push("p");
    crowd.go_on(Duration::from_secs(1)).await;
    assert_eq!(crowd.stored("p"), 1);
    crowd.go_on(Duration::from_secs(60)).await;
    assert_eq!(crowd.stored("fine"), 1);
    // After that, the healthy projects are served at once, for as long as the others hang.
    for second in 1..600 {
        for project in ["fine", "p"] {
            crowd.push(project);
        }
        crowd.go_on(Duration::from_secs(1)).await;
        assert_eq!((crowd.stored("fine"), crowd.stored("p")), (second + 1, second + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn proven_projects_that_begin_to_hang_stop_the_others_for_seconds_at_most() {
    let mut crowd = Crowded::new();
    let projects = ["p", "q", "r", "s"];
    // This is long enough for each project to reach its limit of calls.
    for _ in 0..60 {
        projects.iter().for_each(|project| (0..200).for_each(|_| crowd.push(project)));
        crowd.go_on(Duration::from_secs(3)).await;
    }
    let stored = crowd.stored("p");
    crowd.delivery.sink = Arc::new(Crowd { script: Arc::clone(&crowd.script), hangs: "q" });
    for _ in 0..100 {
        ["p", "q"].iter().for_each(|project| crowd.push(project));
    }
    crowd.go_on(PATIENCE + Duration::from_secs(10)).await;
    assert_eq!(crowd.stored("p"), stored + 100);
}

#[tokio::test(start_paused = true)]
async fn made_up_projects_slow_nothing_down() {
    // Measures the time for spans of the own project, with and without 5,000 projects that senders have made up and the
    // sink denies.
    let time = async |made_up: usize| {
        let mut crowd = Crowded::new();
        for n in 0..made_up {
            crowd.push(&format!("made-up-{n}"));
        }
        crowd.go_on(Duration::from_secs(1)).await;
        let start = Instant::now();
        (0..2_000).for_each(|_| crowd.push("p"));
        while crowd.stored("p") < 2_000 {
            crowd.go_on(Duration::from_millis(100)).await;
        }
        start.elapsed()
    };
    let (alone, crowded) = (time(0).await, time(5_000).await);
    assert!(crowded <= alone + Duration::from_secs(1), "{alone:?} alone, {crowded:?} beside made-up projects");
}

#[tokio::test(start_paused = true)]
async fn a_project_that_fails_for_a_moment_does_not_wait_behind_made_up_ones() {
    let mut crowd = Crowded::new();
    crowd.push("p");
    (0..2_000).for_each(|n| crowd.push(&format!("hangs-{n}")));
    crowd.go_on(Duration::from_secs(1)).await;
    assert_eq!(crowd.stored("p"), 1);
    let well = std::mem::replace(
        &mut crowd.delivery.sink,
        Arc::new(Crowd { script: Script::with_rule(|_| Some(Status::unavailable("for a moment"))), hangs: "hangs" }),
    );
    crowd.push("p");
    crowd.go_on(Duration::from_millis(100)).await;
    crowd.delivery.sink = well;
    crowd.go_on(retry::DELAY_MAX).await;
    assert_eq!(crowd.stored("p"), 2);
}

#[tokio::test(start_paused = true)]
async fn queues_beyond_the_first_count_in_the_budget() {
    let mut crowd = Crowded::new();
    let one = {
        crowd.push("made-up-first");
        crowd.budget.used_bytes()
    };
    (0..1_000).for_each(|n| crowd.push(&format!("made-up-{n:05}")));
    assert!(crowd.budget.used_bytes() > 1_000 * one + 900 * 1_024, "{} B", crowd.budget.used_bytes());
    drop(crowd.delivery);
    // Aborted calls return their batches when their tasks run.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(crowd.budget.used_bytes(), 0);
}
