//! Types generated from `proto/`: Cloud Trace v2 and `google.rpc`. The feature `services` adds the client and the server
//! of Cloud Trace.
#![allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]

pub mod google {
    pub mod api {
        include!(concat!(env!("OUT_DIR"), "/google.api.rs"));
    }
    pub mod devtools {
        pub mod cloudtrace {
            pub mod v2 {
                include!(concat!(env!("OUT_DIR"), "/google.devtools.cloudtrace.v2.rs"));
            }
        }
    }
    pub mod rpc {
        include!(concat!(env!("OUT_DIR"), "/google.rpc.rs"));
    }
}

/// Descriptors of Cloud Trace v2, of `google.rpc`'s status and error details, and of all files that these import.
pub const GOOGLE_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/google_descriptors.bin"));

/// Descriptors of OTLP's trace service and of all files that it imports.
pub const OTLP_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/otlp_descriptors.bin"));
