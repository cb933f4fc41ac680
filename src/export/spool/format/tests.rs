use std::io::Cursor;

use proptest::prelude::*;

use super::*;

const FORM: Form = Form::CloudTrace;

fn header(project: &str, spans: &[u8]) -> RecordHeader {
    RecordHeader {
        done: false,
        body_len: spans.len() as u32,
        body_checksum: crc32fast::hash(spans),
        span_count: 3,
        since_unix_ms: 1_700_000_000_123,
        project: project.to_owned(),
    }
}

/// Returns a segment with these records.
fn segment(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut segment = segment_header(FORM);
    for (project, spans) in records {
        segment.extend(header(project, spans).encode().unwrap());
        segment.extend_from_slice(spans);
    }
    segment
}

type Found = (Vec<(u64, RecordHeader)>, Option<SegmentError>);

/// Returns the records of `bytes`, and the fault at which reading ended.
fn read(bytes: &[u8]) -> Result<Found, NoSegment> {
    let mut records = SpoolRecords::open(Cursor::new(bytes), bytes.len() as u64, FORM as u8).unwrap()?;
    let mut found = Vec::new();
    loop {
        let offset = records.offset();
        let Some(record) = records.next_record().unwrap() else { break };
        match record {
            Ok(header) => found.push((offset, header)),
            Err(fault) => return Ok((found, Some(fault))),
        }
    }
    Ok((found, None))
}

const RECORDS: [(&str, &[u8]); 3] = [("one", b"spans of one"), ("a-longer-project", b"x"), ("", &[0; 300])];

#[test]
fn what_is_written_is_read() {
    let bytes = segment(&RECORDS);
    let (found, fault) = read(&bytes).unwrap();
    assert_eq!(fault, None);
    assert_eq!(found.len(), RECORDS.len());
    for ((offset, found), (project, spans)) in found.iter().zip(RECORDS) {
        assert_eq!(*found, header(project, spans));
        assert!(bytes[(offset + found.header_len()) as usize..].starts_with(spans));
    }
}

#[test]
fn the_bytes_are_those_of_earlier_versions() {
    let expected = b"SPANSPOL\x01\0\x01\0\xfb\x61\x70\x15\
        \0\x20\x4c\x2a\x6d\x05\0\0\0\x26\x0a\x08\x68\x03\0\0\0\x7b\x68\xe5\xcf\x8b\x01\0\0\x03\0onespans";
    assert_eq!(segment(&[("one", b"spans")]), expected);
    assert_eq!(read(expected), Ok((vec![(SEGMENT_HEADER_LEN as u64, header("one", b"spans"))], None)));
}

#[test]
fn the_state_can_be_set_in_place() {
    let mut bytes = segment(&RECORDS);
    let offset = read(&bytes).unwrap().0[1].0 as usize;
    bytes[offset] = DONE;
    let (found, _) = read(&bytes).unwrap();
    assert_eq!(found.iter().map(|(_, header)| header.done).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(header("p", b"x").encode().unwrap()[0], WAITING);
    assert_eq!(RecordHeader { done: true, ..header("p", b"x") }.encode().unwrap()[0], DONE);
}

#[test]
fn a_segment_may_end_at_any_byte() {
    let bytes = segment(&RECORDS);
    let (whole, _) = read(&bytes).unwrap();
    for len in 0..=bytes.len() {
        if len < SEGMENT_HEADER_LEN {
            assert_eq!(read(&bytes[..len]), Err(NoSegment::Short));
            continue;
        }
        let ends =
            whole.iter().map(|(offset, header)| (offset + header.header_len()) as usize + header.body_len as usize);
        let ends = std::iter::once(SEGMENT_HEADER_LEN).chain(ends).collect::<Vec<_>>();
        let count = ends.iter().filter(|&&end| end <= len).count() - 1;
        let (found, fault) = read(&bytes[..len]).unwrap();
        assert_eq!(found, whole[..count]);
        assert_eq!(fault, (!ends.contains(&len)).then_some(SegmentError::Torn), "at {len}");
    }
}

#[test]
fn other_files_are_told_apart() {
    let good = segment(&RECORDS);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        // The header is valid except for that byte.
        let checksum = crc32fast::hash(&bytes[..12]);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    };
    let cases = [
        (with(0, b'x'), NoSegment::Foreign),
        (with(8, 2), NoSegment::Version { found: 2, known: 1 }),
        (with(10, 9), NoSegment::Form(9, FORM as u8)),
        ([&good[..12], &[0; 20]].concat(), NoSegment::Foreign),
        (b"something else entirely".to_vec(), NoSegment::Foreign),
        (Vec::new(), NoSegment::Short),
    ];
    for (bytes, expected) in cases {
        assert_eq!(read(&bytes), Err(expected));
    }
}

#[test]
fn a_project_that_is_too_long_is_refused() {
    assert!(header(&"p".repeat(65_535), b"x").encode().is_ok());
    assert!(header(&"p".repeat(65_536), b"x").encode().is_err());
}

proptest! {
    #[test]
    fn a_flipped_bit_never_makes_another_record(at in 0..segment(&RECORDS).len(), bit in 0..8u8) {
        let good = segment(&RECORDS);
        let mut bytes = good.clone();
        bytes[at] ^= 1 << bit;
        let Ok((found, fault)) = read(&bytes) else {
            prop_assert!(at < SEGMENT_HEADER_LEN);
            return Ok(());
        };
        let (whole, _) = read(&good).unwrap();
        // All records before the damaged one are unchanged. Reading ends there, unless the damage is in the body or in
        // the state byte, which the header's checksum does not cover.
        prop_assert_eq!(&found[..], &whole[..found.len()]);
        prop_assert_eq!(fault.is_some(), found.len() < whole.len());
        for (offset, header) in &found {
            let from = (offset + header.header_len()) as usize;
            let spans = &bytes[from..from + header.body_len as usize];
            let hit = (from..from + spans.len()).contains(&at);
            prop_assert_eq!(crc32fast::hash(spans) == header.body_checksum, !hit);
        }
    }
}
