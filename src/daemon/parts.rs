//! The parts of which a daemon is made at its start.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::api::ApiAnswers;
use super::fleet::FleetParts;
use super::{StartError, memory, reachable, readiness};
use crate::budget::Budget;
use crate::config::Settings;
use crate::emulator::Emulator;
use crate::export::settings::{self, Endpoint};
use crate::google::credentials::{Credentials, CredentialsError};
use crate::receiver::{ApiService, Auth, BoundAddresses, Receiver, ReceiverSettings, Tls};
use crate::sampling::{Policies, PolicyNames, PolicySet};
use crate::span_metrics::SpanMetrics;
use crate::tail::settings::{Compress, TailSampling};
use crate::tail::{Services, Table};
use crate::telemetry::{Health, Metrics};

/// The trace table, and all that it stands on.
pub(super) struct Core {
    /// The settings without the policies whose time is over.
    pub(super) tail_sampling: TailSampling,
    pub(super) policy_names: PolicyNames,
    pub(super) metrics: Arc<Metrics>,
    pub(super) budget: Budget,
    pub(super) table: Table,
    pub(super) span_metrics: Option<Arc<SpanMetrics>>,
    pub(super) fleet: Option<FleetParts>,
}

impl Core {
    pub(super) fn new(settings: &Settings) -> Result<Self, StartError> {
        let tail_sampling = settings.tail_sampling.at(crate::clock::since_1970().as_secs());
        let counted = settings.counted();
        let set = PolicySet { counted: counted.as_ref(), ..tail_sampling.policy_set() };
        let policies = Arc::new(Policies::compile_set(set, None)?);
        let policy_names = PolicyNames::new(policies.names());
        let services = Services::new(settings.telemetry.services_max);
        let metrics = Arc::new(Metrics::with_services(services.clone()));
        metrics.declare_policies(policies.labels(), policies.shadow_labels());
        let budget = Budget::new(memory::limit_bytes(settings.memory.limit)?);
        let fleet = FleetParts::new(settings, &tail_sampling, Arc::clone(&policies), &budget);
        let table = Table::new(&tail_sampling, policies, budget.clone()).with_services(services);
        let table = match &fleet {
            Some(fleet) => table.with_fleet(Arc::clone(&fleet.table)),
            None => table,
        };
        let table = match settings.memory.compress {
            Compress::Off => table,
            Compress::Lz4 => table.with_compression(),
        };
        let table = if settings.api.listen.is_some() { table.with_facts() } else { table };
        let span_metrics = settings.span_metrics.as_ref();
        let span_metrics = span_metrics.map(|settings| Arc::new(SpanMetrics::new(settings, &budget)));
        check_limit(&budget, budget.used_bytes(), settings.otlp.max_request_bytes)?;
        Ok(Core { tail_sampling, policy_names, metrics, budget, table, span_metrics, fleet })
    }
}

/// Binds all addresses. Also returns the tokens that the API takes, if it has its own.
pub(super) async fn bind(settings: &Settings) -> Result<(BoundAddresses, Option<Auth>), StartError> {
    let bound = Receiver::bind(&settings.otlp.listen).await?;
    let bound = bound.telemetry_on(settings.telemetry.listen.as_deref()).await?;
    let bound = bound.api_on(settings.api.listen.as_deref()).await?;
    let tls = match &settings.otlp.tls {
        Some(files) => Some(Tls::load(files).await?),
        None => None,
    };
    let auth = match &settings.otlp.auth {
        Some(settings) => Some(Auth::load(settings).await?),
        None => None,
    };
    let api_auth = match &settings.api.auth {
        Some(settings) => Some(Auth::load(settings).await.map_err(StartError::ApiAuth)?),
        None => None,
    };
    Ok((bound.behind(tls).guarded_by(auth).open_to(settings.otlp.cors.clone()), api_auth))
}

/// Lets `answers` answer at the address of the API. Also returns its URL for a client on this machine; `None` without an
/// API.
pub(super) fn answer(
    bound: BoundAddresses,
    answers: ApiAnswers,
    auth: Option<Auth>,
) -> (BoundAddresses, Option<String>) {
    let scheme = if bound.api_has_tls() { "https" } else { "http" };
    let url = bound.api_addr().map(|address| reachable(scheme, address));
    let api = url.as_ref().map(|_| ApiService { api: Arc::new(answers), auth });
    (bound.answered_by(api), url)
}

/// Returns the settings of the receiver.
pub(super) fn limits(settings: &Settings) -> ReceiverSettings {
    ReceiverSettings { max_request_bytes: settings.otlp.max_request_bytes, reflection: settings.otlp.reflection }
}

/// Makes the daemon ready, once it has a token if it needs one.
pub(super) fn sign_in(credentials: Option<Credentials>, health: Arc<Health>) -> Option<JoinHandle<()>> {
    match credentials {
        Some(credentials) => Some(tokio::spawn(readiness::sign_in(credentials, health))),
        None => {
            health.set_ready();
            None
        }
    }
}

/// Checks that there is room for at least two of the largest requests, in addition to `fixed_bytes`, which the verdict
/// caches and the keys of policies take.
pub(super) fn check_limit(budget: &Budget, fixed_bytes: usize, max_request_bytes: usize) -> Result<(), StartError> {
    let needed_bytes = fixed_bytes + 2 * max_request_bytes;
    if needed_bytes > budget.limit_bytes() {
        return Err(StartError::MemoryLimit { limit_bytes: budget.limit_bytes(), needed_bytes });
    }
    Ok(())
}

pub(super) async fn embedded(settings: &settings::Export) -> Result<Option<Emulator>, StartError> {
    if settings.endpoint != Endpoint::Embedded {
        return Ok(None);
    }
    let crate::emulator::settings::Embedded { listen, allowed_hosts, max_bytes } = &settings.embedded;
    let emulator = Emulator::start_as(listen, *max_bytes, allowed_hosts).await;
    emulator.map(Some).map_err(StartError::Emulator)
}

/// Returns the credentials, if the sink is a Google API: only Google's APIs authenticate the caller.
pub(super) fn credentials(settings: &settings::Export) -> Result<Option<Credentials>, CredentialsError> {
    settings.signs_calls().then(Credentials::application_default).transpose()
}
