//! Logs: readable on a terminal, Cloud Logging JSON otherwise.
