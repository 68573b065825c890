//! The time that moments and durations are taken from.
//!
//! It goes on with the monotonic clock from the wall time at the process' start. Where the wall
//! clock is set, it follows in one step, and what was written down in this process' life takes the
//! same step: so a duration is never longer or shorter than it was.

use std::{
    sync::{OnceLock, PoisonError, RwLock},
    time::{Instant, SystemTime},
};

use crate::ledger::{Moment, Step};

/// A difference of more seconds is a clock that was set. Less is drift.
const DRIFT: i64 = 60;

static CLOCK: OnceLock<Clock> = OnceLock::new();

struct Clock {
    began: Instant,
    scale: RwLock<Scale>,
}

/// The wall clock's time at the start, and the right one by what is known now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Scale {
    at_start: i64,
    began: i64,
}

impl Scale {
    fn new(wall: i64) -> Self {
        Self { at_start: wall, began: wall }
    }

    fn now(self, elapsed: i64) -> i64 {
        self.began.saturating_add(elapsed)
    }

    /// The scale that agrees with the wall clock, and where it differs from this one.
    fn follow(self, wall: i64, elapsed: i64) -> Option<Self> {
        let by = wall.saturating_sub(self.now(elapsed));
        let began = self.began.saturating_add(by);
        (by.abs() > DRIFT).then_some(Self { began, ..self })
    }

    /// How far all jumps since the start have led.
    fn led(self) -> i64 {
        self.began.saturating_sub(self.at_start)
    }

    /// The step for whoever has followed that far.
    fn step_from(self, led: i64, elapsed: i64) -> Option<Step> {
        let by = self.led().saturating_sub(led);
        let first = self.at_start.saturating_add(led);
        let moment = |seconds: i64| Moment(u64::try_from(seconds).unwrap_or(0));
        let last = moment(first.saturating_add(elapsed));
        (by != 0).then_some(Step { first: moment(first), last, by })
    }
}

impl Clock {
    fn get() -> &'static Self {
        CLOCK.get_or_init(|| Self { began: Instant::now(), scale: RwLock::new(Scale::new(wall())) })
    }

    fn elapsed(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_secs()).unwrap_or(i64::MAX)
    }

    fn scale(&self) -> Scale {
        *self.scale.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wall() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// The time now.
pub(super) fn now() -> Moment {
    let clock = Clock::get();
    Moment(u64::try_from(clock.scale().now(clock.elapsed())).unwrap_or(0))
}

/// Whether the wall clock was set, and [`now`] does not follow it yet.
pub(super) fn was_set() -> bool {
    let clock = Clock::get();
    clock.scale().follow(wall(), clock.elapsed()).is_some()
}

/// Follows the wall clock. `led` is how far the caller's moments have followed before; the answer is
/// the step that they must take now.
pub(super) fn follow(led: &mut i64) -> Option<Step> {
    let clock = Clock::get();
    let mut scale = clock.scale.write().unwrap_or_else(PoisonError::into_inner);
    let elapsed = clock.elapsed();
    if let Some(next) = scale.follow(wall(), elapsed) {
        *scale = next;
    }
    let step = scale.step_from(*led, elapsed);
    *led = scale.led();
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_followed_in_one_step_and_drift_is_not() {
        let scale = Scale::new(1000);
        for wall in [1040, 1100, 1160] {
            assert_eq!(scale.follow(wall, 100), None, "{wall}");
        }
        for (wall, by) in [(1_800_000_000, 1_799_998_900), (1161, 61), (1039, -61), (0, -1100)] {
            let next = scale.follow(wall, 100).unwrap();
            assert_eq!(next.now(100), wall);
            let step = Step { first: Moment(1000), last: Moment(1100), by };
            assert_eq!(next.step_from(0, 100), Some(step));
            assert_eq!(next.step_from(by, 100), None);
            // There and back again.
            let back = next.follow(1100, 100).unwrap();
            assert_eq!((back, back.step_from(0, 100)), (scale, None));
            assert_eq!(back.step_from(by, 100).unwrap().by, -by);
        }
    }
}
