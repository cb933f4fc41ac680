//! Escapes: a backslash with the characters that belong to it (`parse`, `parseEscape`).

use regex_syntax::hir::Look;

use super::{CharacterClass, PatternParser};
use crate::condition::pattern::PatternError;

/// The last code point of Unicode.
const CODE_MAX: u32 = 0x10_ffff;

impl PatternParser<'_> {
    /// Reads an escape outside of classes.
    pub(super) fn escaped(&mut self) -> Result<(), PatternError> {
        match self.rest().chars().nth(1) {
            Some('A') => self.look(2, Look::Start),
            Some('z') => self.look(2, Look::End),
            Some('b') => self.look(2, Look::WordAscii),
            Some('B') => self.look(2, Look::WordAsciiNegate),
            Some('Q') => self.quoted(),
            _ => match self.escaped_class()? {
                Some(class) => self.push(class.hir()),
                None => {
                    let code = self.escaped_code()?;
                    self.push_literal(code);
                }
            },
        }
        Ok(())
    }

    /// Reads `\Q...\E`. All characters between them are literal. Without `\E` the rest of the expression is literal.
    fn quoted(&mut self) {
        self.at += 2;
        let end = self.rest().find("\\E");
        let literal = self.rest()[..end.unwrap_or(self.rest().len())].to_owned();
        literal.chars().for_each(|c| self.take_literal(c));
        self.at += end.map_or(0, |_| 2);
    }

    /// Reads a class such as `\d` or `\pL`. Returns `None` if the next characters are not one.
    pub(super) fn escaped_class(&mut self) -> Result<Option<CharacterClass>, PatternError> {
        let Some(name) = self.rest().strip_prefix('\\').and_then(|rest| rest.chars().next()) else { return Ok(None) };
        if matches!(name, 'p' | 'P') {
            return self.unicode_class(name == 'P').map(Some);
        }
        let class = CharacterClass::perl(name, self.flags.ignore_case);
        self.at += if class.is_some() { 2 } else { 0 };
        Ok(class)
    }

    /// Reads an escape, beginning at its backslash, and returns its code point.
    pub(super) fn escaped_code(&mut self) -> Result<u32, PatternError> {
        let start = self.at;
        self.at += 1;
        let Some(c) = self.peek() else {
            return Err(self.error("trailing backslash at end of expression", start, "a literal backslash is `\\\\`"));
        };
        self.at += c.len_utf8();
        let code = match c {
            'a' => Some(0x07),
            'f' => Some(0x0c),
            'n' => Some(0x0a),
            'r' => Some(0x0d),
            't' => Some(0x09),
            'v' => Some(0x0b),
            'x' => self.hexadecimal(),
            '0'..='7' => self.octal(c),
            c => (c.is_ascii() && !c.is_ascii_alphanumeric()).then(|| c.into()),
        };
        code.ok_or_else(|| {
            let help = "a literal backslash is `\\\\`; in YAML write expressions without quotes or in single quotes";
            self.error("invalid escape sequence", start, help)
        })
    }

    /// Reads one to three octal digits; `first` is the first of them. A single digit other than 0 is a back-reference,
    /// which is not supported: `None`.
    fn octal(&mut self, first: char) -> Option<u32> {
        let digit = |c: char| c.to_digit(8);
        if first != '0' && self.peek().and_then(digit).is_none() {
            return None;
        }
        let mut code = digit(first)?;
        for _ in 0..2 {
            let Some(next) = self.peek().and_then(digit) else { break };
            code = code * 8 + next;
            self.at += 1;
        }
        Some(code)
    }

    /// Reads two hexadecimal digits, or any number of them in braces.
    fn hexadecimal(&mut self) -> Option<u32> {
        let rest = self.rest();
        let (digits, length) = match rest.strip_prefix('{') {
            Some(inner) => {
                let digits = &inner[..inner.find('}')?];
                (digits, digits.len() + 2)
            }
            None => (rest.get(..2)?, 2),
        };
        let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let significant = digits.trim_start_matches('0');
        let code = if significant.is_empty() { Ok(0) } else { u32::from_str_radix(significant, 16) };
        let code = code.ok().filter(|code| is_number && *code <= CODE_MAX)?;
        self.at += length;
        Some(code)
    }
}
