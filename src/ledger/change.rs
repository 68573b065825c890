//! How events change a record: what it did, what it fetched, what was reported and ordered.

mod order;
mod report;

use std::net::Ipv4Addr;

use super::{
    Event, Goal, Moment, Piece, Refusal,
    record::{
        Attempt, Doubt, Entry, Held, Holder, Image, Installed, Proof, Record, State, bounded,
    },
    spent,
};
use crate::{firmware::Means, machine::Machine};

/// Addresses that are kept: the ROM, iPXE and the system may each have had one.
const MOST_ADDRESSES: usize = 4;
/// Discovers within this many seconds are one power-on: PXE repeats them after 4, 8, 16 and 32 s
/// (PXE 2.1 section 3.1).
const SAME_POWER_ON: u64 = 45;
/// The same for one by HTTP Boot: firmware that has both goes on to it when PXE led to nothing.
const SAME_BY_HTTP: u64 = 180;
/// An installed machine that is back within this many seconds has not run from its disk for long.
const RETURN: u64 = 300;

impl Record {
    /// The record after an event. Of the number of attempts, `most_attempts` is the last one.
    pub fn after(&self, event: &Event, most_attempts: u32, now: Moment) -> Result<Self, Refusal> {
        let mut next = self.clone();
        next.last_seen = next.last_seen.max(now);
        match event {
            Event::Address(address) => next.moves(*address),
            Event::Aims(goal) => next.aims(goal, now),
            Event::Alleged(reason) => next.alleged(reason, most_attempts, now)?,
            Event::AskedBy(address) => next.asked_by = next.asked_by.and(*address),
            Event::Booted { group, profile } => {
                next.group = Some(group.clone());
                let text = format!("boots {profile} (group {group})");
                let is_news = |last: &Entry| {
                    last.text != text || now.0 >= last.at.0.saturating_add(SAME_POWER_ON)
                };
                if next.history.last().is_none_or(is_news) {
                    next.note(now, text);
                }
            }
            Event::Fetched(piece) => {
                next.has_fetched |= next.state.attempt().is_some();
                next.fetched(*piece, now);
            }
            Event::Last => {
                next.has_fetched |= next.state.attempt().is_some();
                next.reaches_the_last(now);
            }
            Event::LastByte => next.last_byte(now),
            Event::Ordered(order) => next.obey(order, now)?,
            Event::PoweredOn => next.powered_on(most_attempts, now),
            Event::Reported(report) => next.reported(report, most_attempts, now)?,
            Event::Scripted { group, profile, token } => {
                next.token = *token;
                next.group = Some(group.clone());
                next.scripted(group, profile, now);
            }
            Event::SentTo(address) => {
                if let Some(attempt) = next.state.attempt_mut() {
                    attempt.sent_to = attempt.sent_to.and(*address);
                }
            }
            Event::Stray(address) => next.stray(*address, now),
            Event::Told(machine) => {
                // Who asks in its name and leaves the UUID out must not hide it from its other card.
                let uuid = machine.uuid.or(next.machine.uuid);
                next.machine = bounded(Machine { uuid, ..machine.clone() });
            }
            Event::Twin(reason) => next.hold_as_twin(reason, now),
            Event::Verified => {
                if let Some(attempt) = next.state.attempt_mut() {
                    attempt.is_verified = true;
                }
            }
        }
        Ok(next)
    }

    /// Of an attempt before this one, it is not known whether it goes on.
    fn aims(&mut self, goal: &Goal, now: Moment) {
        let Some(attempt) = self.state.attempt_mut() else { return };
        let before = attempt.goal.take();
        attempt.goal = match before {
            Some(before) => before.or(goal),
            None => Some(goal.clone()),
        };
        // A path that is not remembered may be fetched unnoticed.
        if goal.is_script || attempt.goal.is_none() {
            self.reaches_the_last(now);
        }
    }

    fn reaches_the_last(&mut self, now: Moment) {
        self.resume(now);
        let Some(attempt) = self.state.attempt_mut().filter(|attempt| !attempt.has_last) else {
            return;
        };
        (attempt.has_last, attempt.is_under_way) = (true, true);
        let text = "the last of what it is known to fetch here is about to be sent: from here on it \
                    may be installed";
        self.note(now, text.to_owned());
    }

    /// Holds it because another record has its UUID.
    fn hold_as_twin(&mut self, reason: &str, now: Moment) {
        let held =
            Held { reason: reason.to_owned(), by: Holder::Twin, installed: None, attempt: None };
        let held = State::Held(held);
        if self.state != held {
            self.note(now, reason.to_owned());
            self.state = held;
        }
    }

    /// Whether something was done to this machine, or said about it, that no other card of it can
    /// account for.
    pub(super) fn has_a_story(&self) -> bool {
        self.is_distinct
            || match &self.state {
                State::New => false,
                State::Held(held) => held.by != Holder::Twin,
                State::Failed { .. } | State::Installed(_) | State::Installing(_) => true,
            }
    }

    /// Whether all of its story is an attempt that anybody could have begun in its name.
    pub(super) fn is_only_begun(&self) -> bool {
        let is_whole = |attempt: &Attempt| attempt.outcome().is_some();
        !self.is_distinct
            && match &self.state {
                State::Failed { .. } => true,
                State::Installing(attempt) => !is_whole(attempt),
                State::Held(_) | State::Installed(_) | State::New => false,
            }
    }

    /// Whether its disk may be installed, or must not be touched until an operator says so.
    pub(super) fn may_have_a_disk(&self) -> bool {
        match &self.state {
            State::Held(held) => held.by != Holder::Twin,
            State::Installed(_) => true,
            State::Installing(attempt) => attempt.outcome().is_some() || attempt.doubt.is_some(),
            State::Failed { .. } | State::New => false,
        }
    }

    /// Whether a discover now says more than the power-on that was noted last.
    pub fn is_power_on_news(&self, most_attempts: u32, by: Means, now: Moment) -> bool {
        let same = match by {
            Means::Http => SAME_BY_HTTP,
            Means::Pxe => SAME_POWER_ON,
        };
        let is_same = |last: Moment| now.0.saturating_sub(last.0) < same;
        if !self.last_power_on.is_some_and(is_same) {
            return true;
        }
        if matches!(self.state, State::Installed(_)) {
            return false;
        }
        // A quick machine has installed itself meanwhile, or tried in vain.
        let next = self.after(&Event::PoweredOn, most_attempts, now);
        next.is_ok_and(|next| next.state != self.state)
    }

    fn moves(&mut self, address: Ipv4Addr) {
        self.addresses.retain(|&known| known != address);
        self.addresses.push(address);
        if self.addresses.len() > MOST_ADDRESSES {
            self.addresses.remove(0);
        }
    }

    fn last_byte(&mut self, now: Moment) {
        self.resume(now);
        if let Some(attempt) = self.state.attempt_mut()
            && attempt.image == Image::Incomplete
        {
            attempt.image = Image::LastByte;
            self.note(now, "the last byte of the image is about to be sent".to_owned());
        }
    }

    /// An image goes where nobody known is: this machine may have a second card there.
    fn stray(&mut self, address: Ipv4Addr, now: Moment) {
        self.resume(now);
        let Some(attempt) = self.state.attempt_mut().filter(|attempt| attempt.is_open()) else {
            return;
        };
        attempt.doubt = Some(Doubt { at: now, address });
        let text = format!(
            "the last of what it needs is about to be sent to {address}, an address that no machine \
             is known by that is being installed: it may be this one's"
        );
        self.note(now, text);
    }

    fn fetched(&mut self, piece: Piece, now: Moment) {
        let Some(attempt) = self.state.attempt_mut() else { return };
        let text = match piece {
            Piece::Boot | Piece::Last if attempt.is_under_way => return,
            Piece::Boot | Piece::Last => "it fetches what its script names",
            Piece::Image => {
                attempt.image = Image::Whole;
                "the whole image was sent"
            }
            Piece::Signature => {
                attempt.has_signature = true;
                "the image's signature was sent"
            }
        };
        attempt.is_under_way = true;
        self.note(now, text.to_owned());
    }

    fn powered_on(&mut self, most_attempts: u32, now: Moment) {
        let last = self.last_power_on.replace(now);
        let gap = last.map(|last| now.0.saturating_sub(last.0));
        match &mut self.state {
            State::Installing(attempt) => match (attempt.outcome(), attempt.doubt()) {
                (Some(proof), _) => {
                    let profile = attempt.profile.clone();
                    self.install(profile, proof, now);
                }
                (None, Some(doubt)) => {
                    let attempt = Some(attempt.clone());
                    let reason = doubt.reason(self.machine.mac);
                    self.note(now, format!("held: {reason}"));
                    let by = Holder::Doubt;
                    self.state = State::Held(Held { reason, by, installed: None, attempt });
                }
                // What is still on its way to it may complete the image: only the next script ends
                // this attempt. Where there is no next one, this was the last.
                (None, None) if attempt.is_under_way && self.attempts >= most_attempts => {
                    let attempt = attempt.clone();
                    self.fail("it came back before its image was complete", most_attempts, now);
                    if let State::Held(held) = &mut self.state {
                        held.attempt = Some(attempt);
                    }
                }
                (None, None) => {}
            },
            State::Installed(installed) => match gap {
                Some(gap) if gap < SAME_POWER_ON => {}
                // The installer's own restart ends the power-on before, and is no return.
                // A clock that was ahead may have dated the install.
                Some(gap)
                    if gap < RETURN
                        && (installed.at > now
                            || last.is_some_and(|last| last >= installed.at)) =>
                {
                    installed.returns += 1;
                    if installed.returns == installed.proof.most_returns() {
                        let text = installed.does_not_boot(self.machine.mac);
                        self.note(now, text);
                    }
                }
                Some(_) | None => installed.returns = 0,
            },
            State::Failed { .. } | State::Held(_) | State::New => {}
        }
    }

    fn scripted(&mut self, group: &str, profile: &str, now: Moment) {
        let (repeats, goal) = match &self.state {
            State::Installing(attempt) => (!attempt.is_under_way, attempt.goal.clone()),
            State::Failed { .. } => (false, self.failed_goal.clone()),
            State::Held(_) | State::Installed(_) | State::New => (false, None),
        };
        if !repeats {
            self.attempts += 1;
            let text = format!("attempt {} to install {profile} (group {group})", self.attempts);
            self.note(now, text);
        }
        self.tried = Some(profile.to_owned());
        self.state = State::Installing(Attempt { goal, ..Attempt::new(profile, group, now) });
    }

    fn install(&mut self, profile: String, proof: Proof, now: Moment) {
        let is_only_said = proof == Proof::Reported && !self.has_fetched;
        let installed = Installed { profile, at: now, proof, returns: 0, is_only_said };
        self.note(now, installed.to_string());
        self.attempts = 0;
        self.token = None;
        self.forget_attempts();
        self.state = State::Installed(installed);
    }

    fn fail(&mut self, reason: &str, most_attempts: u32, now: Moment) {
        self.note(now, format!("attempt {} failed: {reason}", self.attempts));
        if self.attempts < most_attempts {
            let profile = match &self.state {
                State::Installing(attempt) => {
                    self.failed_goal = attempt.goal.clone();
                    attempt.profile.clone()
                }
                State::Failed { profile, .. } => profile.clone(),
                State::Held(_) | State::Installed(_) | State::New => return,
            };
            self.state = State::Failed { profile, reason: reason.to_owned() };
            return;
        }
        // Its script may yet say that it is installed after all.
        let attempt = match &self.state {
            State::Failed { profile, .. } => Some(self.tried(profile, now)),
            State::Installing(attempt) => Some(attempt.clone().taken_back()),
            State::Held(_) | State::Installed(_) | State::New => None,
        };
        let reason = format!("{}, last: {reason}", spent(self.attempts));
        self.note(now, reason.clone());
        self.state = State::Held(Held { reason, by: Holder::Attempts, installed: None, attempt });
    }

    /// A script that gave up and said so may try again all the same.
    fn resume(&mut self, now: Moment) {
        if let State::Failed { profile, .. } = &self.state {
            self.state = State::Installing(self.tried(profile, now));
        }
    }

    /// An attempt whose script gave up, and may yet say that it is installed after all.
    fn tried(&self, profile: &str, now: Moment) -> Attempt {
        let group = self.group.clone().unwrap_or_default();
        let goal = Some(self.failed_goal.clone().unwrap_or_default());
        Attempt { is_under_way: true, goal, ..Attempt::new(profile, &group, now) }
    }
}
