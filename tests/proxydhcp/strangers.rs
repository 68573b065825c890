//! Who does not say `PXEClient` or `HTTPClient` is never answered, and each malformed packet is
//! ignored for its own reason.

use std::fs;

use bootbox::proxydhcp::{Answer, Port};

use super::{
    ask, asked, everyone, fixtures, folder, in_words, mutator::Random, mutator::wanted, offering,
    packet::Packet, usual,
};

/// As many as the project promises.
const LEAST: u64 = 1_000_000;
/// What laptops, printers and telephones say in option 60, and what is nearly the word.
const CLASSES: [&[u8]; 10] = [
    b"MSFT 5.0",
    b"android-dhcp-13",
    b"dhcpcd-9.4.1:Linux-6.1.0:x86_64",
    b"udhcp 1.36.1",
    b"U-Boot.armv8",
    b"pxeclient:Arch:00007",
    b"PXECLIENT:Arch:00007",
    b"PXEClien",
    b"HTTPclient:Arch:00016",
    b" PXEclient",
];

#[test]
fn a_million_packets_that_do_not_ask_for_a_boot_get_no_answer() {
    let config = everyone();
    let offering = offering(&config, usual(), 80);
    let mut random = Random(0x0057_a116);
    let mut seeds: Vec<Vec<u8>> = fixtures()
        .iter()
        .map(|file| without_the_words(fs::read(file).expect("the packet can be read")))
        .collect();
    for class in CLASSES {
        let asked = Packet::discover([2, 0, 0, 0, 0, 1]).option(60, class).arch(7).guid([7; 16]);
        seeds.push(asked.bytes());
    }
    let pieces: [&[u8]; 7] = [
        b"\x35\x01\x01",
        b"\x35\x01\x03",
        b"\x35\x01\x08",
        b"\x3c\x08MSFT 5.0",
        b"\x5d\x02\x00\x07",
        b"\xaf\x03\x13\x01\x01",
        b"\x2b\x06\x47\x04\0\0\0\0",
    ];
    let (mut heard, mut leases) = (0, 0);
    for _ in 0..wanted().max(LEAST) {
        let mut packet = seeds[random.below(seeds.len())].clone();
        random.mutate(&mut packet, &pieces);
        let port = [Port::Dhcp, Port::BootServer][random.below(2)];
        match ask(&packet, port, &offering) {
            Answer::Ignore(reason) => heard += u64::from(reason.label() == "not-pxe-client"),
            Answer::Learn(_) => leases += 1,
            Answer::LeaveAlone(..) | Answer::Reply(_) => panic!("{packet:02x?}"),
        }
    }
    assert!(
        heard > LEAST / 10 && leases > 1000,
        "{heard} and {leases} are too few to mean anything"
    );
}

/// The same length, another word.
fn without_the_words(mut packet: Vec<u8>) -> Vec<u8> {
    for word in [&b"PXEClient"[..], b"HTTPClient", b"PXECl", b"ient"] {
        while let Some(at) = packet.windows(word.len()).position(|here| here == word) {
            packet[at..at + word.len()].fill(b'x');
        }
    }
    packet
}

#[test]
fn each_malformed_packet_is_ignored_for_its_reason_or_answered_all_the_same() {
    let reasons = [
        ("bad_magic", "no DHCP magic cookie"),
        ("bootp_236_no_vend", "shorter than a DHCP message"),
        ("bootreply_op2_reflection", "a reply, not a request"),
        ("empty", "shorter than a DHCP message"),
        ("hlen255_dhcproto-chaddr-panic", "no Ethernet address that one machine can own"),
        ("multicast_chaddr", "no Ethernet address that one machine can own"),
        ("opt60_in_file_overload", "neither a PXE nor an HTTP Boot client"),
        ("short_20", "shorter than a DHCP message"),
    ];
    // Each is a discover of x64 UEFI, odd only in what we do not need.
    let answered = [
        "no_end_option",
        "opt152_len0_dhcproto-debugassert",
        "opt60_split_rfc3396",
        "opt80_len1_dhcproto-debugassert",
        "opt81_len1_dhcproto-debugassert",
        "opt93_len1",
        "opt93_len4_two_archs_9_7",
        "opt94_len0_dhcproto-debugassert",
        "truncated_option",
    ];
    let said = |name: &str| {
        let file = folder().join("malformed").join(format!("{name}.bin"));
        in_words(&asked(&fs::read(file).expect("the packet is there"), Port::Dhcp))
    };
    for (name, reason) in reasons {
        assert_eq!(said(name), format!("ignored: {reason}\n"), "{name}");
    }
    for name in answered {
        assert!(said(name).contains("\nfile: snponly.efi\n"), "{name}");
    }
    let files = fs::read_dir(folder().join("malformed")).expect("fixtures are there").count();
    assert_eq!(files, 2 * (reasons.len() + answered.len()), "each has its row here");
}
