use proptest::prelude::*;

use super::write_normalized;

fn normalized(name: &str) -> String {
    let mut out = Vec::new();
    write_normalized(name.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn ids_become_a_star_and_words_stay() {
    let cases = [
        ("GET /users/{id}", "GET /users/{id}"),
        ("GET /users/123", "GET /users/*"),
        ("GET /users/1/orders/98765?page=2", "GET /users/*/orders/*?page=*"),
        ("order 0194c1d0-7f3e-7c54-9b4e-1f2a3b4c5d6e shipped", "order * shipped"),
        ("0194c1d0-7f3e-7c54-9b4e-1f2a3b4c5d6e", "*"),
        ("0194c1d0-7f3e-7c54-9b4e-1f2a3b4c5d6e7", "*-7f3e-7c54-9b4e-*"),
        ("job deadbeef00", "job *"),
        ("job deadbeef", "job deadbeef"),
        ("lock 0x1f", "lock *"),
        ("GET /api/v1/http2/k8s", "GET /api/v1/http2/k8s"),
        ("user12345", "user*"),
        ("user12", "user12"),
        ("session a8Fk29dLq0z", "session *"),
        ("queue-42", "queue-*"),
        ("order_42_done", "order_*_done"),
        ("größe 7", "größe *"),
        ("", ""),
        ("*", "*"),
    ];
    for (name, expected) in cases {
        assert_eq!(normalized(name), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn the_result_is_text_not_longer_and_stable(name in "\\PC{0,80}") {
        let once = normalized(&name);
        prop_assert!(once.len() <= name.len());
        prop_assert_eq!(normalized(&once), once);
    }
}
