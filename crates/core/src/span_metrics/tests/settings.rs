//! The section `span_metrics`.

use crate::testing::load;

#[test]
fn mistakes_are_explained() {
    let cases = [
        ("{buckets: [2ms, 1ms]}", "`buckets` do not rise"),
        ("{buckets: [0ms]}", "out of range"),
        ("{max_series: 0}", "out of range"),
        ("{spans: some}", "`some`"),
        ("{dimensions: [{name: span.name}]}", "the label `span_name` exists already"),
        ("{dimensions: [{name: le}]}", "the label `le` exists already"),
        ("{dimensions: [{name: a.b}, {name: a-b}]}", "two dimensions have the label `a_b`"),
        ("{dimensions: [{default: x}]}", "the key `name` is missing"),
        ("{include: ['name ==']}", "OTTL"),
        ("{exclude: []}", "empty list"),
        ("{max_serie: 5}", "max_serie"),
    ];
    for (section, message) in cases {
        let problems = load(&format!("span_metrics: {section}")).expect_err(section);
        assert!(problems.contains(message), "{section}: {problems}");
    }
}

#[test]
fn the_section_alone_is_enough() {
    let settings = load("span_metrics: {}").unwrap().span_metrics.unwrap();
    assert_eq!((settings.max_series, settings.buckets.len(), settings.samples_per_series()), (2_000, 16, 20));
    assert_eq!(load("").unwrap().span_metrics, None);
}
