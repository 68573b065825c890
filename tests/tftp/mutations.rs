//! Random changes to real packets: never a panic, never a reply above one MTU.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use bootbox::http::named::Named;
use bootbox::tftp::{self, Action, Answer, Flight, Session};

use crate::mutator::{Random, wanted};

const MTU: u16 = 1500;
/// What is left of it under IPv4 and UDP.
const LONGEST: usize = MTU as usize - 28;
/// What a request trips over.
const PIECES: &[&[u8]] =
    &[b"\0", b"\xff", b"/", b"0", b"..", b"blksize\0", b"65465\0", b";", b"=", b"grub.cfg-01-"];
/// What GRUB asks with our first config.
const QUESTION: &[u8] = b"\0\x01/grub.cfg;mac=52:54:00:12:34:56;\
    uuid=11223344-5566-7788-99aa-bbccddeeff00;arch=x86_64;platform=efi;manufacturer=QEMU;\
    product=Standard PC (Q35 + ICH9, 2009);serial=\0octet\0blksize\x001024\0tsize\x000\0";

#[test]
fn mutated_requests_and_sessions_never_panic_nor_exceed_one_mtu() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tftp");
    let mut seeds: Vec<Vec<u8>> =
        fs::read_dir(folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(seeds.len() > 30);
    seeds.extend([QUESTION.to_vec(), QUESTION[..60].to_vec()]);
    let mut random = Random(0x00b0_07b0);
    let (mut opened, mut sent, mut asked) = (0_u64, 0_u64, 0_u64);
    let mut left = wanted();
    while left > 0 {
        let mut packet = seeds[random.below(seeds.len())].clone();
        random.mutate(&mut packet, PIECES);
        left -= 1;
        match tftp::answer(&packet) {
            Answer::Ignore(reason) => assert!(!reason.label().is_empty()),
            Answer::Refuse(refusal) => {
                assert!(tftp::error(refusal.code, &refusal.text).len() <= LONGEST);
            }
            Answer::Open(request) => {
                opened += 1;
                if let Some(Named::Machine(told)) = Named::read(&request.path) {
                    let labels = told.labels.iter().flatten();
                    let most: usize = labels.map(|(name, value)| name.len() + value.len()).sum();
                    assert!(most <= packet.len() * "\u{fffd}".len());
                    asked += 1;
                }
                let size = random.next() >> random.below(64);
                let (session, first) = Session::start(&request, size, MTU, Instant::now());
                let steps = left.min(8);
                left -= steps;
                sent += ride(session, first, steps, &mut random);
            }
        }
    }
    assert!(opened * 20 > wanted() / 9, "{opened} sessions are too few to mean anything");
    assert!(sent > opened);
    assert!(asked > opened / 100, "{asked} of GRUB's questions");
}

/// Feeds a session mutated ACKs and ERRORs, and time-outs; returns what it sent.
fn ride(mut session: Session, first: Action, steps: u64, random: &mut Random) -> u64 {
    let mut now = Instant::now();
    let mut action = first;
    let (mut sent, mut last) = (0, 0_u64);
    for _ in 0..=steps {
        match &action {
            Action::End(_) => break,
            Action::Send(Flight::Oack) => {
                assert!(!session.oack().is_empty() && session.oack().len() <= LONGEST);
                sent += 1;
            }
            Action::Send(Flight::Blocks(blocks)) => {
                assert!((1..=64).contains(&(blocks.end - blocks.start)), "{blocks:?}");
                for block in blocks.clone() {
                    let bytes = session.bytes_of(block..block + 1);
                    let length = tftp::data_header(block).len() as u64 + bytes.end - bytes.start;
                    assert!(length <= LONGEST as u64);
                }
                last = blocks.end - 1;
                sent += 1;
            }
            Action::Wait => {}
        }
        action = if random.below(8) == 0 {
            now = session.deadline().max(now);
            session.time_out(now)
        } else {
            now += Duration::from_micros(random.next() >> random.below(64))
                .min(Duration::from_secs(9));
            let [high, low] = (last as u16).to_be_bytes();
            let mut packet = vec![0, 4, high, low];
            if random.below(2) == 0 {
                random.mutate(&mut packet, PIECES);
            }
            session.take(&packet, now)
        };
    }
    sent
}
