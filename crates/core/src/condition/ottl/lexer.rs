//! The lexer of OTTL (`buildLexer` in `grammar.go`).

use std::iter::Peekable;
use std::str::CharIndices;

use super::OttlError;
use crate::settings::diagnostic::quote_start;

/// The most characters of a word that a message shows.
const QUOTED_CHARS_MAX: usize = 40;

/// A token of a condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name of a path, a function or an enum, or a word of the language.
    Word(String),
    Text(String),
    Int(i64),
    Double(f64),
    Bytes(Vec<u8>),
    Symbol(&'static str),
    End,
}

/// A token with the offset of its first byte.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) offset: usize,
    pub(super) token: Token,
}

/// The symbols of OTTL. Longer symbols come before their prefixes.
const SYMBOLS: [&str; 20] =
    ["==", "!=", ">=", "<=", ">", "<", "(", ")", "[", "]", "{", "}", ",", ".", ":", "+", "-", "*", "/", "="];

/// The words after which an operand begins.
const JOINING: [&str; 3] = ["and", "or", "not"];

/// Symbols of other languages, each with the OTTL text to write instead.
const FOREIGN: [(&str, &str); 5] = [
    ("&&", "write `and`"),
    ("||", "write `or`"),
    ("!", "write `not`, or `!=` to compare"),
    ("'", "write strings in double quotes"),
    ("`", "write strings in double quotes"),
];

/// Splits `text` into tokens. The last token is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, OttlError> {
    let mut placed = Vec::new();
    let mut offset = 0;
    loop {
        let rest = &text[offset..];
        offset += rest.len() - rest.trim_start().len();
        let is_behind_operand = placed.last().is_some_and(|Placed { token, .. }| token.ends_operand());
        let (token, length) = token(&text[offset..], offset, is_behind_operand)?;
        let end = token == Token::End;
        placed.push(Placed { offset, token });
        if end {
            return Ok(placed);
        }
        offset += length;
    }
}

/// Reads the token at the start of `rest`. Returns the token and its length in bytes. After an operand, a sign is an
/// operator; elsewhere it is a part of the number that follows.
fn token(rest: &str, offset: usize, is_behind_operand: bool) -> Result<(Token, usize), OttlError> {
    let Some(first) = rest.chars().next() else { return Ok((Token::End, 0)) };
    if first == '"' {
        return string(rest, offset);
    }
    if first.is_ascii_alphabetic() {
        let length = span(rest, |c| c.is_ascii_alphanumeric() || c == b'_');
        return Ok((Token::Word(rest[..length].to_owned()), length));
    }
    let is_operator = is_behind_operand && rest.starts_with(['+', '-']);
    if let Some(length) = number_length(rest).filter(|_| !is_operator) {
        return number(&rest[..length], offset).map(|token| (token, length));
    }
    if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
        return Ok((Token::Symbol(symbol), symbol.len()));
    }
    let error = OttlError::new(offset, format!("unexpected {}", quote(&first.to_string())));
    let foreign = FOREIGN.iter().find(|(written, _)| rest.starts_with(written));
    Err(foreign.map_or(error.clone(), |(_, help)| error.help(*help)))
}

/// Counts the bytes at the start of `text` for which `of_kind` is true.
fn span(text: &str, of_kind: impl Fn(u8) -> bool) -> usize {
    text.bytes().position(|c| !of_kind(c)).unwrap_or(text.len())
}

/// Returns the length of the number at the start of `rest`, in bytes. A number is `0x[a-fA-F0-9]+`,
/// `[-+]?\d*\.\d+([eE][-+]?\d+)?` or `[-+]?\d+`.
fn number_length(rest: &str) -> Option<usize> {
    let digits = |at: usize| span(&rest[at..], |c| c.is_ascii_digit());
    let sign_at = |at: usize| usize::from(rest[at..].starts_with(['-', '+']));
    if let Some(hex) = rest.strip_prefix("0x") {
        let length = span(hex, |c| c.is_ascii_hexdigit());
        return (length > 0).then_some(2 + length);
    }
    let whole = sign_at(0) + digits(sign_at(0));
    let is_whole = whole > sign_at(0);
    if !rest[whole..].starts_with('.') || digits(whole + 1) == 0 {
        return is_whole.then_some(whole);
    }
    let fraction = whole + 1 + digits(whole + 1);
    if !rest[fraction..].starts_with(['e', 'E']) {
        return Some(fraction);
    }
    let sign = fraction + 1 + sign_at(fraction + 1);
    Some(if digits(sign) == 0 { fraction } else { sign + digits(sign) })
}

fn number(text: &str, offset: usize) -> Result<Token, OttlError> {
    let token = match text.strip_prefix("0x") {
        Some(hex) => bytes_of_hex(hex).map(Token::Bytes),
        None if text.contains('.') => text.parse().ok().filter(|value: &f64| value.is_finite()).map(Token::Double),
        None => text.parse().ok().map(Token::Int),
    };
    token.ok_or_else(|| {
        let help = "write two digits for each byte; integers have 64 bits";
        OttlError::new(offset, format!("{} is not a valid number", quote(text))).help(help)
    })
}

/// Decodes pairs of hexadecimal digits. Returns `None` if a digit is missing or not valid.
pub(super) fn bytes_of_hex(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|p| p.len() == 2)?, 16).ok()).collect()
}

/// Reads a string in double quotes with Go's escapes, because OTTL's parser unquotes strings with `strconv.Unquote`.
fn string(rest: &str, offset: usize) -> Result<(Token, usize), OttlError> {
    let mut bytes = Vec::new();
    let mut chars = rest.char_indices().peekable();
    chars.next();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let text = String::from_utf8(bytes).map_err(|_| OttlError::new(offset, "the string is not UTF-8"))?;
                return Ok((Token::Text(text), at + 1));
            }
            '\\' => escape(&mut chars, &mut bytes).ok_or_else(|| unknown_escape(&rest[at..], offset + at))?,
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err(OttlError::new(offset, "the string is not closed").help("close it with a double quote"))
}

fn unknown_escape(rest: &str, offset: usize) -> OttlError {
    let written: String = rest.chars().take(2).collect();
    OttlError::new(offset, format!("unknown escape {} in a string", quote(&written)))
        .help("a backslash is written `\\\\`, also in regular expressions: \"\\\\d+\"")
}

/// Reads an escape after its backslash and appends its bytes. Returns `None` if it is not a valid escape.
fn escape(chars: &mut Peekable<CharIndices<'_>>, bytes: &mut Vec<u8>) -> Option<()> {
    let (_, c) = chars.next()?;
    match c {
        'a' => bytes.push(7),
        'b' => bytes.push(8),
        'f' => bytes.push(12),
        'n' => bytes.push(b'\n'),
        'r' => bytes.push(b'\r'),
        't' => bytes.push(b'\t'),
        'v' => bytes.push(11),
        '\\' | '"' => bytes.push(c as u8),
        'x' => bytes.push(u8::try_from(code(chars, 16, 2, 0)?).ok()?),
        '0'..='7' => bytes.push(u8::try_from(code(chars, 8, 2, c.to_digit(8)?)?).ok()?),
        'u' => push_char(code(chars, 16, 4, 0)?, bytes)?,
        'U' => push_char(code(chars, 16, 8, 0)?, bytes)?,
        _ => return None,
    }
    Some(())
}

/// Reads exactly `digits` digits and appends them to the number `start`.
fn code(chars: &mut Peekable<CharIndices<'_>>, radix: u32, digits: usize, start: u32) -> Option<u32> {
    (0..digits).try_fold(start, |code, _| {
        let (_, digit) = chars.next_if(|(_, c)| c.is_digit(radix))?;
        code.checked_mul(radix)?.checked_add(digit.to_digit(radix)?)
    })
}

fn push_char(code: u32, bytes: &mut Vec<u8>) -> Option<()> {
    bytes.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

/// Formats a piece of the condition for a message.
pub(super) fn quote(text: &str) -> String {
    quote_start(text, QUOTED_CHARS_MAX)
}

impl Token {
    /// Returns true if a value can end with this token.
    fn ends_operand(&self) -> bool {
        match self {
            Token::Word(word) => !JOINING.contains(&word.as_str()),
            Token::Text(_) | Token::Int(_) | Token::Double(_) | Token::Bytes(_) => true,
            Token::Symbol(symbol) => [")", "]", "}"].contains(symbol),
            Token::End => false,
        }
    }

    /// Formats the token for a message.
    pub(super) fn shown(&self) -> String {
        match self {
            Token::Word(word) => quote(word),
            Token::Text(text) => format!("the string {}", quote(text)),
            Token::Int(value) => quote(&value.to_string()),
            Token::Double(value) => quote(&value.to_string()),
            Token::Bytes(_) => "bytes".to_owned(),
            Token::Symbol(symbol) => quote(symbol),
            Token::End => "the end".to_owned(),
        }
    }
}
