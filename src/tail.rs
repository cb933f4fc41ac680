//! Pending traces: requests that own their bytes and budget share, the trace table, due times and verdict caches.
//!
//! Does no I/O and reads no clock: time is an argument.

pub mod budget;
pub mod kept;
pub mod request;
