//! The API of a running daemon: questions about traces, the configuration and the policies, the stream of decisions, and
//! recordings of what the daemon receives.
//!
//! `settings` declares its section of the configuration, `answers` has the documents that the daemon sends and the commands
//! of the program read, `decisions` has the listeners of the stream, and `recordings` has the clients that record requests.
//! The receiver serves the paths ([`crate::receiver::Api`]), and the daemon answers.

pub mod answers;
pub mod decisions;
pub mod recordings;
pub mod settings;
