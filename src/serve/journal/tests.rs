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
