use super::*;
use crate::budget::Budget;
use crate::otlp::ByteRange;
use crate::otlp::scan::Scope;
use crate::tail::request::{Fragment, HeldScopes, HeldSpan};

const LIMIT_BYTES: usize = 8 << 20;
const BODY_BYTES: usize = 100_000;
const INDEX_BYTES: usize = 500;

/// Returns bytes that resemble telemetry: strings that repeat, and ids that do not.
fn text() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut body = Vec::new();
    while body.len() < BODY_BYTES {
        body.extend_from_slice(b"http.request.method GET url.path /cart/items server.address 10.0.0.1 ");
        body.extend(random.u64(..).to_le_bytes());
    }
    body.truncate(BODY_BYTES);
    body
}

struct Fixture {
    budget: Budget,
    compression: Arc<Compression>,
    plain: Vec<u8>,
    fragment: Fragment,
}

impl Fixture {
    fn new(plain: Vec<u8>) -> Self {
        let budget = Budget::new(LIMIT_BYTES);
        let share = budget.force(plain.len() + INDEX_BYTES);
        let compression: Arc<Compression> = Arc::default();
        let span = HeldSpan::new(ByteRange { offset: 0, len: plain.len() as u32 }, 0);
        let (spans, scopes) = (Box::from([span]), Box::from([Scope::default()]));
        let body = Bytes::from(plain.clone());
        let request = Request::held(
            body,
            spans,
            HeldScopes { scopes, ..HeldScopes::default() },
            share,
            None,
            Some(Arc::clone(&compression)),
        );
        Fixture { budget, compression, plain, fragment: Fragment::new(request, 0, 1) }
    }

    /// Returns the bytes of the budget that the body takes.
    fn body_bytes(&self) -> usize {
        self.budget.used_bytes() - INDEX_BYTES
    }

    /// Reads the span, and checks that its bytes are unchanged.
    fn read(&self) {
        let open = self.fragment.open();
        let spans: Vec<_> = open.spans().collect();
        assert!(spans.len() == 1 && spans[0].span == self.plain, "the bytes are as they came");
    }
}

#[test]
fn a_body_is_compressed_when_it_has_aged_and_comes_back_when_it_is_read() {
    let fixture = Fixture::new(text());
    assert!(!fixture.compression.compress_one(5_000), "the body has just come");
    assert!(!fixture.compression.compress_one(5_000 + AGE_MS - 1), "the body is too young");
    assert_eq!(fixture.body_bytes(), BODY_BYTES);
    for now_ms in [5_000 + AGE_MS, 20_000] {
        assert!(fixture.compression.compress_one(now_ms));
        assert!(fixture.body_bytes() < BODY_BYTES / 3, "{} bytes", fixture.body_bytes());
        assert!(!fixture.compression.compress_one(now_ms + AGE_MS), "it is compressed only once");
        fixture.read();
        assert_eq!(fixture.body_bytes(), BODY_BYTES, "it stays plain for the next reads");
        fixture.read();
        assert!(!fixture.compression.compress_one(now_ms + AGE_MS), "it was read just now");
    }
    let Fixture { budget, fragment, compression, .. } = fixture;
    drop(fragment);
    assert_eq!(budget.used_bytes(), 0);
    assert!(!compression.compress_one(1_000_000), "the request is gone");
}

#[test]
fn a_body_that_is_read_under_pressure_takes_no_memory() {
    let fixture = Fixture::new(text());
    fixture.compression.compress_one(0);
    assert!(fixture.compression.compress_one(AGE_MS));
    let (compressed_bytes, room_bytes) = (fixture.body_bytes(), LIMIT_BYTES / 4);
    let others = fixture.budget.force(LIMIT_BYTES - room_bytes - fixture.budget.used_bytes());
    fixture.read();
    drop(fixture.fragment.peek());
    fixture.read();
    drop(others);
    assert_eq!(fixture.body_bytes(), compressed_bytes);
    fixture.read();
    assert_eq!(fixture.body_bytes(), BODY_BYTES, "there is room again");
}

#[test]
fn a_body_that_would_gain_nothing_stays_plain() {
    let mut random = fastrand::Rng::with_seed(3);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(BODY_BYTES).collect();
    for (what, plain) in
        [("noise", noise), ("small", vec![0; BODY_BYTES_MIN - 1]), ("large", vec![0; BODY_BYTES_MAX + 1])]
    {
        let fixture = Fixture::new(plain);
        fixture.compression.compress_one(0);
        fixture.compression.compress_one(AGE_MS);
        assert_eq!(fixture.body_bytes(), fixture.plain.len(), "{what}");
        fixture.read();
    }
}

/// Returns 900 fragments of one compressed request. Each has one span of 100 bytes; all share a resource of
/// `resource_bytes` bytes.
fn excerpts(budget: &Budget, compression: &Arc<Compression>, resource_bytes: u32) -> Vec<Fragment> {
    let plain = Bytes::from(text());
    let spans = (0..900).map(|n| HeldSpan::new(ByteRange { offset: resource_bytes + n * 100, len: 100 }, 0));
    let resource = ByteRange { offset: 0, len: resource_bytes };
    let scopes = Box::from([Scope { resource, ..Scope::default() }]);
    let share = budget.force(plain.len() + INDEX_BYTES);
    let request = Request::held(
        plain,
        spans.collect(),
        HeldScopes { scopes, ..HeldScopes::default() },
        share,
        None,
        Some(Arc::clone(compression)),
    );
    compression.compress_one(0);
    compression.compress_one(AGE_MS);
    (0..900).map(|n| Fragment::new(Arc::clone(&request), n, 1)).collect()
}

#[test]
fn a_fragment_unpacks_only_its_own_blocks_and_is_charged_for_its_excerpt() {
    let (budget, compression) = (Budget::new(LIMIT_BYTES), Arc::default());
    let fragments = excerpts(&budget, &compression, 50);
    let packed_bytes = budget.used_bytes();
    assert!(packed_bytes < BODY_BYTES / 2, "{packed_bytes}");
    let _ = visited::take();
    let open: Vec<_> = fragments.iter().map(Fragment::peek).collect();
    let unpacked_bytes = visited::take();
    assert!(unpacked_bytes <= 900 * 3 * BLOCK_BYTES as u64, "{unpacked_bytes}");
    for (n, open) in open.iter().enumerate() {
        let span = open.spans().next().unwrap();
        let start = 50 + n * 100;
        assert_eq!((span.resource, span.span), (&text()[..50], &text()[start..start + 100]));
    }
    let booked_bytes = budget.used_bytes() - packed_bytes;
    assert!((900 * 150..900 * 400).contains(&booked_bytes), "{booked_bytes}");
    drop(open);
    assert_eq!(budget.used_bytes(), packed_bytes);
}

#[test]
fn a_body_with_a_large_resource_stays_plain() {
    let (budget, compression) = (Budget::new(LIMIT_BYTES), Arc::default());
    for (resource_bytes, is_packed) in [(SHARED_BYTES_MAX as u32, true), (SHARED_BYTES_MAX as u32 + 1, false)] {
        let fragments = excerpts(&budget, &compression, resource_bytes);
        assert_eq!(budget.used_bytes() < BODY_BYTES, is_packed, "{resource_bytes}");
        drop(fragments);
    }
}
