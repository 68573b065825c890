//! Any datagram to the service's port, then any to the transfer it opens.
#![no_main]

use std::time::{Duration, Instant};

use bootbox::tftp::{self, Action, Answer, Flight, Session};
use libfuzzer_sys::fuzz_target;

const MTU: u16 = 1500;
const LONGEST: usize = MTU as usize - 28;

fuzz_target!(|input: (u64, Vec<u8>, Vec<(u16, Vec<u8>)>)| {
    let (size, request, datagrams) = input;
    let request = match tftp::answer(&request) {
        Answer::Ignore(_) => return,
        Answer::Open(request) => request,
        Answer::Refuse(refusal) => {
            assert!(tftp::error(refusal.code, &refusal.text).len() <= LONGEST);
            return;
        }
    };
    let mut now = Instant::now();
    let (mut session, mut action) = Session::start(&request, size, MTU, now);
    for (milliseconds, datagram) in datagrams {
        match &action {
            Action::End(_) => return,
            Action::Send(Flight::Oack) => assert!(session.oack().len() <= LONGEST),
            Action::Send(Flight::Blocks(blocks)) => {
                assert!((1..=64).contains(&(blocks.end - blocks.start)));
                for block in blocks.clone() {
                    let bytes = session.bytes_of(block..block + 1);
                    assert!(bytes.end - bytes.start + 4 <= LONGEST as u64);
                }
            }
            Action::Wait => {}
        }
        now += Duration::from_millis(milliseconds.into());
        action =
            if datagram.is_empty() { session.time_out(now) } else { session.take(&datagram, now) };
    }
});
