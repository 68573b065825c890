//! Groups that install on more machines than anybody has named.

use std::collections::BTreeMap;

use super::{
    error::{Place, Problem},
    resolve::Desk,
};
use crate::catalog::{Field, Group, MOST_UNSAID, Pattern, Reach, Selector};

/// What is found of them.
#[derive(Clone, Debug, Default)]
pub struct Reaches {
    /// Groups for every machine that do not say so: `check` refuses them, and a server that is
    /// started all the same installs a few.
    pub unsaid: Vec<Problem>,
    /// Groups for a whole kind of machines.
    pub wide: Vec<Problem>,
}

impl Desk<'_> {
    /// Looks at how far a group's selector reaches.
    pub(super) fn reach(&mut self, group: &Group, place: Place) {
        let (name, profile) = (&group.name, &group.profile.name);
        let reach = group.selector.reach();
        if group.every_machine || self.is_partial || !group.profile.installs() {
            return;
        }
        match reach {
            Reach::Everything => {
                let who = match group.selector.is_empty() {
                    true => "has no selector".to_owned(),
                    false => format!("selects by {} alone", group.selector),
                };
                let text = format!(
                    "group {name:?} {who}, and profile {profile} installs: it wipes the disk of \
                     every such machine that boots on this VLAN; name the machines in \
                     [group.selector], or write every-machine = true in the group. Without either, \
                     a server that is started all the same installs {MOST_UNSAID} and holds the rest"
                );
                self.reaches.unsaid.push(Problem { place, text });
            }
            Reach::Kind(kind) => {
                let text = format!(
                    "group {name:?} installs profile {profile}, and {kind}: the disk of each is \
                     wiped that is not known as installed; name the machines, or write \
                     every-machine = true in the group where that is meant"
                );
                self.reaches.wide.push(Problem { place, text });
            }
            Reach::Named => {}
        }
    }
}

/// Whether `[network] allow` names the machines, so that no group lets in more.
pub(super) fn are_named(allow: Option<&[Pattern]>) -> bool {
    allow.is_some_and(|allow| {
        let fields = BTreeMap::from([(Field::Mac, allow.to_vec())]);
        Selector::new(fields).reach() == Reach::Named
    })
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    const PROFILE: &str = "[[profile]]\nname = \"p\"\nkernel = \"/k\"\ninstall = \"once\"\n\
                           [[group]]\nname = \"g\"\nprofile = \"p\"\n";

    /// What is refused, and what is warned about.
    fn found(text: &str) -> (Vec<String>, Vec<String>, bool) {
        let config = Config::parse(text, "b.toml").unwrap();
        let said = |problems: &[super::Problem]| problems.iter().map(|it| it.to_string()).collect();
        let is_unsaid = config.catalog.groups()[0].is_unsaid();
        (said(&config.reaches.unsaid), said(&config.reaches.wide), is_unsaid)
    }

    #[test]
    fn a_group_that_installs_every_machine_must_say_so() {
        for more in [
            "",
            "selector.firmware = \"uefi\"\n",
            "selector.mac = [\"*\"]\n",
            "selector.not.mac = \"52:54:00:00:00:01\"\n",
            "selector.not = { manufacturer = \"QEMU\", mac = [\"52:54:00:*\"] }\n",
        ] {
            let (unsaid, wide, is_unsaid) = found(&format!("{PROFILE}{more}"));
            assert!(wide.is_empty() && is_unsaid, "{more}");
            assert_eq!(unsaid.len(), 1, "{more}");
            assert!(unsaid[0].starts_with("b.toml:6: group \"g\" "), "{unsaid:?}");
            assert!(unsaid[0].contains("write every-machine = true"), "{unsaid:?}");
        }
        for text in [
            format!("{PROFILE}every-machine = true\n"),
            PROFILE.replace("once", "never"),
            format!("{PROFILE}selector.serial = \"7\"\n"),
            format!("[network]\nallow = [\"52:54:00:00:00:01\"]\n{PROFILE}"),
        ] {
            assert_eq!(found(&text), (vec![], vec![], false), "{text}");
        }
        let (unsaid, _, _) = found(&format!("[network]\nallow = [\"52:54:00:*\"]\n{PROFILE}"));
        assert_eq!(unsaid.len(), 1);
    }

    #[test]
    fn a_whole_kind_of_machines_is_warned_about_with_what_it_means() {
        for (more, said) in [
            ("selector.mac = \"00:50:56:*\"\n", "every VMware VM"),
            ("selector.manufacturer = \"QEMU\"\n", "every machine of that manufacturer"),
            ("selector.product = \"VMware*\"\n", "every machine of that product"),
        ] {
            let (unsaid, wide, _) = found(&format!("{PROFILE}{more}"));
            assert!(unsaid.is_empty(), "{more}");
            assert_eq!(wide.len(), 1, "{more}");
            assert!(wide[0].contains(said), "{wide:?}");
            let (_, meant, _) = found(&format!("{PROFILE}every-machine = true\n{more}"));
            assert!(meant.is_empty(), "{more}");
        }
    }
}
