//! Credentials with which both sides of a connection prove their identity: certificates and keys, static tokens,
//! Google's ID tokens.
//!
//! Bytes become checked values here: once for `config`, which reports what is wrong, and again for `receiver`, which
//! serves with them and takes renewed ones. This module does no I/O and reads no clock: time is an argument.

pub use crate::settings::FILE_BYTES_MAX;

pub mod id_token;
pub mod pem;
pub mod token;
