//! Moves moments where the clock that they were taken from is set.

use super::{Attempt, Book, Doubt, Held, Installed, Moment, Record, State};

/// A clock was set: what it showed from `first` to `last` is moved by so many seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Step {
    /// The time that it showed when the process began.
    pub first: Moment,
    /// The time that it showed just before.
    pub last: Moment,
    /// Forward, or back where it is negative.
    pub by: i64,
}

impl Step {
    pub(super) fn take(self, moment: &mut Moment) {
        if (self.first..=self.last).contains(moment) {
            moment.0 = moment.0.saturating_add_signed(self.by);
        }
    }

    fn attempt(self, attempt: &mut Attempt) {
        self.take(&mut attempt.started);
        if let Some(Doubt { at, .. }) = &mut attempt.doubt {
            self.take(at);
        }
    }
}

impl Book {
    /// Moves what was written down in this process' life, where its clock is set.
    pub fn take(&mut self, step: Step) {
        for record in self.records_mut() {
            record.take(step);
        }
        for told in self.told_mut() {
            step.take(told);
        }
    }
}

impl Record {
    fn take(&mut self, step: Step) {
        step.take(&mut self.first_seen);
        step.take(&mut self.last_seen);
        if let Some(pass) = &mut self.token {
            step.take(&mut pass.made);
        }
        if let Some(last) = &mut self.last_power_on {
            step.take(last);
        }
        for entry in &mut self.history {
            step.take(&mut entry.at);
        }
        match &mut self.state {
            State::Installing(attempt) => step.attempt(attempt),
            State::Held(Held { installed, attempt, .. }) => {
                if let Some(Installed { at, .. }) = installed {
                    step.take(at);
                }
                if let Some(attempt) = attempt {
                    step.attempt(attempt);
                }
            }
            State::Installed(installed) => step.take(&mut installed.at),
            State::Failed { .. } | State::New => {}
        }
    }

    /// The record as it is taken up at a start. A clock that was ahead wrote moments that are yet to
    /// come: those that durations are counted from are now.
    pub fn taken_up(mut self, now: Moment) -> Self {
        if let Some(pass) = &mut self.token {
            pass.made = pass.made.min(now);
        }
        self.last_power_on = self.last_power_on.map(|last| last.min(now));
        self
    }
}
