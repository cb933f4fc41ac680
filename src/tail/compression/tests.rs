use super::*;
use crate::otlp::ByteRange;
use crate::otlp::scan::Scope;
use crate::tail::budget::Budget;
use crate::tail::request::{Fragment, HeldSpan};

const LIMIT_BYTES: usize = 8 << 20;
const BODY_BYTES: usize = 100_000;
const INDEX_BYTES: usize = 500;

/// Bytes as telemetry has them: strings that return, and ids that do not.
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
        let span = HeldSpan { span: ByteRange { offset: 0, len: plain.len() as u32 }, scope: 0 };
        let (spans, scopes) = (Box::from([span]), Box::from([Scope::default()]));
        let body = Bytes::from(plain.clone());
        let request = Request::held(body, spans, scopes, share, None, Some(Arc::clone(&compression)));
        Fixture { budget, compression, plain, fragment: Fragment::new(request, 0, 1) }
    }

    /// What the body takes of the budget.
    fn body_bytes(&self) -> usize {
        self.budget.used_bytes() - INDEX_BYTES
    }

    /// Reads the span, which must be as it came.
    fn read(&self) {
        let open = self.fragment.open();
        let spans: Vec<_> = open.spans().collect();
        assert!(spans.len() == 1 && spans[0].span == self.plain, "the bytes are as they came");
    }
}

#[test]
fn a_body_is_compressed_when_it_has_aged_and_comes_back_when_it_is_read() {
    let fixture = Fixture::new(text());
    assert!(!fixture.compression.compress_one(5_000), "it came now");
    assert!(!fixture.compression.compress_one(5_000 + AGE_MS - 1), "it is too young");
    assert_eq!(fixture.body_bytes(), BODY_BYTES);
    for now_ms in [5_000 + AGE_MS, 20_000] {
        assert!(fixture.compression.compress_one(now_ms));
        assert!(fixture.body_bytes() < BODY_BYTES / 3, "{} bytes", fixture.body_bytes());
        assert!(!fixture.compression.compress_one(now_ms + AGE_MS), "once");
        fixture.read();
        assert_eq!(fixture.body_bytes(), BODY_BYTES, "it is plain for those that are read next");
        fixture.read();
        assert!(!fixture.compression.compress_one(now_ms + AGE_MS), "it was read now");
    }
    let Fixture { budget, fragment, compression, .. } = fixture;
    drop(fragment);
    assert_eq!(budget.used_bytes(), 0);
    assert!(!compression.compress_one(1_000_000), "it is gone");
}

#[test]
fn a_body_that_is_read_under_pressure_takes_no_memory() {
    let fixture = Fixture::new(text());
    fixture.compression.compress_one(0);
    assert!(fixture.compression.compress_one(AGE_MS));
    let (compressed_bytes, room_bytes) = (fixture.body_bytes(), LIMIT_BYTES / 4);
    let others = fixture.budget.force(LIMIT_BYTES - room_bytes - fixture.budget.used_bytes());
    fixture.read();
    fixture.read();
    drop(others);
    assert_eq!(fixture.body_bytes(), compressed_bytes);
    fixture.read();
    assert_eq!(fixture.body_bytes(), BODY_BYTES, "there is room again");
}

#[test]
fn what_gains_nothing_stays_as_it_is() {
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
