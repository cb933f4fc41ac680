use std::hash::Hasher;
use std::io::Write;

use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use proptest::prelude::*;
use zstd::zstd_safe::CParameter;

use super::*;

const CAP: usize = 1 << 20;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Compresses without a content size in the frame, as streaming senders do.
fn zstd_stream(plain: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd_block(plain: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(plain, 3).unwrap()
}

fn zstd_window(plain: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::raw::Encoder::new(3).unwrap();
    encoder.set_parameter(CParameter::WindowLog(window_log)).unwrap();
    let mut writer = zstd::stream::zio::Writer::new(Vec::new(), encoder);
    writer.write_all(plain).unwrap();
    writer.finish().unwrap();
    writer.into_inner().0
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn snappy_block(plain: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(plain).unwrap()
}

fn snappy_stream(plain: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(plain).unwrap();
    // The encoder writes nothing for an empty input, not even the head of the stream.
    let stream = encoder.into_inner().unwrap();
    if stream.is_empty() { b"\xff\x06\x00\x00sNaPpY".to_vec() } else { stream }
}

/// Compresses as the Collector does: independent blocks of 4 MiB, and a checksum of the content.
fn lz4_frame(plain: &[u8]) -> Vec<u8> {
    lz4(FrameInfo::new().block_size(BlockSize::Max4MB).content_checksum(true), plain)
}

/// Compresses into blocks that refer to earlier ones, each with a checksum, in a frame that states its size.
fn lz4_linked(plain: &[u8]) -> Vec<u8> {
    let info = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Linked)
        .block_checksums(true)
        .content_size(Some(plain.len() as u64));
    lz4(info, plain)
}

fn lz4(info: FrameInfo, plain: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Returns text that shrinks about as well as telemetry does.
fn text(len: usize) -> Vec<u8> {
    let words: [&[u8]; 4] = [b"http.route", b"/api/orders/17", b"service.name", b"checkout"];
    words.iter().cycle().copied().flatten().copied().take(len).collect()
}

fn all_codings(plain: &[u8]) -> Vec<(Coding, Vec<u8>)> {
    vec![
        (Coding::Gzip, gzip(plain)),
        (Coding::Zstd, zstd_stream(plain)),
        (Coding::Zstd, zstd_block(plain)),
        (Coding::Zstd, zstd_window(plain, ZSTD_WINDOW_LOG_MAX)),
        (Coding::Deflate, zlib(plain)),
        (Coding::Snappy, snappy_block(plain)),
        (Coding::Snappy, snappy_stream(plain)),
        (Coding::SnappyFramed, snappy_stream(plain)),
        (Coding::Lz4, lz4_frame(plain)),
        (Coding::Lz4, lz4_linked(plain)),
    ]
}

/// Returns the result and the sum of all grants.
fn run(coding: Coding, input: &[u8], cap: usize) -> (Result<Vec<u8>, InflateError>, usize) {
    let mut granted = 0;
    let result = inflate(
        coding,
        input,
        cap,
        |bytes| {
            granted += bytes;
            true
        },
        |_| true,
    );
    (result, granted)
}

#[test]
fn inflates_to_the_original_bytes() {
    for len in [0, 1, 7, 4096, 4097, 300_000, CAP] {
        let plain = text(len);
        for (coding, input) in all_codings(&plain) {
            let (result, granted) = run(coding, &input, CAP);
            assert_eq!(result.as_ref(), Ok(&plain), "{coding:?} {len}");
            assert!(granted >= result.unwrap().capacity() && granted <= CAP, "{coding:?} {len}: {granted}");
        }
    }
}

#[test]
fn allocates_exactly_once_if_the_size_is_stated() {
    let plain = text(300_000);
    for input in [
        (Coding::Gzip, gzip(&plain)),
        (Coding::Zstd, zstd_block(&plain)),
        (Coding::Snappy, snappy_block(&plain)),
        (Coding::Lz4, lz4_linked(&plain)),
    ] {
        assert_eq!(run(input.0, &input.1, CAP).1, plain.len(), "{:?}", input.0);
    }
}

#[test]
fn a_bomb_costs_no_more_than_the_cap() {
    let zeros = vec![0; 64 * CAP];
    for (coding, input) in all_codings(&zeros) {
        let (result, granted) = run(coding, &input, CAP);
        assert_eq!(result, Err(InflateError::TooLarge), "{coding:?}");
        assert!(granted <= CAP, "{coding:?}: {granted}");
    }
}

#[test]
fn a_stated_size_over_the_cap_is_refused_before_memory_is_asked_for() {
    let zeros = vec![0; CAP + 1];
    for (coding, input) in [(Coding::Gzip, gzip(&zeros)), (Coding::Zstd, zstd_block(&zeros))] {
        assert_eq!(run(coding, &input, CAP), (Err(InflateError::TooLarge), 0), "{coding:?}");
    }
}

#[test]
fn one_byte_over_the_cap_is_too_large() {
    for (coding, input) in all_codings(&text(CAP + 1)) {
        assert_eq!(run(coding, &input, CAP).0, Err(InflateError::TooLarge), "{coding:?}");
    }
}

#[test]
fn only_granted_memory_is_allocated() {
    for (coding, input) in all_codings(&text(300_000)) {
        for grants in 0..3 {
            let mut left = grants;
            let result = inflate(
                coding,
                &input,
                CAP,
                |_| {
                    left -= 1;
                    left >= 0
                },
                |_| true,
            );
            assert!(matches!(result, Ok(_) | Err(InflateError::NoRoom)), "{coding:?}");
            assert!(grants > 0 || result.is_err(), "{coding:?}");
        }
    }
}

#[test]
fn several_members_and_frames_are_inflated() {
    let (a, b) = (text(1000), text(70_000));
    for (coding, compress) in [
        (Coding::Gzip, gzip as fn(&[u8]) -> Vec<u8>),
        (Coding::Zstd, zstd_stream),
        (Coding::Zstd, zstd_block),
        (Coding::SnappyFramed, snappy_stream),
        (Coding::Lz4, lz4_frame),
        (Coding::Lz4, lz4_linked),
    ] {
        let input = [compress(&a), compress(b""), compress(&b)].concat();
        assert_eq!(run(coding, &input, CAP).0, Ok([a.clone(), b.clone()].concat()), "{coding:?}");
    }
    let many = gzip(b"").repeat(GZIP_MEMBERS_MAX);
    assert_eq!(run(Coding::Gzip, &many, CAP).0, Ok(Vec::new()));
    let too_many = gzip(b"").repeat(GZIP_MEMBERS_MAX + 1);
    assert!(matches!(run(Coding::Gzip, &too_many, CAP).0, Err(InflateError::Damaged(_))));
}

#[test]
fn every_truncation_is_an_error() {
    for (coding, input) in all_codings(&text(5000)) {
        for len in 0..input.len() {
            let (result, granted) = run(coding, &input[..len], CAP);
            // A snappy stream has no end mark. If it is cut between chunks, it is complete.
            if let (Ok(bytes), Coding::Snappy | Coding::SnappyFramed) = (&result, coding) {
                assert!(input.starts_with(b"\xff\x06\x00\x00sNaPpY") && bytes.is_empty(), "{len}");
                continue;
            }
            let error = result.expect_err("truncated");
            assert!(matches!(error, InflateError::Truncated | InflateError::Damaged(_)), "{coding:?} {len}: {error}");
            assert!(granted <= CAP);
        }
    }
}

#[test]
fn damage_is_an_error() {
    let plain = text(5000);
    for (coding, input) in all_codings(&plain) {
        let mut trailing = input.clone();
        trailing.extend_from_slice(b"garbage");
        let cases = [trailing, plain.clone(), b"garbage".to_vec()];
        for case in cases {
            assert!(matches!(run(coding, &case, CAP).0, Err(InflateError::Damaged(_))), "{coding:?}");
        }
    }
    let mut checksum = gzip(&plain);
    let at = checksum.len() - 5;
    checksum[at] ^= 1;
    assert!(matches!(run(Coding::Gzip, &checksum, CAP).0, Err(InflateError::Damaged(_))));
    let checksums =
        [(Coding::Deflate, zlib(&plain), 1), (Coding::Lz4, lz4_frame(&plain), 1), (Coding::Lz4, lz4_linked(&plain), 5)];
    for (coding, mut input, from_end) in checksums {
        let at = input.len() - from_end;
        input[at] ^= 1;
        assert!(matches!(run(coding, &input, CAP).0, Err(InflateError::Damaged(_))), "{coding:?}");
    }
    let mut chunk = snappy_stream(&plain);
    chunk[14] ^= 1;
    assert!(matches!(run(Coding::SnappyFramed, &chunk, CAP).0, Err(InflateError::Damaged(_))));
}

/// A size that a head states is refused if the body cannot expand to it.
#[test]
fn a_stated_size_that_cannot_be_true_is_not_allocated() {
    // Snappy: five bytes that state a size of 1,000,000. LZ4: the head of an empty frame that states the same size.
    let snappy = b"\xc0\x84\x3d\x00a".to_vec();
    let mut frame = lz4(FrameInfo::new().content_size(Some(1_000_000)), &[0; 1_000_000]);
    frame.truncate(4 + 2 + 8 + 1);
    frame.extend_from_slice(&[0; 4]);
    for (coding, input) in [(Coding::Snappy, snappy), (Coding::Lz4, frame)] {
        let (result, granted) = run(coding, &input, CAP);
        assert!(matches!(result, Err(InflateError::Damaged(_))), "{coding:?}: {result:?}");
        assert_eq!(granted, 0, "{coding:?}");
    }
}

/// The work is proportional to input and output, no matter how small the blocks are: a block of two bytes must not
/// clear the room of a large one. The sum of the grants shows how much room there was.
#[test]
fn many_small_lz4_blocks_are_cheap() {
    let frame = lz4_frame(b"");
    let head = &frame[..7];
    // A block of one literal byte.
    let block = [2, 0, 0, 0, 0x10, b'a'];
    let blocks = 100_000;
    let hash = {
        let mut hasher = twox_hash::XxHash32::with_seed(0);
        hasher.write(&vec![b'a'; blocks]);
        (hasher.finish() as u32).to_le_bytes()
    };
    let input = [head, &block.repeat(blocks), &[0; 4], &hash].concat();
    let (result, granted) = run(Coding::Lz4, &input, CAP);
    assert_eq!(result, Ok(vec![b'a'; blocks]));
    assert!(granted <= 4 * blocks, "{granted}");
}

#[test]
fn zstd_windows_are_asked_for() {
    let plain = text(300_000);
    let large = zstd_window(&plain, ZSTD_WINDOW_LOG_MAX);
    let small = zstd_window(&plain, 17);
    let block = zstd_block(&plain);
    let (large_bytes, small_bytes) = ((8 << 20) + 2 * ZSTD_BLOCK_BYTES, 3 * ZSTD_BLOCK_BYTES);
    let cases = [
        ("a window of 8 MiB", large.clone(), vec![large_bytes]),
        ("a window of 128 KiB", small.clone(), vec![small_bytes]),
        ("the second window is larger", [&small[..], &large].concat(), vec![small_bytes, large_bytes - small_bytes]),
        ("the second window is smaller", [&large[..], &small].concat(), vec![large_bytes]),
        ("a stated size", block.clone(), vec![]),
        ("several stated sizes", block.repeat(3), vec![]),
        ("a stated size that does not come", block[..block.len() - 1].to_vec(), vec![300_000 + 2 * ZSTD_BLOCK_BYTES]),
    ];
    for (name, input, expected) in cases {
        let mut asked = Vec::new();
        let windows = |bytes| {
            asked.push(bytes);
            true
        };
        let result = inflate(Coding::Zstd, &input, CAP, |_| true, windows);
        assert_eq!(result.is_err(), name.contains("does not come"), "{name}");
        assert_eq!(asked, expected, "{name}");
    }
    assert_eq!(inflate(Coding::Zstd, &large, CAP, |_| true, |_| false), Err(InflateError::NoRoom));
}

#[test]
fn a_large_zstd_window_is_refused() {
    let input = zstd_window(&text(1000), ZSTD_WINDOW_LOG_MAX + 1);
    assert_eq!(
        run(Coding::Zstd, &input, CAP).0,
        Err(InflateError::Damaged("Frame requires too much memory for decoding"))
    );
}

#[test]
fn names_are_compared_without_case() {
    let cases: &[(&[u8], Option<Coding>)] = &[
        (b"gzip", Some(Coding::Gzip)),
        (b"GZip", Some(Coding::Gzip)),
        (b"x-gzip", Some(Coding::Gzip)),
        (b"zstd", Some(Coding::Zstd)),
        (b"deflate", Some(Coding::Deflate)),
        (b"ZLIB", Some(Coding::Deflate)),
        (b"snappy", Some(Coding::Snappy)),
        (b"x-snappy-framed", Some(Coding::SnappyFramed)),
        (b"lz4", Some(Coding::Lz4)),
        (b"br", None),
        (b"gzip, zstd", None),
        (b"", None),
    ];
    for (name, expected) in cases {
        assert_eq!(Coding::from_http_name(name), *expected, "{}", String::from_utf8_lossy(name));
    }
    for (names, from_name) in [
        (Coding::HTTP_NAMES, Coding::from_http_name as fn(&[u8]) -> Option<Coding>),
        (Coding::GRPC_NAMES, Coding::from_grpc_name),
    ] {
        assert!(names.split(", ").all(|name| from_name(name.as_bytes()).is_some()), "{names}");
    }
    assert_eq!(Coding::from_grpc_name(b"lz4"), None);
}

proptest! {
    #[test]
    fn any_bytes_are_restored(plain in proptest::collection::vec(any::<u8>(), 0..20_000)) {
        for (coding, input) in all_codings(&plain) {
            prop_assert_eq!(run(coding, &input, CAP).0, Ok(plain.clone()));
        }
    }

    #[test]
    fn any_damage_stays_within_the_cap(
        plain in proptest::collection::vec(0u8..4, 1..5_000),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        for (coding, mut input) in all_codings(&plain) {
            for (at, byte) in &flips {
                let at = at.index(input.len());
                input[at] ^= byte;
            }
            let (result, granted) = run(coding, &input, 8192);
            prop_assert!(granted <= 8192);
            prop_assert!(result.map_or(true, |bytes| bytes.len() <= 8192));
        }
    }
}
