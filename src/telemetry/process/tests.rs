use super::*;

#[test]
fn the_process_shows_what_the_system_knows_of_it() {
    let mut text = String::new();
    render(Format::Prometheus, &mut text);
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    };
    assert!(value("process_cpu_seconds_total") >= 0.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
    let open = value("process_open_fds");
    assert!(open >= 3.0 && value("process_max_fds") >= open);
    let now = crate::clock::since_1970().as_secs_f64();
    let start = value("process_start_time_seconds");
    assert!(start <= now + 2.0 && start > now - 86_400.0, "{start} of {now}");
    // In OpenMetrics the family of a counter has another name than its sample.
    let mut text = String::new();
    render(Format::OpenMetrics, &mut text);
    assert!(text.starts_with("# HELP process_cpu_seconds ") && text.contains("\nprocess_cpu_seconds_total "), "{text}");
}
