//! Sends the same OTLP to Spansieve and to the Go Collector, and compares the spans that reach Cloud Trace: field by
//! field (`fields`), or trace by trace (`verdicts`). The exit code is 1 if a difference is not in the list of known
//! ones.

mod fields;
mod program;
mod recorder;
mod verdicts;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The command line.
#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// Path of the program `spansieve`.
    #[arg(long, global = true, default_value = "target/release/spansieve")]
    spansieve: PathBuf,
    /// Path of a Collector with the OTLP receiver, `tail_sampling` and `googlecloud`.
    #[arg(long, global = true, default_value = "otelcol-peer")]
    collector: PathBuf,
}

#[derive(Subcommand)]
enum What {
    /// Compares every field of generated spans.
    Fields {
        /// Number of spans. The same spans are generated in each run.
        #[arg(long, default_value_t = 2000)]
        spans: usize,
    },
    /// Compares the verdicts of every policy type of the Collector.
    Verdicts {
        /// File with blocks of policies, each with its list of known differences.
        #[arg(long, default_value = "tools/compare/verdicts.yaml")]
        blocks: PathBuf,
        /// Use only blocks whose names contain this text.
        #[arg(long, default_value = "")]
        only: String,
    },
}

/// A reason why the programs cannot be compared.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{program} did not accept the spans: {status}")]
    Refused { program: &'static str, status: Box<tonic::Status> },
    #[error("{program} ended, or does not listen on {address}")]
    Silent { program: &'static str, address: String },
    #[error("of {sent} spans {program} wrote {written} within {seconds} s")]
    Missing { program: &'static str, sent: usize, written: usize, seconds: u64 },
    #[error("{0}")]
    Blocks(String),
    #[error("cannot connect: {0}")]
    Address(#[from] tonic::transport::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (spansieve, collector) = (&arguments.spansieve, &arguments.collector);
    let result = match arguments.what {
        What::Fields { spans } => fields::compare(spansieve, collector, spans).await,
        What::Verdicts { blocks, only } => verdicts::compare(spansieve, collector, &blocks, &only).await,
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("compare: {failure}");
            ExitCode::FAILURE
        }
    }
}
