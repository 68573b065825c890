//! What a machine of a group may do, by all that is known of it and of the machines beside it.

use super::{Book, Decision, Found, Install, Record, State, decide};
use crate::{
    catalog::{Catalog, Group, MOST_UNSAID, Verdict},
    machine::{Mac, Machine},
};

impl Book {
    /// Decides for a machine that this group of the catalog matches, or may match.
    pub fn decide(
        &self,
        machine: &Machine,
        group: &Group,
        catalog: &Catalog,
        most_attempts: u32,
    ) -> Decision {
        let install = group.profile.install;
        let record = match self.find(machine, catalog.shared_uuids()) {
            Found::Nothing => None,
            Found::Own(record) => Some(record),
            Found::Twin(twin) if install == Install::Once => {
                return beside(machine.mac, twin, most_attempts);
            }
            Found::Twin(_) => self.get(machine.mac),
        };
        match (decide(record, install, most_attempts), record) {
            (Decision::Install, record) => {
                let fallen = record.and_then(|it| fallen(it, machine, group, catalog));
                let held = fallen.or_else(|| self.too_many(machine.mac, group));
                held.map_or(Decision::Install, Decision::Hold)
            }
            (decision, _) => decision,
        }
    }
}

impl Book {
    /// Why a machine is not installed that would be one too many of a group which lets in every
    /// machine and does not say that this is meant.
    fn too_many(&self, mac: Mac, group: &Group) -> Option<String> {
        if !group.is_unsaid() {
            return None;
        }
        let is_of_it = |record: &&Record| {
            record.group.as_ref() == Some(&group.name)
                && record.state != State::New
                && record.machine.mac != mac
        };
        let others = self.records().filter(is_of_it).take(MOST_UNSAID).count();
        (others == MOST_UNSAID).then(|| {
            format!(
                "group {} would install every machine, and the config does not say every-machine = \
                 true: {MOST_UNSAID} are installed without it",
                group.name
            )
        })
    }
}

/// Why a machine that came into this group by losing another one is not installed.
fn fallen(record: &Record, machine: &Machine, group: &Group, catalog: &Catalog) -> Option<String> {
    let earlier = record.group.as_ref().filter(|earlier| **earlier != group.name)?;
    let still_matches = catalog.groups().iter().any(|other| {
        other.name == *earlier && other.selector.matches(machine) != Verdict::Mismatch
    });
    let why = match &record.state {
        State::Installing(_) | State::Failed { .. } => {
            format!("its installation by group {earlier} is not finished")
        }
        // A narrower group that an operator adds for it is meant; one that is left over is not.
        State::Held(_) | State::Installed(_) | State::New if still_matches => return None,
        State::Held(_) | State::Installed(_) | State::New => {
            format!("it was in group {earlier}, which matches it no more")
        }
    };
    Some(format!(
        "{why}, and group {} would install {}; if that is meant: bootbox reinstall {}",
        group.name, group.profile.name, machine.mac
    ))
}

/// What the other card of a machine may do, or a machine whose maker numbers badly.
fn beside(mac: Mac, twin: &Record, most_attempts: u32) -> Decision {
    let other = twin.machine.mac;
    let other_machine = format!("if it is another machine: bootbox reinstall {mac}");
    let is_only_said = match &twin.state {
        State::Installed(installed) => installed.is_only_said,
        State::Held(held) => held.installed.as_ref().is_some_and(|it| it.is_only_said),
        State::Failed { .. } | State::Installing(_) | State::New => false,
    };
    match decide(Some(twin), Install::Once, most_attempts) {
        // Anybody can say so with a made-up card, and a blank machine would go to its disk for ever.
        Decision::Disk(_) if is_only_said => Decision::Hold(format!(
            "it has the UUID of {other}, which reported that it is installed and fetched nothing \
             from here; if both are one machine: bootbox installed {mac}, {other_machine}"
        )),
        // Its disk is then the one that is installed.
        Decision::Disk(reason) => {
            Decision::Disk(format!("it has the UUID of {other} ({reason}); {other_machine}"))
        }
        Decision::Boot | Decision::Hold(_) | Decision::Install => Decision::Hold(format!(
            "it has the UUID of {other}, which is not finished; {other_machine}"
        )),
    }
}
