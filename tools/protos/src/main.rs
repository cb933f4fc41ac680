//! Copies the protos for Spansieve's build from two packages into `crates/proto/proto/`: Google's from `google-cloud-googleapis`,
//! and OTLP's from `opentelemetry-proto`.
//!
//! `cargo run -p protos` copies them. With `-- --check` the program changes nothing. It
//! then names each file that differs, is missing or is not needed, and exits with 1 if there is one. `crates/proto/proto/README.md`
//! explains the reasons.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{fs, io};

/// A package, with the protos that are copied from it.
struct Source {
    package: &'static str,
    /// The folder in the package that contains the protos; their paths are relative to it.
    folder: &'static str,
    protos: &'static [&'static str],
}

/// All protos, including their imports. Only `google/protobuf/` is missing, as the protobuf compiler provides it.
const SOURCES: [Source; 2] = [
    // Cloud Trace v2 and the error details of `google.rpc`.
    Source {
        package: "google-cloud-googleapis",
        folder: "googleapis",
        protos: &[
            "google/api/annotations.proto",
            "google/api/client.proto",
            "google/api/field_behavior.proto",
            "google/api/http.proto",
            "google/api/launch_stage.proto",
            "google/api/resource.proto",
            "google/devtools/cloudtrace/v2/trace.proto",
            "google/devtools/cloudtrace/v2/tracing.proto",
            "google/rpc/error_details.proto",
            "google/rpc/status.proto",
        ],
    },
    // The service that the receiver describes by reflection.
    Source {
        package: "opentelemetry-proto",
        folder: "src/proto/opentelemetry-proto",
        protos: &[
            "opentelemetry/proto/collector/trace/v1/trace_service.proto",
            "opentelemetry/proto/common/v1/common.proto",
            "opentelemetry/proto/resource/v1/resource.proto",
            "opentelemetry/proto/trace/v1/trace.proto",
        ],
    },
];

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("usage: protos [--check]")]
    Usage,
    #[error("cannot run cargo metadata: {0}")]
    Cargo(#[source] io::Error),
    #[error("cargo metadata failed: {0}")]
    Metadata(String),
    #[error("cargo metadata does not name the folder of {0}")]
    NoPackage(&'static str),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

fn main() -> ExitCode {
    match run() {
        Ok(drifted) if drifted.is_empty() => ExitCode::SUCCESS,
        Ok(drifted) => {
            for (file, problem) in drifted {
                eprintln!("crates/proto/proto/{file} {problem}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("protos: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Copies the protos, or with `--check` returns the files that are not as they should be, each with the problem.
fn run() -> Result<BTreeMap<String, &'static str>, Error> {
    let check = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => return Err(Error::Usage),
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let metadata = metadata(&here.join("Cargo.toml"))?;
    let target = here.join("../../crates/proto/proto");
    let mut wanted = BTreeMap::new();
    for source in &SOURCES {
        let folder = package_folder(&metadata, source.package)?.join(source.folder);
        for proto in source.protos {
            wanted.insert((*proto).to_owned(), read(&folder.join(proto))?);
        }
    }
    if check {
        return drift(&wanted, &target);
    }
    for (proto, bytes) in wanted {
        let path = target.join(proto);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|source| Error::File { path: folder.to_owned(), source })?;
        }
        fs::write(&path, bytes).map_err(|source| Error::File { path, source })?;
    }
    Ok(BTreeMap::new())
}

/// Returns the output of `cargo metadata` for the packages of this program.
fn metadata(manifest: &Path) -> Result<serde_json::Value, Error> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--format-version", "1", "--locked", "--manifest-path"]).arg(manifest);
    let output = cargo.output().map_err(Error::Cargo)?;
    if !output.status.success() {
        return Err(Error::Metadata(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| Error::Metadata(error.to_string()))
}

/// Returns the folder into which cargo has unpacked the package.
fn package_folder(metadata: &serde_json::Value, package: &'static str) -> Result<PathBuf, Error> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages.filter(|found| found["name"] == package).find_map(|found| found["manifest_path"].as_str());
    manifest.and_then(|path| Path::new(path).parent()).map(Path::to_owned).ok_or(Error::NoPackage(package))
}

/// Returns the files below `target` that differ from the `wanted` ones, each with the problem.
fn drift(wanted: &BTreeMap<String, Vec<u8>>, target: &Path) -> Result<BTreeMap<String, &'static str>, Error> {
    let mut drifted = BTreeMap::new();
    for file in protos_below(target, target)? {
        if !wanted.contains_key(&file) {
            drifted.insert(file, "is not one of the protos that the daemon needs");
        }
    }
    for (proto, bytes) in wanted {
        let path = target.join(proto);
        if !path.exists() {
            drifted.insert(proto.clone(), "is missing");
        } else if read(&path)? != *bytes {
            drifted.insert(proto.clone(), "differs from the package's");
        }
    }
    Ok(drifted)
}

/// Returns the `.proto` files below `folder`, as paths relative to `root`.
fn protos_below(root: &Path, folder: &Path) -> Result<Vec<String>, Error> {
    let at = |source| Error::File { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        if path.is_dir() {
            files.extend(protos_below(root, &path)?);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            files.push(relative.to_string_lossy().into_owned());
        }
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}
