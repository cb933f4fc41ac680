//! Generates the Cloud Trace v2 client and server, and `google.rpc`'s error details, from `proto/`, without protoc; and
//! the descriptions of Cloud Trace v2 and of OTLP's trace service, for gRPC server reflection and for tests of field
//! numbers.

const PROTOS: [&str; 3] =
    ["google/devtools/cloudtrace/v2/tracing.proto", "google/rpc/error_details.proto", "google/rpc/status.proto"];

/// OTLP's trace service: no code is generated for it.
const OTLP: &str = "opentelemetry/proto/collector/trace/v1/trace_service.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(PROTOS, ["proto"])?;
    tonic_prost_build::configure().build_client(true).build_server(true).compile_fds(files)?;
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("google_descriptors.bin"), described(&PROTOS)?)?;
    std::fs::write(out.join("otlp_descriptors.bin"), described(&[OTLP])?)?;
    commit();
    Ok(())
}

/// Describes the files and all that they import.
fn described(files: &[&str]) -> Result<Vec<u8>, protox::Error> {
    Ok(protox::Compiler::new(["proto"])?.include_imports(true).open_files(files)?.encode_file_descriptor_set())
}

/// Passes the commit for `--version` to the compiler: `SPANSIEVE_COMMIT` if it is set, else the commit of the git
/// checkout, else `unknown`.
fn commit() {
    println!("cargo::rerun-if-env-changed=SPANSIEVE_COMMIT");
    // This file gets a line with each commit. Cargo would run this script in every build if the path did not exist.
    if std::path::Path::new(".git/logs/HEAD").exists() {
        println!("cargo::rerun-if-changed=.git/logs/HEAD");
    }
    let output = std::process::Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let checkout = output.ok().filter(|o| o.status.success()).and_then(|o| String::from_utf8(o.stdout).ok());
    let commit = std::env::var("SPANSIEVE_COMMIT").ok().or(checkout);
    println!("cargo::rustc-env=SPANSIEVE_COMMIT={}", commit.as_deref().unwrap_or("unknown").trim());
}
