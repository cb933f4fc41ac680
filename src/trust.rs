//! What both sides of a connection prove themselves with: certificates and keys, static tokens, Google's ID tokens.
//!
//! Bytes become checked values here, once for `config`, which reports what is wrong, and again for `receiver`, which
//! serves with them and takes renewed ones. Does no I/O and reads no clock: time is an argument.

pub mod pem;
