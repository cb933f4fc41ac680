//! An oracle: a second implementation of OTTL's evaluation in the Collector, after `compare.go`, `ottlfuncs` and
//! `LANGUAGE.md`. For random conditions and spans it must give the same answer as the compiled [`Condition`].
//!
//! [`Condition`]: crate::condition::Condition

use crate::condition::Pattern;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::grammar::{CompareOp, Expr, ExprNode, MathOp, PathSegment, parse};
use super::super::span_condition;
use super::decoded::{Sample, attribute, trace_state_entry};

/// A value during the evaluation in the Collector.
#[derive(Clone, Debug, PartialEq)]
enum Val {
    Nil,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Val>),
    Map(Vec<(String, Val)>),
    /// A time that is not set, read as an integer.
    Unset,
    Time(i64),
    Duration(i64),
    Id(Vec<u8>),
}

/// The result of an evaluation; `None` is an OTTL error.
type Evaluated<T> = Option<T>;

/// Evaluates a condition to true, false or an error. An error decides nothing, wherever it occurs. The Collector
/// differs: there an error ends the whole condition.
fn truth(expr: &Expr, sample: &Sample) -> Evaluated<bool> {
    match &expr.node {
        ExprNode::Not(inner) => truth(inner, sample).map(|value| !value),
        ExprNode::And(parts) => joined(parts, sample, false),
        ExprNode::Or(parts) => joined(parts, sample, true),
        ExprNode::Compare(op, left, right) => Some(compare(&value(left, sample)?, &value(right, sample)?, *op)),
        _ => match value(expr, sample)? {
            Val::Bool(value) => Some(value),
            _ => None,
        },
    }
}

/// Evaluates the parts of `and` or `or`. A single part with the value `decisive` decides.
fn joined(parts: &[Expr], sample: &Sample, decisive: bool) -> Evaluated<bool> {
    let answers: Vec<Evaluated<bool>> = parts.iter().map(|part| truth(part, sample)).collect();
    if answers.contains(&Some(decisive)) {
        return Some(decisive);
    }
    answers.iter().all(Option::is_some).then_some(!decisive)
}

fn compare(a: &Val, b: &Val, op: CompareOp) -> bool {
    let set = |value: &Val| if *value == Val::Unset { Val::Int(0) } else { value.clone() };
    let (a, b) = (&set(a), &set(b));
    let order = match (a, b) {
        (Val::Bool(a), Val::Bool(b)) => a.partial_cmp(b),
        (Val::Int(a), Val::Int(b)) | (Val::Time(a), Val::Time(b)) | (Val::Duration(a), Val::Duration(b)) => {
            a.partial_cmp(b)
        }
        (Val::Int(_) | Val::Double(_), Val::Int(_) | Val::Double(_)) => double(a).partial_cmp(&double(b)),
        (Val::Text(a), Val::Text(b)) => a.partial_cmp(b),
        (Val::Bytes(a), Val::Bytes(b)) => a.partial_cmp(b),
        (Val::Nil, Val::Nil) => return matches!(op, CompareOp::Eq | CompareOp::Le | CompareOp::Ge),
        (a, b) => return if op == CompareOp::Ne { a != b } else { op == CompareOp::Eq && a == b },
    };
    match op {
        CompareOp::Eq => order.is_some_and(std::cmp::Ordering::is_eq),
        CompareOp::Ne => !order.is_some_and(std::cmp::Ordering::is_eq),
        CompareOp::Lt => order.is_some_and(std::cmp::Ordering::is_lt),
        CompareOp::Le => order.is_some_and(std::cmp::Ordering::is_le),
        CompareOp::Gt => order.is_some_and(std::cmp::Ordering::is_gt),
        CompareOp::Ge => order.is_some_and(std::cmp::Ordering::is_ge),
    }
}

fn double(value: &Val) -> Option<f64> {
    match value {
        Val::Int(value) => Some(*value as f64),
        Val::Double(value) => Some(*value),
        _ => None,
    }
}

fn value(expr: &Expr, sample: &Sample) -> Evaluated<Val> {
    Some(match &expr.node {
        ExprNode::Nil => Val::Nil,
        ExprNode::Bool(value) => Val::Bool(*value),
        ExprNode::Int(value) => Val::Int(*value),
        ExprNode::Double(value) => Val::Double(*value),
        ExprNode::Text(text) => Val::Text(text.clone()),
        ExprNode::Bytes(bytes) => Val::Bytes(bytes.clone()),
        ExprNode::Enum(name) => Val::Int(if name == "STATUS_CODE_ERROR" { 2 } else { 3 }),
        ExprNode::List(values) => Val::List(values.iter().map(|item| value(item, sample)).collect::<Option<_>>()?),
        ExprNode::Map(entries) => {
            let entries = entries.iter().map(|(key, term)| Some((key.clone(), value(term, sample)?)));
            Val::Map(entries.collect::<Option<_>>()?)
        }
        ExprNode::Index(inner, key) => return inside(value(inner, sample)?, key),
        ExprNode::Path(path) => {
            let keys = path.iter().flat_map(|segment| &segment.keys).skip(1);
            return keys.into_iter().try_fold(field(path, sample), inside);
        }
        ExprNode::Call(name, arguments) if name == "Coalesce" => return first_value(&arguments[0], sample),
        ExprNode::Call(name, arguments) => {
            let arguments: Option<Vec<Val>> = arguments.iter().map(|argument| value(argument, sample)).collect();
            return call(name, &arguments?, sample);
        }
        ExprNode::Math(op, left, right) => return math(*op, &value(left, sample)?, &value(right, sample)?),
        _ => Val::Bool(truth(expr, sample)?),
    })
}

/// Evaluates the items of a list up to the first that is not nil.
fn first_value(list: &Expr, sample: &Sample) -> Evaluated<Val> {
    let ExprNode::List(items) = &list.node else { return None };
    let found = items.iter().map(|item| value(item, sample)).find(|value| *value != Some(Val::Nil));
    found.unwrap_or(Some(Val::Nil))
}

/// Returns the value under a key of a map, or an element of a list. A key of nil is nil.
fn inside(value: Val, key: &Expr) -> Evaluated<Val> {
    match (value, &key.node) {
        (Val::Nil, _) => Some(Val::Nil),
        (Val::Map(map), ExprNode::Text(key)) => {
            Some(map.into_iter().find(|(own, _)| own == key).map_or(Val::Nil, |(_, value)| value))
        }
        (Val::List(list), ExprNode::Int(index)) => list.into_iter().nth(*index as usize),
        _ => None,
    }
}

fn math(op: MathOp, left: &Val, right: &Val) -> Evaluated<Val> {
    match (op, left, right) {
        // Arithmetic with a time that is not set gives nil. The Collector differs: there the time is 1970.
        (_, Val::Time(0) | Val::Unset, _) | (_, _, Val::Time(0) | Val::Unset) => Some(Val::Nil),
        (MathOp::Divide, Val::Nil, Val::Int(1000)) => Some(Val::Nil),
        (MathOp::Subtract, Val::Time(end), Val::Time(start)) => Some(Val::Duration(end - start)),
        (MathOp::Add, Val::Time(time), Val::Duration(by)) => Some(Val::Time(time + by)),
        (MathOp::Divide, Val::Int(_), Val::Int(0)) => None,
        (MathOp::Add, Val::Int(left), Val::Int(right)) => Some(Val::Int(left + right)),
        (MathOp::Subtract, Val::Int(left), Val::Int(right)) => Some(Val::Int(left - right)),
        (MathOp::Multiply, Val::Int(left), Val::Int(right)) => Some(Val::Int(left * right)),
        (MathOp::Divide, Val::Int(left), Val::Int(right)) => Some(Val::Int(left / right)),
        _ => {
            let (left, right) = (double(left)?, double(right)?);
            Some(Val::Double(match op {
                MathOp::Add => left + right,
                MathOp::Subtract => left - right,
                MathOp::Multiply => left * right,
                MathOp::Divide if right == 0.0 => return None,
                MathOp::Divide => left / right,
            }))
        }
    }
}

fn field(path: &[PathSegment], sample: &Sample) -> Val {
    let key = path.iter().flat_map(|segment| &segment.keys).find_map(|key| match &key.node {
        ExprNode::Text(text) => Some(text.as_str()),
        _ => None,
    });
    let names: Vec<&str> = path.iter().map(|segment| segment.name.as_str()).collect();
    let span = &sample.span;
    let kinds = ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"];
    let of_attribute = |attributes| attribute(attributes, key.unwrap()).map_or(Val::Nil, val);
    match (names.join(".").as_str(), key) {
        ("attributes", _) => of_attribute(&span.attributes),
        ("resource.attributes", _) => of_attribute(&sample.resource.attributes),
        ("name", _) => Val::Text(span.name.clone()),
        ("kind", _) => Val::Int(span.kind.into()),
        ("kind.string", _) => Val::Text(kinds[span.kind as usize].to_owned()),
        ("status.code", _) => Val::Int(sample.status().code.into()),
        ("status.message", _) => Val::Text(sample.status().message),
        ("trace_state", Some(key)) => Val::Text(trace_state_entry(&span.trace_state, key)),
        ("trace_state", None) => Val::Text(span.trace_state.clone()),
        ("flags", _) => Val::Int(span.flags.into()),
        ("start_time", _) => Val::Time(span.start_time_unix_nano as i64),
        ("end_time", _) => Val::Time(span.end_time_unix_nano as i64),
        ("start_time_unix_nano", _) => unix_nano(span.start_time_unix_nano),
        ("end_time_unix_nano", _) => unix_nano(span.end_time_unix_nano),
        ("parent_span_id", _) => Val::Id(parent(span)),
        ("parent_span_id.string", _) => Val::Text(parent(span).iter().map(|byte| format!("{byte:02x}")).collect()),
        ("scope.name", _) => Val::Text(sample.scope.name.clone()),
        (other, _) => panic!("{other}"),
    }
}

fn unix_nano(time: u64) -> Val {
    if time == 0 { Val::Unset } else { Val::Int(time as i64) }
}

/// Returns the parent's id with 8 bytes, because ids are arrays in the Collector.
fn parent(span: &Span) -> Vec<u8> {
    let mut id = span.parent_span_id.clone();
    id.resize(8, 0);
    id
}

fn val(value: Value) -> Val {
    match value {
        Value::StringValue(text) => Val::Text(text),
        Value::BoolValue(value) => Val::Bool(value),
        Value::IntValue(value) => Val::Int(value),
        Value::DoubleValue(value) => Val::Double(value),
        Value::BytesValue(bytes) => Val::Bytes(bytes),
        Value::ArrayValue(list) => {
            Val::List(list.values.into_iter().map(|item| item.value.map_or(Val::Nil, val)).collect())
        }
        Value::KvlistValue(map) => {
            let entry = |entry: KeyValue| (entry.key, entry.value.and_then(|value| value.value).map_or(Val::Nil, val));
            Val::Map(map.values.into_iter().map(entry).collect())
        }
        Value::StringValueStrindex(_) => Val::Nil,
    }
}

fn call(name: &str, arguments: &[Val], sample: &Sample) -> Evaluated<Val> {
    let boolean = |value| Some(Val::Bool(value));
    match (name, arguments) {
        ("IsMatch", [target, Val::Text(pattern)]) => {
            boolean(text(target).is_some_and(|text| Pattern::new(pattern).unwrap().is_match(text.as_bytes())))
        }
        ("HasPrefix", [Val::Text(text), Val::Text(part)]) => boolean(text.starts_with(part)),
        ("HasSuffix", [Val::Text(text), Val::Text(part)]) => boolean(text.ends_with(part)),
        // A search for a list or a map among lists or maps is an error. The Collector differs: there it is allowed.
        ("ContainsValue" | "Index", [Val::List(list), Val::List(_) | Val::Map(_)])
            if list.iter().any(|element| matches!(element, Val::List(_) | Val::Map(_))) =>
        {
            None
        }
        ("ContainsValue", [Val::List(list), item]) => {
            boolean(list.iter().any(|element| compare(element, item, CompareOp::Eq)))
        }
        ("IsString", [value]) => boolean(matches!(value, Val::Text(_))),
        ("IsBool", [value]) => boolean(matches!(value, Val::Bool(_))),
        ("IsInt", [value]) => boolean(matches!(value, Val::Int(_))),
        ("IsDouble", [value]) => boolean(matches!(value, Val::Double(_))),
        ("IsMap", [value]) => boolean(matches!(value, Val::Map(_))),
        ("IsList", [value]) => boolean(matches!(value, Val::List(_))),
        ("IsRootSpan", []) => boolean(parent(&sample.span) == [0; 8]),
        ("Len", [Val::Text(text)]) => Some(Val::Int(text.len() as i64)),
        ("Len", [Val::Bytes(bytes)]) => Some(Val::Int(bytes.len() as i64)),
        ("Len", [Val::List(list)]) => Some(Val::Int(list.len() as i64)),
        ("Len", [Val::Map(entries)]) => Some(Val::Int(entries.len() as i64)),
        ("Int", [value]) => Some(match value {
            Val::Nil | Val::Int(_) => value.clone(),
            Val::Double(value) if value.abs() < 9.2e18 => Val::Int(*value as i64),
            Val::Bool(value) => Val::Int(i64::from(*value)),
            Val::Text(text) => Val::Int(text.parse().ok()?),
            _ => return None,
        }),
        ("Double", [value]) => Some(match value {
            Val::Nil => Val::Nil,
            Val::Int(_) | Val::Double(_) => Val::Double(double(value)?),
            Val::Bool(value) => Val::Double(f64::from(u8::from(*value))),
            Val::Text(text) => Val::Double(text.parse().ok()?),
            _ => return None,
        }),
        ("Bool", [value]) => Some(match value {
            Val::Nil | Val::Bool(_) => value.clone(),
            Val::Int(value) => Val::Bool(*value != 0),
            Val::Double(value) => Val::Bool(*value != 0.0),
            Val::Text(text) if text == "1" || text == "true" => Val::Bool(true),
            _ => return None,
        }),
        ("Concat", [Val::List(list), Val::Text(delimiter)]) => {
            let part = |value: &Val| if *value == Val::Nil { Some("<nil>".to_owned()) } else { text(value) };
            let parts: Option<Vec<String>> = list.iter().map(part).collect();
            Some(Val::Text(parts?.join(delimiter)))
        }
        ("Split", [Val::Text(whole), Val::Text(delimiter)]) => {
            let pieces: Vec<&str> = match delimiter.as_str() {
                "" => whole.split("").filter(|piece| !piece.is_empty()).collect(),
                delimiter => whole.split(delimiter).collect(),
            };
            Some(Val::List(pieces.into_iter().map(|piece| Val::Text(piece.to_owned())).collect()))
        }
        ("Substring", [Val::Text(whole), Val::Int(start), Val::Int(length)]) => {
            Some(Val::Text(whole.get(*start as usize..(start + length) as usize)?.to_owned()))
        }
        ("ToUpperCase", [Val::Text(text)]) => Some(Val::Text(text.to_uppercase())),
        ("Trim", [Val::Text(text), Val::Text(cut)]) => {
            Some(Val::Text(text.trim_matches(|c| cut.contains(c)).to_owned()))
        }
        ("TrimPrefix", [Val::Text(text), Val::Text(part)]) => {
            Some(Val::Text(text.strip_prefix(part.as_str()).unwrap_or(text).to_owned()))
        }
        ("Index", [Val::Text(text), Val::Text(part)]) => {
            Some(Val::Int(text.find(part.as_str()).map_or(-1, |at| at as i64)))
        }
        ("Index", [Val::List(list), item]) => {
            let at = list.iter().position(|element| compare(element, item, CompareOp::Eq));
            Some(Val::Int(at.map_or(-1, |at| at as i64)))
        }
        ("IsEmpty", [value]) => boolean(match value {
            Val::Nil | Val::Bool(false) | Val::Int(0) => true,
            Val::Double(value) => *value == 0.0,
            Val::Text(text) => text.is_empty(),
            Val::List(list) => list.is_empty(),
            Val::Map(map) => map.is_empty(),
            _ => false,
        }),
        ("UnixMicro", [Val::Time(time)]) => Some(Val::Int(time / 1000)),
        ("String", [value]) => Some(text(value).map_or(Val::Nil, Val::Text)),
        ("Duration", [Val::Text(text)]) => Some(Val::Duration(text.strip_suffix("ns")?.parse().unwrap())),
        ("SpanID", [Val::Bytes(bytes)]) => Some(Val::Id(bytes.clone())),
        // Without a duration the result is nil, which has no order and equals no number.
        (_, [Val::Nil]) if name.ends_with("econds") => Some(Val::Nil),
        ("Nanoseconds", [Val::Duration(value)]) => Some(Val::Int(*value)),
        ("Microseconds", [Val::Duration(value)]) => Some(Val::Int(value / 1000)),
        ("Seconds", [Val::Duration(value)]) => Some(Val::Double(*value as f64 / 1e9)),
        _ => None,
    }
}

/// Returns the text of a string, boolean, integer or double.
fn text(value: &Val) -> Option<String> {
    match value {
        Val::Text(text) => Some(text.clone()),
        Val::Bool(value) => Some(value.to_string()),
        Val::Int(value) => Some(value.to_string()),
        Val::Double(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Generates conditions that tests of single fields cannot express.
fn general() -> impl Strategy<Value = String> {
    const OTHER_FIELDS: [&str; 4] = [r#"attributes["b"]"#, "name", "kind", "status.message"];
    const SPANS: [&str; 2] = [r#"attributes["a"]"#, r#"attributes["b"]"#];
    const SUMS: [&str; 5] = ["+", "-", "*", "/", "+ kind *"];
    const INSIDE: [&str; 4] =
        [r#"attributes["a"]["k"]"#, r#"attributes["a"][0]"#, r#"attributes["b"][1]"#, r#"attributes["b"]["k"]["j"]"#];
    const CONSTANTS: [&str; 6] = ["1", "0.5", "\"a\"", "true", "nil", "attributes[\"b\"]"];
    const LITERALS: [&str; 5] = ["[1]", r#"["a", 1]"#, r#"{"k": 1}"#, "{}", r#"[attributes["b"]]"#];
    const MADE: [&str; 9] = [
        r#"Concat([name, attributes["a"]], "b")"#,
        r#"Split(name, "b")[0]"#,
        r#"Split(attributes["a"], "")[1]"#,
        "ToUpperCase(name)",
        r#"Substring(attributes["a"], 0, 1)"#,
        r#"Trim(name, "b")"#,
        r#"TrimPrefix(name, attributes["a"])"#,
        r#"Coalesce([attributes["a"], name])"#,
        "String(kind)",
    ];
    const NUMBERS_MADE: [&str; 8] = [
        r#"Index(name, attributes["a"])"#,
        r#"Index(attributes["a"], attributes["b"])"#,
        r#"Len(Split(attributes["a"], ""))"#,
        r#"Int(attributes["a"]["k"])"#,
        r#"Double(attributes["a"][0])"#,
        "UnixMicro(end_time)",
        r#"-attributes["a"]"#,
        "end_time_unix_nano - 1",
    ];
    const BOOLEANS: [&str; 9] = [
        r#"IsEmpty(attributes["a"])"#,
        "IsEmpty(name)",
        r#"HasPrefix(name, attributes["a"])"#,
        r#"ContainsValue(Split(name, "b"), attributes["a"])"#,
        r#"ContainsValue(attributes["a"], attributes["b"])"#,
        r#"Bool(attributes["a"]) == true"#,
        r#"IsMatch(Concat([name, kind], ""), "a1$")"#,
        r#"IsMatch(status.code, "2")"#,
        r#"end_time > start_time + Duration("500ns")"#,
    ];
    prop_oneof![
        2 => filled("{0} {1} {2}", &SPANS, &OPERATORS, &OTHER_FIELDS),
        2 => filled("attributes[\"a\"] {0} attributes[\"b\"] {1} {2}", &SUMS, &OPERATORS, &NUMBERS),
        2 => filled("{0} {1} {2}", &INSIDE, &EQUALITY, &CONSTANTS),
        1 => filled("{0} {1} {2}", &LITERALS, &EQUALITY, &SPANS),
        2 => filled("{0} {1} \"{2}\"", &STRINGS, &OPERATORS, &TEXTS),
        1 => filled("{0}(attributes[\"a\"]) {1} nil{2}", &["Int", "Double", "String"], &EQUALITY, &[""]),
        3 => filled("{0} {1} \"{2}\"", &MADE, &OPERATORS, &TEXTS),
        2 => filled("{0} {1} {2}", &NUMBERS_MADE, &OPERATORS, &NUMBERS),
        2 => filled("{0}{1}{2}", &BOOLEANS, &[""], &[""]),
    ]
}

const OPERATORS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];
const EQUALITY: [&str; 2] = ["==", "!="];
const ATTRIBUTES: [&str; 3] = [r#"attributes["a"]"#, r#"attributes["b"]"#, r#"resource.attributes["a"]"#];
const STRINGS: [&str; 6] =
    ["name", "status.message", "trace_state", r#"trace_state["k"]"#, "scope.name", r#"attributes["a"]"#];
const NUMBERS: [&str; 8] = ["0", "1", "-1", "2", "0.5", "-2.5", "3", "1.0"];
const TEXTS: [&str; 6] = ["", "a", "ab", "1", "true", "0.5"];

/// Generates texts from `template`: `{0}`, `{1}` and `{2}` become random entries of the three lists.
fn filled(
    template: &'static str,
    first: &'static [&'static str],
    second: &'static [&'static str],
    third: &'static [&'static str],
) -> BoxedStrategy<String> {
    (select(first), select(second), select(third))
        .prop_map(|(a, b, c)| template.replace("{0}", a).replace("{1}", b).replace("{2}", c))
        .boxed()
}

fn single() -> impl Strategy<Value = String> {
    const CONVERSIONS: [&str; 3] = ["Int", "Double", "Len"];
    const PARTS: [&str; 3] = ["IsMatch", "HasPrefix", "HasSuffix"];
    const TYPES: [&str; 6] = ["IsString", "IsBool", "IsInt", "IsDouble", "IsMap", "IsList"];
    const INTEGERS: [&str; 6] = [
        "kind",
        "status.code",
        "flags",
        "start_time_unix_nano",
        "(end_time_unix_nano - start_time_unix_nano) / 1000",
        "Microseconds(end_time - start_time)",
    ];
    const OTHERS: [&str; 9] = [
        "IsRootSpan()",
        "true",
        "parent_span_id == SpanID(0x0000000000000000)",
        r#"parent_span_id.string != "0000000000000007""#,
        "0x0000000000000007 != attributes[\"a\"]",
        "status.code == STATUS_CODE_ERROR",
        "IsRootSpan() == false",
        r#"kind.string == "Unspecified""#,
        r#"kind.string != "Server""#,
    ];
    prop_oneof![
        1 => filled("{0} {1} {2}", &ATTRIBUTES, &OPERATORS, &NUMBERS),
        3 => filled("{2} {1} {0}", &ATTRIBUTES, &OPERATORS, &NUMBERS),
        1 => filled("{0} {1} \"{2}\"", &STRINGS, &EQUALITY, &TEXTS),
        1 => filled("{0} {1} {2}", &ATTRIBUTES, &EQUALITY, &["nil"]),
        1 => filled("{0} {1} {2}", &ATTRIBUTES, &OPERATORS, &["true", "false"]),
        4 => filled("{0} {1} {2}", &INTEGERS, &OPERATORS, &NUMBERS),
        1 => filled("end_time - start_time {0} Duration(\"{1}ns\"){2}", &OPERATORS, &["0", "1", "-1", "1500"], &[""]),
        1 => filled("{0} {1} Seconds(end_time - start_time){2}", &["0.000001", "0.0000015", "-1"], &OPERATORS, &[""]),
        1 => filled("{0}(attributes[\"a\"]) {1} {2}", &CONVERSIONS, &OPERATORS, &NUMBERS),
        1 => filled("String(attributes[\"a\"]) {0} \"{1}\"{2}", &EQUALITY, &TEXTS, &[""]),
        1 => filled("Len(name) {0} {1}{2}", &OPERATORS, &NUMBERS, &[""]),
        1 => filled("{0}({1}, \"{2}\")", &PARTS, &STRINGS, &TEXTS),
        1 => filled("{0}({1}){2}", &TYPES, &ATTRIBUTES, &[""]),
        1 => filled("ContainsValue({0}, {1}){2}", &ATTRIBUTES, &["\"a\"", "1", "true", "0.5"], &[""]),
        1 => filled("ContainsValue([{0}, {1}], {2})", &["\"a\"", "\"\""], &["\"ab\"", "\"\""], &STRINGS),
        1 => filled("ContainsValue([{0}, {1}], {2})", &["\"a\"", "1"], &["true", "0.5"], &ATTRIBUTES),
        1 => filled("{0}{1}{2}", &ATTRIBUTES, &[""], &[""]),
        1 => filled("{0}{1}{2}", &OTHERS, &[""], &[""]),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    prop_oneof![single(), general()].prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| format!("not ({inner})")),
            vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" and "))),
            vec(inner, 2..4).prop_map(|parts| format!("({})", parts.join(" or "))),
        ]
    })
}

fn simple_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        select(&TEXTS[..]).prop_map(|text| Value::StringValue(text.to_owned())),
        any::<bool>().prop_map(Value::BoolValue),
        (-3_i64..4).prop_map(Value::IntValue),
        select(&[-2.5, -0.5, 0.0, 0.5, 1.0, 2.0][..]).prop_map(Value::DoubleValue),
        Just(Value::BytesValue(vec![0, 0, 0, 0, 0, 0, 0, 7])),
    ]
}

fn attribute_value() -> impl Strategy<Value = Option<Value>> {
    let any_value = |value| AnyValue { value: Some(value) };
    prop_oneof![
        1 => Just(None),
        6 => simple_value().prop_map(Some),
        2 => vec(simple_value().prop_map(any_value), 0..3)
            .prop_map(|values| Some(Value::ArrayValue(ArrayValue { values }))),
        1 => simple_value().prop_map(|value| {
            let value = Some(AnyValue { value: Some(value) });
            let values = vec![KeyValue { key: "k".to_owned(), value, ..KeyValue::default() }];
            Some(Value::KvlistValue(KeyValueList { values }))
        }),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let attribute = |key: &'static str| {
        option::of(attribute_value()).prop_map(move |value| {
            value.map(|value| KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() })
        })
    };
    (attribute("a"), attribute("b")).prop_map(|(a, b)| a.into_iter().chain(b).collect())
}

fn sample() -> impl Strategy<Value = Sample> {
    let text = || select(&TEXTS[..]).prop_map(str::to_owned);
    let time = || select(&[0, 1, 2, 500, 1001, 1502, 2500][..]);
    let trace_state = select(&["", "k=a", "k=ab,j=1", "j=1"][..]);
    let status = option::of((0..3, text()).prop_map(|(code, message)| Status { code, message }));
    let parent = select(vec![vec![], vec![0; 8], vec![0, 0, 0, 0, 0, 0, 0, 7]]);
    let span = (text(), 0..6, status, trace_state, 0_u32..3, parent, time(), time(), attributes()).prop_map(
        |(name, kind, status, trace_state, flags, parent_span_id, start, end, attributes)| Span {
            name,
            kind,
            status,
            trace_state: trace_state.to_owned(),
            flags,
            parent_span_id,
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            attributes,
            ..Span::default()
        },
    );
    (span, attributes(), text(), any::<bool>()).prop_map(|(span, attributes, scope_name, defaults_are_absent)| {
        let mut sample = Sample { span, defaults_are_absent, ..Sample::default() };
        sample.resource.attributes = attributes;
        sample.scope.name = scope_name;
        sample
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]
    #[test]
    fn conditions_answer_as_ottl_does(text in condition(), samples in vec(sample(), 24)) {
        let condition = span_condition(&text).unwrap();
        let expr = parse(&text).unwrap();
        for sample in &samples {
            let expected = truth(&expr, sample) == Some(true);
            prop_assert_eq!(sample.holds(&condition, None), expected, "{} of {:?}", &text, sample);
        }
    }
}
