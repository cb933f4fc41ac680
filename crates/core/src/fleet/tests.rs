//! Messages and owners.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::message::{BatchError, FleetKeep, FleetVerdict, HEADER_BYTES, Header, Malformed, Message};
use super::{Member, MemberFacts, MemberId, MemberSettings, MemberWaits, View};
use crate::otlp::TraceId;
use crate::otlp::scan::SpanFact;
use crate::sampling::{ConfigMark, NameMark, Policies, Summary, Threshold};
use crate::tail::tally::Trigger;

pub(super) fn fact() -> SpanFact {
    SpanFact {
        trace_id: TraceId([0; 16]),
        start_unix_nano: 0,
        end_unix_nano: 0,
        bits: 0,
        randomness: None,
        span: crate::otlp::ByteRange { offset: 0, len: 0 },
        scope: 0,
        root: false,
        error: false,
    }
}

fn summary() -> impl Strategy<Value = Summary> {
    let facts =
        (any::<u64>(), any::<u64>(), any::<u128>(), any::<bool>(), prop::option::of(0u64..1 << 56), any::<u32>());
    prop::collection::vec(facts, 0..4).prop_map(|facts| {
        let mut summary = Summary::of_generation(7);
        for (start, end, bits, root, randomness, len) in facts {
            summary.add(&SpanFact {
                start_unix_nano: start,
                end_unix_nano: end,
                bits,
                root,
                randomness,
                span: crate::otlp::ByteRange { offset: 0, len },
                ..fact()
            });
        }
        summary
    })
}

fn keep() -> impl Strategy<Value = FleetKeep> {
    (any::<u32>(), any::<u64>(), any::<bool>()).prop_map(|(policy, bits, rescued)| FleetKeep {
        policy: NameMark(policy),
        threshold: Threshold::from_bits(bits),
        rescued,
    })
}

fn message() -> impl Strategy<Value = Message> {
    let id = any::<[u8; 16]>().prop_map(TraceId);
    let trigger = prop::sample::select(&Trigger::ALL[..]);
    let verdict = prop_oneof![
        keep().prop_map(FleetVerdict::Kept),
        Just(FleetVerdict::Dropped),
        any::<u32>().prop_map(|mark| FleetVerdict::DroppedByPolicy(NameMark(mark))),
    ];
    prop_oneof![
        (id.clone(), 0u64..86_400_000, trigger.clone(), any::<bool>(), summary()).prop_map(
            |(id, due_in_ms, trigger, waits, summary)| Message::Summary { id, due_in_ms, trigger, waits, summary }
        ),
        (id.clone(), verdict, trigger, any::<u32>()).prop_map(|(id, verdict, trigger, spans)| {
            let spans = if matches!(verdict, FleetVerdict::Kept(_)) { 0 } else { spans };
            Message::Verdict { id, verdict, trigger, spans }
        }),
        (id.clone(), keep(), any::<bool>()).prop_map(|(id, keep, relay)| Message::Proof { id, keep, relay }),
        id.prop_map(|id| Message::Ack { id }),
        any::<bool>().prop_map(|hands_over| Message::Leaving { hands_over }),
    ]
}

fn batch(messages: &[Message]) -> (Header, Vec<u8>) {
    let header = Header { sender: MemberId(5), config: ConfigMark(6), sent_unix_ms: 7 };
    let mut bytes = Vec::new();
    header.put(&mut bytes);
    messages.iter().for_each(|message| message.put(&mut bytes));
    (header, bytes)
}

proptest! {
    #[test]
    fn a_batch_is_read_as_it_was_written(messages in prop::collection::vec(message(), 0..8)) {
        let (header, bytes) = batch(&messages);
        let (found, read) = Header::read(&bytes, 7).unwrap();
        prop_assert_eq!(found, header);
        prop_assert_eq!(read.collect::<Result<Vec<_>, _>>().unwrap(), messages);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok((_, messages)) = Header::read(&bytes, 0) {
            messages.for_each(drop);
        }
        let (_, mut whole) = batch(&[]);
        whole.extend(bytes);
        Header::read(&whole, 0).unwrap().1.for_each(drop);
    }

    #[test]
    fn a_batch_that_is_cut_off_harms_no_message_before(messages in prop::collection::vec(message(), 1..5), cut in 1usize..40) {
        let (_, bytes) = batch(&messages);
        let cut = bytes.len().saturating_sub(cut);
        match Header::read(&bytes[..cut], 7) {
            Err(error) => prop_assert!(error == BatchError::Short && cut < HEADER_BYTES),
            Ok((_, read)) => {
                let read: Vec<_> = read.collect();
                let good: Vec<_> = read.iter().flatten().cloned().collect();
                prop_assert_eq!(&good[..], &messages[..good.len()]);
                prop_assert!(read.iter().filter(|message| **message == Err(Malformed)).count() <= 1);
            }
        }
    }
}

#[test]
fn a_summary_takes_about_fifty_bytes_and_a_verdict_less() {
    let mut summary = Summary::of_generation(0);
    for span in 0..17 {
        summary.add(&SpanFact {
            start_unix_nano: 1_700_000_000_000_000_000 + span,
            end_unix_nano: 1_700_000_000_250_000_000,
            bits: 0b1011,
            span: crate::otlp::ByteRange { offset: 0, len: 200 },
            ..fact()
        });
    }
    let len = |message: Message| {
        let mut out = Vec::new();
        message.put(&mut out);
        out.len()
    };
    let (id, trigger) = (TraceId([1; 16]), Trigger::DecisionWait);
    let length = len(Message::Summary { id, due_in_ms: 29_750, trigger, waits: true, summary });
    assert!(length <= 45, "{length}");
    assert_eq!(len(Message::Verdict { id, verdict: FleetVerdict::Dropped, trigger, spans: 9 }), 20);
    let keep = FleetKeep { policy: NameMark(1), threshold: Threshold::ALWAYS, rescued: false };
    assert_eq!(len(Message::Verdict { id, verdict: FleetVerdict::Kept(keep), trigger, spans: 0 }), 31);
}

#[test]
fn a_batch_of_another_version_is_refused_and_an_unknown_kind_is_left_out() {
    let ack = Message::Ack { id: TraceId([3; 16]) };
    let (_, mut bytes) = batch(&[]);
    bytes.extend([3, 99, 1, 2]);
    ack.put(&mut bytes);
    let read: Vec<_> = Header::read(&bytes, 0).unwrap().1.collect();
    assert_eq!(read, [Ok(ack)]);
    bytes[0] = 2;
    assert_eq!(Header::read(&bytes, 0).unwrap_err(), BatchError::Version(2));
}

#[test]
fn members_share_the_traces_and_move_only_their_own() {
    let ids: Vec<TraceId> = (0..3_000u128).map(|n| TraceId((n * 0x1_0000_0001).to_be_bytes())).collect();
    let members = [1, 2, 3].map(MemberId);
    let (all, two) = (View::new(members), View::new([members[2], members[0]]));
    let mut counts = [0; 3];
    for &id in &ids {
        let owner = all.owner(id).unwrap();
        counts[members.iter().position(|&member| member == owner).unwrap()] += 1;
        if owner != members[1] {
            assert_eq!(two.owner(id), Some(owner), "only the share of the one that goes moves");
        }
    }
    assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    assert_eq!(View::default().owner(ids[0]), None);
}

#[test]
fn a_member_id_has_one_form() {
    for id in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
        assert_eq!(MemberId::parse(&MemberId(id).to_string()), Some(MemberId(id)));
    }
    for text in ["", "1", "+000000000000001", "000000000000000G", "00000000000000001"] {
        assert_eq!(MemberId::parse(text), None, "{text}");
    }
}

const POLICIES: &str = "
tail_sampling:
  policies:
    - {name: errors, type: error}
    - {name: slow, type: latency, latency: {threshold_ms: 1000}}
    - {name: rare, type: rare, rare: {key: [service, route], max_keys: 10}}
    - {name: few, type: bytes_limiting, bytes_limiting: {bytes_per_second: 1000}}
    - {name: ratio, type: probabilistic, probabilistic: {sampling_percentage: 10}}
";

static COMPILED: LazyLock<Arc<Policies>> = LazyLock::new(|| {
    let settings = crate::testing::load(POLICIES).unwrap().tail_sampling;
    Arc::new(Policies::compile_set(settings.policy_set(), None).unwrap())
});

const TRACES_MAX: usize = 4;
const WAITS: MemberWaits = MemberWaits { rescue_ms: Some(5_000), retain_ms: 10_000, trace_wait_ms_max: 13_000 };

/// Returns the member 1, which knows the member 2, and the member 3 with other policies.
fn small_member() -> Member {
    let settings = MemberSettings {
        grace_ms: 500,
        repeat_ms: 1_000,
        report_ms: 1_000,
        waits: WAITS,
        traces_max: TRACES_MAX,
        trace_bytes_max: TRACES_MAX * 640,
        proofs_max: TRACES_MAX,
        kept_ids: 64,
        dropped_ids: 64,
    };
    let mut member = Member::new(MemberId(1), ConfigMark(1), Arc::clone(&COMPILED), settings, 1);
    let facts = |id, config| MemberFacts { id: MemberId(id), config: ConfigMark(config) };
    member.set_members(vec![facts(1, 1), facts(2, 1), facts(3, 2)], 0);
    member.set_up(true, 0);
    member
}

proptest! {
    /// The traces are few, so that messages are about the same ones.
    #[test]
    fn a_member_remembers_no_more_than_it_may_whatever_it_hears(
        heard in prop::collection::vec((message(), 0u8..8, 2u64..5, 1u64..3), 0..60),
    ) {
        let mut member = small_member();
        let mut now_ms = 0;
        for (mut message, trace, sender, config) in heard {
            if let Message::Summary { id, .. } | Message::Verdict { id, .. } | Message::Proof { id, .. } | Message::Ack { id } =
                &mut message
            {
                *id = TraceId([trace; 16]);
            }
            if let Message::Summary { summary, .. } = &mut message {
                summary.generation = COMPILED.generation();
            }
            now_ms += 400;
            member.receive(MemberId(sender), ConfigMark(config), message, now_ms);
            while member.tick(8, now_ms) {}
            prop_assert!(member.owned_traces() <= TRACES_MAX && member.unconfirmed_proofs() <= TRACES_MAX);
        }
        // Longer than any wait that a summary may say; then the rescue windows of what is dropped.
        for later_ms in [200_000_000, 200_010_000] {
            while member.tick(8, now_ms + later_ms) {}
        }
        prop_assert_eq!(member.owned_traces(), 0, "nothing waits for ever");
    }
}
