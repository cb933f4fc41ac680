use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::crypto::ring::default_provider;

use super::*;

/// A certificate holds its end of validity as UTCTime before 2050, and as GeneralizedTime from 2050 on.
#[test]
fn the_end_of_validity_is_read() {
    let cases = [
        ((1999, 12, 31), 946_598_400),
        ((2000, 2, 29), 951_782_400),
        ((2026, 11, 21), 1_795_219_200),
        ((2049, 12, 31), 2_524_521_600_u64),
        ((2050, 1, 1), 2_524_608_000),
        ((2100, 3, 1), 4_107_542_400),
        ((9999, 12, 31), 253_402_214_400),
    ];
    let key = KeyPair::generate().unwrap();
    for ((year, month, day), expected) in cases {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, month, day);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        assert_eq!(not_after_s(&der), Some(expected), "{year}-{month}-{day}");
        for length in 0..der.len() {
            // Truncated certificates must not cause a panic. The result may be `Some`, because the end is not read.
            let _ = not_after_s(&der[..length]);
        }
    }
    assert_eq!(not_after_s(b"\x30\x84\xff\xff\xff\xff"), None);
    assert_eq!(not_after_s(b""), None);
}

#[test]
fn each_unusable_file_has_its_own_error() {
    let one = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (one.cert.pem(), one.signing_key.serialize_pem());
    let other_key = other.signing_key.serialize_pem();
    let broken = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let odd_key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    let cases = [
        (chain.as_str(), key.as_str(), None),
        ("", &key, Some("there is no certificate in it")),
        (&key, &key, Some("there is no certificate in it")),
        (broken, &key, Some("certificate 1 cannot be used")),
        (&chain, "", Some("there is no private key in it")),
        (&chain, &chain, Some("there is no private key in it")),
        (&chain, odd_key, Some("the private key cannot be used")),
        (&chain, &other_key, Some("the private key is not the one of the first certificate")),
    ];
    for (chain, key, expected) in cases {
        let found = certified_key(chain.as_bytes(), key.as_bytes(), &default_provider());
        match (found, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => assert!(error.to_string().starts_with(expected), "{error}"),
            (found, _) => panic!("{found:?}, expected {expected:?}"),
        }
    }
    assert_eq!(authorities((chain.clone() + &other.cert.pem()).as_bytes()).unwrap().len(), 2);
    let error = authorities((chain + broken).as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("certificate 2 cannot be used"), "{error}");
}
