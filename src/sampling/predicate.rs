//! Span predicates: each that a policy needs is one bit, set while the span's bytes are scanned.

use crate::otlp::scan::{Bits, Probe};
use crate::otlp::view::{AnyValue, StatusCode};

/// A question about one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Predicate {
    /// The span's status code is this.
    Status(StatusCode),
    /// An HTTP status code of 500 or more.
    HttpServerError,
    /// An RPC status code that means a server's fault.
    RpcServerError,
}

/// Semantic conventions 1.21 and later, and before (opentelemetry.io/docs/specs/semconv/http).
const HTTP_STATUS_KEYS: [&str; 2] = ["http.response.status_code", "http.status_code"];
/// `rpc.grpc.status_code` (int) until semantic conventions 1.38; `rpc.response.status_code` (string) since.
const RPC_STATUS_KEYS: [&str; 2] = ["rpc.grpc.status_code", "rpc.response.status_code"];

/// The gRPC codes that the semantic conventions make an error of a server span; the others are the caller's doing
/// (opentelemetry.io/docs/specs/semconv/rpc/grpc, "gRPC status").
const GRPC_SERVER_FAULTS: [(i64, &str); 6] = [
    (2, "UNKNOWN"),
    (4, "DEADLINE_EXCEEDED"),
    (12, "UNIMPLEMENTED"),
    (13, "INTERNAL"),
    (14, "UNAVAILABLE"),
    (15, "DATA_LOSS"),
];

/// The predicates of all policies, each with its bit.
#[derive(Clone, Debug, Default)]
pub(super) struct Predicates {
    all: Vec<Predicate>,
    /// The bits of each status code, in the order of [`StatusCode`].
    status: [Bits; 3],
    attributes: Vec<AttributeTest>,
    /// Bit `n` is set if a key of `n` bytes is asked for: most attributes are passed by on their length alone.
    key_lengths: u64,
}

/// Sets `bits` for a span with an attribute `key` whose value passes `test`.
#[derive(Clone, Copy, Debug)]
struct AttributeTest {
    key: &'static str,
    test: fn(AnyValue<'_>) -> bool,
    bits: Bits,
}

impl Predicates {
    /// The bit of `predicate`; `None` if there are more predicates than bits.
    pub(super) fn bit(&mut self, predicate: Predicate) -> Option<Bits> {
        let index = self.all.iter().position(|&p| p == predicate).unwrap_or(self.all.len());
        let bit = (1 as Bits).checked_shl(index as u32)?;
        if index == self.all.len() {
            self.all.push(predicate);
            self.compile(predicate, bit);
        }
        Some(bit)
    }

    fn compile(&mut self, predicate: Predicate, bit: Bits) {
        match predicate {
            Predicate::Status(code) => self.status[code as usize] |= bit,
            Predicate::HttpServerError => self.attribute(&HTTP_STATUS_KEYS, is_http_server_error, bit),
            Predicate::RpcServerError => self.attribute(&RPC_STATUS_KEYS, is_rpc_server_error, bit),
        }
    }

    fn attribute(&mut self, keys: &[&'static str], test: fn(AnyValue<'_>) -> bool, bit: Bits) {
        for key in keys {
            self.attributes.push(AttributeTest { key, test, bits: bit });
            self.key_lengths |= length_bit(key.len());
        }
    }
}

/// Keys of 63 bytes and more share a bit.
#[inline]
fn length_bit(len: usize) -> u64 {
    1 << len.min(63)
}

impl Probe for Predicates {
    #[inline]
    fn resource_attribute(&self, _key: &[u8], _value: AnyValue<'_>) -> Bits {
        0
    }

    #[inline]
    fn span_attribute(&self, key: &[u8], value: AnyValue<'_>) -> Bits {
        if self.key_lengths & length_bit(key.len()) == 0 {
            return 0;
        }
        let matching = self.attributes.iter().filter(|a| a.key.as_bytes() == key && (a.test)(value));
        matching.fold(0, |bits, attribute| bits | attribute.bits)
    }

    #[inline]
    fn status(&self, code: StatusCode) -> Bits {
        self.status[code as usize]
    }
}

/// Some instrumentation sends the code as a string.
fn is_http_server_error(value: AnyValue<'_>) -> bool {
    number(value).is_some_and(|code| code >= 500)
}

fn is_rpc_server_error(value: AnyValue<'_>) -> bool {
    let by_name = |name: &[u8]| GRPC_SERVER_FAULTS.iter().any(|(_, n)| n.as_bytes().eq_ignore_ascii_case(name));
    match (number(value), value) {
        (Some(code), _) => GRPC_SERVER_FAULTS.iter().any(|&(c, _)| c == code),
        (None, AnyValue::String(name)) => by_name(name),
        _ => false,
    }
}

fn number(value: AnyValue<'_>) -> Option<i64> {
    match value {
        AnyValue::Int(number) => Some(number),
        AnyValue::Double(number) if number.fract() == 0.0 => Some(number as i64),
        AnyValue::String(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}
