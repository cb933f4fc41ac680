//! `spansieve simulate`: what a configuration keeps of recorded traffic, and how another one differs.

mod examples;
mod report;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use self::examples::Example;
use self::report::{Named, Recorded, Report};
use super::explain::report as complain;
use super::progress::Progress;
use super::requests::{self, Requests};
use super::source::ConfigSource;
use super::validate::{self, EXIT_CONFIG};
use super::{Config, OutputFormat};
use crate::config::{self, Settings};
use crate::daemon::memory;
use crate::journal::recording::Remarks;
use crate::offline::simulate::{Side, SideSettings, Simulation};
use crate::otlp::TraceId;
use crate::sampling::Policies;

/// The memory budget if `memory.limit` is a percentage and the memory of this machine is unknown.
const LIMIT_BYTES: usize = 512 << 20;

const EXAMPLES: &str = "\
Examples:
  spansieve simulate --config config.yaml shop.rec                        what it keeps, and the price
  spansieve simulate --config new.yaml --against config.yaml shop.rec     and the traces that only one of them keeps
  spansieve simulate --container 2GiB monday.rec tuesday.rec              with ./config.yaml, in such a container
  spansieve simulate --kept-ids kept.txt --format json shop.rec | jq .sides[0].dollars_per_month

`spansieve record` makes recordings. The traffic goes through the code that the daemon runs, in virtual time. The exit code
is 0, 1 if a recording cannot be read, 2 if an argument is wrong, and 78 if a configuration cannot be used.";

/// The arguments of `simulate`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SimulateArgs {
    /// Recordings, or files with traces as `explain` reads them; `-` is standard input
    #[arg(value_name = "RECORDING", required = true)]
    recordings: Vec<PathBuf>,
    /// The configuration file.
    #[command(flatten)]
    config: Config,
    /// A second configuration, to compare with the first
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// With --against: the most traces to show that only the first keeps, and that only the second keeps
    #[arg(long, value_name = "NUMBER", default_value_t = 3, requires = "against")]
    examples: usize,
    /// The memory of the container of the daemon, such as 2GiB, if `memory.limit` is a percentage [default: that of this
    /// machine or container]
    #[arg(long, value_name = "SIZE", value_parser = config::parse_size)]
    container: Option<usize>,
    /// Write the id of each trace that the first configuration keeps to this file, and the policy, one trace a line; it
    /// must not exist
    #[arg(long, value_name = "FILE")]
    kept_ids: Option<PathBuf>,
    /// The form of the output
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

/// One configuration.
pub(super) struct Configured {
    name: String,
    settings: Settings,
    limit_bytes: usize,
}

impl Configured {
    fn load(source: &ConfigSource, container: Option<usize>, format: OutputFormat) -> Option<Self> {
        let settings = validate::load(source, format.into())?.settings;
        let limit_bytes = match container {
            Some(bytes) => memory::limit_bytes_of(settings.memory.limit, bytes as u64),
            None => memory::limit_bytes(settings.memory.limit).unwrap_or(LIMIT_BYTES),
        };
        Some(Configured { name: source.to_string(), settings, limit_bytes })
    }
}

/// Simulates.
#[must_use]
pub fn run(args: &SimulateArgs) -> ExitCode {
    let sources = [Some(args.config.source()), args.against.as_deref().map(|path| ConfigSource::of(Some(path)))];
    let mut configured = Vec::new();
    for source in sources.into_iter().flatten() {
        match Configured::load(&source, args.container, args.format) {
            Some(loaded) => configured.push(loaded),
            None => return ExitCode::from(EXIT_CONFIG),
        }
    }
    match simulate(args, &configured) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // If standard output is closed, there is no reader to tell.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Simulates. Returns false if something could not be read.
fn simulate(args: &SimulateArgs, configured: &[Configured]) -> io::Result<bool> {
    let Some(mut requests) = requests::open(&args.recordings) else { return Ok(false) };
    let Some(mut ids) = KeptIds::create(args, configured) else { return Ok(false) };
    let Some(sides) = sides(configured) else { return Ok(false) };
    let Some(first) = sides.first() else { return Ok(false) };
    let mut simulation = Simulation::new(first, sides.get(1), args.examples);
    let mut is_read = play(&mut requests, &mut simulation, &mut ids);
    is_read &= ids.finish();
    let examples = match simulation.difference() {
        Some(difference) => examples::of(args, configured, difference),
        None => Vec::new(),
    };
    print(args, configured, &requests.remarks(), &simulation, &examples)?;
    Ok(is_read)
}

fn sides(configured: &[Configured]) -> Option<Vec<SideSettings<'_>>> {
    let sides = configured.iter().map(|one| {
        let tail_sampling = &one.settings.tail_sampling;
        // `validate::load` has compiled the same policies.
        let policies = Policies::compile_set(tail_sampling.policy_set(), None).ok()?;
        Some(SideSettings { tail_sampling, policies: Arc::new(policies), limit_bytes: one.limit_bytes })
    });
    sides.collect()
}

/// Plays all requests. Returns false if something could not be read.
fn play(requests: &mut Requests, simulation: &mut Simulation, ids: &mut KeptIds<'_>) -> bool {
    let (mut is_read, progress) = (true, Progress::begin());
    let mut kept = |side, trace, policy| ids.note(side, trace, policy);
    while let Some(request) = requests.next() {
        let fault = match request {
            Ok(request) => {
                let taken = simulation.take(request, &mut kept);
                taken.err().map(|error| (format!("a request is not taken in: {error}"), None))
            }
            Err(error) => Some((error.to_string(), error.help)),
        };
        if let Some((fault, help)) = fault {
            is_read = false;
            progress.clear();
            complain("error", &fault, help.as_deref());
        }
        progress.show(|| requests.progress("simulating", simulation.requests()));
    }
    simulation.finish(&mut kept);
    progress.clear();
    requests.report_faults();
    is_read
}

fn print(
    args: &SimulateArgs,
    configured: &[Configured],
    remarks: &Remarks,
    simulation: &Simulation,
    examples: &[Example],
) -> io::Result<()> {
    let named = configured.iter().zip(simulation.sides());
    let named = named.map(|(one, side)| {
        let is_dry_run = one.settings.tail_sampling.dry_run;
        Named { name: &one.name, limit_bytes: one.limit_bytes, is_dry_run, side }
    });
    let sides = named.collect();
    let report = Report { recorded: Recorded { simulation, remarks }, sides, examples };
    let mut out = io::stdout().lock();
    match args.format {
        OutputFormat::Text => out.write_all(report.text().as_bytes()),
        OutputFormat::Json => writeln!(out, "{:#}", report.json()),
    }
}

/// The file with the ids of kept traces, if one is wanted.
struct KeptIds<'a> {
    out: Option<BufWriter<File>>,
    path: String,
    policies: Vec<&'a str>,
    fault: Option<io::Error>,
}

impl<'a> KeptIds<'a> {
    /// Creates the file. Reports if that is not possible. A file that exists stays as it is: it could be the recording.
    fn create(args: &SimulateArgs, configured: &'a [Configured]) -> Option<Self> {
        let policies = configured.first().map_or_else(Vec::new, |first| {
            first.settings.tail_sampling.policies.iter().map(|policy| policy.name.as_str()).collect()
        });
        let path = args.kept_ids.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let out = match args.kept_ids.as_deref().map(File::create_new).transpose() {
            Ok(file) => file.map(BufWriter::new),
            Err(error) => {
                let problem = match error.kind() {
                    io::ErrorKind::AlreadyExists => "exists already: give --kept-ids another name, or remove it".into(),
                    _ => format!("cannot be created: {error}"),
                };
                complain("error", &format!("{path} {problem}"), None);
                return None;
            }
        };
        Some(KeptIds { out, path, policies, fault: None })
    }

    fn note(&mut self, side: Side, trace: TraceId, policy: u16) {
        if let (Some(out), Side::First) = (&mut self.out, side) {
            let policy = self.policies.get(usize::from(policy)).copied().unwrap_or_default();
            self.fault = writeln!(out, "{trace} {policy}").err().or(self.fault.take());
        }
    }

    /// Writes the rest. Reports a fault, and returns false then.
    fn finish(&mut self) -> bool {
        let flushed = self.out.as_mut().map_or(Ok(()), Write::flush);
        let fault = self.fault.take().or(flushed.err());
        if let Some(fault) = &fault {
            complain("error", &format!("{}: cannot be written: {fault}", self.path), None);
        }
        fault.is_none()
    }
}
