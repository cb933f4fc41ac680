//! gRPC and HTTP on one port: limits, inflation, admission, replies. Knows no policy.

use bytes::Bytes;

use crate::otlp::scan::RejectReason;
use crate::otlp::wire::WireError;
use crate::tail::budget::Share;

/// Where the receiver hands request bodies to. Called on the I/O worker; must not block for long.
pub trait Intake: Send + Sync + 'static {
    /// A share of the memory budget for `bytes` more of a request, before they are buffered. Under pressure this
    /// lets go of rescuable traces and decides the oldest ones early.
    ///
    /// `None` if there is still no room: refuse the request, retryably.
    fn admit(&self, bytes: usize) -> Option<Share>;

    /// Takes the body of an `ExportTraceServiceRequest` and returns once its spans are in the trace table.
    ///
    /// # Errors
    /// The body is not a well-formed request: nothing of it was taken, and retrying cannot help.
    fn accept(&self, body: Bytes, share: Share) -> Result<Accepted, WireError>;
}

/// What became of the spans of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// All spans of the request, rejected ones included.
    pub spans: u32,
    /// Spans rejected alone, by [`RejectReason`].
    pub rejected: [u32; RejectReason::ALL.len()],
}
