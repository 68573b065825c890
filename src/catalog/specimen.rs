//! Machines to try a group with before any of its own has asked.

use std::collections::BTreeMap;

use super::{
    pattern::Pattern,
    selector::{Field, Selector, Value, Verdict},
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
                let is_in = |it: &Specimen| self.matches(&it.machine) != Verdict::Mismatch;
                return named.into_iter().filter_map(specimen).filter(is_in).collect();
            }
        }
        let name = "a made-up machine".to_owned();
        self.made_up(None).map(|machine| Specimen { machine, name }).into_iter().collect()
    }

    /// A machine that has this value of a field, whatever else the selector names.
    pub fn specimen_of(&self, field: &Field, value: &Pattern) -> Option<Specimen> {
        let value = value.example();
        let name = if *field == Field::Mac { value.clone() } else { format!("{field} {value}") };
        Some(Specimen { machine: self.made_up(Some((field, value)))?, name })
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
        for (field, excluded) in self.exclusions() {
            let given = given.as_ref().is_some_and(|(named, _)| *named == field);
            if let Some(name) = field.label().filter(|_| !given) {
                let accepts = |value: &str| {
                    excluded.iter().any(|pattern| pattern.accepts(&Value::Text(value)))
                };
                let usual = labels.get(name).map_or("other", String::as_str);
                let left_in = [usual, "other", "x"].into_iter().find(|value| !accepts(value));
                labels.extend(left_in.map(|value| (name.to_owned(), value.to_owned())));
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

    #[test]
    fn what_is_excluded_is_not_tried() {
        let macs = [(Field::Mac, &["52:54:00:00:00:07", "52:54:00:00:00:08"][..])];
        let not = BTreeMap::from([(
            Field::Mac,
            vec![Pattern::parse(&Field::Mac, "52:54:00:00:00:07").unwrap()],
        )]);
        let found = selector(&macs).excluding(not).specimens();
        assert_eq!(
            found.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(),
            ["52:54:00:00:00:08"]
        );
        let rack = Field::Label("rack".to_owned());
        let not = [(Field::Product, "VMware*"), (rack, "7")];
        let not = not.map(|(field, text)| {
            let pattern = Pattern::parse(&field, text).unwrap();
            (field, vec![pattern])
        });
        let selector = Selector::default().excluding(BTreeMap::from(not));
        let [one] = selector.specimens().try_into().unwrap();
        assert_eq!(selector.matches(&one.machine), Verdict::Match);
    }
}
