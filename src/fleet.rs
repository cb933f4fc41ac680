//! Other instances of the same service: the one that takes the undecided traces of a process that stops.

pub mod peer;
pub mod settings;
