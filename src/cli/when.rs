//! Times as people read them.

use crate::ledger::Moment;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Gregorian years repeat after these many days.
const ERA: u64 = 146_097;
/// From 0000-03-01, where the count of years begins, to 1970-01-01.
const EPOCH: u64 = 719_468;

/// `2016-10-01T12:00:00Z`.
pub(super) fn exactly(at: Moment) -> String {
    let (year, month, day) = date(at.0 / DAY);
    let (hour, minute, second) = (at.0 % DAY / HOUR, at.0 % HOUR / MINUTE, at.0 % MINUTE);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `2016-10-01 12:00 UTC`.
pub(super) fn roughly(at: Moment) -> String {
    let (year, month, day) = date(at.0 / DAY);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02} UTC",
        at.0 % DAY / HOUR,
        at.0 % HOUR / MINUTE
    )
}

/// `5 min ago`.
pub(super) fn ago(at: Moment, now: Moment) -> String {
    let seconds = now.0.saturating_sub(at.0);
    let (count, unit) = match seconds {
        ..MINUTE => (seconds, "s"),
        MINUTE..HOUR => (seconds / MINUTE, "min"),
        HOUR..DAY => (seconds / HOUR, "h"),
        DAY.. => (seconds / DAY, if seconds / DAY == 1 { "day" } else { "days" }),
    };
    format!("{count} {unit} ago")
}

/// Year, month and day of a number of days since 1970-01-01. Years are counted from March, so that
/// a leap day is a year's last.
fn date(days: u64) -> (u64, u64, u64) {
    let (era, in_era) = ((days + EPOCH) / ERA, (days + EPOCH) % ERA);
    let years = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * years + years / 4 - years / 100);
    let from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + years + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_its_date_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_475_323_200, "2016-10-01T12:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(exactly(Moment(seconds)), text);
        }
        assert_eq!(roughly(Moment(1_475_323_259)), "2016-10-01 12:00 UTC");
    }

    #[test]
    fn days_agree_with_another_clock_for_four_centuries() {
        for day in 0..ERA {
            let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(day * DAY);
            // "Sat, 01 Oct 2016 00:00:00 GMT"
            let known = httpdate::fmt_http_date(then);
            let (year, _, day) = date(day);
            assert_eq!(known[5..7], format!("{day:02}"), "{known}");
            assert_eq!(known[12..16], format!("{year:04}"), "{known}");
        }
    }

    #[test]
    fn how_long_ago_is_one_number() {
        for (seconds, text) in [
            (0, "0 s ago"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (3600, "1 h ago"),
            (86_399, "23 h ago"),
            (86_400, "1 day ago"),
            (864_000, "10 days ago"),
        ] {
            assert_eq!(ago(Moment(1_000_000), Moment(1_000_000 + seconds)), text);
        }
        assert_eq!(ago(Moment(9), Moment(1)), "0 s ago", "its clock is ahead of ours");
    }
}
