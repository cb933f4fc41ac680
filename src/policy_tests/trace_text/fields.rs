//! The fields of a line: of a span, an event or a link.

use super::tokens::Token;
use super::{TextAttributes, TextEvent, TextLink, TextSpan, TextValue, TraceTextError, duration};
use crate::settings::diagnostic::{SettingError, quote};
use crate::settings::suggest::did_you_mean;
use crate::settings::units;

/// The kinds of spans, with their numbers in `trace.proto`.
pub(super) const KINDS: [(&str, i32); 5] =
    [("internal", 1), ("server", 2), ("client", 3), ("producer", 4), ("consumer", 5)];

/// The other words that may follow the duration of a span.
const WORDS: [&str; 4] = ["error", "ok", "orphan", "sampled"];

/// The prefix of attributes of the resource.
const RESOURCE: &str = "resource.";

const STATUS_OK: i32 = 1;
const STATUS_ERROR: i32 = 2;

/// The rest of the words of a line.
struct Line<'t, 'a> {
    tokens: &'t [Token<'a>],
    /// The word that was read last.
    last: Token<'a>,
}

impl<'a> Line<'_, 'a> {
    /// Returns the next word. If there is none, returns the error that `missing` is.
    fn next(&mut self, missing: &str, help: &str) -> Result<Token<'a>, TraceTextError> {
        let Some((first, rest)) = self.tokens.split_first() else {
            return Err(self.last.error_after(SettingError::new(missing).help(help)));
        };
        (self.tokens, self.last) = (rest, *first);
        Ok(*first)
    }

    /// Returns the next word if `is_it`.
    fn next_if(&mut self, is_it: impl Fn(&Token<'a>) -> bool) -> Option<Token<'a>> {
        let (first, rest) = self.tokens.split_first().filter(|(first, _)| is_it(first))?;
        (self.tokens, self.last) = (rest, *first);
        Some(*first)
    }

    /// Reads a name: a text in quotes, or the words up to the next wide gap, or without one up to `ends`.
    fn name(&mut self, what: &str, ends: impl Fn(&Token<'a>) -> bool) -> Result<String, TraceTextError> {
        let help = "write it in the order service, name, duration: `api  GET /cart  20ms`";
        let first = self.next(&format!("the {what} is missing"), help)?;
        if first.text.starts_with('"') {
            return quoted(&first);
        }
        let first_end = self.tokens.iter().position(&ends);
        let gap = self.tokens.iter().position(|token| token.gap > 1);
        // A word before the gap that looks like an end is part of the name only if a real end follows the gap.
        let is_end = |gap: usize| self.tokens.get(gap).is_some_and(&ends) || first_end.is_none_or(|end| end > gap);
        let end = gap.filter(|&gap| is_end(gap)).or(first_end).unwrap_or(self.tokens.len());
        let mut name = first.text.to_owned();
        for _ in 0..end {
            if let Some(word) = self.next_if(|_| true) {
                name.push(' ');
                name.push_str(word.text);
            }
        }
        Ok(name)
    }
}

/// Reads the line of a span.
pub(super) fn span(tokens: &[Token<'_>]) -> Result<TextSpan, TraceTextError> {
    let Some(first) = tokens.first() else { return Ok(TextSpan::default()) };
    let mut line = Line { tokens, last: *first };
    let mut span = TextSpan { kind: KINDS[0].1, ..TextSpan::default() };
    if let Some(token) = line.next_if(|token| token.text.starts_with('+')) {
        span.arrival = duration(&token, &token.text[1..])?;
    }
    let service =
        line.next("the service is missing", "write service, name and duration: `+14s api  GET /cart  20ms`")?;
    span.service = if service.text.starts_with('"') { quoted(&service)? } else { service.text.to_owned() };
    span.name = line.name("name of the span", is_duration)?;
    let example =
        format!("write it after the name, with two spaces before it: `{}  {}  20ms`", span.service, span.name);
    let token = line.next("the duration is missing", &example)?;
    if !token.text.starts_with(|c: char| c.is_ascii_digit()) {
        let fault = SettingError::new(format!("expected a duration, found {}", quote(token.text)));
        return Err(token.error(fault.help(example)));
    }
    span.duration = duration(&token, token.text)?;
    while let Some(token) = line.next_if(|_| true) {
        word(&mut span, &token)?;
    }
    Ok(span)
}

/// Reads a word behind the duration of a span.
fn word(span: &mut TextSpan, token: &Token<'_>) -> Result<(), TraceTextError> {
    let text = token.text;
    if let Some((key, value)) = attribute(token)? {
        match key.strip_prefix(RESOURCE) {
            Some(key) => push(&mut span.resource, key, value, token)?,
            None => push(&mut span.attributes, &key, value, token)?,
        }
    } else if let Some(start) = text.strip_prefix('@') {
        span.start = duration(token, start)?;
    } else if let Some((_, number)) = KINDS.iter().find(|(name, _)| *name == text) {
        span.kind = *number;
    } else if let Some(message) = text.strip_prefix("error:") {
        span.status = STATUS_ERROR;
        span.status_message = text_of(message, token)?;
    } else if let Some(scope) = text.strip_prefix("scope:") {
        let (name, version) = scope.split_once('@').unwrap_or((scope, ""));
        span.scope = (name.to_owned(), version.to_owned());
    } else if let Some(state) = text.strip_prefix("tracestate:") {
        span.trace_state = text_of(state, token)?;
    } else {
        match text {
            "error" => span.status = STATUS_ERROR,
            "ok" => span.status = STATUS_OK,
            "orphan" => span.orphan = true,
            "sampled" => span.sampled = true,
            _ => return Err(unknown(token)),
        }
    }
    Ok(())
}

/// Reads the line of an event: `* NAME [@TIME] ATTRIBUTES`.
pub(super) fn event(tokens: &[Token<'_>]) -> Result<TextEvent, TraceTextError> {
    let Some((first, rest)) = tokens.split_first() else { return Ok(TextEvent::default()) };
    let mut line = Line { tokens: rest, last: *first };
    let name = line.name("name of the event", |token| token.text.starts_with('@') || token.text.contains('='))?;
    let mut event = TextEvent { name, ..TextEvent::default() };
    while let Some(token) = line.next_if(|_| true) {
        match (token.text.strip_prefix('@'), attribute(&token)?) {
            (Some(at), _) => event.at = duration(&token, at)?,
            (None, Some((key, value))) => push(&mut event.attributes, &key, value, &token)?,
            (None, None) => {
                let fault = SettingError::new(format!("unknown word {}", quote(token.text)));
                let help = "an event has a name, a time such as `@5ms`, and attributes such as `key=value`";
                return Err(token.error(fault.help(help)));
            }
        }
    }
    Ok(event)
}

/// Reads the line of a link: `> TRACE_ID/SPAN_ID ATTRIBUTES`.
pub(super) fn link(tokens: &[Token<'_>]) -> Result<TextLink, TraceTextError> {
    let Some((first, rest)) = tokens.split_first() else { return Ok(TextLink::default()) };
    let mut line = Line { tokens: rest, last: *first };
    let form = "write `> 4bf92f3577b34da6a3ce929d0e0e4736/00f067aa0ba902b7`: 32 and 16 hexadecimal digits";
    let token = line.next("the ids of the link are missing", form)?;
    let ids = token.text.split_once('/').and_then(|(trace, span)| Some((hex(trace)?, hex(span)?)));
    let (trace_id, span_id) = ids.ok_or_else(|| {
        token.error(SettingError::new(format!("{} is not the place of a span", quote(token.text))).help(form))
    })?;
    let mut link = TextLink { trace_id, span_id, attributes: Vec::new() };
    while let Some(token) = line.next_if(|_| true) {
        let Some((key, value)) = attribute(&token)? else {
            let fault = SettingError::new(format!("unknown word {}", quote(token.text)));
            return Err(token.error(fault.help("only attributes such as `key=value` follow the ids of a link")));
        };
        push(&mut link.attributes, &key, value, &token)?;
    }
    Ok(link)
}

/// Reads `key=value`; `None` if the word is not an attribute.
fn attribute(token: &Token<'_>) -> Result<Option<(String, TextValue)>, TraceTextError> {
    // Words with a value of their own come first, because the value may have a `=`.
    let has_own_value = ["error:", "scope:", "tracestate:"].iter().any(|prefix| token.text.starts_with(prefix));
    let Some((key, value)) = token.text.split_once('=').filter(|_| !has_own_value) else { return Ok(None) };
    if key.is_empty() {
        let fault = SettingError::new("an attribute without a key");
        return Err(token.error(fault.help("write `key=value`, without spaces around `=`")));
    }
    if value.is_empty() {
        let fault = SettingError::new(format!("the attribute {} has no value", quote(key)));
        return Err(token.error(fault.help(format!("write `{key}=value`, or `{key}=\"\"` for an empty text"))));
    }
    let value = TextValue::parse(value).map_err(|fault| token.error(fault))?;
    Ok(Some((key.to_owned(), value)))
}

fn push(list: &mut TextAttributes, key: &str, value: TextValue, token: &Token<'_>) -> Result<(), TraceTextError> {
    if list.iter().any(|(known, _)| known == key) {
        let fault = SettingError::new(format!("the attribute {} is given twice", quote(key)));
        return Err(token.error(fault.help("keep one")));
    }
    list.push((key.to_owned(), value));
    Ok(())
}

fn unknown(token: &Token<'_>) -> TraceTextError {
    let fault = SettingError::new(format!("unknown word {}", quote(token.text)));
    let known = WORDS.iter().copied().chain(KINDS.iter().map(|(name, _)| *name));
    let help = did_you_mean(token.text, known.clone()).unwrap_or_else(|| {
        format!("write an attribute as `key=value`; words: {}", known.collect::<Vec<_>>().join(", "))
    });
    token.error(fault.help(help))
}

fn is_duration(token: &Token<'_>) -> bool {
    token.text.starts_with(|c: char| c.is_ascii_digit()) && units::duration(token.text).is_ok()
}

/// Reads a text in quotes.
fn quoted(token: &Token<'_>) -> Result<String, TraceTextError> {
    text_of(token.text, token)
}

/// Reads a text with or without quotes.
fn text_of(text: &str, token: &Token<'_>) -> Result<String, TraceTextError> {
    if !text.starts_with('"') {
        return Ok(text.to_owned());
    }
    serde_json::from_str(text).map_err(|_| {
        let fault = SettingError::new(format!("{} is not a text in quotes", quote(text)));
        token.error(fault.help("escape as in JSON: `\\\"` for a quotation mark, `\\\\` for a backslash"))
    })
}

/// Reads an id in hexadecimal digits.
pub(in crate::policy_tests) fn hex<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    let is_hex = text.len() == 2 * LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = is_hex.then(|| u128::from_str_radix(text, 16).ok())??;
    number.to_be_bytes()[16 - LEN..].try_into().ok()
}
