//! Which step belongs to which boot, and what is told of boots that stopped.

use super::*;
use crate::{
    firmware::Form,
    trace::{End, Protocol, Transfer},
};

const AN_HOUR: u64 = 3600;
const MAC: &str = "52:54:00:00:00:01";

struct Story {
    boots: Boots,
    now: Instant,
    mac: Mac,
}

impl Story {
    fn new() -> Self {
        Self { boots: Boots::new(7), now: Instant::now(), mac: MAC.parse().unwrap() }
    }

    fn step(&mut self, who: Who, step: &Step) -> Option<BootId> {
        self.now += Duration::from_secs(1);
        self.boots.note(who, step, self.now).map(|heading| heading.boot)
    }

    fn machine(&mut self, step: &Step) -> BootId {
        self.step(Who::Machine(self.mac), step).unwrap()
    }
}

fn offer(stage: Stage) -> Step {
    Step::Offer { firmware: None, stage, boot_file: String::new(), form: Form::Direct }
}

fn transfer() -> Step {
    Step::Transfer(a_transfer())
}

fn a_transfer() -> Transfer {
    Transfer {
        protocol: Protocol::Tftp,
        file: "undionly.kpxe".to_owned(),
        end: End::Complete,
        bytes: 1,
        size: 1,
        took: Duration::ZERO,
    }
}

fn script() -> Step {
    Step::Script { group: "g".to_owned(), profile: "p".to_owned() }
}

#[test]
fn a_power_cycle_before_the_boot_got_further_is_a_new_boot() {
    let by_http = || Step::Offer {
        firmware: None,
        stage: Stage::Rom,
        boot_file: "http://192.0.2.1/snponly.efi".to_owned(),
        form: Form::Http,
    };
    let rom = || offer(Stage::Rom);
    for (name, first, pause, second, is_new) in [
        ("PXE repeats itself for 32 s", rom(), 32, rom(), false),
        ("a ROM after a minute", rom(), 60, rom(), true),
        ("an iPXE ROM after a minute", offer(Stage::Ipxe), 60, offer(Stage::Ipxe), true),
        ("iPXE that came by a slow line", rom(), 90, offer(Stage::Ipxe), false),
        ("HTTP Boot after PXE over both IPs", rom(), 150, by_http(), false),
        ("HTTP Boot after four minutes", by_http(), 240, by_http(), true),
    ] {
        let mut story = Story::new();
        let before = story.machine(&first);
        story.now += Duration::from_secs(pause - 1);
        assert_eq!(story.machine(&second) != before, is_new, "{name}");
    }
}

#[test]
fn only_the_whole_boot_file_is_an_http_boot() {
    let by_http = |boot_file: &str, form| Step::Offer {
        firmware: None,
        stage: Stage::Rom,
        boot_file: boot_file.to_owned(),
        form,
    };
    let of = |file: &str, end| {
        let (protocol, file) = (Protocol::Http, file.to_owned());
        Step::Transfer(Transfer { protocol, file, end, ..a_transfer() })
    };
    let url = "http://192.0.2.1/snponly.efi";
    let aborted = End::Abort { reason: "it went away".to_owned() };
    for (offer, transfer, is_one) in [
        (by_http(url, Form::Http), of("/snponly.efi", End::Complete), true),
        (by_http(url, Form::Http), of("/snponly.efi", End::Probe), false),
        (by_http(url, Form::Http), of("/snponly.efi", aborted), false),
        // Somebody else discovered in the name of a machine that boots by PXE.
        (by_http(url, Form::Http), of("/coreos/vmlinuz", End::Complete), false),
        (by_http(url, Form::Http), transfer(), false),
        (by_http("snponly.efi", Form::Direct), of("/snponly.efi", End::Complete), false),
    ] {
        let mut story = Story::new();
        story.machine(&offer);
        story.machine(&transfer);
        let fetched = story.boots.fetched(story.mac);
        assert_eq!(fetched.by_http_boot.is_some(), is_one, "{transfer:?}");
        assert!(fetched.any.is_some());
    }
}

#[test]
fn one_boot_keeps_its_id_from_the_first_discover_to_the_kernel() {
    let mut story = Story::new();
    let address = Ipv4Addr::new(192, 0, 2, 7);
    let id = story.machine(&offer(Stage::Rom));
    assert_eq!(story.machine(&offer(Stage::Rom)), id, "a repeated discover");
    assert!(story.boots.learn(story.mac, address));
    assert_eq!(story.step(Who::Address(address), &transfer()), Some(id));
    assert_eq!(story.machine(&offer(Stage::Ipxe)), id);
    assert_eq!(story.machine(&offer(Stage::Ipxe)), id, "iPXE repeats its discover");
    assert_eq!(story.machine(&script()), id);
    assert_eq!(story.step(Who::Address(address), &transfer()), Some(id));
}

#[test]
fn a_machine_that_starts_over_gets_a_new_id() {
    let mut story = Story::new();
    let first = story.machine(&offer(Stage::Ipxe));
    story.machine(&script());
    let second = story.machine(&offer(Stage::Ipxe));
    assert_ne!(first, second);
    story.boots.learn(story.mac, Ipv4Addr::new(192, 0, 2, 7));
    story.machine(&transfer());
    assert_ne!(story.machine(&offer(Stage::Rom)), second);
    let before = story.machine(&offer(Stage::Rom));
    story.now += FORGOTTEN + Duration::from_secs(1);
    assert_ne!(story.machine(&offer(Stage::Rom)), before);
}

#[test]
fn an_address_belongs_to_the_machine_that_took_it_last() {
    let mut story = Story::new();
    let address = Ipv4Addr::new(192, 0, 2, 7);
    assert!(!story.boots.learn(story.mac, address), "a laptop is not followed");
    assert_eq!(story.step(Who::Address(address), &transfer()), None);
    story.machine(&offer(Stage::Rom));
    assert!(story.boots.learn(story.mac, address));
    assert!(!story.boots.learn(story.mac, address), "no news");
    let other: Mac = "52:54:00:00:00:02".parse().unwrap();
    let theirs = story.step(Who::Machine(other), &offer(Stage::Rom));
    assert!(story.boots.learn(other, address));
    assert_eq!(story.step(Who::Address(address), &transfer()), theirs);
    assert!(story.boots.learn(story.mac, Ipv4Addr::new(192, 0, 2, 8)));
    assert_eq!(story.step(Who::Address(address), &transfer()), theirs, "still theirs");
}

#[test]
fn a_notice_is_repeated_within_one_boot() {
    let mut story = Story::new();
    story.machine(&offer(Stage::Rom));
    let (mac, now) = (story.mac, story.now);
    let told: Vec<bool> =
        ["a", "a", "b"].map(|notice| story.boots.repeats(mac, notice, now)).into();
    assert_eq!(told, [false, true, false]);
    assert!(!story.boots.repeats(mac, "b", now + FORGOTTEN + Duration::from_secs(1)));
    story.machine(&offer(Stage::Ipxe));
    story.machine(&offer(Stage::Rom));
    assert!(!story.boots.repeats(mac, "b", now), "another boot");
}

#[test]
fn a_card_with_ipxe_that_is_held_starts_over_at_its_next_discover() {
    let mut story = Story::new();
    let held = Step::Notice { reason: "held".to_owned() };
    let first = story.machine(&offer(Stage::Ipxe));
    assert_eq!(story.machine(&held), first);
    assert!(!story.boots.repeats(story.mac, "held", story.now));
    assert_ne!(story.machine(&offer(Stage::Ipxe)), first);
    assert!(!story.boots.repeats(story.mac, "held", story.now), "it is told at each power-on");
}

#[test]
fn only_a_machine_in_its_ipxe_stage_runs_ipxe() {
    let mut story = Story::new();
    let window = Duration::from_secs(60);
    story.machine(&offer(Stage::Rom));
    assert!(!story.boots.runs_ipxe(story.mac, story.now, window));
    story.machine(&offer(Stage::Ipxe));
    assert!(story.boots.runs_ipxe(story.mac, story.now, window));
    assert!(!story.boots.runs_ipxe(story.mac, story.now + window * 2, window));
}

#[test]
fn a_lan_full_of_made_up_machines_costs_no_memory() {
    let mut story = Story::new();
    for number in 0..=u32::try_from(2 * MOST.get()).unwrap() {
        let [a, b, c, d] = number.to_be_bytes();
        let mac = Mac::new([2, 0, a, b, c, d]).unwrap();
        story.step(Who::Machine(mac), &offer(Stage::Rom));
        story.boots.learn(mac, number.into());
    }
    let remembered = [story.boots.by_mac.len(), story.boots.by_address.len()];
    assert_eq!(remembered, [MOST.get(); 2]);
}

#[test]
fn a_machine_that_is_off_is_told_of_once() {
    let mut story = Story::new();
    let heard = |_| Heard { hears: true, ..Heard::default() };
    for _ in 0..14 {
        story.machine(&offer(Stage::Rom));
    }
    let told = |story: &mut Story, seconds: u64| {
        story.now += Duration::from_secs(seconds);
        story.boots.stops(story.now, heard, || true).len()
    };
    let hour = AN_HOUR + 60;
    assert_eq!([2, hour, hour, 7 * hour].map(|later| told(&mut story, later)), [1, 0, 0, 0]);
    for _ in 0..14 {
        story.machine(&offer(Stage::Rom));
    }
    assert_eq!(told(&mut story, 2), 1, "it is on again: another boot");
}

#[test]
fn a_stop_that_found_no_room_in_the_log_is_told_later() {
    let mut story = Story::new();
    for _ in 0..14 {
        story.machine(&offer(Stage::Rom));
    }
    let heard = |_| Heard { hears: true, ..Heard::default() };
    assert!(story.boots.stops(story.now, heard, || false).is_empty(), "there is no room");
    assert_eq!(story.boots.stops(story.now, heard, || true).len(), 1);
    assert!(story.boots.stops(story.now, heard, || true).is_empty(), "it was told");
}

#[test]
fn a_dhcp_server_that_is_heard_hours_later_makes_no_stop() {
    let mut story = Story::new();
    story.machine(&offer(Stage::Rom));
    story.boots.requests(story.mac, None, story.now);
    let heard = |_| Heard { dhcp_server: Some([192, 0, 2, 1].into()), ..Heard::default() };
    story.now += Duration::from_secs(60);
    assert!(
        story.boots.stops(story.now, |_| Heard::default(), || true).is_empty(),
        "none is known"
    );
    story.now += Duration::from_secs(AN_HOUR);
    assert!(story.boots.stops(story.now, heard, || true).is_empty(), "it runs by now");
}

#[test]
fn a_broken_download_of_a_system_that_has_run_for_long_is_no_stop() {
    let broken = Step::Transfer(Transfer { end: End::TimeOut, ..a_transfer() });
    for (starts_over, expected) in [(false, 0), (true, 1)] {
        let mut story = Story::new();
        story.machine(&offer(Stage::Ipxe));
        story.machine(&Step::Disk { reason: "done".to_owned() });
        let before = story.machine(&transfer());
        story.now += FORGOTTEN;
        if starts_over {
            story.machine(&offer(Stage::Ipxe));
            story.boots.learn(story.mac, [192, 0, 2, 7].into());
            story.boots.comes([192, 0, 2, 7].into(), story.now);
        }
        assert_ne!(story.machine(&broken), before);
        story.now += Duration::from_secs(61);
        let stops = story.boots.stops(story.now, |_| Heard::default(), || true);
        assert_eq!(stops.len(), expected, "{stops:?}");
    }
}

#[test]
fn a_stop_is_explained_by_the_lan_that_the_machine_is_on() {
    let mut story = Story::new();
    let [here, there] = [Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(198, 51, 100, 2)];
    for _ in 0..14 {
        story.machine(&offer(Stage::Rom));
        story.boots.discovers(story.mac, here);
    }
    let elsewhere = Heard { dhcp_server: Some(there), ..Heard::default() };
    let heard = |ours| if ours == Some(here) { Heard::default() } else { elsewhere };
    let stops = story.boots.stops(story.now, heard, || true);
    let heards: Vec<_> = stops.iter().map(|(_, stop)| stop.clone()).collect();
    assert!(
        matches!(&heards[..], [Stop::NoDhcpServer { heard, .. }] if *heard == Heard::default()),
        "{heards:?}"
    );
}
