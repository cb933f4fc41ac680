use super::*;

#[test]
fn errors_that_an_operator_can_mend_have_a_remedy() {
    let source = ConfigSource::File("shop.yaml".into());
    for (kind, expected) in [
        (ErrorKind::NotFound, "spansieve config default > shop.yaml"),
        (ErrorKind::IsADirectory, "shop.yaml/config.yaml"),
        (ErrorKind::PermissionDenied, "let the user of this process read the file"),
        (ErrorKind::InvalidData, "save it as UTF-8"),
    ] {
        let help = source.help(&kind.into()).unwrap_or_default();
        assert!(help.contains(expected), "{kind}: {help}");
    }
}

#[test]
fn the_line_with_other_bytes_than_utf_8_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"otlp: {}\n# \xe9t\xe9\n").unwrap();
    let error = ConfigSource::File(file.path().to_owned()).read().unwrap_err();
    assert_eq!(error.to_string(), "it is not UTF-8 text: the first other byte is in line 2");
}
