use super::*;
use crate::config::foreign_tree;

#[test]
fn references_are_kept_or_translated() {
    for (text, expected) in [
        ("${env:HOST}:4317", Ok("${env:HOST}:4317")),
        ("${HOST}", Ok("${env:HOST}")),
        ("${HOST:-localhost}/x", Ok("${env:HOST:-localhost}/x")),
        ("${env:A:-b:c}${B}", Ok("${env:A:-b:c}${env:B}")),
        ("^/health$", Ok("^/health$")),
        ("a$$b", Ok("a$$b")),
        ("a${b", Ok("a$${b")),
        ("${file:/etc/x}", Err("`file:`")),
        ("${yaml:a: b}", Err("`yaml:`")),
        ("${env:A:-${env:B}}", Err("within a reference")),
        ("${1}", Err("not an environment variable")),
        ("${}", Err("not an environment variable")),
    ] {
        match (references(text), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{text}: {found}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
}

#[test]
fn quoted_texts_are_read_as_they_were() {
    let texts = [
        "",
        "a",
        "5",
        "5%",
        "true",
        "null",
        "~",
        "a: b",
        "a, [b]",
        "'",
        "\"",
        "\\d+$",
        "a\nb",
        "\t",
        "#x",
        "- a",
        "*a",
        "&a",
        "\u{85}\u{feff}",
        "😀",
        "é",
        "0x1f",
        ".inf",
        "<<",
        "a#b",
        " a ",
    ];
    for text in texts {
        for yaml in [format!("k: {}\n", quoted(text)), format!("k: [{}, x]\n", quoted(text))] {
            let tree = foreign_tree(&yaml).unwrap().unwrap();
            let value = Foreign::root(&tree).get("k").unwrap();
            let scalar = value.one_or_more().remove(0);
            assert_eq!(scalar.text().unwrap_or(""), text, "{yaml}");
            assert_eq!(scalar.scalar().map(|scalar| scalar.kind), Some(ScalarType::Text), "{yaml}");
        }
    }
}

#[test]
fn only_variables_without_a_default_must_be_set() {
    let line = "a: '${env:A}${env:B:-c}${env:D}'";
    assert_eq!(variables(line).collect::<Vec<_>>(), ["A", "D"]);
}
