use super::said;

#[test]
fn x() {
    println!("{}", said(""));
}
