//! The tables of `docs/configuration.md`, made from the declarations of the modules.
//!
//! A table stands between `<!-- keys: PATH, PATH -->` and `<!-- end -->`. It has the keys at and below these paths, except
//! those for which another table names a longer path.

use crate::settings::setting::{Preset, Setting};

const BEGIN: &str = "<!-- keys: ";
const BEGIN_END: &str = " -->";
const END: &str = "<!-- end -->";

/// Returns `document` with its tables made anew from `settings`.
///
/// # Errors
/// A key for which there is no table, or a table without an end.
pub(super) fn with_tables(document: &str, settings: &[Setting]) -> Result<String, String> {
    let all: Vec<Vec<&str>> = document.lines().filter_map(paths).collect();
    let homeless = settings.iter().find(|setting| table_of(&all, &setting.path).is_none());
    if let Some(setting) = homeless {
        return Err(format!("there is no table for `{}`: add `{BEGIN}{}{BEGIN_END}`", setting.path, setting.path));
    }
    let mut out = String::with_capacity(document.len());
    let mut lines = document.lines();
    let mut table = 0;
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        if paths(line).is_some() {
            let end = lines.by_ref().find(|line| *line == END);
            end.ok_or_else(|| format!("`{line}` has no `{END}`"))?;
            let own = settings.iter().filter(|setting| table_of(&all, &setting.path) == Some(table));
            out.push_str("\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
            own.for_each(|setting| out.push_str(&row(setting)));
            out.push_str(&format!("\n{END}\n"));
            table += 1;
        }
    }
    Ok(out)
}

/// Returns the paths that a line names, if a table begins with it.
fn paths(line: &str) -> Option<Vec<&str>> {
    let paths = line.strip_prefix(BEGIN)?.strip_suffix(BEGIN_END)?;
    Some(paths.split(", ").collect())
}

/// Returns the number of the table that has the longest beginning of `path`.
fn table_of(tables: &[Vec<&str>], path: &str) -> Option<usize> {
    let is_below =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let lengths = tables.iter().enumerate().filter_map(|(table, prefixes)| {
        prefixes.iter().filter(|prefix| is_below(prefix)).map(|prefix| prefix.len()).max().map(|length| (length, table))
    });
    lengths.max().map(|(_, table)| table)
}

fn row(Setting { path, shape, preset, text }: &Setting) -> String {
    let preset = match preset {
        Preset::None => String::new(),
        Preset::Required | Preset::RequiredByType => "required".to_owned(),
        Preset::Value(value) => format!("`{value}`"),
        Preset::Words(words) => (*words).to_owned(),
    };
    let cells = [format!("`{path}`"), shape.word(), preset, text.replace('|', "\\|")];
    let cells: Vec<String> =
        cells.into_iter().map(|cell| if cell.is_empty() { cell } else { format!("{cell} ") }).collect();
    format!("| {}|\n", cells.join("| "))
}
