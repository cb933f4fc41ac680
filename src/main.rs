//! The story of a run: read the configuration, start the daemon, announce its addresses, wait for a signal, stop in
//! time.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use spansieve::api::answers::ConfigAnswer;
use spansieve::cli::source::ConfigSource;
use spansieve::cli::{self, Cli, Command, ConfigCommand};
use spansieve::config::Settings;
use spansieve::daemon::{ConfigFile, Daemon, threads};
use spansieve::telemetry;
use spansieve::telemetry::log::Throttle;
use spansieve::telemetry::metrics::SpanAccounts;
use spansieve::telemetry::settings::Log;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// jemalloc, because the allocator of glibc would fragment memory. `.cargo/config.toml` has its build options.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Longest time from the signal to the end of the daemon. Cloud Run kills the process 10 s after SIGTERM; the other 2 s
/// are for the last scrape and the exit itself.
const STOP_GRACE: Duration = Duration::from_secs(8);

/// Limits the panics in the log to 10 a minute. A worker's panic that this hides is still logged: it ends the process,
/// and the last line of the log repeats it.
static PANIC_LINES: Throttle = Throttle::new(10, Duration::from_secs(60));

const DEMO_NEEDS_EMBEDDED: &str =
    "the demo shows the kept traces in the embedded Cloud Trace: set export.endpoint to embedded";

const DEMO_IS_NO_SENDER: &str = "the demo sends in plaintext and without a token: remove otlp.auth and otlp.tls";

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Run(cli.config)) {
        Command::Run(config) => run(&config.source(), false),
        Command::Demo(config) => run(&config.source(), true),
        Command::Import(arguments) => cli::import::run(&arguments),
        Command::Validate(checked) => cli::validate::run(&checked.source(), &checked.checks),
        Command::Config { command: ConfigCommand::Default } => written(cli::print_default()),
        Command::Config { command: ConfigCommand::Show(args) } => cli::show::run(&args),
        Command::Test(arguments) => cli::test::run(&arguments),
        Command::Explain(arguments) => cli::explain::run(&arguments),
        Command::Simulate(args) => cli::simulate::run(&args),
        Command::Schema { tests } => written(cli::print_schema(tests)),
        Command::Completions { shell } => written(cli::manual::completions(shell, &mut io::stdout())),
        Command::Man { directory } => cli::manual::man(directory.as_deref()),
        Command::Fate(args) => cli::fate::run(&args),
        Command::Tail(args) => cli::tail::run(&args),
        Command::Top(args) => cli::top::run(&args),
        Command::Record(args) => cli::record::run(&args),
        Command::Emulator { listen, allowed_hosts, max_bytes } => {
            block_on(&Settings::default().telemetry.log, cli::emulator::run(listen, max_bytes, allowed_hosts))
        }
    }
}

fn run(source: &ConfigSource, demo: bool) -> ExitCode {
    let Some(loaded) = cli::validate::load(source, cli::validate::Format::Text) else {
        return cli::validate::EXIT_CONFIG.into();
    };
    let log = loaded.settings.telemetry.log.clone();
    if *source == ConfigSource::BuiltIn {
        println!(
            "There is no config.yaml here: the built-in configuration is used (spansieve config default prints it)."
        );
    }
    let config = ConfigAnswer::new(source.to_string(), &loaded.shown);
    let file = cli::validate::watched(source, &loaded.text);
    block_on(&log, serve(loaded.settings, config, file, demo))
}

fn written(result: io::Result<()>) -> ExitCode {
    cli::output::exit_code(result.and_then(|()| io::stdout().flush()), ExitCode::SUCCESS)
}

/// Runs `work` to its end. If it fails, the error is the last line of the log.
fn block_on<E: Into<Box<dyn Error>>>(log: &Log, work: impl Future<Output = Result<(), E>>) -> ExitCode {
    // Dropping `_log` flushes the log. This happens at the end of the function, after the last line.
    let (_log, runtime) = match telemetry::log::init(log).and_then(|log| Ok((log, threads::runtime()?))) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("spansieve cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    std::panic::set_hook(Box::new(|panic| {
        // A sender that can make its connection panic must not fill the log.
        if let Some(others) = PANIC_LINES.pass(tokio::time::Instant::now()) {
            let backtrace = std::backtrace::Backtrace::capture();
            tracing::error!(others, "{panic}\n{backtrace}");
        }
    }));
    let result = runtime.block_on(work);
    // Does not wait for tasks that still block, for example on a disk that hangs.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", error.into());
            ExitCode::FAILURE
        }
    }
}

/// The reason why SIGHUP has no effect for a configuration that is not in a file.
const NOT_A_FILE: &str = "SIGHUP is ignored: the configuration is not in a file that can be read again.";

async fn serve(
    settings: Settings,
    config: ConfigAnswer,
    file: Option<ConfigFile>,
    demo: bool,
) -> Result<(), Box<dyn Error>> {
    if demo && (settings.otlp.auth.is_some() || settings.otlp.tls.is_some()) {
        return Err(DEMO_IS_NO_SENDER.into());
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // The default action of SIGHUP would end the process and lose all pending traces. A signal that comes before the
    // configuration is followed is not lost.
    let mut hangup = signal(SignalKind::hangup())?;
    // The start may have to wait until the platform answers which project this is, so signals must work already.
    let mut daemon = tokio::select! {
        started = Daemon::start_with(settings, Some(config)) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    daemon.watch_memory();
    let asked = file.map(|file| {
        let (ask, asked) = mpsc::channel(1);
        daemon.follow(file, asked);
        ask
    });
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match &asked {
                // If it is full, the file will be read anyway.
                Some(ask) => _ = ask.try_send(()),
                None => tracing::warn!("{NOT_A_FILE}"),
            }
        }
    });
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
    let observed = Arc::clone(daemon.observed());
    tokio::select! {
        lost_spans = daemon.stop(STOP_GRACE) => {
            // The metrics endpoint is closed now, so this line is the only place that shows the final counts.
            let accounts = observed.accounts();
            let SpanAccounts { received, recovered, exported, sampled_out, handed_over, rejected, dropped, held } = accounts;
            tracing::info!(
                lost_spans, received, recovered, exported, sampled_out, handed_over, rejected, dropped, held,
                "Stopped. The fields account for all spans of the run."
            );
        }
        _ = terminate.recv() => return Err("a second signal: not waiting for the last spans".into()),
        _ = interrupt.recv() => return Err("a second signal: not waiting for the last spans".into()),
    }
    Ok(())
}
