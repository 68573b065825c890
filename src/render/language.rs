//! The languages that boot loaders read: what is decided for a machine, said in its loader's words.

use super::{
    grub,
    hand_off::{Ending, disk_script, hold_script, notice_for, wait_script},
    script::{notice_script, script_for},
};
use crate::{
    catalog::{Group, HandOff},
    machine::Machine,
    template::Words,
};

/// What a machine runs that asks for its own text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Language {
    /// GRUB, which reads a config.
    Grub,
    /// iPXE, which reads a script.
    Ipxe,
}

impl Language {
    /// Boots a machine of this group; the error is the reason why nothing boots.
    pub fn boot(self, group: &Group, words: &Words) -> Result<String, String> {
        match self {
            Self::Grub => grub::machine_config(group, words)
                .map_err(|error| format!("profile {}: {error}", group.profile.name)),
            Self::Ipxe => script_for(group, words),
        }
    }

    /// Sends a machine to its own disk, and says why.
    pub fn disk(self, machine: &Machine, hand_off: HandOff, reason: &str) -> String {
        match self {
            Self::Grub => grub::disk_config(reason, hand_off),
            Self::Ipxe => disk_script(reason, Ending::to_disk(machine, hand_off)),
        }
    }

    /// Keeps a machine from its disk, and asks again.
    pub fn hold(self, machine: &Machine, reason: &str) -> String {
        match self {
            Self::Grub => grub::hold_config(machine, reason),
            Self::Ipxe => hold_script(machine, reason),
        }
    }

    /// Shows a reason on the machine's console, and lets it go on.
    pub fn notice(self, reason: &str, machine: Option<&Machine>) -> String {
        match (self, machine) {
            (Self::Grub, _) => grub::notice_config(reason),
            (Self::Ipxe, Some(machine)) => notice_for(machine, reason),
            (Self::Ipxe, None) => notice_script(reason),
        }
    }

    /// Has a machine ask again whose profile is not ready yet.
    pub fn wait(self, machine: &Machine, reason: &str) -> String {
        match self {
            Self::Grub => grub::wait_config(machine, reason),
            Self::Ipxe => wait_script(machine, reason),
        }
    }
}
