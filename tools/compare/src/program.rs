//! The two programs: starting one with a configuration, sending to it, and stopping it.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tempfile::NamedTempFile;

use crate::Failure;

const START_SECONDS: u64 = 20;

/// A running program. It is killed when it is dropped.
pub struct Program {
    name: &'static str,
    address: SocketAddr,
    child: Child,
    _configuration: NamedTempFile,
}

impl Program {
    /// Starts `program` with a configuration in which `OTLP` is replaced by the listen address.
    pub async fn start(name: &'static str, program: &Path, configuration: &str) -> Result<Self, Failure> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
        file.write_all(configuration.replace("OTLP", &address.to_string()).as_bytes())?;
        let child = Command::new(program)
            .arg("--config")
            .arg(file.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let program = Program { name, address, child, _configuration: file };
        for _ in 0..START_SECONDS * 10 {
            if TcpStream::connect(address).is_ok() {
                return Ok(program);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(Failure::Silent { program: name, address: address.to_string() })
    }

    /// Sends `requests`, one after the other.
    pub async fn send(&self, requests: &[ExportTraceServiceRequest]) -> Result<(), Failure> {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", self.address))?.connect().await?;
        let mut client = TraceServiceClient::new(channel);
        for request in requests {
            let sent = client.export(request.clone()).await;
            sent.map_err(|status| Failure::Refused { program: self.name, status: Box::new(status) })?;
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The program may be killed, because it has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
