//! Some machines that stand for all, where looking at each would take too long.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use super::Moment;
use crate::machine::{Labels, Machine};

/// How often a machine should be among the sample.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Weight {
    /// Whether something was done to it: made-up machines have nothing of that.
    pub has_a_story: bool,
    /// When it was last heard of.
    pub last_seen: Moment,
}

/// At most so many of these: first one of each kind by what it tells, then the others; machines with
/// a story before those without, and of those the ones that were heard of last.
pub fn sample<'a>(
    machines: impl Iterator<Item = (Weight, &'a Machine)>,
    most: usize,
) -> Vec<Machine> {
    let mut all: Vec<(Weight, &Machine)> = machines.collect();
    all.sort_by(|one, other| (other.0, one.1.mac).cmp(&(one.0, other.1.mac)));
    if all.len() <= most {
        return all.into_iter().map(|(_, machine)| machine.clone()).collect();
    }
    let mut kinds = BTreeSet::new();
    let mut taken = BTreeMap::new();
    for (at, (_, machine)) in all.iter().enumerate() {
        if taken.len() < most && kinds.insert(kind(machine)) {
            taken.insert(at, *machine);
        }
    }
    for (at, (_, machine)) in all.iter().enumerate() {
        if taken.len() >= most {
            break;
        }
        taken.entry(at).or_insert(machine);
    }
    taken.into_values().cloned().collect()
}

/// The traits that a text could fail on: which words a machine has, and their characters but for
/// which letter or digit each is.
fn kind(machine: &Machine) -> u64 {
    let mut hasher = DefaultHasher::new();
    machine.uuid.is_some().hash(&mut hasher);
    machine.platform.map(|platform| platform.to_string()).hash(&mut hasher);
    for (name, value) in machine.labels.iter().flat_map(Labels::iter) {
        name.hash(&mut hasher);
        let mut last = None;
        for c in value.chars() {
            let class = match c {
                c if c.is_ascii_digit() => '0',
                c if c.is_alphabetic() => 'a',
                c => c,
            };
            if last.replace(class) != Some(class) {
                class.hash(&mut hasher);
            }
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mac;

    fn machine(number: u8, serial: &str) -> Machine {
        let labels = [("serial".to_owned(), serial.to_owned())].into();
        Machine {
            labels: Some(labels),
            ..Machine::heard(Mac::new([2, 0, 0, 0, 0, number]).unwrap(), None, None)
        }
    }

    #[test]
    fn each_kind_is_there_before_a_second_of_one() {
        let machines: Vec<Machine> = (0..100)
            .map(|number| match number {
                3 => machine(number, "a: b"),
                number => machine(number, &format!("SN{number}")),
            })
            .collect();
        let weigh = |(number, machine)| {
            let weight = Weight { has_a_story: number == 50, last_seen: Moment(number as u64) };
            (weight, machine)
        };
        let all = || machines.iter().enumerate().map(weigh);
        let macs = |most| -> Vec<u8> {
            sample(all(), most).iter().map(|machine| machine.mac.octets()[5]).collect()
        };
        assert_eq!(macs(1), [50]);
        assert_eq!(macs(2), [50, 3]);
        assert_eq!(macs(4), [50, 99, 98, 3]);
        assert_eq!(macs(100).len(), 100);
    }
}
