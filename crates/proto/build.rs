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
    let with_services = "#[cfg(feature = \"services\")]";
    tonic_prost_build::configure()
        .build_transport(false)
        .client_mod_attribute(".", with_services)
        .server_mod_attribute(".", with_services)
        .compile_fds(files)?;
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("google_descriptors.bin"), described(&PROTOS)?)?;
    std::fs::write(out.join("otlp_descriptors.bin"), described(&[OTLP])?)?;
    Ok(())
}

/// Describes the files and all that they import.
fn described(files: &[&str]) -> Result<Vec<u8>, protox::Error> {
    Ok(protox::Compiler::new(["proto"])?.include_imports(true).open_files(files)?.encode_file_descriptor_set())
}
