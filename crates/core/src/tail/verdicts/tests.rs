use super::*;

const VALUES: Columns = Columns { values: true, facts: false };
const NONE: Columns = Columns { values: false, facts: false };
const ALL: Columns = Columns { values: true, facts: true };

fn found(value: u64) -> Found {
    Found { value, facts: 0 }
}

fn hashes(count: u64) -> impl Iterator<Item = u64> {
    (1..=count).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_mul(0xd6e8_feb8_6659_fd93))
}

#[test]
fn remembers_what_was_put_in() {
    let mut cache = VerdictCache::new(1_000, VALUES);
    for hash in hashes(500) {
        assert_eq!(cache.get(hash), None);
        cache.insert(hash, found(hash ^ 7));
    }
    let remembered = hashes(500).filter(|&hash| cache.get(hash) == Some(found(hash ^ 7))).count();
    assert_eq!(remembered, 500);
}

#[test]
fn remembers_nearly_all_of_its_capacity_and_forgets_the_oldest() {
    let mut cache = VerdictCache::new(10_000, NONE);
    hashes(100_000).for_each(|hash| _ = cache.insert(hash, found(0)));
    let newest = hashes(100_000).skip(92_500).filter(|&hash| cache.get(hash).is_some()).count();
    assert!(newest > 7_000, "{newest} of the newest 7,500");
    let oldest = hashes(50_000).filter(|&hash| cache.get(hash).is_some()).count();
    assert_eq!(oldest, 0, "ids from five capacities ago are forgotten");
}

#[test]
fn an_id_that_is_looked_up_is_not_forgotten() {
    let (long, others) = (u64::MAX / 3, 100_000);
    for mut cache in [VerdictCache::new(1_000, NONE), VerdictCache::new(1_000, VALUES)] {
        let value = if cache.columns.values { 77 } else { 0 };
        cache.insert(long, found(value));
        let mut forgotten = 0;
        for (n, hash) in hashes(others).enumerate() {
            forgotten += u64::from(cache.insert(hash, found(0)));
            if n % 100 == 0 {
                assert_eq!(cache.get(long), Some(found(value)), "after {n}");
            }
        }
        let remembered = hashes(others).filter(|&hash| cache.get(hash).is_some()).count() as u64 + 1;
        assert_eq!(forgotten, others + 1 - remembered, "each forgotten id was counted");
        hashes(others).for_each(|hash| _ = cache.insert(hash ^ 1, found(0)));
        assert_eq!(cache.get(long), None, "it was not looked up");
    }
}

#[test]
fn memory_is_as_documented() {
    let mut cache = VerdictCache::new(1_000_000, ALL);
    assert_eq!(cache.ids.capacity(), 0, "no memory before the first id");
    hashes(1_400_000).for_each(|hash| _ = cache.insert(hash, found(1)));
    let bytes = (cache.ids.capacity() + cache.values.capacity() + cache.facts.capacity()) * size_of::<u64>();
    assert_eq!(bytes, VerdictCache::bytes_max(1_000_000, ALL));
    // ARCHITECTURE.md: 8 B for a dropped id, 16 B for a kept one, 8 B more with the API, and a third more.
    assert!(bytes <= 1_000_000 * 33, "at most 33 bytes a kept id with facts, with the slack");
    assert!(VerdictCache::bytes_max(1_000_000, VALUES) <= 1_000_000 * 22, "at most 22 bytes a kept id");
    assert!(VerdictCache::bytes_max(1_000_000, NONE) <= 1_000_000 * 11, "at most 11 bytes a dropped id");
}

#[test]
fn facts_stay_with_their_id_and_can_be_amended() {
    let mut cache = VerdictCache::new(64, Columns { values: false, facts: true });
    let facts = |hash: u64| hash ^ 9;
    for hash in hashes(60) {
        cache.insert(hash, Found { value: 0, facts: facts(hash) });
    }
    let remembered: Vec<u64> = hashes(60).filter(|&hash| cache.peek(hash).is_some()).collect();
    assert!(remembered.len() > 40, "{}", remembered.len());
    for &hash in &remembered {
        assert_eq!(cache.get(hash), Some(Found { value: 0, facts: facts(hash) }));
        cache.amend_facts(hash, |facts| facts + 1);
    }
    for hash in remembered {
        assert_eq!(cache.peek(hash).map(|found| found.facts), Some(facts(hash) + 1));
    }
    cache.amend_facts(1, |_| panic!("an id that is not remembered has no facts"));
}

#[test]
fn a_hash_of_zero_is_an_id_like_any_other() {
    let mut cache = VerdictCache::new(8, NONE);
    assert_eq!(cache.get(0), None);
    cache.insert(0, found(0));
    assert_eq!(cache.get(0), Some(found(0)));
}

#[test]
fn peek_finds_an_id_and_does_not_make_it_stay_longer() {
    let mut asked = VerdictCache::new(64, VALUES);
    let mut left_alone = VerdictCache::new(64, VALUES);
    for hash in hashes(200) {
        asked.insert(hash, found(hash ^ 7));
        left_alone.insert(hash, found(hash ^ 7));
        hashes(200).for_each(|hash| _ = asked.peek(hash));
    }
    for hash in hashes(200) {
        let found = asked.peek(hash);
        assert_eq!((found, found), (left_alone.peek(hash), asked.get(hash)));
    }
}
