use super::expiry::{Given, Notice, due, sleep};
use super::*;
use crate::api::answers::{ConfigAnswer, SettingAnswer, ValueAnswer};
use crate::config::Loaded;
use crate::daemon::pipeline::tests::pipeline;
use crate::resource::Rewriter;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

fn loaded(text: &str) -> Loaded {
    crate::config::load(text, &|_| None).unwrap_or_else(|problems| panic!("{problems}"))
}

fn settings(text: &str) -> Settings {
    loaded(text).settings
}

/// Returns a reloader of a daemon that has started with this configuration.
fn reloader(text: &str) -> Reloader {
    let Loaded { settings, shown, .. } = loaded(text);
    let tail_sampling = settings.tail_sampling.at(0);
    let pipeline = pipeline();
    let policies = Policies::compile_set(tail_sampling.policy_set(), Some(&pipeline.table.policies())).unwrap();
    pipeline.table.replace(&tail_sampling, Arc::new(policies));
    let (metrics, health) = (Arc::clone(&pipeline.metrics), Arc::default());
    let shown = Some(ConfigAnswer::new("c.yaml".to_owned(), &shown));
    Reloader::new(settings, tail_sampling, Arc::new(pipeline), metrics, health, Rewriter::default().into(), shown)
}

fn labels(reloader: &Reloader) -> Vec<String> {
    reloader.pipeline.table.policies().labels().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_can_change_in_place_does_and_the_rest_is_named() {
    let reloader = reloader("tail_sampling: {policies: [{name: a, type: error}]}");
    let applied = reloader
        .apply(settings(
            "otlp: {max_request_bytes: 1MiB}
journal: {directory: /tmp/journal}
tail_sampling:
  decision_wait: 2s
  annotate: false
  decision_cache: {sampled_cache_size: 2000}
  dry_run: true
  policies: [{name: b, type: error}, {name: c, type: always_sample}]
  shadow: {policies: [{name: d, type: error}]}
resource:
  normalize: resource
  attributes: [{action: delete, key: secret}]
export: {batch: {max_delay: 2s}}
fleet: {handoff: {endpoint: 'http://next:4317'}}
memory: {compress: lz4}
span_metrics: {}
tests: [{name: t, trace: 'api  GET /  1ms', expect: {verdict: kept}}]
telemetry: {log: {level: warn, format: json}}",
        ))
        .await
        .unwrap();
    let changed = [
        "tail_sampling.decision_wait",
        "tail_sampling.dry_run",
        "tail_sampling.policies",
        "tail_sampling.shadow",
        "resource.attributes",
        "telemetry.log.level",
    ];
    assert_eq!(applied.changed, changed);
    let needs_restart = [
        "otlp.max_request_bytes",
        "journal",
        "tail_sampling.decision_cache",
        "tail_sampling.annotate",
        "span_metrics",
        "resource.normalize",
        "export.batch",
        "fleet.handoff",
        "memory.compress",
        "telemetry.log.format",
    ];
    assert_eq!(applied.needs_restart, needs_restart);
    assert_eq!(labels(&reloader), ["b", "c"]);
    assert_eq!(reloader.pipeline.table.policies().shadow_labels().collect::<Vec<_>>(), ["d"]);
    let text = reloader.metrics.render(crate::telemetry::metrics::HeldAmounts::default());
    assert!(text.contains("spansieve_shadow_traces_total{policy=\"d\",effect=\"keep\"} 0"), "{text}");
    // The same once more changes nothing, and the policies stay as they are.
    let generation = reloader.pipeline.table.policies().generation();
    let again = reloader.in_force.lock().await.settings.clone();
    assert_eq!(reloader.apply(again).await.unwrap(), Applied::default());
    assert_eq!(reloader.pipeline.table.policies().generation(), generation);
}

#[tokio::test]
async fn policies_without_room_are_refused() {
    let reloader = reloader("tail_sampling: {policies: [{name: a, type: error}]}");
    let adaptive = "{name: b, type: adaptive, adaptive: {goal_percentage: 5, max_keys: 100000}}";
    let many = (0..8).map(|number| adaptive.replacen('b', &format!("b{number}"), 1)).collect::<Vec<_>>().join(", ");
    let error = reloader.apply(settings(&format!("tail_sampling: {{policies: [{many}]}}"))).await.unwrap_err();
    assert!(matches!(error, ReloadError::Memory(_)), "{error}");
    assert!(error.to_string().contains("too small"), "{error}");
    assert_eq!(labels(&reloader), ["a"]);
}

const END: u64 = 1_796_083_200;
const TEMPORARY: &str = "tail_sampling:
  policies:
    - {name: a, type: error}
    - {name: b, type: always_sample, until: 2026-12-01T00:00:00Z}
  shadow: {policies: [{name: c, type: error, until: 2026-12-01T00:00:10Z}]}
";

#[tokio::test]
async fn temporary_policies_end_by_themselves() {
    let reloader = reloader(TEMPORARY);
    let mut given = Given::new();
    let mut at = async |second: u64| reloader.expire(Duration::from_secs(second), &mut given).await;
    assert_eq!(at(END - 100_000).await, Duration::from_secs(60));
    assert_eq!(at(END - 30).await, Duration::from_secs(30));
    assert_eq!(labels(&reloader), ["a", "b"]);
    assert_eq!(at(END).await, Duration::from_secs(10));
    assert_eq!(labels(&reloader), ["a"]);
    assert_eq!(reloader.pipeline.table.policies().shadow_labels().count(), 1);
    at(END + 10).await;
    assert_eq!(reloader.pipeline.table.policies().shadow_labels().count(), 0);
    // The clock was wrong and is set back.
    at(END - 1).await;
    assert_eq!(labels(&reloader), ["a", "b"]);
}

#[test]
fn each_notice_is_given_once() {
    let settings = settings(TEMPORARY).tail_sampling;
    let mut given = Given::new();
    let mut at = |second| {
        let due = due(&settings, second, &mut given);
        due.into_iter().map(|(policy, _, notice)| (policy, notice)).collect::<Vec<_>>()
    };
    let notice = |policy: &str, notice| (policy.to_owned(), notice);
    assert_eq!(at(END - 86_401), []);
    assert_eq!(at(END - 86_400), [notice("b", Notice::Day)]);
    assert_eq!(at(END - 86_390), [notice("c", Notice::Day)]);
    assert_eq!(at(END - 3_601), []);
    assert_eq!(at(END - 3_500), [notice("b", Notice::Hour), notice("c", Notice::Hour)]);
    assert_eq!(at(END), [notice("b", Notice::Over)]);
    assert_eq!(at(END + 10), [notice("c", Notice::Over)]);
    assert_eq!(at(END + 11), []);
}

#[test]
fn the_next_look_is_when_something_is_to_be_done() {
    let settings = settings(TEMPORARY).tail_sampling;
    let until = |second: u64| sleep(&settings, Duration::from_secs(second)).as_secs();
    assert_eq!([END - 86_430, END - 86_400, END - 3_601, END - 1, END].map(until), [30, 10, 1, 1, 10]);
    assert_eq!(until(END + 10), 60);
}

#[tokio::test]
async fn the_api_shows_what_is_in_force() {
    let reloader = reloader("otlp: {listen: [\"127.0.0.1:1\", \"127.0.0.1:2\"]}\ntail_sampling: {decision_wait: 5s}");
    let values = |key: &str| -> Vec<ValueAnswer> {
        let settings = reloader.config().unwrap().settings;
        settings.iter().filter(|setting| setting.key == key).map(|setting| setting.value.clone()).collect()
    };
    let text = |text: &str| ValueAnswer::Text(text.to_owned());
    let list = |items: &[&str]| ValueAnswer::List(items.iter().map(|&item| item.to_owned()).collect());
    let keys = || -> Vec<String> {
        let of = |setting: SettingAnswer| setting.key;
        reloader.config().unwrap().settings.into_iter().map(of).collect()
    };
    let keys_before = keys();
    let addresses = list(&["127.0.0.1:1", "127.0.0.1:2"]);
    assert_eq!(
        (values("otlp.listen"), values("tail_sampling.decision_wait")),
        (vec![addresses.clone()], vec![text("5s")])
    );

    let Loaded { settings, shown, .. } =
        loaded("otlp: {listen: [\"127.0.0.1:3\"]}\ntail_sampling: {decision_wait: 7s}");
    let applied = reloader.apply(settings).await.unwrap();
    reloader.show(&shown, &applied.needs_restart);
    assert_eq!((values("otlp.listen"), values("tail_sampling.decision_wait")), (vec![addresses], vec![text("7s")]));
    let shown = reloader.config().unwrap();
    assert_eq!((shown.needs_restart, shown.rejected), (vec!["otlp.listen".to_owned()], None));
    assert_eq!(keys(), keys_before, "in the order of the reference");
    let rejected =
        RejectedConfig { reason: "c.yaml: 1:1: unknown key".to_owned(), kind: "c.yaml: an error at 1:1".to_owned() };
    reloader.note(1, Some(rejected));
    assert_eq!(reloader.config().unwrap().rejected.as_deref(), Some("c.yaml: 1:1: unknown key"));
}

/// A file that is looked at, and the number of times that it was read.
struct Looked {
    path: tempfile::TempPath,
    file: ConfigFile,
    reloader: Reloader,
    loads: Arc<AtomicUsize>,
}

impl Looked {
    /// Returns a file with the text `first`. `load` reads its later contents.
    fn new(first: &str, load: impl Fn(&str) -> Result<Loaded, String> + Send + Sync + 'static) -> Self {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&path, first).unwrap();
        let loads = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&loads);
        let load = move |text: &str| {
            counted.fetch_add(1, Relaxed);
            load(text).map_err(Unusable::from)
        };
        let file = ConfigFile::loaded(path.to_path_buf(), first, Arc::new(load));
        Looked { path, file, reloader: reloader(first), loads }
    }

    /// Looks so many times. Returns how often the contents were loaded so far.
    async fn looks(&mut self, count: usize) -> usize {
        for _ in 0..count {
            self.file.look(&self.reloader, false).await;
        }
        self.loads.load(Relaxed)
    }
}

const FIRST: &str = "tail_sampling: {policies: [{name: a, type: error}]}\n";
const SECOND: &str = "tail_sampling: {policies: [{name: bb, type: error}]}\n";

#[tokio::test]
async fn a_file_that_could_not_be_used_is_tried_again_once_a_minute() {
    let is_right = Arc::new(AtomicBool::new(false));
    let other_file = Arc::clone(&is_right);
    let load = move |text: &str| match other_file.load(Relaxed) {
        true => Ok(loaded(text)),
        false => Err("the other file is not there".to_owned()),
    };
    let mut looked = Looked::new(FIRST, load);
    assert_eq!(looked.looks(3).await, 0, "it has not changed");
    std::fs::write(&looked.path, SECOND).unwrap();
    assert_eq!(looked.looks(10).await, 1);
    is_right.store(true, Relaxed);
    assert_eq!((looked.looks(60).await, labels(&looked.reloader)), (2, vec!["bb".to_owned()]));
    assert!(looked.reloader.health.rejected_config().is_none());
    assert_eq!(looked.looks(120).await, 2, "it is the same");
}

#[tokio::test]
async fn a_file_that_changes_at_each_look_is_read_once_a_minute() {
    let mut looked = Looked::new(FIRST, |text| Ok(loaded(text)));
    looked.looks(2).await;
    let mut read = Vec::new();
    for look in 0..130 {
        std::fs::write(&looked.path, format!("{SECOND}{}", "#".repeat(look))).unwrap();
        read.push(looked.looks(1).await);
    }
    assert_eq!([read[0], read[58], read[59], read[118], read[119], read[129]], [0, 0, 1, 1, 2, 2]);
    assert_eq!(looked.looks(2).await, 3, "it is read when it stays the same");
}
