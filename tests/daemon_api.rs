//! The API of a running daemon, and the commands that ask it.

mod answers;
mod asking;
mod commands;
mod document;
mod explaining;
mod stream;
mod unread;
