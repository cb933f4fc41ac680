use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::config::Settings;
use crate::tail::budget::Budget;

pub(in crate::daemon) fn pipeline() -> Pipeline {
    let settings = Settings::default().tail_sampling;
    let policies = Arc::new(Policies::compile(&settings).unwrap());
    let table = Table::new(&settings, Arc::clone(&policies), Budget::new(64 << 20));
    Pipeline::new(table, policies, Arc::default(), None, Arc::new(Metrics::new()))
}

#[tokio::test(start_paused = true)]
async fn a_panic_amid_a_change_to_the_table_is_told_and_a_good_end_is_not() {
    let pipeline = pipeline();
    let is_broken = async || tokio::time::timeout(Duration::from_secs(1), pipeline.broken()).await.is_ok();
    drop(BreaksOnPanic(&pipeline.broken));
    assert!(!is_broken().await);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let _guard = BreaksOnPanic(&pipeline.broken);
        panic!("in the middle of it");
    }));
    assert!(ended.is_err() && is_broken().await);
}
