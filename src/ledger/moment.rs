//! A point in time.

use std::fmt;

use serde::{Deserialize, Serialize};

const DAY: u64 = 24 * 3600;
/// Gregorian years repeat after these many days.
const ERA: u64 = 146_097;
/// From 0000-03-01, where the count of years begins, to 1970-01-01.
const EPOCH: u64 = 719_468;

/// A point in time: seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Moment(pub u64);

impl Moment {
    /// Year, month and day in UTC. Years are counted from March, so that a leap day is a year's last.
    pub fn date(self) -> (u64, u64, u64) {
        let days = self.0 / DAY + EPOCH;
        let (era, in_era) = (days / ERA, days % ERA);
        let years = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
        let in_year = in_era - (365 * years + years / 4 - years / 100);
        let from_march = (5 * in_year + 2) / 153;
        let day = in_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        (era * 400 + years + u64::from(month <= 2), month, day)
    }
}

/// As `2016-10-01 09:30 UTC`.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        if year > 9999 {
            return f.write_str("no date");
        }
        let minutes = self.0 % DAY / 60;
        write!(f, "{year}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60, minutes % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_people_do() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_827_696, "2000-02-29 12:34 UTC"),
            (1_475_314_200, "2016-10-01 09:30 UTC"),
            (1_475_323_259, "2016-10-01 12:00 UTC"),
            (4_107_542_399, "2100-02-28 23:59 UTC"),
            (1_798_761_599, "2026-12-31 23:59 UTC"),
            (u64::MAX, "no date"),
        ] {
            assert_eq!(Moment(seconds).to_string(), text);
        }
    }

    #[test]
    fn days_agree_with_another_clock_for_four_centuries() {
        for day in 0..ERA {
            let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(day * DAY);
            // "Sat, 01 Oct 2016 00:00:00 GMT"
            let known = httpdate::fmt_http_date(then);
            let (year, _, day) = Moment(day * DAY).date();
            assert_eq!(known[5..7], format!("{day:02}"), "{known}");
            assert_eq!(known[12..16], format!("{year:04}"), "{known}");
        }
    }
}
