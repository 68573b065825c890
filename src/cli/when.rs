//! Times as people read them.

use crate::ledger::Moment;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `2016-10-01T12:00:00Z`.
pub(super) fn exactly(at: Moment) -> String {
    let (year, month, day) = at.date();
    let (hour, minute, second) = (at.0 % DAY / HOUR, at.0 % HOUR / MINUTE, at.0 % MINUTE);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
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
