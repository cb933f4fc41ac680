use super::*;

#[test]
fn a_query_names_what_is_wanted() {
    let filter = Filter::parse("policy=errors&policy=a%20b&verdict=kept&service=api").unwrap();
    let wants = |verdict: &str, policy: &str| filter.wants(verdict, || policy.to_owned());
    assert!(wants("kept", "errors") && wants("kept", "a b"));
    assert!(!wants("dropped", "errors") && !wants("kept", "slow"));
    assert!(filter.names_services() && filter.wants_any(&["db".into(), "api".into()]) && !filter.wants_any(&[]));
    let all = Filter::parse("").unwrap();
    assert!(all.wants("dropped", || unreachable!("no policy is named")) && !all.names_services());
}

#[test]
fn a_bad_query_says_what_is_wrong() {
    for (query, text) in [
        ("polcy=errors", "policy, service and verdict"),
        ("verdict=maybe", "kept or dropped, not \"maybe\""),
        ("=", "\"\" is none of them"),
        (&"service=a&".repeat(65), "at most 64"),
    ] {
        let error = Filter::parse(query).unwrap_err().to_string();
        assert!(error.contains(text), "{query}: {error}");
    }
    let long = Filter::parse(&format!("verdict={}", "x".repeat(10_000))).unwrap_err();
    assert!(long.to_string().len() < 200, "{long}");
}
