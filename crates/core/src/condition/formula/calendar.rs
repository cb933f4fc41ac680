//! The parts of a time (year, month, hour and so on) in UTC.

use super::TimePart;

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Returns a part of the time `unix_nano`, which is in nanoseconds since 1970.
pub(super) fn part(unix_nano: i64, part: TimePart) -> i64 {
    let of_day = unix_nano.rem_euclid(DAY);
    let days = unix_nano.div_euclid(DAY);
    match part {
        TimePart::Year => date(days).0,
        TimePart::Month => date(days).1,
        TimePart::Day => date(days).2,
        // The first day of 1970 was a Thursday.
        TimePart::Weekday => (days + 4).rem_euclid(7),
        TimePart::Hour => of_day / HOUR,
        TimePart::Minute => of_day % HOUR / MINUTE,
        TimePart::Second => of_day % MINUTE / SECOND,
        TimePart::Nanosecond => of_day % SECOND,
    }
}

/// Returns the year, month and day of the date that is `days` days after the start of 1970. Inside, a year begins in
/// March, so that the leap day is its last day (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn date(days: i64) -> (i64, i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    let from_march = days + 719_468;
    let era = from_march.div_euclid(ERA_DAYS);
    let day_of_era = from_march.rem_euclid(ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}
