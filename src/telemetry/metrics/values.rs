//! The values of labels. Those that belong to another module are declared there: [`crate::otlp::scan::RejectReason`],
//! [`crate::tail::tally::Trigger`], [`crate::sampling::Parent`] and [`crate::otlp::altered::REASONS`].

labels! {
    /// The protocol of a request.
    pub enum Protocol {
        /// OTLP over gRPC.
        Grpc = "grpc",
        /// OTLP over HTTP as `application/x-protobuf`.
        HttpProtobuf = "http_protobuf",
        /// OTLP over HTTP as `application/json`.
        HttpJson = "http_json",
    }
}

labels! {
    /// The answer to an export request.
    pub enum Outcome {
        /// Accepted.
        Ok = "ok",
        /// Accepted, except for spans that were rejected alone.
        Partial = "partial",
        /// Not well-formed.
        Invalid = "invalid",
        /// Over the size limit.
        TooLarge = "too_large",
        /// No memory is left. Can be retried.
        Busy = "busy",
        /// Overloaded. Can be retried.
        Overloaded = "overloaded",
        /// Denied by `otlp.auth`.
        Denied = "denied",
        /// The body did not come in time.
        Timeout = "timeout",
        /// The encoding or the compression is unknown.
        Unsupported = "unsupported",
        /// The daemon is shutting down. Can be retried.
        Stopping = "stopping",
        /// The journal is full or cannot be written. Can be retried.
        Journal = "journal",
    }
}

labels! {
    /// The reason why a connection is cut off.
    pub enum CutReason {
        /// The head of a request comes too slowly.
        SlowHead = "slow_head",
        /// The heads of requests need more room than there is.
        LargeHead = "large_head",
        /// The client does not take the answers.
        Unread = "unread",
        /// The client sends too many frames that carry no request.
        Flood = "flood",
        /// The connection had no request, and another one needed its place.
        Idle = "idle",
    }
}

labels! {
    /// A signal of OpenTelemetry that the daemon does not accept.
    pub enum OtherSignal {
        /// Metrics.
        Metrics = "metrics",
        /// Logs.
        Logs = "logs",
        /// Profiles.
        Profiles = "profiles",
    }
}

labels! {
    /// The reason why `otlp.auth` turns a request away.
    pub enum DenialReason {
        /// There is no token.
        NoToken = "no_token",
        /// The token is in none of the lists.
        UnknownToken = "unknown_token",
        /// The ID token is not well-formed.
        Malformed = "malformed",
        /// The ID token has another algorithm of signature.
        Algorithm = "algorithm",
        /// The key of the ID token is not one of Google's.
        UnknownKey = "unknown_key",
        /// The signature of the ID token is wrong.
        Signature = "signature",
        /// The ID token has another issuer.
        Issuer = "issuer",
        /// The ID token is for another audience.
        Audience = "audience",
        /// The ID token has expired.
        Expired = "expired",
        /// The ID token is not valid yet.
        Future = "future",
        /// The account of the ID token is not allowed.
        Account = "account",
        /// Google's keys have not been fetched yet.
        NoKeys = "no_keys",
    }
}

labels! {
    /// The reason why a TLS handshake fails.
    pub enum HandshakeFailure {
        /// The client shows no valid certificate.
        ClientCertificate = "client_certificate",
        /// The handshake takes too long.
        Timeout = "timeout",
        /// Any other error, such as a client that does not use TLS.
        Protocol = "protocol",
    }
}

labels! {
    /// The result of reading changed files again.
    pub enum Reload {
        /// The new contents are in use.
        Ok = "ok",
        /// The old contents stay in use.
        Failed = "failed",
    }
}

labels! {
    /// The verdict on a trace.
    pub enum TraceVerdict {
        /// The trace is exported.
        Kept = "kept",
        /// The trace is not exported.
        Dropped = "dropped",
    }
}

labels! {
    /// The fate of late spans.
    pub enum LateVerdict {
        /// They follow the verdict on their trace, which was kept.
        Kept = "kept",
        /// They follow the verdict on their trace, which was dropped.
        Dropped = "dropped",
        /// They are evidence, and rescue their trace.
        Rescued = "rescued",
    }
}

labels! {
    /// The reason why kept spans are lost.
    pub enum DropReason {
        /// Cloud Trace refused the span for good.
        Refused = "refused",
        /// The process had to end before the span was written.
        Shutdown = "shutdown",
        /// The span cannot be encoded.
        Encode = "encode",
        /// The span names a project that is not allowed.
        Project = "project_not_allowed",
        /// The sink did not take the span within the time that the operator set (`export.give_up_after`).
        GaveUp = "gave_up",
        /// The spool's disk did not give back what was written.
        Corrupt = "corrupt",
    }
}

labels! {
    /// The cause of failed calls for which the spans of a project wait.
    pub enum WaitCause {
        /// A passing failure.
        Unavailable = "unavailable",
        /// A quota is used up.
        Quota = "quota",
        /// The token was refused.
        Unauthenticated = "unauthenticated",
        /// The operator has to change something.
        Denied = "denied",
    }
}

labels! {
    /// The place where an earlier process left spans.
    pub enum RecoverySource {
        /// The spool.
        Spool = "spool",
        /// The journal.
        Journal = "journal",
    }
}

labels! {
    /// A fault of the disk of the spool or of the journal.
    pub enum DiskFault {
        /// A segment ends within a record.
        Torn = "torn",
        /// The records are not those that were written, or the segment is gone.
        Corrupt = "corrupt",
        /// A segment is of another version or sink.
        Foreign = "foreign",
        /// A file cannot be read.
        Read = "read",
        /// A file cannot be written.
        Write = "write",
        /// A request of the journal does not fit into memory.
        TooLarge = "too_large",
        /// Processes were killed while they had read one request of the journal alone.
        Fatal = "fatal",
    }
}

labels! {
    /// The kind of a message between the members of a fleet.
    #[repr(usize)]
    pub enum FleetMessage {
        /// The summary of the spans that a member has of a trace.
        Summary = "summary",
        /// The verdict of the owner of a trace.
        Verdict = "verdict",
        /// A trace was kept on evidence.
        Proof = "proof",
        /// A proof has come.
        Ack = "ack",
        /// A member leaves.
        Leaving = "leaving",
    }
}

labels! {
    /// The direction of messages between the members of a fleet.
    #[repr(usize)]
    pub enum Direction {
        /// From this member to others.
        Sent = "sent",
        /// From others to this member.
        Received = "received",
    }
}

labels! {
    /// The reason why messages between the members of a fleet are lost.
    pub enum FleetLoss {
        /// The engine took them too slowly, or could not be reached.
        Full = "full",
        /// They cannot be read.
        Malformed = "malformed",
        /// They come from a member with other policies, or from one that has left.
        Foreign = "foreign",
        /// The engine refused them.
        Refused = "refused",
        /// The connection to the engine broke before it answered. Some may have arrived.
        Broken = "broken",
        /// They are proofs that were not confirmed, or not told after a change of the members, before there were too many others.
        GivenUp = "given_up",
    }
}

labels! {
    /// The policies of the members of a fleet.
    pub enum FleetPolicies {
        /// The policies of this member.
        Same = "same",
        /// Other policies. Such members decide their own traces, and share only traces that are kept on evidence.
        Other = "other",
    }
}
