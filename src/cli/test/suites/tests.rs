use super::*;

#[test]
fn a_test_belongs_to_the_configuration_with_the_longest_name_before_it() {
    let names = ["config.yaml", "shop.yaml", "shop.eu.yaml", "old.yml"].map(str::to_owned).into();
    for (test, owner) in [
        ("shop.test.yaml", Some("shop.yaml")),
        ("shop.us.test.yaml", Some("shop.yaml")),
        ("shop.eu.test.yaml", Some("shop.eu.yaml")),
        ("shop.eu.late.test.yaml", Some("shop.eu.yaml")),
        ("old.test.yaml", Some("old.yml")),
        ("errors.test.yaml", None),
        ("shopping.test.yaml", None),
    ] {
        for own in ["config.yaml", "shop.yaml", "shop.eu.yaml", "old.yml"] {
            let expected = owner.is_none_or(|owner| owner == own);
            assert_eq!(belongs(test, own, &names), expected, "{test} beside {own}");
        }
    }
}
