use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

proptest! {
    /// After any sequence of insertions, removals and shrinking, each slot holds the value that was put there, and no
    /// two values share a slot.
    #[test]
    fn a_slot_holds_what_was_put_there(steps in proptest::collection::vec((0..4u8, any::<u32>()), 1..2000)) {
        let mut slots = Slots::default();
        let mut model: HashMap<SlotNumber, u32> = HashMap::new();
        for (step, value) in steps {
            let known = model.keys().copied().max();
            match (step, known) {
                (0 | 1, _) => {
                    let slot = slots.insert(value);
                    prop_assert_eq!(model.insert(slot, value), None, "slot {} was taken", slot);
                }
                (2, Some(max)) => {
                    let slot = value % (max + 1);
                    prop_assert_eq!(slots.remove(slot), model.remove(&slot));
                }
                _ => slots.shrink(),
            }
            prop_assert_eq!(slots.len, model.len());
        }
        for (&slot, value) in &model {
            prop_assert_eq!(slots.get(slot), Some(value));
            prop_assert_eq!(slots.get_mut(slot).copied(), Some(*value));
        }
    }
}

#[test]
fn a_burst_gives_its_memory_back() {
    let mut slots = Slots::default();
    let burst: Vec<SlotNumber> = (0..10_000).map(|n| slots.insert(n)).collect();
    burst.iter().skip(10).for_each(|&slot| assert!(slots.remove(slot).is_some()));
    slots.shrink();
    let chunks_held = slots.chunks.iter().filter(|chunk| !chunk.values.is_empty()).count();
    assert_eq!(chunks_held, 1);
    assert_eq!(slots.remove(burst[0]), Some(0));
    assert_eq!(slots.get(burst[9_999]), None);
    let again: std::collections::HashSet<SlotNumber> = (0..10_000).map(|n| slots.insert(n)).collect();
    assert_eq!(again.len(), 10_000);
    assert_eq!(slots.chunks.len(), 10_000_usize.div_ceil(CHUNK_LEN));
}
