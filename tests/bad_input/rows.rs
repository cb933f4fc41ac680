//! The rows of the table of bad input.

use spansieve::emulator::StoredSpan;

use super::wire::*;
use crate::support::{MS, now_ns};

const DAY: u64 = 86_400_000 * MS;

/// A row of the table. `exported` describes what `check` asserts about the spans in Cloud Trace.
pub struct Row {
    pub input: &'static str,
    pub exported: &'static str,
    /// The bodies that are sent, one after the other.
    pub bodies: Vec<Vec<u8>>,
    pub is_json: bool,
    pub check: fn(&[StoredSpan]) -> bool,
}

fn row(input: &'static str, bodies: Vec<Vec<u8>>, exported: &'static str, check: fn(&[StoredSpan]) -> bool) -> Row {
    Row { input, exported, bodies, is_json: false, check }
}

/// Returns a row with one span that is valid except for `more`.
fn span(input: &'static str, more: Vec<u8>, exported: &'static str, check: fn(&[StoredSpan]) -> bool) -> Row {
    row(input, vec![request(&[good_and(more)])], exported, check)
}

/// Returns a row with a span of these fields and a valid span.
fn beside(input: &'static str, fields: &[Vec<u8>]) -> Row {
    let good = [ids(&[0x33; 16], &SPAN), name("other"), recent()].concat();
    let check = |spans: &[StoredSpan]| spans.len() == 1 && spans[0].display_name() == "other";
    row(input, vec![request(&[fields.concat(), good])], "the others of the request", check)
}

/// Returns a row with a request that is refused as a whole.
fn refused(input: &'static str, body: Vec<u8>) -> Row {
    row(input, vec![body], "nothing", <[StoredSpan]>::is_empty)
}

fn in_json(row: Row) -> Row {
    Row { is_json: true, ..row }
}

fn attribute_text(spans: &[StoredSpan], key: &str) -> String {
    spans.first().and_then(|span| span.string_attribute(key)).unwrap_or_default().to_owned()
}

fn dropped_attributes(spans: &[StoredSpan]) -> i32 {
    spans[0].span.attributes.as_ref().map_or(0, |attributes| attributes.dropped_attributes_count)
}

fn is_good(spans: &[StoredSpan]) -> bool {
    spans.len() == 1 && spans[0].display_name() == "good"
}

pub fn rows() -> Vec<Row> {
    [text_rows(), value_rows(), id_rows(), time_rows(), empty_rows(), wire_rows(), json_rows()]
        .into_iter()
        .flatten()
        .collect()
}

fn text_rows() -> Vec<Row> {
    let bad = b"a\xff\xfeb";
    vec![
        row(
            "a name that is not UTF-8",
            vec![request(&[[ids(&TRACE, &SPAN), name(bad), recent()].concat()])],
            "each bad sequence as U+FFFD",
            |spans| spans[0].display_name() == "a\u{fffd}\u{fffd}b",
        ),
        span(
            "a key and a value that are not UTF-8",
            attribute(bad, text(bad)),
            "each bad sequence as U+FFFD",
            |spans| attribute_text(spans, "a\u{fffd}\u{fffd}b") == "a\u{fffd}\u{fffd}b",
        ),
        span("a name of 1 MB", name(vec![b'n'; 1 << 20]), "cut to 1,024 bytes", |spans| {
            spans[0].display_name().len() == 1_024
        }),
        span("a value of 1 MB", attribute("a", text(vec![b'v'; 1 << 20])), "cut to 65,532 bytes", |spans| {
            attribute_text(spans, "a").len() == 65_532
        }),
        span(
            "a key of 1 MB",
            attribute(vec![b'k'; 1 << 20], text("v")),
            "without the attribute, counted in the span",
            |spans| is_good(spans) && dropped_attributes(spans) == 1,
        ),
        span("an empty key", attribute("", text("v")), "without the attribute, counted in the span", |spans| {
            is_good(spans) && dropped_attributes(spans) == 1
        }),
        span(
            "newlines, escape sequences and quotes in names and values",
            [name("a\n\x1b[31m\"}\0"), attribute("a\r\nb", text("\",\"x\":1"))].concat(),
            "as they are",
            |spans| spans[0].display_name() == "a\n\x1b[31m\"}\0" && attribute_text(spans, "a\r\nb") == "\",\"x\":1",
        ),
    ]
}

fn value_rows() -> Vec<Row> {
    let many = (0..10_000).flat_map(|n| attribute(format!("k{n}"), text("v"))).collect::<Vec<u8>>();
    let events = (0..1_000).flat_map(|_| len(11, len(2, "event"))).collect::<Vec<u8>>();
    let links = (0..1_000).flat_map(|_| len(13, ids(&TRACE, &SPAN))).collect::<Vec<u8>>();
    vec![
        span(
            "a key twice",
            [attribute("a", text("1")), attribute("a", text("2"))].concat(),
            "the last value",
            |spans| attribute_text(spans, "a") == "2",
        ),
        span("10,000 attributes", many, "up to 1,024 with ours, the others counted in the span", |spans| {
            let attributes = spans[0].span.attributes.as_ref().unwrap();
            (1_020..=1_024).contains(&attributes.attribute_map.len()) && attributes.dropped_attributes_count > 8_900
        }),
        span("1,000 events and 1,000 links", [events, links].concat(), "256 and 128, the others counted", |spans| {
            let (events, links) = (spans[0].span.time_events.as_ref().unwrap(), spans[0].span.links.as_ref().unwrap());
            (events.time_event.len(), events.dropped_annotations_count) == (256, 744)
                && (links.link.len(), links.dropped_links_count) == (128, 872)
        }),
        span(
            "doubles that are not numbers",
            [attribute("a", double(f64::NAN)), attribute("b", double(f64::NEG_INFINITY))].concat(),
            "`NaN`, `-Inf`",
            |spans| attribute_text(spans, "a") == "NaN" && attribute_text(spans, "b") == "-Inf",
        ),
        span("a value of no type", attribute("a", []), "empty text", |spans| {
            spans[0].string_attribute("a") == Some("")
        }),
        span("a value that nests 45 lists", attribute("a", nested(45)), "as JSON", |spans| {
            attribute_text(spans, "a") == format!("{}\"core\"{}", "[".repeat(45), "]".repeat(45))
        }),
        refused("a value that nests 10,000 lists", request(&[good_and(attribute("a", nested(10_000)))])),
        span(
            "a kind and a status code that do not exist",
            [int(6, 99), len(15, int(3, 99))].concat(),
            "INTERNAL, no status",
            |spans| spans[0].span.span_kind == 1 && spans[0].span.status.is_none(),
        ),
        span(
            "a negative kind and status code",
            [int(6, u64::MAX), len(15, int(3, u64::MAX))].concat(),
            "INTERNAL, no status",
            |spans| spans[0].span.span_kind == 1 && spans[0].span.status.is_none(),
        ),
        span(
            "attributes that name themselves `spansieve.policy`",
            attribute("spansieve.policy", text("mine")),
            "with ours in their place",
            |spans| spans[0].policy() == Some("all"),
        ),
        span("a tracestate of noise", len(3, b"ot=rv:zz;;=,,\xff\n"), "as if without", |spans| {
            spans[0].adjusted_count() == Some(1.0)
        }),
    ]
}

fn id_rows() -> Vec<Row> {
    let named = |span: &str| [ids(&TRACE, &SPAN), name(span), recent()].concat();
    let again = request(&[named("first")]);
    let first = |spans: &[StoredSpan]| spans.len() == 1 && spans[0].display_name() == "first";
    vec![
        beside("no ids", &[name("bad"), recent()]),
        beside("a trace id of zeros", &[ids(&[0; 16], &SPAN), name("bad"), recent()]),
        beside("a trace id of 15 bytes", &[ids(&[1; 15], &SPAN), name("bad"), recent()]),
        beside("a span id of zeros", &[ids(&TRACE, &[0; 8]), name("bad"), recent()]),
        beside("a span id of 9 bytes", &[ids(&TRACE, &[1; 9]), name("bad"), recent()]),
        beside("a parent span id of 4 bytes", &[ids(&TRACE, &SPAN), len(4, [1; 4]), name("bad"), recent()]),
        span("a parent span id of zeros, or the span's own", len(4, SPAN), "as a root", |spans| {
            is_good(spans) && spans[0].facts.parent_id == 0
        }),
        span("a link without ids", len(13, []), "without the link, counted in the span", |spans| {
            spans[0].span.links.as_ref().unwrap().dropped_links_count == 1
        }),
        row(
            "the same request twice",
            vec![again.clone(), again],
            "once: Cloud Trace knows spans by their names",
            first,
        ),
        row(
            "two spans of one id in a request",
            vec![request(&[named("first"), named("second")])],
            "both; Cloud Trace keeps the first",
            first,
        ),
        row(
            "two spans of one id in two requests",
            vec![request(&[named("first")]), request(&[named("second")])],
            "both; Cloud Trace keeps the first",
            first,
        ),
    ]
}

fn time_rows() -> Vec<Row> {
    let now = now_ns();
    let timed = |start, end| [ids(&TRACE, &SPAN), name("good"), times(start, end)].concat();
    let with = |input, start, end, exported, check| row(input, vec![request(&[timed(start, end)])], exported, check);
    vec![
        with("an end before the start", now, now - 3_600_000 * MS, "the end is the start", |spans| {
            spans[0].facts.duration_ns() == 0
        }),
        with("no start", 0, now, "the start is the end", |spans| is_good(spans) && spans[0].facts.duration_ns() == 0),
        with("no end", now, 0, "the end is the start", |spans| is_good(spans) && spans[0].facts.duration_ns() == 0),
        with("a clock that is an hour off", now + 3_600_000 * MS, now + 3_600_001 * MS, "as it is", is_good),
        beside("neither start nor end", &[ids(&TRACE, &SPAN), name("bad")]),
        beside("a start 15 days ago", &[ids(&TRACE, &SPAN), name("bad"), times(now - 15 * DAY, now)]),
        beside("a clock that says 1970", &[ids(&TRACE, &SPAN), name("bad"), times(1, 5)]),
        beside("an end in 4 days", &[ids(&TRACE, &SPAN), name("bad"), times(now, now + 4 * DAY)]),
        beside("times of 2^64 - 1", &[ids(&TRACE, &SPAN), name("bad"), times(u64::MAX, u64::MAX)]),
    ]
}

fn empty_rows() -> Vec<Row> {
    let nothing: fn(&[StoredSpan]) -> bool = <[StoredSpan]>::is_empty;
    let part = |key: &str| len(1, len(1, [len(1, key), len(2, text("v"))].concat()));
    vec![
        row("an empty body", vec![Vec::new()], "nothing", nothing),
        row(
            "an empty `ResourceSpans`, an empty `ScopeSpans`",
            vec![len(1, []), len(1, len(2, []))],
            "nothing",
            nothing,
        ),
        beside("a span of no bytes", &[]),
        row("no name", vec![request(&[[ids(&TRACE, &SPAN), recent()].concat()])], "named `unknown`", |spans| {
            spans[0].display_name() == "unknown"
        }),
        row("no resource, no scope", vec![request(&[good_and([])])], "without them", is_good),
        row(
            "a resource in two parts",
            vec![request_of(&[good_and([])], [part("a"), part("b")].concat())],
            "both parts",
            |spans| attribute_text(spans, "a") == "v" && attribute_text(spans, "b") == "v",
        ),
    ]
}

fn wire_rows() -> Vec<Row> {
    let unknown = [int(200, 1), len(201, "x"), fixed64(202, 1)].concat();
    let reaching = |length: u64| request(&[good_and([vec![5 << 3 | 2], varint(length)].concat())]);
    vec![
        span("unknown fields", unknown, "without them", is_good),
        refused("a group", request(&[good_and(group(200))])),
        refused("a known field of another type", request(&[good_and(int(5, 1))])),
        refused("a field of number 0", request(&[good_and([2, 0])])),
        refused("a length that reaches past the end", reaching(1 << 20)),
        refused("a length of 2^64 - 1", reaching(u64::MAX)),
        refused("a varint of 11 bytes", request(&[good_and([vec![6 << 3], vec![0xff; 10], vec![1]].concat())])),
        refused("noise", b"GET / HTTP/1.1 \xff\xfe\0".to_vec()),
    ]
}

fn json_rows() -> Vec<Row> {
    let deep = format!("{}{}", "{\"arrayValue\":{\"values\":[".repeat(10_000), "]}}".repeat(10_000));
    let not_utf8 =
        json(r##"{"stringValue": "#"}"##).iter().map(|&byte| if byte == b'#' { 0xff } else { byte }).collect();
    vec![
        in_json(refused("JSON: an empty body", Vec::new())),
        in_json(row("JSON: `{}`", vec![b"{}".to_vec()], "nothing", <[StoredSpan]>::is_empty)),
        in_json(refused("JSON: not JSON", b"{\"resourceSpans\": [".to_vec())),
        in_json(refused("JSON: other signals alone", b"{\"resourceLogs\": []}".to_vec())),
        in_json(refused("JSON: a value that nests 10,000 lists", json(&deep))),
        in_json(refused("JSON: a number that does not fit", json("{\"intValue\": 1e300}"))),
        in_json(row(
            "JSON: half a surrogate pair",
            vec![json(r#"{"stringValue": "a\ud800b"}"#)],
            "as U+FFFD",
            |spans| attribute_text(spans, "a").contains('\u{fffd}'),
        )),
        in_json(row("JSON: bytes that are not UTF-8", vec![not_utf8], "as U+FFFD", |spans| {
            attribute_text(spans, "a") == "\u{fffd}"
        })),
        in_json(row(
            "JSON: unknown keys, a key twice",
            vec![json(r#"{"stringValue": "1", "stringValue": "2", "x": [{}]}"#)],
            "the last value",
            |spans| attribute_text(spans, "a") == "2",
        )),
    ]
}
