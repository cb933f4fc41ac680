use super::*;

/// Returns the state after `blocks`, which is the same for pieces of any size: true if the table may have entries, and
/// the number of entries that were added.
fn after(blocks: &[&[u8]]) -> (bool, usize) {
    let known = |step: usize| {
        let mut fields = Fields::new();
        for block in blocks {
            fields.begin();
            block.chunks(step).for_each(|piece| fields.read(piece));
        }
        (fields.has_entries(), fields.added())
    };
    let whole = known(usize::MAX);
    for step in 1..10 {
        assert_eq!(known(step), whole, "in pieces of {step}");
    }
    whole
}

/// Examples of RFC 7541, appendix C, and ways to hide an entry from the parser.
#[test]
fn entries_are_found_after_any_representation() {
    const ENTRY: &[u8] = b"\x40\x0acustom-key\x0dcustom-header";
    let long_value = [&[0x00, 1, b'a', 0x7f, 0x81, 0x01][..], &[0x40; 256]].concat();
    let cases: [(&[u8], usize); 10] = [
        (ENTRY, 1),
        (b"\x04\x0c/sample/path", 0),
        (b"\x10\x08password\x06secret", 0),
        (b"\x82", 0),
        (b"\x82\x86\x84\x41\x0fwww.example.com", 1),
        (b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", 1),
        // Indices of two bytes and empty strings.
        (b"\xff\x40\x0f\x40\x00\x00\x00\x00\x7f\x01\x00", 1),
        (&long_value, 0),
        (b"\x40\x00\x00\x40\x00\x00", 2),
        (b"\x3f\x40\x82", 0),
    ];
    for (block, added) in cases {
        assert_eq!(after(&[block]), (added > 0, added), "{block:x?}");
        assert_eq!(after(&[block, ENTRY]).1, added + 1, "an entry in the block after {block:x?}");
        assert_eq!(after(&[&[block, ENTRY].concat()]).1, added + 1, "an entry in the same block after {block:x?}");
    }
}

#[test]
fn a_table_without_room_has_no_entries() {
    const ENTRY: &[u8] = b"\x40\x01a\x01b";
    assert_eq!(after(&[ENTRY, b"\x20\x82"]), (false, 1));
    assert_eq!(after(&[ENTRY, b"\x3e"]), (false, 1));
    assert_eq!(after(&[ENTRY, b"\x20\x3f\xe1\x1f", ENTRY]), (true, 2));
    assert_eq!(after(&[b"\x20", ENTRY, ENTRY]), (false, 0), "some encoders still offer entries");
    // A size change to the same size, and one at an invalid place.
    assert_eq!(after(&[ENTRY, b"\x3f\xe1\x1f\x82"]), (true, 1));
    assert_eq!(after(&[ENTRY, b"\x82\x20"]), (true, 1));
}
