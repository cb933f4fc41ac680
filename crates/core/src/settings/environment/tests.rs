use super::*;
use crate::settings::diagnostic::Severity;
use crate::settings::document;

/// Returns what is said in place of `message` about line 1 of a configuration with values from the environment.
fn said(line: &str, message: &str, help: Option<&str>) -> (String, Option<String>) {
    let env = |name: &str| match name {
        "KEY" => Some("s3cret-0123456789".to_owned()),
        "SHORT" => Some("5".to_owned()),
        _ => None,
    };
    let text = format!("{line}\nother: x${{env:KEY}}\nnumber: ${{env:SHORT}}\n");
    let mut problems = Vec::new();
    let root = document::parse(&text, Some(&env), &mut problems).unwrap().unwrap();
    assert_eq!(problems, []);
    let mut problem = Diagnostic {
        severity: Severity::Error,
        line: 1,
        column: 1,
        length: 1,
        message: message.to_owned(),
        help: help.map(str::to_owned),
    };
    EnvironmentValues::of(&root).hide_in(&mut problem);
    (problem.message, problem.help)
}

#[test]
fn messages_name_variables_and_not_their_values() {
    let line = "limit: ${env:KEY}";
    let cases = [
        ("`s3cret-0123456789` is not a size", "`${env:KEY}` is not a size"),
        ("`s3cret-0123456789`: unknown unit `s3cret`", "the value of `${env:KEY}` cannot be used here"),
        ("`xs3cret-0123456789` is taken", "`x${env:KEY}` is taken"),
        ("expected a number, found `5`", "expected a number, found `5`"),
        ("unknown key `limit`", "unknown key `limit`"),
    ];
    for (message, expected) in cases {
        assert_eq!(said(line, message, None), (expected.to_owned(), None), "{message}");
    }
    let help = |help| said(line, "`s3cret-0123456789` is not a size", Some(help)).1;
    assert_eq!(help("write it like `512MiB`"), Some("write it like `512MiB`".to_owned()));
    assert_eq!(help("write `[s3cret-0123456789]`"), Some("write `[${env:KEY}]`".to_owned()));
}
