//! One machine's record.

use std::{fmt, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::{Goal, Moment, Peer, Piece};
use crate::{
    machine::{Labels, Mac, Machine},
    path::UrlPath,
    token::Token,
};

/// Memory that the labels of one machine may take, some 30 of the usual length: our scripts send
/// about 10.
const MOST_OF_LABELS: usize = 3072;
/// Memory that a label takes beside its bytes.
const OF_A_LABEL: usize = 64;
/// The profile of a disk that somebody else installed.
pub(super) const UNKNOWN: &str = "unknown";
/// Returns in a row that make a disk one that does not boot.
const RETURNS: u32 = 3;
/// The same where nothing tells that there is anything on it.
const RETURNS_PRESUMED: u32 = 1;
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
    pub token: Option<Pass>,
    /// The group whose profile it booted last.
    pub group: Option<String>,
    /// An operator said that it is not the machine whose UUID it shares.
    pub is_distinct: bool,
    /// Newest last. The book holds the newest alone; the ledger's file has all of them.
    pub history: Vec<Entry>,
    pub(super) last_power_on: Option<Moment>,
    /// Whether anything of its attempts was fetched from here since it was new.
    #[serde(default = "yes")]
    pub(super) has_fetched: bool,
    /// Where scripts that install it went since it was new.
    #[serde(default)]
    pub(super) asked_by: Peer,
    /// The profile of the last attempt.
    #[serde(default)]
    pub(super) tried: Option<String>,
    /// The goal of the attempt that failed last, which may go on.
    #[serde(default)]
    pub(super) failed_goal: Option<Goal>,
    /// Whether an operator ever said anything about it.
    #[serde(default)]
    pub(super) has_orders: bool,
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
    /// Where an image went that this machine may have fetched by an address that nobody heard of.
    #[serde(default)]
    pub doubt: Option<Doubt>,
    /// The files that it fetches last; `None` where that is not known.
    #[serde(default)]
    pub goal: Option<Goal>,
    /// Whether the last of what it fetches here was sent, or was about to be. A record of an older
    /// release does not tell: all of it may have come from elsewhere.
    #[serde(default = "yes")]
    pub has_last: bool,
    /// Whether the image that was sent is signed by a key of the keyring.
    #[serde(default)]
    pub is_verified: bool,
    /// Where the last of it went.
    #[serde(default)]
    pub sent_to: Peer,
}

/// A record of before does not tell, and what it said counted.
fn yes() -> bool {
    true
}

/// An image that was sent to the last byte, and nobody knows to whom.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Doubt {
    /// When its last byte was about to leave.
    pub at: Moment,
    /// Where to.
    pub address: Ipv4Addr,
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
    /// Whether a report is all that there is: nothing was fetched from here for it.
    #[serde(default)]
    pub is_only_said: bool,
}

/// How it is known that a machine is installed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// It fetched image and signature to the last byte, and the signature is good.
    Fetched,
    /// An operator said so.
    Operator,
    /// It may have fetched all that it needs, and the rest is not known.
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
    /// We, because it may be installed, and only a person can tell.
    Doubt,
    /// An operator.
    Operator,
    /// We, because another record has the same UUID: it may be the same machine's other card.
    Twin,
}

/// What a machine's configs are fetched with, for one boot.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pass {
    /// What its URLs carry.
    #[serde(rename = "text")]
    pub token: Token,
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
            machine: bounded(machine),
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
            has_fetched: false,
            asked_by: Peer::Nobody,
            tried: None,
            failed_goal: None,
            has_orders: false,
        };
        record.note(now, "first seen".to_owned());
        record
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

    /// Whether a ledger without this record decides the same: nothing was done to its machine or
    /// said about it, and it booted by no group. One of those goes where there is no room.
    pub fn is_expendable(&self) -> bool {
        self.state == State::New
            && self.group.is_none()
            && self.tried.is_none()
            && self.attempts == 0
            && !self.is_distinct
            && !self.has_orders
    }

    /// Whether its disk is installed, and still it keeps coming back to the network.
    pub fn returns_from_its_disk(&self) -> bool {
        matches!(&self.state, State::Installed(it) if it.returns >= it.proof.most_returns())
    }

    /// Whether its next network boot must tell a person something, though its disk is what it boots.
    pub fn has_news(&self) -> bool {
        self.returns_from_its_disk()
            || matches!(&self.state, State::Held(held) if held.by == Holder::Doubt)
    }

    /// Whether a failure that is reported from this address, or with a token, is surely its own. It
    /// is not where scripts of its were asked for from elsewhere, too: whoever did that has its
    /// token; and not where what it needs went elsewhere.
    pub fn is_own_word(&self, address: Ipv4Addr, token: Option<Token>, now: Moment) -> bool {
        let Peer::One(asked_by) = self.asked_by else { return false };
        let sent_to = self.state.attempt().map_or(Peer::Nobody, |attempt| attempt.sent_to);
        token.is_some_and(|token| self.admits(token, now))
            || (asked_by == address && [Peer::Nobody, Peer::One(address)].contains(&sent_to))
    }

    /// The meaning of a file for the attempt that goes on, or for a failed one that may go on.
    pub fn meaning(&self, path: &UrlPath) -> Piece {
        let known = Piece::of(path.as_bytes());
        let goal = match &self.state {
            State::Failed { .. } => self.failed_goal.as_ref(),
            State::Held(_) | State::Installed(_) | State::Installing(_) | State::New => {
                self.state.attempt().and_then(|attempt| attempt.goal.as_ref())
            }
        };
        let Some(goal) = goal.filter(|_| known == Piece::Boot) else { return known };
        let signed = path.as_bytes().strip_suffix(b".sig");
        let signed = signed.and_then(|path| UrlPath::parse(path).ok());
        if goal.has_image(path) {
            Piece::Image
        } else if signed.is_some_and(|signed| goal.has_image(&signed)) {
            Piece::Signature
        } else if goal.has_file(path) {
            Piece::Last
        } else {
            Piece::Boot
        }
    }

    /// The profile and the goal of an attempt that may still end well, where it surely did not yet
    /// and no doubt was cast on that. After a failure, its machine may try again without a boot.
    pub fn unsettled(&self) -> Option<(&str, Option<&Goal>)> {
        match &self.state {
            State::Failed { profile, .. } => Some((profile, self.failed_goal.as_ref())),
            State::Held(_) | State::Installed(_) | State::Installing(_) | State::New => {
                let attempt = self.state.attempt().filter(|attempt| attempt.is_open())?;
                Some((&attempt.profile, attempt.goal.as_ref()))
            }
        }
    }

    /// Whether what goes to its address is for its own attempt, a failed one too.
    pub fn fetches_for_itself(&self) -> bool {
        matches!(self.state, State::Failed { .. }) || self.state.attempt().is_some()
    }

    /// Whether this token opens its configs now.
    pub fn admits(&self, token: Token, now: Moment) -> bool {
        self.token
            .as_ref()
            .is_some_and(|own| own.token == token && now.0.saturating_sub(own.made.0) < TOKEN_LIFE)
    }
}

/// A machine with the labels that there is room for. One that told more has told nothing, as it may
/// be any machine then; what it tells with a request counts for that request.
pub(super) fn bounded(machine: Machine) -> Machine {
    let of = |(name, value): (&str, &str)| OF_A_LABEL + name.len() + value.len();
    let size: usize = machine.labels.iter().flat_map(Labels::iter).map(of).sum();
    let labels = machine.labels.filter(|_| size <= MOST_OF_LABELS);
    Machine { labels, ..machine }
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

    pub(super) fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        match self {
            Self::Installing(attempt) => Some(attempt),
            Self::Held(held) => held.attempt.as_mut(),
            Self::Failed { .. } | Self::Installed(_) | Self::New => None,
        }
    }
}

impl Attempt {
    /// An attempt that begins now.
    pub(super) fn new(profile: &str, group: &str, now: Moment) -> Self {
        Self {
            profile: profile.to_owned(),
            group: group.to_owned(),
            started: now,
            is_under_way: false,
            has_signature: false,
            image: Image::Incomplete,
            doubt: None,
            goal: None,
            has_last: false,
            is_verified: false,
            sent_to: Peer::Nobody,
        }
    }

    /// The same after its own script said that it failed: all that was sent counts for nothing.
    pub(super) fn taken_back(self) -> Self {
        Self {
            is_under_way: true,
            image: Image::Incomplete,
            has_signature: false,
            has_last: false,
            doubt: None,
            ..self
        }
    }

    /// Whether the machine may be installed by now, and how that would be known.
    pub fn outcome(&self) -> Option<Proof> {
        match (self.image, self.has_signature && self.is_verified) {
            // A record of before does not say how far it had to come.
            (Image::Incomplete, _) if self.goal.is_none() && self.is_under_way => {
                Some(Proof::Presumed)
            }
            (Image::Incomplete, _) => self.has_last.then_some(Proof::Presumed),
            (Image::Whole, true) => Some(Proof::Fetched),
            (Image::Whole, false) | (Image::LastByte, _) => Some(Proof::Presumed),
        }
    }

    /// Whether it is surely not complete, and no doubt was cast on that.
    pub fn is_open(&self) -> bool {
        self.outcome().is_none() && self.doubt.is_none()
    }

    /// What keeps this machine from being installed again, where nothing of its own tells how its
    /// attempt ended.
    pub fn doubt(&self) -> Option<Doubt> {
        self.doubt.filter(|_| self.outcome().is_none())
    }
}

impl Doubt {
    /// The words for it, and what an operator may do.
    pub fn reason(self, mac: Mac) -> String {
        format!(
            "while it was being installed, the last of what it needs was sent to {}, an address that \
             no such machine is known by, so its disk may be installed; if it is: bootbox installed \
             {mac}, if not: bootbox reinstall {mac}",
            self.address
        )
    }
}

impl Installed {
    /// The words for a machine that keeps coming back, and what an operator may do.
    pub(super) fn does_not_boot(&self, mac: Mac) -> String {
        let times = match self.returns {
            1 => "at once".to_owned(),
            count => format!("{count} times in a row"),
        };
        format!(
            "its disk may not boot: it came back to the network {times}; if nothing is on it: \
             bootbox reinstall {mac}"
        )
    }
}

impl Proof {
    /// Returns in a row after which its disk counts as one that does not boot.
    pub(super) fn most_returns(self) -> u32 {
        match self {
            Self::Presumed => RETURNS_PRESUMED,
            Self::Fetched | Self::Operator | Self::Reported => RETURNS,
        }
    }
}

impl fmt::Display for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.profile {
            UNKNOWN => write!(f, "its disk counts as installed since {}: {}", self.at, self.proof),
            profile => write!(f, "{profile} is installed since {}: {}", self.at, self.proof),
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fetched => "it fetched image and signature to the last byte",
            Self::Presumed => {
                "presumed, nothing reported it; `bootbox installed` confirms it, `bootbox reinstall` \
                 wipes its disk and installs it again"
            }
            Self::Operator => "the operator said so",
            Self::Reported => "its install script said so",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mac;

    #[test]
    fn labels_that_are_too_long_to_keep_are_none() {
        let mac = Mac::new([2, 0, 0, 0, 0, 1]).unwrap();
        let record = |count: usize| {
            let label = |number: usize| (format!("label{number}"), "v".repeat(40));
            Record::new(Machine::told(mac, None, (0..count).map(label).collect()), Moment(1))
        };
        assert_eq!(record(25).machine.labels.map(|labels| labels.len()), Some(25));
        assert_eq!(record(60).machine.labels, None);
    }
}
