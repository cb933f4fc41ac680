//! Any text as a configuration: settings or problems, never a panic, and every problem inside the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spansieve::config::load;

fuzz_target!(|text: &str| {
    let env = |name: &str| (name != "UNSET").then(|| name.to_owned());
    let problems = match load(text, &env) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems.iter().cloned().collect(),
    };
    // One line more: what is missing at the end stands behind it.
    let lines = text.lines().count() + 1;
    for problem in problems {
        assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{problem:?}");
        assert!(!problem.message.is_empty());
    }
});
