//! Datagrams and time in, datagrams out.

use super::*;
use crate::tftp::{Answer, answer};

const MS: Duration = Duration::from_millis(1);

/// A session under test, with a clock that only moves when told.
struct Transfer {
    session: Session,
    now: Instant,
}

/// Starts a transfer of `size` bytes on Ethernet and says what is sent first.
fn start(options: &[&str], size: u64) -> (Transfer, Action) {
    let mut packet = b"\0\x01x\0octet\0".to_vec();
    for option in options {
        packet.extend(option.bytes());
        packet.push(0);
    }
    let Answer::Open(request) = answer(&packet) else { panic!("{options:?} is not served") };
    let now = Instant::now();
    let (session, first) = Session::start(&request, size, 1500, now);
    (Transfer { session, now }, first)
}

impl Transfer {
    fn ack(&mut self, block: u16) -> Action {
        let [high, low] = block.to_be_bytes();
        self.session.take(&[0, 4, high, low], self.now)
    }

    fn error(&mut self, code: u8, text: &str) -> Action {
        self.session.take(&[&[0, 5, 0, code], text.as_bytes(), b"\0"].concat(), self.now)
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    /// Moves the clock to the deadline.
    fn time_out(&mut self) -> (Duration, Action) {
        let waited = self.session.deadline().duration_since(self.now);
        self.now = self.session.deadline();
        (waited, self.session.time_out(self.now))
    }

    fn oack(&self) -> String {
        String::from_utf8_lossy(&self.session.oack()[2..]).replace('\0', " ")
    }
}

fn blocks(range: Range<u64>) -> Action {
    Action::Send(Flight::Blocks(range))
}

const OACK: Action = Action::Send(Flight::Oack);

#[test]
fn without_options_the_first_block_is_the_answer() {
    let (mut transfer, first) = start(&[], 1000);
    assert_eq!(first, blocks(1..2));
    assert_eq!(transfer.session.bytes_of(1..2), 0..512);
    assert_eq!(transfer.ack(1), blocks(2..3));
    assert_eq!(transfer.session.bytes_of(2..3), 512..1000);
    assert_eq!(transfer.ack(2), Action::End(End::Complete));
    assert_eq!(transfer.session.acknowledged(), 1000);
}

/// RFC 1350 section 6: "a data packet containing between 0 and 511 bytes of data" ends a transfer.
#[test]
fn a_file_of_whole_blocks_ends_with_an_empty_one() {
    let (mut transfer, _) = start(&[], 1024);
    transfer.ack(1);
    assert_eq!(transfer.ack(2), blocks(3..4));
    assert_eq!(transfer.session.bytes_of(3..4), 1024..1024);
    assert_eq!(transfer.ack(3), Action::End(End::Complete));
}

/// And its size is not told: curl fails on `tsize 0`.
#[test]
fn an_empty_file_is_one_empty_block() {
    let (mut transfer, first) = start(&["tsize", "0", "blksize", "1024"], 0);
    assert_eq!((first, transfer.oack()), (OACK, "blksize 1024 ".into()));
    assert_eq!(transfer.ack(0), blocks(1..2));
    assert_eq!(transfer.session.bytes_of(1..2), 0..0);
    assert_eq!(transfer.ack(1), Action::End(End::Complete));
}

/// EDK2 rejects an OACK with more than it asked for (Mtftp4Rrq.c:337-358).
#[test]
fn options_are_agreed_as_asked_or_smaller() {
    for (options, oack) in [
        (
            &["tsize", "0", "blksize", "1468", "windowsize", "4"][..],
            "tsize 9999 blksize 1468 windowsize 4 ",
        ),
        (&["BLKSIZE", "1432", "TSize", "0"], "BLKSIZE 1432 TSize 9999 "),
        (
            &["blksize", "65464", "windowsize", "65535", "timeout", "255"],
            "blksize 1468 windowsize 64 ",
        ),
        (&["timeout", "5", "blksize", "8"], "timeout 5 blksize 8 "),
        (&["blksize", "7", "tsize", "0", "windowsize", "0"], "tsize 9999 "),
    ] {
        let (transfer, first) = start(options, 9999);
        assert_eq!((first, transfer.oack()), (OACK, oack.into()));
    }
    let (_, first) = start(&["blksize", "7", "timeout", "0", "windowsize", "0"], 9999);
    assert_eq!(first, blocks(1..2), "no OACK where nothing is agreed");
}

#[test]
fn a_small_network_gets_small_blocks() {
    let Answer::Open(request) = answer(b"\0\x01x\0octet\0blksize\x001468\0") else { panic!() };
    let (session, _) = Session::start(&request, 9999, 576, Instant::now());
    assert_eq!(session.block_size(), 576 - 32);
}

/// RFC 7440 section 4: after the last block of a window, or a gap, the receiver acknowledges the
/// last block in order, and the sender goes on behind that.
#[test]
fn a_window_goes_on_behind_what_was_acknowledged() {
    let (mut transfer, _) = start(&["windowsize", "4", "blksize", "1000"], 10_500);
    assert_eq!(transfer.ack(0), blocks(1..5));
    assert_eq!(transfer.ack(4), blocks(5..9));
    assert_eq!(transfer.ack(6), blocks(7..11), "7 was lost");
    assert_eq!(transfer.ack(10), blocks(11..12));
    assert_eq!(transfer.ack(11), Action::End(End::Complete));
}

#[test]
fn blocks_past_65535_are_acknowledged_modulo_65536() {
    let (mut transfer, _) = start(&["windowsize", "64", "blksize", "8"], 8 * 200_000);
    let mut action = transfer.ack(0);
    let mut windows = 0;
    while let Action::Send(Flight::Blocks(sent)) = action {
        windows += 1;
        action = transfer.ack((sent.end - 1) as u16);
    }
    assert_eq!((action, windows), (Action::End(End::Complete), 200_001_u32.div_ceil(64)));
}

/// RFC 1123 section 4.2.3.1: "the sender (i.e., the side originating the DATA packets) must never
/// resend the current DATA packet on receipt of a duplicate ACK".
#[test]
fn the_sorcerers_apprentice_finds_no_master() {
    let (mut transfer, _) = start(&[], 9999);
    assert_eq!(transfer.ack(1), blocks(2..3));
    for _ in 0..5 {
        assert_eq!(transfer.after(20 * MS).ack(1), Action::Wait);
        assert_eq!(transfer.ack(0), Action::Wait, "older");
        assert_eq!(transfer.ack(3), Action::Wait, "never sent");
    }
}

/// EDK2 acknowledges again for every block out of order.
#[test]
fn a_lost_head_of_a_window_is_sent_again_once() {
    let (mut transfer, _) = start(&["windowsize", "4"], 99_999);
    transfer.after(MS).ack(0);
    assert_eq!(transfer.after(MS).ack(4), blocks(5..9));
    assert_eq!(transfer.after(MS).ack(4), blocks(5..9), "5 was lost, 6 came");
    assert_eq!(transfer.ack(4), Action::Wait, "7 came");
    assert_eq!(transfer.after(5 * MS).ack(4), Action::Wait, "8 came");
    assert_eq!(transfer.ack(8), blocks(9..13));
    assert_eq!(transfer.after(MS).ack(8), Action::Wait, "the echo of 5 to 8 sent twice");
    assert_eq!(transfer.ack(12), blocks(13..17));
    assert_eq!(transfer.ack(12), Action::Wait, "too soon to be about 13");
    assert_eq!(transfer.after(MS).ack(12), blocks(13..17));
}

#[test]
fn silence_is_met_with_longer_and_longer_waits() {
    let (mut transfer, _) = start(&["windowsize", "4"], 99_999);
    transfer.after(MS).ack(0);
    let mut waits = Vec::new();
    let end = loop {
        match transfer.time_out() {
            (waited, Action::Send(Flight::Blocks(sent))) => {
                assert_eq!(sent, 1..5);
                waits.push(waited.as_millis());
            }
            (_, Action::End(end)) => break end,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(end, End::TimeOut);
    assert_eq!(waits[..8], [50, 100, 200, 400, 800, 1600, 3200, 6400]);
    assert_eq!(waits[8..], [8000; 5]);
}

#[test]
fn an_address_that_never_answers_is_sent_five_packets() {
    let (mut transfer, _) = start(&["tsize", "0"], 99_999);
    let resent = std::iter::from_fn(|| (transfer.time_out().1 == OACK).then_some(())).count();
    assert_eq!(1 + resent, 5);
}

#[test]
fn a_repeat_is_measured_by_no_round_trip() {
    let (mut transfer, _) = start(&["windowsize", "4"], 99_999);
    transfer.after(MS).ack(0);
    transfer.time_out();
    transfer.after(MS).ack(4);
    assert_eq!(transfer.time_out().0, 50 * MS, "neither doubled nor 49 ms longer");
}

#[test]
fn a_size_probe_is_no_abort() {
    for code in [0, 8] {
        let (mut transfer, _) = start(&["tsize", "0", "blksize", "1468"], 9999);
        assert_eq!(transfer.error(code, "User aborted"), Action::End(End::Probe));
        let (mut transfer, _) = start(&["tsize", "0"], 9999);
        transfer.ack(0);
        assert_eq!(transfer.error(code, ""), Action::End(End::Probe));
    }
    for (options, acks) in [(&["blksize", "1468"][..], 0..1), (&["tsize", "0"], 0..2)] {
        let (mut transfer, _) = start(options, 9999);
        acks.for_each(|block| drop(transfer.ack(block)));
        let reason = "error 8 User ab\u{fffd}rted".to_owned();
        assert_eq!(transfer.error(8, "User ab\x1brted"), Action::End(End::Abort { reason }));
    }
    let (mut transfer, _) = start(&["tsize", "0"], 9999);
    let reason = "error 3".to_owned();
    assert_eq!(transfer.error(3, ""), Action::End(End::Abort { reason }), "its disk is full");
}

#[test]
fn what_is_no_ack_disturbs_nothing() {
    let (mut transfer, _) = start(&[], 9999);
    for datagram in
        [&b""[..], b"\0", b"\0\x04\0", b"\0\x03\0\x01x", b"\0\x01x\0octet\0", b"\xff\x04\0\x01"]
    {
        let now = transfer.now;
        assert_eq!(transfer.session.take(datagram, now), Action::Wait);
    }
    assert_eq!(transfer.ack(1), blocks(2..3));
}

#[test]
fn a_repeated_request_gets_the_first_answer_until_it_was_heard() {
    let (mut transfer, _) = start(&["tsize", "0"], 9999);
    assert_eq!(transfer.session.repeat(transfer.now), OACK);
    transfer.ack(0);
    assert_eq!(transfer.session.repeat(transfer.now), Action::Wait);
    let (mut transfer, _) = start(&[], 9999);
    assert_eq!(transfer.session.repeat(transfer.now), blocks(1..2));
}
