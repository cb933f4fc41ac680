use super::*;

#[test]
fn a_disk_that_fails_and_works_in_turn_logs_two_lines_a_minute() {
    let start = Instant::now();
    let mut reminder = Reminder::default();
    assert!(!reminder.worked(), "a success is not reported without a failure before it");
    let mut lines = 0;
    for second in 0..600 {
        lines += u32::from(reminder.failed(start + Duration::from_secs(second)));
        lines += u32::from(reminder.worked());
    }
    assert_eq!(lines, 20);
}
