//! How many lines a LAN may make us write.

use std::time::{Duration, Instant};

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

    /// Takes one token, or counts what is held back.
    pub fn admit(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = self.last.max(now);
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        if self.tokens < 1.0 {
            self.held_back += 1;
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    /// How many were held back since this was last asked.
    pub fn take_held_back(&mut self) -> u64 {
        std::mem::take(&mut self.held_back)
    }

    /// How long until the next token, for tests and for those who wait.
    pub fn next_token(&self) -> Duration {
        Duration::from_secs_f64(((1.0 - self.tokens) / self.per_second).max(0.0))
    }
}
