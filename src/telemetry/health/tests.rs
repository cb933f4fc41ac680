use super::*;

#[test]
fn ready_from_the_start_of_service_to_the_order_to_stop() {
    let health = Health::default();
    assert!(!health.is_ready(), "starting");
    health.set_ready();
    assert!(health.is_ready() && !health.is_stopping());
    health.set_stopping();
    assert!(!health.is_ready() && health.is_stopping());
    health.set_ready();
    assert!(!health.is_ready(), "there is no way back");
}
