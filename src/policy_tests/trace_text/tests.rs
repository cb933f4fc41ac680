use super::*;
use crate::policy_tests::TextValue;

fn parse(text: &str) -> TraceText {
    TraceText::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_line_is_a_span_and_indentation_is_parenthood() {
    let trace = parse(
        "# a comment\napi  GET /cart    120ms  http.response.status_code=504\n  db  SELECT cart  80ms\n    pool  get  1ms\n\n  \
         cache  get  2ms\n+14s worker  charge  5ms  error\n",
    );
    let parents: Vec<_> = trace.spans.iter().map(|span| span.parent).collect();
    assert_eq!(parents, [None, Some(0), Some(1), Some(0), None]);
    let api = &trace.spans[0];
    assert_eq!((&api.service[..], &api.name[..], api.duration), ("api", "GET /cart", ms(120)));
    assert_eq!(api.attributes, [("http.response.status_code".to_owned(), TextValue::Int(504))]);
    let worker = &trace.spans[4];
    assert_eq!((worker.arrival, worker.status, &worker.name[..]), (ms(14_000), 2, "charge"));
}

#[test]
fn names_end_at_a_wide_gap_or_at_a_duration() {
    for (line, name, duration) in [
        ("api  GET /cart  20ms", "GET /cart", 20),
        ("api GET /cart 20ms", "GET /cart", 20),
        ("api\tGET /cart 20ms", "GET /cart", 20),
        ("api  wait 5s and go  20ms", "wait 5s and go", 20),
        ("api  \"two  spaces, 5s\"  20ms", "two  spaces, 5s", 20),
        ("api  GET /cart/{id}  20ms  error", "GET /cart/{id}", 20),
        ("\"my api\"  x  1s", "x", 1_000),
        ("api GET  1m30s", "GET", 90_000),
    ] {
        let trace = parse(line);
        assert_eq!((&trace.spans[0].name[..], trace.spans[0].duration), (name, ms(duration)), "{line}");
    }
}

#[test]
fn words_set_the_fields_of_a_span() {
    let trace = parse(
        "api  GET  1ms  @5ms server sampled orphan error:\"it failed\" scope:http@1.2 tracestate:\"ot=rv:00\" resource.host.name=h1",
    );
    let span = &trace.spans[0];
    assert_eq!((span.start, span.kind, span.sampled, span.orphan), (ms(5), 2, true, true));
    assert_eq!((span.status, &span.status_message[..], &span.trace_state[..]), (2, "it failed", "ot=rv:00"));
    assert_eq!(span.scope, ("http".to_owned(), "1.2".to_owned()));
    assert_eq!(span.resource, [("host.name".to_owned(), TextValue::String("h1".into()))]);
}

#[test]
fn attributes_have_every_type() {
    let string = |text: &str| TextValue::String(text.into());
    for (written, value) in [
        ("504", TextValue::Int(504)),
        ("-7", TextValue::Int(-7)),
        ("0.5", TextValue::Double(0.5)),
        ("1e3", TextValue::Double(1000.0)),
        ("true", TextValue::Bool(true)),
        ("GET", string("GET")),
        ("a=b", string("a=b")),
        ("\"504\"", string("504")),
        ("\"two words\"", string("two words")),
        ("\"\"", string("")),
        ("[1, \"a b\", true]", TextValue::List(vec![TextValue::Int(1), string("a b"), TextValue::Bool(true)])),
        (
            "{\"a\": {\"b\": 1}}",
            TextValue::Map(vec![("a".into(), TextValue::Map(vec![("b".into(), TextValue::Int(1))]))]),
        ),
        ("base64:AQID", TextValue::Bytes(vec![1, 2, 3])),
        ("null", TextValue::Empty),
        ("\"null\"", string("null")),
        ("[1, null]", TextValue::List(vec![TextValue::Int(1), TextValue::Empty])),
    ] {
        let trace = parse(&format!("api  x  1ms  key={written}  other=1"));
        assert_eq!(trace.spans[0].attributes[0].1, value, "{written}");
        // A value is shown in a form that is read as the same value.
        let again = parse(&format!("api  x  1ms  key={value}"));
        assert_eq!(again.spans[0].attributes[0].1, value, "{value}");
    }
}

/// Parts of values with characters that mean something in a line.
const VALUE_PARTS: [&str; 16] =
    ["a", "[", "]", "{", "}", "\"", "\\", "=", " ", "é", "1", ".", ":", "base64:", "-", "\u{85}"];

#[test]
fn every_value_is_shown_in_a_form_that_is_read_as_the_same_value() {
    let mut rng = fastrand::Rng::with_seed(11);
    let any_text = |rng: &mut fastrand::Rng| -> String {
        (0..rng.usize(..5)).map(|_| VALUE_PARTS[rng.usize(..VALUE_PARTS.len())]).collect()
    };
    for _ in 0..20_000 {
        let value = match rng.u8(..4) {
            0 => TextValue::Double(f64::from_bits(rng.u64(..))),
            1 => TextValue::List(vec![TextValue::String(any_text(&mut rng)), TextValue::Int(rng.i64(..))]),
            _ => TextValue::String(any_text(&mut rng)),
        };
        let again = parse(&format!("api  x  1ms  key={value}  other=1"));
        let is_nan = |value: &TextValue| matches!(value, TextValue::Double(value) if value.is_nan());
        let read = &again.spans[0].attributes[0].1;
        assert!(*read == value || is_nan(read) && is_nan(&value), "{value}: {read:?}");
    }
}

#[test]
fn events_and_links_stand_below_their_span() {
    let trace = parse(
        "api  GET  9ms\n  * exception  @5ms  exception.type=Timeout\n  > 4bf92f3577b34da6a3ce929d0e0e4736/00f067aa0ba902b7  kind=follows\n  \
         db  SELECT  1ms\n    * one two  @1ms\n",
    );
    let api = &trace.spans[0];
    assert_eq!((&api.events[0].name[..], api.events[0].at), ("exception", ms(5)));
    assert_eq!(api.events[0].attributes[0].0, "exception.type");
    assert_eq!((api.links[0].trace_id[0], api.links[0].span_id[7]), (0x4b, 0xb7));
    assert_eq!(api.links[0].attributes[0].0, "kind");
    assert_eq!(trace.spans[1].events[0].name, "one two");
}

/// Mistakes with the text that is marked, the beginning of the message, and a part of the help.
const MISTAKES: [(&str, &str, &str, &str); 24] = [
    ("", "", "the trace has no spans", "api  GET /cart  20ms"),
    ("api", "", "the name of the span is missing", "service, name, duration"),
    ("api  GET", "", "the duration is missing", "`api  GET  20ms`"),
    ("api  GET  error", "error", "expected a duration, found `error`", "`api  GET  20ms`"),
    ("api  GET  20", "20", "the duration `20` has no unit", "`10s`"),
    ("api  GET  20mz", "20mz", "`20mz`: unknown unit `mz`", "ms"),
    ("api  GET  1ms  eror", "eror", "unknown word `eror`", "did you mean `error`?"),
    ("api  GET  1ms  servr", "servr", "unknown word `servr`", "did you mean `server`?"),
    ("api  GET  1ms  a = b", "a", "unknown word `a`", "`key=value`"),
    ("api  GET  1ms  =b", "=b", "an attribute without a key", "`key=value`"),
    ("api  GET  1ms  a=", "a=", "the attribute `a` has no value", "`a=\"\"`"),
    ("api  GET  1ms  a=1 a=2", "a=2", "the attribute `a` is given twice", "keep one"),
    ("api  GET  1ms  a=[1,", "a", "`]` is missing", "close the bracket"),
    ("api  GET  1ms  a=[1,]", "a=[1,]", "`[1,]` is not valid JSON", "as in JSON"),
    ("api  GET  1ms  a=\"x", "a", "a quotation mark is missing", "`\"`"),
    ("api  GET  1ms  a=base64:!", "a=base64:!", "`!` is not base64", "quote the value"),
    ("+14 api  GET  1ms", "+14", "the duration `14` has no unit", "`10s`"),
    ("+1000h api  GET  1ms", "+1000h", "`1000h` is too long", "168h"),
    ("+14s", "", "the service is missing", "+14s api"),
    ("* event", "*", "`*` belongs to no span", "indent it more"),
    ("api  GET  1ms\n  > 12/34", "12/34", "`12/34` is not the place of a span", "hexadecimal"),
    ("api  GET  1ms\n    db  a  1ms\n  db  b  1ms", "db", "the indentation fits no line above", "siblings alike"),
    ("\tapi  GET  1ms", "\t", "a tab in the indentation", "spaces"),
    ("api  GET  1ms\n  * e  5ms", "5ms", "unknown word `5ms`", "`@5ms`"),
];

#[test]
fn a_mistake_is_told_with_its_place_and_a_remedy() {
    for (text, marked, message, help) in MISTAKES {
        let error = TraceText::parse(text).expect_err(text);
        let described = error.fault.clone().error(Default::default()).to_string();
        assert!(error.fault.message.starts_with(message) && described.contains(help), "{text}: {described}");
        assert!(text.get(error.offset..).is_some_and(|rest| rest.starts_with(marked)), "{text}: {error:?}");
        if !marked.is_empty() {
            assert_eq!(error.length, marked.chars().count().max(1), "{text}");
        }
    }
}

#[test]
fn the_place_of_a_mistake_below_other_lines_is_that_of_its_line() {
    let text = "api  GET  1ms\n  db  SELECT  1ms  eror\n";
    let error = TraceText::parse(text).unwrap_err();
    assert_eq!(&text[error.offset..error.offset + error.length], "eror");
}

#[test]
fn no_text_panics() {
    let parts = [
        "api", "  ", " ", "\t", "\n", "+1s ", "*", ">", "=", "\"", "[", "{", "]", "é", "20ms", "@", "error:", "\\", "#",
    ];
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..20_000 {
        let text: String = (0..rng.usize(1..12)).map(|_| parts[rng.usize(..parts.len())]).collect();
        if let Err(error) = TraceText::parse(&text) {
            assert!(text.is_char_boundary(error.offset) && error.length > 0, "{text:?}: {error:?}");
        }
    }
}
