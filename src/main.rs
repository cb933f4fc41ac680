//! The story of a run: read the configuration, start the rooms, say where they are, wait, stop in time.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use spansieve::cli::source::Source;
use spansieve::cli::{self, Cli, Command, ConfigCommand};
use spansieve::config::Settings;
use spansieve::config::settings::Log;
use spansieve::daemon::{Daemon, threads};
use spansieve::telemetry;
use spansieve::telemetry::log::Throttle;
use spansieve::telemetry::metrics::Books;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Glibc's would fragment. `.cargo/config.toml` has the options that it is built with.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Cloud Run kills 10 s after SIGTERM; two seconds are left for the last scrape and the exit itself.
const STOP_GRACE: Duration = Duration::from_secs(8);

/// A worker's panic is said once more when the process ends by it.
static PANIC_LINES: Throttle = Throttle::new(10, Duration::from_secs(60));

const DEMO_NEEDS_EMBEDDED: &str =
    "the demo shows what was kept on the embedded Cloud Trace: set cloud_trace.endpoint to embedded";

const DEMO_IS_NO_SENDER: &str = "the demo sends in plaintext and without a token: leave otlp.auth and otlp.tls out";

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Run(cli.config)) {
        Command::Run(config) => run(&config.source(), false),
        Command::Demo(config) => run(&config.source(), true),
        Command::Validate(checked) => cli::validate::run(&checked.source()),
        Command::Config { command: ConfigCommand::Default } => match cli::print_default() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Command::Emulator { listen, allowed_hosts, max_bytes } => {
            block_on(&Settings::default().telemetry.log, cli::emulator::run(listen, max_bytes, allowed_hosts))
        }
    }
}

fn run(source: &Source, demo: bool) -> ExitCode {
    let Some(loaded) = cli::validate::load(source) else { return cli::validate::EXIT_CONFIG.into() };
    let log = loaded.settings.telemetry.log.clone();
    if *source == Source::BuiltIn {
        println!(
            "There is no config.yaml here: the built-in configuration is used (spansieve config default prints it)."
        );
    }
    block_on(&log, serve(loaded.settings, demo))
}

/// Runs `work` to its end; an error is the last line of the log.
fn block_on<E: Into<Box<dyn Error>>>(log: &Log, work: impl Future<Output = Result<(), E>>) -> ExitCode {
    // The log is flushed when `_log` goes, after its last line.
    let (_log, runtime) = match telemetry::log::init(log).and_then(|log| Ok((log, threads::runtime()?))) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("spansieve cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    std::panic::set_hook(Box::new(|panic| {
        // A sender that has found a way to break its connection must not fill the log.
        if let Some(others) = PANIC_LINES.pass(tokio::time::Instant::now()) {
            let backtrace = std::backtrace::Backtrace::capture();
            tracing::error!(others, "{panic}\n{backtrace}");
        }
    }));
    let result = runtime.block_on(work);
    // Whatever still blocks, such as a disk that hangs, is not waited for.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", error.into());
            ExitCode::FAILURE
        }
    }
}

/// Takes SIGHUP, whose default action would end the process with all that is pending, and says how to apply a change.
async fn ignore_hangups(mut hangups: Signal) {
    while hangups.recv().await.is_some() {
        tracing::warn!(
            "SIGHUP is ignored: the configuration is read at the start. To apply a change, restart Spansieve."
        );
    }
}

async fn serve(settings: Settings, demo: bool) -> Result<(), Box<dyn Error>> {
    if demo && (settings.otlp.auth.is_some() || settings.otlp.tls.is_some()) {
        return Err(DEMO_IS_NO_SENDER.into());
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(ignore_hangups(signal(SignalKind::hangup())?));
    // It may wait for the platform to say which project this is.
    let mut daemon = tokio::select! {
        started = Daemon::start(settings) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    daemon.watch_memory();
    cli::announce(&daemon);
    let stage = if demo { Some(cli::demo::Stage::of(&daemon).ok_or(DEMO_NEEDS_EMBEDDED)?) } else { None };
    let play = async {
        match stage {
            Some(stage) => cli::demo::play(stage).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping."),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping."),
        ended = play => return ended.map_err(Into::into),
        worker = daemon.failed() => return Err(worker.into()),
    }
    let scrape = Arc::clone(daemon.scrape());
    tokio::select! {
        lost_spans = daemon.stop(STOP_GRACE) => {
            // No scraper sees the last of it.
            let Books { received, recovered, exported, sampled_out, rejected, dropped, held } = Books::of(&scrape());
            tracing::info!(
                lost_spans, received, recovered, exported, sampled_out, rejected, dropped, held,
                "Stopped. These are all spans of the run."
            );
        }
        _ = terminate.recv() => return Err("a second signal: not waiting for the last spans".into()),
        _ = interrupt.recv() => return Err("a second signal: not waiting for the last spans".into()),
    }
    Ok(())
}
