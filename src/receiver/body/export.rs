//! The path of a body from memory to the trace table, which both protocols share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use tokio::sync::Semaphore;

use super::chunks::{HeldBody, admit};
use super::inflate::{Coding, InflateError, inflate};
use crate::otlp::json;
use crate::otlp::reply::Encoding;
use crate::otlp::scan::RejectReason;
use crate::receiver::admission::auth::Guard;
use crate::receiver::admission::gate::IntakeGate;
use crate::receiver::admission::in_flight::{Admission, InFlightRequest};
use crate::receiver::admission::queue::RequestQueue;
use crate::receiver::admission::refusal::Refusal;
use crate::receiver::transport::connection::Connection;
use crate::receiver::{Accepted, Intake, RequestMemory};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{Outcome, Protocol};

/// Smallest size of a compressed or JSON body that is decoded off the I/O worker. A smaller body takes a few
/// milliseconds at most, because its output is capped. A body of 16 MiB would delay all connections of the worker for
/// tens of milliseconds. Everyday batches (tens of KiB, about 200 us) are not worth two thread switches.
const HEAVY_BYTES_MIN: usize = 256 << 10;

/// Body of a request as it arrived.
#[derive(Debug)]
pub(in crate::receiver) struct Payload {
    pub(in crate::receiver) held: HeldBody,
    pub(in crate::receiver) coding: Option<Coding>,
    pub(in crate::receiver) encoding: Encoding,
}

impl Payload {
    fn is_heavy(&self) -> bool {
        let plain = self.coding.is_none() && self.encoding == Encoding::Protobuf;
        !plain && self.held.bytes.len() >= HEAVY_BYTES_MIN
    }
}

/// Path for export requests of both protocols.
#[derive(Debug)]
pub(in crate::receiver) struct Exports<I> {
    intake: Arc<I>,
    pub(in crate::receiver) metrics: Arc<Metrics>,
    gate: Arc<IntakeGate>,
    /// Permits for bodies that are decoded off the I/O workers at the same time, one for each core. They bound the
    /// memory that decoders need in addition to their output.
    decoders: Semaphore,
    /// Authentication of senders. `None` if any sender may send.
    pub(in crate::receiver) guard: Option<Arc<Guard>>,
    admission: Arc<Admission>,
    pub(in crate::receiver) max_request_bytes: usize,
}

impl<I: Intake> Exports<I> {
    pub(in crate::receiver) fn new(
        intake: Arc<I>,
        metrics: Arc<Metrics>,
        gate: Arc<IntakeGate>,
        max_request_bytes: usize,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let admission = Arc::new(Admission::new(intake.budget(), max_request_bytes));
        Exports { intake, metrics, gate, decoders: Semaphore::new(cores), guard: None, admission, max_request_bytes }
    }

    /// Returns the intake that bodies are handed over to.
    pub(in crate::receiver) fn intake(&self) -> &Arc<I> {
        &self.intake
    }

    /// Returns the queue of requests that wait to be served.
    pub(in crate::receiver) fn queue(&self) -> &Arc<RequestQueue> {
        &self.admission.queue
    }

    /// Begins an export request of `connection`.
    pub(in crate::receiver) fn begin(&self, connection: &Arc<Connection>) -> Arc<InFlightRequest<I>> {
        Arc::new(InFlightRequest::new(Arc::clone(&self.intake), Arc::clone(&self.admission), Arc::clone(connection)))
    }

    /// Runs one request from `read`, which yields its body, to its place in the trace table. Counts the request.
    pub(in crate::receiver) async fn export(
        &self,
        protocol: Protocol,
        headers: &HeaderMap,
        in_flight: &Arc<InFlightRequest<I>>,
        read: impl Future<Output = Result<Payload, Refusal>>,
    ) -> Result<Accepted, Refusal> {
        let permit = self.gate.enter();
        let payload = match permit {
            Some(_) => in_flight.read(self.read(headers, in_flight, read)).await,
            None => Err(Refusal::Stopping),
        };
        let body_end = Instant::now();
        let result = match payload {
            Ok(payload) => self.accept(protocol, in_flight, payload).await,
            Err(refusal) => Err(refusal),
        };
        let outcome = match &result {
            Ok(accepted) if accepted.rejected.iter().any(|&n| n > 0) => Outcome::Partial,
            Ok(_) => Outcome::Ok,
            Err(refusal) => refusal.outcome(),
        };
        self.metrics.request(protocol, outcome, body_end.elapsed());
        result
    }

    /// Reads the body. Authenticates the sender first: an unknown sender gets no memory and no place in the queue, and
    /// its body is not read.
    async fn read(
        &self,
        headers: &HeaderMap,
        in_flight: &InFlightRequest<I>,
        read: impl Future<Output = Result<Payload, Refusal>>,
    ) -> Result<Payload, Refusal> {
        if let Some(guard) = &self.guard {
            guard.check(headers, &self.metrics).await?;
        }
        in_flight.join()?;
        read.await
    }

    async fn accept(
        &self,
        protocol: Protocol,
        in_flight: &Arc<InFlightRequest<I>>,
        payload: Payload,
    ) -> Result<Accepted, Refusal> {
        let HeldBody { bytes, share } = self.decode(in_flight, payload).await?;
        // The journal comes first: if it refuses the request, the sender retries, so the spans must not be in the table
        // yet.
        let (hold, disk_time) = match self.intake.journal() {
            Some(journal) => {
                let start = Instant::now();
                (Some(journal.append(bytes.clone()).await?), start.elapsed())
            }
            None => (None, Duration::ZERO),
        };
        let body_bytes = bytes.len();
        let accepted = self.gate.pass(|| in_flight.accept(bytes, share, hold)).ok_or(Refusal::Stopping)??;
        in_flight.served(disk_time);
        self.metrics.received(protocol, u64::from(accepted.spans));
        self.metrics.received_bytes(protocol, body_bytes);
        for (reason, &spans) in RejectReason::ALL.into_iter().zip(&accepted.rejected) {
            if spans > 0 {
                self.metrics.rejected(reason, u64::from(spans));
            }
        }
        Ok(accepted)
    }

    async fn decode(&self, in_flight: &Arc<InFlightRequest<I>>, payload: Payload) -> Result<HeldBody, Refusal> {
        let limit = self.max_request_bytes;
        if !payload.is_heavy() {
            return decode(payload, limit, &**in_flight);
        }
        let _decoder = self.decoders.acquire().await.map_err(|_| Refusal::Stopping)?;
        let in_flight = Arc::clone(in_flight);
        match tokio::task::spawn_blocking(move || decode(payload, limit, &*in_flight)).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is shutting down.
            Err(_) => Err(Refusal::Stopping),
        }
    }
}

/// Returns the protobuf bytes of a body. Drops the original bytes and their share.
fn decode(payload: Payload, limit: usize, intake: &impl RequestMemory) -> Result<HeldBody, Refusal> {
    let plain = match payload.coding {
        None => payload.held,
        Some(coding) => inflate_held(coding, &payload.held, limit, intake)?,
    };
    match payload.encoding {
        Encoding::Protobuf => Ok(plain),
        Encoding::Json => transcode(&plain, intake),
    }
}

fn inflate_held(
    coding: Coding,
    held: &HeldBody,
    limit: usize,
    intake: &impl RequestMemory,
) -> Result<HeldBody, Refusal> {
    let mut share = admit(intake, 0)?;
    let grant = |bytes| intake.admit(bytes).map(|more| share.absorb(more)).is_some();
    // The window is memory of the decoder, which ends here. So it does not count as memory that the connection holds
    // for bodies, unless room has to be made for it.
    let mut windows = Vec::new();
    let grant_window = |bytes| {
        intake.budget().reserve(bytes).or_else(|| intake.admit(bytes)).map(|window| windows.push(window)).is_some()
    };
    let bytes = inflate(coding, &held.bytes, limit, grant, grant_window).map_err(|error| match error {
        InflateError::TooLarge => Refusal::TooLarge { limit },
        InflateError::NoRoom => Refusal::NoRoom,
        InflateError::Truncated | InflateError::Damaged(_) => Refusal::Inflate(error),
    })?;
    HeldBody::settle(bytes, share, intake)
}

fn transcode(held: &HeldBody, intake: &impl RequestMemory) -> Result<HeldBody, Refusal> {
    // An estimate: protobuf is shorter than the same spans in JSON.
    let share = admit(intake, held.bytes.len())?;
    HeldBody::settle(json::to_protobuf(&held.bytes)?, share, intake)
}

#[cfg(test)]
mod tests;
