//! A machine as the commands show it: its record, and what that means now.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::SameUuid;
use crate::{
    catalog::Catalog,
    firmware::Platform,
    ledger::{Book, Decision, Entry, Install, Moment, Record, State, decide},
    machine::{Labels, Mac, Machine, SharedUuids, Uuid},
};

/// All that `bootbox machine` tells; `docs/ledger.md` has every field.
///
/// Its config token is not among it: what a command prints ends up in tickets.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sheet {
    /// Hardware address of the card that boots.
    pub mac: Mac,
    /// SMBIOS system UUID, where it is known.
    pub uuid: Option<Uuid>,
    /// What kind of firmware it has, where it is known.
    pub firmware: Option<Platform>,
    /// What iPXE told by name; empty until it has.
    pub labels: BTreeMap<String, String>,
    /// The group that matches it now.
    pub group: Option<String>,
    /// That group's profile.
    pub profile: Option<String>,
    /// How far it has come.
    pub state: State,
    /// Attempts to install it since it was new, or since an operator's last word.
    pub attempts: u32,
    /// After so many it is held.
    pub most_attempts: u32,
    /// Whether it is installed and still keeps coming back to the network.
    pub disk_does_not_boot: bool,
    /// What its next network boot comes to.
    pub next_boot: NextBoot,
    /// Newest last.
    pub addresses: Vec<Ipv4Addr>,
    /// When it first asked for a network boot, or was held before it ever did.
    pub first_seen: Moment,
    /// When it was last heard of.
    pub last_seen: Moment,
    /// Whether an operator said that it is not the machine whose UUID it shares.
    pub is_distinct: bool,
    /// Whether its UUID names no machine: it is known to be left everywhere, or the config says so.
    pub is_uuid_shared: bool,
    /// The cards that tell its UUID, where there are several and one machine is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_uuid: Option<SameUuid>,
    /// Newest last; only where one machine is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<Entry>>,
}

/// What a machine's next network boot comes to, as things are.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum NextBoot {
    /// Its profile, which installs nothing.
    Boot,
    /// Its own disk, for this reason.
    Disk(String),
    /// It waits, for this reason.
    Hold(String),
    /// Its profile, which installs: the disk is wiped.
    Install,
    /// No group matches it: it is not answered.
    Nothing,
    /// Nothing as things are, though a group matches it: `allow`, observe mode or its release is in
    /// the way, as the reason says.
    Refused(String),
    /// Which group matches it shows when it has told more.
    Undecided,
}

/// What the config has for a machine now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Choice {
    /// A group, its profile, and what the ledger lets the machine do with that.
    Group(String, String, Decision),
    /// Perhaps a group, when the machine has told more.
    Later,
    /// No group.
    Nothing,
}

impl Choice {
    /// Looks the machine up.
    pub fn of(book: &Book, catalog: &Catalog, machine: &Machine, most_attempts: u32) -> Self {
        match catalog.select(machine) {
            Some(group) => {
                let decision = book.decide(machine, group, catalog, most_attempts);
                Self::Group(group.name.clone(), group.profile.name.clone(), decision)
            }
            None if catalog.may_select(machine) => Self::Later,
            None => Self::Nothing,
        }
    }
}

impl Sheet {
    /// What there is to tell of a machine.
    pub fn of(record: &Record, choice: Choice, most_attempts: u32) -> Self {
        let machine = &record.machine;
        let next_boot = NextBoot::of(record, &choice, most_attempts);
        let (group, profile) = match choice {
            Choice::Group(group, profile, _) => (Some(group), Some(profile)),
            Choice::Later | Choice::Nothing => (None, None),
        };
        Self {
            mac: machine.mac,
            uuid: machine.uuid,
            firmware: machine.platform,
            labels: machine.labels.as_ref().map(Labels::to_map).unwrap_or_default(),
            group,
            profile,
            state: record.state.clone(),
            attempts: record.attempts,
            most_attempts,
            disk_does_not_boot: record.returns_from_its_disk(),
            next_boot,
            addresses: record.addresses.clone(),
            first_seen: record.first_seen,
            last_seen: record.last_seen,
            is_distinct: record.is_distinct,
            is_uuid_shared: false,
            same_uuid: None,
            history: None,
        }
    }

    /// The machine, as it told of itself.
    pub fn into_machine(self) -> Machine {
        let labels = Some(Labels::from(self.labels)).filter(|labels| !labels.is_empty());
        Machine { mac: self.mac, uuid: self.uuid, platform: self.firmware, labels }
    }

    /// Refuses an install or a boot for this reason. Its own disk and a hold stay.
    pub fn refused(self, reason: String) -> Self {
        match self.next_boot {
            NextBoot::Boot | NextBoot::Install => {
                Self { next_boot: NextBoot::Refused(reason), ..self }
            }
            NextBoot::Disk(_)
            | NextBoot::Hold(_)
            | NextBoot::Nothing
            | NextBoot::Refused(_)
            | NextBoot::Undecided => self,
        }
    }

    /// With whether its UUID is among those that name no machine.
    pub fn with_shared_uuids(self, shared: &SharedUuids) -> Self {
        let is_uuid_shared = self.uuid.is_some_and(|uuid| shared.contains(&uuid));
        Self { is_uuid_shared, ..self }
    }

    /// With the other cards that tell its UUID.
    pub fn with_same_uuid(self, book: &Book) -> Self {
        let machines = book.records().map(|record| &record.machine);
        let same_uuid = self.uuid.and_then(|uuid| SameUuid::of(&uuid, machines));
        Self { same_uuid, ..self }
    }

    /// With all that has happened to it.
    pub fn with_history(self, record: &Record) -> Self {
        Self { history: Some(record.history.clone()), ..self }
    }
}

impl NextBoot {
    fn of(record: &Record, choice: &Choice, most_attempts: u32) -> Self {
        let decided = |install| Self::from(decide(Some(record), install, most_attempts));
        match choice {
            Choice::Group(_, _, decision) => Self::from(decision.clone()),
            Choice::Later => {
                let [once, never] = [Install::Once, Install::Never].map(decided);
                match once == never {
                    true => once,
                    false => Self::Undecided,
                }
            }
            Choice::Nothing => Self::Nothing,
        }
    }
}

impl From<Decision> for NextBoot {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Boot => Self::Boot,
            Decision::Disk(reason) => Self::Disk(reason),
            Decision::Hold(reason) => Self::Hold(reason),
            Decision::Install => Self::Install,
        }
    }
}
