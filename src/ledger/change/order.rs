//! How an operator's orders change a record.

use super::super::{
    Moment, Order, Peer, Refusal,
    record::{Attempt, Held, Holder, Proof, Record, State, UNKNOWN},
};

impl Record {
    pub(super) fn obey(&mut self, order: &Order, now: Moment) -> Result<(), Refusal> {
        self.has_orders = true;
        match order {
            Order::Hold(reason) => {
                let by = match &self.state {
                    // A release must refuse it as before.
                    State::Held(Held { by: Holder::Twin, .. }) => Holder::Twin,
                    State::Failed { .. }
                    | State::Held(_)
                    | State::Installed(_)
                    | State::Installing(_)
                    | State::New => Holder::Operator,
                };
                let (installed, attempt) = match &self.state {
                    State::Installed(installed) => (Some(installed.clone()), None),
                    // A record of an older release has no attempt in it.
                    State::Held(held) if held.by == Holder::Attempts && held.attempt.is_none() => {
                        let profile = self.tried.clone().unwrap_or_else(|| UNKNOWN.to_owned());
                        (None, Some(self.tried(&profile, now)))
                    }
                    State::Held(held) => (held.installed.clone(), held.attempt.clone()),
                    State::Installing(attempt) => (None, Some(attempt.clone())),
                    State::Failed { profile, .. } => (None, Some(self.tried(profile, now))),
                    State::New => (None, None),
                };
                self.note(now, format!("held by the operator: {reason}"));
                self.state = State::Held(Held { reason: reason.clone(), by, installed, attempt });
            }
            Order::Installed => self.confirm(now),
            Order::Reinstall => {
                self.note(now, "to be installed again, by the operator's word".to_owned());
                // Where nobody doubts whose UUID it is, this says nothing about that.
                self.is_distinct |= match &self.state {
                    State::Held(held) => held.by == Holder::Twin,
                    // Its ROM may have been told of its twin before it had a record to hold.
                    State::New => true,
                    State::Failed { .. } | State::Installed(_) | State::Installing(_) => false,
                };
                self.attempts = 0;
                self.token = None;
                self.group = None;
                self.has_fetched = false;
                self.forget_attempts();
                self.state = State::New;
            }
            Order::Release => {
                self.release(now)?;
            }
        }
        Ok(())
    }

    pub(super) fn forget_attempts(&mut self) {
        (self.asked_by, self.tried, self.failed_goal) = (Peer::Nobody, None, None);
    }

    /// Takes a hold away, and never lets a disk be wiped: `reinstall` is the word for that.
    fn release(&mut self, now: Moment) -> Result<(), Refusal> {
        let State::Held(held) = &self.state else { return Err(Refusal::NotHeld) };
        if held.by == Holder::Twin {
            return Err(Refusal::SharesItsUuid);
        }
        let held = held.clone();
        self.note(now, "released by the operator".to_owned());
        let tried = self.tried.clone();
        match (held.installed, held.attempt) {
            (Some(installed), _) => self.state = State::Installed(installed),
            // It may have booted its own disk under the hold, and nothing was written down of that.
            (None, attempt) => {
                let proof = attempt.as_ref().and_then(Attempt::outcome).unwrap_or(Proof::Presumed);
                let profile = attempt.map(|attempt| attempt.profile).or(tried);
                self.install(profile.unwrap_or_else(|| UNKNOWN.to_owned()), proof, now);
            }
        }
        self.attempts = 0;
        Ok(())
    }

    /// An operator says that its disk is installed, by us or by somebody else. A hold stays.
    fn confirm(&mut self, now: Moment) {
        let profile = match &self.state {
            State::Failed { profile, .. } => Some(profile),
            State::Held(held) => {
                let installed = held.installed.as_ref().map(|installed| &installed.profile);
                installed.or(held.attempt.as_ref().map(|attempt| &attempt.profile))
            }
            State::Installed(installed) => Some(&installed.profile),
            State::Installing(attempt) => Some(&attempt.profile),
            State::New => None,
        };
        let profile = profile.map_or(UNKNOWN, String::as_str).to_owned();
        let held = match &self.state {
            State::Held(held) if held.by == Holder::Operator => Some(held.clone()),
            State::Failed { .. }
            | State::Held(_)
            | State::Installed(_)
            | State::Installing(_)
            | State::New => None,
        };
        self.install(profile, Proof::Operator, now);
        if let (Some(held), State::Installed(installed)) = (held, &self.state) {
            let installed = Some(installed.clone());
            self.state = State::Held(Held { installed, attempt: None, ..held });
        }
    }
}
