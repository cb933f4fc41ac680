//! A parser of Go's `regexp` syntax, which is RE2's. The result is the tree that the regex engine takes.
//!
//! The Collector's policies are written in this syntax. The syntax of Rust's `regex` looks similar but differs: there
//! `\w` and `\b` cover all of Unicode, a literal `{` is an error, and `&&` within a class is an operator. Source:
//! `regexp/syntax/parse.go` of Go 1.26, with the flags of `regexp.Compile`.

mod class;
mod escape;
mod group;

use regex_syntax::hir::{Hir, Look, Repetition};

use super::PatternError;
use class::CharacterClass;

/// The largest repetition count, and the largest product of nested counts (`repeat` and `repeatIsValid` in `parse.go`).
const REPETITIONS_MAX: u32 = 1000;

/// The most levels of nested groups. The engine walks the tree recursively, so this limit protects the stack. It is the
/// default of Rust's `regex`; Go takes 1,000.
const NESTING_MAX: usize = 250;

pub(super) struct ParsedPattern {
    pub(super) hir: Hir,
    /// The names of the groups, in the order of their opening parentheses. `None` for a group without a name; empty if
    /// a later group has the same name.
    pub(super) groups: Vec<Option<String>>,
}

/// The flags that `(?flags)` sets.
#[derive(Clone, Copy, Default)]
struct Flags {
    /// `i`: letters match in either case.
    ignore_case: bool,
    /// `m`: `^` and `$` match at line ends.
    multi_line: bool,
    /// `s`: `.` matches a newline.
    dot_newline: bool,
    /// `U`: `x*` is lazy and `x*?` greedy.
    swap_greed: bool,
}

/// A group whose closing parenthesis is not read yet. The whole expression counts as the outermost group.
#[derive(Default)]
struct OpenGroup {
    /// The flags that hold after the group ends.
    flags_behind: Flags,
    /// The index of a capturing group, from 1; `None` for a group that does not capture.
    capture: Option<u32>,
    /// The alternatives that are complete.
    branches: Vec<PatternPart>,
    /// The parts of the alternative that is being read.
    parts: Vec<PatternPart>,
}

/// A part of an expression.
struct PatternPart {
    hir: Hir,
    /// The largest product of nested repetition counts in this part.
    repetitions: u32,
}

struct PatternParser<'a> {
    text: &'a str,
    at: usize,
    flags: Flags,
    /// The groups that are open, innermost last. Never empty: the first is the whole expression.
    open: Vec<OpenGroup>,
    groups: Vec<Option<String>>,
}

/// Parses a whole expression.
pub(super) fn parse(text: &str) -> Result<ParsedPattern, PatternError> {
    let open = vec![OpenGroup::default()];
    let mut parser = PatternParser { text, at: 0, flags: Flags::default(), open, groups: Vec::new() };
    let mut repeated = None;
    while let Some(next) = parser.peek() {
        repeated = parser.token(next, repeated)?;
    }
    let whole = parser.open.pop().filter(|_| parser.open.is_empty());
    let whole = whole.ok_or_else(|| parser.error("missing closing )", 0, "a literal parenthesis is written `\\(`"))?;
    Ok(ParsedPattern { hir: whole.close().hir, groups: parser.groups })
}

impl PatternParser<'_> {
    /// Reads the token that begins with `next`. `repeated` is the offset of the repetition operator directly before it,
    /// if any. Returns the offset of this token if it is a repetition operator.
    fn token(&mut self, next: char, repeated: Option<usize>) -> Result<Option<usize>, PatternError> {
        let start = self.at;
        match next {
            '(' => self.open_group()?,
            '|' => {
                self.at += 1;
                self.innermost().end_branch();
            }
            ')' => self.close_group()?,
            '^' => self.look(1, if self.flags.multi_line { Look::StartLF } else { Look::Start }),
            '$' => self.look(1, if self.flags.multi_line { Look::EndLF } else { Look::End }),
            '.' => {
                self.at += 1;
                self.push(CharacterClass::dot(self.flags.dot_newline).hir());
            }
            '[' => {
                let class = self.bracketed_class()?;
                self.push(class.hir());
            }
            '*' => return self.repeat(1, 0, None, repeated).map(|()| Some(start)),
            '+' => return self.repeat(1, 1, None, repeated).map(|()| Some(start)),
            '?' => return self.repeat(1, 0, Some(1), repeated).map(|()| Some(start)),
            '{' => {
                if let Some((length, min, max)) = counts(self.rest()) {
                    return self.repeat(length, min, max, repeated).map(|()| Some(start));
                }
                self.take_literal('{');
            }
            '\\' => self.escaped()?,
            other => self.take_literal(other),
        }
        Ok(None)
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Returns the group that is being read.
    fn innermost(&mut self) -> &mut OpenGroup {
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    fn push(&mut self, hir: Hir) {
        self.innermost().parts.push(PatternPart { hir, repetitions: 1 });
    }

    fn look(&mut self, length: usize, look: Look) {
        self.at += length;
        self.push(Hir::look(look));
    }

    fn take_literal(&mut self, literal: char) {
        self.at += literal.len_utf8();
        self.push_literal(literal.into());
    }

    /// Appends a literal code point. A surrogate matches nothing, because UTF-8 text does not contain surrogates.
    fn push_literal(&mut self, code: u32) {
        let class = CharacterClass::range(code, code).folded_if(self.flags.ignore_case);
        self.push(class.hir());
    }

    /// Repeats the last part. `length` is the length of the operator in bytes, without the `?` that makes it lazy.
    fn repeat(
        &mut self,
        length: usize,
        min: u32,
        max: Option<u32>,
        repeated: Option<usize>,
    ) -> Result<(), PatternError> {
        let start = self.at;
        self.at += length;
        let is_lazy = self.rest().starts_with('?');
        self.at += usize::from(is_lazy);
        if let Some(first) = repeated {
            return Err(self.error("invalid nested repetition operator", first, "write a group: `(?:a*)+`"));
        }
        let is_too_large = |count: u32| count > REPETITIONS_MAX;
        if is_too_large(min) || max.is_some_and(|max| is_too_large(max) || max < min) {
            return Err(self.invalid_count(start));
        }
        let greedy = is_lazy == self.flags.swap_greed;
        let Some(PatternPart { hir, repetitions }) = self.innermost().parts.pop() else {
            let help = "a literal operator is escaped: `\\*`";
            return Err(self.error("missing argument to repetition operator", start, help));
        };
        let own = match max {
            Some(0) => 0,
            max => max.unwrap_or(min).max(1),
        };
        let product = own.saturating_mul(repetitions).max(1);
        if product > REPETITIONS_MAX && (min >= 2 || max.is_some_and(|max| max >= 2)) {
            return Err(self.invalid_count(start));
        }
        let hir = Hir::repetition(Repetition { min, max, greedy, sub: Box::new(hir) });
        self.innermost().parts.push(PatternPart { hir, repetitions: product });
        Ok(())
    }

    fn invalid_count(&self, start: usize) -> PatternError {
        self.error(
            "invalid repeat count",
            start,
            "counts, and products of nested counts, are at most 1000: use `*` or `+`",
        )
    }

    /// Makes an error about the text from `start` to the current position.
    fn error(&self, message: &'static str, start: usize, help: &'static str) -> PatternError {
        PatternError::new(message, &self.text[start..self.at], help, start)
    }
}

impl OpenGroup {
    fn end_branch(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        let repetitions = largest(&parts);
        let hir = Hir::concat(parts.into_iter().map(|part| part.hir).collect());
        self.branches.push(PatternPart { hir, repetitions });
    }

    /// Ends the group and returns the content of its parentheses.
    fn close(mut self) -> PatternPart {
        self.end_branch();
        let repetitions = largest(&self.branches);
        PatternPart { hir: Hir::alternation(self.branches.into_iter().map(|part| part.hir).collect()), repetitions }
    }
}

fn largest(parts: &[PatternPart]) -> u32 {
    parts.iter().map(|part| part.repetitions).max().unwrap_or(1)
}

/// Reads `{2}`, `{2,}` or `{2,3}`: the length in bytes, the minimum and the maximum. Returns `None` if the brace is a
/// literal.
fn counts(text: &str) -> Option<(usize, u32, Option<u32>)> {
    let inner = &text[1..text.find('}')?];
    let (min, max) = match inner.split_once(',') {
        None => (count(inner)?, Some(count(inner)?)),
        Some((min, "")) => (count(min)?, None),
        Some((min, max)) => (count(min)?, Some(count(max)?)),
    };
    Some((inner.len() + 2, min, max))
}

/// Parses decimal digits without a leading zero. A number that is too large becomes `u32::MAX`.
fn count(digits: &str) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    let is_padded = digits.len() > 1 && digits.starts_with('0');
    (is_number && !is_padded).then(|| digits.parse().unwrap_or(u32::MAX))
}
