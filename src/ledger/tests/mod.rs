mod choice;
mod claims;
mod doubt;
mod presumed;
mod step;

use super::*;
use std::net::Ipv4Addr;

use crate::{firmware::Means, machine::SharedUuids, path::UrlPath, token::Token};

const MOST: u32 = 3;
const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

/// A machine on its way, one second a step.
struct Story {
    record: Record,
    now: u64,
}

impl Story {
    fn new() -> Self {
        Self { record: Record::new(machine("52:54:00:00:00:01", None), Moment(1000)), now: 1000 }
    }

    fn wait(mut self, seconds: u64) -> Self {
        self.now += seconds;
        self
    }

    fn then(mut self, event: &Event) -> Self {
        self.now += 1;
        self.record = self.record.after(event, MOST, Moment(self.now)).unwrap();
        self
    }

    fn refuses(&self, event: &Event) -> Refusal {
        self.record.after(event, MOST, Moment(self.now)).unwrap_err()
    }

    /// Power-on to kernel.
    fn boots(self) -> Self {
        let Decision::Install = decide(Some(&self.record), Install::Once, MOST) else {
            panic!("{:?}", self.record.state)
        };
        let story = self.then(&Event::PoweredOn).given(Goal::default());
        story.then(&Event::Fetched(Piece::Boot))
    }

    /// A script that leads to this.
    fn given(self, goal: Goal) -> Self {
        self.then(&scripted()).then(&Event::Aims(goal)).then(&Event::AskedBy(HERE))
    }

    fn installs(self) -> Self {
        self.boots()
            .then(&Event::Fetched(Piece::Signature))
            .then(&Event::LastByte)
            .then(&Event::SentTo(HERE))
            .then(&Event::Verified)
            .then(&Event::Fetched(Piece::Image))
    }

    fn decision(&self) -> Decision {
        decide(Some(&self.record), Install::Once, MOST)
    }

    fn proof(&self) -> Option<Proof> {
        let State::Installed(installed) = &self.record.state else { return None };
        Some(installed.proof)
    }
}

fn machine(mac: &str, uuid: Option<&str>) -> Machine {
    Machine::heard(mac.parse().unwrap(), uuid.map(|uuid| uuid.parse().unwrap()), None)
}

fn scripted() -> Event {
    let token = Some(Pass { token: Token::new([0; 16]), made: Moment(1000) });
    Event::Scripted { group: "lab".to_owned(), profile: "coreos".to_owned(), token }
}

fn failed(reason: &str) -> Event {
    Event::Reported(Report::Failed(reason.to_owned()))
}

fn installed() -> Event {
    Event::Reported(Report::Installed)
}

#[test]
fn the_posts_script_installs_once_though_nobody_reports() {
    let story = Story::new().installs();
    assert!(matches!(story.decision(), Decision::Disk(_)), "before the power-on is heard");
    let story = story.then(&Event::PoweredOn);
    assert_eq!(story.proof(), Some(Proof::Fetched));
    assert!(matches!(story.decision(), Decision::Disk(_)));
    assert!(story.record.token.is_none(), "its token has expired");
}

#[test]
fn a_report_installs_at_once_and_may_be_said_twice() {
    let story = Story::new().boots().then(&installed()).then(&installed());
    assert_eq!(story.proof(), Some(Proof::Reported));
    assert_eq!(story.refuses(&failed("late")), Refusal::NotInstalling);
}

#[test]
fn half_known_never_means_wipe() {
    let boots = || Story::new().boots();
    for story in [
        boots().then(&Event::LastByte),
        boots().then(&Event::Fetched(Piece::Image)),
        boots().then(&Event::Fetched(Piece::Signature)).then(&Event::LastByte),
    ] {
        assert!(matches!(story.decision(), Decision::Disk(_)), "{:?}", story.record.state);
        assert_eq!(story.then(&Event::PoweredOn).proof(), Some(Proof::Presumed));
    }
}

#[test]
fn a_power_cut_in_the_image_means_another_attempt_and_the_third_is_the_last() {
    let mut story = Story::new();
    for attempt in 1..=MOST {
        story = story.boots().then(&Event::Fetched(Piece::Signature));
        assert_eq!(story.record.attempts, attempt);
    }
    let story = story.then(&Event::PoweredOn);
    let Decision::Hold(reason) = story.decision() else { panic!("{:?}", story.record.state) };
    assert_eq!(
        reason,
        "held after 3 attempts that did not end in an installed machine, \
         last: it came back before its image was complete"
    );
    let released = story.then(&Event::Ordered(Order::Release));
    assert_eq!(released.proof(), Some(Proof::Presumed), "a release wipes nothing");
}

#[test]
fn a_failed_script_is_held_after_the_last_attempt_though_the_image_was_whole() {
    let mut story = Story::new();
    for _ in 0..MOST {
        assert_eq!(story.decision(), Decision::Install);
        story = story.installs().then(&failed("BAD signature"));
    }
    let Decision::Hold(reason) = story.decision() else { panic!("{:?}", story.record.state) };
    assert!(reason.ends_with("last: BAD signature"), "{reason}");
    let story = story.then(&Event::PoweredOn);
    assert!(matches!(story.decision(), Decision::Hold(_)));
    assert_eq!(story.then(&installed()).proof(), Some(Proof::Reported), "its script's own word");
}

#[test]
fn an_installed_report_after_a_failed_one_counts() {
    let story = Story::new().boots().then(&failed("no network")).then(&installed());
    assert_eq!(story.proof(), Some(Proof::Reported));
}

#[test]
fn a_script_that_was_only_read_is_no_attempt() {
    let mut story = Story::new();
    for _ in 0..10 {
        story = story.then(&Event::PoweredOn).then(&scripted());
    }
    assert_eq!((story.record.attempts, story.decision()), (1, Decision::Install));
}

#[test]
fn what_ends_late_still_counts() {
    let story = Story::new().boots().then(&Event::PoweredOn).then(&Event::Fetched(Piece::Image));
    assert!(matches!(story.decision(), Decision::Disk(_)));
}

#[test]
fn an_operator_reinstalls_holds_and_releases() {
    let story = Story::new().installs().then(&Event::PoweredOn);
    assert_eq!(story.refuses(&Event::Ordered(Order::Release)), Refusal::NotHeld);
    let held = story.then(&Event::Ordered(Order::Hold("broken fan".to_owned())));
    let Decision::Disk(reason) = held.decision() else { panic!("{:?}", held.record.state) };
    assert!(
        reason
            .starts_with("broken fan; coreos is installed since 1970-01-01 00:16 UTC: it fetched"),
        "{reason}"
    );
    let released = held.then(&Event::Ordered(Order::Release));
    assert_eq!(released.proof(), Some(Proof::Fetched), "a hold forgets nothing");
    let again = released.then(&Event::Ordered(Order::Reinstall));
    assert_eq!(again.decision(), Decision::Install);
    assert_eq!(again.installs().then(&Event::PoweredOn).proof(), Some(Proof::Fetched));

    let fresh = Story::new().then(&Event::Ordered(Order::Hold("wait".to_owned())));
    for install in [Install::Always, Install::Never, Install::Once] {
        let decision = decide(Some(&fresh.record), install, MOST);
        let reason = "held by the operator: wait".to_owned();
        assert_eq!(decision, Decision::Disk(reason), "nothing was done to its disk: {install:?}");
    }
    let half = Story::new().boots().then(&Event::Ordered(Order::Hold("wait".to_owned())));
    assert_eq!(half.decision(), Decision::Hold("wait".to_owned()), "its disk may be half written");
}

#[test]
fn what_a_profile_says_decides_too() {
    let story = Story::new().installs().then(&Event::PoweredOn);
    let decision = |install| decide(Some(&story.record), install, MOST);
    assert_eq!(decision(Install::Never), Decision::Boot);
    assert_eq!(decision(Install::Always), Decision::Install);
    assert_eq!(decide(None, Install::Once, MOST), Decision::Install);
    assert_eq!(decide(None, Install::Never, MOST), Decision::Boot);
}

#[test]
fn the_installers_own_restart_is_no_return_from_the_disk() {
    let on = |story: Story| story.wait(100).then(&Event::PoweredOn);
    for story in [Story::new().boots().then(&installed()), Story::new().installs()] {
        let restarted = on(story);
        assert!(restarted.proof().is_some());
        let twice = on(on(restarted));
        assert!(!twice.record.returns_from_its_disk(), "somebody switched it off and on twice");
        assert!(on(twice).record.returns_from_its_disk());
    }
}

#[test]
fn a_disk_that_does_not_boot_is_told_and_not_installed_again() {
    let mut story = Story::new().installs().then(&Event::PoweredOn);
    for _ in 0..2 {
        story = story.wait(60).then(&Event::PoweredOn).wait(4).then(&Event::PoweredOn);
        assert!(!story.record.returns_from_its_disk());
    }
    let story = story.wait(60).then(&Event::PoweredOn);
    assert!(story.record.returns_from_its_disk());
    assert!(matches!(story.decision(), Decision::Disk(_)));
    let well = story.wait(4000).then(&Event::PoweredOn);
    assert!(!well.record.returns_from_its_disk(), "it ran for an hour");
}

#[test]
fn http_boot_after_pxe_is_no_second_power_on() {
    let story = Story::new().installs().then(&Event::PoweredOn).wait(600).then(&Event::PoweredOn);
    let is_news =
        |by, later: u64| story.record.is_power_on_news(MOST, by, Moment(story.now + later));
    let found = [(Means::Http, 90), (Means::Http, 200), (Means::Pxe, 20), (Means::Pxe, 90)]
        .map(|(by, later)| is_news(by, later));
    assert_eq!(found, [false, true, false, true]);
    // An attempt that is over by now was ended by another power-on, however soon.
    let done = Story::new().boots().then(&Event::LastByte);
    assert!(done.record.is_power_on_news(MOST, Means::Http, Moment(done.now + 60)));
}

#[test]
fn progress_that_is_told_twice_is_one_line() {
    let report = Event::Reported(Report::Progress("half".to_owned()));
    let once = Story::new().boots().then(&report);
    let lines = once.record.history.len();
    let twice = once.wait(40).then(&report);
    assert_eq!(twice.record.history.len(), lines);
}

#[test]
fn what_a_machine_does_cannot_make_its_record_grow() {
    let mut story = Story::new().boots();
    for last in 0..=255 {
        let report = Report::Progress(format!("{last} % of it"));
        let story_then = story.wait(40).then(&Event::Address([10, 0, 0, last].into()));
        story = story_then.then(&Event::Reported(report));
    }
    assert_eq!(story.record.history.len(), 100);
    assert_eq!(story.record.addresses.last(), Some(&[10, 0, 0, 255].into()));
    assert_eq!(story.record.addresses.len(), 4);
}

#[test]
fn a_record_outlives_the_process() {
    let story = Story::new().installs();
    let text = serde_json::to_string(&story.record).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), story.record);
}

#[test]
fn files_are_known_by_their_names() {
    for (path, piece) in [
        ("coreos/1122.2.0/coreos_production_image.bin.bz2", Piece::Image),
        ("coreos/1122.2.0/coreos_production_image.bin.bz2.sig", Piece::Signature),
        ("flatcar_production_vmware_raw_image.bin.bz2", Piece::Image),
        ("coreos/1122.2.0/coreos_production_pxe_image.cpio.gz", Piece::Boot),
        ("coreos/1122.2.0/coreos_production_pxe_image.cpio.gz.sig", Piece::Boot),
        ("x/fedora-coreos-42.1-metal.x86_64.raw.xz", Piece::Image),
        ("x/fedora-coreos-42.1-metal.x86_64.raw.xz.sig", Piece::Signature),
        ("coreos/ignition.json", Piece::Boot),
    ] {
        assert_eq!(Piece::of(path.as_bytes()), piece, "{path}");
    }
}

const UUID: &str = "564da6d2-1706-6343-dc2d-0123456789ab";
const SWAPPED: &str = "d2a64d56-0617-4363-dc2d-0123456789ab";

#[test]
fn the_same_machine_by_another_card_is_seen() {
    let mut book = Book::default();
    let first = machine("52:54:00:00:00:01", Some(UUID));
    let other = machine("52:54:00:00:00:02", Some(SWAPPED));
    assert_eq!(book.find(&first, &SharedUuids::default()), Found::Nothing);
    let fresh = Record::new(first.clone(), Moment(1));
    book.put(fresh.clone()).unwrap();
    assert_eq!(book.find(&first, &SharedUuids::default()), Found::Own(&fresh));
    assert_eq!(
        book.find(&other, &SharedUuids::default()),
        Found::Nothing,
        "nothing was done to it yet"
    );
    let busy = fresh.after(&scripted(), MOST, Moment(2)).unwrap();
    book.put(busy.clone()).unwrap();
    assert_eq!(book.find(&other, &SharedUuids::default()), Found::Twin(&busy));
    let shared = "03000200-0400-0500-0006-000700080009";
    let board = Record::new(machine("52:54:00:00:00:03", Some(shared)), Moment(1));
    book.put(board.after(&scripted(), MOST, Moment(2)).unwrap()).unwrap();
    assert_eq!(
        book.find(&machine("52:54:00:00:00:04", Some(shared)), &SharedUuids::default()),
        Found::Nothing
    );
    book.remove(first.mac).unwrap();
    assert_eq!(book.find(&other, &SharedUuids::default()), Found::Nothing);
}

#[test]
fn an_address_is_the_machines_that_had_it_last() {
    let mut book = Book::default();
    let address = [10, 0, 0, 7].into();
    for (mac, at) in [("52:54:00:00:00:01", 10), ("52:54:00:00:00:02", 20)] {
        let record = Record::new(machine(mac, None), Moment(at));
        book.put(record.after(&Event::Address(address), MOST, Moment(at)).unwrap()).unwrap();
    }
    let mac = |book: &Book| book.at(address).map(|record| record.machine.mac.to_string());
    assert_eq!(mac(&book).as_deref(), Some("52:54:00:00:00:02"));
    book.remove("52:54:00:00:00:02".parse().unwrap()).unwrap();
    assert_eq!(mac(&book), None);
}

#[test]
fn a_token_opens_until_the_next_or_a_day_later() {
    let mut book = Book::default();
    let record = Record::new(machine("52:54:00:00:00:01", None), Moment(1000));
    let record = record.after(&scripted(), MOST, Moment(1000)).unwrap();
    book.put(record.clone()).unwrap();
    assert!(book.by_token(Token::new([0; 16]), Moment(1000 + 24 * 3600 - 1)).is_some());
    assert!(book.by_token(Token::new([0; 16]), Moment(1000 + 24 * 3600)).is_none());
    assert!(book.by_token(Token::new([1; 16]), Moment(1000)).is_none());
    let token = Some(Pass { token: Token::new([1; 16]), made: Moment(1001) });
    let next = Event::Scripted { group: "g".to_owned(), profile: "p".to_owned(), token };
    book.put(record.after(&next, MOST, Moment(1001)).unwrap()).unwrap();
    assert!(book.by_token(Token::new([0; 16]), Moment(1001)).is_none());
    assert!(book.by_token(Token::new([1; 16]), Moment(1001)).is_some());
}

#[test]
fn progress_is_one_line_for_a_while() {
    let report = |text: &str| Event::Reported(Report::Progress(text.to_owned()));
    let story = Story::new().boots().then(&report("10 %")).then(&report("20 %"));
    let story = story.wait(60).then(&report("90 %"));
    let lines: Vec<&str> = story.record.history.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(lines[lines.len() - 2..], ["it reports: 20 %", "it reports: 90 %"]);
}

#[test]
fn a_hold_in_the_middle_of_an_installation_loses_nothing_of_it() {
    let held = |story: Story| story.then(&Event::Ordered(Order::Hold("fan".to_owned())));
    let released = |story: Story| story.then(&Event::Ordered(Order::Release));
    let boots = || Story::new().boots();
    for story in [
        held(Story::new().installs()),
        held(boots().then(&Event::LastByte)),
        held(boots()).then(&Event::LastByte).then(&Event::PoweredOn),
        held(boots()).then(&Event::Fetched(Piece::Signature)).then(&Event::Fetched(Piece::Image)),
        held(boots()).then(&installed()),
        held(boots().then(&failed("x"))).then(&installed()),
        held(held(boots()).then(&installed())),
    ] {
        assert!(matches!(story.record.state, State::Held(_)), "{:?}", story.record.state);
        assert!(matches!(story.decision(), Decision::Disk(_)), "{:?}", story.record.state);
        let story = released(story);
        assert!(matches!(story.decision(), Decision::Disk(_)), "{:?}", story.record.state);
        assert!(story.then(&Event::PoweredOn).proof().is_some());
    }
    for story in [held(boots()), held(Story::new().installs()).then(&failed("bad disk"))] {
        assert!(matches!(story.decision(), Decision::Hold(_)), "{:?}", story.record.state);
        assert!(matches!(released(story).decision(), Decision::Disk(_)), "a release wipes nothing");
    }
    let read = held(Story::new().given(Goal::default()));
    assert!(matches!(released(read).decision(), Decision::Disk(_)), "though nothing ever began");
}

#[test]
fn what_ends_after_the_last_attempt_was_given_up_still_counts() {
    let mut story = Story::new();
    for _ in 0..MOST {
        story = story.boots();
    }
    let story = story.then(&Event::PoweredOn);
    assert!(matches!(story.decision(), Decision::Hold(_)));
    let late = story.then(&Event::LastByte);
    assert!(matches!(late.decision(), Decision::Disk(_)));
    let late = late.then(&installed());
    assert_eq!(late.proof(), Some(Proof::Reported));
}

#[test]
fn a_hold_that_a_record_of_before_has_is_read() {
    let held = r#"{"held":{"reason":"x","by":"operator","installed":null}}"#;
    assert!(matches!(serde_json::from_str(held), Ok(State::Held(Held { attempt: None, .. }))));
}

#[test]
fn no_word_but_the_operators_hides_a_machines_other_card() {
    let [one, two, other] =
        [1, 2, 3].map(|last| machine(&format!("52:54:00:00:00:0{last}"), Some(UUID)));
    let fresh = |machine: &Machine| Record::new(machine.clone(), Moment(1));
    let then = |record: Record, event: &Event| record.after(event, MOST, Moment(2)).unwrap();
    // Somebody asks in its name, as `curl …/ipxe?mac=…` does.
    let told = Machine::told(one.mac, None, [].into());
    let first = then(then(fresh(&one), &scripted()), &Event::Told(told));
    let second = then(fresh(&two), &Event::Twin("it has the UUID of the first".to_owned()));
    let mut book = Book::default();
    book.put(first.clone()).unwrap();
    assert_eq!(book.find(&other, &SharedUuids::default()), Found::Twin(&first));
    book.put(second.clone()).unwrap();
    assert!(
        matches!(book.find(&other, &SharedUuids::default()), Found::Twin(_)),
        "two that nobody spoke of"
    );
    let said = then(second, &Event::Ordered(Order::Reinstall));
    book.put(said).unwrap();
    assert_eq!(
        book.find(&other, &SharedUuids::default()),
        Found::Nothing,
        "the operator: these are two machines"
    );
    // After an operator's hold and its end it boots its own disk, whatever its twin does.
    let held = then(fresh(&other), &Event::Ordered(Order::Hold("x".to_owned())));
    let released = then(held, &Event::Ordered(Order::Release));
    let mut book = Book::default();
    book.put(first).unwrap();
    book.put(released).unwrap();
    let Found::Own(own) = book.find(&other, &SharedUuids::default()) else { panic!("it is known") };
    assert!(matches!(decide(Some(own), Install::Once, MOST), Decision::Disk(_)));
}

#[test]
fn reinstalling_a_machine_that_nobody_doubted_says_nothing_of_its_uuid() {
    let [one, two, third] =
        [1, 2, 3].map(|last| machine(&format!("52:54:00:00:00:0{last}"), Some(UUID)));
    let then = |record: Record, event: &Event| record.after(event, MOST, Moment(2)).unwrap();
    let installs = |record: Record| then(then(record, &scripted()), &installed());
    // One machine with three cards: the second was seen, and then held by hand.
    let held = then(Record::new(two, Moment(1)), &Event::Twin("x".to_owned()));
    let held = then(held, &Event::Ordered(Order::Hold("mine".to_owned())));
    for before in [
        installs(Record::new(one.clone(), Moment(1))),
        then(Record::new(one.clone(), Moment(1)), &scripted()),
        then(then(Record::new(one, Moment(1)), &scripted()), &failed("x")),
    ] {
        let again = installs(then(before, &Event::Ordered(Order::Reinstall)));
        let mut book = Book::default();
        book.put(again).unwrap();
        book.put(held.clone()).unwrap();
        assert!(
            matches!(book.find(&third, &SharedUuids::default()), Found::Twin(_)),
            "its disk is installed"
        );
    }
}

#[test]
fn a_machine_that_has_no_hold_yet_is_made_another_one_by_the_operators_word() {
    let [one, two] = [1, 2].map(|last| machine(&format!("52:54:00:00:00:0{last}"), Some(UUID)));
    let then = |record: Record, event: &Event| record.after(event, MOST, Moment(2)).unwrap();
    let mut book = Book::default();
    book.put(then(Record::new(one, Moment(1)), &scripted())).unwrap();
    let fresh = Record::new(two.clone(), Moment(1));
    book.put(fresh.clone()).unwrap();
    assert!(matches!(book.find(&two, &SharedUuids::default()), Found::Twin(_)));
    let said = then(fresh, &Event::Ordered(Order::Reinstall));
    book.put(said.clone()).unwrap();
    assert_eq!(book.find(&two, &SharedUuids::default()), Found::Own(&said));
}

#[test]
fn a_uuid_that_an_operator_lists_makes_no_twins() {
    let mut book = Book::default();
    let first = machine("52:54:00:00:00:01", Some(UUID));
    let busy = Record::new(first, Moment(1)).after(&scripted(), 3, Moment(2)).unwrap();
    book.put(busy.clone()).unwrap();
    let other = machine("52:54:00:00:00:02", Some(SWAPPED));
    assert_eq!(book.find(&other, &SharedUuids::default()), Found::Twin(&busy));
    assert_eq!(book.find(&other, &SharedUuids::new([UUID.parse().unwrap()])), Found::Nothing);
}
