use super::*;

const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn frame(kind: u8, flags: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![0, (len >> 8) as u8, len as u8, kind, flags, 0, 0, 0, 1];
    frame.resize(FRAME_HEADER_BYTES + len, 0);
    frame
}

/// Returns the state after `bytes`, which is the same for pieces of any size: is HTTP/2, is in a head, bytes of the
/// block, number of blocks.
fn after(bytes: &[u8]) -> (bool, bool, usize, usize) {
    let known = |step: usize| {
        let mut frames = Frames::new();
        bytes.chunks(step).for_each(|piece| frames.read(piece));
        (frames.is_http2(), frames.is_in_head(), frames.block_bytes(), frames.counts().heads)
    };
    let whole = known(bytes.len().max(1));
    for step in [1, 2, 7, 9, 24] {
        assert_eq!(known(step), whole, "in pieces of {step}");
    }
    whole
}

#[test]
fn the_fields_of_a_frame_are_found_between_priority_and_padding() {
    const ENTRY: &[u8] = b"\x40\x01a\x01b";
    let table = |flags: u8, payload: &[u8], more: &[u8]| {
        let mut head = frame(HEADERS, flags, 0);
        head[2] = payload.len() as u8;
        let mut frames = Frames::new();
        let bytes = [HELLO, &head, payload, more].concat();
        bytes.chunks(3).for_each(|piece| frames.read(piece));
        frames.table.is_some()
    };
    assert!(table(END_HEADERS, ENTRY, b""));
    assert!(!table(END_HEADERS, &[&[0x82], &b"\0\x01a\x01\x40"[..]].concat(), b""));
    assert!(!table(END_HEADERS | PADDED, &[&[5], ENTRY].concat(), b""), "padding");
    assert!(table(END_HEADERS | PADDED | PRIORITY, &[&[2, 0, 0, 0, 0, 0], ENTRY, &[0, 0]].concat(), b""));
    assert!(!table(END_HEADERS | PRIORITY, ENTRY, b""), "the priority");
    let continued = [&[0, 0, 4, CONTINUATION, END_HEADERS, 0, 0, 0, 1], &ENTRY[1..]].concat();
    assert!(table(0, &ENTRY[..1], &continued));
}

#[test]
fn frames_may_arrive_in_any_pieces() {
    let after_hello = |more: Vec<u8>| after(&[HELLO, &more].concat());
    assert_eq!(after(b""), (true, true, 0, 0));
    assert_eq!(after(b"P"), (true, true, 0, 0));
    assert!(!after(b"POST / HTTP/1.1\r\n").0);
    assert!(!after(b"PRI * HTTP/1.0\r\n").0);
    assert_eq!(after(&HELLO[..24]), (true, true, 0, 0), "the first frame is still to come");
    assert_eq!(after(HELLO), (true, false, 0, 0));
    assert_eq!(after_hello(frame(HEADERS, END_HEADERS, 300)), (true, false, 0, 1));
    assert_eq!(after_hello(frame(HEADERS, END_HEADERS, 0)), (true, false, 0, 1));
    assert_eq!(after_hello(frame(HEADERS, 0, 300)), (true, true, 309, 1));
    assert_eq!(after_hello(frame(HEADERS, END_HEADERS, 300)[..200].to_vec()), (true, true, 309, 1));
    let continued = |flags| [frame(HEADERS, 0, 10), frame(CONTINUATION, 0, 5), frame(CONTINUATION, flags, 0)].concat();
    assert_eq!(after_hello(continued(0)), (true, true, 42, 1));
    assert_eq!(after_hello(continued(END_HEADERS)), (true, false, 0, 1));
    // The flag 1 is END_STREAM for DATA and ACK for SETTINGS. It does not end a head.
    assert_eq!(after_hello([frame(0, 1, 500), frame(4, 1, 0), frame(HEADERS, 5, 9)].concat()), (true, false, 0, 1));
}

#[test]
fn frames_are_counted_by_the_work_that_they_cause() {
    let all = [
        HELLO.to_vec(),
        frame(HEADERS, END_HEADERS, 10),
        frame(CONTINUATION, END_HEADERS, 0),
        frame(DATA, 0, DATA_BYTES_MIN),
        frame(DATA, 0, DATA_BYTES_MIN - 1),
        frame(SETTINGS, ACK, 0),
        frame(SETTINGS, 0, 6),
        // PRIORITY, RST_STREAM, PING, WINDOW_UPDATE, and a type that is not known.
        frame(2, 0, 5),
        frame(3, 0, 4),
        frame(6, ACK, 8),
        frame(8, 0, 4),
        frame(0xfe, 0, 0),
    ];
    let mut frames = Frames::new();
    frames.read(&all.concat());
    assert_eq!(frames.counts(), FrameCounts { heads: 1, settings: 2, chores: 7 });
    assert_eq!(frames.last_stream(), 1);
}
