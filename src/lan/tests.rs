//! Messages of servers, field by field; what they come to; and that nothing forged is expensive.

use super::*;
use crate::{
    firmware::Means,
    machine::Mac,
    mutator::{Random, wanted},
};

const US: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const OFFICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const RIVAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
const GIVEN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const OFFER: u8 = 2;
const ACK: u8 = 5;

fn mac() -> Mac {
    Mac::new([0x52, 0x54, 0, 0, 0, 1]).expect("a machine's")
}

/// An IP packet with a server's message; `options` stand behind 53 and 54.
fn packet(server: Ipv4Addr, kind: u8, yiaddr: Ipv4Addr, file: &str, options: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 236];
    message[..3].copy_from_slice(&[2, 1, 6]);
    message[4..8].copy_from_slice(&[0, 0, 0, 9]);
    message[16..20].copy_from_slice(&yiaddr.octets());
    message[28..34].copy_from_slice(&mac().octets());
    message[108..108 + file.len()].copy_from_slice(file.as_bytes());
    message.extend([0x63, 0x82, 0x53, 0x63, 53, 1, kind, 54, 4]);
    message.extend(server.octets());
    message.extend(options);
    message.push(255);
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(server.octets());
    packet.extend([255; 4]);
    let len = u16::try_from(message.len() + 8).expect("short");
    packet.extend([0, 67, 0, 68]);
    packet.extend(len.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(message);
    packet
}

fn option_60(class: &str) -> Vec<u8> {
    let len = u8::try_from(class.len()).expect("short");
    [&[60, len], class.as_bytes()].concat()
}

fn message(server: Ipv4Addr, kind: u8, yiaddr: Ipv4Addr, file: &str, class: &str) -> ServerMessage {
    let options = if class.is_empty() { Vec::new() } else { option_60(class) };
    read(&packet(server, kind, yiaddr, file, &options)).expect("a server's message")
}

#[test]
fn each_field_is_read() {
    let read = message(OFFICE, OFFER, GIVEN, "pxelinux.0", "PXEClient");
    let expected = ServerMessage {
        server: OFFICE,
        kind: Kind::Offer,
        mac: mac(),
        xid: 9,
        address: GIVEN,
        boot_file: "pxelinux.0".to_owned(),
        boots: Some(Means::Pxe),
    };
    assert_eq!(read, expected);
}

#[test]
fn the_sender_stands_in_for_a_missing_option_54_and_option_67_goes_before_the_header() {
    let mut packet = packet(OFFICE, OFFER, GIVEN, "header", &[67, 5, b'o', b'w', b'n', 7, 0]);
    let option_54 = 20 + 8 + 240 + 3;
    packet[option_54] = 224;
    let read = read(&packet).expect("a server's message");
    assert_eq!((read.server, read.boot_file.as_str()), (OFFICE, "own?"));
}

#[test]
fn what_is_no_servers_message_has_its_reason() {
    type Change = fn(&mut Vec<u8>);
    let rows: [(Change, Unreadable); 11] = [
        (|packet| packet.truncate(30), Unreadable::NotADatagram),
        (|packet| packet[0] = 0x65, Unreadable::NotADatagram),
        (|packet| packet[0] = 0x44, Unreadable::NotADatagram),
        (|packet| packet[9] = 6, Unreadable::NotADatagram),
        (|packet| packet[23] = 67, Unreadable::NotADatagram),
        (|packet| packet[24] = 0xff, Unreadable::NotADatagram),
        (|packet| packet[24..26].copy_from_slice(&[0, 20]), Unreadable::TooShort),
        (|packet| packet[28] = 1, Unreadable::NotAReply),
        (|packet| packet[30] = 200, Unreadable::NoMachine),
        (|packet| packet[28 + 236] = 0, Unreadable::NoMagicCookie),
        (|packet| packet[28 + 242] = 1, Unreadable::NotAServers),
    ];
    for (row, (change, expected)) in rows.into_iter().enumerate() {
        let mut packet = packet(OFFICE, OFFER, GIVEN, "", &[]);
        change(&mut packet);
        assert_eq!(read(&packet), Err(expected), "row {row}");
        assert!(!expected.label().is_empty());
    }
    assert_eq!(read(&packet(OFFICE, OFFER, GIVEN, "", &[])[..20]), Err(Unreadable::NotADatagram));
}

#[test]
fn each_server_is_known_for_what_it_is() {
    let pxe = "PXEClient";
    for (server, kind, given, file, class, role, finding) in [
        (OFFICE, OFFER, GIVEN, "", "", Some(Role::Dhcp), None),
        (OFFICE, ACK, GIVEN, "", pxe, Some(Role::Dhcp), Some("option-60")),
        (OFFICE, OFFER, GIVEN, "", "HTTPClient:Arch:00016", Some(Role::Dhcp), Some("option-60")),
        (OFFICE, OFFER, GIVEN, "", "MSFT 5.0", Some(Role::Dhcp), None),
        (OFFICE, OFFER, GIVEN, "pxelinux.0", "", Some(Role::Dhcp), Some("own-boot-file")),
        (OFFICE, ACK, NONE, "", "", Some(Role::Dhcp), None),
        (OFFICE, OFFER, NONE, "", "", None, None),
        (RIVAL, OFFER, NONE, "pxelinux.0", pxe, Some(Role::Proxy), Some("rival-proxy")),
        (RIVAL, OFFER, NONE, "", pxe, Some(Role::Proxy), Some("rival-proxy")),
        (US, OFFER, NONE, "snponly.efi", pxe, Some(Role::Us), None),
        // A DHCP server on our own machine.
        (US, OFFER, GIVEN, "", pxe, Some(Role::Dhcp), Some("option-60")),
    ] {
        let message = message(server, kind, given, file, class);
        let found = message.finding(US).map(|finding| finding.name());
        assert_eq!((message.role(US), found), (role, finding), "{message:?}");
    }
}

#[test]
fn a_finding_is_told_once_and_again_after_an_hour() {
    let mut lan = Lan::new(US);
    let start = Instant::now();
    let rival = message(RIVAL, OFFER, NONE, "x", "PXEClient");
    let told = |lan: &mut Lan, minute: u64| {
        lan.hear(&rival, start + Duration::from_secs(60 * minute), || true).is_some()
    };
    let times: Vec<bool> = [0, 1, 59, 60, 61].map(|minute| told(&mut lan, minute)).into();
    assert_eq!(times, [true, false, false, true, false]);
    // One server that does two things is told of both, each once.
    let claims = message(OFFICE, OFFER, GIVEN, "", "PXEClient");
    let names = message(OFFICE, OFFER, GIVEN, "x", "");
    let told = [&claims, &names, &claims, &names].map(|it| lan.hear(it, start, || true).is_some());
    assert_eq!(told, [true, true, false, false]);
}

#[test]
fn what_explains_a_stop_is_what_was_heard_lately() {
    let mut lan = Lan::new(US);
    let start = Instant::now();
    assert_eq!(lan.heard(start), Heard { hears: true, ..Heard::default() });
    lan.named(OFFICE, start);
    lan.hear(&message(RIVAL, OFFER, NONE, "x", "PXEClient"), start, || true);
    let expected = Heard {
        hears: true,
        dhcp_server: Some(OFFICE),
        claims_to_boot: None,
        rival_proxy: Some(RIVAL),
    };
    assert_eq!(lan.heard(start), expected);
    lan.hear(&message(OFFICE, OFFER, GIVEN, "", "PXEClient"), start, || true);
    assert_eq!(lan.heard(start).claims_to_boot, Some(OFFICE));
    let later = start + LATELY + Duration::from_secs(1);
    assert_eq!(lan.heard(later), Heard { hears: true, ..Heard::default() });
}

#[test]
fn a_lan_of_made_up_servers_costs_neither_memory_nor_lines() {
    let mut lan = Lan::new(US);
    let start = Instant::now();
    let mut told = 0;
    for number in 0..20_000_u32 {
        let server = Ipv4Addr::from(0x0a00_0000 + number);
        let now = start + Duration::from_millis(number.into());
        told += usize::from(
            lan.hear(&message(server, OFFER, NONE, "x", "PXEClient"), now, || true).is_some(),
        );
    }
    assert_eq!((told, lan.servers.len()), (FINDINGS, MOST));
}

#[test]
fn a_finding_over_the_budget_is_told_when_there_is_room_again() {
    let mut lan = Lan::new(US);
    let start = Instant::now();
    for number in 1..=u32::try_from(FINDINGS).expect("few") {
        let server = Ipv4Addr::from(0x0a00_0000 + number);
        assert!(
            lan.hear(&message(server, OFFER, NONE, "x", "PXEClient"), start, || true).is_some()
        );
    }
    let claims = message(OFFICE, OFFER, GIVEN, "", "PXEClient");
    let told = [59, 61, 62].map(|minute| {
        lan.hear(&claims, start + Duration::from_secs(60 * minute), || true).is_some()
    });
    assert_eq!(told, [false, true, false]);
}

#[test]
fn a_finding_that_found_no_room_in_the_log_is_told_later() {
    let (mut lan, now) = (Lan::new(US), Instant::now());
    let rival = message(RIVAL, OFFER, NONE, "x", "PXEClient");
    assert_eq!(lan.hear(&rival, now, || false), None, "there is no room");
    assert!(lan.hear(&rival, now, || true).is_some());
    assert_eq!(lan.hear(&rival, now, || true), None, "it was told");
}

#[test]
fn mutated_server_messages_never_panic_and_stay_printable() {
    let seeds = [
        packet(OFFICE, OFFER, GIVEN, "pxelinux.0", &option_60("PXEClient")),
        packet(RIVAL, ACK, NONE, "x", &[43, 4, 6, 1, 8, 255]),
    ];
    let pieces: [&[u8]; 6] =
        [&[60, 9], b"PXEClient", &[53, 1, 2], &[54, 4], &[67, 255], &[0x63, 0x82, 0x53, 0x63]];
    let (mut random, mut readable) = (Random(5), 0_u64);
    let mut lan = Lan::new(US);
    let start = Instant::now();
    for round in 0..wanted() {
        let mut packet = seeds[random.below(seeds.len())].clone();
        random.mutate(&mut packet, &pieces);
        // Where the length is right again, the options are reached.
        if let (Some(len), true) = (packet.len().checked_sub(20), random.below(2) == 0)
            && packet.len() > 26
            && let Ok(len) = u16::try_from(len)
        {
            packet[24..26].copy_from_slice(&len.to_be_bytes());
        }
        let Ok(message) = read(&packet) else { continue };
        readable += 1;
        assert!(message.boot_file.len() <= 128 && message.boot_file.is_ascii());
        assert!(message.boot_file.bytes().all(|byte| byte.is_ascii_graphic()));
        let finding = lan.hear(&message, start + Duration::from_secs(round), || true);
        assert!(finding.is_none_or(|finding| finding.to_string().len() < 600));
        assert!(lan.servers.len() <= MOST);
    }
    assert!(readable > wanted() / 10, "only {readable} were readable");
}

#[test]
fn a_probe_is_a_discover_that_a_proxy_answers_and_two_runs_differ_in_the_number_alone() {
    let [bios, uefi] = &Probe::both(US, 7)[..] else { panic!("two") };
    assert_ne!(bios.mac, uefi.mac);
    for (probe, arch) in [(bios, 0), (uefi, 7)] {
        let datagram = probe.datagram();
        assert_eq!(datagram[..4], [0, 68, 0, 67]);
        assert_eq!(usize::from(u16::from_be_bytes([datagram[4], datagram[5]])), datagram.len());
        let message = &datagram[8..];
        assert!(message.len() >= 300);
        // A local address, answers by broadcast, type discover.
        assert_eq!((message[0], message[10], message[28] & 3), (1, 0x80, 2));
        let has = |piece: &[u8]| message.windows(piece.len()).any(|window| window == piece);
        assert!(has(&[53, 1, 1]) && has(&[93, 2, 0, arch]) && has(b"PXEClient:Arch:0000"));
        assert!(!has(&[53, 1, 3]), "it never requests");
    }
    let [again, _] = &Probe::both(US, 8)[..] else { panic!("two") };
    assert!(again.mac == bios.mac && again.xid != bios.xid);
}

#[test]
fn a_bootbox_knows_the_question_of_a_check_from_a_machines() {
    for probe in Probe::both(US, 7) {
        let message = probe.datagram()[8..].to_vec();
        assert!(is_probe(&message));
        let mut machines = message.clone();
        machines[28..30].copy_from_slice(&[0x52, 0x54]);
        assert!(!is_probe(&machines), "another's address");
        let end = message.windows(7).position(|window| window == b"bootbox").expect("the mark");
        let mut unmarked = message;
        unmarked[end] = b'x';
        assert!(!is_probe(&unmarked) && !is_probe(&unmarked[..20]));
    }
}

#[test]
fn a_server_that_no_longer_sends_option_60_no_longer_explains_a_stop() {
    let mut lan = Lan::new(US);
    let now = Instant::now();
    let claims = message(OFFICE, OFFER, GIVEN, "", "PXEClient");
    let plain = message(OFFICE, OFFER, GIVEN, "", "");
    lan.hear(&claims, now, || true);
    lan.answers_booting(&claims);
    lan.answers_booting(&message(RIVAL, OFFER, GIVEN, "", ""));
    lan.hear(&plain, now, || true);
    assert_eq!(lan.heard(now).claims_to_boot, Some(OFFICE), "a laptop is not told option 60");
    lan.answers_booting(&plain);
    assert_eq!(lan.heard(now).claims_to_boot, None);
}

#[test]
fn what_a_server_says_to_http_boot_explains_no_stop_by_pxe() {
    let mut lan = Lan::new(US);
    let now = Instant::now();
    let by_http = message(OFFICE, OFFER, GIVEN, "http://192.0.2.1/x.efi", "HTTPClient");
    let said = lan.hear(&by_http, now, || true).expect("told").to_string();
    assert!(said.contains("HTTPClient") && said.contains("UEFI HTTP Boot"), "{said}");
    assert!(!said.contains("PXE-E16"), "{said}");
    assert_eq!(lan.heard(now).claims_to_boot, None);
    let by_pxe = message(OFFICE, OFFER, GIVEN, "", "PXEClient");
    let said = lan.hear(&by_pxe, now, || true).expect("the graver one is told, too").to_string();
    assert!(said.contains("PXE-E16"), "{said}");
    assert_eq!(lan.heard(now).claims_to_boot, Some(OFFICE));
}

#[test]
fn ipxe_says_whom_it_has_heard() {
    let discover = |name: &str| {
        let file = format!("tests/fixtures/dhcp/virtual/{name}_discover_68-67.bin");
        std::fs::read(file).expect("recorded")
    };
    assert!(misses_us(&discover("ipxerom_noproxy_02_c2s")));
    assert!(!misses_us(&discover("ipxerom_noproxy_00_c2s")));
    assert!(!misses_us(&[]));
}

#[test]
fn a_survey_says_who_answered_and_whether_machines_can_boot() {
    let answer = |survey: &Survey, which: usize, server, given, file: &str, class: &str| {
        let probe = &survey.probes()[which];
        let message = message(server, OFFER, given, file, class);
        ServerMessage { mac: probe.mac, xid: probe.xid, ..message }
    };
    let (pxe, none) = ("PXEClient", Ipv4Addr::UNSPECIFIED);
    type Answer = (usize, Ipv4Addr, Ipv4Addr, &'static str, &'static str);
    let rows: [(&[Answer], Verdict, &[&str]); 7] = [
        (
            &[(0, OFFICE, GIVEN, "", "HTTPClient")],
            Verdict::Fine,
            &["warning: DHCP server 192.0.2.1 itself sends option 60 HTTPClient"],
        ),
        (
            &[],
            Verdict::NoDhcpServer,
            &[
                "problem: no DHCP server",
                "bootbox does not answer",
                "[network] allow",
                "\"observe\"",
            ],
        ),
        (
            &[
                (0, OFFICE, GIVEN, "", ""),
                (0, US, none, "a.kpxe", pxe),
                (1, US, none, "b.efi", pxe),
            ],
            Verdict::Fine,
            &["DHCP server 192.0.2.1 offers 192.0.2.100", "a.kpxe to BIOS, b.efi to UEFI", "fine"],
        ),
        (
            &[(0, OFFICE, GIVEN, "", pxe)],
            Verdict::DhcpServerClaimsToBoot,
            &["problem: DHCP server 192.0.2.1 itself sends option 60", "until that is mended"],
        ),
        (
            &[(0, OFFICE, GIVEN, "", ""), (0, US, none, "a", pxe), (0, RIVAL, none, "x", pxe)],
            Verdict::Fine,
            &["warning: another ProxyDHCP server answers, 192.0.2.3, with boot file x"],
        ),
        (
            &[(0, OFFICE, GIVEN, "", ""), (1, RIVAL, none, "", pxe)],
            Verdict::Fine,
            &["no file to UEFI before port 4011", "look: if 192.0.2.3 is not your bootbox"],
        ),
        (
            &[(0, OFFICE, GIVEN, "x.0", "")],
            Verdict::Fine,
            &["note: DHCP server 192.0.2.1 names a boot file itself, x.0"],
        ),
    ];
    for (answers, verdict, words) in rows {
        let mut survey = Survey::new("eth0", US, 7);
        for &(which, server, given, file, class) in answers {
            let message = answer(&survey, which, server, given, file, class);
            survey.hear(message.clone());
            survey.hear(message);
        }
        let said = survey.to_string();
        assert_eq!(survey.verdict(), verdict, "{said}");
        for word in words {
            assert_eq!(said.matches(word).count(), 1, "{word}: {said}");
        }
    }
}

#[test]
fn what_others_are_answered_is_no_answer_to_a_survey() {
    const NAK: u8 = 6;
    let mut survey = Survey::new("eth0", US, 7);
    survey.hear(message(OFFICE, OFFER, GIVEN, "", ""));
    let Probe { mac, xid, .. } = survey.probes()[0];
    survey.hear(ServerMessage { mac, xid, ..message(OFFICE, NAK, NONE, "", "") });
    let other_run = ServerMessage { mac, ..message(OFFICE, OFFER, GIVEN, "", "") };
    survey.hear(other_run.clone());
    let said = survey.to_string();
    assert_eq!((survey.has_dhcp_server(), survey.verdict()), (false, Verdict::NoDhcpServer));
    assert!(!said.contains("offers 192") && !said.contains("0.0.0.0"), "{said}");
    survey.hear(ServerMessage { xid, ..other_run });
    let said = survey.to_string();
    assert_eq!(survey.verdict(), Verdict::Fine, "{said}");
    assert!(said.contains("DHCP server 192.0.2.1 offers 192.0.2.100\n"), "{said}");
}

#[test]
fn a_server_that_runs_and_keeps_quiet_is_told_why() {
    for (silence, words) in [
        (Silence::Unknown, "it does not run, no group takes"),
        (Silence::NotRunning, "it does not run with this config (asked as"),
        (Silence::NoGroup, "it runs, and no group takes a machine that nobody knows"),
        (Silence::NotAllowed, "it runs, and [network] allow"),
        (Silence::Observing, "it runs, and [network] mode is \"observe\""),
        (Silence::Unexplained, "it runs and should answer"),
    ] {
        let mut survey = Survey::new("eth0", US, 7);
        survey.explain(silence);
        assert!(survey.to_string().contains(words), "{survey}");
    }
}
