//! Any text as a configuration gives settings or problems, and never a panic. Every problem is inside the text and is
//! shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spansieve::config::{load, render};
use spansieve::terminal::Paint;

fuzz_target!(|text: &str| {
    let env = |name: &str| (name != "UNSET").then(|| name.to_owned());
    let problems = match load(text, &env) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems.iter().cloned().collect(),
    };
    // YAML also ends lines at a carriage return. One line is added, because a missing key may be reported after the
    // end.
    let lines = text.matches(['\r', '\n']).count() + 2;
    for problem in &problems {
        assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{problem:?}");
        assert!(!problem.message.is_empty());
    }
    let shown = render(&problems, text, "config.yaml", Paint::PLAIN);
    assert_eq!(shown.is_empty(), problems.is_empty());
});
