//! Tells which records have one UUID, and whether they can be one machine. Only tells: what machines
//! say can be made up, so it never decides that a card is not another one's twin.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::machine::{Mac, Machine, SharedUuids, Uuid};

/// More network cards than one machine has.
const MOST_CARDS: usize = 16;
/// So many cards are named.
const MOST_NAMED: usize = 8;

/// The cards that tell one UUID.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SameUuid {
    /// How many these are.
    pub count: usize,
    /// The first of them.
    pub macs: Vec<Mac>,
    /// Why they cannot be one machine, by what they tell.
    pub apart: Option<Apart>,
}

/// Why several cards cannot be one machine.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Apart {
    /// They tell different products.
    Products,
    /// They tell different serial numbers.
    Serials,
    /// They are more than one machine has.
    TooMany,
}

impl SameUuid {
    /// All that tell this UUID, in either byte order; `None` where one card does.
    pub fn of<'a>(uuid: &Uuid, machines: impl Iterator<Item = &'a Machine>) -> Option<Self> {
        Self::among(&machines.filter(|machine| machine.has_uuid(*uuid)).collect::<Vec<_>>())
    }

    /// The UUIDs of several cards that cannot be one machine, but for those that are known as shared.
    pub fn all_apart(machines: &[Machine], shared: &SharedUuids) -> Vec<(Uuid, Self)> {
        let mut by_uuid: BTreeMap<String, Vec<&Machine>> = BTreeMap::new();
        for machine in machines {
            if let Some(uuid) = machine.uuid.filter(|uuid| !shared.contains(uuid)) {
                by_uuid.entry(uuid.in_one_order().to_string()).or_default().push(machine);
            }
        }
        let found = by_uuid.into_values().filter_map(|machines| {
            let uuid = machines.first()?.uuid?;
            Some((uuid, Self::among(&machines)?))
        });
        found.filter(|(_, same)| same.apart.is_some()).collect()
    }

    fn among(machines: &[&Machine]) -> Option<Self> {
        if machines.len() < 2 {
            return None;
        }
        let differ = |label: &str| {
            let told = machines.iter().filter_map(|it| it.labels.as_ref()?.get(label));
            told.collect::<BTreeSet<_>>().len() > 1
        };
        let apart = match () {
            () if differ("serial") => Some(Apart::Serials),
            () if differ("product") => Some(Apart::Products),
            () if machines.len() > MOST_CARDS => Some(Apart::TooMany),
            () => None,
        };
        let mut macs: Vec<Mac> = machines.iter().map(|machine| machine.mac).collect();
        macs.sort();
        macs.truncate(MOST_NAMED);
        Some(Self { count: machines.len(), macs, apart })
    }
}

impl fmt::Display for SameUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, macs, apart } = self;
        let macs: Vec<String> = macs.iter().map(Mac::to_string).collect();
        let more = if *count > macs.len() { ", …" } else { "" };
        write!(f, "{count} cards tell it ({}{more})", macs.join(", "))?;
        match apart {
            None => Ok(()),
            Some(apart) => write!(
                f,
                "; {apart}, so it is probably left by their maker: add it to [install] \
                 shared-uuids if these are several machines"
            ),
        }
    }
}

impl fmt::Display for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Products => "they tell different products",
            Self::Serials => "they tell different serial numbers",
            Self::TooMany => "these are more cards than one machine has",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "564da6d2-1706-6343-dc2d-0123456789ab";

    fn machine(last: u8, labels: &[(&str, &str)]) -> Machine {
        let mac = Mac::new([2, 0, 0, 0, 0, last]).unwrap();
        let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Machine::told(mac, UUID.parse().ok(), labels.collect())
    }

    #[test]
    fn cards_with_one_uuid_that_cannot_be_one_machine_are_told() {
        let many: Vec<Machine> = (1..=17).map(|last| machine(last, &[])).collect();
        for (machines, expected) in [
            (vec![machine(1, &[("serial", "A")]), machine(2, &[("serial", "A")])], Some(None)),
            (
                vec![machine(1, &[("serial", "A")]), machine(2, &[("serial", "B")])],
                Some(Some(Apart::Serials)),
            ),
            (
                vec![machine(1, &[("product", "A")]), machine(2, &[("product", "B")])],
                Some(Some(Apart::Products)),
            ),
            (vec![machine(1, &[("serial", "A")]), machine(2, &[])], Some(None)),
            (vec![machine(1, &[])], None),
            (many[..16].to_vec(), Some(None)),
            (many, Some(Some(Apart::TooMany))),
        ] {
            let uuid: Uuid = UUID.parse().unwrap();
            let found = SameUuid::of(&uuid, machines.iter());
            assert_eq!(found.as_ref().map(|it| it.apart), expected, "{machines:?}");
            let all = SameUuid::all_apart(&machines, &SharedUuids::default());
            assert_eq!(all.len(), usize::from(expected.flatten().is_some()));
            assert!(SameUuid::all_apart(&machines, &SharedUuids::new([uuid])).is_empty());
        }
    }
}
