//! Advice for the operator on failed calls to a server that accepts plain OTLP: Tempo, Jaeger, a Collector, another
//! Spansieve. It never speaks of Google: such a server knows headers, an endpoint and limits of its own.

use tonic::Code;

use crate::export::failure::Cause;
use crate::google::advice::Caller;

/// Returns advice on a failure of this cause; `None` if nothing is known that helps.
pub(super) fn advice(cause: Cause, caller: &Caller) -> Option<String> {
    let text = match cause {
        Cause::Answer(code) => answer(code)?,
        Cause::TooLarge => {
            "set export.batch.max_bytes below the size limit of the receiver, or raise that limit (Collector, Jaeger and Tempo: \
             max_recv_msg_size_mib of the OTLP receiver's grpc section, 4 MiB by default)"
        }
        // A server at googleapis.com gets Google credentials with plain OTLP, too.
        Cause::NoToken(code) => return caller.no_token(code),
        Cause::Late => LATE,
        Cause::Unreachable => {
            "check that the sink is running and that export.endpoint has the host and port of its OTLP receiver for gRPC (4317 as \
             a rule); the spans are sent again by themselves"
        }
    };
    Some(text.to_owned())
}

const LATE: &str =
    "look at the load of the sink, or lower export.batch.max_spans; the spans are sent again by themselves";

fn answer(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::PermissionDenied => {
            "let the access rules of the sink allow the writes of this daemon, or correct the credentials or the tenant in \
             export.headers"
        }
        Code::Unauthenticated => "set the credentials that the sink asks for in export.headers",
        Code::NotFound => "check export.endpoint, and the tenant in export.headers (Tempo: x-scope-orgid)",
        Code::FailedPrecondition => "see the log of the sink: it is not ready for spans",
        Code::Unimplemented => {
            "check export.endpoint and export.api: the server there does not know OTLP over gRPC (on port 4317 as a rule; 4318 \
             is OTLP over HTTP)"
        }
        Code::ResourceExhausted => {
            "raise the limits of the sink (Tempo: overrides.defaults.ingestion.rate_limit_bytes), or keep fewer traces"
        }
        Code::Unavailable => {
            "see the log of the sink: it does not accept spans at present; they are sent again by themselves"
        }
        Code::DeadlineExceeded => LATE,
        _ => return None,
    })
}
