use super::*;

fn contains(tokens: &Tokens, token: &str) -> bool {
    tokens.contains(&TokenHash::of(token.as_bytes()))
}

#[test]
fn only_the_lines_of_the_file_are_tokens() {
    let file = "# since May\nfirst-token_0123456789\n\n  second.token~with+every/kind==\r\n#old-token-0123456789";
    let tokens = Tokens::parse(file.as_bytes()).unwrap();
    let good = ["first-token_0123456789", "second.token~with+every/kind=="];
    assert!(good.iter().all(|token| contains(&tokens, token)));
    let bad = [
        "",
        "first-token_012345678",
        "first-token_01234567890",
        "FIRST-TOKEN_0123456789",
        " first-token_0123456789",
        "second.token~with+every/kind=",
        "old-token-0123456789",
        "#old-token-0123456789",
        "# since May",
    ];
    assert_eq!(bad.iter().find(|token| contains(&tokens, token)), None);
    assert!(!tokens.has_weak());
}

#[test]
fn each_invalid_token_has_its_own_error() {
    let long = "a".repeat(TOKEN_BYTES_MAX + 1);
    let many = (0..=TOKENS_MAX).map(|n| format!("token{n}\n")).collect::<String>();
    let cases = [
        ("", TokenError::Empty),
        ("# nothing\n\n", TokenError::Empty),
        ("two words", TokenError::Characters),
        ("Bearer:x", TokenError::Characters),
        ("a=b", TokenError::Characters),
        ("==", TokenError::Characters),
        ("t\u{f6}ken", TokenError::Characters),
        (&long, TokenError::Long),
        (&many, TokenError::Many),
    ];
    for (text, expected) in cases {
        assert_eq!(Tokens::parse(text.as_bytes()), Err(expected), "{text}");
    }
    assert!(Tokens::parse(b"0123456789abcdef\n0123456789abcde").unwrap().has_weak());
    assert!(!Tokens::parse(&b"a".repeat(TOKEN_BYTES_MAX)).unwrap().has_weak());
}

#[test]
fn debug_output_does_not_show_a_token() {
    let mut tokens = Tokens::default();
    tokens.add(b"secret-secret-secret").unwrap();
    assert_eq!(format!("{tokens:?}"), "Tokens { hashes: [TokenHash], has_weak: false }");
}
