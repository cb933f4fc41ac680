use super::masked_lines;

fn check(text: &str, expected: &str) {
    assert_eq!(masked_lines(text).join("\n"), expected, "of {text}");
}

#[test]
fn values_of_secret_keys_are_masked_and_nothing_else_is() {
    check("otlp:\n  listen: [a:1]", "otlp:\n  listen: [a:1]");
    check("bearer: {tokens: [s3cret, other], x: 1}", "bearer: {tokens: [******* *****]* ** *}");
    check("    tokens: s3cret\n    next: shown", "    tokens: ******\n    next: shown");
    check("tokens_file: /etc/tokens", "tokens_file: /etc/tokens");
}

#[test]
fn lists_and_sections_of_several_lines_are_masked() {
    check("  tokens:\n  - s3cret\n  - other\n  next: shown", "  tokens:\n  - ******\n  - *****\n  next: shown");
    check("  tokens:\n    - s3cret\nnext: shown", "  tokens:\n    - ******\nnext: shown");
    check(
        "  headers:\n    authorization: Bearer s3cret\n\n    api-key: \"x\"\n  batch: 1",
        "  headers:\n    authorization: ****** ******\n\n    api-key: ***\n  batch: 1",
    );
}

#[test]
fn brackets_that_stay_open_are_masked_to_their_end() {
    check("{\"tokens\": [\ns3cret,\nother\n]}\nnext: shown", "{\"tokens\": [\n*******\n*****\n]}\nnext: shown");
    // A bracket that is never closed: everything below is taken as part of it.
    check("tokens: [s3cret\nnext: hidden", "tokens: [******\n***** ******");
}

#[test]
fn a_secret_in_a_wrong_place_is_masked() {
    check("otlp:\n  auth:\n    bearer: s3cret\n", "otlp:\n  auth:\n    bearer: ******");
    check("  auth: s3cret\n  listen: [a:1]", "  auth: ******\n  listen: [a:1]");
    check("auth: {bearer: s3cret}", "auth: {bearer: ******}");
    check("auth: {bearer: {token: s3cret}}", "auth: {bearer: {token: ******}}");
    check("export:\n  header: {authorization: s3cret}", "export:\n  header: {************** ******}");
    check("export: s3cret", "export: ******");
    check("s3cret\nother", "******\n*****");
    let right = "otlp:\n  auth: {google: {audiences: [a]}}\n  cors: {}\nexport: # the sink\n  project: p";
    check(right, right);
}
