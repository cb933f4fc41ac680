//! Any bytes as a batch of messages between members of a fleet: no panic, and no message that is written otherwise than it
//! was read. The messages then go to a member, which remembers no more than it may.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use spansieve::config;
use spansieve_core::fleet::message::Header;
use spansieve_core::fleet::{Member, MemberFacts, MemberId, MemberSettings, MemberWaits};
use spansieve_core::sampling::{ConfigMark, Policies};

const POLICIES: &str = "
tail_sampling:
  policies:
    - {name: errors, type: error}
    - {name: slow, type: latency, latency: {threshold_ms: 1000}}
    - {name: rare, type: rare, rare: {key: [service, route], max_keys: 10}}
    - {name: few, type: bytes_limiting, bytes_limiting: {bytes_per_second: 1000}}
    - {name: ratio, type: probabilistic, probabilistic: {sampling_percentage: 10}}
";
const TRACES_MAX: usize = 16;
const OWN: MemberId = MemberId(1);

static COMPILED: LazyLock<Arc<Policies>> = LazyLock::new(|| {
    let loaded = config::load(POLICIES, &|_| None).unwrap_or_else(|error| panic!("{error}"));
    let tail_sampling = loaded.settings.tail_sampling;
    Arc::new(Policies::compile_set(tail_sampling.policy_set(), None).unwrap_or_else(|error| panic!("{error}")))
});

fuzz_target!(|input: &[u8]| {
    check(input);
    let mut whole = Vec::new();
    Header { sender: MemberId(2), config: ConfigMark(1), sent_unix_ms: 0 }.put(&mut whole);
    whole.extend_from_slice(input);
    check(&whole);
});

fn check(batch: &[u8]) {
    let Ok((header, messages)) = Header::read(batch, COMPILED.generation()) else { return };
    let mut member = member();
    let mut now_ms = 0;
    for message in messages.flatten() {
        let mut written = Vec::new();
        header.put(&mut written);
        message.put(&mut written);
        let mut again = Header::read(&written, COMPILED.generation()).unwrap_or_else(|error| panic!("{error}")).1;
        assert_eq!(again.next(), Some(Ok(message.clone())));
        now_ms += 400;
        member.receive(header.sender, header.config, message, now_ms);
        while member.tick(8, now_ms) {}
        assert!(member.owned_traces() <= TRACES_MAX && member.unconfirmed_proofs() <= TRACES_MAX);
    }
    // Longer than any wait that a summary may say; then the rescue windows of what is dropped.
    for later_ms in [200_000_000, 200_010_000] {
        while member.tick(8, now_ms + later_ms) {}
    }
    assert_eq!(member.owned_traces(), 0, "nothing waits for ever");
}

fn member() -> Member {
    let settings = MemberSettings {
        grace_ms: 500,
        repeat_ms: 1_000,
        report_ms: 1_000,
        waits: MemberWaits { rescue_ms: Some(5_000), retain_ms: 10_000, trace_wait_ms_max: 13_000 },
        traces_max: TRACES_MAX,
        trace_bytes_max: TRACES_MAX * 640,
        proofs_max: TRACES_MAX,
        kept_ids: 64,
        dropped_ids: 64,
    };
    let mut member = Member::new(OWN, ConfigMark(1), Arc::clone(&COMPILED), settings, 1);
    let facts = |id, config| MemberFacts { id: MemberId(id), config: ConfigMark(config) };
    member.set_members(vec![facts(1, 1), facts(2, 1), facts(3, 2)], 0);
    member.set_up(true, 0);
    member
}
