use std::io::Write;

use super::*;

#[test]
fn a_url_has_a_scheme_and_a_host() {
    for good in ["http://127.0.0.1:8090", "https://spansieve.example/", "http://[::1]:80", "https://proxy/spansieve"] {
        assert_eq!(base_url(good).unwrap(), good.trim_end_matches('/'));
    }
    for bad in ["", "127.0.0.1:8090", "localhost", "ftp://host", "http://", "http://host/?x=1", "http://a b"] {
        let error = base_url(bad).unwrap_err().to_string();
        assert!(error.contains("write http://HOST:PORT"), "{bad}: {error}");
    }
}

#[test]
fn the_first_token_of_a_file_is_sent_and_not_shown() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"# for the API\n\n  first-token  \nsecond\n").unwrap();
    let token = read_token(file.path()).unwrap();
    assert_eq!(token, "Bearer first-token");
    assert!(!format!("{token:?}").contains("first-token"));
}

#[test]
fn a_file_without_a_token_is_named() {
    let long = "x".repeat(TOKEN_BYTES_MAX + 1);
    for (text, problem) in [("# none\n", "no token"), ("\u{1}", "not a token"), (long.as_str(), "not a token")] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let error = read_token(file.path()).unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains(file.path().to_str().unwrap()), "{error}");
    }
    assert!(read_token(Path::new("/nonexistent/token")).is_err());
    assert!(read_token(Path::new("/")).is_err(), "a directory");
}

#[test]
fn a_quoted_answer_is_short_and_printable() {
    assert_eq!(quote(b" a\nb\x1b[31m \n"), "a b [31m");
    assert_eq!(quote("\u{e4}".repeat(500).as_bytes()).chars().count(), QUOTE_CHARS_MAX);
}
