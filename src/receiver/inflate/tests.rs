use std::io::Write;

use flate2::write::GzEncoder;
use proptest::prelude::*;
use zstd::zstd_safe::CParameter;

use super::*;

const CAP: usize = 1 << 20;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Without a content size in the frame, as streaming senders write it.
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

/// Telemetry shrinks about so well.
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
    ]
}

/// The result, and the sum of all grants.
fn run(coding: Coding, input: &[u8], cap: usize) -> (Result<Vec<u8>, InflateError>, usize) {
    let mut granted = 0;
    let result = inflate(coding, input, cap, |bytes| {
        granted += bytes;
        true
    });
    (result, granted)
}

#[test]
fn gives_back_what_was_compressed() {
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
    for input in [(Coding::Gzip, gzip(&plain)), (Coding::Zstd, zstd_block(&plain))] {
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
fn one_byte_over_the_cap_is_too_large() {
    for (coding, input) in all_codings(&text(CAP + 1)) {
        assert_eq!(run(coding, &input, CAP).0, Err(InflateError::TooLarge), "{coding:?}");
    }
}

#[test]
fn nothing_is_allocated_that_was_not_granted() {
    for (coding, input) in all_codings(&text(300_000)) {
        for grants in 0..3 {
            let mut left = grants;
            let result = inflate(coding, &input, CAP, |_| {
                left -= 1;
                left >= 0
            });
            assert!(matches!(result, Ok(_) | Err(InflateError::NoRoom)), "{coding:?}");
            assert!(grants > 0 || result.is_err(), "{coding:?}");
        }
    }
}

#[test]
fn members_and_frames_follow_one_another() {
    let (a, b) = (text(1000), text(70_000));
    for (coding, compress) in
        [(Coding::Gzip, gzip as fn(&[u8]) -> Vec<u8>), (Coding::Zstd, zstd_stream), (Coding::Zstd, zstd_block)]
    {
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
        (b"deflate", None),
        (b"gzip, zstd", None),
        (b"", None),
    ];
    for (name, expected) in cases {
        assert_eq!(Coding::from_name(name), *expected, "{}", String::from_utf8_lossy(name));
    }
}

proptest! {
    #[test]
    fn any_bytes_survive(plain in proptest::collection::vec(any::<u8>(), 0..20_000)) {
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
