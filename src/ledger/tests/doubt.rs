//! Images that were sent where nobody known is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::*;
use crate::{
    catalog::{Catalog, Field, Group, HandOff, Pattern, Profile, Selector, Source},
    path::{RepositoryPath, UrlPath},
    template::Metadata,
};

const IMAGE: &str = "/coreos/1122.2.0/coreos_production_image.bin.bz2";
const KERNEL: &str = "/coreos/1122.2.0/coreos_production_pxe.vmlinuz";

fn stray() -> Event {
    Event::Stray([192, 0, 2, 9].into())
}

fn path(text: &str) -> RepositoryPath {
    RepositoryPath::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_doubtful_machine_is_held_and_not_installed_again() {
    let story = Story::new().boots().then(&stray());
    assert!(matches!(story.decision(), Decision::Hold(_)), "it asks again before it is off");
    for install in [Install::Always, Install::Never] {
        assert!(!matches!(decide(Some(&story.record), install, MOST), Decision::Hold(_)));
    }
    let story = story.wait(60).then(&Event::PoweredOn);
    let State::Held(held) = &story.record.state else { panic!("{:?}", story.record.state) };
    assert_eq!(
        (held.by, held.reason.as_str()),
        (
            Holder::Doubt,
            "while it was being installed, the last of what it needs was sent to 192.0.2.9, an \
             address that no such machine is known by, so its disk may be installed; if it is: \
             bootbox installed 52:54:00:00:00:01, if not: bootbox reinstall 52:54:00:00:00:01"
        )
    );
    assert_eq!(story.decision(), Decision::Hold(held.reason.clone()));
    let released = Story { record: story.record.clone(), ..story };
    let released = released.then(&Event::Ordered(Order::Release));
    assert_eq!(released.proof(), Some(Proof::Presumed), "what it is held for is its disk");
    let again = story.then(&Event::Ordered(Order::Reinstall));
    assert_eq!(again.decision(), Decision::Install);
    assert_eq!(again.installs().then(&Event::PoweredOn).proof(), Some(Proof::Fetched));
}

#[test]
fn what_a_machine_does_itself_settles_a_doubt() {
    let doubtful = || Story::new().boots().then(&stray());
    let held = || doubtful().wait(60).then(&Event::PoweredOn);
    let whole = |story: Story| {
        story.then(&Event::Fetched(Piece::Signature)).then(&Event::Fetched(Piece::Image))
    };
    assert_eq!(doubtful().then(&installed()).proof(), Some(Proof::Reported));
    assert_eq!(held().then(&installed()).proof(), Some(Proof::Reported));
    assert_eq!(whole(doubtful()).then(&Event::PoweredOn).proof(), Some(Proof::Presumed));
    assert!(matches!(whole(held()).decision(), Decision::Disk(_)));
    for story in [doubtful(), held()] {
        let story = story.then(&failed("bad disk"));
        assert!(matches!(story.record.state, State::Failed { .. }), "{:?}", story.record.state);
        assert_eq!(story.decision(), Decision::Install);
    }
    let operators = doubtful().then(&Event::Ordered(Order::Hold("fan".to_owned())));
    let released = operators.then(&Event::Ordered(Order::Release));
    assert_eq!(released.proof(), Some(Proof::Presumed), "a release wipes nothing");
}

#[test]
fn a_doubt_is_cast_once_an_attempt_and_only_where_it_matters() {
    let once = Story::new().boots().then(&stray());
    let lines = once.record.history.len();
    let again = once.then(&Event::Stray([192, 0, 2, 10].into()));
    assert_eq!(again.record.history.len(), lines);
    for story in [
        Story::new(),
        Story::new().installs(),
        Story::new().boots().then(&Event::LastByte),
        Story::new().installs().then(&Event::PoweredOn),
        Story::new().boots().then(&failed("x")).then(&stray()),
    ] {
        let before = story.record.clone();
        assert!(story.then(&stray()).record.says_no_more_than(&before), "{:?}", before.state);
    }
    let mut tried = Story::new();
    for _ in 0..MOST {
        tried = tried.boots();
    }
    let held = tried.then(&Event::PoweredOn).then(&stray());
    let attempt = held.record.state.attempt().and_then(Attempt::doubt);
    assert!(attempt.is_some(), "also after its last attempt");
}

#[test]
fn an_image_that_is_fetched_after_a_failure_counts() {
    let story = Story::new().boots().then(&failed("no network")).then(&Event::LastByte);
    assert!(matches!(story.decision(), Decision::Disk(_)));
    assert_eq!(story.record.attempts, 1);
    assert_eq!(story.then(&Event::PoweredOn).proof(), Some(Proof::Presumed));
}

#[test]
fn an_image_that_goes_elsewhere_after_a_failure_is_doubted() {
    let story = Story::new().boots().then(&failed("no network"));
    assert_eq!(story.decision(), Decision::Install);
    let mut book = Book::default();
    book.put(story.record.clone()).unwrap();
    let sent = Stray::new([192, 0, 2, 9].into(), &path(IMAGE), &Catalog::default());
    assert_eq!(sent.may_be(&book), [story.record.machine.mac]);
    let story = story.then(&stray());
    assert!(matches!(story.decision(), Decision::Hold(_)), "{:?}", story.record.state);
    let story = story.wait(60).then(&Event::PoweredOn);
    assert!(matches!(story.decision(), Decision::Hold(_)), "{:?}", story.record.state);
    assert_eq!(story.then(&failed("no network")).decision(), Decision::Install, "its own word");
}

#[test]
fn an_attempt_that_a_record_of_before_has_is_read() {
    for is_under_way in [false, true] {
        let installing = format!(
            r#"{{"installing":{{"profile":"p","group":"g","started":1,
            "is_under_way":{is_under_way},"has_signature":false,"image":"incomplete"}}}}"#
        );
        let Ok(State::Installing(attempt)) = serde_json::from_str(&installing) else { panic!() };
        assert_eq!(attempt.outcome(), Some(Proof::Presumed), "nobody knows how far it had to come");
    }
}

#[test]
fn what_is_too_much_to_remember_may_be_installed() {
    let goal = |from: u32| Goal {
        files: (from..from + 40).map(|number| format!("/{number}")).collect(),
        ..Goal::default()
    };
    let story = Story::new().then(&Event::PoweredOn).given(goal(0));
    assert_eq!(story.decision(), Decision::Install);
    let story = story.given(goal(100));
    assert!(matches!(story.decision(), Decision::Disk(_)));
    assert_eq!(story.wait(100).then(&Event::PoweredOn).proof(), Some(Proof::Presumed));
}

/// A group of one machine, and the machine's record in the middle of an attempt.
fn installing(number: u8, install: Install, kernel: Source) -> (Group, Record) {
    let mac = format!("52:54:00:00:00:{number:02x}");
    let name = format!("p{number}");
    let pattern = Pattern::parse(&Field::Mac, &mac).unwrap();
    let profile = Profile {
        name: name.clone(),
        kernel,
        chains: false,
        initrd: Vec::new(),
        args: Vec::new(),
        install,
        says_install: true,
        verify: false,
    };
    let group = Group {
        name: name.clone(),
        selector: Selector::new(BTreeMap::from([(Field::Mac, vec![pattern])])),
        profile: Arc::new(profile),
        metadata: Metadata::default(),
        hand_off: HandOff::Silence,
        boot: Default::default(),
        every_machine: false,
    };
    let scripted = Event::Scripted { group: name.clone(), profile: name, token: None };
    let record = Record::new(machine(&mac, None), Moment(1));
    let record = record.after(&scripted, MOST, Moment(2)).unwrap();
    (group, record.after(&Event::Aims(Goal::default()), MOST, Moment(2)).unwrap())
}

#[test]
fn only_who_may_want_the_image_is_doubted() {
    let of = |text: &str| Source::Repository(path(text));
    let all = [
        (Install::Once, of(KERNEL), true),
        (Install::Once, of("/coreos/current/coreos_production_pxe.vmlinuz"), true),
        (Install::Once, Source::Url("http://192.0.2.1/vmlinuz".to_owned()), true),
        (Install::Once, of("/other/vmlinuz"), true),
        (Install::Always, of(KERNEL), false),
        (Install::Once, of("/coreos/1122.2.0/flatcar_production_pxe.vmlinuz"), false),
        (Install::Once, of("/beta/1122.2.0/coreos_production_pxe.vmlinuz"), false),
    ];
    let (mut groups, mut book, mut expected) = (Vec::new(), Book::default(), Vec::new());
    for (number, (install, kernel, is_concerned)) in (1..).zip(all) {
        let (group, record) = installing(number, install, kernel);
        expected.extend(is_concerned.then_some(record.machine.mac));
        groups.push(group);
        book.put(record).unwrap();
    }
    // Its profile is gone from the config: nobody knows what it installs.
    let (_, record) = installing(99, Install::Once, of(KERNEL));
    expected.push(record.machine.mac);
    book.put(record).unwrap();
    let catalog = Catalog::new(groups).unwrap();
    let stray = Stray::new([192, 0, 2, 9].into(), &path(IMAGE), &catalog);
    assert_eq!(stray.may_be(&book), expected);
    // Who fetches images all day finds nobody left.
    for mac in expected {
        let record = book.get(mac).unwrap();
        let doubted = record.after(&Event::Stray(stray.to), MOST, Moment(3)).unwrap();
        book.put(doubted).unwrap();
    }
    assert!(stray.may_be(&book).is_empty());
}

#[test]
fn an_address_of_an_installed_machine_may_be_another_ones_by_now() {
    let address = [192, 0, 2, 8].into();
    let path = UrlPath::parse(b"/ks.cfg").unwrap();
    let files = BTreeSet::from(["/ks.cfg".to_owned()]);
    let goal = Goal { files, ..Goal::default() };
    let installing = Story::new().then(&scripted()).then(&Event::Aims(goal)).record;
    let holder = |events: &[Event]| {
        let machine = Machine::heard("52:54:00:00:00:02".parse().unwrap(), None, None);
        let fresh = Record::new(machine, Moment(1));
        let events = [Event::Address(address)].iter().chain(events).cloned().collect::<Vec<_>>();
        events.iter().fold(fresh, |record, it| record.after(it, MOST, Moment(2)).unwrap())
    };
    for (name, events, is_doubted) in [
        ("installed", vec![scripted(), installed()], true),
        ("never installed", vec![], true),
        ("being installed itself", vec![scripted()], false),
    ] {
        let mut book = Book::default();
        book.put(installing.clone()).unwrap();
        book.put(holder(&events)).unwrap();
        let stray = Stray::of(address, &path, &Catalog::default(), &book);
        assert_eq!(stray.is_some(), is_doubted, "{name}");
    }
}
