//! `docs/configuration.md` and `docs/config.schema.json` say what the modules declare.

use std::path::Path;

use crate::config::{keys, reference};

/// Set to write the documents instead of comparing them.
const WRITE: &str = "SPANSIEVE_WRITE_REFERENCE";

/// Compares the file `name` with what it must be, or makes it so.
fn check(name: &str, make: impl Fn(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let expected = make(&written);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(path, expected).unwrap();
    } else {
        assert!(written == expected, "{name} does not say what the modules declare: run the test with {WRITE}=1");
    }
}

#[test]
fn the_schema_says_what_the_modules_declare() {
    check("docs/config.schema.json", |_| crate::config::schema());
    check("docs/tests.schema.json", |_| crate::config::test_schema());
}

#[test]
fn the_document_says_what_the_modules_declare() {
    check("docs/configuration.md", |written| reference::with_tables(written, &keys::declared()).unwrap());
}
