//! How events change a record.

use std::net::Ipv4Addr;

use super::{
    Event, Moment, Order, Piece, Refusal, Report,
    record::{
        Attempt, Doubt, Entry, Held, Holder, Image, Installed, Proof, RETURNS, Record, State,
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
/// Reports of progress within this many seconds are one line of the history.
const BETWEEN_REPORTS: u64 = 30;
/// How that line begins.
const PROGRESS: &str = "it reports: ";

impl Record {
    /// The record after an event. Of the number of attempts, `most_attempts` is the last one.
    pub fn after(&self, event: &Event, most_attempts: u32, now: Moment) -> Result<Self, Refusal> {
        let mut next = self.clone();
        next.last_seen = next.last_seen.max(now);
        match event {
            Event::Address(address) => next.moves(*address),
            Event::Booted { group, profile } => {
                next.group = Some(group.clone());
                let text = format!("boots {profile} (group {group})");
                let is_news =
                    |last: &Entry| last.text != text || now.0 >= last.at.0 + SAME_POWER_ON;
                if next.history.last().is_none_or(is_news) {
                    next.note(now, text);
                }
            }
            Event::Fetched(piece) => {
                next.has_fetched |= next.state.attempt().is_some();
                next.fetched(*piece, now);
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
            Event::Stray(address) => next.stray(*address, now),
            Event::Told(machine) => {
                // Who asks in its name and leaves the UUID out must not hide it from its other card.
                let uuid = machine.uuid.or(next.machine.uuid);
                next.machine = Machine { uuid, ..machine.clone() };
            }
            Event::Twin(reason) => next.hold_as_twin(reason, now),
        }
        Ok(next)
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
        // A script that gave up and said so may try again all the same.
        if let State::Failed { profile, .. } = &self.state {
            self.state = State::Installing(self.tried(profile, now));
        }
        if let Some(attempt) = self.state.attempt_mut()
            && attempt.image == Image::Incomplete
        {
            attempt.image = Image::LastByte;
            self.note(now, "the last byte of the image is about to be sent".to_owned());
        }
    }

    /// An image goes where nobody known is: this machine may have a second card there.
    fn stray(&mut self, address: Ipv4Addr, now: Moment) {
        let Some(attempt) = self.state.attempt_mut().filter(|attempt| attempt.is_open()) else {
            return;
        };
        attempt.doubt = Some(Doubt { at: now, address });
        let text = format!(
            "the last byte of an image of its release is about to be sent to {address}, an address \
             that no machine is known by that is being installed: it may be this one's"
        );
        self.note(now, text);
    }

    fn fetched(&mut self, piece: Piece, now: Moment) {
        let Some(attempt) = self.state.attempt_mut() else { return };
        let text = match piece {
            Piece::Boot if attempt.is_under_way => return,
            Piece::Boot => "it fetches what its script names",
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
                Some(gap) if gap < RETURN && last.is_some_and(|last| last.0 >= installed.at.0) => {
                    installed.returns += 1;
                    if installed.returns == RETURNS {
                        let text = format!(
                            "its disk does not boot: back on the network {RETURNS} times in a row"
                        );
                        self.note(now, text);
                    }
                }
                Some(_) | None => installed.returns = 0,
            },
            State::Failed { .. } | State::Held(_) | State::New => {}
        }
    }

    fn scripted(&mut self, group: &str, profile: &str, now: Moment) {
        let repeats = match &self.state {
            State::Installing(attempt) => !attempt.is_under_way,
            State::Failed { .. } | State::Held(_) | State::Installed(_) | State::New => false,
        };
        if !repeats {
            self.attempts += 1;
            let text = format!("attempt {} to install {profile} (group {group})", self.attempts);
            self.note(now, text);
        }
        self.state = State::Installing(Attempt {
            profile: profile.to_owned(),
            group: group.to_owned(),
            started: now,
            is_under_way: false,
            has_signature: false,
            image: Image::Incomplete,
            doubt: None,
        });
    }

    fn reported(
        &mut self,
        report: &Report,
        most_attempts: u32,
        now: Moment,
    ) -> Result<(), Refusal> {
        match (report, &mut self.state) {
            (Report::Started, State::Installing(attempt)) => {
                attempt.is_under_way = true;
                let text = "its install script runs";
                if self.history.last().is_none_or(|last| last.text != text) {
                    self.note(now, text.to_owned());
                }
            }
            (Report::Progress(text), State::Installing(attempt)) => {
                attempt.is_under_way = true;
                self.progressed(text, now);
            }
            (Report::Failed(reason), State::Installing(_)) => {
                let reason = reason.clone();
                self.fail(&reason, most_attempts, now);
            }
            (
                Report::Installed,
                State::Installing(Attempt { profile, .. }) | State::Failed { profile, .. },
            ) => {
                let profile = profile.clone();
                self.install(profile, Proof::Reported, now);
            }
            // Said twice, as a script does that missed our answer.
            (Report::Installed, State::Installed(installed)) => installed.proof = Proof::Reported,
            // Its own word settles what was doubted.
            (
                Report::Failed(reason),
                State::Held(Held { by: Holder::Doubt, attempt: Some(attempt), .. }),
            ) => {
                let (reason, attempt) = (reason.clone(), attempt.clone());
                self.state = State::Installing(attempt);
                self.fail(&reason, most_attempts, now);
            }
            (_, State::Held(Held { attempt: Some(_), .. })) => {
                self.reported_while_held(report, now)
            }
            (Report::Failed(_), State::Failed { .. }) => {}
            (
                Report::Started | Report::Progress(_) | Report::Failed(_) | Report::Installed,
                State::Failed { .. } | State::Held(_) | State::Installed(_) | State::New,
            ) => return Err(Refusal::NotInstalling),
        }
        Ok(())
    }

    /// A hold does not stop an attempt that goes on: what came of it shows when it is released.
    fn reported_while_held(&mut self, report: &Report, now: Moment) {
        let State::Held(held) = &mut self.state else { return };
        let Some(attempt) = &mut held.attempt else { return };
        match report {
            Report::Started => {}
            Report::Progress(text) => self.progressed(text, now),
            Report::Failed(reason) => {
                (attempt.image, attempt.has_signature) = (Image::Incomplete, false);
                attempt.doubt = None;
                self.note(now, format!("attempt {} failed: {reason}", self.attempts));
            }
            Report::Installed => {
                let profile = attempt.profile.clone();
                let held = (held.by == Holder::Operator).then(|| held.clone());
                self.install(profile, Proof::Reported, now);
                if let (Some(held), State::Installed(installed)) = (held, &self.state) {
                    let installed = Some(installed.clone());
                    self.state = State::Held(Held { installed, attempt: None, ..held });
                }
            }
        }
    }

    /// One line for what is reported within a short time: the rest of the history stays.
    fn progressed(&mut self, text: &str, now: Moment) {
        let text = format!("{PROGRESS}{text}");
        match self.history.last_mut() {
            Some(last)
                if last.text.starts_with(PROGRESS) && now.0 < last.at.0 + BETWEEN_REPORTS =>
            {
                last.text = text;
            }
            Some(_) | None => self.note(now, text),
        }
    }

    fn obey(&mut self, order: &Order, now: Moment) -> Result<(), Refusal> {
        match order {
            Order::Hold(reason) => {
                let (installed, attempt) = match &self.state {
                    State::Installed(installed) => (Some(installed.clone()), None),
                    State::Held(held) => (held.installed.clone(), held.attempt.clone()),
                    State::Installing(attempt) => (None, Some(attempt.clone())),
                    State::Failed { profile, .. } => (None, Some(self.tried(profile, now))),
                    State::New => (None, None),
                };
                self.note(now, format!("held by the operator: {reason}"));
                let by = Holder::Operator;
                self.state = State::Held(Held { reason: reason.clone(), by, installed, attempt });
            }
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
                self.state = State::New;
            }
            Order::Release => {
                let State::Held(held) = &self.state else { return Err(Refusal::NotHeld) };
                // Of another hold it says nothing about whose UUID this is.
                self.is_distinct |= held.by == Holder::Twin;
                let held = held.clone();
                self.attempts = 0;
                self.note(now, "released by the operator".to_owned());
                match (held.installed, held.attempt) {
                    (Some(installed), _) => self.state = State::Installed(installed),
                    // `reinstall` is the word for the other half.
                    (None, Some(attempt)) if held.by == Holder::Doubt => {
                        let proof = attempt.outcome().unwrap_or(Proof::Presumed);
                        self.install(attempt.profile, proof, now);
                    }
                    (None, Some(attempt)) => self.state = State::Installing(attempt),
                    (None, None) => self.state = State::New,
                }
            }
        }
        Ok(())
    }

    fn install(&mut self, profile: String, proof: Proof, now: Moment) {
        let is_only_said = proof == Proof::Reported && !self.has_fetched;
        let installed = Installed { profile, at: now, proof, returns: 0, is_only_said };
        self.note(now, installed.to_string());
        self.attempts = 0;
        self.token = None;
        self.state = State::Installed(installed);
    }

    fn fail(&mut self, reason: &str, most_attempts: u32, now: Moment) {
        self.note(now, format!("attempt {} failed: {reason}", self.attempts));
        if self.attempts < most_attempts {
            let profile = match &self.state {
                State::Installing(attempt) => attempt.profile.clone(),
                State::Failed { profile, .. } => profile.clone(),
                State::Held(_) | State::Installed(_) | State::New => return,
            };
            self.state = State::Failed { profile, reason: reason.to_owned() };
            return;
        }
        let reason = format!("{}, last: {reason}", spent(self.attempts));
        self.note(now, reason.clone());
        self.state =
            State::Held(Held { reason, by: Holder::Attempts, installed: None, attempt: None });
    }

    /// An attempt whose script gave up, and may yet say that it is installed after all.
    fn tried(&self, profile: &str, now: Moment) -> Attempt {
        Attempt {
            profile: profile.to_owned(),
            group: self.group.clone().unwrap_or_default(),
            started: now,
            is_under_way: true,
            has_signature: false,
            image: Image::Incomplete,
            doubt: None,
        }
    }
}
