//! Any bytes as a segment of the journal: no panic, no endless loop, and no record that is not in the segment. A record
//! that was read is written again as the same bytes.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use spansieve::journal::format::{
    FORM, JournalRecords, PolicyMarks, RECORD_HEADER_LEN, RecordKind, put_note, put_record, segment_header, take_note,
};

fuzz_target!(|input: &[u8]| {
    check(input);
    // Most inputs have no valid header and no valid checksum, so the same bytes are also tried as records and as notes.
    check(&[&segment_header(), input].concat());
    let mut segment = segment_header();
    put_record(&mut segment, RecordKind::Notes, 0, 0, input);
    check(&segment);
    check_notes(input);
});

fn check(bytes: &[u8]) {
    let Ok(mut records) = JournalRecords::open(Cursor::new(bytes), bytes.len() as u64, FORM).expect("memory") else {
        return;
    };
    let mut end = bytes.len() - records.rest() as usize;
    while let Some(Ok(header)) = records.next_record().expect("memory") {
        let start = std::mem::replace(&mut end, bytes.len() - records.rest() as usize);
        assert_eq!(end, start + RECORD_HEADER_LEN + header.body_len as usize);
        if let Some(body) = records.body(&header).expect("memory") {
            let mut again = Vec::new();
            put_record(&mut again, header.kind, header.sequence, header.unix_nano, &body);
            assert_eq!(again, bytes[start..end]);
        }
    }
}

fn check_notes(bytes: &[u8]) {
    let policies = PolicyMarks::new(["errors".to_owned()].into());
    let mut rest = bytes;
    while let Some(note) = take_note(&mut rest, &policies) {
        let mut written = Vec::new();
        put_note(&mut written, note, &policies);
        // The note may lose unknown policies and invalid bits. The written note is equal to the one that was read.
        assert_eq!(take_note(&mut &written[..], &policies), Some(note));
    }
}
