use super::*;

#[test]
fn an_entry_goes_although_its_slot_has_another_trace_by_then() {
    // Both are looked for in the same place, with the same mark.
    let (gone, next) = (0x100, 0x1_0100);
    for order in [[gone, next], [next, gone]] {
        let mut index = TraceIndex::default();
        order.into_iter().for_each(|hash| index.insert(hash, 5));
        index.remove(gone, 5);
        assert_eq!([gone, next].map(|hash| index.find(hash, |_| true)), [None, Some(5)]);
    }
}
