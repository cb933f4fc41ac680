//! The API of a running daemon, and the commands that ask it.

mod answers;
pub(crate) mod asking;
mod commands;
mod document;
mod explaining;
mod stream;
mod unread;
