//! Machines that were heard and have no record, for an operator to look at: no decision asks it.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
};

use super::Moment;
use crate::machine::{Mac, Machine};

/// Machines that are kept. A LAN full of made-up ones ends here.
const MOST: usize = 1024;

/// The machines that were heard last. The one that was silent longest goes first.
#[derive(Debug, Default)]
pub struct Heard {
    told: HashMap<Mac, (Machine, Moment)>,
    by_age: BTreeSet<(Moment, Mac)>,
}

impl Heard {
    /// Adds a machine, or that it was heard again. What it told before and not now is kept.
    pub fn add(&mut self, machine: &Machine, now: Moment) {
        let mac = machine.mac;
        let mut machine = machine.clone();
        if let Some((before, at)) = self.told.remove(&mac) {
            self.by_age.remove(&(at, mac));
            machine.uuid = machine.uuid.or(before.uuid);
            machine.platform = machine.platform.or(before.platform);
            machine.labels = machine.labels.or(before.labels);
        }
        self.told.insert(mac, (machine, now));
        self.by_age.insert((now, mac));
        if self.told.len() > MOST
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.told.remove(&oldest);
        }
    }

    /// The machines, and when each was heard last, the newest first.
    pub fn newest_first(&self) -> Vec<(&Machine, Moment)> {
        let mut heard: Vec<_> = self.told.values().map(|(machine, at)| (machine, *at)).collect();
        heard.sort_by_key(|(machine, at)| (Reverse(*at), machine.mac));
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(number: u32) -> Machine {
        let [_, a, b, c] = number.to_be_bytes();
        Machine::heard(Mac::new([2, 0, 0, a, b, c]).unwrap(), None, None)
    }

    #[test]
    fn the_newest_are_kept_and_what_was_told_before_stays() {
        let mut heard = Heard::default();
        let labels = [("rack".to_owned(), "1".to_owned())].into();
        heard.add(&Machine::told(machine(0).mac, None, labels), Moment(1));
        for number in 1..=MOST as u32 {
            heard.add(&machine(0), Moment(u64::from(number)));
            heard.add(&machine(number), Moment(u64::from(number)));
        }
        let list = heard.newest_first();
        assert_eq!(list.len(), MOST);
        assert_eq!((&list[0].0.mac, list[0].1), (&machine(0).mac, Moment(MOST as u64)));
        assert!(list[0].0.labels.is_some(), "its discover tells less than its iPXE");
        assert!(!list.iter().any(|(it, _)| it.mac == machine(1).mac), "the oldest went");
    }
}
