//! The way of a body from its connection to the trace table, which both protocols share.
//!
//! - `chunks` reads a body into memory that the budget has admitted.
//! - `inflate` inflates a compressed body.
//! - `export` takes a body through all of its forms to the trace table, and counts the request.

pub(super) mod chunks;
pub(super) mod export;
pub mod inflate;
