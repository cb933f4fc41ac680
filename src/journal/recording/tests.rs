use std::io::Cursor;

use super::super::format::{RecordKind, put_record, segment_header};
use super::*;

#[test]
fn a_remark_says_only_what_there_is_to_say() {
    assert_eq!(Remark::default().encode(), b"{}");
    assert!(Remark::decode(b"{}").is_empty() && Remark::decode(b"not JSON").is_empty());
    let remark = Remark { requests_left_out: 3, hashed: vec!["enduser.id".to_owned()], ..Remark::default() };
    assert_eq!(remark.encode(), br#"{"requests_left_out":3,"hashed":["enduser.id"]}"#);
    assert_eq!(Remark::decode(br#"{"requests_left_out":3,"hashed":["enduser.id"],"later":1}"#), remark);
    let mut all = Remarks::default();
    (0..20).for_each(|_| all.add(remark.clone()));
    assert_eq!((all.requests_left_out, all.hashed.len()), (60, 1));
    (0..2_000).for_each(|n| all.add(Remark { redacted: vec![n.to_string()], ..Remark::default() }));
    assert_eq!(all.redacted.len(), 1_000, "the number of keys is bounded");
    let long = |bytes: usize| Remark { hashed: vec!["k".repeat(bytes)], ..Remark::default() };
    [1_024, 1_025].map(long).into_iter().for_each(|remark| all.add(remark));
    assert_eq!(all.hashed.iter().map(String::len).max(), Some(1_024), "and so is their length");
}

#[test]
fn a_remark_that_is_too_large_is_damage_and_what_follows_is_read() {
    let mut segment = segment_header();
    let remark = |bytes: usize| Remark { redacted: vec!["k".repeat(bytes)], ..Remark::default() }.encode();
    let mut last = 0;
    for bytes in [1_000, REMARK_BYTES_MAX as usize] {
        last = segment.len();
        put_record(&mut segment, RecordKind::Remark, 0, 0, &remark(bytes));
    }
    put_record(&mut segment, RecordKind::Request, 1, 7, b"a request");
    let mut records = StreamRecords::open(Cursor::new(&segment[..])).unwrap().unwrap();
    assert!(matches!(records.next_record().unwrap(), Some(Ok(StreamRecord::Remark(remark))) if !remark.is_empty()));
    assert_eq!(records.next_record().unwrap(), Some(Ok(StreamRecord::Damaged)));
    assert!(matches!(records.next_record().unwrap(), Some(Ok(StreamRecord::Request(_)))));
    assert_eq!((records.next_record().unwrap(), records.offset()), (None, segment.len() as u64));

    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("journal-00000000000000000001.segment"), &segment).unwrap();
    let mut recording = Recording::open(directory.path()).unwrap();
    assert_eq!(recording.by_ref().map(|request| request.unwrap().unix_nano).collect::<Vec<_>>(), [7]);
    let [fault] = recording.faults() else { panic!("{:?}", recording.faults()) };
    assert!(
        fault.text.contains(&format!(".segment: the record at byte {last} does not match its checksum")),
        "{fault}"
    );
    assert_eq!(fault.help, DAMAGED_HELP);
    assert_eq!(recording.remarks().redacted.len(), 1);
}

#[test]
fn a_length_that_is_not_there_takes_no_memory() {
    let mut segment = segment_header();
    put_record(&mut segment, RecordKind::Request, 1, 7, b"a request");
    let end = segment.len() as u64;
    // A header that is sound, and announces the largest body.
    crate::segment::record::put_header(&mut segment, &[], |out| {
        out.push(1);
        out.extend_from_slice(&BODY_BYTES_MAX.to_le_bytes());
        out.extend_from_slice(&[0; 20]);
    });
    let mut records = StreamRecords::open(Cursor::new(segment)).unwrap().unwrap();
    let Some(Ok(StreamRecord::Request(first))) = records.next_record().unwrap() else { panic!("a request") };
    assert_eq!((first.unix_nano, &first.body[..]), (7, &b"a request"[..]));
    assert_eq!(records.next_record().unwrap(), Some(Err(SegmentError::Torn)));
    assert_eq!(records.offset(), end);
}
