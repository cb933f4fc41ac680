//! The API of a running daemon: questions about traces, the configuration and the policies, and the stream of decisions.
//!
//! `settings` declares its section of the configuration, `answers` has the documents that the daemon sends and the commands
//! of the program read, and `decisions` has the listeners of the stream. The receiver serves the paths
//! ([`crate::receiver::Api`]), and the daemon answers.

pub mod answers;
pub mod decisions;
pub mod settings;
