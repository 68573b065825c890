//! How many machines a selector may let in, and which: for a group that installs, that is how many
//! disks it may wipe.

use std::fmt;

use super::{
    pattern::Pattern,
    selector::{Field, Selector},
};

/// Machines that a group installs which lets in every machine and does not say that this is meant:
/// a bench, and no VLAN.
pub const MOST_UNSAID: usize = 16;

/// Digits of a hardware address that a maker numbers himself, as the first six are his prefix.
const MAKERS_OWN: usize = 6;
/// Characters of a serial number that surely leave few machines.
const NARROW: usize = 4;

/// Prefixes that hypervisors give to the cards of their VMs.
const VIRTUAL: [(&str, &str); 7] = [
    ("000c29", "every VMware VM whose host gave it its address"),
    ("00155d", "every Hyper-V VM"),
    ("00163e", "every Xen VM"),
    ("005056", "every VMware VM whose address vCenter or a person gave it"),
    ("080027", "every VirtualBox VM"),
    ("525400", "every QEMU or KVM VM"),
    ("bc2411", "every Proxmox VM"),
];

/// How far a selector reaches.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Reach {
    /// It names machines, or few enough of them.
    Named,
    /// A whole kind of machines.
    Kind(Kind),
    /// Every machine, or every one of a firmware or a processor.
    Everything,
}

/// What lets in a whole kind.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Kind {
    /// As it may be written in the config.
    written: String,
    /// Digits of a hardware address that it leaves open.
    open_digits: Option<usize>,
    /// Which machines these are, in words.
    machines: String,
}

impl Selector {
    /// How far it reaches: as its narrowest field.
    pub fn reach(&self) -> Reach {
        let field = |field: &Field| {
            let patterns = self.patterns(field).iter();
            patterns.map(|pattern| of(field, pattern)).max().unwrap_or(Reach::Everything)
        };
        self.fields().map(field).min().unwrap_or(Reach::Everything)
    }
}

fn of(field: &Field, pattern: &Pattern) -> Reach {
    let kind = |open_digits, machines: String| {
        let written = format!("{field} = {pattern}");
        Reach::Kind(Kind { written, open_digits, machines })
    };
    match (field, pattern) {
        (Field::Arch | Field::Firmware, _) => Reach::Everything,
        (_, Pattern::MacGlob(glob)) => match glob.open_digits() {
            12.. => Reach::Everything,
            open @ MAKERS_OWN.. => {
                let known = VIRTUAL.iter().find(|(start, _)| glob.begins_with(start));
                let machines = known.map_or("every machine with such a card", |(_, them)| them);
                kind(Some(open), machines.to_owned())
            }
            _ => Reach::Named,
        },
        (Field::Label(_), Pattern::Glob(glob)) if glob.literals() == 0 => {
            kind(None, "every machine that tells it".to_owned())
        }
        (_, Pattern::Glob(glob)) if glob.literals() == 0 => Reach::Everything,
        (Field::Manufacturer | Field::Product, _) => {
            kind(None, format!("every machine of that {field}"))
        }
        (Field::Serial, Pattern::Glob(glob)) => {
            let is_vmware = glob.begins_with("VMware-");
            let literals = glob.literals() - if is_vmware { "VMware-".len() } else { 0 };
            match (literals < NARROW, is_vmware) {
                (true, true) => kind(None, "every VMware VM".to_owned()),
                (true, false) => kind(None, "every machine whose serial begins so".to_owned()),
                (false, _) => Reach::Named,
            }
        }
        (Field::Label(_) | Field::Mac | Field::Serial | Field::Uuid, _) => Reach::Named,
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { written, open_digits, machines } = self;
        write!(f, "{written} lets in {machines} on this VLAN")?;
        match open_digits {
            Some(digits) => {
                let count = u32::try_from(*digits).ok().and_then(|it| 16_u64.checked_pow(it));
                write!(f, ", {} addresses", count.unwrap_or(u64::MAX))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(fields: &[(Field, &[&str])]) -> Selector {
        let fields = fields.iter().map(|(field, values)| {
            let patterns = values.iter().map(|value| Pattern::parse(field, value).unwrap());
            (field.clone(), patterns.collect())
        });
        Selector::new(fields.collect())
    }

    #[test]
    fn a_selector_reaches_as_far_as_its_narrowest_field() {
        let rack = || Field::Label("rack".to_owned());
        for (fields, reach) in [
            (vec![], "everything"),
            (vec![(Field::Firmware, &["bios"][..])], "everything"),
            (vec![(Field::Firmware, &["uefi"][..]), (Field::Arch, &["x86_64"])], "everything"),
            (vec![(Field::Mac, &["*"][..])], "everything"),
            (vec![(Field::Mac, &["52:54:00:00:00:01", "*"][..])], "everything"),
            (vec![(Field::Serial, &["*"][..])], "everything"),
            (vec![(Field::Product, &["*"][..])], "everything"),
            (
                vec![(Field::Mac, &["52:54:00:00:00:01", "00:50:56:*"][..])],
                "mac = \"00:50:56:*\" lets in every VMware VM whose address vCenter or a person \
                 gave it on this VLAN, 16777216 addresses",
            ),
            (
                vec![(Field::Mac, &["d4:*"][..])],
                "mac = \"d4:*\" lets in every machine with such a card on this VLAN, \
                 1099511627776 addresses",
            ),
            (
                vec![(Field::Manufacturer, &["Dell Inc."][..]), (Field::Arch, &["x86_64"])],
                "manufacturer = \"Dell Inc.\" lets in every machine of that manufacturer on this \
                 VLAN",
            ),
            (
                vec![(Field::Serial, &["VMware-*"][..])],
                "serial = \"VMware-*\" lets in every VMware VM on this VLAN",
            ),
            (vec![(rack(), &["*"][..])], "label.rack = \"*\" lets in every machine that tells it"),
            (vec![(rack(), &["7"][..])], "named"),
            (vec![(Field::Serial, &["VMware-56 4d a6 d2*"][..])], "named"),
            (vec![(Field::Mac, &["52:54:00:12:*"][..])], "named"),
            (vec![(Field::Mac, &["00:50:56:*"][..]), (Field::Serial, &["C02X1"])], "named"),
            (vec![(Field::Uuid, &["564da6d2-1706-6343-dc2d-0123456789ab"][..])], "named"),
        ] {
            let said = match selector(&fields).reach() {
                Reach::Everything => "everything".to_owned(),
                Reach::Kind(kind) => kind.to_string(),
                Reach::Named => "named".to_owned(),
            };
            assert!(said.starts_with(reach), "{fields:?}: {said}");
        }
    }
}
