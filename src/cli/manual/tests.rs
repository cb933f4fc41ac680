use clap::ValueEnum;

use super::*;

#[test]
fn completions_of_every_shell_know_the_subcommands_and_their_options() {
    for shell in Shell::value_variants() {
        let mut script = Vec::new();
        completions(*shell, &mut script).unwrap();
        let script = String::from_utf8(script).unwrap();
        for word in ["validate", "emulator", "explain", "bytes-per-span", "completions"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn there_is_a_man_page_for_the_program_and_for_each_subcommand() {
    let mut page = Vec::new();
    man(None, &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains(".TH spansieve 1") && page.contains("validate"), "{page}");

    let directory = tempfile::tempdir().unwrap();
    man(Some(directory.path()), &mut io::sink()).unwrap();
    let mut names: Vec<String> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in ["spansieve.1", "spansieve-validate.1", "spansieve-run.1", "spansieve-config-default.1"] {
        assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
    }
    let page = std::fs::read_to_string(directory.path().join("spansieve-validate.1")).unwrap();
    assert!(page.contains("strict") && page.contains("Examples"), "{page}");
}

#[test]
fn a_directory_that_is_missing_is_named() {
    let error = man(Some(Path::new("/nonexistent/man1")), &mut io::sink()).unwrap_err();
    assert!(error.to_string().starts_with("/nonexistent/man1: "), "{error}");
}
