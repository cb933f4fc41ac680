//! Applies a changed configuration while the daemon runs.
//!
//! Policies, waits, the actions of `resource.attributes` and the level of the log change in place. All other keys need a
//! restart, and are named. Configurations are applied one after the other. One that cannot be used changes nothing.

mod expiry;
mod file;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::task::spawn_blocking;

use super::StartError;
use super::fleet;
use super::parts::check_limit;
use super::pipeline::Pipeline;
use crate::api::answers::ConfigAnswer;
use crate::clock;
use crate::config::Settings;
use crate::resource::SharedRewriter;
use crate::sampling::{CompileError, Policies};
use crate::settings::Declared;
use crate::settings::shown::ShownSetting;
use crate::tail::settings::TailSampling;
use crate::telemetry::health::RejectedConfig;
use crate::telemetry::log::set_level;
use crate::telemetry::{Health, Metrics};

pub use file::{ConfigFile, LoadConfig, Unusable};

/// The reason why a configuration is not applied. The earlier one stays in force.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// The policies cannot be compiled.
    #[error(transparent)]
    Policies(#[from] CompileError),
    /// The keys of the policies leave too little memory.
    #[error(transparent)]
    Memory(Box<StartError>),
    /// Work on the trace table has panicked.
    #[error("the trace table could not be read again")]
    Table,
}

/// The result of a configuration that was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The keys that are in force now and were changed.
    pub changed: Vec<String>,
    /// The keys that were changed and need a restart.
    pub needs_restart: Vec<String>,
}

/// The parts of a running daemon that a configuration changes.
#[derive(Debug)]
pub struct Reloader {
    pipeline: Arc<Pipeline>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    rewriter: SharedRewriter,
    in_force: Mutex<InForce>,
    /// The configuration in force as the API shows it; `None` if the daemon was started without a text.
    shown: parking_lot::Mutex<Option<ConfigAnswer>>,
    /// Notified when the policies have changed.
    changed: Notify,
}

/// The configuration in force.
#[derive(Debug)]
pub(super) struct InForce {
    settings: Settings,
    /// `settings.tail_sampling` without the policies whose time is over.
    tail_sampling: TailSampling,
}

impl Reloader {
    /// Creates a reloader of a daemon that has started with `settings`, of which `tail_sampling` counts at present.
    pub(super) fn new(
        settings: Settings,
        tail_sampling: TailSampling,
        pipeline: Arc<Pipeline>,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        rewriter: SharedRewriter,
        shown: Option<ConfigAnswer>,
    ) -> Self {
        let in_force = Mutex::new(InForce { settings, tail_sampling });
        let shown = parking_lot::Mutex::new(shown);
        Reloader { pipeline, metrics, health, rewriter, in_force, shown, changed: Notify::new() }
    }

    /// Returns the configuration in force as the API shows it; `None` if the daemon was started without a text.
    pub(super) fn config(&self) -> Option<ConfigAnswer> {
        let shown = self.shown.lock().clone()?;
        Some(ConfigAnswer { rejected: self.health.rejected_config().map(|rejected| rejected.reason), ..shown })
    }

    /// Shows the settings of a configuration that was applied.
    pub(super) fn show(&self, settings: &[ShownSetting], needs_restart: &[String]) {
        if let Some(shown) = self.shown.lock().as_mut() {
            shown.reload(settings, needs_restart.to_vec());
        }
    }

    /// Applies `settings`, as far as they can be changed in place. Pending traces are decided by the new policies. When
    /// it returns, the spans that are held have been evaluated for them.
    ///
    /// # Errors
    /// See [`ReloadError`]. Nothing has changed then.
    pub async fn apply(&self, settings: Settings) -> Result<Applied, ReloadError> {
        let mut in_force = self.in_force.lock().await;
        let mut next = in_force.settings.clone();
        take_over(&mut next, &settings);
        let changed = differences(&in_force.settings, &next);
        let needs_restart = differences(&next, &settings);
        self.decide_by(&mut in_force, next.tail_sampling.at(clock::since_1970().as_secs())).await?;
        self.rewriter.replace(&next.resource.attributes);
        if next.telemetry.log.level != in_force.settings.telemetry.log.level {
            set_level(next.telemetry.log.level);
        }
        in_force.settings = next;
        drop(in_force);
        self.changed.notify_one();
        Ok(Applied { changed, needs_restart })
    }

    /// Waits until no configuration is being applied. None is as long as the result lives.
    pub(super) async fn pause(&self) -> MutexGuard<'_, InForce> {
        self.in_force.lock().await
    }

    /// Puts `tail_sampling` in force.
    async fn decide_by(&self, in_force: &mut InForce, tail_sampling: TailSampling) -> Result<(), ReloadError> {
        if in_force.tail_sampling == tail_sampling {
            return Ok(());
        }
        let table = &self.pipeline.table;
        let previous = table.policies();
        if in_force.tail_sampling.policy_set() == tail_sampling.policy_set() {
            table.replace(&tail_sampling, previous);
        } else {
            let (next, before) = (tail_sampling.clone(), Arc::clone(&previous));
            // Compiling many patterns takes long.
            let compiled = spawn_blocking(move || Policies::compile_set(next.policy_set(), Some(&before)));
            let policies = compiled.await.map_err(|_| ReloadError::Table)??;
            let max_request_bytes = in_force.settings.otlp.max_request_bytes;
            let fixed_bytes =
                table.fixed_bytes().saturating_sub(previous.state_bytes_max()) + policies.state_bytes_max();
            check_limit(table.budget(), fixed_bytes, max_request_bytes)
                .map_err(|error| ReloadError::Memory(Box::new(error)))?;
            // Encoders and the journal must know a policy before it keeps a trace.
            self.pipeline.policy_names.extend_to(policies.names());
            self.metrics.declare_policies(policies.labels(), policies.shadow_labels());
            let policies = Arc::new(policies);
            table.replace(&tail_sampling, Arc::clone(&policies));
            // At once: verdicts of the earlier policies have no effect from now on.
            if let Some(fleet) = &self.pipeline.fleet {
                fleet.replace(fleet::mark(&in_force.settings, &tail_sampling), policies).await;
            }
            self.rescan().await?;
        }
        if let Some(fleet) = &self.pipeline.fleet {
            fleet.set_waits(fleet::waits(&tail_sampling, in_force.settings.fleet.grace)).await;
        }
        in_force.tail_sampling = tail_sampling;
        Ok(())
    }

    /// Evaluates the held spans for the policies in force, on a thread that may be busy for long.
    async fn rescan(&self) -> Result<(), ReloadError> {
        let pipeline = Arc::clone(&self.pipeline);
        let work = spawn_blocking(move || pipeline.rescan());
        work.await.map_err(|_| ReloadError::Table)
    }

    /// Notes in metrics and health that the configuration with this hash is in force; with an error, that a later one
    /// cannot be used.
    pub(super) fn note(&self, hash: u64, rejected: Option<RejectedConfig>) {
        self.metrics.config_rejected(rejected.is_some());
        if rejected.is_none() {
            self.metrics.config_hash(hash);
        }
        self.health.set_rejected_config(rejected);
    }
}

/// Copies the settings that can be changed in place from `new` to `settings`.
fn take_over(settings: &mut Settings, new: &Settings) {
    let TailSampling { decision_cache, annotate, .. } = settings.tail_sampling.clone();
    settings.tail_sampling = TailSampling { decision_cache, annotate, ..new.tail_sampling.clone() };
    settings.resource.attributes.clone_from(&new.resource.attributes);
    settings.telemetry.log.level = new.telemetry.log.level;
}

/// Returns the keys whose values differ, without those of tests, which the daemon ignores.
fn differences(one: &Settings, other: &Settings) -> Vec<String> {
    let inner = |section: &str| match section {
        "otlp" => one.otlp.differences(&other.otlp),
        "tail_sampling" => one.tail_sampling.differences(&other.tail_sampling),
        "resource" => one.resource.differences(&other.resource),
        "export" => one.export.differences(&other.export),
        "fleet" => one.fleet.differences(&other.fleet),
        "memory" => one.memory.differences(&other.memory),
        "telemetry" => one.telemetry.differences(&other.telemetry),
        "telemetry.log" => one.telemetry.log.differences(&other.telemetry.log),
        "api" => one.api.differences(&other.api),
        _ => Vec::new(),
    };
    // A section with inner keys is replaced by those that differ, and so is a section in it.
    let inner_of = |section: String| match inner(&section) {
        keys if keys.is_empty() => vec![section],
        keys => keys.into_iter().map(|key| format!("{section}.{key}")).collect(),
    };
    let sections = one.differences(other).into_iter().filter(|section| *section != "tests");
    sections.map(str::to_owned).flat_map(inner_of).flat_map(inner_of).collect()
}
