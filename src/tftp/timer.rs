//! When to send again, and when to give up: the measured round trip with a back-off.
//!
//! After RFC 6298, with a lower floor: a lost block stops a transfer without a window altogether,
//! and a needless repeat costs one window.

use std::time::{Duration, Instant};

/// Before the first round trip is known.
const FIRST: Duration = Duration::from_millis(500);
/// A LAN's round trip is below 1 ms; a machine under load answers within this.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(8);
/// An address that never answered may be made up: what it makes us send is a handful of packets.
const PATIENCE_UNPROVEN: Duration = Duration::from_secs(10);
/// GRUB stops acknowledging for seconds while it works through its queue.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Timer {
    smoothed: Option<Duration>,
    variation: Duration,
    longest: Duration,
    wait: Duration,
    sent: Instant,
    progress: Instant,
}

impl Timer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            smoothed: None,
            variation: Duration::ZERO,
            longest: LONGEST,
            wait: FIRST,
            sent: now,
            progress: now,
        }
    }

    /// The client asked that no repeat takes longer than this.
    pub(super) fn agree(&mut self, longest: Duration) {
        self.longest = longest.min(LONGEST);
    }

    /// Something was sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.sent = now;
    }

    /// Something new was acknowledged; `measures` where it cannot be the answer to an older copy.
    pub(super) fn progress(&mut self, measures: bool, now: Instant) {
        self.progress = now;
        if measures {
            self.measure(now.saturating_duration_since(self.sent));
        }
        let measured = self.smoothed.map_or(FIRST, |smoothed| smoothed + 4 * self.variation);
        self.wait = measured.clamp(SHORTEST, self.longest);
    }

    pub(super) fn back_off(&mut self) {
        self.wait = (self.wait * 2).min(self.longest);
    }

    pub(super) fn deadline(&self) -> Instant {
        self.sent + self.wait
    }

    /// Whether an answer to what was sent last cannot have come yet.
    pub(super) fn is_too_soon(&self, now: Instant) -> bool {
        let trip = self.smoothed.unwrap_or(SHORTEST);
        now.saturating_duration_since(self.sent) < trip / 2
    }

    pub(super) fn is_over(&self, proven: bool, now: Instant) -> bool {
        let patience = if proven { PATIENCE } else { PATIENCE_UNPROVEN };
        now.saturating_duration_since(self.progress) >= patience
    }

    fn measure(&mut self, trip: Duration) {
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(trip);
            self.variation = trip / 2;
            return;
        };
        self.variation = (3 * self.variation + smoothed.abs_diff(trip)) / 4;
        self.smoothed = Some((7 * smoothed + trip) / 8);
    }
}
