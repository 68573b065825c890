//! What each machine has done, and what that lets it do next.
//!
//! States and transitions only: events go in, a new record comes out; [`Book`] finds the record of
//! whoever asks. Knows no clock and no file. Its one rule above all others: only a machine that is
//! surely not installed may be given a script that installs; unknown halves count as installed.

mod book;
mod change;
mod choice;
mod goal;
mod heard;
mod history;
mod moment;
mod record;
mod sample;
mod step;
mod stray;

use std::{fmt, net::Ipv4Addr};

pub use crate::catalog::Install;
use crate::machine::Machine;
pub use book::{Book, Found, Full};
pub use goal::{Goal, Peer};
pub use heard::Heard;
pub use history::Room;
pub use moment::Moment;
pub use record::{
    Attempt, Doubt, Entry, Held, Holder, Image, Installed, Pass, Proof, Record, State,
};
pub use sample::{Weight, sample};
pub use step::Step;
pub use stray::Stray;

/// What a machine that asks for a network boot may do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Boot its profile, which installs nothing.
    Boot,
    /// Boot its own disk.
    Disk(String),
    /// Wait, with this reason on its console, and touch neither disk nor image.
    Hold(String),
    /// Boot its profile, which installs.
    Install,
}

/// Decides for a machine whose group's profile says `install`.
pub fn decide(record: Option<&Record>, install: Install, most_attempts: u32) -> Decision {
    let installs = match install {
        Install::Once => true,
        Install::Always | Install::Never => false,
    };
    let free = || match install {
        Install::Never => Decision::Boot,
        Install::Always | Install::Once => Decision::Install,
    };
    let Some(record) = record else { return free() };
    match &record.state {
        State::Held(held) => match (&held.installed, held.by) {
            // Asked not to be touched: its own disk is what it has.
            (Some(installed), _) => Decision::Disk(format!("{}; {installed}", held.reason)),
            (None, _)
                if installs && held.attempt.as_ref().is_some_and(|it| it.outcome().is_some()) =>
            {
                Decision::Disk(format!("{}; it may be installed by now", held.reason))
            }
            // We did nothing to its disk, so what is on it is its owner's, and may boot.
            (None, Holder::Operator) if held.attempt.is_none() => {
                Decision::Disk(format!("held by the operator: {}", held.reason))
            }
            (None, Holder::Operator) => Decision::Hold(held.reason.clone()),
            (None, Holder::Attempts | Holder::Doubt | Holder::Twin) if installs => {
                Decision::Hold(held.reason.clone())
            }
            (None, Holder::Attempts | Holder::Doubt | Holder::Twin) => free(),
        },
        State::Installed(installed) if installs && record.returns_from_its_disk() => {
            Decision::Disk(format!("{installed}; {}", installed.does_not_boot(record.machine.mac)))
        }
        State::Installed(installed) if installs => Decision::Disk(installed.to_string()),
        State::Installing(attempt) if installs => match (attempt.outcome(), attempt.doubt()) {
            (Some(proof), _) => {
                Decision::Disk(format!("{} counts as installed: {proof}", attempt.profile))
            }
            (None, Some(doubt)) => Decision::Hold(doubt.reason(record.machine.mac)),
            (None, None) if record.attempts >= most_attempts => {
                Decision::Hold(spent(record.attempts))
            }
            (None, None) => Decision::Install,
        },
        State::Failed { reason, .. } if installs && record.attempts >= most_attempts => {
            Decision::Hold(format!("{}, last: {reason}", spent(record.attempts)))
        }
        State::Failed { .. } | State::Installed(_) | State::Installing(_) | State::New => free(),
    }
}

/// Something that a machine did, or that was done about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// It has this address.
    Address(Ipv4Addr),
    /// The script that it was just given fetches this from here.
    Aims(Goal),
    /// It is said to have failed, for this reason, and not surely by itself.
    Alleged(String),
    /// A script that installs it was asked for from this address.
    AskedBy(Ipv4Addr),
    /// A file was sent to it to the last byte.
    Fetched(Piece),
    /// The last that its installer is known to fetch from here is about to be sent.
    Last,
    /// The last byte of its image is about to be sent: from here on it may have all of it.
    LastByte,
    /// The script of a profile that installs nothing is about to be sent to it.
    Booted {
        /// The group that matched.
        group: String,
        /// The profile it names.
        profile: String,
    },
    /// An operator's word.
    Ordered(Order),
    /// Its firmware asks for a network boot: what went on before is over.
    PoweredOn,
    /// Its own script tells how it is getting on.
    Reported(Report),
    /// The script that installs is about to be sent to it.
    Scripted {
        /// The group that matched.
        group: String,
        /// The profile it names.
        profile: String,
        /// What it may fetch its configs with.
        token: Option<Pass>,
    },
    /// The last of what it needs was sent to this address.
    SentTo(Ipv4Addr),
    /// The last byte of what it may need is about to be sent to this address, which is no
    /// installing machine's that we know.
    Stray(Ipv4Addr),
    /// iPXE has told who the machine is.
    Told(Machine),
    /// Another record has its UUID, for which it is held in these words.
    Twin(String),
    /// The signature of the image that was sent to it is good, by a key of the keyring.
    Verified,
}

/// What a file means for an installation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece {
    /// Anything else that belongs to the boot: kernel, initrd, a config.
    Boot,
    /// What goes onto the disk.
    Image,
    /// The last that its installer is known to fetch here, and no image.
    Last,
    /// The image's signature.
    Signature,
}

impl Piece {
    /// What a repository file is, by the names that CoreOS, Flatcar and Fedora CoreOS give.
    pub fn of(path: &[u8]) -> Self {
        let is_image = |name: &[u8]| {
            name.ends_with(b"_image.bin.bz2")
                || (name.starts_with(b"fedora-coreos-") && name.ends_with(b".raw.xz"))
        };
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        match name.strip_suffix(b".sig") {
            Some(signed) if is_image(signed) => Self::Signature,
            None if is_image(name) => Self::Image,
            Some(_) | None => Self::Boot,
        }
    }
}

/// What an install script reports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Report {
    /// It gave up, for this reason.
    Failed(String),
    /// The disk is complete.
    Installed,
    /// It goes on; what it does, in its words.
    Progress(String),
    /// It runs.
    Started,
}

/// What an operator can say about a machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Order {
    /// Install nothing on it until it is released.
    Hold(String),
    /// Its disk is installed.
    Installed,
    /// Install it once more at its next network boot.
    Reinstall,
    /// Take a hold away.
    Release,
}

/// Why an event changes nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// A report of a machine that installs nothing now.
    NotInstalling,
    /// A release of what is not held.
    NotHeld,
    /// A release that would install a machine whose other card may have an installed disk.
    SharesItsUuid,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHeld => "it is not held",
            Self::NotInstalling => "no installation of this machine is under way",
            Self::SharesItsUuid => {
                "it has the UUID of another machine, and a release wipes no disk; if it is another \
                 machine: bootbox reinstall"
            }
        })
    }
}

impl std::error::Error for Refusal {}

fn spent(attempts: u32) -> String {
    match attempts {
        1 => "held after 1 attempt that did not end in an installed machine".to_owned(),
        count => format!("held after {count} attempts that did not end in an installed machine"),
    }
}

#[cfg(test)]
mod tests;
