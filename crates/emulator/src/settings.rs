//! The section `export.embedded` of the configuration.

use spansieve_core::settings::diagnostic::{SettingError, quote};
use spansieve_core::settings::kinds::{ADDRESS, ByteCount, List, ParsedText};
use spansieve_core::settings::node::Node;
use spansieve_core::settings::values::{Read, is_host, is_port, text};
use spansieve_core::settings::{KIB, Limit, TIB, section};

section! {
    /// The embedded Cloud Trace.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Embedded {
        /// The address (`host:port`) of its page, its API and its gRPC service.
        pub listen: String = "127.0.0.1:8080".into(), ADDRESS;
        /// Names by which a browser may call it, beside `localhost`, IP addresses and the host of `listen`. Requests for any
        /// other host get 421 ([why](embedded-cloud-trace.md#which-clients-may-read-it)).
        pub allowed_hosts: Vec<String> = Vec::new(), List { of: HOST, count: HOSTS };
        /// The most bytes of spans that it holds; the oldest traces go first.
        pub max_bytes: usize = 256 << 20, ByteCount::within(BYTES);
    }
}

const HOST: ParsedText<String> = ParsedText { word: "string", read: host_name };
const HOSTS: Limit<usize> = Limit { min: 0, max: 100, why: "the host of each request is compared with all of them" };
const BYTES: Limit<u64> = Limit { min: 64 * KIB, max: TIB, why: "the embedded Cloud Trace keeps its spans in memory" };

/// Reads the name of a host, without a port.
fn host_name(node: &Node) -> Read<String> {
    let host = text("a host", node)?;
    let fault = || SettingError::new(format!("{} is not the name of a host", quote(host)));
    match host.rsplit_once(':') {
        Some((host, port)) if is_host(host) && is_port(port) => {
            Err(fault().help(format!("leave the port out: `{host}`")))
        }
        None if is_host(host) => Ok(host.to_owned()),
        _ => Err(fault().help("write it as it stands in the address of the page, such as `traces.internal`")),
    }
}
