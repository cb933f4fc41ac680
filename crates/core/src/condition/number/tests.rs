use std::cmp::Ordering::{Equal, Greater, Less};

use super::super::RangeBound;
use super::Number::{Double, Int};
use super::*;

#[test]
fn numbers_compare_exactly() {
    let exact = 1 << 53;
    for (a, b, expected) in [
        (Int(1), Int(2), Some(Less)),
        (Double(1.5), Double(1.5), Some(Equal)),
        (Int(1), Double(1.0), Some(Equal)),
        (Int(1), Double(1.5), Some(Less)),
        (Int(-1), Double(-1.5), Some(Greater)),
        (Int(0), Double(-0.0), Some(Equal)),
        // As a double, 2^53 + 1 would be rounded to 2^53.
        (Int(exact + 1), Double(exact as f64), Some(Greater)),
        (Int(exact + 1), Int(exact), Some(Greater)),
        (Int(i64::MAX), Double(I64_END), Some(Less)),
        (Int(i64::MIN), Double(-I64_END), Some(Equal)),
        (Int(i64::MIN), Double(-1e19), Some(Greater)),
        (Int(i64::MAX), Double(f64::INFINITY), Some(Less)),
        (Int(i64::MIN), Double(f64::NEG_INFINITY), Some(Greater)),
        (Int(0), Double(f64::NAN), None),
        (Double(f64::NAN), Double(f64::NAN), None),
    ] {
        assert_eq!(a.compare(b), expected, "{a:?} {b:?}");
        assert_eq!(b.compare(a), expected.map(std::cmp::Ordering::reverse), "{b:?} {a:?}");
    }
}

#[test]
fn ranges_end_at_their_bounds() {
    let inclusive = |at| Some(RangeBound { at, inclusive: true });
    let exclusive = |at| Some(RangeBound { at, inclusive: false });
    let whole = Range { min: None, max: None };
    for (range, inside, outside) in [
        (Range { min: inclusive(Int(5)), max: None }, vec![Int(5), Double(5.0), Int(9)], vec![Int(4), Double(4.9)]),
        (Range { min: exclusive(Int(5)), max: None }, vec![Double(5.1)], vec![Int(5), Double(5.0)]),
        (Range { min: None, max: inclusive(Double(0.5)) }, vec![Double(0.5), Int(-3)], vec![Double(0.6), Int(1)]),
        (Range { min: None, max: exclusive(Double(0.5)) }, vec![Int(0)], vec![Double(0.5)]),
        (Range::exactly(Int(7)), vec![Int(7), Double(7.0)], vec![Int(6), Int(8), Double(7.5)]),
        (Range { min: inclusive(Int(2)), max: inclusive(Int(1)) }, vec![], vec![Int(1), Int(2)]),
        (Range::exactly(Double(f64::NAN)), vec![], vec![Int(0), Double(f64::INFINITY)]),
        (whole, vec![Int(i64::MIN), Double(f64::INFINITY)], vec![]),
    ] {
        inside.iter().for_each(|&number| assert!(range.contains(number), "{number:?} in {range:?}"));
        outside.iter().for_each(|&number| assert!(!range.contains(number), "{number:?} in {range:?}"));
        assert!(!range.contains(Double(f64::NAN)), "{range:?}");
    }
}

#[test]
fn text_is_read_as_decimal_numbers() {
    for (text, expected) in [
        ("503", Some(Int(503))),
        ("+7", Some(Int(7))),
        ("-7", Some(Int(-7))),
        ("9223372036854775807", Some(Int(i64::MAX))),
        ("9223372036854775808", Some(Double(I64_END))),
        ("2.5", Some(Double(2.5))),
        ("1e3", Some(Double(1000.0))),
        ("", None),
        ("e", None),
        (" 503", None),
        ("0x1f", None),
        ("inf", None),
        ("-infinity", None),
        ("NaN", None),
        ("1_000", None),
        ("OK", None),
    ] {
        assert_eq!(Number::parse(text.as_bytes()), expected, "{text}");
    }
    assert_eq!(Number::parse(b"50\xff"), None);
}
