//! The functions of OTTL (`ottlfuncs`).

use std::borrow::Cow;

use memchr::memmem;

use super::value::{ELEMENTS_MAX, TEXT_BYTES_MAX};
use super::{CompareOp, Function, Val, calendar};
use crate::condition::{Pattern, ValueType};

type TextValue<'a> = Cow<'a, [u8]>;

/// Calls a function. `None` is an OTTL error: an argument has a type that the function does not take, or the result is
/// too large.
pub(super) fn result<'a>(function: &'a Function, mut arguments: Vec<Val<'a>>) -> Option<Val<'a>> {
    let mut argument = || if arguments.is_empty() { Val::Nil } else { arguments.remove(0) };
    let first = argument();
    match function {
        Function::Bool => to_bool(&first),
        Function::Int => to_int(&first),
        Function::Double => to_double(&first),
        Function::String => Some(first.as_text().flatten().map_or(Val::Nil, Val::Text)),
        Function::Coalesce => {
            let found = first.elements()?.find(|value| !matches!(value, Val::Nil));
            Some(found.unwrap_or(Val::Nil))
        }
        Function::Concat => concat(&first, &text(argument())?),
        Function::Split => split(&text(first)?, &text(argument())?),
        Function::Substring => substring(text(first)?, &argument(), &argument()),
        Function::ToLowerCase => changed_case(&text(first)?, str::to_lowercase),
        Function::ToUpperCase => changed_case(&text(first)?, str::to_uppercase),
        Function::Trim => trim(text(first)?, &argument()),
        Function::TrimPrefix => {
            let (whole, part) = (text(first)?, text(argument())?);
            let length = if whole.starts_with(&part) { part.len() } else { 0 };
            Some(Val::Text(piece(whole, length, usize::MAX)))
        }
        Function::TrimSuffix => {
            let (whole, part) = (text(first)?, text(argument())?);
            let end = if whole.ends_with(&part) { whole.len() - part.len() } else { whole.len() };
            Some(Val::Text(piece(whole, 0, end)))
        }
        Function::HasPrefix => Some(Val::Bool(text(first)?.starts_with(&text(argument())?))),
        Function::HasSuffix => Some(Val::Bool(text(first)?.ends_with(&text(argument())?))),
        Function::Contains => Some(Val::Bool(memmem::find(&text(first)?, &text(argument())?).is_some())),
        Function::ContainsValue => position(&first, &argument()).map(|at| Val::Bool(at.is_some())),
        Function::Index => index(&first, argument()),
        Function::IsMatch(pattern) => Some(Val::Bool(is_match(pattern, &first))),
        Function::IsType(value_type) => Some(Val::Bool(type_of(&first) == Some(*value_type))),
        Function::IsEmpty => is_empty(&first),
        Function::Len => length(&first),
        Function::DurationParts(divisor) => duration(&first).map(|nanoseconds| Val::Int(nanoseconds / divisor)),
        Function::DurationRatio(divisor) => {
            duration(&first).map(|nanoseconds| Val::Double(nanoseconds as f64 / divisor))
        }
        Function::TimePart(part) => time(&first).map(|time| Val::Int(calendar::part(time, *part))),
        Function::Unix(divisor) => time(&first).map(|time| Val::Int(time.div_euclid(*divisor))),
    }
}

/// Returns the text of a string. Any other type is an error.
fn text(value: Val<'_>) -> Option<TextValue<'_>> {
    match value {
        Val::Text(text) => Some(text),
        _ => None,
    }
}

fn duration(value: &Val<'_>) -> Option<i64> {
    match value {
        Val::Duration(nanoseconds) => Some(*nanoseconds),
        _ => None,
    }
}

/// Returns a time in nanoseconds since 1970; 0 for a time that is not set.
fn time(value: &Val<'_>) -> Option<i64> {
    match value {
        Val::Time(unix_nano) => Some(*unix_nano),
        Val::Unset => Some(0),
        _ => None,
    }
}

/// Returns a piece of a text. The piece of a borrowed text is borrowed, too.
fn piece(text: TextValue<'_>, start: usize, end: usize) -> TextValue<'_> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[start..end.min(text.len())]),
        Cow::Owned(text) => Cow::Owned(text[start..end.min(text.len())].to_vec()),
    }
}

fn to_bool<'a>(value: &Val<'a>) -> Option<Val<'a>> {
    Some(match value {
        Val::Nil => Val::Nil,
        Val::Bool(value) => Val::Bool(*value),
        Val::Int(value) => Val::Bool(*value != 0),
        Val::Double(value) => Val::Bool(*value != 0.0),
        // `strconv.ParseBool`.
        Val::Text(text) => match &**text {
            b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True" => Val::Bool(true),
            b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False" => Val::Bool(false),
            _ => return None,
        },
        _ => return None,
    })
}

fn to_int<'a>(value: &Val<'a>) -> Option<Val<'a>> {
    Some(match value {
        Val::Nil => Val::Nil,
        Val::Int(value) => Val::Int(*value),
        Val::Double(value) => Val::Int(whole(*value)?),
        Val::Bool(value) => Val::Int(i64::from(*value)),
        Val::Unset => Val::Int(0),
        Val::Text(text) => Val::Int(std::str::from_utf8(text).ok()?.parse().ok()?),
        _ => return None,
    })
}

/// Returns a double without its fraction. NaN and what does not fit into an `i64` are errors, as everywhere in formulas. Go
/// leaves the result to the processor.
fn whole(value: f64) -> Option<i64> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    (-BEYOND..BEYOND).contains(&value).then_some(value as i64)
}

fn to_double<'a>(value: &Val<'a>) -> Option<Val<'a>> {
    Some(match value {
        Val::Nil => Val::Nil,
        Val::Bool(value) => Val::Double(f64::from(u8::from(*value))),
        // Like Go's `ParseFloat`, Rust parses `inf`, `Infinity` and `NaN` in upper and lower case. A number that is too
        // large is an error.
        Val::Text(text) => {
            let text = std::str::from_utf8(text).ok()?;
            let number: f64 = text.parse().ok()?;
            let is_word = text.contains(|c: char| c.is_ascii_alphabetic() && !c.eq_ignore_ascii_case(&'e'));
            Val::Double(Some(number).filter(|number| number.is_finite() || is_word)?)
        }
        other => Val::Double(other.as_double()?),
    })
}

fn concat<'a>(values: &Val<'a>, delimiter: &[u8]) -> Option<Val<'a>> {
    let mut whole = Vec::new();
    for (number, value) in values.elements()?.enumerate() {
        if number > 0 {
            whole.extend_from_slice(delimiter);
        }
        whole.extend_from_slice(value.as_text()?.as_deref().unwrap_or(b"<nil>"));
        if whole.len() > TEXT_BYTES_MAX {
            return None;
        }
    }
    Val::made_text(whole)
}

/// Splits a text at each delimiter. An empty delimiter splits it into its characters.
fn split<'a>(whole: &TextValue<'a>, delimiter: &[u8]) -> Option<Val<'a>> {
    let mut ends = Vec::new();
    if delimiter.is_empty() {
        let chunks = whole.utf8_chunks().flat_map(|chunk| {
            let valid = chunk.valid().chars().map(char::len_utf8);
            valid.chain(chunk.invalid().iter().map(|_| 1))
        });
        let mut start = 0;
        ends.extend(chunks.take(ELEMENTS_MAX + 1).map(|length| {
            start += length;
            (start - length, start)
        }));
    } else {
        let mut start = 0;
        for found in memmem::find_iter(whole, delimiter).take(ELEMENTS_MAX + 1) {
            ends.push((start, found));
            start = found + delimiter.len();
        }
        ends.push((start, whole.len()));
    }
    if ends.len() > ELEMENTS_MAX {
        return None;
    }
    let part = |(start, end): (usize, usize)| match whole {
        Cow::Borrowed(whole) => Val::text(&whole[start..end]),
        Cow::Owned(whole) => Val::Text(Cow::Owned(whole[start..end].to_vec())),
    };
    Some(Val::MadeList(ends.into_iter().map(part).collect()))
}

/// Returns `length` bytes of a text from byte `start` on. An end beyond the text and a length below 1 are errors.
fn substring<'a>(whole: TextValue<'a>, start: &Val<'_>, length: &Val<'_>) -> Option<Val<'a>> {
    let (Val::Int(start), Val::Int(length)) = (start, length) else { return None };
    let start = usize::try_from(*start).ok()?;
    let end = start.checked_add(usize::try_from(*length).ok().filter(|length| *length > 0)?)?;
    (end <= whole.len()).then(|| Val::Text(piece(whole, start, end)))
}

fn changed_case<'a>(text: &[u8], change: fn(&str) -> String) -> Option<Val<'a>> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    Val::made_text(change(std::str::from_utf8(text).ok()?).into_bytes())
}

/// Removes the characters of the second argument from both ends; spaces if there is no second argument.
fn trim<'a>(whole: TextValue<'a>, characters: &Val<'_>) -> Option<Val<'a>> {
    let characters = match characters {
        Val::Nil => " ",
        Val::Text(characters) => std::str::from_utf8(characters).ok()?,
        _ => return None,
    };
    let text = std::str::from_utf8(&whole).ok()?;
    let from_start = text.trim_start_matches(|c| characters.contains(c));
    let start = text.len() - from_start.len();
    let end = start + from_start.trim_end_matches(|c| characters.contains(c)).len();
    Some(Val::Text(piece(whole, start, end)))
}

/// Returns the index of a value in a list; `Some(None)` if the list does not contain it. A `list` of another type is an
/// error. A search for a list or a map among lists or maps is an error, too, because each comparison would read the
/// whole item.
fn position(list: &Val<'_>, item: &Val<'_>) -> Option<Option<usize>> {
    let has_parts = |value: &Val<'_>| value.elements().is_some() || value.entries().is_some();
    if has_parts(item) {
        return (!list.elements()?.any(|element| has_parts(&element))).then_some(None);
    }
    Some(list.elements()?.position(|element| element.compare(item, CompareOp::Eq) == Some(true)))
}

/// Returns the index of an item in a list or the offset of a text in a text, in bytes; -1 if it is not found.
fn index<'a>(target: &Val<'a>, item: Val<'a>) -> Option<Val<'a>> {
    let found = match target {
        Val::Text(whole) => memmem::find(whole, &text(item)?),
        list => position(list, &item)?,
    };
    Some(Val::Int(found.map_or(Some(-1), |at| i64::try_from(at).ok())?))
}

/// Returns true if the pattern is found in the text of the value. A value without a text does not match.
fn is_match(pattern: &Pattern, value: &Val<'_>) -> bool {
    value.as_text().flatten().is_some_and(|text| pattern.is_match(&text))
}

fn type_of(value: &Val<'_>) -> Option<ValueType> {
    match value {
        Val::Text(_) => Some(ValueType::String),
        Val::Bool(_) => Some(ValueType::Bool),
        Val::Int(_) | Val::Unset => Some(ValueType::Int),
        Val::Double(_) => Some(ValueType::Double),
        Val::List(_) | Val::MadeList(_) => Some(ValueType::List),
        Val::Map(_) | Val::MadeMap(_) => Some(ValueType::Map),
        Val::Bytes(_) => Some(ValueType::Bytes),
        Val::Nil | Val::Time(_) | Val::Duration(_) | Val::Id(_) => None,
    }
}

/// Returns true for nil, false, zero, an id of zeros, and an empty text, list, map or bytes.
fn is_empty<'a>(value: &Val<'_>) -> Option<Val<'a>> {
    Some(Val::Bool(match value {
        Val::Nil | Val::Unset | Val::Bool(false) | Val::Int(0) | Val::Time(0) | Val::Duration(0) => true,
        Val::Double(value) => value.to_bits() == 0,
        Val::Text(text) => text.is_empty(),
        Val::Bytes(bytes) => bytes.is_empty(),
        Val::Id(bytes) => bytes.iter().all(|byte| *byte == 0),
        value => match (value.elements(), value.entries()) {
            (Some(mut elements), _) => elements.next().is_none(),
            (_, Some(mut entries)) => entries.next().is_none(),
            _ => false,
        },
    }))
}

fn length<'a>(value: &Val<'_>) -> Option<Val<'a>> {
    let length = match value {
        Val::Text(text) => text.len(),
        Val::Bytes(bytes) => bytes.len(),
        value => match (value.elements(), value.entries()) {
            (Some(elements), _) => elements.count(),
            (_, Some(entries)) => entries.count(),
            _ => return None,
        },
    };
    i64::try_from(length).ok().map(Val::Int)
}
