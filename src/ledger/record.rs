//! One machine's record, and how events change it.

use std::{fmt, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::{Event, Moment, Order, Piece, Refusal, Report, spent};
use crate::machine::Machine;

/// Lines of history that are kept; the oldest go first.
const MOST_ENTRIES: usize = 100;
/// Addresses that are kept: the ROM, iPXE and the system may each have had one.
const MOST_ADDRESSES: usize = 4;
/// Discovers within this many seconds are one power-on: PXE repeats them after 4, 8, 16 and 32 s
/// (PXE 2.1 section 3.1).
const SAME_POWER_ON: u64 = 45;
/// An installed machine that is back within this many seconds has not run from its disk for long.
const RETURN: u64 = 300;
/// Returns in a row that make a disk one that does not boot.
const RETURNS: u32 = 3;
/// Reports of progress within this many seconds are one line of the history.
const BETWEEN_REPORTS: u64 = 30;
/// How that line begins.
const PROGRESS: &str = "it reports: ";
/// A token serves one boot, and no boot takes longer, in seconds.
const TOKEN_LIFE: u64 = 24 * 3600;

/// What is known of one machine.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Record {
    /// As it told last.
    pub machine: Machine,
    /// When it first asked for a network boot.
    pub first_seen: Moment,
    /// When it was last heard of.
    pub last_seen: Moment,
    /// Newest last.
    pub addresses: Vec<Ipv4Addr>,
    /// How far it has come.
    pub state: State,
    /// Attempts to install it since it was new, or since an operator's last word.
    pub attempts: u32,
    /// What its configs are fetched with now.
    pub token: Option<Token>,
    /// The group whose profile it booted last.
    pub group: Option<String>,
    /// An operator said that it is not the machine whose UUID it shares.
    pub is_distinct: bool,
    /// Newest last.
    pub history: Vec<Entry>,
    last_power_on: Option<Moment>,
}

/// How far a machine has come.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its script said that the last attempt failed.
    Failed {
        /// What was to be installed.
        profile: String,
        /// Why it failed, in the script's words.
        reason: String,
    },
    /// Nothing is installed on it until somebody says so.
    Held(Held),
    /// It boots its own disk.
    Installed(Installed),
    /// A script that installs was sent to it.
    Installing(Attempt),
    /// Nothing has been done to it.
    New,
}

/// One attempt to install.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Attempt {
    /// What is installed.
    pub profile: String,
    /// The group that chose it.
    pub group: String,
    /// When its script was sent.
    pub started: Moment,
    /// Whether anything was fetched or reported since.
    pub is_under_way: bool,
    /// Whether the image's signature was sent, all of it.
    pub has_signature: bool,
    /// How much of the image was sent.
    pub image: Image,
}

/// How much of an image a machine can have.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Image {
    /// Surely not all of it.
    Incomplete,
    /// Perhaps all of it: its last byte was about to be sent.
    LastByte,
    /// All of it.
    Whole,
}

/// An installed machine.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Installed {
    /// What is on its disk.
    pub profile: String,
    /// Since when.
    pub at: Moment,
    /// How that is known.
    pub proof: Proof,
    /// How often in a row it came back to the network at once.
    pub returns: u32,
}

/// How it is known that a machine is installed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// It fetched image and signature to the last byte.
    Fetched,
    /// It may have fetched the whole image, and the rest is not known.
    Presumed,
    /// Its install script said so.
    Reported,
}

/// A machine that waits for an operator.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Held {
    /// Why, for the operator and the machine's console.
    pub reason: String,
    /// Who holds it.
    pub by: Holder,
    /// What was on its disk before.
    pub installed: Option<Installed>,
    /// The attempt that went on when the hold began, and may still end well.
    #[serde(default)]
    pub attempt: Option<Attempt>,
}

/// Who holds a machine.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// We, after too many attempts.
    Attempts,
    /// An operator.
    Operator,
    /// We, because another record has the same UUID: it may be the same machine's other card.
    Twin,
}

/// What a machine's configs are fetched with, for one boot.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Token {
    /// Lower-case letters and digits.
    pub text: String,
    /// When it was made.
    pub made: Moment,
}

/// One line of a machine's history.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    /// When.
    pub at: Moment,
    /// What happened, in words.
    pub text: String,
}

impl Record {
    /// A machine that asks for a network boot for the first time.
    pub fn new(machine: Machine, now: Moment) -> Self {
        let mut record = Self {
            machine,
            first_seen: now,
            last_seen: now,
            addresses: Vec::new(),
            state: State::New,
            attempts: 0,
            token: None,
            group: None,
            is_distinct: false,
            history: Vec::new(),
            last_power_on: None,
        };
        record.note(now, "first seen".to_owned());
        record
    }

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
            Event::Fetched(piece) => next.fetched(*piece, now),
            Event::LastByte => {
                if let Some(attempt) = next.state.attempt_mut()
                    && attempt.image == Image::Incomplete
                {
                    attempt.image = Image::LastByte;
                    next.note(now, "the last byte of the image is about to be sent".to_owned());
                }
            }
            Event::Ordered(order) => next.obey(order, now)?,
            Event::PoweredOn => next.powered_on(most_attempts, now),
            Event::Reported(report) => next.reported(report, most_attempts, now)?,
            Event::Scripted { group, profile, token } => {
                next.token.clone_from(token);
                next.group = Some(group.clone());
                next.scripted(group, profile, now);
            }
            Event::Told(machine) => {
                // Who asks in its name and leaves the UUID out must not hide it from its other card.
                let uuid = machine.uuid.or(next.machine.uuid);
                next.machine = Machine { uuid, ..machine.clone() };
            }
            Event::Twin(reason) => next.hold_as_twin(reason, now),
        }
        Ok(next)
    }

    /// The same machine after another one took this address.
    pub fn without_address(&self, address: Ipv4Addr) -> Self {
        let mut next = self.clone();
        next.addresses.retain(|&known| known != address);
        next
    }

    /// Whether nothing but the time differs from what was known.
    pub fn says_no_more_than(&self, known: &Self) -> bool {
        Self { last_seen: known.last_seen, ..self.clone() } == *known
    }

    /// Whether its disk is installed, and still it keeps coming back to the network.
    pub fn returns_from_its_disk(&self) -> bool {
        matches!(&self.state, State::Installed(installed) if installed.returns >= RETURNS)
    }

    /// Whether this token opens its configs now.
    pub fn admits(&self, token: &str, now: Moment) -> bool {
        self.token
            .as_ref()
            .is_some_and(|own| own.text == token && now.0.saturating_sub(own.made.0) < TOKEN_LIFE)
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

    /// Whether a discover now says more than the power-on that was noted last.
    pub fn is_power_on_news(&self, most_attempts: u32, now: Moment) -> bool {
        let is_same = |last: Moment| now.0.saturating_sub(last.0) < SAME_POWER_ON;
        if !self.last_power_on.is_some_and(is_same) {
            return true;
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
            State::Installing(attempt) => match attempt.outcome() {
                Some(proof) => {
                    let profile = attempt.profile.clone();
                    self.install(profile, proof, now);
                }
                // What is still on its way to it may complete the image: only the next script ends
                // this attempt. Where there is no next one, this was the last.
                None if attempt.is_under_way && self.attempts >= most_attempts => {
                    let attempt = attempt.clone();
                    self.fail("it came back before its image was complete", most_attempts, now);
                    if let State::Held(held) = &mut self.state {
                        held.attempt = Some(attempt);
                    }
                }
                None => {}
            },
            State::Installed(installed) => match gap {
                Some(gap) if gap < SAME_POWER_ON => {}
                Some(gap) if gap < RETURN => {
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
                self.is_distinct = true;
                self.attempts = 0;
                self.token = None;
                self.group = None;
                self.state = State::New;
            }
            Order::Release => {
                let State::Held(held) = &self.state else { return Err(Refusal::NotHeld) };
                // Of another hold it says nothing about whose UUID this is.
                self.is_distinct |= held.by == Holder::Twin;
                self.state = match (&held.installed, &held.attempt) {
                    (Some(installed), _) => State::Installed(installed.clone()),
                    (None, Some(attempt)) => State::Installing(attempt.clone()),
                    (None, None) => State::New,
                };
                self.attempts = 0;
                self.note(now, "released by the operator".to_owned());
            }
        }
        Ok(())
    }

    fn install(&mut self, profile: String, proof: Proof, now: Moment) {
        let installed = Installed { profile, at: now, proof, returns: 0 };
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
        }
    }

    fn note(&mut self, at: Moment, text: String) {
        self.history.push(Entry { at, text });
        if self.history.len() > MOST_ENTRIES {
            self.history.remove(0);
        }
    }
}

impl State {
    /// The attempt that goes on, under a hold too.
    pub fn attempt(&self) -> Option<&Attempt> {
        match self {
            Self::Installing(attempt) => Some(attempt),
            Self::Held(held) => held.attempt.as_ref(),
            Self::Failed { .. } | Self::Installed(_) | Self::New => None,
        }
    }

    fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        match self {
            Self::Installing(attempt) => Some(attempt),
            Self::Held(held) => held.attempt.as_mut(),
            Self::Failed { .. } | Self::Installed(_) | Self::New => None,
        }
    }
}

impl Attempt {
    /// Whether the machine may be installed by now, and how that would be known.
    pub fn outcome(&self) -> Option<Proof> {
        match (self.image, self.has_signature) {
            (Image::Incomplete, _) => None,
            (Image::Whole, true) => Some(Proof::Fetched),
            (Image::Whole, false) | (Image::LastByte, _) => Some(Proof::Presumed),
        }
    }
}

impl fmt::Display for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is installed since {}: {}", self.profile, self.at, self.proof)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fetched => "it fetched image and signature to the last byte",
            Self::Presumed => {
                "it may have fetched the whole image, and nobody can tell; \
                 `bootbox reinstall` installs it again"
            }
            Self::Reported => "its install script said so",
        })
    }
}
