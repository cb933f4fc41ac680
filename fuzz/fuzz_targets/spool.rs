//! Any bytes as a segment of the spool: no panic, no endless loop, and no record that is not in the segment. A header
//! that was read is written again as the same bytes.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use spansieve::export::batch::Form;
use spansieve::export::spool::format::{SEGMENT_HEADER_LEN, SpoolRecords, segment_header};

fuzz_target!(|input: &[u8]| {
    check(input);
    // Most inputs have no valid segment header, so the same bytes are also tried as records.
    check(&[&segment_header(Form::CloudTrace), input].concat());
});

fn check(bytes: &[u8]) {
    let len = bytes.len() as u64;
    let Ok(mut records) = SpoolRecords::open(Cursor::new(bytes), len, Form::CloudTrace as u8).expect("memory") else {
        return;
    };
    let mut end = SEGMENT_HEADER_LEN as u64;
    while let Some(Ok(header)) = records.next_record().expect("memory") {
        let offset = end;
        let encoded = header.encode().expect("a project that was read");
        // The first byte is the state. All its values but one have the same meaning, so it may differ.
        assert_eq!(encoded[1..], bytes[offset as usize + 1..][..encoded.len() - 1]);
        end = offset + header.header_len() + u64::from(header.body_len);
        assert!(header.span_count > 0 && end > offset && end <= len);
        assert_eq!((records.offset(), records.rest()), (end, len - end));
    }
}
