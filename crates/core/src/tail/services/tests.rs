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
        assert_eq!(&*Services::default().label(sent), label, "{sent:?}");
    }
}

#[test]
fn the_number_of_names_is_limited() {
    let names = Services::default();
    let label = |n: usize| names.label(format!("service-{n}").as_bytes());
    for n in 0..Services::MAX_DEFAULT {
        assert_eq!(*label(n), *format!("service-{n}"));
    }
    (Services::MAX_DEFAULT..100_000).for_each(|n| assert_eq!(&*label(n), OTHER));
    assert_eq!(&*label(7), "service-7", "known names keep their series");
    assert_eq!(names.amounts().len(), 1 + Services::MAX_DEFAULT);
}

#[test]
fn names_that_look_the_same_are_one_service() {
    let services = Services::new(2);
    let number = services.number(b"a\nb");
    assert_eq!((number, services.number(b"a\x00b"), services.number("a\u{fffd}b".as_bytes())), (1, 1, 1));
    assert_eq!((services.number(b"second"), services.number(b"third"), services.number(b"\xff")), (2, 0, 0));
    // Once all numbers are given, new spellings are still recognized.
    assert_eq!((services.number(b"a\x01b"), services.number(b"a\x02b")), (1, 1));
    for n in 0..1_000_u32 {
        let _ = services.number(&n.to_be_bytes());
    }
    let names = services.0.names.read();
    assert!(names.sent.len() <= SENT_NAMES_EACH * 3 + 3 && names.labels.len() == 3, "{names:?}");
}

#[test]
fn amounts_are_summed_by_service() {
    let services = Services::new(1);
    let (a, other) = (services.number(b"a"), services.number(b"b"));
    services.count(a, true, SpanAmount { spans: 2, bytes: 200 });
    services.count(a, false, SpanAmount { spans: 1, bytes: 100 });
    services.count(other, false, SpanAmount { spans: 5, bytes: 50 });
    services.count(other, false, SpanAmount { spans: 5, bytes: 50 });
    let amounts = services.amounts();
    let rows: Vec<_> = amounts.iter().map(|row| (&*row.service, row.kept.spans, row.dropped.bytes)).collect();
    assert_eq!(rows, [("other", 0, 100), ("a", 2, 100)]);
}
