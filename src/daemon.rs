//! Connects the modules. It starts them from the end of the flow of spans to its beginning, and stops them in the order
//! of the flow.

mod api;
pub mod clock;
mod decisions;
pub mod fleet;
mod handoff;
pub mod memory;
mod observed;
mod origin;
mod parts;
pub mod pipeline;
mod readiness;
mod recovery;
mod reload;
mod sample_statistics;
mod sink;
mod sweeper;
pub mod threads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use self::fleet::{Fleet, FleetPort};
pub use self::observed::Observed;
use self::parts::Core;
use self::pipeline::Pipeline;
use self::recovery::Opened;
pub use self::reload::{Applied, ConfigFile, LoadConfig, ReloadError, Reloader, Unusable};
use self::sink::Wiring;
use crate::api::answers::ConfigAnswer;
use crate::budget::Budget;
use crate::config::Settings;
use crate::emulator::Emulator;
use crate::export::channel::ChannelError;
use crate::export::exporter::{Exporter, ExporterFailed, Unwritten};
use crate::export::spool::Spool;
use crate::fleet::engine::EngineError;
use crate::fleet::peer::Peer;
use crate::google::credentials::CredentialsError;
use crate::google::project::AmbientProjectError;
use crate::receiver::{AuthError, BindError, Receiver, Scrape, TlsError};
use crate::sampling::CompileError;
use crate::segment::directory::OpenError;
use crate::span_metrics::Format;
use crate::tail::kept::KeptQueue;
use crate::telemetry::{Health, Pulse};

/// The time that requests in flight have to be answered once the process stops.
const IN_FLIGHT_GRACE: Duration = Duration::from_millis(500);
/// The time that the recovery has to end. It ends once the request that it reads is taken in, which takes less than a
/// second. The daemon does not wait longer for a disk that hangs.
const RECOVERY_GRACE: Duration = Duration::from_secs(2);
/// The time that a configuration that is being applied has to end. It usually takes a fraction of a second.
const RELOAD_GRACE: Duration = Duration::from_secs(2);
/// The part of the grace of a stop that is reserved for the work after the last span: the last scrape, and closing
/// connections.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

/// The reason why the daemon cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The policies cannot be compiled.
    #[error(transparent)]
    Policies(#[from] CompileError),
    /// The memory limit is a percentage, and the memory of the machine is unknown.
    #[error(transparent)]
    Memory(#[from] memory::UnknownMemory),
    /// The memory limit is too small for any request.
    #[error(
        "the memory limit of {limit_bytes} bytes is too small: verdict caches, the keys of policies and the largest request \
         take {needed_bytes}; raise memory.limit, or lower tail_sampling.decision_cache, max_keys or \
         otlp.max_request_bytes"
    )]
    MemoryLimit {
        /// The value of `memory.limit` on this machine, in bytes.
        limit_bytes: usize,
        /// The least value that works, in bytes.
        needed_bytes: usize,
    },
    /// An address is in use or is not valid.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The configured authentication cannot be used, so no sender could be admitted.
    #[error("otlp.{0}")]
    Auth(#[from] AuthError),
    /// The configured authentication of the API cannot be used, so no client could be admitted.
    #[error("api.{0}")]
    ApiAuth(AuthError),
    /// The certificates of `otlp.tls` cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The embedded Cloud Trace cannot start.
    #[error("export.embedded: {0}")]
    Emulator(std::io::Error),
    /// The spool's directory cannot be used.
    #[error(transparent)]
    Spool(#[from] OpenError),
    /// The channel to the sink cannot be set up.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The engine of the fleet cannot be used.
    #[error(transparent)]
    Fleet(#[from] EngineError),
    /// There are no Google credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Neither the configuration nor the environment names a project.
    #[error(transparent)]
    Project(#[from] AmbientProjectError),
}

/// A worker that must run as long as the process has ended. The process must exit.
#[derive(Debug, Error)]
pub enum WorkerFailed {
    /// The exporter has ended.
    #[error(transparent)]
    Exporter(#[from] ExporterFailed),
    /// The task that decides due traces has ended.
    #[error("the sweeper ended unexpectedly: {0}")]
    Sweeper(String),
    /// A thread of the journal has ended.
    #[error("the journal ended unexpectedly: {0}")]
    Journal(String),
    /// The task that accepts the connections of an address has ended.
    #[error("a listener ended unexpectedly: {0}")]
    Listener(String),
    /// A connection has panicked in the middle of a change to the trace table.
    #[error("a panic has left the trace table in an inconsistent state")]
    Table,
}

/// The function that makes the text of `/metrics` in the format of Prometheus.
pub type ScrapeText = Arc<dyn Fn() -> String + Send + Sync>;

/// A running daemon.
pub struct Daemon {
    /// This is the first field, because fields are dropped in order. When a daemon that has failed is dropped, the
    /// journal must no longer note spans as settled only because the other fields drop them.
    journal: Option<recovery::Running>,
    addresses: Vec<SocketAddr>,
    telemetry_address: Option<SocketAddr>,
    /// The URL of the API, without a path.
    api_url: Option<String>,
    scheme: &'static str,
    receiver: Receiver,
    pipeline: Arc<Pipeline>,
    sweeper: JoinHandle<()>,
    budget: Budget,
    /// The task that waits for the first token, if one is needed.
    sign_in: Option<JoinHandle<()>>,
    exporter: Exporter,
    /// A label and the address of the sink, for the text at the start.
    destination: (&'static str, String),
    emulator: Option<Emulator>,
    /// The instance that takes undecided traces at the stop.
    peer: Option<Arc<Peer>>,
    /// The membership of a fleet.
    fleet: Option<Fleet>,
    observed: Arc<Observed>,
    reloader: Arc<Reloader>,
    /// The tasks that change what is in force.
    following: Vec<JoinHandle<()>>,
    scrape: ScrapeText,
}

impl Daemon {
    /// Starts all modules. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running then.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        Self::start_with(settings, None).await
    }

    /// Does the same as [`Daemon::start`], with the configuration that the API shows.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running then.
    pub async fn start_with(settings: Settings, config: Option<ConfigAnswer>) -> Result<Self, StartError> {
        let Core { tail_sampling, policy_names, metrics, budget, table, span_metrics, fleet } = Core::new(&settings)?;
        // The addresses are bound first, so that an address in use is found before anything else starts.
        let (bound, api_auth) = parts::bind(&settings).await?;
        let scheme = if settings.otlp.tls.is_some() { "https" } else { "http" };

        let emulator = parts::embedded(&settings.export).await?;
        let credentials = parts::credentials(&settings.export)?;
        let peer = settings.fleet.handoff.as_ref().map(Peer::open).transpose()?.map(Arc::new);
        let kept = Arc::new(KeptQueue::default());
        let health = Arc::new(Health::default());
        let opened = Opened::open(settings.journal.as_ref(), policy_names.clone(), &budget, &metrics, &health)?;
        let spool = sink::spool(&settings.export, &budget, &metrics)?;
        let level = spool.as_ref().map(Spool::level).unwrap_or_default();
        let wiring = Wiring {
            settings: &settings,
            policy_names: policy_names.clone(),
            emulator: emulator.as_ref(),
            credentials: credentials.clone(),
            kept: Arc::clone(&kept),
            budget: &budget,
            metrics: Arc::clone(&metrics),
            spool,
            span_metrics: span_metrics.as_deref(),
        };
        let (exporter, rewriter) = wiring.start().await?;
        let journal = opened.as_ref().map(|opened| opened.journal.clone());
        let (port, commands) = FleetPort::new();
        let pipeline =
            Pipeline::new(table, policy_names, Arc::clone(&kept), journal, Arc::clone(&metrics), span_metrics);
        let pipeline = Arc::new(pipeline.with_fleet(fleet.is_some().then(|| Arc::clone(&port))));
        let fleet =
            fleet.map(|fleet| fleet.start(&settings, port, commands, Arc::clone(&pipeline), Arc::clone(&health)));
        let fleet = fleet.transpose()?;
        let pulse = Pulse::new(Instant::now());
        health.watch("sweeper", pulse.clone());
        health.watch("exporter", exporter.pulse().clone());
        let sweeper = tokio::spawn(sweeper::run(Arc::clone(&pipeline), pulse));
        let unread = opened.as_ref().map(Opened::unread_bytes).unwrap_or_default();
        let journal = opened.map(|opened| opened.recover(Arc::clone(&pipeline), Arc::clone(&metrics)));

        let observed = Arc::new(Observed {
            metrics: Arc::clone(&metrics),
            pipeline: Arc::clone(&pipeline),
            budget: budget.clone(),
            level,
            unread,
        });
        let reloader = Arc::new(Reloader::new(
            settings.clone(),
            tail_sampling,
            Arc::clone(&pipeline),
            Arc::clone(&metrics),
            Arc::clone(&health),
            rewriter,
            config,
        ));
        let expiry = tokio::spawn(Arc::clone(&reloader).follow_expiry());
        let scrape: Scrape = {
            let observed = Arc::clone(&observed);
            Arc::new(move |format, out| observed.scrape(format, out))
        };
        if let Some(emulator) = &emulator {
            emulator.written_by(Arc::new(origin::Answers(Arc::clone(&observed))));
        }
        let (addresses, telemetry_address) = (bound.local_addrs(), bound.telemetry_addr());
        let answers = api::ApiAnswers {
            observed: Arc::clone(&observed),
            reloader: Arc::clone(&reloader),
            recording: settings.api.recording.clone(),
        };
        let (bound, api_url) = parts::answer(bound, answers, api_auth);
        let limits = parts::limits(&settings);
        let receiver = bound.serve(limits, Arc::clone(&pipeline), metrics, Arc::clone(&health), Arc::clone(&scrape));
        let scrape: ScrapeText = Arc::new(move || {
            let mut text = String::new();
            // If memory has no room for the metrics of spans, those of the daemon are there.
            let _ = scrape(Format::Prometheus, &mut text);
            text
        });
        let sign_in = parts::sign_in(credentials, health);
        Ok(Daemon {
            journal,
            addresses,
            telemetry_address,
            api_url,
            scheme,
            receiver,
            pipeline,
            sweeper,
            budget,
            sign_in,
            exporter,
            destination: sink::destination(&settings.export, emulator.as_ref()),
            emulator,
            peer,
            fleet,
            observed,
            reloader,
            following: vec![expiry],
            scrape,
        })
    }

    /// Charges all memory of the process to the budget from now on, including memory that is not accounted for. Call it
    /// only if the daemon is alone in its process. It does nothing with the embedded Cloud Trace, which keeps the spans
    /// that it receives in the same process.
    pub fn watch_memory(&self) {
        if self.emulator.is_none() {
            // The task ends with the runtime.
            tokio::spawn(memory::watch(self.budget.clone()));
        }
    }

    /// Returns the part that applies configurations.
    #[must_use]
    pub fn reloader(&self) -> &Arc<Reloader> {
        &self.reloader
    }

    /// Applies `file` whenever it changes, and each time that something comes through `asked`.
    pub fn follow(&mut self, file: ConfigFile, asked: mpsc::Receiver<()>) {
        self.following.push(tokio::spawn(Arc::clone(&self.reloader).follow(file, asked)));
    }

    /// Returns the OTLP addresses, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns the URL of the first OTLP address for a client on this machine.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        self.addresses.first().map(|&address| reachable(self.scheme, address))
    }

    /// Returns the URL of `/metrics` for a client on this machine.
    #[must_use]
    pub fn metrics_url(&self) -> Option<String> {
        let own = self.telemetry_address.map(|address| reachable("http", address));
        own.or_else(|| self.endpoint()).map(|url| url + "/metrics")
    }

    /// Returns the URL of the API for a client on this machine, if there is one.
    #[must_use]
    pub fn api_url(&self) -> Option<&str> {
        self.api_url.as_deref()
    }

    /// Returns the embedded Cloud Trace, if it is the sink.
    #[must_use]
    pub fn emulator(&self) -> Option<&Emulator> {
        self.emulator.as_ref()
    }

    /// Returns the place where kept spans can be seen, or to which they are sent: a label and an address.
    #[must_use]
    pub fn destination(&self) -> (&'static str, &str) {
        (self.destination.0, &self.destination.1)
    }

    /// Returns the function that makes the text of `/metrics` in the format of Prometheus.
    #[must_use]
    pub fn scrape(&self) -> &ScrapeText {
        &self.scrape
    }

    /// Returns the counts of the daemon and the amounts that it holds. They outlive the daemon.
    #[must_use]
    pub fn observed(&self) -> &Arc<Observed> {
        &self.observed
    }

    /// Resolves when a worker has ended by itself. The process must not continue without it.
    pub async fn failed(&mut self) -> WorkerFailed {
        tokio::select! {
            failed = self.exporter.failed() => failed.into(),
            () = self.pipeline.broken() => WorkerFailed::Table,
            cause = self.receiver.failed() => WorkerFailed::Listener(cause),
            ended = &mut self.sweeper => {
                WorkerFailed::Sweeper(ended.err().map_or_else(|| "without an error".into(), |error| error.to_string()))
            }
            ended = journal_failed(&mut self.journal) => WorkerFailed::Journal(ended),
        }
    }

    /// Stops within `grace`: refuses new spans, hands pending traces over if another instance takes them, decides the
    /// others on the spans that have come, and exports kept spans. Returns the number of kept spans that could not be
    /// written. These spans are counted and logged.
    pub async fn stop(mut self, grace: Duration) -> u64 {
        let deadline = Instant::now() + grace.saturating_sub(CLOSE_GRACE);
        self.receiver.stop_accepting(IN_FLIGHT_GRACE).await;
        // A configuration that is being applied takes traces out of the table, so the last decisions come after it.
        let _nothing_is_applied = timeout(RELOAD_GRACE, self.reloader.pause()).await;
        self.following.iter().for_each(JoinHandle::abort);
        if let Some(journal) = &mut self.journal {
            journal.stop_recovery(Instant::now() + RECOVERY_GRACE).await;
        }
        self.sign_in.inspect(JoinHandle::abort);
        self.sweeper.abort();
        // Once the sweeper has ended, only `drain` feeds the exporter.
        let _ = self.sweeper.await;
        if let Some(peer) = &self.peer {
            handoff::leave(&self.pipeline, peer, self.fleet.as_ref(), deadline).await;
        }
        sweeper::drain(&self.pipeline).await;
        // After the last decisions: the others are told what was kept on evidence.
        if let Some(fleet) = &self.fleet {
            fleet.leave().await;
        }
        let unwritten = if self.journal.is_some() { Unwritten::InJournal } else { Unwritten::Lost };
        self.pipeline.decisions.close();
        self.pipeline.recordings.close();
        let lost = self.exporter.shutdown(deadline, unwritten).await;
        if let Some(journal) = self.journal {
            journal.close(Instant::now() + CLOSE_GRACE).await;
        }
        self.receiver.close(CLOSE_GRACE).await;
        if let Some(emulator) = self.emulator {
            emulator.shutdown().await;
        }
        lost
    }
}

async fn journal_failed(journal: &mut Option<recovery::Running>) -> String {
    match journal {
        Some(journal) => journal.failed().await,
        None => std::future::pending().await,
    }
}

/// Returns the URL at which a client on this machine reaches a listening address.
fn reachable(scheme: &str, address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("{scheme}://localhost:{}", address.port())
    } else {
        format!("{scheme}://{address}")
    }
}
