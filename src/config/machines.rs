//! `[[machine]]`: values of one machine, over those of the group that it is in.

use std::collections::BTreeMap;

use toml::Spanned;

use super::{
    error::{Page, Place, Problem},
    patterns::Patterns,
    resolve::{Desk, Draft, GroupDraft},
    shape,
};
use crate::{
    catalog::{Catalog, Field, Group, Known, Values},
    template::Metadata,
};

/// Problems of machines that are told at once; the rest is the same over and over.
const MOST_PROBLEMS: usize = 20;
/// Machines times the groups that each may be in: each is rendered once at load, and held.
const MOST_PAIRS: usize = 500_000;

/// One `[[machine]]`.
pub(super) struct Entry {
    pub(super) place: Place,
    metadata: toml::Table,
}

impl<'a> Desk<'a> {
    /// Reads the machines, each numbered as in the values.
    pub(super) fn machines(
        &mut self,
        written: Vec<(Page<'a>, Vec<shape::Machine>)>,
    ) -> (Values, Vec<Entry>) {
        let mut values = Values::default();
        let mut entries: Vec<Entry> = Vec::new();
        for (page, machines) in written {
            self.page = page;
            for machine in machines {
                let named = [
                    (Field::Mac, machine.mac),
                    (Field::Uuid, machine.uuid),
                    (Field::Serial, machine.serial),
                ];
                let mut named = named.into_iter().filter_map(|(field, it)| Some((field, it?)));
                let Some((field, names)) = named.next() else { continue };
                if let Some((other, names)) = named.next() {
                    let text = format!("a machine is named by {field} or by {other}; keep one");
                    self.wrong(&names, text);
                }
                let place = self.page.place(&names);
                let Some(known) = self.known(field, names) else { continue };
                let name = named_as(&known);
                match values.add(known) {
                    Ok(_) => entries.push(Entry { place, metadata: machine.metadata }),
                    Err(taken) => {
                        let there = entries.get(taken).map(|it| it.place.to_string());
                        let there = there.unwrap_or_default();
                        let text = format!(
                            "machine {name} has a [[machine]] already, at {there}; keep one"
                        );
                        self.wrong_at(place, text);
                    }
                }
            }
        }
        (values, entries)
    }

    fn known(&mut self, field: Field, names: Spanned<Patterns>) -> Option<Known> {
        let span = Spanned::new(names.span(), ());
        let mut fields = BTreeMap::new();
        if !self.field(field.clone(), names, &mut fields) {
            return None;
        }
        let names = fields.remove(&field)?;
        if let Some(glob) = names.iter().find(|name| !name.is_exact()) {
            let text = format!("{glob} names no single machine; write its whole {field}");
            self.wrong(&span, text);
            return None;
        }
        Some(Known { field, names })
    }

    /// Gives each machine its groups with its values, and tries these. What it gives back is told of
    /// machines that no group has.
    pub(super) fn equip(
        &mut self,
        (mut values, entries): (Values, &[Entry]),
        catalog: &mut Catalog,
        (groups, drafts): (&BTreeMap<String, GroupDraft>, &BTreeMap<String, Draft>),
    ) -> Vec<Problem> {
        let mut unused = Vec::new();
        let (before, mut pairs) = (self.problems.len(), 0);
        for (number, (known, entry)) in values.machines().to_vec().iter().zip(entries).enumerate() {
            let own = catalog.groups_for(known);
            pairs += own.len();
            if own.is_empty() {
                let name = named_as(known);
                let text = format!("no group has machine {name}, so its values are not used");
                unused.push(Problem { place: entry.place.clone(), text });
            }
            if pairs > MOST_PAIRS {
                let text = format!(
                    "too many machines that each may be in too many groups: over {MOST_PAIRS} \
                     pairs; name machines by mac, and let their groups select by mac"
                );
                self.wrong_at(entry.place.clone(), text);
                break;
            }
            for group in own {
                let given = self.given((known, entry), group, (groups, drafts));
                given.into_iter().for_each(|given| values.give(number, given));
            }
            if self.problems.len() >= before + MOST_PROBLEMS {
                break;
            }
        }
        catalog.set_values(values);
        unused
    }

    fn given(
        &mut self,
        (known, entry): (&Known, &Entry),
        group: &Group,
        (groups, drafts): (&BTreeMap<String, GroupDraft>, &BTreeMap<String, Draft>),
    ) -> Option<Group> {
        let written = groups.get(&group.name)?;
        let draft = drafts.get(&written.profile)?;
        let metadata = Metadata::of_machine(&draft.metadata, &written.metadata, &entry.metadata);
        let (name, place) = (named_as(known), &entry.place);
        let whom = format!("machine {name} of {place} (group {:?})", group.name);
        let profile = self.outfit(draft, (&whom, &metadata), &group.name);
        Some(Group { profile, metadata, ..group.clone() })
    }
}

fn named_as(known: &Known) -> String {
    match known.names.first() {
        Some(name) => format!("{} = {name}", known.field),
        None => known.field.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        catalog::Source,
        config::Config,
        machine::Machine,
        template::{Template, Words},
    };

    const BASE: &str = "[[profile]]\nname = \"p\"\nkernel = \"/d{{ metadata.release }}/linux\"\n\
                        args = [\"host={{ metadata.host }}\", \"disk={{ metadata.disk.name }}\"]\n\
                        metadata.release = 12\nmetadata.disk.name = \"sda\"\n\
                        [[group]]\nname = \"g\"\nprofile = \"p\"\n";
    const ONE: &str = "selector.mac = [\"52:54:00:00:00:01\", \"52:54:00:00:00:02\"]\n";

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, "b.toml").map_err(|error| error.to_string())
    }

    /// The host argument and the kernel of a machine that has told all.
    fn boots(config: &Config, mac: &str, labels: &[(&str, &str)]) -> String {
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let uuid = "11223344-5566-7788-99aa-bbccddeeff00".parse().ok();
        let machine = Machine::told(mac.parse().unwrap(), uuid, labels.collect());
        let group = config.catalog.select(&machine).unwrap();
        let words = Words { machine, ..Words::specimen() };
        let arg = |arg: &Template| arg.render(&words, &group.metadata).unwrap();
        let args: Vec<String> = group.profile.args.iter().map(arg).collect();
        let Source::Repository(kernel) = &group.profile.kernel else { panic!("a path") };
        format!("{} {kernel}", args.join(" "))
    }

    #[test]
    fn a_machines_values_stand_over_its_groups() {
        let config = parse(&format!(
            "{BASE}metadata.host = \"any\"\n[[machine]]\nmac = [\"52:54:00:00:00:01\", \
             \"52:54:00:00:00:0a\"]\nmetadata.host = \"one\"\nmetadata.release = 13\n\
             [[machine]]\nuuid = \"44332211-6655-8877-99aa-bbccddeeff00\"\n\
             metadata.disk.name = \"vda\"\n\
             [[machine]]\nserial = \"S 1\"\n[machine.metadata]\nhost = \"s1\"\n"
        ))
        .unwrap();
        for mac in ["52:54:00:00:00:01", "52:54:00:00:00:0a"] {
            let said = boots(&config, mac, &[("serial", "S 1")]);
            assert!(
                said.starts_with("host=one disk=sda ") && said.contains("/d13/linux"),
                "{said}"
            );
        }
        let said = boots(&config, "52:54:00:00:00:03", &[("serial", "S 1")]);
        assert!(said.starts_with("host=any disk=vda ") && said.contains("/d12/linux"), "{said}");
        let heard = |mac: &str| Machine::heard(mac.parse().unwrap(), None, None);
        assert!(config.catalog.settle(&heard("52:54:00:00:00:01")).is_ok());
        let unsure = heard("52:54:00:00:00:03");
        assert!(config.catalog.settle(&unsure).is_err(), "it may tell a UUID or serial number");
        assert!(config.catalog.settle_group(&unsure).is_ok_and(|group| group.is_some()));
        assert_eq!(config.machines[1].line, Some(16));
        let named: Vec<String> = config.files.iter().map(|it| it.path.to_string()).collect();
        assert_eq!(named, ["/d12/linux", "/d13/linux"]);
        assert_eq!(config.catalog.profiles().len(), 2);
    }

    #[test]
    fn a_group_may_lack_what_each_of_its_machines_says() {
        let machine = |mac: u8, more: &str| {
            format!("[[machine]]\nmac = \"52:54:00:00:00:{mac:02x}\"\n{more}\n")
        };
        let host = "metadata.host = \"n\"";
        let both = machine(1, host) + &machine(2, host);
        parse(&format!("{BASE}{ONE}{both}")).unwrap();
        for (text, said) in [
            (format!("{BASE}{ONE}{}", machine(1, host)), "for group \"g\", has"),
            (format!("{BASE}{both}"), "for group \"g\", has"),
            (
                format!("{BASE}{ONE}{}{}", machine(1, host), machine(2, "")),
                "for machine mac = \"52:54:00:00:00:02\" of b.toml:15 (group \"g\"), has",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.starts_with("b.toml:4: ") && error.contains(said), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn each_mistake_in_a_machine_says_what_to_write() {
        let mac = "mac = \"52:54:00:00:00:01\"";
        for (text, said) in [
            ("metadata.host = \"x\"", "missing field `mac`; add it"),
            ("mac = \"52:54:00:*\"", "\"52:54:00:*\" names no single machine; write its whole mac"),
            ("mac = \"x\"", "\"x\" is not a hardware address"),
            ("mac = []", "mac has no value"),
            (&format!("{mac}\nserial = \"7\""), "a machine is named by mac or by serial; keep one"),
            (&format!("{mac}\nhostname = \"x\""), "unknown field `hostname`, expected one of"),
            ("uuid = \"03000200-0400-0500-0006-000700080009\"", "\"03000200"),
            (&format!("{mac}\n[[machine]]\n{mac}"), "machine mac = \"52:54:00:00:00:01\" has a"),
            (
                "serial = \"7\"\n[[machine]]\nserial = [\"8\", \"7\"]",
                "machine serial = \"8\" has a [[machine]] already, at b.toml:12; keep one",
            ),
        ] {
            let error = parse(&format!("{BASE}metadata.host = \"n\"\n[[machine]]\n{text}\n"));
            let error = error.unwrap_err();
            let (place, problem) = error.split_once(": ").unwrap();
            assert!(place.starts_with("b.toml:1") && problem.starts_with(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_machine_that_no_group_has_is_told() {
        let config = parse(&format!(
            "{BASE}{ONE}metadata.host = \"n\"\n[[machine]]\nmac = \"52:54:00:00:00:09\"\n\
             [[machine]]\nserial = \"7\"\n"
        ))
        .unwrap();
        let [unused] = config.unused_machines.as_slice() else { panic!("one") };
        assert_eq!(
            unused.to_string(),
            "b.toml:13: no group has machine mac = \"52:54:00:00:00:09\", so its values are not used"
        );
    }
}
