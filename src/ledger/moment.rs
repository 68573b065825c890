//! A point in time.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point in time: seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Moment(pub u64);

/// As `2016-10-01 09:30 UTC`.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, minutes) = (self.0 / 86_400, self.0 % 86_400 / 60);
        let (mut year, mut day) = (1970, days);
        while day >= length_of(year) {
            day -= length_of(year);
            year += 1;
            if year > 9999 {
                return f.write_str("no date");
            }
        }
        let february = length_of(year) - 337;
        let mut month = 1;
        for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
            if day < length {
                break;
            }
            day -= length;
            month += 1;
        }
        let (hour, minute) = (minutes / 60, minutes % 60);
        write!(f, "{year}-{month:02}-{:02} {hour:02}:{minute:02} UTC", day + 1)
    }
}

fn length_of(year: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    if is_leap { 366 } else { 365 }
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
            (4_107_542_399, "2100-02-28 23:59 UTC"),
            (1_798_761_599, "2026-12-31 23:59 UTC"),
            (u64::MAX, "no date"),
        ] {
            assert_eq!(Moment(seconds).to_string(), text);
        }
    }
}
