//! The messages between members, and the form of a batch of them. docs/fleet.md specifies it.

use thiserror::Error;

use super::view::MemberId;
use crate::otlp::TraceId;
use crate::sampling::wire::{put_varint, take_array, take_byte, take_u64, take_varint};
use crate::sampling::{ConfigMark, NameMark, Summary, Threshold};
use crate::tail::table::Millis;
use crate::tail::tally::Trigger;

/// The version of the form. A member ignores batches of another version.
pub const VERSION: u8 = 1;

/// The longest wait that a summary may say.
const DUE_IN_MS_MAX: Millis = 24 * 3_600_000;

/// Bytes of a threshold that keeps a trace: 56 bits.
const THRESHOLD_BYTES: usize = 7;

const SUMMARY: u8 = 1;
const VERDICT: u8 = 2;
const PROOF: u8 = 3;
const ACK: u8 = 4;
const LEAVING: u8 = 5;

const KEPT: u8 = 0;
const DROPPED: u8 = 1;
const DROPPED_BY_POLICY: u8 = 2;

/// A message to a member.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The summary of all spans that the sender has of a trace.
    Summary {
        /// The trace.
        id: TraceId,
        /// The time after which the wait of the trace is over at the sender.
        due_in_ms: Millis,
        /// The reason for which it will be over.
        trigger: Trigger,
        /// True if the trace is undecided at the sender.
        waits: bool,
        /// The summary.
        summary: Summary,
    },
    /// The verdict of the owner of a trace.
    Verdict {
        /// The trace.
        id: TraceId,
        /// The verdict.
        verdict: FleetVerdict,
        /// The reason why the trace was decided when it was.
        trigger: Trigger,
        /// The number of spans of the receiver that a drop took into account. It is not sent with a keep.
        spans: u32,
    },
    /// A trace was kept on evidence. The receiver confirms it.
    Proof {
        /// The trace.
        id: TraceId,
        /// The verdict.
        keep: FleetKeep,
        /// True if the receiver tells all members that, to its knowledge, hold a part of the trace.
        relay: bool,
    },
    /// A proof has come.
    Ack {
        /// The trace.
        id: TraceId,
    },
    /// The sender leaves.
    Leaving {
        /// True if it hands its undecided traces to another instance.
        hands_over: bool,
    },
}

/// A verdict that means the same on every instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetVerdict {
    /// A policy keeps the trace.
    Kept(FleetKeep),
    /// No policy keeps the trace.
    Dropped,
    /// This policy of type `drop` drops the trace.
    DroppedByPolicy(NameMark),
}

/// The verdict that a trace is kept, for every instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetKeep {
    /// The policy.
    pub policy: NameMark,
    /// The threshold that the trace has passed.
    pub threshold: Threshold,
    /// True if the trace was dropped at first.
    pub rescued: bool,
}

/// The head of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender.
    pub sender: MemberId,
    /// The mark of the sender's policies. Bits and keys of summaries mean something only with equal policies.
    pub config: ConfigMark,
    /// The time at which the sender closed the batch, milliseconds since 1970.
    pub sent_unix_ms: u64,
}

/// Bytes of a [`Header`], with the version.
pub const HEADER_BYTES: usize = 25;

/// The reason why a batch cannot be read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BatchError {
    /// It is of another version.
    #[error("the version of a batch is {0}, not {VERSION}")]
    Version(u8),
    /// It ends in its head.
    #[error("a batch ends in its head")]
    Short,
}

/// A message that cannot be read. Those after it can be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a message is not valid")]
pub struct Malformed;

impl Header {
    /// Appends the head of a batch.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        [self.sender.0, self.config.0, self.sent_unix_ms].iter().for_each(|part| out.extend(part.to_le_bytes()));
    }

    /// Reads the head of a batch. Also returns its messages. Summaries are taken as those of policies of this generation.
    ///
    /// # Errors
    /// See [`BatchError`].
    pub fn read(batch: &[u8], generation: u16) -> Result<(Self, Messages<'_>), BatchError> {
        let mut rest = batch;
        let version = take_byte(&mut rest).ok_or(BatchError::Short)?;
        if version != VERSION {
            return Err(BatchError::Version(version));
        }
        let mut part = || take_u64(&mut rest).ok_or(BatchError::Short);
        let header = Header { sender: MemberId(part()?), config: ConfigMark(part()?), sent_unix_ms: part()? };
        Ok((header, Messages { rest, generation }))
    }
}

/// The messages of a batch. Messages of an unknown kind are left out.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
    generation: u16,
}

impl Iterator for Messages<'_> {
    type Item = Result<Message, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let len = take_varint(&mut self.rest).and_then(|len| usize::try_from(len).ok());
            let Some((mut body, rest)) = len.and_then(|len| self.rest.split_at_checked(len)) else {
                self.rest = &[];
                return Some(Err(Malformed));
            };
            self.rest = rest;
            match Message::take(&mut body, self.generation) {
                Taken::Known(message) if body.is_empty() => return Some(Ok(message)),
                Taken::Known(_) | Taken::Malformed => return Some(Err(Malformed)),
                Taken::Unknown => {}
            }
        }
        None
    }
}

enum Taken {
    Known(Message),
    Malformed,
    Unknown,
}

impl Message {
    /// Appends the message with its length.
    pub fn put(&self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(64);
        self.put_body(&mut body);
        put_varint(out, body.len() as u128);
        out.extend_from_slice(&body);
    }

    fn put_body(&self, out: &mut Vec<u8>) {
        match self {
            Message::Summary { id, due_in_ms, trigger, waits, summary } => {
                out.push(SUMMARY);
                out.extend_from_slice(&id.0);
                put_varint(out, (*due_in_ms).into());
                out.push((*trigger as u8) << 1 | u8::from(*waits));
                summary.put(out);
            }
            Message::Verdict { id, verdict, trigger, spans } => {
                let (kind, by) = match verdict {
                    FleetVerdict::Kept(_) => (KEPT, None),
                    FleetVerdict::Dropped => (DROPPED, None),
                    FleetVerdict::DroppedByPolicy(policy) => (DROPPED_BY_POLICY, Some(policy)),
                };
                out.push(VERDICT);
                out.extend_from_slice(&id.0);
                out.push((*trigger as u8) << 2 | kind);
                by.iter().for_each(|policy| out.extend(policy.0.to_le_bytes()));
                match verdict {
                    FleetVerdict::Kept(keep) => keep.put(out, false),
                    FleetVerdict::Dropped | FleetVerdict::DroppedByPolicy(_) => put_varint(out, (*spans).into()),
                }
            }
            Message::Proof { id, keep, relay } => {
                out.push(PROOF);
                out.extend_from_slice(&id.0);
                keep.put(out, *relay);
            }
            Message::Ack { id } => {
                out.push(ACK);
                out.extend_from_slice(&id.0);
            }
            Message::Leaving { hands_over } => out.extend([LEAVING, u8::from(*hands_over)]),
        }
    }

    fn take(input: &mut &[u8], generation: u16) -> Taken {
        let message = match take_byte(input) {
            Some(SUMMARY) => Self::take_summary(input, generation),
            Some(VERDICT) => Self::take_verdict(input),
            Some(PROOF) => take_array(input).and_then(|id| {
                let (keep, relay) = FleetKeep::take(input)?;
                Some(Message::Proof { id: TraceId(id), keep, relay })
            }),
            Some(ACK) => take_array(input).map(|id| Message::Ack { id: TraceId(id) }),
            Some(LEAVING) => take_byte(input).map(|flag| Message::Leaving { hands_over: flag & 1 == 1 }),
            Some(_) => return Taken::Unknown,
            None => None,
        };
        message.map_or(Taken::Malformed, Taken::Known)
    }

    fn take_summary(input: &mut &[u8], generation: u16) -> Option<Self> {
        let id = TraceId(take_array(input)?);
        let due_in_ms = u64::try_from(take_varint(input)?).ok().filter(|&due| due <= DUE_IN_MS_MAX)?;
        let flags = take_byte(input)?;
        let trigger = *Trigger::ALL.get(usize::from(flags >> 1))?;
        let summary = Summary::take(input, generation)?;
        Some(Message::Summary { id, due_in_ms, trigger, waits: flags & 1 == 1, summary })
    }

    fn take_verdict(input: &mut &[u8]) -> Option<Self> {
        let id = TraceId(take_array(input)?);
        let flags = take_byte(input)?;
        let trigger = *Trigger::ALL.get(usize::from(flags >> 2))?;
        let verdict = match flags & 3 {
            KEPT => FleetVerdict::Kept(FleetKeep::take(input)?.0),
            DROPPED => FleetVerdict::Dropped,
            DROPPED_BY_POLICY => FleetVerdict::DroppedByPolicy(take_mark(input)?),
            _ => return None,
        };
        let spans = match verdict {
            FleetVerdict::Kept(_) => 0,
            FleetVerdict::Dropped | FleetVerdict::DroppedByPolicy(_) => u32::try_from(take_varint(input)?).ok()?,
        };
        Some(Message::Verdict { id, verdict, trigger, spans })
    }
}

impl FleetKeep {
    fn put(&self, out: &mut Vec<u8>, relay: bool) {
        out.extend(self.policy.0.to_le_bytes());
        out.extend_from_slice(&self.threshold.get().to_le_bytes()[..THRESHOLD_BYTES]);
        out.push(u8::from(self.rescued) | u8::from(relay) << 1);
    }

    fn take(input: &mut &[u8]) -> Option<(Self, bool)> {
        let policy = take_mark(input)?;
        let mut bits = [0; 8];
        bits[..THRESHOLD_BYTES].copy_from_slice(&take_array::<THRESHOLD_BYTES>(input)?);
        let flags = take_byte(input)?;
        let threshold = Threshold::from_bits(u64::from_le_bytes(bits));
        Some((FleetKeep { policy, threshold, rescued: flags & 1 == 1 }, flags & 2 == 2))
    }
}

fn take_mark(input: &mut &[u8]) -> Option<NameMark> {
    take_array(input).map(|bytes| NameMark(u32::from_le_bytes(bytes)))
}
