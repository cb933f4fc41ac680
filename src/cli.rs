//! The command line: its arguments, and one module for each subcommand.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config;
use crate::daemon::Daemon;

pub mod client;
pub mod demo;
pub mod emulator;
pub mod explain;
pub mod fate;
pub mod import;
pub mod manual;
pub mod output;
mod progress;
pub mod record;
mod requests;
pub mod show;
pub mod simulate;
pub mod source;
pub mod tail;
pub mod test;
pub mod top;
pub mod validate;

use source::ConfigSource;

const EXAMPLES: &str = "\
Examples:
  spansieve                                     run with ./config.yaml, or the built-in configuration without one
  spansieve run --config /etc/spansieve.yaml    run with that file
  spansieve demo                                run, and send it the spans of a small demo shop
  spansieve validate config.yaml                check a configuration; exit code 78 if it is not valid
  spansieve validate config.yaml --rate 20000   say what memory and money 20,000 spans a second need
  spansieve test --config config.yaml           run the tests of its policies; exit code 1 if one fails
  spansieve explain --config config.yaml t.json say what would become of a trace, and why
  spansieve import otelcol.yaml > config.yaml   turn a Collector's configuration, or Refinery's rules, into one
  spansieve config default > config.yaml        write the built-in configuration to a file
  spansieve config show config.yaml             print each setting that is in force, and where it comes from
  spansieve completions bash                    print a script for the shell; zsh and fish are known as well
  spansieve schema > config.schema.json         write the schema with which editors complete and check that file
  spansieve fate --from http://127.0.0.1:8090 TRACE_ID    ask a running daemon what became of a trace
  spansieve tail --from http://127.0.0.1:8090 --verdict kept    its decisions as they are made
  spansieve top --from http://127.0.0.1:8090    its rates by policy and by service
  spansieve record --from http://127.0.0.1:8090 --for 60s --out shop.rec    what it receives, as a file
  spansieve simulate --config new.yaml --against config.yaml shop.rec       what both keep of that, and the price
  spansieve emulator --listen 127.0.0.1:9443    only the embedded Cloud Trace

  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317 my-service    point a service at it

The exit code is 0, 1 for a failure or for findings, 2 if an argument is wrong, and 78 if a configuration cannot be used.";

const RUN_EXAMPLES: &str = "\
Examples:
  spansieve run                                    with ./config.yaml, or the built-in configuration without one
  spansieve run --config /etc/spansieve.yaml       with that file
  kill -HUP $(pidof spansieve)                     put a changed file in force; it is also watched";

const SCHEMA_EXAMPLES: &str = "\
Examples:
  spansieve schema > config.schema.json            the schema of configurations
  spansieve schema --tests > tests.schema.json     the schema of files with policy tests

An editor with the YAML language server uses it for a file whose first line is
  # yaml-language-server: $schema=config.schema.json";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  spansieve completions bash > ~/.local/share/bash-completion/completions/spansieve
  spansieve completions zsh > ~/.zfunc/_spansieve
  spansieve completions fish > ~/.config/fish/completions/spansieve.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  spansieve man | man -l -                         read the page of the program
  spansieve man ~/.local/share/man/man1            write all pages; then: man spansieve-validate";

const CONFIG_EXAMPLES: &str = "\
Examples:
  spansieve config default > config.yaml           a file to start from
  spansieve config show config.yaml                each setting that is in force, and where it comes from";

const DEFAULT_EXAMPLES: &str = "\
Examples:
  spansieve config default > config.yaml           a file to start from
  spansieve config default | spansieve validate -  check it as it is";

const EMULATOR_EXAMPLES: &str = "\
Examples:
  spansieve emulator                               on 127.0.0.1:9443; its page is http://127.0.0.1:9443
  spansieve emulator --listen 0.0.0.0:9443 --allowed-host trace.test --max-bytes 1GiB

A daemon writes to it with `export: {endpoint: \"http://127.0.0.1:9443\"}`.";

const DEMO_EXAMPLES: &str = "\
Examples:
  spansieve demo                                   with ./config.yaml, or the built-in configuration without one
  spansieve demo --config /tmp/demo.yaml           with that file; its export.endpoint is embedded

The page that is printed shows the traces that were kept.";

/// Tail sampling for Google Cloud Trace: every error, every slow trace, a ratio of the rest.
#[derive(Debug, Parser)]
#[command(name = "spansieve", version = VERSION, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// The subcommand; `run` if absent.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The configuration file.
    #[command(flatten)]
    pub config: Config,
}

/// The version and the commit.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("SPANSIEVE_COMMIT"), ")");

/// The argument `--config`.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The configuration file; `-` is standard input [default: config.yaml, or the built-in configuration without one]
    #[arg(long, short, value_name = "FILE", env = "SPANSIEVE_CONFIG")]
    pub config: Option<PathBuf>,
}

impl Config {
    /// Returns the source that the argument names.
    #[must_use]
    pub fn source(&self) -> ConfigSource {
        ConfigSource::of(self.config.as_deref())
    }
}

/// The arguments of `validate`: the configuration file, with or without `--config`.
#[derive(Clone, Debug, clap::Args)]
pub struct Checked {
    /// The same as --config FILE
    #[arg(value_name = "FILE", conflicts_with = "config")]
    pub file: Option<PathBuf>,
    /// The configuration file.
    #[command(flatten)]
    pub config: Config,
    /// The checks beyond the validity of the file.
    #[command(flatten)]
    pub checks: validate::Checks,
}

impl Checked {
    /// Returns the source that the arguments name.
    #[must_use]
    pub fn source(&self) -> ConfigSource {
        ConfigSource::of(self.file.as_deref().or(self.config.config.as_deref()))
    }
}

/// The subcommands of `config`.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the built-in configuration, with comments, as a start for a file
    #[command(after_help = DEFAULT_EXAMPLES)]
    Default,
    /// Print the settings that are in force with a configuration, and where each comes from
    Show(show::ShowArgs),
}

/// Prints the built-in configuration.
///
/// # Errors
/// Standard output cannot be written.
pub fn print_default() -> io::Result<()> {
    // The schema is looked for beside the file that the output is written to.
    let text = source::BUILT_IN.replacen("$schema=docs/config.schema.json", "$schema=config.schema.json", 1);
    output::write(&text)
}

/// Prints the JSON Schema of configurations, or that of files with policy tests.
///
/// # Errors
/// Standard output cannot be written.
pub fn print_schema(tests: bool) -> io::Result<()> {
    let schema = if tests { config::test_schema() } else { config::schema() };
    output::write(&schema)
}

impl From<OutputFormat> for validate::Format {
    fn from(format: OutputFormat) -> Self {
        match format {
            OutputFormat::Text => validate::Format::Text,
            OutputFormat::Json => validate::Format::Json,
        }
    }
}

/// The form of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon (the default)
    #[command(after_help = RUN_EXAMPLES)]
    Run(Config),
    /// Check a configuration and report everything that is wrong with it
    #[command(after_help = validate::EXAMPLES)]
    Validate(Checked),
    /// Run the tests of the policies
    Test(test::Arguments),
    /// Say what the daemon would do with the traces in files, or with those of a running daemon, and why
    Explain(explain::Arguments),
    /// Say what a configuration keeps of recorded traffic, what that costs, and how another one differs
    Simulate(simulate::SimulateArgs),
    /// Turn a Collector's configuration, or Refinery's rules, into a configuration
    #[command(after_help = import::EXAMPLES)]
    Import(import::Import),
    /// Print the JSON Schema of configurations, with which editors complete and check them
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema {
        /// The schema of files with policy tests instead
        #[arg(long)]
        tests: bool,
    },
    /// Print a script with which a shell completes the words of this program
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write it and those of the subcommands to a directory
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// The directory, such as ~/.local/share/man/man1
        directory: Option<PathBuf>,
    },
    /// Print configurations
    #[command(after_help = CONFIG_EXAMPLES)]
    Config {
        /// The configuration to print.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Ask a running daemon what became of a trace
    Fate(fate::FateArgs),
    /// Print the decisions of a running daemon as they are made
    Tail(tail::TailArgs),
    /// Show the rates of a running daemon by policy and by service
    Top(top::TopArgs),
    /// Record what a running daemon receives
    Record(record::RecordArgs),
    /// Run only the embedded Cloud Trace, a local stand-in for cloudtrace.googleapis.com
    #[command(after_help = EMULATOR_EXAMPLES)]
    Emulator {
        /// The address to listen on, for gRPC and for the page
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9443")]
        listen: String,
        /// A host name by which browsers may call it, in addition to localhost and IP addresses; can be repeated
        #[arg(long = "allowed-host", value_name = "NAME")]
        allowed_hosts: Vec<String>,
        /// The most bytes of spans to keep; the oldest traces are deleted first
        #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = config::parse_size)]
        max_bytes: usize,
    },
    /// Run the daemon, and send it the spans of a demo shop with five services
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(Config),
}

/// Prints the addresses of the daemon and of the sink on standard output.
pub fn announce(daemon: &Daemon) {
    // If standard output is closed, there is no reader to tell.
    let _ = introduce(&mut io::stdout(), daemon);
}

fn introduce(out: &mut impl Write, daemon: &Daemon) -> io::Result<()> {
    let listening: Vec<String> = daemon.addresses().iter().map(ToString::to_string).collect();
    writeln!(out, "Spansieve {VERSION} takes OTLP (gRPC and HTTP) on {}", listening.join(", "))?;
    if let Some((endpoint, metrics)) = daemon.endpoint().zip(daemon.metrics_url()) {
        writeln!(out, "  point services at it:  OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}")?;
        writeln!(out, "  its own metrics:       {metrics}")?;
    }
    if let Some(url) = daemon.api_url() {
        writeln!(out, "  questions about it:    spansieve fate --from {url} TRACE_ID")?;
    }
    let (label, address) = daemon.destination();
    writeln!(out, "  {label:<22} {address}")
}
