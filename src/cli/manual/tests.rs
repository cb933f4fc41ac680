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
    super::page(&Cli::command(), &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert_eq!(page.matches(".ds Aq \\(aq").count(), 1, "the definitions are at the start alone: {page}");
    assert!(page.contains(".TH spansieve 1") && page.contains("validate"), "{page}");

    let directory = tempfile::tempdir().unwrap();
    pages(directory.path()).unwrap();
    let mut names: Vec<String> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in ["spansieve.1", "spansieve-validate.1", "spansieve-run.1", "spansieve-config-default.1"] {
        assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
    }
    let page = std::fs::read_to_string(directory.path().join("spansieve-validate.1")).unwrap();
    assert!(page.contains("strict"), "{page}");
}

#[test]
fn examples_stay_lines() {
    let text = "Examples:\n  a --b c    d\n  e\n\n.point\nback\\slash\n";
    let lines = ".SH EXAMPLES\n.nf\n  a \\-\\-b c    d\n  e\n\n\\&.point\nback\\eslash\n.fi\n";
    assert_eq!(examples(text), lines);
}

/// Returns the commands that can be run: the program, its subcommands, and theirs.
fn commands() -> Vec<Command> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut all = vec![program];
    let mut at = 0;
    while let Some(command) = all.get(at) {
        let below: Vec<Command> = command.get_subcommands().cloned().collect();
        all.extend(below);
        at += 1;
    }
    all
}

#[test]
fn every_command_has_examples_in_its_help_and_in_its_page() {
    for command in commands() {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.starts_with("Examples:\n  "), "{name}: {help}");
        let mut text = Vec::new();
        page(&command, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let first = help.lines().nth(1).unwrap().replace('-', "\\-");
        assert!(text.lines().any(|line| line == first), "{name}: {first}\n{text}");
    }
}
