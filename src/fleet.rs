//! Other instances of the same service: those that decide together with this one, and the one that takes the undecided traces
//! of a process that stops.

pub mod engine;
pub mod link;
pub mod peer;
pub mod settings;
