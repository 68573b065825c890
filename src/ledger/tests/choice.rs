//! Who may boot what, by group and by what went before.

use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::{
    catalog::{Catalog, Field, Group, HandOff, MOST_UNSAID, Pattern, Profile, Selector, Source},
    machine::Mac,
    template::Metadata,
};

const MAC: &str = "52:54:00:00:00:01";

fn group(name: &str, mac: Option<&str>, install: Install) -> Group {
    let profile = Profile {
        name: format!("{name}-profile"),
        kernel: Source::Url(String::new()),
        chains: false,
        initrd: Vec::new(),
        args: Vec::new(),
        install,
        says_install: true,
        verify: false,
    };
    let pattern = |mac: &str| (Field::Mac, vec![Pattern::parse(&Field::Mac, mac).unwrap()]);
    Group {
        name: name.to_owned(),
        selector: Selector::new(BTreeMap::from_iter(mac.map(pattern))),
        profile: Arc::new(profile),
        metadata: Metadata::default(),
        hand_off: HandOff::Silence,
        boot: Default::default(),
        every_machine: false,
    }
}

/// What the machine may do by its group in this catalog.
fn decision(book: &Book, machine: &Machine, groups: &[&Group]) -> Decision {
    let catalog = Catalog::new(groups.iter().map(|&group| group.clone()).collect()).unwrap();
    book.decide(machine, catalog.select(machine).unwrap(), &catalog, MOST)
}

fn book(records: &[&Record]) -> Book {
    let mut book = Book::default();
    records.iter().for_each(|&record| book.put(record.clone()).unwrap());
    book
}

fn scripted_by(group: &str) -> Event {
    Event::Scripted { group: group.to_owned(), profile: "p".to_owned(), token: None }
}

#[test]
fn removing_a_machines_group_never_installs_it() {
    let (own, rest) = (group("own", Some(MAC), Install::Once), group("rest", None, Install::Once));
    let ram = group("own", Some(MAC), Install::Never);
    let machine = machine(MAC, None);
    let booted = Event::Booted { group: "own".to_owned(), profile: "p".to_owned() };
    let reported = |report| Event::Reported(report);
    for (events, with_own, alone) in [
        (vec![], Decision::Install, None),
        (vec![booted], Decision::Install, Some("it was in group own, which")),
        (vec![scripted_by("own")], Decision::Install, Some("its installation by group own")),
        (
            vec![scripted_by("own"), reported(Report::Failed("x".to_owned()))],
            Decision::Install,
            Some("its installation by group own"),
        ),
    ] {
        let story = events.iter().fold(Story::new(), Story::then);
        let book = book(&[&story.record]);
        assert_eq!(decision(&book, &machine, &[&own, &rest]), with_own, "{events:?}");
        match (decision(&book, &machine, &[&rest]), alone) {
            (Decision::Hold(reason), Some(why)) => {
                assert!(reason.starts_with(why), "{reason}");
                assert!(reason.ends_with(&format!("bootbox reinstall {MAC}")), "{reason}");
            }
            (decision, why) => assert_eq!((decision, why), (Decision::Install, None)),
        }
        let again = story.then(&Event::Ordered(Order::Reinstall));
        let book = self::book(&[&again.record]);
        assert_eq!(decision(&book, &machine, &[&rest]), Decision::Install);
    }
    // A group that is added for a machine is meant, whatever it ran from RAM before.
    let booted = Event::Booted { group: "rest".to_owned(), profile: "p".to_owned() };
    let before = group("rest", None, Install::Never);
    let book = book(&[&Story::new().then(&booted).record]);
    assert_eq!(decision(&book, &machine, &[&own, &before]), Decision::Install);
    assert_eq!(decision(&book, &machine, &[&ram, &rest]), Decision::Boot);
}

#[test]
fn another_card_of_an_installed_machine_boots_its_disk_and_of_another_waits() {
    let all = group("all", None, Install::Once);
    let ram = group("ram", None, Install::Never);
    let mut story = Story::new();
    story.record.machine.uuid = UUID.parse().ok();
    let story = story.boots();
    let other = machine("52:54:00:00:00:02", Some(SWAPPED));
    let fresh = Record::new(other.clone(), Moment(1));
    for beside in [None, Some(&fresh)] {
        let book = book(&[&[&story.record][..], beside.as_slice()].concat());
        let Decision::Hold(reason) = decision(&book, &other, &[&all]) else { panic!() };
        assert!(reason.starts_with("it has the UUID of 52:54:00:00:00:01"), "{reason}");
        assert!(reason.ends_with("bootbox reinstall 52:54:00:00:00:02"), "{reason}");
        assert_eq!(decision(&book, &other, &[&ram]), Decision::Boot);
    }
    let installed = story.then(&installed());
    let held = fresh.after(&Event::Twin("x".to_owned()), MOST, Moment(2)).unwrap();
    let third = machine("52:54:00:00:00:03", Some(UUID));
    let cards = book(&[&installed.record, &held]);
    for card in [&other, &third] {
        assert!(matches!(decision(&cards, card, &[&all]), Decision::Disk(_)), "{card:?}");
    }
    let said = held.after(&Event::Ordered(Order::Reinstall), MOST, Moment(3)).unwrap();
    let book = book(&[&installed.record, &said]);
    assert_eq!(decision(&book, &other, &[&all]), Decision::Install, "the operator says so");
}

#[test]
fn what_firmware_alone_told_is_not_recalled_as_all_that_there_is() {
    let uefi = machine(MAC, Some(UUID)).told_by_uefi(crate::unified::Processor::X64);
    let known = book(&[&Record::new(uefi.clone(), Moment(1))]);
    let mut passed_by = book(&[]);
    passed_by.pass_by(uefi.clone(), Moment(1));
    for book in [known, passed_by] {
        let recalled = book.recall(&machine(MAC, None));
        assert_eq!((recalled.labels, recalled.platform), (None, uefi.platform));
        assert_eq!(book.recall(&uefi).labels, uefi.labels, "what it tells now stands");
    }
}

#[test]
fn a_machine_is_recalled_as_it_told() {
    let labels = |rack: &str| BTreeMap::from([("rack".to_owned(), rack.to_owned())]);
    let told = |mac: &str, rack: &str| Machine::told(mac.parse().unwrap(), None, labels(rack));
    let mut book = book(&[&Record::new(told(MAC, "1"), Moment(1))]);
    let stranger = "52:54:00:00:00:02";
    book.pass_by(told(stranger, "2"), Moment(1));
    for (mac, rack) in [(MAC, Some("1")), (stranger, Some("2")), ("52:54:00:00:00:03", None)] {
        let recalled = book.recall(&machine(mac, Some(UUID)));
        assert_eq!(recalled.labels, rack.map(|rack| labels(rack).into()), "{mac}");
        assert_eq!(recalled.uuid, UUID.parse().ok());
    }
    for number in 0..2000_u16 {
        let [high, low] = number.to_be_bytes();
        let mac = Mac::new([2, 0, 0, 0, high, low]).unwrap();
        book.pass_by(told(&mac.to_string(), "3"), Moment(2));
    }
    assert_eq!(book.recall(&machine(stranger, None)).labels, None, "the oldest is forgotten");
    let last = "02:00:00:00:07:cf";
    book.pass_by(told(stranger, "2"), Moment(3));
    book.forget_strangers(Moment(2));
    assert_eq!(book.recall(&machine(last, None)).labels, None, "it told too long ago");
    assert_eq!(book.recall(&machine(stranger, None)).labels, Some(labels("2").into()));
}

#[test]
fn who_tells_nothing_is_in_no_group_while_a_narrower_one_may_have_it() {
    let wide = group("wide", None, Install::Once);
    let own = group("own", Some(MAC), Install::Never);
    let mut serial = group("serial", None, Install::Never);
    let seven = Pattern::parse(&Field::Serial, "7").unwrap();
    serial.selector = Selector::new([(Field::Serial, vec![seven])].into());
    let catalog = Catalog::new(vec![wide, own, serial]).unwrap();
    let labels = |serial: &str| BTreeMap::from([("serial".to_owned(), serial.to_owned())]);
    let [known, unknown] =
        ["52:54:00:00:00:02", "52:54:00:00:00:03"].map(|mac| mac.parse().unwrap());
    let book = book(&[&Record::new(Machine::told(known, None, labels("7")), Moment(1))]);
    for (mac, told, group) in [
        (MAC.parse().unwrap(), BTreeMap::new(), Some("own")),
        (known, BTreeMap::new(), Some("serial")),
        (known, labels("8"), Some("wide")),
        (unknown, BTreeMap::new(), None),
        (unknown, labels("8"), Some("wide")),
    ] {
        let machine = book.hear(mac, None, &told);
        let chosen = catalog.settle(&machine).ok().flatten().map(|group| &*group.name);
        assert_eq!(chosen, group, "{machine:?}");
    }
}

#[test]
fn a_group_that_nobody_said_is_for_all_installs_a_bench_and_no_vlan() {
    let all = group("all", None, Install::Once);
    let said = Group { every_machine: true, ..all.clone() };
    let numbered = |number: usize| machine(&format!("52:54:00:00:01:{number:02x}"), None);
    let mut book = Book::default();
    for number in 0..MOST_UNSAID {
        assert_eq!(decision(&book, &numbered(number), &[&all]), Decision::Install, "{number}");
        let record = Record::new(numbered(number), Moment(1));
        book.put(record.after(&scripted_by("all"), MOST, Moment(2)).unwrap()).unwrap();
    }
    let next = numbered(MOST_UNSAID);
    for known in [None, Some(Record::new(next.clone(), Moment(3)))] {
        known.into_iter().for_each(|known| book.put(known).unwrap());
        let held = decision(&book, &next, &[&all]);
        assert!(matches!(&held, Decision::Hold(why) if why.contains("every-machine")), "{held:?}");
        assert_eq!(decision(&book, &next, &[&said]), Decision::Install);
    }
    assert_eq!(decision(&book, &numbered(0), &[&all]), Decision::Install, "one of the first");
}
