//! What each machine should boot: groups choose profiles by selectors.
//!
//! Sorted once at load, most specific first; two groups that could only be told apart by chance are
//! an error there. Never knows what a machine has done before.

mod index;
mod pattern;
mod reach;
mod selector;
mod specimen;
mod values;

use std::{cmp::Reverse, collections::HashSet, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    firmware::BootFile,
    machine::{Mac, Machine, SharedUuids},
    path::RepositoryPath,
    template::{Metadata, Template},
};
use index::Index;
pub use pattern::{Glob, Pattern, PatternError};
pub use reach::{Kind, MOST_UNSAID, Reach};
pub use selector::{Field, Finding, Outcome, Selector, Value, Verdict};
pub use specimen::Specimen;
pub use values::{Known, Values};

/// What a machine boots.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name in the config, unique.
    pub name: String,
    /// The kernel, or the iPXE script that it chains to.
    pub kernel: Source,
    /// Whether that is a script, whose end is the end of the boot.
    pub chains: bool,
    /// Initial RAM disks, in the order the kernel unpacks them.
    pub initrd: Vec<Initrd>,
    /// Kernel arguments, in order.
    pub args: Vec<Template>,
    /// How often it may be put onto a disk.
    pub install: Install,
    /// Whether the config says so; else its arguments tell.
    pub says_install: bool,
    /// Whether its release is served only when a key of the keyring has signed it.
    pub verify: bool,
}

impl Profile {
    /// Whether it writes to a disk.
    pub fn installs(&self) -> bool {
        match self.install {
            Install::Always | Install::Once => true,
            Install::Never => false,
        }
    }

    /// Whether its kernel is wimboot, by its name: its files have names of their own.
    pub fn is_wimboot(&self) -> bool {
        let name = match &self.kernel {
            Source::Repository(path) => String::from_utf8_lossy(path.file_name()).into_owned(),
            Source::Url(url) => url.split(['?', '#']).next().unwrap_or(url).to_owned(),
        };
        name.rsplit('/').next().is_some_and(|name| name.starts_with("wimboot"))
    }

    /// Whether both are one profile with the same files: its paths may have words of a group.
    fn is_same(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let files = |profile: &Self| -> Vec<Source> {
            let initrd = profile.initrd.iter().map(|initrd| initrd.source.clone());
            initrd.chain([profile.kernel.clone()]).collect()
        };
        Arc::ptr_eq(self, other) || (self.name == other.name && files(self) == files(other))
    }

    /// Whether this is its kernel or a RAM disk of it.
    pub fn boots_with(&self, path: &RepositoryPath) -> bool {
        let is_it = |source: &Source| *source == Source::Repository(path.clone());
        is_it(&self.kernel) || self.initrd.iter().any(|initrd| is_it(&initrd.source))
    }
}

/// How often a profile may be put onto a machine.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Install {
    /// At every network boot: labs.
    Always,
    /// It runs from RAM; the disk is not its business.
    #[default]
    Never,
    /// Until it is installed, and then not again unless an operator says so.
    Once,
}

/// How an installed machine that comes to the network gets to its disk.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HandOff {
    /// By a script that ends iPXE: the firmware goes on to its next boot device.
    Exit,
    /// By a script that boots the first BIOS disk.
    Sanboot,
    /// By no answer at all; one that asks all the same gets what its firmware can do.
    #[default]
    Silence,
}

/// Where iPXE fetches a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// Beneath our own repository.
    Repository(RepositoryPath),
    /// Anywhere iPXE can reach.
    Url(String),
}

/// A RAM disk, or a file that a loader such as wimboot is given.
#[derive(Clone, Debug)]
pub struct Initrd {
    /// The file.
    pub source: Source,
    /// The name that the kernel knows it by, where one is given.
    pub name: Option<String>,
    /// The arguments behind it on iPXE's line.
    pub args: Vec<Template>,
}

impl From<Source> for Initrd {
    fn from(source: Source) -> Self {
        Self { source, name: None, args: Vec::new() }
    }
}

/// Machines that boot the same profile.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name in the config, unique.
    pub name: String,
    /// Which machines belong to it.
    pub selector: Selector,
    /// What they boot.
    pub profile: Arc<Profile>,
    /// What the profile's templates say for them, the profile's own metadata included.
    pub metadata: Metadata,
    /// How they get to their disk once they are installed.
    pub hand_off: HandOff,
    /// How their firmware is started.
    pub boot: Boot,
    /// Whether the config says that every machine which the selector lets in is meant, or names the
    /// machines elsewhere.
    pub every_machine: bool,
}

/// What a group says of how its machines' firmware is started.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Boot {
    /// Instead of the firmware's usual boot program; for the firmware that it is made for.
    pub program: Option<BootFile>,
    /// Instead of the form that everyone's boot file is offered in.
    pub offer: Option<Offer>,
}

/// The form in which a boot file is offered to firmware that asks by PXE.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offer {
    /// In the offer; by way of port 4011 where a machine does not take that up.
    #[default]
    Auto,
    /// Always by way of port 4011.
    BootServer,
    /// Always in the offer.
    Direct,
}

impl Group {
    /// Whether it installs on every machine of the VLAN, and nobody said that this is meant.
    pub fn is_unsaid(&self) -> bool {
        self.profile.installs() && !self.every_machine && self.selector.reach() == Reach::Everything
    }

    /// Whether a machine boots the same, whichever of the two it is in.
    fn is_same_boot(&self, other: &Self) -> bool {
        self.profile.is_same(&other.profile)
            && self.metadata == other.metadata
            && self.hand_off == other.hand_off
            && self.boot == other.boot
    }
}

/// All groups, in the order they are asked.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    groups: Vec<Group>,
    index: Index,
    shared_uuids: SharedUuids,
    values: Values,
    profiles: Vec<Arc<Profile>>,
}

impl Catalog {
    /// Sorts the groups by how specific their selectors are.
    pub fn new(mut groups: Vec<Group>) -> Result<Self, Tie> {
        groups.sort_by_key(|group| Reverse(group.selector.specificity()));
        match index::tie(&groups) {
            Some(tie) => Err(tie),
            None => {
                let index = Index::new(&groups);
                let profiles = each_once(groups.iter().map(|group| &group.profile));
                let (values, shared_uuids) = (Values::default(), SharedUuids::default());
                Ok(Self { index, groups, shared_uuids, values, profiles })
            }
        }
    }

    /// The same, with more UUIDs that name no machine.
    pub fn with_shared_uuids(self, shared_uuids: SharedUuids) -> Self {
        Self { shared_uuids, ..self }
    }

    /// The UUIDs that name no machine.
    pub fn shared_uuids(&self) -> &SharedUuids {
        &self.shared_uuids
    }

    /// Adds the machines that have values of their own.
    pub fn set_values(&mut self, values: Values) {
        // A group of which each machine has its own needs none, and may lack what they have.
        for group in &mut self.groups {
            let own = values.stands_in(group);
            if let Some((profile, metadata)) = own {
                (group.profile, group.metadata) = (profile, metadata);
            }
        }
        self.values = values;
        let own = self.values.groups().map(|(_, group)| &group.profile);
        let profiles = each_once(self.groups.iter().map(|group| &group.profile).chain(own));
        self.profiles = profiles;
    }

    /// The machines that have values of their own.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The profiles of all groups, with the paths of each machine where these have words.
    pub fn profiles(&self) -> &[Arc<Profile>] {
        &self.profiles
    }

    /// The groups that a machine may be in of which only this is known.
    pub fn groups_for(&self, known: &Known) -> Vec<&Group> {
        let macs: Option<Vec<Mac>> = known.names.iter().map(Pattern::exact_mac).collect();
        let Some(macs) = macs else { return known.may_be_in(&self.groups).collect() };
        let mut groups: Vec<&Group> = Vec::new();
        for mac in macs {
            for group in self.candidates(&Machine::heard(mac, None, None)) {
                if groups.iter().all(|other| other.name != group.name) {
                    groups.push(group);
                }
            }
        }
        groups
    }

    /// The groups that do not name other addresses than the machine's, in order.
    fn possible(&self, machine: &Machine) -> impl Iterator<Item = &Group> {
        self.index.possible(machine.mac).filter_map(|at| self.groups.get(at))
    }

    /// The most specific group the machine belongs to, when it has told all.
    pub fn select(&self, machine: &Machine) -> Option<&Group> {
        let group = self.group(machine)?;
        Some(self.values.of(machine, group).unwrap_or(group))
    }

    fn group(&self, machine: &Machine) -> Option<&Group> {
        self.possible(machine).find(|group| group.selector.matches(machine) == Verdict::Match)
    }

    /// The groups that the machine may be in when it has told more, up to the one it surely is in.
    pub fn candidates(&self, machine: &Machine) -> impl Iterator<Item = &Group> {
        let mut is_settled = false;
        let mut groups = self.possible(machine);
        std::iter::from_fn(move || {
            if is_settled {
                return None;
            }
            let mut verdict = Verdict::Mismatch;
            let next = groups.find(|group| {
                verdict = group.selector.matches(machine);
                verdict != Verdict::Mismatch
            });
            is_settled = verdict == Verdict::Match;
            next
        })
    }

    /// Whether a group matches the machine, or may when it has told more.
    pub fn may_select(&self, machine: &Machine) -> bool {
        self.candidates(machine).next().is_some()
    }

    /// The group that the machine is surely in, or surely in none, with the values that it surely
    /// has, however much it has told; the error is that it has not told enough.
    pub fn settle(&self, machine: &Machine) -> Result<Option<&Group>, NotTold> {
        let group = self.settle_group(machine)?;
        group.map(|group| self.values.of(machine, group)).transpose()
    }

    /// The same, whatever values of its own the machine may have.
    pub fn settle_group(&self, machine: &Machine) -> Result<Option<&Group>, NotTold> {
        match self.candidates(machine).next() {
            Some(group) if group.selector.matches(machine) == Verdict::Match => Ok(Some(group)),
            Some(_) => Err(NotTold),
            None => Ok(None),
        }
    }

    /// The group of a machine of which UEFI has told all that it ever will. One that installs is
    /// chosen only where no narrower one would be, had iPXE told the rest.
    pub fn select_by_firmware(&self, machine: &Machine) -> Result<Option<&Group>, NotTold> {
        let Some(group) = self.group(machine) else { return Ok(None) };
        let mut narrower = self.possible(machine).take_while(|other| other.name != group.name);
        let may_be_narrower = !machine.tells_by_ipxe()
            && narrower.any(|other| other.selector.lacks_only_what_ipxe_tells(machine));
        if group.profile.installs() && may_be_narrower {
            return Err(NotTold);
        }
        match self.values.of(machine, group) {
            Ok(own) => Ok(Some(own)),
            Err(NotTold) if group.profile.installs() => Err(NotTold),
            Err(NotTold) => Ok(Some(group)),
        }
    }

    /// The group of a machine of which more is remembered, in `known`, than its own request tells.
    /// Anybody can have told the rest, so that never chooses a group which installs.
    pub fn choose<'a>(
        &'a self,
        known: &Machine,
        own: &Machine,
        by: impl Fn(&'a Self, &Machine) -> Result<Option<&'a Group>, NotTold>,
    ) -> Result<Choice<'a>, NotTold> {
        let known = by(self, known)?;
        // Its values are among what chooses: they may name the disk.
        let is_other = |own: &Group, known: &Group| !std::ptr::eq(own, known);
        Ok(match (known, by(self, own)) {
            (Some(known), Ok(Some(own))) if known.profile.installs() && is_other(own, known) => {
                match own.profile.installs() {
                    true => Choice::Remembered(known),
                    false => Choice::Told(Some(own)),
                }
            }
            (Some(known), Ok(None) | Err(NotTold)) if known.profile.installs() => {
                Choice::Remembered(known)
            }
            (known, _) => Choice::Told(known),
        })
    }

    /// The groups, and each again as it is for a machine with values of its own.
    pub fn variants(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().chain(self.values.groups().map(|(_, group)| group))
    }

    /// The groups, most specific first.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }
}

fn each_once<'a>(profiles: impl Iterator<Item = &'a Arc<Profile>>) -> Vec<Arc<Profile>> {
    let mut seen = HashSet::new();
    profiles.filter(|profile| seen.insert(Arc::as_ptr(profile))).map(Arc::clone).collect()
}

/// The source of the words that chose a machine's group.
#[derive(Clone, Copy, Debug)]
pub enum Choice<'a> {
    /// The request itself tells them.
    Told(Option<&'a Group>),
    /// An earlier request told them, and the group installs.
    Remembered(&'a Group),
}

/// A machine may be in a group, and has not told enough to say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotTold;

/// One machine may be in two groups that boot it differently, and neither is more specific.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tie {
    /// The group that stands first in the config.
    pub first: String,
    /// The one that contradicts it.
    pub second: String,
}

#[cfg(test)]
mod tests;
