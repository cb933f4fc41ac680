use super::*;

#[test]
fn ready_from_the_start_of_service_to_the_order_to_stop() {
    let health = Health::default();
    assert!(!health.is_ready(), "starting");
    assert_eq!(health.waits_for(), None);
    health.set_waits_for("a token".to_owned());
    assert!(!health.is_ready() && health.waits_for().as_deref() == Some("a token"));
    health.set_ready();
    assert!(health.is_ready() && !health.is_stopping());
    health.set_stopping();
    assert!(!health.is_ready() && health.is_stopping());
    health.set_ready();
    assert!(!health.is_ready(), "there is no way back");
}
