use super::*;

#[test]
fn a_name_is_cut_and_legible() {
    let long = "n".repeat(NAME_BYTES_MAX);
    let (longer, divided) = (format!("{long}more"), format!("{}é", &long[1..]));
    let cut = format!("{}\u{fffd}", &long[1..]);
    let cases: [(&[u8], &str); 7] = [
        (b"checkout", "checkout"),
        (b"", ""),
        ("größe \"x\\".as_bytes(), "größe \"x\\"),
        (b"a\nb\x00c\x1b[31m\x7f", "a\u{fffd}b\u{fffd}c\u{fffd}[31m\u{fffd}"),
        (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        (longer.as_bytes(), &long),
        (divided.as_bytes(), &cut),
    ];
    for (sent, label) in cases {
        assert_eq!(&*SenderNames::default().label(sent), label, "{sent:?}");
    }
}

#[test]
fn the_number_of_names_is_limited() {
    let names = SenderNames::default();
    let label = |n: usize| names.label(format!("service-{n}").as_bytes());
    for n in 0..NAMES_MAX {
        assert_eq!(*label(n), *format!("service-{n}"));
    }
    (NAMES_MAX..100_000).for_each(|n| assert_eq!(&*label(n), OTHER));
    assert_eq!(&*label(7), "service-7", "known names keep their series");
    assert_eq!(names.known.read().len(), NAMES_MAX);
}
