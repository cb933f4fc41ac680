use std::io::Cursor;

use proptest::prelude::*;

use super::*;

/// The kind, sequence number and body of a record.
type Record = (RecordKind, Sequence, Vec<u8>);

/// Returns a segment of these records, and the end of each record.
fn segment(records: &[Record]) -> (Vec<u8>, Vec<usize>) {
    let mut out = segment_header();
    let ends = records.iter().map(|(kind, sequence, body)| {
        put_record(&mut out, *kind, *sequence, 7, body);
        out.len()
    });
    let ends = ends.collect();
    (out, ends)
}

/// Returns the sound records, the number of records with damaged bodies, and the fault that ended the reading early.
fn read(bytes: &[u8]) -> Result<(Vec<Record>, usize, Option<SegmentError>), NoSegment> {
    let mut records = JournalRecords::open(Cursor::new(bytes), bytes.len() as u64, FORM).unwrap()?;
    let (mut found, mut bad) = (Vec::new(), 0);
    while let Some(record) = records.next_record().unwrap() {
        let header = match record {
            Ok(header) => header,
            Err(fault) => return Ok((found, bad, Some(fault))),
        };
        match records.body(&header).unwrap() {
            Some(body) => found.push((header.kind, header.sequence, body)),
            None => bad += 1,
        }
    }
    Ok((found, bad, None))
}

fn records() -> Vec<Record> {
    vec![
        (RecordKind::Request, 1, b"a request".to_vec()),
        (RecordKind::Notes, 0, vec![3, 1, 0, 0, 0, 0, 0, 0, 0]),
        (RecordKind::Request, 2, Vec::new()),
        (RecordKind::Request, u64::MAX, vec![9; 20_000]),
    ]
}

#[test]
fn records_are_read_as_they_were_written() {
    let (bytes, _) = segment(&records());
    assert_eq!(read(&bytes), Ok((records(), 0, None)));
}

#[test]
fn the_bytes_are_those_of_earlier_versions() {
    let expected = b"SPANJRNL\x01\0\0\0\x36\xb8\x5c\x33\
        \x2f\xa7\x78\xce\x01\x07\0\0\0\x9f\x8f\x97\x3b\x05\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0request";
    let records = [(RecordKind::Request, 5, b"request".to_vec())];
    assert_eq!(segment(&records).0, expected);
    assert_eq!(read(expected), Ok((records.to_vec(), 0, None)));
}

#[test]
fn headers_can_be_read_without_their_bodies() {
    let (bytes, _) = segment(&records());
    let mut found = JournalRecords::open(Cursor::new(&bytes), bytes.len() as u64, FORM).unwrap().unwrap();
    for (i, (kind, sequence, body)) in records().into_iter().enumerate() {
        let header = found.next_record().unwrap().unwrap().unwrap();
        assert_eq!(
            (header.kind, header.sequence, header.body_len as usize, header.unix_nano),
            (kind, sequence, body.len(), 7)
        );
        if i % 2 == 0 {
            assert_eq!(found.body(&header).unwrap(), Some(body));
        }
    }
    assert!(found.next_record().unwrap().is_none());
    assert_eq!(found.rest(), 0);
}

#[test]
fn a_cut_segment_still_has_every_complete_record() {
    let (bytes, ends) = segment(&records());
    for len in 0..=bytes.len() {
        let whole = ends.iter().filter(|&&end| end <= len).count();
        let torn = !ends.contains(&len) && len != SEGMENT_HEADER_LEN;
        let expected = match len {
            ..SEGMENT_HEADER_LEN => Err(NoSegment::Short),
            _ => Ok((records()[..whole].to_vec(), 0, torn.then_some(SegmentError::Torn))),
        };
        assert_eq!(read(&bytes[..len]), expected, "{len} bytes");
    }
}

#[test]
fn a_damaged_byte_loses_its_record_or_ends_the_segment() {
    let (bytes, ends) = segment(&records()[..3]);
    for at in SEGMENT_HEADER_LEN..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x20;
        let hit = ends.iter().filter(|&&end| end <= at).count();
        let start = if hit == 0 { SEGMENT_HEADER_LEN } else { ends[hit - 1] };
        let (found, bad, fault) = read(&bytes).unwrap();
        assert_eq!(found[..hit], records()[..hit], "at {at}");
        if at < start + RECORD_HEADER_LEN {
            assert_eq!((found.len(), bad), (hit, 0), "at {at}");
            assert!(fault.is_some(), "at {at}");
        } else {
            assert_eq!((found.len(), bad, fault), (2, 1, None), "at {at}");
        }
    }
}

#[test]
fn a_file_of_another_kind_or_version_is_not_a_segment() {
    let header = segment_header();
    let changed = |at: usize, byte| {
        let mut header = header.clone();
        header[at] = byte;
        read(&header)
    };
    assert_eq!(changed(0, b'T'), Err(NoSegment::Foreign));
    assert_eq!(changed(8, 2), Err(NoSegment::Version { found: 2, known: 1 }));
    assert_eq!(changed(12, !header[12]), Err(NoSegment::Foreign));
    assert_eq!(read(b""), Err(NoSegment::Short));
}

fn policies(names: &[&str]) -> PolicyMarks {
    PolicyMarks::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().as_slice().into())
}

fn notes(bytes: &[u8], policies: &PolicyMarks) -> Vec<Note> {
    let mut rest = bytes;
    std::iter::from_fn(|| take_note(&mut rest, policies)).collect()
}

#[test]
fn notes_are_read_as_written_and_find_their_policies_by_name() {
    let (before, after) = (policies(&["errors", "slow", "gone"]), policies(&["slow", "new", "errors"]));
    let kept = |policy, bits| {
        let keep = Keep::new(policy, Threshold::from_bits(bits));
        Note::Kept(5, TraceId([7; 16]), Keep { rescued: bits % 2 == 1, ..keep })
    };
    let others = [Note::Settled(u64::MAX, TraceId([1; 16])), Note::Released(3)];
    let written = [kept(0, 0), others[0], kept(1, 0xff_0000_0000_0001), others[1], kept(2, 3)];
    let mut bytes = Vec::new();
    written.iter().for_each(|&note| put_note(&mut bytes, note, &before));
    assert_eq!(notes(&bytes, &before), written);
    let expected = [kept(2, 0), others[0], kept(0, 0xff_0000_0000_0001), others[1], kept(u16::MAX, 3)];
    assert_eq!(notes(&bytes, &after), expected, "policies are found by name after their indexes have changed");
}

proptest! {
    #[test]
    fn reading_ends_for_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let policies = policies(&["errors"]);
        prop_assert!(notes(&bytes, &policies).len() <= bytes.len() / 9);
        let (mut segment, _) = segment(&[]);
        segment.extend(bytes);
        let (found, bad, fault) = read(&segment).unwrap();
        prop_assert!(found.is_empty() && bad == 0 && (fault.is_some() || segment.len() == SEGMENT_HEADER_LEN));
    }
}
