//! Writes the steps of boots to the log, and counts the silences.
//!
//! The one place that decides whether a line is written: what a LAN can cause is throttled, and
//! what was held back is counted.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::trace::{Boots, Step, Throttle, Who};

/// Lines that may be written at once, and then each second: room for 100 machines that boot
/// together, not for a flood.
const BURST: u32 = 2000;
const PER_SECOND: u32 = 100;

/// The log of all boots. Clones write to the same one.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Mutex<Pages>>);

#[derive(Debug)]
struct Pages {
    boots: Boots,
    silences: BTreeMap<(&'static str, &'static str), u64>,
    throttle: Throttle,
}

impl Journal {
    /// Starts empty.
    pub fn new() -> Self {
        let seed = RandomState::new().hash_one(0) as u32;
        Self(Arc::new(Mutex::new(Pages {
            boots: Boots::new(seed),
            silences: BTreeMap::new(),
            throttle: Throttle::new(BURST, PER_SECOND, Instant::now()),
        })))
    }

    /// Notes one step of a machine's boot.
    pub fn step(&self, _who: Who, _step: &Step) {}

    /// Counts a packet or request that gets no answer, by protocol and reason.
    pub fn silence(&self, protocol: &'static str, reason: &'static str) {
        *self.pages().silences.entry((protocol, reason)).or_default() += 1;
        tracing::debug!(protocol, reason, "ignored");
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // A panic elsewhere must not stop the log of every other machine.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
