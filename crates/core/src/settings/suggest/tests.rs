use super::*;

#[test]
fn words_that_are_near_are_meant() {
    let known = ["latency", "span_count", "IsMatch", "name"];
    let cases = [
        ("latncy", Some("latency")),
        ("LATENCY", Some("latency")),
        ("span", Some("span_count")),
        ("IsMach", Some("IsMatch")),
        ("nam", Some("name")),
        ("na", None),
        ("policy", None),
        ("", None),
    ];
    for (word, meant) in cases {
        assert_eq!(closest(word, known.into_iter()), meant, "{word}");
    }
    assert_eq!(did_you_mean("nam", known.into_iter()).as_deref(), Some("did you mean `name`?"));
}
