//! The command line: arguments, and one file per subcommand.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config;
use crate::daemon::Daemon;

pub mod demo;
pub mod emulator;
pub mod validate;

/// Where the configuration is looked for if nothing else is said.
const CONFIG_PATH: &str = "config.yaml";

const EXAMPLES: &str = "\
Examples:
  spansieve                                     run with ./config.yaml
  spansieve run --config /etc/spansieve.yaml    run with that file
  spansieve demo                                run, and play a small shop against it
  spansieve validate --config config.yaml       check a configuration; exit code 78 if it is wrong
  spansieve emulator --listen 127.0.0.1:9443    only the embedded Cloud Trace

  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317 my-service    point a service at it";

/// Tail sampling for Google Cloud Trace: every error, every slow trace, a ratio of the rest.
#[derive(Debug, Parser)]
#[command(name = "spansieve", version = VERSION, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `run` if absent.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The configuration file.
    #[command(flatten)]
    pub config: Config,
}

/// Version and commit.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("SPANSIEVE_COMMIT"), ")");

/// `--config`.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", default_value = CONFIG_PATH, env = "SPANSIEVE_CONFIG")]
    pub config: PathBuf,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon (the default)
    Run(Config),
    /// Check a configuration and say everything that is wrong with it
    Validate(Config),
    /// Run only the embedded Cloud Trace, a local stand-in for cloudtrace.googleapis.com
    Emulator {
        /// Where to listen, for gRPC and for the page
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9443")]
        listen: String,
        /// The most bytes of spans to keep; the oldest traces go first
        #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = config::parse_size)]
        max_bytes: usize,
    },
    /// Run the daemon and play a shop of five services against it
    Demo(Config),
}

/// Says on standard output where everything is.
pub fn announce(daemon: &Daemon) {
    // Nobody is left to tell if standard output is closed.
    let _ = introduce(&mut io::stdout(), daemon);
}

fn introduce(out: &mut impl Write, daemon: &Daemon) -> io::Result<()> {
    let listening: Vec<String> = daemon.addresses().iter().map(ToString::to_string).collect();
    writeln!(out, "Spansieve {VERSION} takes OTLP (gRPC and HTTP) on {}", listening.join(", "))?;
    if let Some((endpoint, metrics)) = daemon.endpoint().zip(daemon.metrics_url()) {
        writeln!(out, "  point services at it:  OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}")?;
        writeln!(out, "  its own metrics:       {metrics}")?;
    }
    match daemon.emulator() {
        Some(emulator) => writeln!(out, "  see what was kept:     {}/", emulator.url()),
        None => writeln!(out, "  see what was kept:     https://console.cloud.google.com/traces/list"),
    }
}
