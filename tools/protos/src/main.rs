//! Copies the protos that Spansieve is built from out of the package `google-cloud-googleapis` into `proto/`.
//!
//! `cargo run --manifest-path tools/protos/Cargo.toml` copies; with `-- --check` it changes nothing, names each file
//! that differs, is missing or does not belong, and exits with 1 if there is one. `proto/README.md` says why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{fs, io};

const PACKAGE: &str = "google-cloud-googleapis";

/// Cloud Trace v2 and the error details of `google.rpc`, with what they import. The rest of the imports is
/// `google/protobuf/`, which the protobuf compiler brings.
const PROTOS: [&str; 10] = [
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
];

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("usage: protos [--check]")]
    Usage,
    #[error("cannot run cargo metadata: {0}")]
    Cargo(#[source] io::Error),
    #[error("cargo metadata failed: {0}")]
    Metadata(String),
    #[error("cargo metadata does not name the folder of {PACKAGE}")]
    NoPackage,
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

fn main() -> ExitCode {
    match run() {
        Ok(drifted) if drifted.is_empty() => ExitCode::SUCCESS,
        Ok(drifted) => {
            for (file, problem) in drifted {
                eprintln!("proto/{file} {problem}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("protos: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Copies, or with `--check` returns what is wrong with which file.
fn run() -> Result<BTreeMap<String, &'static str>, Error> {
    let check = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => return Err(Error::Usage),
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = package_folder(&here.join("Cargo.toml"))?.join("googleapis");
    let target = here.join("../../proto");
    if check {
        return drift(&source, &target);
    }
    for proto in PROTOS {
        let path = target.join(proto);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|source| Error::File { path: folder.to_owned(), source })?;
        }
        let bytes = read(&source.join(proto))?;
        fs::write(&path, bytes).map_err(|source| Error::File { path, source })?;
    }
    Ok(BTreeMap::new())
}

/// Where cargo has unpacked the package.
fn package_folder(manifest: &Path) -> Result<PathBuf, Error> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["metadata", "--format-version", "1", "--locked", "--manifest-path"]).arg(manifest);
    let output = cargo.output().map_err(Error::Cargo)?;
    if !output.status.success() {
        return Err(Error::Metadata(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| Error::Metadata(error.to_string()))?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages.filter(|package| package["name"] == PACKAGE).find_map(|p| p["manifest_path"].as_str());
    manifest.and_then(|path| Path::new(path).parent()).map(Path::to_owned).ok_or(Error::NoPackage)
}

fn drift(source: &Path, target: &Path) -> Result<BTreeMap<String, &'static str>, Error> {
    let mut drifted = BTreeMap::new();
    for file in protos_below(target, target)? {
        if !PROTOS.contains(&file.as_str()) {
            drifted.insert(file, "is not one of the protos that the daemon needs");
        }
    }
    for proto in PROTOS {
        let wanted = read(&source.join(proto))?;
        let path = target.join(proto);
        if !path.exists() {
            drifted.insert(proto.into(), "is missing");
        } else if read(&path)? != wanted {
            drifted.insert(proto.into(), "differs from the package's");
        }
    }
    Ok(drifted)
}

/// The `.proto` files below `folder`, as paths relative to `root`.
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
