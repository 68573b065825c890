//! Words that anybody can say in a machine's name make no decision more destructive.

use std::sync::Arc;

use super::*;
use crate::catalog::{Boot, Catalog, Group, HandOff, Profile, Selector, Source};

const VICTIM: &str = "52:54:00:00:00:01";
const SECOND: &str = "52:54:00:00:00:02";
const UUID: &str = "564da6d2-1706-6343-dc2d-0123456789ab";

fn all() -> Group {
    let profile = Profile {
        name: "p".to_owned(),
        kernel: Source::Url(String::new()),
        chains: false,
        initrd: Vec::new(),
        args: Vec::new(),
        install: Install::Once,
        says_install: true,
        verify: false,
    };
    Group {
        name: "lab".to_owned(),
        selector: Selector::default(),
        profile: Arc::new(profile),
        metadata: Default::default(),
        hand_off: HandOff::Silence,
        boot: Boot::default(),
        every_machine: true,
    }
}

fn decision(records: &[&Record], machine: &Machine) -> Decision {
    let mut book = Book::default();
    records.iter().for_each(|&record| book.put(record.clone()).unwrap());
    let catalog = Catalog::new(vec![all()]).unwrap();
    book.decide(machine, &catalog.groups()[0], &catalog, MOST)
}

fn after(record: &Record, events: &[Event]) -> Record {
    let events = events.iter();
    events.fold(record.clone(), |record, event| record.after(event, MOST, Moment(2000)).unwrap())
}

fn fresh(mac: &str, uuid: Option<&str>) -> Record {
    Record::new(machine(mac, uuid), Moment(1000))
}

fn fetched() -> Event {
    Event::Fetched(Piece::Boot)
}

fn failed() -> Event {
    Event::Reported(Report::Failed("x".to_owned()))
}

#[test]
fn an_installed_twin_counts_before_an_attempt_that_anybody_could_have_begun() {
    let installed = after(&fresh(VICTIM, Some(UUID)), &[scripted(), fetched(), installed()]);
    let presumed = after(
        &fresh(VICTIM, Some(UUID)),
        &[scripted(), fetched(), Event::LastByte, Event::Fetched(Piece::Image)],
    );
    let second = machine(SECOND, Some(UUID));
    for twin in [&installed, &presumed] {
        // Asked for in its name without a UUID, fetched by whoever asked, and reported.
        for events in [
            &[scripted()][..],
            &[scripted(), fetched()],
            &[scripted(), fetched(), failed()],
            &[scripted(), Event::Reported(Report::Started)],
        ] {
            let own = after(&fresh(SECOND, None), events);
            let said = decision(&[twin, &own], &second);
            assert!(matches!(said, Decision::Disk(_)), "{events:?}: {said:?}");
        }
    }
    let order = |order| Event::Ordered(order);
    let held = after(&installed, &[order(Order::Hold("fan".to_owned()))]);
    let blank = after(&fresh(VICTIM, Some(UUID)), &[order(Order::Hold("fan".to_owned()))]);
    let own = after(&fresh(SECOND, None), &[scripted()]);
    assert!(matches!(decision(&[&held, &own], &second), Decision::Disk(_)));
    assert!(!matches!(decision(&[&blank, &own], &second), Decision::Install));
    let said = after(&fresh(SECOND, None), &[order(Order::Reinstall), scripted()]);
    assert_eq!(decision(&[&installed, &said], &second), Decision::Install, "an operator said so");
    let going = after(&fresh(VICTIM, Some(UUID)), &[scripted()]);
    assert_eq!(decision(&[&going, &own], &second), Decision::Install, "neither has a disk yet");
}

#[test]
fn a_made_up_card_that_says_it_is_installed_holds_its_twin_and_tells_why() {
    let victim = machine(VICTIM, Some(UUID));
    for events in [
        &[scripted(), installed()][..],
        &[scripted(), Event::Reported(Report::Started), installed()],
        &[scripted(), failed(), installed()],
    ] {
        let made_up = after(&fresh(SECOND, Some(UUID)), events);
        let Decision::Hold(why) = decision(&[&made_up], &victim) else { panic!("{events:?}") };
        assert!(why.contains("fetched nothing from here"), "{why}");
        assert!(why.ends_with(&format!("bootbox reinstall {VICTIM}")), "{why}");
        assert!(matches!(decision(&[&made_up], &made_up.machine), Decision::Disk(_)), "its own");
    }
    let card = after(&fresh(SECOND, Some(UUID)), &[scripted(), fetched(), installed()]);
    assert!(
        matches!(decision(&[&card], &victim), Decision::Disk(_)),
        "it fetched what it was given"
    );
    // Of a record that was written before, what it said counts.
    let mut old = serde_json::to_value(&card).unwrap();
    old.as_object_mut().unwrap().remove("has_fetched");
    old["state"]["installed"].as_object_mut().unwrap().remove("is_only_said");
    let old: Record = serde_json::from_value(old).unwrap();
    assert!(matches!(decision(&[&old], &victim), Decision::Disk(_)));
}

#[test]
fn an_operator_can_say_that_a_machine_is_installed() {
    let order = |order| Event::Ordered(order);
    let proof = |record: &Record| match &record.state {
        State::Installed(installed) => Some((installed.profile.clone(), installed.proof)),
        State::Failed { .. } | State::Held(_) | State::Installing(_) | State::New => None,
    };
    let blank = fresh(VICTIM, None);
    let done = after(&blank, &[scripted(), fetched(), installed()]);
    for (events, profile) in [
        (vec![order(Order::Installed)], "unknown"),
        (vec![scripted(), order(Order::Installed)], "coreos"),
        (vec![scripted(), failed(), order(Order::Installed)], "coreos"),
        (vec![scripted(), Event::Twin("x".to_owned()), order(Order::Installed)], "unknown"),
    ] {
        let record = after(&blank, &events);
        assert_eq!(proof(&record).map(|(_, proof)| proof), Some(Proof::Operator), "{events:?}");
        assert!(profile == "coreos" || proof(&record).unwrap().0 == profile, "{events:?}");
        let next = decide(Some(&record), Install::Once, MOST);
        assert!(matches!(next, Decision::Disk(_)), "{events:?}: {next:?}");
    }
    let undone = after(&done, &[order(Order::Reinstall), order(Order::Installed)]);
    assert!(matches!(decide(Some(&undone), Install::Once, MOST), Decision::Disk(_)));
    let held = after(&blank, &[order(Order::Hold("fan".to_owned())), order(Order::Installed)]);
    assert!(matches!(&held.state, State::Held(held) if held.installed.is_some()));
}
