//! Tests of the text that the subcommand prints, and of its errors.

use super::*;

#[tokio::test]
async fn the_introduction_names_the_page_and_the_endpoint() {
    let emulator = Emulator::start("127.0.0.1:0", 1 << 20).await.unwrap();
    let url = emulator.url();
    let mut out = Vec::new();
    introduce(&mut out, &emulator).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains(&format!("{url}/api/traces")), "{out}");
    assert!(out.contains(&format!("export: {{endpoint: \"{url}\"}}")), "{out}");
}

#[tokio::test]
async fn the_error_for_an_address_in_use_names_the_address() {
    let emulator = Emulator::start("127.0.0.1:0", 1 << 20).await.unwrap();
    let taken = emulator.local_addr().to_string();
    let error = run(taken.clone(), 1 << 20, Vec::new()).await.unwrap_err();
    assert!(matches!(error, EmulatorError::Listen(_)));
    assert!(error.to_string().contains(&taken), "{error}");
}
