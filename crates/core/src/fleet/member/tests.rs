//! The bounds of a member, and what it does when it reaches them.

use super::left::LEFT_MAX;
use super::*;
use crate::fleet::tests::fact;
use crate::otlp::scan::SpanFact;
use crate::sampling::NameMark;
use crate::tail::fleet::Proof;

const POLICIES: &str = "
tail_sampling:
  policies:
    - {name: errors, type: error}
    - {name: ratio, type: probabilistic, probabilistic: {sampling_percentage: 10}}
";
const SETTINGS: MemberSettings = MemberSettings {
    grace_ms: 500,
    repeat_ms: 1_000,
    report_ms: 1_000,
    waits: MemberWaits { rescue_ms: Some(20_000), retain_ms: 30_000, trace_wait_ms_max: 13_000 },
    traces_max: 4,
    trace_bytes_max: 4 << 10,
    proofs_max: 4,
    kept_ids: 64,
    dropped_ids: 64,
};
const OTHER: u64 = 2;

/// Returns the member 1, which knows the member 2.
fn member() -> Member {
    let settings = crate::testing::load(POLICIES).unwrap().tail_sampling;
    let policies = Arc::new(Policies::compile_set(settings.policy_set(), None).unwrap());
    let mut member = Member::new(MemberId(1), ConfigMark(1), policies, SETTINGS, 1);
    member.set_members(vec![facts(1, 1), facts(OTHER, 1)], 0);
    member.set_up(true, 0);
    // It has been so for long.
    member.moved_ms = None;
    member.past.clear();
    member
}

fn facts(id: u64, config: u64) -> MemberFacts {
    MemberFacts { id: MemberId(id), config: ConfigMark(config) }
}

/// Returns the id of a trace that the ratio drops.
fn dropped(n: u8) -> TraceId {
    TraceId([n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// Tells the member that `from` has a span of a trace, which is undecided there for `due_in_ms`.
fn hears(member: &mut Member, from: u64, id: TraceId, due_in_ms: Millis, now_ms: Millis) {
    let mut summary = Summary::of_generation(member.generation());
    summary.add(&fact());
    let message = Message::Summary { id, due_in_ms, trigger: Trigger::RootReceived, waits: true, summary };
    member.receive(MemberId(from), ConfigMark(1), message, now_ms);
}

/// Returns the traces that the member 2 is told to drop.
fn drops(member: &mut Member) -> Vec<(TraceId, Trigger)> {
    let messages = std::mem::take(&mut member.out().messages);
    let verdicts = messages.into_iter().filter_map(|(to, message)| match message {
        Message::Verdict { id, verdict: FleetVerdict::Dropped, trigger, .. } if to == MemberId(OTHER) => {
            Some((id, trigger))
        }
        _ => None,
    });
    verdicts.collect()
}

fn proves(member: &mut Member, n: u8, was_dropped: bool, now_ms: Millis) {
    let keep = FleetKeep { policy: NameMark::of("errors"), threshold: Threshold::ALWAYS, rescued: false };
    let keep = member.local_keep(keep);
    member.proof(Proof { id: dropped(n), keep, was_dropped }, now_ms);
}

/// Returns the proofs that are sent.
fn proofs(member: &mut Member) -> Vec<(MemberId, TraceId)> {
    let messages = std::mem::take(&mut member.out().messages);
    let proofs = messages.into_iter().filter_map(|(to, message)| match message {
        Message::Proof { id, .. } => Some((to, id)),
        _ => None,
    });
    proofs.collect()
}

fn leaves(member: &mut Member, from: u64, hands_over: bool) {
    member.receive(MemberId(from), ConfigMark(1), Message::Leaving { hands_over }, 100);
}

#[test]
fn a_member_that_says_again_that_it_leaves_costs_nothing() {
    let mut member = member();
    leaves(&mut member, OTHER, true);
    assert_eq!(member.view().ids(), [MemberId(1)]);
    // If the list were looked at again, this would be a member.
    member.listed.push(facts(9, 1));
    leaves(&mut member, OTHER, true);
    leaves(&mut member, OTHER, false);
    assert_eq!(member.view().ids(), [MemberId(1)]);
    for round in 1..5 {
        let listed = round * 1_000..round * 1_000 + 200;
        member.set_members(listed.clone().map(|id| facts(id, 1)).collect(), 100);
        listed.for_each(|from| leaves(&mut member, from, true));
    }
    assert_eq!(member.left.len(), LEFT_MAX);
}

#[test]
fn a_number_that_was_never_a_member_cannot_leave() {
    let mut member = member();
    (10..2_000).for_each(|from| leaves(&mut member, from, true));
    assert_eq!(member.left.len(), 0);
    assert_eq!(member.out().counts.foreign_messages, 1_990);
    // The list without it may come before its message.
    member.set_members(vec![facts(1, 1)], 100);
    leaves(&mut member, OTHER, true);
    assert_eq!(member.left.len(), 1);
}

#[test]
fn a_member_that_leaves_without_a_handoff_may_still_hand_over() {
    for (hands_over, decided) in [(false, 1), (true, 0)] {
        let mut member = member();
        hears(&mut member, OTHER, dropped(1), 5_000, 100);
        leaves(&mut member, OTHER, false);
        if hands_over {
            leaves(&mut member, OTHER, true);
        }
        // Long after others have stopped to list it.
        member.tick(64, 14_000);
        assert_eq!((drops(&mut member).len(), member.out().counts.decided_traces), (decided, decided as u64));
        assert_eq!(member.owned_traces(), decided);
    }
}

#[test]
fn a_trace_that_has_got_another_owner_is_not_decided_here_unless_it_is_reported_here_again() {
    let ids: Vec<TraceId> = (1..=200).map(dropped).collect();
    let mut member = member();
    member.settings = MemberSettings { traces_max: 1_000, trace_bytes_max: 1 << 20, ..SETTINGS };
    ids.iter().for_each(|&id| hears(&mut member, OTHER, id, 3_000, 100));
    member.set_members(vec![facts(1, 1), facts(OTHER, 1), facts(3, 1)], 200);
    let (own, moved): (Vec<TraceId>, Vec<TraceId>) =
        ids.iter().partition(|&&id| member.view().owner(id) == Some(MemberId(1)));
    assert!(own.len() > 20 && moved.len() > 20);
    // A holder that does not know of the change.
    hears(&mut member, OTHER, moved[0], 3_000, 300);
    while member.tick(64, 10_000) {}
    let mut decided: Vec<TraceId> = drops(&mut member).into_iter().map(|(id, _)| id).collect();
    let mut expected = [own, vec![moved[0]]].concat();
    decided.sort_unstable();
    expected.sort_unstable();
    assert_eq!(decided, expected);
    assert_eq!(member.owned_traces(), expected.len(), "the others are forgotten");
}

#[test]
fn all_proofs_that_are_due_are_repeated_in_one_turn() {
    let mut member = member();
    let settings = MemberSettings { proofs_max: 1_000, ..SETTINGS };
    let MemberSettings { repeat_ms, waits, proofs_max, .. } = settings;
    member.proofs = Proofs::new(repeat_ms, waits.retain_ms, proofs_max, SeedableRandomState::fixed());
    for n in 0..200 {
        proves(&mut member, n, true, 0);
    }
    assert_eq!(proofs(&mut member).len(), 200);
    let turns = std::iter::repeat_with(|| member.tick(64, 1_000)).take_while(|more| *more).count();
    assert_eq!((proofs(&mut member).len(), turns), (200, 3));
}

#[test]
fn a_proof_of_a_policy_that_is_not_known_yet_waits_for_its_name() {
    let mut member = member();
    let more = format!("{POLICIES}    - {{name: slow, type: latency, latency: {{threshold_ms: 9}}}}\n");
    let settings = crate::testing::load(&more).unwrap().tail_sampling;
    let next = Arc::new(Policies::compile_set(settings.policy_set(), Some(&member.policies)).unwrap());
    let keep = Keep::new(next.number("slow").unwrap(), Threshold::ALWAYS);
    member.proof(Proof { id: dropped(1), keep, was_dropped: true }, 100);
    assert!(proofs(&mut member).is_empty(), "the table has the next policies already");
    member.replace(ConfigMark(1), next, 200);
    member.tick(64, 1_100);
    let told = std::mem::take(&mut member.out().messages);
    let is_told =
        |message: &Message| matches!(message, Message::Proof { keep, .. } if keep.policy == NameMark::of("slow"));
    assert!(told.iter().any(|(_, message)| is_told(message)), "{told:?}");
}

#[test]
fn the_summaries_of_many_holders_are_summed_up_as_they_come() {
    let summary = |spans: usize, bits: u128| {
        let mut summary = Summary::of_generation(0);
        (0..spans).for_each(|_| summary.add(&crate::otlp::scan::SpanFact { bits, ..fact() }));
        summary
    };
    let mut entry = Entry::new(Phase::Waiting, 0, Trigger::DecisionWait);
    for round in 1..4 {
        for id in 0..20 {
            let summary = summary(round + id as usize, 1 << id);
            entry.take(Holder { id: MemberId(id), summary, waits: true, may_grow: true });
            let mut expected = Summary::of_generation(0);
            entry.holders.iter().for_each(|holder| expected.merge(&holder.summary));
            assert_eq!(entry.merged(0), expected);
        }
    }
}

#[test]
fn the_sum_of_many_summaries_stays_when_some_holders_hand_over() {
    let mut member = member();
    member.settings = MemberSettings { trace_bytes_max: 1 << 20, ..SETTINGS };
    member.set_members((2..30).map(|id| facts(id, 1)).collect(), 50);
    (2..30).for_each(|from| hears(&mut member, from, dropped(1), 5_000, 100));
    let bytes = member.owned.entry_bytes();
    (2..12).for_each(|from| leaves(&mut member, from, true));
    hears(&mut member, 20, dropped(1), 5_000, 200);
    assert_eq!(member.merged(dropped(1)).unwrap().span_count, 18);
    assert_eq!(member.owned.get(dropped(1)).unwrap().holders.len(), 18);
    assert_eq!(member.owned.entry_bytes(), bytes, "it need not be made again for each summary");
}

#[test]
fn of_a_long_list_some_members_count() {
    let mut member = member();
    member.set_members((10..2_000).rev().map(|id| facts(id, 1)).collect(), 100);
    let ids = member.view().ids();
    assert_eq!((ids.len(), ids[0], ids[1]), (MEMBERS_MAX + 1, MemberId(1), MemberId(10)));
    assert!(member.view().contains(MemberId(10)) && !member.view().contains(MemberId(2)));
}

#[test]
fn dropped_traces_are_forgotten_before_undecided_ones_are_decided() {
    let mut member = member();
    for n in 1..4 {
        hears(&mut member, OTHER, dropped(n), 0, 0);
    }
    assert!(!member.tick(64, 500));
    assert_eq!(drops(&mut member).len(), 3);
    assert_eq!(member.owned_traces(), 3, "they are rescuable");
    for n in 4..8 {
        hears(&mut member, OTHER, dropped(n), 5_000, 1_000 + u64::from(n));
        assert_eq!(member.owned_traces(), 4);
    }
    assert_eq!((drops(&mut member), member.out().counts.early_traces), (vec![], 0));
    hears(&mut member, OTHER, dropped(8), 5_000, 2_000);
    assert_eq!((member.owned_traces(), member.out().counts.early_traces), (4, 1));
    assert_eq!(
        drops(&mut member),
        [(dropped(4), Trigger::RootReceived)],
        "memory is no reason that the holders know of"
    );
}

#[test]
fn a_holder_that_has_reported_a_short_time_ago_may_report_once_more_before_the_decision() {
    let decided_at = |times: &[(u64, Millis, Millis)]| {
        let mut member = member();
        for &(from, due_in_ms, now_ms) in times {
            member.tick(64, now_ms);
            hears(&mut member, from, dropped(1), due_in_ms, now_ms);
        }
        (0..20_000).step_by(100).find(|&now_ms| {
            member.tick(64, now_ms);
            !drops(&mut member).is_empty()
        })
    };
    assert_eq!(decided_at(&[(OTHER, 5_000, 1_000)]), Some(6_500));
    // The first to wait has told all; the second may have got spans since it reported, and reports once a second.
    assert_eq!(decided_at(&[(OTHER, 5_000, 1_000), (3, 5_000, 3_000), (OTHER, 0, 6_000)]), Some(6_500));
    assert_eq!(decided_at(&[(OTHER, 5_000, 1_000), (3, 2_500, 5_700), (OTHER, 0, 6_000)]), Some(7_200));
    assert_eq!(decided_at(&[(OTHER, 5_000, 1_000), (3, 2_500, 6_400), (3, 1_500, 7_400)]), Some(7_500), "once");
}

#[test]
fn summaries_of_many_holders_take_no_more_than_they_may() {
    let mut member = member();
    hears(&mut member, 100, dropped(1), 5_000, 0);
    let bytes = member.heap_bytes();
    for from in 101..105 {
        hears(&mut member, from, dropped(1), 5_000, 0);
    }
    assert!(member.heap_bytes() > bytes + 2 * size_of::<Holder>(), "holders are charged");
    for from in 105..200 {
        hears(&mut member, from, dropped(1), 5_000, 0);
        assert!(member.owned.entry_bytes() <= SETTINGS.trace_bytes_max);
    }
    assert!(member.out().counts.early_traces > 0);
}

#[test]
fn a_wait_is_no_longer_than_that_of_the_configuration_in_force() {
    let mut member = member();
    hears(&mut member, OTHER, dropped(1), 80_000_000, 0);
    member.tick(64, 13_499);
    assert!(drops(&mut member).is_empty());
    member.tick(64, 13_500);
    assert_eq!(drops(&mut member).len(), 1);
    assert_eq!(member.owned_traces(), 1, "it is rescuable");
    member.set_waits(MemberWaits { rescue_ms: None, retain_ms: 10_000, trace_wait_ms_max: 1_000 });
    hears(&mut member, OTHER, dropped(2), 80_000_000, 20_000);
    member.tick(64, 21_500);
    assert_eq!((drops(&mut member).len(), member.owned_traces()), (1, 1), "the second one is not");
}

#[test]
fn proofs_that_are_given_up_are_counted() {
    let mut member = member();
    for n in 1..7 {
        proves(&mut member, n, true, 0);
    }
    assert_eq!(proofs(&mut member).len(), 6);
    member.tick(64, 0);
    assert_eq!((member.unconfirmed_proofs(), member.out().counts.given_up_proofs), (4, 2));
    // Confirmed ones make room, also if all of it happens in one moment.
    for n in 3..100 {
        member.receive(MemberId(OTHER), ConfigMark(1), Message::Ack { id: dropped(n) }, 0);
        proves(&mut member, n + 4, true, 0);
    }
    member.tick(64, 0);
    assert_eq!((member.unconfirmed_proofs(), member.out().counts.given_up_proofs), (4, 2));
}

/// Tells the member of a new one with other policies. Returns the proofs that this one is told.
fn told_to_a_new_one(member: &mut Member, now_ms: Millis) -> Vec<TraceId> {
    member.out().messages.clear();
    member.set_members(vec![facts(1, 1), facts(OTHER, 1), facts(3, 2)], now_ms);
    let mut told = Vec::new();
    for turn in 0..10 {
        member.tick(64, now_ms + turn);
        for (to, id) in proofs(member) {
            member.receive(to, ConfigMark(2), Message::Ack { id }, now_ms + turn);
            told.push(id);
        }
    }
    told
}

#[test]
fn a_proof_that_comes_again_displaces_no_other_one() {
    let mut member = member();
    let keep = FleetKeep { policy: NameMark::of("errors"), threshold: Threshold::ALWAYS, rescued: false };
    for n in 1..4 {
        member.receive(MemberId(OTHER), ConfigMark(1), Message::Proof { id: dropped(n), keep, relay: false }, 100);
    }
    for now_ms in (1_000..10_000).step_by(1_000) {
        let (id, verdict, trigger) = (dropped(4), FleetVerdict::Kept(keep), Trigger::DecisionWait);
        member.receive(MemberId(OTHER), ConfigMark(1), Message::Verdict { id, verdict, trigger, spans: 0 }, now_ms);
        let again = Message::Proof { id: dropped(3), keep, relay: false };
        member.receive(MemberId(OTHER), ConfigMark(1), again, now_ms);
    }
    (1..5).for_each(|n| member.receive(MemberId(OTHER), ConfigMark(1), Message::Ack { id: dropped(n) }, 10_000));
    assert_eq!(told_to_a_new_one(&mut member, 10_000), [1, 2, 3, 4].map(dropped));
    assert_eq!(member.out().counts.given_up_proofs, 0);
}

#[test]
fn proofs_that_a_member_could_not_tell_after_a_change_are_counted() {
    let given_up = |joins_ms: Millis| {
        let mut member = member();
        for n in 1..8 {
            proves(&mut member, n, true, u64::from(n) * 500);
            member.receive(MemberId(OTHER), ConfigMark(1), Message::Ack { id: dropped(n) }, 4_000);
        }
        member.tick(64, 4_000);
        assert_eq!(member.out().counts.given_up_proofs, 0, "they have arrived");
        let told = told_to_a_new_one(&mut member, joins_ms);
        (told.len(), member.out().counts.given_up_proofs)
    };
    assert_eq!(given_up(5_000), (4, 3));
    // The first two cannot help any more, then none of them.
    assert_eq!(given_up(31_400), (4, 1));
    assert_eq!(given_up(40_000), (0, 0));
}

/// Returns a member whose log has the last four of some proofs.
fn member_with_proofs(last: u8) -> Member {
    let mut member = member();
    member.set_members(vec![facts(1, 1)], 100);
    member.tick(64, 40_000);
    (1..=last).for_each(|n| proves(&mut member, n, false, 40_000));
    member.tick(64, 40_000);
    assert_eq!(member.out().counts.given_up_proofs, 0, "nobody was to be told");
    member
}

#[test]
fn a_proof_that_no_member_could_be_told_is_counted_once() {
    let mut member = member_with_proofs(7);
    let mut given_up = |members: &[MemberFacts], now_ms| {
        member.set_members(members.to_vec(), now_ms);
        member.tick(0, now_ms);
        member.out().counts.given_up_proofs
    };
    assert_eq!(given_up(&[facts(1, 1), facts(OTHER, 1), facts(3, 2)], 40_100), 3, "two kinds of members come at once");
    assert_eq!(given_up(&[facts(1, 1), facts(OTHER, 1), facts(3, 2), facts(4, 2)], 40_200), 3, "another one comes");
}

#[test]
fn a_proof_that_leaves_the_log_while_it_is_to_be_told_is_counted_once() {
    let mut member = member_with_proofs(4);
    member.set_members(vec![facts(1, 1), facts(3, 2)], 40_100);
    member.tick(1, 40_100);
    assert_eq!(proofs(&mut member), [(MemberId(3), dropped(1))]);
    // One that has been told goes, then one that has not.
    let given_up = [5, 6].map(|n| {
        proves(&mut member, n, false, 40_100);
        member.receive(MemberId(3), ConfigMark(2), Message::Ack { id: dropped(n) }, 40_100);
        member.tick(0, 40_100);
        member.out().counts.given_up_proofs
    });
    assert_eq!(given_up, [0, 1]);
    // The first one, which the member that comes now cannot be told. The second one is counted.
    member.set_members(vec![facts(1, 1), facts(3, 2), facts(4, 2)], 40_200);
    member.tick(0, 40_200);
    assert_eq!(member.out().counts.given_up_proofs, 2);
}

#[test]
fn a_proof_that_cannot_help_any_more_is_not_given_up() {
    let mut member = member_with_proofs(4);
    member.set_members(vec![facts(1, 1), facts(3, 2)], 40_100);
    member.tick(64, 40_000 + SETTINGS.waits.retain_ms);
    assert_eq!(proofs(&mut member), []);
    assert_eq!(member.out().counts.given_up_proofs, 0);
}

#[test]
fn a_member_that_comes_tells_the_earlier_owner_of_a_trace_what_it_keeps() {
    let told = |is_new: bool| {
        let mut member = member();
        member.set_members(vec![facts(1, 1), facts(OTHER, 1), facts(3, 1)], 50);
        member.past.clear();
        if is_new {
            member.set_up(false, 60);
            member.set_up(true, 70);
        }
        let own = (1..).find(|&n| member.view().owner(dropped(n)) == Some(MemberId(1))).unwrap();
        let before = View::new([MemberId(OTHER), MemberId(3)]).owner(dropped(own)).unwrap();
        proves(&mut member, own, false, 100);
        assert!(proofs(&mut member).into_iter().all(|(to, _)| to == before));
        member.unconfirmed_proofs()
    };
    assert_eq!([false, true].map(told), [0, 1]);
}

#[test]
fn members_that_join_are_told_earlier_proofs_some_at_a_time() {
    let mut member = member();
    member.set_members(vec![facts(1, 1)], 100);
    // The view of a moment ago counts no more.
    member.tick(64, 40_000);
    for n in 1..5 {
        proves(&mut member, n, false, 40_000);
    }
    assert!(proofs(&mut member).is_empty());
    member.set_members(vec![facts(1, 1), facts(3, 2)], 40_100);
    let mut told = Vec::new();
    for turn in 0..2 {
        assert!(!member.tick(64, 40_200 + turn));
        assert_eq!(member.unconfirmed_proofs(), 2);
        for (to, id) in proofs(&mut member) {
            told.push((to, id));
            member.receive(to, ConfigMark(2), Message::Ack { id }, 40_200);
        }
    }
    member.tick(64, 40_300);
    assert_eq!(told, [1, 2, 3, 4].map(|n| (MemberId(3), dropped(n))));
    assert_eq!((proofs(&mut member), member.out().counts.given_up_proofs), (vec![], 0));
}

#[test]
fn an_earlier_owner_that_forgot_who_holds_a_dropped_trace_tells_all_members_of_a_proof() {
    let mut member = member();
    member.set_members(vec![facts(1, 1), facts(OTHER, 1), facts(3, 1)], 50);
    let id = dropped(1);
    member.owned.remember_dropped(id, None);
    // It does not say that this member is the owner.
    let keep = FleetKeep { policy: NameMark::of("errors"), threshold: Threshold::ALWAYS, rescued: false };
    member.receive(MemberId(3), ConfigMark(1), Message::Proof { id, keep, relay: false }, 100);
    assert_eq!(proofs(&mut member), [(MemberId(OTHER), id)]);
}

#[test]
fn an_earlier_owner_that_finds_evidence_keeps_what_its_own_table_has_reported_elsewhere() {
    let mut member = member();
    let mut summary = Summary::of_generation(member.generation());
    summary.add(&SpanFact { bits: 1, error: true, ..fact() });
    let id = dropped(1);
    let message = Message::Summary { id, due_in_ms: 0, trigger: Trigger::DecisionWait, waits: true, summary };
    member.receive(MemberId(OTHER), ConfigMark(1), message, 100);
    let followed = member.out().verdicts.iter().map(|followed| (followed.id, followed.verdict));
    assert!(matches!(followed.collect::<Vec<_>>()[..], [(own, Verdict::Kept(_))] if own == id));
}
