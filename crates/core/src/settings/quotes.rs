//! Finds the beginning of a quoted text that ends on a later line, or not at all.
//!
//! If a quote is missing, the text runs on to the next quote, and the parser reports what comes after that, which may be
//! many lines below the mistake.

/// A quoted text of several lines. Lines and columns are counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LongQuote {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) quote: char,
    /// The line on which it ends; `None` if it has no end.
    pub(super) end: Option<usize>,
}

/// Returns the last quoted text of several lines that begins before the end of line `last` and ends there or later.
pub(super) fn long_quote(text: &str, last: usize) -> Option<LongQuote> {
    let mut scanner = Scanner { open: None, found: None, block_indent: None };
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if number > last && scanner.open.is_none() {
            break;
        }
        scanner.line(number, line);
    }
    let unclosed = scanner.open.map(|open| LongQuote { end: None, ..open });
    unclosed.or(scanner.found.filter(|found| found.end.is_some_and(|end| end >= last)))
}

struct Scanner {
    open: Option<LongQuote>,
    found: Option<LongQuote>,
    /// The indentation of the line that began a block of text (`|` or `>`), whose lines are indented further.
    block_indent: Option<usize>,
}

impl Scanner {
    fn line(&mut self, number: usize, line: &str) {
        let indent = line.len() - line.trim_start().len();
        match self.block_indent {
            Some(block) if indent > block || line.trim().is_empty() => return,
            _ => self.block_indent = None,
        }
        let mut before = ' ';
        let mut chars = line.chars().enumerate().peekable();
        while let Some((index, c)) = chars.next() {
            if let Some(open) = self.open {
                let next = chars.peek().map(|(_, next)| *next);
                let is_escape =
                    (open.quote == '"' && c == '\\') || (open.quote == '\'' && c == '\'' && next == Some('\''));
                if is_escape {
                    chars.next();
                } else if c == open.quote {
                    self.close(open, number);
                    before = 'x';
                }
                continue;
            }
            let is_start = matches!(before, ' ' | ':' | '-' | '[' | '{' | ',');
            match c {
                '#' if index == 0 || line.chars().nth(index - 1) == Some(' ') => break,
                '"' | '\'' if is_start => {
                    self.open = Some(LongQuote { line: number, column: index + 1, quote: c, end: None });
                }
                ' ' => {}
                _ => before = c,
            }
        }
        if self.open.is_none() && has_block(line) {
            self.block_indent = Some(indent);
        }
    }

    fn close(&mut self, open: LongQuote, number: usize) {
        self.open = None;
        if open.line < number {
            self.found = Some(LongQuote { end: Some(number), ..open });
        }
    }
}

/// Returns true if a block of text begins at the end of the line, as in `key: |`.
fn has_block(line: &str) -> bool {
    let last = line.trim_end().rsplit(' ').next().unwrap_or_default();
    last.starts_with(['|', '>'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, last: usize) -> Option<(usize, usize, Option<usize>)> {
        long_quote(text, last).map(|quote| (quote.line, quote.column, quote.end))
    }

    #[test]
    fn a_missing_quote_is_found_where_the_text_begins() {
        assert_eq!(found("a: \"b\nc: d\n", 2), Some((1, 4, None)));
        assert_eq!(found("a: [\"b]\nc: d\ne: \"f\"\n", 3), Some((1, 5, Some(3))));
        assert_eq!(found("a: 'it''s\nc: 'd'\n", 2), Some((1, 4, Some(2))));
        assert_eq!(found("a: \"\\\"b\nc: \"d\"\n", 2), Some((1, 4, Some(2))));
    }

    #[test]
    fn other_quotes_are_passed_over() {
        assert_eq!(found("a: \"b\"\nc: [d\n", 2), None);
        assert_eq!(found("a: it's\nc: [d\n", 2), None);
        assert_eq!(found("a: b # \"c\nd: [e\n", 2), None);
        assert_eq!(found("a: |\n  \"b\nc: [d\n", 3), None);
        // It ends above the place of the error.
        assert_eq!(found("a: \"b\n  c\"\nd: [e\n", 3), None);
    }
}
