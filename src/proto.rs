//! Types generated from `proto/`: Cloud Trace v2 (client and server) and `google.rpc`.
#![allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]

pub mod google {
    pub mod api {
        tonic::include_proto!("google.api");
    }
    pub mod devtools {
        pub mod cloudtrace {
            pub mod v2 {
                tonic::include_proto!("google.devtools.cloudtrace.v2");
            }
        }
    }
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}
