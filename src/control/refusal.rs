//! Why a request changes nothing, in the operator's words.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::machine::{Mac, Subject, Uuid};

/// Why nothing was done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Refusal {
    /// The ledger could not be written, or is full.
    Failed(String),
    /// It has no record, so there is nothing to install again.
    NewAnyway(Subject),
    /// Nothing is remembered of any machine.
    NoLedger,
    /// A release of what is not held.
    NotHeld(Mac),
    /// Another user's command.
    NotPermitted {
        /// Whose it is.
        uid: u32,
    },
    /// The other side is of another release.
    OtherVersion {
        /// Of the protocol, by who reads.
        ours: u32,
        /// By who wrote.
        theirs: u32,
    },
    /// These have that UUID.
    Several(Uuid, Vec<Mac>),
    /// Many boards have that UUID: it names no machine.
    Shared(Uuid),
    /// It has no record.
    Unknown(Subject),
    /// Not what we speak.
    Unreadable(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => write!(f, "nothing was done: {why}"),
            Self::NewAnyway(machine) => write!(
                f,
                "{machine} has not been seen yet, so it is new anyway: it is installed at its first \
                 network boot if a group with an installing profile matches it"
            ),
            Self::NoLedger => f.write_str(
                "the running server has no ledger, so it knows of no machine; its log says why",
            ),
            Self::NotHeld(mac) => write!(f, "{mac} is not held, so there is nothing to release"),
            Self::NotPermitted { uid } => write!(
                f,
                "user {uid} may not do this; run it as root or as the user that bootbox runs as"
            ),
            Self::OtherVersion { ours, theirs } => write!(
                f,
                "the running server and this command are of different releases (protocol {theirs} \
                 and {ours}); restart the server"
            ),
            Self::Several(uuid, macs) => {
                let macs: Vec<String> = macs.iter().map(Mac::to_string).collect();
                write!(f, "several machines have the UUID {uuid}; name one of {}", macs.join(", "))
            }
            Self::Shared(uuid) => write!(
                f,
                "{uuid} is a UUID that board makers leave in many machines; name yours by its \
                 hardware address"
            ),
            Self::Unknown(machine @ Subject::Mac(_)) => {
                write!(
                    f,
                    "{machine} has no record; `bootbox machines` lists those that have one, and \
                     `bootbox machines --unknown` those that were only heard"
                )
            }
            Self::Unknown(machine @ Subject::Uuid(_)) => write!(
                f,
                "no machine with the UUID {machine} has been seen yet; name it by its hardware \
                 address, or see `bootbox machines`"
            ),
            Self::Unreadable(why) => {
                write!(f, "the request or its answer is not understood: {why}")
            }
        }
    }
}

impl std::error::Error for Refusal {}
