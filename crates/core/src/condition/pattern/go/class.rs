//! Character classes: `[...]`, `\d`, `[:alpha:]` and `\p{Greek}`.

use regex_syntax::hir::{Class as HirClass, ClassUnicode, ClassUnicodeRange, Hir, HirKind};

use super::PatternParser;
use crate::condition::pattern::PatternError;

/// The last code point before the surrogates.
const BEFORE_SURROGATES: u32 = 0xd7ff;
/// The first code point after the surrogates.
const BEHIND_SURROGATES: u32 = 0xe000;

/// The ranges of `\d`, `\s` and `\w`. They are ASCII only, and a vertical tab is not a space.
const PERL: [(char, &[(char, char)]); 3] = [
    ('d', &[('0', '9')]),
    ('s', &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')]),
    ('w', &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
];

/// The ranges of the names between `[:` and `:]`.
const POSIX: [(&str, &[(char, char)]); 14] = [
    ("alnum", &[('0', '9'), ('A', 'Z'), ('a', 'z')]),
    ("alpha", &[('A', 'Z'), ('a', 'z')]),
    ("ascii", &[('\0', '\x7f')]),
    ("blank", &[('\t', '\t'), (' ', ' ')]),
    ("cntrl", &[('\0', '\x1f'), ('\x7f', '\x7f')]),
    ("digit", &[('0', '9')]),
    ("graph", &[('!', '~')]),
    ("lower", &[('a', 'z')]),
    ("print", &[(' ', '~')]),
    ("punct", &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
    ("space", &[('\t', '\r'), (' ', ' ')]),
    ("upper", &[('A', 'Z')]),
    ("word", &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
    ("xdigit", &[('0', '9'), ('A', 'F'), ('a', 'f')]),
];

/// The scripts whose names have four letters. Any other name of four letters is an ISO 15924 code, which Go does not
/// know.
const SHORT_SCRIPTS: [&str; 9] = ["ahom", "cham", "kawi", "lisu", "miao", "modi", "newa", "thai", "toto"];

const NO_SUCH_CLASS: &str =
    "a class is a category (`\\pL`, `\\p{Lu}`), a script (`\\p{Greek}`) or a name such as `[[:alpha:]]`";

/// A set of characters.
pub(super) struct CharacterClass(ClassUnicode);

impl CharacterClass {
    fn of(ranges: &[(char, char)]) -> Self {
        CharacterClass(ClassUnicode::new(ranges.iter().map(|(start, end)| ClassUnicodeRange::new(*start, *end))))
    }

    /// Makes the class of the characters from `start` to `end`, both included. The class is empty if all of them are
    /// surrogates.
    pub(super) fn range(start: u32, end: u32) -> Self {
        let is_surrogate = |code| (BEFORE_SURROGATES + 1..BEHIND_SURROGATES).contains(&code);
        let start = char::from_u32(if is_surrogate(start) { BEHIND_SURROGATES } else { start });
        let end = char::from_u32(if is_surrogate(end) { BEFORE_SURROGATES } else { end });
        let range = start.zip(end).filter(|(start, end)| start <= end);
        CharacterClass(ClassUnicode::new(range.map(|(start, end)| ClassUnicodeRange::new(start, end))))
    }

    /// Makes the class for `.`. The class contains the newline if `newline` is set.
    pub(super) fn dot(newline: bool) -> Self {
        let class = CharacterClass::of(&[('\n', '\n')]).negated_if(true);
        if newline { CharacterClass::of(&[('\0', char::MAX)]) } else { class }
    }

    /// Makes the class `\d`, `\s` or `\w`; an upper-case name negates it. Returns `None` for any other name.
    pub(super) fn perl(name: char, ignore_case: bool) -> Option<Self> {
        let (_, ranges) = PERL.iter().find(|(known, _)| *known == name.to_ascii_lowercase())?;
        Some(CharacterClass::of(ranges).folded_if(ignore_case).negated_if(name.is_ascii_uppercase()))
    }

    /// Adds the other case of each letter, if `ignore_case` is set.
    pub(super) fn folded_if(mut self, ignore_case: bool) -> Self {
        if ignore_case {
            self.0.case_fold_simple();
        }
        self
    }

    fn negated_if(mut self, is_negated: bool) -> Self {
        if is_negated {
            self.0.negate();
        }
        self
    }

    pub(super) fn hir(self) -> Hir {
        Hir::class(HirClass::Unicode(self.0))
    }

    /// Finds a general category or a script of Unicode by its name, as Go's `unicodeTable` does.
    fn property(name: &str) -> Option<Self> {
        let is_filler = |c: char| matches!(c, '_' | '-' | ' ');
        let name: String = name.chars().filter(|c| !is_filler(*c)).map(|c| c.to_ascii_lowercase()).collect();
        let is_code = name.len() == 4 && !SHORT_SCRIPTS.contains(&name.as_str());
        match name.as_str() {
            "any" => Some(CharacterClass::of(&[('\0', char::MAX)])),
            "ascii" => Some(CharacterClass::of(&[('\0', '\x7f')])),
            // UTF-8 text does not contain surrogates.
            "cs" | "surrogate" => Some(CharacterClass::of(&[])),
            name if name.starts_with("is") || !name.bytes().all(|c| c.is_ascii_alphabetic()) => None,
            name => {
                let category = table("gc", name);
                category.or_else(|| if is_code { None } else { table("sc", name) })
            }
        }
    }
}

/// Looks up a Unicode property in the tables of the regex crate.
fn table(property: &str, value: &str) -> Option<CharacterClass> {
    let hir = regex_syntax::parse(&format!(r"\p{{{property}={value}}}")).ok()?;
    match hir.kind() {
        HirKind::Class(HirClass::Unicode(class)) => Some(CharacterClass(class.clone())),
        // The crate turns a class of one character into a literal.
        HirKind::Literal(literal) => {
            let mut chars = std::str::from_utf8(&literal.0).ok()?.chars();
            chars.next().map(|only| CharacterClass::of(&[(only, only)]))
        }
        _ => None,
    }
}

impl PatternParser<'_> {
    /// Reads `[...]`, beginning at the opening bracket.
    pub(super) fn bracketed_class(&mut self) -> Result<CharacterClass, PatternError> {
        let start = self.at;
        self.at += 1;
        let is_negated = self.rest().starts_with('^');
        self.at += usize::from(is_negated);
        let mut ranges = Vec::new();
        let mut is_first = true;
        while is_first || !self.rest().starts_with(']') {
            is_first = false;
            match self.class_item()? {
                Some(class) => ranges.extend(class.0.iter().copied()),
                None => ranges.extend(self.class_range(start)?.0.iter().copied()),
            }
        }
        self.at += 1;
        let class = CharacterClass(ClassUnicode::new(ranges));
        Ok(class.folded_if(self.flags.ignore_case).negated_if(is_negated))
    }

    /// Reads a class inside the brackets, if one comes next.
    fn class_item(&mut self) -> Result<Option<CharacterClass>, PatternError> {
        match self.posix_class()? {
            None => self.escaped_class(),
            class => Ok(class),
        }
    }

    /// Reads a class such as `[:alpha:]`. Without `:]` the bracket is a literal.
    fn posix_class(&mut self) -> Result<Option<CharacterClass>, PatternError> {
        let start = self.at;
        let Some(inner) = self.rest().strip_prefix("[:") else { return Ok(None) };
        let Some(end) = inner.find(":]") else { return Ok(None) };
        let name = &inner[..end];
        let (is_negated, plain) = name.strip_prefix('^').map_or((false, name), |plain| (true, plain));
        let class = POSIX.iter().find(|(known, _)| *known == plain).map(|(_, ranges)| CharacterClass::of(ranges));
        self.at += end + 4;
        let class = class.ok_or_else(|| self.error("invalid character class range", start, NO_SUCH_CLASS))?;
        Ok(Some(class.folded_if(self.flags.ignore_case).negated_if(is_negated)))
    }

    /// Reads a character, or two characters with a `-` between them. The class begins at offset `class_start`.
    fn class_range(&mut self, class_start: usize) -> Result<CharacterClass, PatternError> {
        let start = self.at;
        let first = self.class_char(class_start)?;
        let rest = self.rest();
        // A `-` before the closing bracket is a literal.
        if !rest.starts_with('-') || rest.len() < 2 || rest.starts_with("-]") {
            return Ok(CharacterClass::range(first, first));
        }
        self.at += 1;
        let last = self.class_char(class_start)?;
        if last < first {
            return Err(self.error(
                "invalid character class range",
                start,
                "the first character must not be greater than the last",
            ));
        }
        Ok(CharacterClass::range(first, last))
    }

    fn class_char(&mut self, class_start: usize) -> Result<u32, PatternError> {
        match self.peek() {
            None => Err(self.error("missing closing ]", class_start, "a literal bracket is written `\\[`")),
            Some('\\') => self.escaped_code(),
            Some(c) => {
                self.at += c.len_utf8();
                Ok(c.into())
            }
        }
    }

    /// Reads `\pL` or `\p{Greek}`, beginning at the backslash. `is_upper` is set for `\P`, which negates the class.
    pub(super) fn unicode_class(&mut self, is_upper: bool) -> Result<CharacterClass, PatternError> {
        let start = self.at;
        let rest = &self.text[self.at + 2..];
        let (name, length) = match rest.strip_prefix('{') {
            Some(inner) => {
                let end = inner.find('}');
                (end.map_or("", |end| &inner[..end]), end.map_or(rest.len(), |end| end + 2))
            }
            None => {
                let length = rest.chars().next().map_or(0, char::len_utf8);
                (&rest[..length], length)
            }
        };
        let (has_caret, plain) = name.strip_prefix('^').map_or((false, name), |plain| (true, plain));
        let class = CharacterClass::property(plain);
        self.at += 2 + length;
        let class = class.ok_or_else(|| self.error("invalid character class range", start, NO_SUCH_CLASS))?;
        Ok(class.folded_if(self.flags.ignore_case).negated_if(is_upper != has_caret))
    }
}
