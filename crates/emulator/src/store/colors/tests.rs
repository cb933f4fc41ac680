//! Tests: a service keeps its color, colors differ, and their number has a limit.

use super::*;

#[test]
fn a_service_keeps_its_color_and_shares_it_with_no_other() {
    let mut colors = Colors::default();
    let services: Vec<String> = (0..100).map(|i| format!("service {i}")).collect();
    services.iter().chain(&services).for_each(|service| colors.see(service));
    let found: Vec<u32> = services.iter().map(|service| colors.of(service)).collect();
    assert_eq!(found, (0..100).collect::<Vec<_>>());
}

#[test]
fn very_many_services_take_no_more_memory() {
    let mut colors = Colors::default();
    (0..SERVICES_MAX + 10).for_each(|i| colors.see(&i.to_string()));
    assert_eq!(colors.by_service.len(), SERVICES_MAX);
    assert!((colors.of("never seen") as usize) < SERVICES_MAX);
}
