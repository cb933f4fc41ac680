//! Checks that a request passes before its spans may be in the trace table, and the refusals for those that fail. Their
//! order is in `docs/admission.md`.
//!
//! - `heads` is the reserve for the heads of requests.
//! - `gate` is shut by a stop.
//! - `auth` knows the senders.
//! - `queue` bounds the wait of requests, with the wait that `lag` measures.
//! - `in_flight` is one request between its head and its answer: its memory and the pace of its body.
//! - `places` are for requests that hold memory for long: scrapes, documents of the API, health watches, calls of reflection.
//! - `refusal` has every way to refuse a request, with the answers of both protocols.

pub(super) mod auth;
pub(super) mod gate;
pub(super) mod heads;
pub(super) mod in_flight;
mod lag;
pub(super) mod places;
pub(super) mod queue;
pub(super) mod refusal;
