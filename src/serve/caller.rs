//! Who a GRUB is that asks for a config, and how sure that is.

use crate::{
    catalog::Group,
    http::named::Told,
    ledger::Book,
    machine::{Mac, Machine},
};

/// Which machine asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Caller {
    /// It names its card.
    Named(Mac),
    /// It does not: this one had its address last, and another may have it now.
    ByAddress(Mac),
}

impl Caller {
    /// Who asks; `holder` finds who had its address last.
    pub(super) fn of(told: &Told, holder: impl FnOnce() -> Option<Mac>) -> Option<Self> {
        told.mac.map(Self::Named).or_else(|| holder().map(Self::ByAddress))
    }

    /// What is known of it; the error is why it is not taken for the machine that had its address.
    ///
    /// Of a machine that is known by its address alone, what is remembered counts: what is told may be
    /// another's, and would be written down as its own.
    pub(super) fn machine(self, told: &Told, book: &Book) -> Result<Machine, String> {
        let labels = told.labels.clone().unwrap_or_default();
        match self {
            Self::Named(mac) => Ok(book.hear(mac, told.uuid, &labels)),
            Self::ByAddress(mac) => {
                let own = Machine::told(mac, told.uuid, labels).uuid;
                let known = book.recall(&Machine::heard(mac, None, None));
                match (own, known.uuid) {
                    (Some(own), Some(uuid)) if !own.is_same_machine(&uuid) => Err(format!(
                        "it names no card, its UUID is {own}, and {mac}, which had its address last, \
                         has {uuid}: nobody knows which machine it is"
                    )),
                    (_, _) => Ok(known),
                }
            }
        }
    }

    /// Whether it may be given what boots this group; the error is why not.
    pub(super) fn may_have(self, group: &Group) -> Result<(), String> {
        match self {
            Self::ByAddress(mac) if group.profile.installs() => Err(format!(
                "it names no card, and is {mac} by its address alone: profile {} installs, and is given \
                 only to a machine that says which it is",
                group.profile.name
            )),
            Self::ByAddress(_) | Self::Named(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        config::Config,
        http::named::Named,
        ledger::{Moment, Record},
        path::RepositoryPath,
    };

    const UUID: &str = "564da6d2-1706-6343-dc2d-0123456789ab";
    const SWAPPED: &str = "d2a64d56-0617-4363-dc2d-0123456789ab";
    const OTHER: &str = "564da6d2-1706-6343-dc2d-0123456789ac";

    fn mac() -> Mac {
        "52:54:00:00:00:01".parse().unwrap()
    }

    fn labels(product: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("product".to_owned(), product.to_owned())])
    }

    fn book() -> Book {
        let mut book = Book::default();
        let machine = Machine::told(mac(), UUID.parse().ok(), labels("Box"));
        book.put(Record::new(machine, Moment(1))).unwrap();
        book
    }

    fn told(uuid: Option<&str>, product: Option<&str>) -> Told {
        let uuid = uuid.map(|uuid| uuid.parse().unwrap());
        Told { mac: None, uuid, labels: product.map(labels) }
    }

    #[test]
    fn who_names_no_card_is_whoever_had_its_address_unless_its_uuid_says_otherwise() {
        let at_its_address = Caller::of(&told(None, None), || Some(mac())).unwrap();
        assert_eq!(at_its_address, Caller::ByAddress(mac()));
        assert_eq!(Caller::of(&told(None, None), || None), None);
        for uuid in [None, Some(UUID), Some(SWAPPED)] {
            for product in [None, Some("Another")] {
                let machine = at_its_address.machine(&told(uuid, product), &book()).unwrap();
                assert_eq!(
                    machine.labels,
                    Some(labels("Box").into()),
                    "what it tells may be another's"
                );
                assert_eq!(machine.uuid, UUID.parse().ok());
            }
        }
        for product in [None, Some("Box")] {
            let refused = at_its_address.machine(&told(Some(OTHER), product), &book());
            assert!(refused.unwrap_err().contains(OTHER), "{product:?}");
        }
        let named = Told { mac: Some(mac()), ..told(Some(OTHER), Some("New")) };
        let caller = Caller::of(&named, || None).unwrap();
        let machine = caller.machine(&named, &book()).unwrap();
        assert_eq!(
            (machine.uuid, machine.labels),
            (OTHER.parse().ok(), Some(labels("New").into()))
        );
    }

    #[test]
    fn a_group_of_bios_or_of_an_architecture_has_the_machines_of_its_grub() {
        let text = "[[profile]]\nname = \"ram\"\nkernel = \"/k\"\n\
                    [[profile]]\nname = \"p\"\nkernel = \"/k\"\ninstall = \"once\"\n\
                    [[group]]\nname = \"wide\"\nprofile = \"p\"\n\
                    [[group]]\nname = \"old\"\nprofile = \"ram\"\nselector.firmware = \"bios\"\n\
                    [[group]]\nname = \"small\"\nprofile = \"ram\"\nselector.arch = \"arm32\"\n\
                    [[group]]\nname = \"dragon\"\nprofile = \"ram\"\nselector.arch = \"loong64\"\n";
        let config = Config::parse(text, "test").unwrap();
        for (arch, platform, group) in [
            ("i386", "pc", "old"),
            ("arm", "efi", "small"),
            ("loongarch64", "efi", "dragon"),
            ("x86_64", "efi", "wide"),
        ] {
            let name = format!(
                "/grub.cfg;mac=525400000009;uuid=;arch={arch};serial=7;platform={platform}"
            );
            let Some(Named::Machine(told)) =
                Named::read(&RepositoryPath::parse(name.as_bytes()).unwrap())
            else {
                panic!("{name}")
            };
            let caller = Caller::of(&told, || None).unwrap();
            let machine = caller.machine(&told, &book()).unwrap();
            let chosen = config.catalog.select(&machine).map(|group| &*group.name);
            assert_eq!(chosen, Some(group), "{name}");
        }
    }

    #[test]
    fn an_address_alone_is_given_nothing_that_installs() {
        for (install, is_given) in [("once", false), ("always", false), ("never", true)] {
            let text = format!(
                "[install]\nallow-always = true\n[[profile]]\nname = \"p\"\nkernel = \"/k\"\ninstall = \"{install}\"\n\
                 [[group]]\nname = \"g\"\nprofile = \"p\"\n"
            );
            let config = Config::parse(&text, "test").unwrap();
            let group = &config.catalog.groups()[0];
            assert_eq!(Caller::ByAddress(mac()).may_have(group).is_ok(), is_given, "{install}");
            assert_eq!(Caller::Named(mac()).may_have(group), Ok(()));
        }
    }
}
