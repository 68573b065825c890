//! Machines to try a group with before any of its own has asked.

use std::collections::BTreeMap;

use super::{
    pattern::Pattern,
    selector::{Field, Selector},
};
use crate::{
    firmware::Platform,
    machine::{Mac, Machine, Uuid},
};

/// A machine that a group has or could have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Specimen {
    /// The machine; what its selector does not say of it is made up.
    pub machine: Machine,
    /// What the operator knows it by.
    pub name: String,
}

/// What a machine tells that nothing is known of.
const USUAL: [(&str, &str); 4] = [
    ("arch", "x86_64"),
    ("manufacturer", "VMware, Inc."),
    ("product", "VMware Virtual Platform"),
    ("serial", "VMware-56 4d a6 d2 17 06 63 43-dc 2d 01 23 45 67 89 ab"),
];
const USUAL_MAC: &str = "52:54:00:00:00:01";
const USUAL_UUID: &str = "564da6d2-1706-6343-dc2d-0123456789ab";

impl Selector {
    /// Each machine that is named by its address, UUID or serial number, whichever comes first;
    /// else one that is made up so that it may match.
    pub fn specimens(&self) -> Vec<Specimen> {
        let named = |field: &Field| -> Vec<&Pattern> {
            self.patterns(field).iter().filter(|pattern| pattern.is_exact()).collect()
        };
        for (field, what) in [(Field::Mac, ""), (Field::Uuid, "UUID "), (Field::Serial, "serial ")]
        {
            let named = named(&field);
            if !named.is_empty() {
                let specimen = |pattern: &Pattern| {
                    let value = pattern.example();
                    let name = format!("{what}{value}");
                    Some(Specimen { machine: self.made_up(Some((&field, value)))?, name })
                };
                return named.into_iter().filter_map(specimen).collect();
            }
        }
        let name = "a made-up machine".to_owned();
        self.made_up(None).map(|machine| Specimen { machine, name }).into_iter().collect()
    }

    /// A machine that has this value, and for all other fields one that would match.
    fn made_up(&self, given: Option<(&Field, String)>) -> Option<Machine> {
        let value = |field: &Field| match &given {
            Some((named, value)) if *named == field => Some(value.clone()),
            _ => self.patterns(field).first().map(Pattern::example),
        };
        let platform = match self.patterns(&Field::Firmware).first() {
            Some(Pattern::Platform(Platform::Uefi)) => "efi",
            _ => "pcbios",
        };
        let mut labels = BTreeMap::from([("platform".to_owned(), platform.to_owned())]);
        labels.extend(USUAL.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for (field, name) in [
            (Field::Arch, "arch"),
            (Field::Manufacturer, "manufacturer"),
            (Field::Product, "product"),
            (Field::Serial, "serial"),
        ] {
            labels.extend(value(&field).map(|value| (name.to_owned(), value)));
        }
        for field in self.fields() {
            if let Field::Label(name) = field {
                labels.extend(value(field).map(|value| (name.clone(), value)));
            }
        }
        let mac: Option<Mac> = value(&Field::Mac).and_then(|mac| mac.parse().ok());
        let uuid: Option<Uuid> = value(&Field::Uuid).and_then(|uuid| uuid.parse().ok());
        let mac = mac.or_else(|| USUAL_MAC.parse().ok())?;
        Some(Machine::told(mac, uuid.or_else(|| USUAL_UUID.parse().ok()), labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Verdict;

    fn selector(fields: &[(Field, &[&str])]) -> Selector {
        let fields = fields.iter().map(|(field, values)| {
            let patterns = values.iter().map(|value| Pattern::parse(field, value).unwrap());
            (field.clone(), patterns.collect())
        });
        Selector::new(fields.collect())
    }

    #[test]
    fn who_is_named_is_tried_and_else_one_who_is_made_up() {
        let label = || Field::Label("rack".to_owned());
        for (fields, names) in [
            (vec![], vec!["a made-up machine"]),
            (vec![(Field::Mac, &["52:54:00:*", "56*"][..])], vec!["a made-up machine"]),
            (
                vec![
                    (Field::Mac, &["52:54:00:00:00:07", "52:54:00:00:00:08", "56:*"][..]),
                    (Field::Uuid, &["11223344-5566-7788-99aa-bbccddeeff00"]),
                ],
                vec!["52:54:00:00:00:07", "52:54:00:00:00:08"],
            ),
            (
                vec![(Field::Serial, &["S 1", "S 2"][..]), (Field::Firmware, &["uefi"])],
                vec!["serial S 1", "serial S 2"],
            ),
            (
                vec![
                    (Field::Uuid, &["11223344-5566-7788-99aa-bbccddeeff00"][..]),
                    (Field::Product, &["?Mware*x*"]),
                    (label(), &["*"]),
                ],
                vec!["UUID 11223344-5566-7788-99aa-bbccddeeff00"],
            ),
        ] {
            let selector = selector(&fields);
            let found = selector.specimens();
            assert_eq!(found.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), names);
            for specimen in found {
                assert_eq!(selector.matches(&specimen.machine), Verdict::Match, "{specimen:?}");
            }
        }
    }
}
