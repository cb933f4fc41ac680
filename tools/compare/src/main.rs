//! Sends the same OTLP to Spansieve and to the Go Collector, and compares what reaches Cloud Trace: field by field
//! (`fields`), or trace by trace (`verdicts`). Ends with 1 if there is a difference that is not a listed one.

mod fields;
#[path = "../../../src/cloud_trace/encode/tests/generate.rs"]
mod generate;
mod program;
mod recorder;
mod verdicts;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What the command line says.
#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// The program `spansieve`.
    #[arg(long, global = true, default_value = "target/release/spansieve")]
    spansieve: PathBuf,
    /// A Collector with the OTLP receiver, `tail_sampling` and `googlecloud`.
    #[arg(long, global = true, default_value = "otelcol-peer")]
    collector: PathBuf,
}

#[derive(Subcommand)]
enum What {
    /// Every field of spans of every shape.
    Fields {
        /// How many spans, generated, the same ones in each run.
        #[arg(long, default_value_t = 2000)]
        spans: usize,
    },
    /// The verdicts of every policy type of the Collector.
    Verdicts {
        /// Blocks of policies, each with the differences that are listed for it.
        #[arg(long, default_value = "tools/compare/verdicts.yaml")]
        blocks: PathBuf,
        /// Only blocks whose names contain this.
        #[arg(long, default_value = "")]
        only: String,
    },
}

/// Why there is nothing to compare.
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
