//! Groups as they are for single machines, with the values that an operator wrote for these.
//!
//! Made once at load, so that a request only looks up. Never decides which group a machine is in.

use std::{collections::HashMap, sync::Arc};

use super::{Field, Group, NotTold, Pattern, Profile, Selector};
use crate::{
    machine::{Mac, Machine, Uuid},
    template::Metadata,
};

/// One machine that has values of its own, by one or more exact values of one field.
#[derive(Clone, Debug)]
pub struct Known {
    /// `mac`, `uuid` or `serial`.
    pub field: Field,
    /// Its cards, or its other names of the same kind.
    pub names: Vec<Pattern>,
}

/// The machines that have values of their own, by number.
#[derive(Clone, Debug, Default)]
pub struct Values {
    machines: Vec<Known>,
    by_mac: HashMap<Mac, usize>,
    by_serial: HashMap<String, usize>,
    by_uuid: HashMap<Uuid, usize>,
    /// Each machine's groups with its values.
    groups: Vec<Vec<Group>>,
    /// The first machine of each group.
    first: HashMap<String, usize>,
}

impl Values {
    /// Adds a machine; the error is the number of one that has this name already.
    pub fn add(&mut self, known: Known) -> Result<usize, usize> {
        let number = self.machines.len();
        let taken = known.names.iter().find_map(|name| match name {
            Pattern::Mac(mac) => self.by_mac.get(mac),
            Pattern::Text(serial) => self.by_serial.get(serial),
            Pattern::Uuid(uuid) => self.by_uuid.get(&uuid.in_one_order()),
            Pattern::Glob(_) | Pattern::MacGlob(_) | Pattern::Platform(_) => None,
        });
        if let Some(&taken) = taken {
            return Err(taken);
        }
        for name in &known.names {
            match name {
                Pattern::Mac(mac) => drop(self.by_mac.insert(*mac, number)),
                Pattern::Text(serial) => drop(self.by_serial.insert(serial.clone(), number)),
                Pattern::Uuid(uuid) => drop(self.by_uuid.insert(uuid.in_one_order(), number)),
                Pattern::Glob(_) | Pattern::MacGlob(_) | Pattern::Platform(_) => {}
            }
        }
        self.machines.push(known);
        self.groups.push(Vec::new());
        Ok(number)
    }

    /// Adds the group that a machine is in where it is in the one of this name.
    pub fn give(&mut self, number: usize, group: Group) {
        if let Some(groups) = self.groups.get_mut(number) {
            self.first.entry(group.name.clone()).or_insert(number);
            groups.push(group);
        }
    }

    /// Whether each machine that a group selects has values of its own, so that the group's own
    /// are nobody's.
    pub fn have_all_of(&self, selector: &Selector) -> bool {
        !self.machines.is_empty()
            && selector.names_each()
            && selector
                .specimens()
                .into_iter()
                .all(|it| self.find(&it.machine).is_ok_and(|number| number.is_some()))
    }

    /// The boot of a group's first machine, where each machine of it has values of its own.
    pub(super) fn stands_in(&self, group: &Group) -> Option<(Arc<Profile>, Metadata)> {
        let first = self.first.get(&group.name).filter(|_| self.have_all_of(&group.selector))?;
        let own = self.groups.get(*first)?.iter().find(|own| own.name == group.name)?;
        Some((Arc::clone(&own.profile), own.metadata.clone()))
    }

    /// The machines, in order.
    pub fn machines(&self) -> &[Known] {
        &self.machines
    }

    /// The machine's number: by its address, else its UUID, else its serial number. The error is
    /// that it may have one and has not told enough.
    pub fn find(&self, machine: &Machine) -> Result<Option<usize>, NotTold> {
        if let Some(&number) = self.by_mac.get(&machine.mac) {
            return Ok(Some(number));
        }
        let by_uuid = machine.uuid.and_then(|uuid| self.by_uuid.get(&uuid.in_one_order()));
        if let Some(&number) = by_uuid {
            return Ok(Some(number));
        }
        let labels = machine.labels.as_ref();
        if let Some(serial) = labels.and_then(|labels| labels.get("serial")) {
            return Ok(self.by_serial.get(serial).copied());
        }
        let may_tell_uuid = machine.uuid.is_none() && !self.by_uuid.is_empty();
        let may_have_values = may_tell_uuid || !self.by_serial.is_empty();
        match may_have_values && !machine.tells_by_ipxe() {
            true => Err(NotTold),
            false => Ok(None),
        }
    }

    /// A group, with the values that a machine has of its own.
    pub fn of<'a>(&'a self, machine: &Machine, group: &'a Group) -> Result<&'a Group, NotTold> {
        let number = self.find(machine)?;
        let own = number.and_then(|number| self.groups.get(number));
        let own = own.and_then(|groups| groups.iter().find(|own| own.name == group.name));
        Ok(own.unwrap_or(group))
    }

    /// Each machine's name and its group with its values, one for each group that it may be in.
    pub fn groups(&self) -> impl Iterator<Item = (&Known, &Group)> {
        let each = self.machines.iter().zip(&self.groups);
        each.flat_map(|(known, groups)| groups.iter().map(move |group| (known, group)))
    }
}

impl Known {
    /// The groups that it may be in, of those in the order they are asked.
    pub fn may_be_in<'a>(&self, groups: &'a [Group]) -> impl Iterator<Item = &'a Group> {
        groups.iter().filter(|group| {
            self.names.iter().any(|name| group.selector.may_have(&self.field, name))
        })
    }
}
