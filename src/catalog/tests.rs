use super::*;
use crate::firmware::Platform;

fn profile(name: &str) -> Arc<Profile> {
    let kernel = Source::Url(format!("http://192.0.2.9/{name}"));
    let install = Install::Never;
    let (initrd, args) = (vec![], vec![]);
    Arc::new(Profile {
        name: name.to_owned(),
        kernel,
        chains: false,
        initrd,
        args,
        install,
        says_install: false,
        verify: false,
    })
}

/// Fields and their values, alternatives with `|` between.
fn selector(fields: &[(&str, &str)]) -> Selector {
    let field = |name: &str| match name {
        "arch" => Field::Arch,
        "firmware" => Field::Firmware,
        "mac" => Field::Mac,
        "manufacturer" => Field::Manufacturer,
        "product" => Field::Product,
        "serial" => Field::Serial,
        "uuid" => Field::Uuid,
        label => Field::Label(label.to_owned()),
    };
    let fields = fields.iter().map(|(name, values)| {
        let field = field(name);
        let patterns =
            values.split('|').map(|value| Pattern::parse(&field, value).unwrap()).collect();
        (field, patterns)
    });
    Selector::new(fields.collect())
}

fn group(name: &str, fields: &[(&str, &str)], profile: &Arc<Profile>) -> Group {
    let (selector, profile) = (selector(fields), Arc::clone(profile));
    let (metadata, hand_off) = (Metadata::default(), HandOff::default());
    let boot = Boot::default();
    Group {
        name: name.to_owned(),
        selector,
        profile,
        metadata,
        hand_off,
        boot,
        every_machine: false,
    }
}

/// As after `/ipxe`.
fn told(mac: &str, uuid: Option<&str>, labels: &[(&str, &str)]) -> Machine {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Machine::told(mac.parse().unwrap(), uuid.map(|uuid| uuid.parse().unwrap()), labels.collect())
}

const ONE: &str = "52:54:00:00:00:01";
const TWO: &str = "52:54:00:00:00:02";
const UUID: &str = "564da6d2-1706-6343-dc2d-0123456789ab";
const SWAPPED: &str = "D2A64D56-0617-4363-DC2D-0123456789AB";
const VMWARE: &str = "VMware-56 4d a6 d2 17 06 63 43-dc 2d 01 23 45 67 89 ab";

#[test]
fn a_group_that_names_the_machine_wins_over_one_for_all() {
    let (any, one) = (profile("any"), profile("one"));
    let groups = vec![group("all", &[], &any), group("this", &[("mac", ONE)], &one)];
    let catalog = Catalog::new(groups).unwrap();
    assert_eq!(catalog.select(&told(ONE, None, &[])).unwrap().name, "this");
    assert_eq!(catalog.select(&told(TWO, None, &[])).unwrap().name, "all");
}

#[test]
fn a_machine_that_no_group_names_is_in_none() {
    let catalog = Catalog::new(vec![group("this", &[("mac", ONE)], &profile("one"))]).unwrap();
    assert!(catalog.select(&told(TWO, None, &[])).is_none());
    assert!(!catalog.may_select(&told(TWO, None, &[])));
    assert!(!Catalog::default().may_select(&told(ONE, None, &[])));
}

#[test]
fn every_field_must_accept_and_one_alternative_is_enough() {
    let machine = told(
        ONE,
        Some(UUID),
        &[("serial", "A B"), ("platform", "efi"), ("arch", "x86_64"), ("rack", "r1*")],
    );
    for (fields, verdict) in [
        (&[("mac", "52-54-00-00-00-01")][..], Verdict::Match),
        (&[("mac", "525400000002|525400000001")], Verdict::Match),
        (&[("mac", "52:54:*")], Verdict::Match),
        (&[("uuid", SWAPPED)], Verdict::Match),
        (&[("firmware", "uefi"), ("arch", "i386|x86_*")], Verdict::Match),
        (&[("firmware", "bios"), ("arch", "x86_64")], Verdict::Mismatch),
        (&[("serial", "a b")], Verdict::Mismatch),
        (&[("rack", "r?*")], Verdict::Match),
        (&[("rack", "r1?*"), ("row", "7")], Verdict::Mismatch),
        (&[("product", "*")], Verdict::Mismatch),
        (&[], Verdict::Match),
    ] {
        assert_eq!(selector(fields).matches(&machine), verdict, "{fields:?}");
    }
}

#[test]
fn a_vmware_machine_is_found_by_uuid_in_any_of_its_forms() {
    let by_uuid = selector(&[("uuid", UUID)]);
    for machine in [
        told(ONE, Some(UUID), &[]),
        told(ONE, Some(SWAPPED), &[("serial", VMWARE)]),
        told(ONE, None, &[("serial", VMWARE)]),
    ] {
        assert_eq!(by_uuid.matches(&machine), Verdict::Match);
    }
    assert_eq!(by_uuid.matches(&told(ONE, None, &[("serial", "x")])), Verdict::Mismatch);
}

#[test]
fn what_a_machine_has_not_told_yet_is_undecided_and_what_it_has_is_not() {
    let rom = Machine::heard(ONE.parse().unwrap(), None, Some(Platform::Bios));
    for (fields, verdict) in [
        (&[("serial", "x")][..], Verdict::Undecided),
        (&[("rack", "r1"), ("mac", ONE)], Verdict::Undecided),
        (&[("rack", "r1"), ("mac", TWO)], Verdict::Mismatch),
        (&[("rack", "r1"), ("firmware", "uefi")], Verdict::Mismatch),
        // Its firmware sent no UUID; iPXE may know it.
        (&[("uuid", UUID)], Verdict::Undecided),
        (&[("firmware", "bios"), ("mac", "52:*")], Verdict::Match),
    ] {
        assert_eq!(selector(fields).matches(&rom), verdict, "{fields:?}");
    }
    let with_uuid = Machine { uuid: SWAPPED.parse().ok(), ..rom };
    assert_eq!(selector(&[("uuid", UUID)]).matches(&with_uuid), Verdict::Match);
    let another = selector(&[("uuid", "11111111-1706-6343-dc2d-0123456789ab")]);
    assert_eq!(another.matches(&with_uuid), Verdict::Mismatch);
}

#[test]
fn what_is_surely_no_match_at_first_never_becomes_one() {
    let selectors = [
        selector(&[("mac", "*01"), ("serial", "VM*")]),
        selector(&[("uuid", UUID)]),
        selector(&[("firmware", "uefi"), ("rack", "1|2")]),
        selector(&[]),
    ];
    for uuid in [None, Some(UUID), Some(SWAPPED)] {
        for platform in ["pcbios", "efi", "other"] {
            for serial in [VMWARE, "x"] {
                let labels = [("platform", platform), ("serial", serial), ("rack", "2")];
                let later = told(ONE, uuid, &labels);
                // The firmware may tell less at first, never something else.
                for early in [
                    Machine { labels: None, ..later.clone() },
                    Machine { labels: None, uuid: None, platform: None, ..later.clone() },
                ] {
                    for selector in &selectors {
                        match selector.matches(&early) {
                            Verdict::Undecided => {}
                            decided @ (Verdict::Match | Verdict::Mismatch) => {
                                assert_eq!(decided, selector.matches(&later), "{selector}")
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn the_most_specific_wins() {
    // Each wins over all that follow; one machine is in all of them.
    let order: [&[(&str, &str)]; 9] = [
        &[("mac", ONE), ("arch", "x86_64")],
        &[("mac", ONE)],
        &[("uuid", UUID), ("arch", "x86_64"), ("rack", "1")],
        &[("uuid", UUID)],
        &[("serial", "S")],
        &[("mac", "52:*"), ("arch", "x86_64"), ("rack", "1")],
        &[("arch", "x86_64"), ("rack", "1|2")],
        &[("arch", "x86_64")],
        &[("arch", "*")],
    ];
    let labels = [("arch", "x86_64"), ("rack", "1"), ("serial", "S")];
    let machine = told(ONE, Some(UUID), &labels);
    for start in 0..order.len() {
        let groups = order[start..].iter().enumerate().rev();
        let groups = groups.map(|(at, fields)| group(&at.to_string(), fields, &profile("p")));
        let catalog = Catalog::new(groups.collect()).unwrap();
        assert_eq!(catalog.select(&machine).unwrap().name, "0", "{:?}", order[start]);
    }
}

#[test]
fn a_contradiction_is_an_error_and_never_chance() {
    let (one, two) = (profile("one"), profile("two"));
    let ties = |a: &[(&str, &str)], b: &[(&str, &str)]| {
        assert!(Catalog::new(vec![group("a", a, &one), group("b", b, &one)]).is_ok());
        Catalog::new(vec![group("a", a, &one), group("b", b, &two)]).is_err()
    };
    let tie = Catalog::new(vec![group("a", &[], &one), group("b", &[], &two)]).unwrap_err();
    assert_eq!(tie, Tie { first: "a".to_owned(), second: "b".to_owned() });
    assert!(ties(&[("mac", "525400000001|525400000002")], &[("mac", "525400000002")]));
    assert!(ties(&[("uuid", UUID)], &[("uuid", SWAPPED)]));
    assert!(ties(&[("product", "VM*")], &[("product", "*7,1")]));
    assert!(ties(&[("mac", "5254*")], &[("product", "*7,1")]));
    assert!(ties(&[("arch", "x86_64")], &[("product", "X")]));
    assert!(!ties(&[("mac", ONE)], &[("mac", TWO)]));
    let says = Metadata::of(&"a = 1".parse().unwrap(), &toml::Table::new());
    let groups = vec![group("a", &[], &one), Group { metadata: says, ..group("b", &[], &one) }];
    assert!(Catalog::new(groups).is_err());
    assert!(!ties(&[("mac", ONE)], &[("uuid", UUID)]));
    assert!(!ties(&[("arch", "x86_64"), ("rack", "1")], &[("arch", "i386"), ("row", "1")]));
    assert!(!ties(&[("mac", "52:54:00:*")], &[("mac", "52:54:01:*")]));
}

/// All pairs of patterns: the index that spares most comparisons hides no contradiction.
#[test]
fn how_values_begin_hides_no_contradiction() {
    let (one, two) = (profile("one"), profile("two"));
    for (field, values) in [
        ("mac", &["5254*", "52:54:00:*", "52-54-0?-*", "*", "*:01", ONE, TWO, "525400*|06*"][..]),
        ("uuid", &[UUID, SWAPPED, "11223344-5566-7788-99aa-010203040506"]),
        ("serial", &["a", "ab", "a*", "ab*", "?b", "*b", "b|a", "Ä*", "Äb", "a*|b*"]),
        ("firmware", &["bios", "uefi"]),
    ] {
        for a in values {
            for b in values {
                let (a, b) = (group("a", &[(field, a)], &one), group("b", &[(field, b)], &two));
                let is_tie = a.selector.specificity() == b.selector.specificity()
                    && a.selector.overlaps(&b.selector);
                let text = format!("{} and {}", a.selector, b.selector);
                assert_eq!(Catalog::new(vec![a, b]).is_err(), is_tie, "{text}");
            }
        }
    }
}

#[test]
fn values_say_what_to_write() {
    for (field, value, said) in [
        (Field::Arch, "amd64", "is no arch that iPXE tells; write \"x86_64\""),
        (Field::Firmware, "efi", "is no firmware; write \"bios\" or \"uefi\""),
        (Field::Mac, "52:54:zz:*", "is no part of a hardware address; write it like"),
        (Field::Mac, "52:54", "is not a hardware address; write it like"),
        (Field::Uuid, "564d*", "is not a machine's UUID; write it like"),
        (Field::Serial, " x", "spaces around it"),
        (Field::Product, "", "is empty"),
    ] {
        let error = Pattern::parse(&field, value).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn by_its_firmware_alone_no_machine_falls_past_a_narrower_group_into_one_that_installs() {
    let ram = profile("ram");
    let wipe = Arc::new(Profile { install: Install::Once, ..(*profile("wipe")).clone() });
    let named = |narrow: &[(&str, &str)], wide: &Arc<Profile>, machine: &Machine| {
        let groups = vec![group("all", &[], wide), group("narrow", narrow, &ram)];
        let catalog = Catalog::new(groups).unwrap();
        catalog.select_by_firmware(machine).map(|group| group.map(|group| group.name.clone()))
    };
    let (all, narrow) = (Ok(Some("all".to_owned())), Ok(Some("narrow".to_owned())));
    let heard = Machine::heard(ONE.parse().unwrap(), None, None)
        .told_by_uefi(crate::unified::Processor::Arm64);
    for (fields, wanted) in [
        (&[("product", "P")][..], &Err(NotTold)),
        (&[("serial", "7")], &Err(NotTold)),
        (&[("rack", "1"), ("arch", "arm64")], &Err(NotTold)),
        (&[("serial", "7"), ("mac", TWO)], &all),
        (&[("serial", "7"), ("arch", "i386")], &all),
        (&[("uuid", UUID)], &all),
        (&[("mac", ONE)], &narrow),
    ] {
        assert_eq!(&named(fields, &wipe, &heard), wanted, "{fields:?}");
    }
    let product = [("product", "P")];
    assert_eq!(named(&product, &ram, &heard), all, "nothing is lost by it");
    let ipxe = told(ONE, None, &[("product", "Q")]);
    assert_eq!(named(&product, &wipe, &ipxe), all, "iPXE has told");
    let none = Catalog::new(vec![group("narrow", &product, &wipe)]).unwrap();
    assert!(matches!(none.select_by_firmware(&heard), Ok(None)));
}

#[test]
fn a_machine_that_has_not_told_all_is_settled_only_where_that_changes_nothing() {
    let (any, one) = (profile("any"), profile("one"));
    let product = [("mac", ONE), ("product", "P")];
    let groups = vec![group("all", &[("arch", "x86_64")], &any), group("this", &product, &one)];
    let catalog = Catalog::new(groups).unwrap();
    let name = |machine: &Machine| {
        catalog.settle(machine).map(|group| group.map(|group| group.name.as_str()))
    };
    let heard = Machine::heard(ONE.parse().unwrap(), None, None);
    assert_eq!(name(&heard), Err(NotTold), "it may be in the more specific one");
    assert_eq!(name(&told(ONE, None, &[("product", "P")])), Ok(Some("this")));
    assert_eq!(name(&told(ONE, None, &[("arch", "x86_64")])), Ok(Some("all")));
    assert_eq!(name(&told(TWO, None, &[])), Ok(None));
    let exact = Catalog::new(vec![group("this", &[("mac", ONE)], &profile("one"))]).unwrap();
    assert_eq!(exact.settle(&heard).unwrap().unwrap().name, "this");
}

#[test]
fn what_was_told_earlier_chooses_no_group_that_installs() {
    let installing = |name: &str| {
        Arc::new(Profile { install: Install::Once, ..Arc::unwrap_or_clone(profile(name)) })
    };
    let (ram, disk, other) = (profile("ram"), installing("disk"), installing("other"));
    let groups = vec![
        group("special", &[("product", "Special")], &disk),
        group("all-ram", &[], &ram),
        group("named", &[("mac", TWO)], &other),
        group("junk", &[("mac", TWO), ("product", "Junk")], &ram),
    ];
    let catalog = Catalog::new(groups).unwrap();
    let heard = |mac: &str| Machine::heard(mac.parse().unwrap(), None, None);
    let uefi = |mac: &str| heard(mac).told_by_uefi(crate::unified::Processor::X64);
    let by = |choice: Result<Choice<'_>, NotTold>| match choice {
        Ok(Choice::Told(group)) => group.map_or("none", |group| &group.name).to_owned(),
        Ok(Choice::Remembered(group)) => format!("{}, remembered", group.name),
        Err(NotTold) => "not told".to_owned(),
    };
    let loader = |known: &Machine, own: &Machine| by(catalog.choose(known, own, Catalog::settle));
    let firmware = |known: &Machine, own: &Machine| {
        by(catalog.choose(known, own, Catalog::select_by_firmware))
    };
    let special = told(ONE, None, &[("product", "Special")]);
    let plain = told(ONE, None, &[("product", "Plain")]);
    assert_eq!(loader(&special, &special), "special", "its own request tells it");
    assert_eq!(loader(&special, &heard(ONE)), "special, remembered");
    assert_eq!(loader(&plain, &heard(ONE)), "all-ram", "what installs nothing is remembered");
    let by_uefi = |machine: Machine| machine.told_by_uefi(crate::unified::Processor::X64);
    assert_eq!(firmware(&by_uefi(special), &uefi(ONE)), "all-ram", "as before it was told");
    // The other way round: what was told takes a machine out of a narrower group.
    let escaped = told(TWO, None, &[("product", "Plain")]);
    assert_eq!(loader(&escaped, &heard(TWO)), "named, remembered");
    assert_eq!(loader(&escaped, &escaped), "named");
    assert_eq!(firmware(&by_uefi(escaped), &uefi(TWO)), "named, remembered");
    assert_eq!(loader(&told(TWO, None, &[("product", "Junk")]), &heard(TWO)), "junk");
}

fn excluding(name: &str, fields: &[(&str, &str)], not: &[(&str, &str)]) -> Group {
    let mut group = group(name, fields, &profile(name));
    let not = selector(not);
    let not = not.fields().map(|field| (field.clone(), not.patterns(field).to_vec())).collect();
    group.selector = group.selector.excluding(not);
    group
}

#[test]
fn an_exclusion_takes_out_what_it_names_and_what_does_not_tell() {
    let machine = |serial: &str| told(ONE, Some(UUID), &[("serial", serial), ("arch", "i386")]);
    for (not, verdict) in [
        (&[("mac", ONE)][..], Verdict::Mismatch),
        (&[("mac", TWO)], Verdict::Match),
        (&[("mac", TWO), ("serial", "S*")], Verdict::Mismatch),
        (&[("uuid", SWAPPED)], Verdict::Mismatch),
        (&[("serial", "T|U")], Verdict::Match),
        // It may be one of those that are meant.
        (&[("product", "X")], Verdict::Mismatch),
    ] {
        let group = excluding("g", &[("arch", "i386")], not);
        assert_eq!(group.selector.matches(&machine("S1")), verdict, "{not:?}");
    }
    let group = excluding("g", &[], &[("serial", "S1")]);
    let heard = Machine::heard(ONE.parse().unwrap(), None, None);
    assert_eq!(group.selector.matches(&heard), Verdict::Undecided);
    assert_eq!(group.selector.reach(), Reach::Everything);
    assert!(!group.selector.is_empty());
    assert_eq!(group.selector.to_string(), "not.serial = \"S1\"");
}

#[test]
fn a_group_with_an_exclusion_leaves_the_excluded_to_the_next_one() {
    let groups = vec![
        group("all", &[], &profile("all")),
        excluding("most", &[], &[("mac", ONE)]),
        group("x", &[("product", "X")], &profile("x")),
        excluding("not-x", &[("arch", "i386")], &[("product", "X|Y")]),
    ];
    let catalog = Catalog::new(groups).unwrap();
    let chosen = |mac, labels: &[(&str, &str)]| {
        catalog.select(&told(mac, None, labels)).map(|group| group.name.clone()).unwrap()
    };
    assert_eq!(chosen(ONE, &[]), "all");
    assert_eq!(chosen(TWO, &[]), "most");
    assert_eq!(chosen(TWO, &[("product", "X"), ("arch", "i386")]), "x");
    assert_eq!(chosen(TWO, &[("product", "Z"), ("arch", "i386")]), "not-x");
    let tie = vec![excluding("a", &[], &[("mac", ONE)]), excluding("b", &[], &[("mac", TWO)])];
    assert!(Catalog::new(tie).is_err());
}

#[test]
fn firmware_that_does_not_tell_what_is_excluded_is_not_installed_by_it() {
    let mut installs = excluding("most", &[], &[("product", "X")]);
    let mut all = group("all", &[], &profile("all"));
    for group in [&mut installs, &mut all] {
        let mut profile = (*group.profile).clone();
        profile.install = Install::Once;
        group.profile = Arc::new(profile);
    }
    let by_uefi = told(ONE, None, &[("arch", "x86_64"), ("platform", "efi")]);
    let catalog = Catalog::new(vec![installs.clone()]).unwrap();
    assert!(catalog.select_by_firmware(&by_uefi).is_ok_and(|group| group.is_none()));
    let catalog = Catalog::new(vec![installs, all]).unwrap();
    assert_eq!(catalog.select_by_firmware(&by_uefi).map(|it| it.is_some()), Err(NotTold));
}

#[test]
fn words_of_an_earlier_request_give_no_values_to_what_installs() {
    let mut base = group("g", &[("mac", ONE)], &profile("p"));
    base.profile = Arc::new(Profile { install: Install::Once, ..(*base.profile).clone() });
    let mut catalog = Catalog::new(vec![base.clone()]).unwrap();
    let serial = Pattern::parse(&Field::Serial, "S1").unwrap();
    let mut values = Values::default();
    let number = values.add(Known { field: Field::Serial, names: vec![serial] }).unwrap();
    values.give(number, base);
    catalog.set_values(values);
    let (with, without) =
        (told(ONE, None, &[("serial", "S1")]), told(ONE, None, &[("serial", "S2")]));
    let by_uefi = told(ONE, None, &[("arch", "x86_64"), ("platform", "efi")]);
    let choose = |known, own| catalog.choose(known, own, Catalog::settle);
    assert!(matches!(choose(&with, &with), Ok(Choice::Told(Some(_)))));
    assert!(matches!(choose(&with, &without), Ok(Choice::Remembered(_))));
    assert!(matches!(choose(&with, &by_uefi), Ok(Choice::Remembered(_))));
    assert!(catalog.settle(&by_uefi).is_err() && catalog.select_by_firmware(&by_uefi).is_err());
}
