//! How many lines a LAN may make us write.

use std::time::Instant;

/// A token bucket: `burst` at once, then `per_second`.
#[derive(Debug)]
pub struct Throttle {
    burst: f64,
    per_second: f64,
    tokens: f64,
    last: Instant,
    held_back: u64,
}

impl Throttle {
    /// Starts full.
    pub fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        let burst = f64::from(burst);
        Self { burst, per_second: f64::from(per_second), tokens: burst, last: now, held_back: 0 }
    }

    /// Takes one token for a line, or counts it as held back.
    pub fn admit(&mut self, now: Instant) -> bool {
        let admits = self.take(now);
        self.held_back += u64::from(!admits);
        admits
    }

    /// Takes one token for a line that can wait, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = self.last.max(now);
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    /// How many were held back since this was last asked.
    pub fn take_held_back(&mut self) -> u64 {
        std::mem::take(&mut self.held_back)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_costs_the_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut throttle = Throttle::new(10, 2, start);
        let at_once = (0..1000).filter(|_| throttle.admit(start)).count();
        assert_eq!((at_once, throttle.take_held_back()), (10, 990));
        let later = start + Duration::from_secs(3);
        let then = (0..1000).filter(|_| throttle.admit(later)).count();
        assert_eq!((then, throttle.take_held_back(), throttle.take_held_back()), (6, 994, 0));
    }

    #[test]
    fn a_clock_that_stands_still_admits_nothing_more() {
        let start = Instant::now() + Duration::from_secs(60);
        let mut throttle = Throttle::new(1, 100, start);
        assert!(throttle.admit(start));
        assert!(!throttle.admit(start - Duration::from_secs(30)));
        assert!(!throttle.admit(start));
    }
}
