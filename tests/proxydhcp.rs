//! Packets of real firmware and made-up hostile ones in, what we say out, field by field.
//!
//! Beside each `fixtures/dhcp/**/NAME.bin` stands `NAME.txt` with the answer; `UPDATE=1` writes
//! them anew, for a person to read in the diff. The port is taken from the file's name.

#[path = "proxydhcp/document.rs"]
mod document;
mod mutator;
#[path = "proxydhcp/packet.rs"]
mod packet;
#[path = "proxydhcp/shapes.rs"]
mod shapes;
#[path = "proxydhcp/strangers.rs"]
mod strangers;

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::{Duration, Instant},
};

use bootbox::{
    config::Config,
    firmware::{ARCHITECTURES, BootFile, Firmware, Programs},
    ledger::{Book, Event, Moment, Order, Record, Report},
    machine::Machine,
    path::RepositoryPath,
    proxydhcp::{
        Answer, Arrival, Circumstances, Conversations, Discover, Offering, Port, Recipient, answer,
        first_choice,
    },
    trace::Fetched,
};
use dhcproto::{
    Decodable, Decoder,
    v4::{Message, borrowed},
};

use mutator::{Random, wanted};

const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn everyone() -> Config {
    let text =
        "[[profile]]\nname = \"p\"\nkernel = \"/k\"\n[[group]]\nname = \"g\"\nprofile = \"p\"";
    Config::parse(text, "test").expect("the config is valid")
}

/// What there is to offer while nothing was done to any machine.
fn offering<'a>(config: &'a Config, programs: &'a Programs, http_port: u16) -> Offering<'a> {
    static NOTHING: LazyLock<Book> = LazyLock::new(Book::default);
    let catalog = &config.catalog;
    Offering {
        catalog,
        book: &NOTHING,
        most_attempts: 3,
        programs,
        http_port,
        allow: config.allow.as_deref(),
        offer: config.offer,
    }
}

/// The usual boot programs, all of them there.
fn usual() -> &'static Programs {
    static USUAL: LazyLock<Programs> = LazyLock::new(|| Programs::new(&BTreeMap::new(), |_| true));
    &USUAL
}

fn asked(packet: &[u8], port: Port) -> Answer {
    let config = everyone();
    let offering = offering(&config, usual(), 80);
    ask(packet, port, &offering)
}

/// Asks with nothing remembered of the machine.
fn ask(packet: &[u8], port: Port, offering: &Offering<'_>) -> Answer {
    let about =
        Circumstances { fetched: Fetched::default(), prefer_http: false, delay: Duration::ZERO };
    let choose = |discover: &Discover| first_choice(discover, &about, Instant::now());
    answer(packet, &Arrival { address: HERE, port }, offering, choose)
}

#[test]
fn every_recorded_packet_gets_the_answer_that_stands_beside_it() {
    let mut wrong = Vec::new();
    let packets = fixtures();
    assert!(packets.len() >= 30, "only {} packets were found", packets.len());
    for file in packets {
        let packet = fs::read(&file).expect("the packet can be read");
        let port = match file.to_string_lossy().ends_with("-4011.bin") {
            true => Port::BootServer,
            false => Port::Dhcp,
        };
        let said = in_words(&asked(&packet, port));
        let beside = file.with_extension("txt");
        if env::var_os("UPDATE").is_some() {
            fs::write(&beside, &said).expect("the answer can be written");
        } else if fs::read_to_string(&beside).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_reply_gives_an_address_or_says_ack_or_nak_on_port_67() {
    let mut replies = 0;
    for file in fixtures() {
        let packet = fs::read(&file).expect("the packet can be read");
        let Answer::Reply(reply) = asked(&packet, Port::Dhcp) else { continue };
        let message =
            Message::decode(&mut Decoder::new(&reply.bytes)).expect("we write valid DHCP");
        assert!(message.yiaddr().is_unspecified(), "{}", file.display());
        assert_eq!(message.opts().msg_type(), Some(dhcproto::v4::MessageType::Offer));
        assert!((300..=548).contains(&reply.bytes.len()), "{} bytes", reply.bytes.len());
        replies += 1;
    }
    assert!(replies > 8, "only {replies} replies");
}

#[test]
fn a_machine_that_no_group_matches_is_left_alone() {
    let text = "[[profile]]\nname = \"p\"\nkernel = \"/k\"\n[[group]]\nname = \"g\"\nprofile = \"p\"\n\
                selector.mac = \"02:00:00:00:00:99\"";
    let config = Config::parse(text, "test").expect("the config is valid");
    let offering = offering(&config, usual(), 80);
    let mut left_alone = 0;
    for file in fixtures() {
        let packet = fs::read(&file).expect("the packet can be read");
        for port in [Port::Dhcp, Port::BootServer] {
            let answered = ask(&packet, port, &offering);
            assert!(!matches!(answered, Answer::Reply(_)), "{}", file.display());
            left_alone += usize::from(matches!(answered, Answer::LeaveAlone(..)));
        }
    }
    assert!(left_alone > 8, "only {left_alone} wanted to boot");
}

#[test]
fn who_may_still_match_gets_the_offer_and_who_surely_does_not_is_left_alone() {
    let answered = |selector: &str, name: &str| {
        let text = format!(
            "[[profile]]\nname = \"p\"\nkernel = \"/k\"\n[[group]]\nname = \"g\"\nprofile = \"p\"\n\
             [group.selector]\n{selector}"
        );
        let config = Config::parse(&text, "test").expect("the config is valid");
        let offering = offering(&config, usual(), 80);
        let packet = fs::read(recorded(name)).expect("recorded");
        matches!(ask(&packet, Port::Dhcp, &offering), Answer::Reply(_))
    };
    let (uefi, bios) = (
        "ovmf2022.11_pxe4_no43_00_c2s_discover_68-67",
        "seabios-ipxerom-e1000_00_c2s_discover_68-67",
    );
    for (selector, to_uefi, to_bios) in [
        ("serial = \"x\"", true, true),
        ("label.rack = \"1\"", true, true),
        ("firmware = \"uefi\"", true, false),
        ("firmware = \"bios\"\nserial = \"x\"", false, true),
        ("mac = \"02:00:00:00:00:99\"\nserial = \"x\"", false, false),
    ] {
        assert_eq!(
            (answered(selector, uefi), answered(selector, bios)),
            (to_uefi, to_bios),
            "{selector}"
        );
    }
}

#[test]
fn a_firmware_without_a_boot_program_is_left_alone_and_ipxe_is_not() {
    let (config, none) = (everyone(), Programs::default());
    let offering = offering(&config, &none, 8080);
    let rom = fs::read(recorded("ovmf2022.11_pxe4_no43_00_c2s_discover_68-67")).expect("recorded");
    let Answer::LeaveAlone(_, _, reason) = ask(&rom, Port::Dhcp, &offering) else { panic!() };
    assert_eq!(
        reason.to_string(),
        "no snponly.efi for UEFI x64, neither built in nor in [firmware] dir"
    );
    let ipxe = fs::read(recorded("seabios-ipxerom-e1000_00_c2s_discover_68-67")).expect("recorded");
    let Answer::Reply(reply) = ask(&ipxe, Port::Dhcp, &offering) else { panic!() };
    let message = borrowed::Message::new(&reply.bytes).expect("we write valid DHCP");
    assert_eq!(message.fname(), b"http://192.0.2.1:8080/boot.ipxe");
}

#[test]
fn only_an_offer_to_a_rom_may_wait() {
    let may_wait = |name: &str, port| {
        let packet = fs::read(recorded(name)).expect("recorded");
        let Answer::Reply(reply) = asked(&packet, port) else { panic!("{name}") };
        reply.may_wait()
    };
    assert!(may_wait("ovmf2022.11_pxe4_no43_00_c2s_discover_68-67", Port::Dhcp));
    assert!(!may_wait("seabios-ipxerom-e1000_00_c2s_discover_68-67", Port::Dhcp));
}

#[test]
fn a_boot_program_of_another_server_is_known_as_such() {
    let http = "ovmf2022.11_pxe-tftp404_pxe6_httpboot_10_c2s_discover_68-67";
    let packet = fs::read(recorded(http)).expect("recorded");
    for (url, expected) in [
        ("https://192.0.2.9/a.efi", true),
        ("http://192.0.2.10/a.efi", true),
        ("http://192.0.2.1/a.efi", false),
        ("a.efi", false),
    ] {
        let text = format!(
            "[[profile]]\nname = \"p\"\nkernel = \"/k\"\n[[group]]\nname = \"g\"\nprofile = \"p\"\n\
             boot-program = \"{url}\""
        );
        let config = Config::parse(&text, "test").expect("the config is valid");
        let asked = ask(&packet, Port::Dhcp, &offering(&config, usual(), 80));
        let Answer::Reply(reply) = asked else { panic!("{url}: {asked:?}") };
        assert_eq!(reply.is_elsewhere, expected, "{}", reply.step);
    }
}

#[test]
fn an_ipxe_without_http_is_first_given_one_that_has_it() {
    let mut packet =
        fs::read(recorded("seabios-ipxerom-e1000_00_c2s_discover_68-67")).expect("recorded");
    let feature =
        packet.windows(3).position(|three| three == [0x13, 1, 1]).expect("iPXE lists HTTP");
    packet[feature] = 0x14;
    let Answer::Reply(reply) = asked(&packet, Port::Dhcp) else { panic!() };
    let message = borrowed::Message::new(&reply.bytes).expect("we write valid DHCP");
    assert_eq!(message.fname(), b"undionly.kpxe");
}

#[test]
fn every_architecture_gets_its_boot_program_or_is_ignored_by_name() {
    let recorded =
        fs::read(recorded("ovmf2022.11_pxe4_no43_00_c2s_discover_68-67")).expect("recorded");
    let at = recorded.windows(4).position(|four| four == [93, 2, 0, 7]).expect("OVMF sends 93");
    let said = |arch: u16| {
        let mut packet = recorded.clone();
        packet[at + 2..at + 4].copy_from_slice(&arch.to_be_bytes());
        in_words(&asked(&packet, Port::Dhcp))
    };
    for row in ARCHITECTURES {
        let expected = match row.firmware.map(|it| (it, it.usual_programs().first())) {
            // It knows the names of its files.
            Ok((Firmware::RaspberryPi, _)) => "file: \noption 43: [06, 01, 03, 0a,".to_owned(),
            Ok((_, Some(program))) => format!("file: {program}\n"),
            Ok((firmware, None)) => format!("left alone: no boot program for {firmware}: "),
            Err(why) => format!("left alone: {} (option 93 is {}): {why}\n", row.name, row.number),
        };
        let said = said(row.number);
        assert!(said.contains(&expected), "{}: {said}", row.name);
    }
    let beyond = "left alone: no boot program is known for architecture 42 (option 93)\n";
    assert!(said(42).contains(beyond));
}

#[test]
fn mutated_messages_never_panic_nor_get_more_than_one_mtu_nor_a_client_that_is_not_pxe() {
    let seeds: Vec<Vec<u8>> =
        fixtures().iter().map(|file| fs::read(file).expect("the packet can be read")).collect();
    let config = everyone();
    let offering = offering(&config, usual(), 80);
    let pieces: [&[u8]; 13] = [
        b"\x35\x01\x08",
        b"\x3c\x0aHTTPClient",
        b"\x2b\x06\x47\x04\0\0\0\0",
        b"\x5d\x02\x00\x10",
        b"\x61\x11\x00RPi4",
        b"\x5d\x02\x00\x07",
        b"\x61\x11\x00",
        b"\xaf\x03\x13\x01\x01",
        b"\x4d\x04iPXE",
        b"\x35\x01\x03",
        b"\xff",
        b"\x3c\x09PXEClient",
        b"\x2b\xff\x47\xff",
    ];
    let mut random = Random(0x0dcb_0dcb);
    let (mut conversations, mut now) = (Conversations::default(), Instant::now());
    let mut replies = 0;
    for _ in 0..wanted() {
        let mut packet = seeds[random.below(seeds.len())].clone();
        random.mutate(&mut packet, &pieces);
        let port = [Port::Dhcp, Port::BootServer][random.below(2)];
        now += Duration::from_millis(500);
        let about = Circumstances {
            fetched: Fetched {
                any: (random.below(3) == 0).then_some(now),
                by_http_boot: (random.below(3) == 0).then_some(now),
            },
            prefer_http: random.below(2) == 0,
            delay: Duration::ZERO,
        };
        let choose = |discover: &Discover| conversations.choose(discover, &about, now);
        let arrival = Arrival { address: HERE, port };
        let reply = match answer(&packet, &arrival, &offering, choose) {
            Answer::Reply(reply) => reply,
            Answer::Learn(lease) => {
                conversations.took_lease(lease.machine.mac, lease.server, now);
                continue;
            }
            Answer::Ignore(_) | Answer::LeaveAlone(..) => continue,
        };
        // Whole, or in two halves as RFC 3396 lets it.
        let says_so = ["PX", "XE", "HT", "TT"];
        let says_so =
            says_so.iter().any(|&two| packet.windows(2).any(|pair| pair == two.as_bytes()));
        assert!(says_so, "{packet:02x?}");
        assert!(reply.bytes.len() <= 1472 && reply.bytes[0] == 2);
        // No address but the one that an inform comes with.
        let (given, has) = (&reply.bytes[16..20], &packet[12..16]);
        assert!(given == [0; 4] || (given == has && reply.to == Recipient::Source));
        replies += 1;
    }
    assert!(replies > wanted() / 20, "{replies} replies are too few to mean anything");
}

fn recorded(name: &str) -> PathBuf {
    folder().join("virtual").join(format!("{name}.bin"))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dhcp")
}

fn fixtures() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = ["malformed", "virtual"]
        .iter()
        .flat_map(|kind| fs::read_dir(folder().join(kind)).expect("fixtures are there"))
        .map(|entry| entry.expect("fixtures can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .collect();
    files.sort();
    files
}

/// One line a field, so that a changed answer reads as a diff.
fn in_words(answer: &Answer) -> String {
    let reply = match answer {
        Answer::Ignore(reason) => return format!("ignored: {reason}\n"),
        Answer::Learn(lease) => {
            return format!(
                "learned: {} takes {} from {:?}\n",
                lease.machine.mac, lease.address, lease.server
            );
        }
        Answer::LeaveAlone(machine, _, reason) => {
            return format!("{} left alone: {reason}\n", machine.mac);
        }
        Answer::Reply(reply) => reply,
    };
    let message = borrowed::Message::new(&reply.bytes).expect("we write valid DHCP");
    let mut text = format!("to: {:?}\nlog: {}\n", reply.to, reply.step);
    let _ = writeln!(text, "op: {:?}", message.opcode());
    let _ = writeln!(text, "xid: {:08x}", message.xid());
    let _ = writeln!(text, "flags: {:04x}", u16::from(message.flags()));
    let _ = writeln!(text, "ciaddr: {}", message.ciaddr());
    let _ = writeln!(text, "yiaddr: {}", message.yiaddr());
    let _ = writeln!(text, "siaddr: {}", message.siaddr());
    let _ = writeln!(text, "chaddr: {:02x?}", message.chaddr());
    let _ = writeln!(text, "file: {}", String::from_utf8_lossy(message.fname()));
    for option in message.opts() {
        let _ = writeln!(text, "option {}: {:02x?}", u8::from(option.code()), option.data());
    }
    let _ = writeln!(text, "bytes: {}", reply.bytes.len());
    text
}

/// Whether a packet was answered, or left alone for this reason.
fn agree(answer: &Answer, reason: Option<&str>) {
    match (answer, reason) {
        (Answer::Reply(_), None) => {}
        (Answer::LeaveAlone(_, _, found), Some(reason)) => assert_eq!(found.label(), reason),
        (other, reason) => panic!("{other:?}, not {reason:?}"),
    }
}

#[test]
fn an_installed_machine_is_left_alone_and_its_group_may_have_it_told() {
    let with = |install: &str, hand_off: &str, more: &str| {
        let text = format!(
            "[install]\nallow-always = true\n\
             [[profile]]\nname = \"p\"\nkernel = \"/k\"\ninstall = \"{install}\"\n\
             [[group]]\nname = \"g\"\nprofile = \"p\"\nhand-off = \"{hand_off}\"\n{more}\n\
             selector.label.rack = \"1\"\n"
        );
        Config::parse(&text, "test").expect("the config is valid")
    };
    let config = |install, hand_off| with(install, hand_off, "");
    // One that never asks whether it may go on, and one that does.
    let named = RepositoryPath::parse(b"uki.efi").expect("it is a path");
    let named = BTreeMap::from([(Firmware::Efi64, BootFile::Served(named))]);
    let asking_nobody = Programs::new(&named, |_| true);
    let grub = with("once", "exit", "boot-program = \"grubx64.efi\"");
    let rom = fs::read(recorded("ovmf2022.11_pxe4_no43_00_c2s_discover_68-67")).expect("recorded");
    let answered = |config: &Config, book: &Book| {
        ask(&rom, Port::Dhcp, &Offering { book, ..offering(config, usual(), 80) })
    };
    let answered_alone = |config: &Config, book: &Book| {
        ask(&rom, Port::Dhcp, &Offering { book, ..offering(config, &asking_nobody, 80) })
    };
    let once = config("once", "silence");
    let nothing = Book::default();
    let Answer::Reply(reply) = answered(&once, &nothing) else { panic!("it may be of the group") };
    let mac = reply.machine.mac;
    let told = |rack: &str| {
        let labels = [("rack".to_owned(), rack.to_owned())].into();
        Machine::told(mac, None, labels)
    };
    let book = |rack: &str, events: &[Event]| {
        let after = |record: Record, event| record.after(event, 3, Moment(9)).expect("it can be");
        let record = events.iter().fold(Record::new(told(rack), Moment(1)), after);
        let mut book = Book::default();
        book.put(record).expect("there is room");
        book
    };
    let scripted = Event::Scripted { group: "g".to_owned(), profile: "p".to_owned(), token: None };
    let installed = [scripted.clone(), Event::Reported(Report::Installed)];
    let held = [Event::Ordered(Order::Hold("wait".to_owned()))];
    let half = [scripted.clone(), held[0].clone()];
    for (config, book, reason) in [
        (&once, book("1", &[]), None),
        (&once, book("1", std::slice::from_ref(&scripted)), None),
        (&once, book("1", &installed), Some("installed")),
        (&config("once", "sanboot"), book("1", &installed), None),
        (&config("always", "silence"), book("1", &installed), None),
        (&config("never", "silence"), book("1", &installed), None),
        (&once, book("1", &held), Some("installed")),
        (&once, book("1", &half), None),
        (&grub, book("1", &installed), None),
        (&grub, book("1", &half), None),
        (&once, book("2", &[]), Some("no-group")),
    ] {
        agree(&answered(config, &book), reason);
    }
    for (config, book, reason) in [
        (&config("once", "exit"), book("1", &[]), Some("not-recorded")),
        (&config("always", "exit"), book("1", &[]), None),
        (&config("once", "exit"), book("1", &installed), Some("installed")),
        (&config("once", "sanboot"), book("1", &installed), Some("installed")),
        (&config("never", "exit"), book("1", &installed), None),
        (&config("once", "silence"), book("1", &half), Some("held")),
        (&config("never", "silence"), book("1", &half), Some("held")),
        (&config("never", "silence"), book("1", &held), Some("installed")),
    ] {
        agree(&answered_alone(config, &book), reason);
    }
    let mut passed = Book::default();
    passed.pass_by(told("2"), Moment(1));
    let Answer::LeaveAlone(_, _, reason) = answered(&once, &passed) else { panic!("it has told") };
    assert_eq!(reason.label(), "no-group");
}
