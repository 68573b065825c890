//! What costs a line of the log.

use super::*;
use crate::trace::{End, Protocol, Transfer};

const MAC: &str = "52:54:00:00:00:01";

fn transfer(end: End) -> Step {
    Step::Transfer(Transfer {
        protocol: Protocol::Tftp,
        file: "snponly.efi".to_owned(),
        end,
        bytes: 0,
        size: 9,
        took: Duration::ZERO,
    })
}

#[test]
fn what_is_only_for_debugging_takes_no_other_line_its_room() {
    let journal = Journal::new();
    let who = Who::Machine(MAC.parse().unwrap());
    let [probe, complete] = [End::Probe, End::Complete].map(transfer);
    for _ in 0..2 * BURST {
        journal.step(who, &probe);
    }
    journal.step(who, &complete);
    assert_eq!(journal.pages().throttle.take_held_back(), 0);
    for _ in 0..2 * BURST {
        journal.step(who, &complete);
    }
    assert!(journal.pages().throttle.take_held_back() > 0);
}

#[test]
fn an_installed_machine_has_another_boot_at_each_power_on() {
    let journal = Journal::new();
    let mac = MAC.parse().unwrap();
    let leave = Step::LeaveAlone { reason: "it is installed".to_owned() };
    let boots =
        [(true, "first"), (false, "asks again"), (true, "an hour later")].map(|(is_news, _)| {
            journal.once(mac, &leave, is_news);
            let mut pages = journal.pages();
            assert!(pages.boots.repeats(mac, &leave.to_string(), Instant::now()), "it was told");
            let heading = pages.boots.note(Who::Machine(mac), &leave, Instant::now()).unwrap();
            heading.boot
        });
    assert_eq!(boots[0], boots[1]);
    assert_ne!(boots[1], boots[2]);
}
