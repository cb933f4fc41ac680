//! Connections: sockets, TLS, the bytes of HTTP/1 and HTTP/2 as they arrive, and the limits on what a connection holds
//! before it has a request.
//!
//! - `listen` binds, accepts, serves and stops. `tls` is in front of it.
//! - `slots` has the places for connections. `limits` sizes them by memory, and `files` by the limit of open files.
//!   `limits` also has the settings of the HTTP libraries.
//! - `connection` is the state that the requests of a connection share, and the watch that ends idle or stuck ones.
//! - `wire` is the stream that the HTTP libraries read. It follows HTTP/2 with `frames` and `hpack`, to bound what the
//!   libraries do not bound: `flood` limits frames without requests, and `goaway` ends such a connection.

pub(super) mod connection;
mod files;
mod flood;
mod frames;
mod goaway;
mod hpack;
mod limits;
pub(super) mod listen;
mod slots;
pub(super) mod tls;
mod wire;
