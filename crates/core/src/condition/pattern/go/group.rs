//! Groups and their flags (`parsePerlFlags`).

use regex_syntax::hir::{Capture, Hir};

use super::{Flags, NESTING_MAX, OpenGroup, PatternParser, PatternPart};
use crate::condition::pattern::PatternError;

const NO_SUCH_GROUP: &str = "groups are `(...)`, `(?:...)`, `(?P<name>...)` and `(?<name>...)`, flags `(?imsU)`; \
                             lookahead and lookbehind are not supported";

impl PatternParser<'_> {
    /// Reads an opening parenthesis with the name or the flags that belong to it.
    pub(super) fn open_group(&mut self) -> Result<(), PatternError> {
        let rest = self.rest();
        let named = ["(?P<", "(?<"].into_iter().find(|prefix| rest.len() > prefix.len() && rest.starts_with(prefix));
        if let Some(prefix) = named {
            let name = self.name(prefix.len())?;
            return self.capture(Some(name));
        }
        if rest.starts_with("(?") {
            return self.flags();
        }
        self.at += 1;
        self.capture(None)
    }

    /// Reads a closing parenthesis.
    pub(super) fn close_group(&mut self) -> Result<(), PatternError> {
        let start = self.at;
        self.at += 1;
        let Some(group) = self.open.pop().filter(|_| !self.open.is_empty()) else {
            return Err(self.error("unexpected )", start, "a literal parenthesis is written `\\)`"));
        };
        self.flags = group.flags_behind;
        let capture = group.capture;
        let PatternPart { hir, repetitions } = group.close();
        let hir = match capture {
            // The names are kept in `groups`, because Go accepts the same name twice and the engine does not.
            Some(index) => Hir::capture(Capture { index, name: None, sub: Box::new(hir) }),
            None => hir,
        };
        self.innermost().parts.push(PatternPart { hir, repetitions });
        Ok(())
    }

    /// Reads the name of a group: it begins after `prefix` bytes and ends before `>`.
    fn name(&mut self, prefix: usize) -> Result<String, PatternError> {
        let (start, length) = (self.at, self.rest().find('>'));
        let name = length.map_or("", |end| &self.rest()[prefix..end]).to_owned();
        self.at += length.map_or(self.rest().len(), |end| end + 1);
        if name.is_empty() || name.contains(|c: char| c != '_' && !c.is_ascii_alphanumeric()) {
            return Err(self.error("invalid named capture", start, NO_SUCH_GROUP));
        }
        Ok(name)
    }

    fn capture(&mut self, name: Option<String>) -> Result<(), PatternError> {
        // If two groups have the same name, the last one counts, because each one sets the attribute again.
        for known in self.groups.iter_mut().filter(|known| name.is_some() && **known == name) {
            *known = Some(String::new());
        }
        self.groups.push(name);
        let index = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        self.open(Some(index))
    }

    fn open(&mut self, capture: Option<u32>) -> Result<(), PatternError> {
        if self.open.len() > NESTING_MAX {
            return Err(self.error("expression nests too deeply", 0, "at most 250 groups can be nested"));
        }
        self.open.push(OpenGroup { flags_behind: self.flags, capture, ..OpenGroup::default() });
        Ok(())
    }

    /// Reads `(?flags)`, which hold up to the end of the enclosing group, or `(?flags:`, which opens a group.
    fn flags(&mut self) -> Result<(), PatternError> {
        let start = self.at;
        self.at += 2;
        let mut flags = self.flags;
        let (mut value, mut has_flag) = (true, false);
        while let Some(next) = self.peek() {
            self.at += next.len_utf8();
            match next {
                'i' | 'm' | 's' | 'U' => {
                    *flags.named(next) = value;
                    has_flag = true;
                }
                '-' if value => (value, has_flag) = (false, false),
                ':' | ')' if value || has_flag => {
                    if next == ':' {
                        self.open(None)?;
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => break,
            }
        }
        Err(self.error("invalid or unsupported Perl syntax", start, NO_SUCH_GROUP))
    }
}

impl Flags {
    fn named(&mut self, name: char) -> &mut bool {
        match name {
            'i' => &mut self.ignore_case,
            'm' => &mut self.multi_line,
            's' => &mut self.dot_newline,
            _ => &mut self.swap_greed,
        }
    }
}
