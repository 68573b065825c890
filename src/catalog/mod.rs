//! What each machine should boot: groups choose profiles by selectors.
//!
//! Sorted once at load, most specific first; two groups that could only be told apart by chance are
//! an error there. Never knows what a machine has done before.

use std::sync::Arc;

use crate::{
    machine::{Mac, Machine},
    path::RepositoryPath,
    template::Template,
};

/// What a machine boots.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name in the config, unique.
    pub name: String,
    /// The kernel.
    pub kernel: Source,
    /// Initial RAM disks, in the order the kernel unpacks them.
    pub initrd: Vec<Source>,
    /// Kernel arguments, in order.
    pub args: Vec<Template>,
}

/// Where iPXE fetches a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// Beneath our own repository.
    Repository(RepositoryPath),
    /// Anywhere iPXE can reach.
    Url(String),
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
}

/// Which machines belong to a group.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selector {
    /// The machine with this hardware address; every machine when absent.
    pub mac: Option<Mac>,
}

impl Selector {
    /// Whether the machine belongs here.
    pub fn matches(&self, machine: &Machine) -> bool {
        self.mac.is_none_or(|mac| mac == machine.mac)
    }

    fn specificity(&self) -> usize {
        usize::from(self.mac.is_some())
    }
}

/// All groups, in the order they are asked.
#[derive(Clone, Debug, Default)]
pub struct Catalog(Vec<Group>);

impl Catalog {
    /// Sorts the groups by how specific their selectors are.
    pub fn new(mut groups: Vec<Group>) -> Result<Self, Tie> {
        groups.sort_by_key(|group| std::cmp::Reverse(group.selector.specificity()));
        for (index, group) in groups.iter().enumerate() {
            let tied = groups[..index].iter().find(|earlier| {
                earlier.selector == group.selector && !Arc::ptr_eq(&earlier.profile, &group.profile)
            });
            if let Some(earlier) = tied {
                return Err(Tie { first: earlier.name.clone(), second: group.name.clone() });
            }
        }
        Ok(Self(groups))
    }

    /// The most specific group the machine belongs to.
    pub fn select(&self, machine: &Machine) -> Option<&Group> {
        self.0.iter().find(|group| group.selector.matches(machine))
    }

    /// The groups, most specific first.
    pub fn groups(&self) -> &[Group] {
        &self.0
    }
}

/// Two groups select the same machines for different profiles.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tie {
    /// The group that stands first in the config.
    pub first: String,
    /// The one that contradicts it.
    pub second: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str) -> Arc<Profile> {
        let kernel = Source::Url(format!("http://192.0.2.9/{name}"));
        Arc::new(Profile { name: name.to_owned(), kernel, initrd: vec![], args: vec![] })
    }

    fn group(name: &str, mac: Option<&str>, profile: &Arc<Profile>) -> Group {
        let mac = mac.map(|mac| mac.parse().unwrap());
        Group { name: name.to_owned(), selector: Selector { mac }, profile: Arc::clone(profile) }
    }

    fn machine(mac: &str) -> Machine {
        Machine { mac: mac.parse().unwrap(), uuid: None }
    }

    #[test]
    fn a_group_that_names_the_machine_wins_over_one_for_all() {
        let (any, one) = (profile("any"), profile("one"));
        let groups = vec![group("all", None, &any), group("this", Some("52:54:00:00:00:01"), &one)];
        let catalog = Catalog::new(groups).unwrap();
        assert_eq!(catalog.select(&machine("52:54:00:00:00:01")).unwrap().name, "this");
        assert_eq!(catalog.select(&machine("52:54:00:00:00:02")).unwrap().name, "all");
    }

    #[test]
    fn a_machine_that_no_group_names_is_in_none() {
        let groups = vec![group("this", Some("52:54:00:00:00:01"), &profile("one"))];
        let catalog = Catalog::new(groups).unwrap();
        assert!(catalog.select(&machine("52:54:00:00:00:02")).is_none());
        assert!(Catalog::default().select(&machine("52:54:00:00:00:01")).is_none());
    }

    #[test]
    fn a_contradiction_is_an_error_and_never_chance() {
        let (one, two) = (profile("one"), profile("two"));
        let tie = Catalog::new(vec![group("a", None, &one), group("b", None, &two)]).unwrap_err();
        assert_eq!(tie, Tie { first: "a".to_owned(), second: "b".to_owned() });
        assert!(Catalog::new(vec![group("a", None, &one), group("b", None, &one)]).is_ok());
    }
}
