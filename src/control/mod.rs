//! What a command asks the running server, and what it is answered: one JSON object a line.
//!
//! A command sends one [`Request`]. The answer is a [`Reply::Machine`] for each machine it is about,
//! then [`Reply::End`] or [`Reply::Refused`]. Requests and lines are read and understood here; never
//! touches a socket, and changes no record.

mod refusal;
mod same_uuid;
mod sheet;

use std::{fmt, io};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    ledger::{Book, Order},
    machine::{Mac, SharedUuids, Subject, Uuid},
};
pub use refusal::Refusal;
pub use same_uuid::{Apart, SameUuid};
pub use sheet::{Choice, NextBoot, Sheet};

/// A request is shorter than this, in bytes.
pub const LONGEST_REQUEST: usize = 64 * 1024;
/// Of the protocol: server and command are one binary, but an old one may still be running.
const VERSION: u32 = 1;
/// A reason stands on consoles and in tables, in characters.
const LONGEST_REASON: usize = 200;

/// What an operator wants.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Request {
    /// Treat it as new.
    Forget {
        /// Which one.
        machine: Subject,
    },
    /// Install nothing on it.
    Hold {
        /// Which one; it need not have been seen.
        machine: Subject,
        /// Why.
        reason: Reason,
    },
    /// Its disk is installed.
    Installed {
        /// Which one; it need not have been seen.
        machine: Subject,
    },
    /// One machine, with its history.
    Machine {
        /// Which one.
        machine: Subject,
    },
    /// All machines, by their hardware addresses.
    Machines,
    /// Install it once more.
    Reinstall {
        /// Which one.
        machine: Subject,
    },
    /// Take a hold away.
    Release {
        /// Which one.
        machine: Subject,
    },
    /// Machines that were heard a short time ago and that no group matches, the newest first.
    Unknown,
}

/// One line of an answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Reply {
    /// It is done, and that was all.
    End,
    /// A machine as it is now; after an order, as the order left it.
    Machine(Box<Sheet>),
    /// Nothing was done.
    Refused(Refusal),
}

/// What a request comes to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Forget this one.
    Forget(Mac),
    /// Tell of all.
    List,
    /// Write this into its record, which is made if there is none, and tell of it.
    Order(Mac, Order),
    /// Tell of this one.
    Show(Mac),
    /// Tell of those that no group matches.
    Strangers,
}

impl Request {
    /// Reads a line, which may be anything.
    pub fn read(line: &[u8]) -> Result<Self, Refusal> {
        read(line)
    }

    /// The line that asks for it.
    pub fn line(&self) -> io::Result<Vec<u8>> {
        line(self)
    }

    /// The step that answers it, by the book and by the UUIDs that name no machine.
    pub fn step(&self, book: &Book, shared: &SharedUuids) -> Result<Step, Refusal> {
        Ok(match self {
            Self::Forget { machine } => Step::Forget(known(machine, book, shared)?),
            Self::Hold { machine: Subject::Mac(mac), reason } => {
                Step::Order(*mac, Order::Hold(reason.0.clone()))
            }
            Self::Hold { machine, reason } => {
                Step::Order(known(machine, book, shared)?, Order::Hold(reason.0.clone()))
            }
            Self::Installed { machine: Subject::Mac(mac) } => Step::Order(*mac, Order::Installed),
            Self::Installed { machine } => {
                Step::Order(known(machine, book, shared)?, Order::Installed)
            }
            Self::Machine { machine } => Step::Show(known(machine, book, shared)?),
            Self::Machines => Step::List,
            Self::Reinstall { machine } => match known(machine, book, shared) {
                Ok(mac) => Step::Order(mac, Order::Reinstall),
                Err(Refusal::Unknown(machine)) => return Err(Refusal::NewAnyway(machine)),
                Err(refusal) => return Err(refusal),
            },
            Self::Release { machine } => Step::Order(known(machine, book, shared)?, Order::Release),
            Self::Unknown => Step::Strangers,
        })
    }
}

impl Reply {
    /// Reads a line of a server, which may be of another release.
    pub fn read(line: &[u8]) -> Result<Self, Refusal> {
        read(line)
    }

    /// The line that says it.
    pub fn line(&self) -> io::Result<Vec<u8>> {
        line(self)
    }
}

/// The machine that is meant, if there is a record of it.
fn known(machine: &Subject, book: &Book, shared: &SharedUuids) -> Result<Mac, Refusal> {
    let uuid = match machine {
        Subject::Mac(mac) => {
            return book.get(*mac).map(|_| *mac).ok_or(Refusal::Unknown(*machine));
        }
        Subject::Uuid(uuid) if shared.contains(uuid) => return Err(Refusal::Shared(*uuid)),
        Subject::Uuid(uuid) => uuid,
    };
    let is_meant = |own: &Uuid| own.is_same_machine(uuid);
    let mut macs: Vec<Mac> = book
        .records()
        .filter(|record| record.machine.uuid.as_ref().is_some_and(is_meant))
        .map(|record| record.machine.mac)
        .collect();
    macs.sort();
    match macs[..] {
        [] => Err(Refusal::Unknown(*machine)),
        [mac] => Ok(mac),
        _ => Err(Refusal::Several(*uuid, macs)),
    }
}

/// Why a machine is held: one line that a person can read.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reason(String);

impl TryFrom<String> for Reason {
    type Error = NotAReason;

    fn try_from(text: String) -> Result<Self, NotAReason> {
        let text = text.trim();
        let is_short = text.chars().count() <= LONGEST_REASON;
        match !text.is_empty() && is_short && !text.chars().any(char::is_control) {
            true => Ok(Self(text.to_owned())),
            false => Err(NotAReason),
        }
    }
}

impl std::str::FromStr for Reason {
    type Err = NotAReason;

    fn from_str(text: &str) -> Result<Self, NotAReason> {
        text.to_owned().try_into()
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

/// The text cannot stand on a machine's console.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotAReason;

impl fmt::Display for NotAReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is no reason; write one line of at most {LONGEST_REASON} characters")
    }
}

impl std::error::Error for NotAReason {}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Envelope<T> {
    version: u32,
    body: T,
}

/// Read first: of another version, the rest need not be understood.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

fn read<T: DeserializeOwned>(line: &[u8]) -> Result<T, Refusal> {
    let unreadable = |error: serde_json::Error| Refusal::Unreadable(error.to_string());
    let Version { version } = serde_json::from_slice(line).map_err(unreadable)?;
    if version != VERSION {
        return Err(Refusal::OtherVersion { ours: VERSION, theirs: version });
    }
    serde_json::from_slice(line).map(|Envelope { body, .. }| body).map_err(unreadable)
}

fn line<T: Serialize>(body: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Envelope { version: VERSION, body })?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests;
