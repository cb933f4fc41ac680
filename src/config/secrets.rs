//! Masks secrets in the lines of a configuration that messages show.
//!
//! Works on the text alone, because a file with a syntax error has no tree. It masks too much rather than too little.

use super::keys;

/// Names of keys that do not exist but that operators write for those of secrets, or under them.
const MISTAKEN_KEYS: [&str; 10] = [
    "api_key",
    "api-key",
    "authorization",
    "bearer_token",
    "header",
    "password",
    "secret",
    "token",
    "x-api-key",
    "credentials",
];

/// Returns the lines of `text`, with each character of a secret replaced by `*`.
pub(super) fn masked_lines(text: &str) -> Vec<String> {
    // A text without a key is another file, perhaps one with a secret.
    if !text.contains(':') {
        return text.lines().map(|line| mask_from(line, 0)).collect();
    }
    let mut block = None;
    let declared = keys::declared();
    let mut secrets = keys::secrets(&declared);
    let sections = keys::sections_of_secrets(&declared);
    secrets.extend(MISTAKEN_KEYS.map(str::to_owned));
    text.lines().map(|line| masked(line, &secrets, &sections, &mut block)).collect()
}

/// The lines that belong to the value of a secret key.
struct SecretLines {
    /// The indentation of the line that has the key, in bytes.
    indent: usize,
    /// Brackets that are open.
    depth: usize,
}

impl SecretLines {
    /// Returns true if `line` goes on with the value: it is within brackets, deeper than the key, or an item of its list.
    fn has(&self, line: &str) -> bool {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        let is_item = indent == self.indent && content.starts_with('-');
        self.depth > 0 || content.is_empty() || indent > self.indent || is_item
    }

    fn count_brackets(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '[' | '{' => self.depth += 1,
                ']' | '}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }
}

fn masked(line: &str, secrets: &[String], sections: &[String], block: &mut Option<SecretLines>) -> String {
    if let Some(open) = block.as_mut().filter(|block| block.has(line)) {
        open.count_brackets(line);
        // The name of a header is not a secret, and says which line is meant.
        let name = line.find(": ").filter(|_| open.depth == 0).map_or(0, |colon| colon + 1);
        return mask_from(line, name);
    }
    *block = None;
    let secret = secrets.iter().filter_map(|key| value_of(line, key));
    // A single value in place of a section with a secret in it is likely to be the secret.
    let misplaced = sections.iter().filter_map(|key| value_of(line, key)).filter(|&value| is_single(&line[value..]));
    let Some(value) = secret.chain(misplaced).min() else { return line.to_owned() };
    let indent = line.len() - line.trim_start().len();
    let mut open = SecretLines { indent, depth: 0 };
    open.count_brackets(&line[value..]);
    *block = Some(open);
    mask_from(line, value)
}

/// Returns where the value of `key` begins in `line`, if the line has that key.
fn value_of(line: &str, key: &str) -> Option<usize> {
    line.match_indices(key).find_map(|(at, _)| {
        let is_start = !line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
        let after = line[at + key.len()..].trim_start_matches(['"', '\'']).trim_start();
        (is_start && after.starts_with(':')).then(|| line.len() - after.len() + 1)
    })
}

/// Returns true if the value that begins with `text` is neither nothing nor a section, a list or an alias.
fn is_single(text: &str) -> bool {
    !text.trim_start().is_empty() && !text.trim_start().starts_with(['{', '[', '&', '*', '#', '}'])
}

/// Keeps white space and what gives a list or a section its form.
fn mask_from(line: &str, from: usize) -> String {
    let (shown, secret) = line.split_at(from);
    let masked = secret.chars().map(|c| if c.is_whitespace() || "[]{}-".contains(c) { c } else { '*' });
    shown.chars().chain(masked).collect()
}

#[cfg(test)]
mod tests;
