//! The packet of each firmware that was met, and our answer, option by option.
//!
//! What is not in `fixtures/dhcp` as a recording is built from the fields that were seen of it: of
//! Intel's ROM on AMI's boards, HP, Hyper-V, VirtualBox, AMD, ASRock, Raspberry Pi and U-Boot from
//! captures of real machines, else from the issue that is named.

use std::net::Ipv4Addr;

use bootbox::{
    config::Config,
    firmware::Programs,
    proxydhcp::{Answer, Port, Recipient},
};
use dhcproto::v4::{Opcode, borrowed::Message};

use super::{ask, everyone, offering, packet::Packet, usual};

/// A firmware, its packet and the answer in brief.
struct Shape {
    name: &'static str,
    packet: Packet,
    port: Port,
    answer: &'static str,
}

/// A discover on port 67.
fn discover(name: &'static str, packet: Packet, answer: &'static str) -> Shape {
    Shape { name, packet, port: Port::Dhcp, answer }
}

/// A request on port 4011.
fn boot_server(name: &'static str, packet: Packet, answer: &'static str) -> Shape {
    Shape { name, packet, port: Port::BootServer, answer }
}

const MAC: [u8; 6] = [0x00, 0x25, 0x90, 0x01, 0x02, 0x03];
const PI_3: [u8; 6] = [0xb8, 0x27, 0xeb, 0x01, 0x02, 0x03];
const PI_4: [u8; 6] = [0xdc, 0xa6, 0x32, 0x01, 0x02, 0x03];
/// What Intel and AMI leave on many boards.
const DUMMY: [u8; 16] = [0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9];
/// ASRock: the hardware address and zeros.
const OF_MAC: [u8; 16] = [0x00, 0x25, 0x90, 0x01, 0x02, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const RPI4: [u8; 16] = *b"RPi4\x14\x31\x03\0\x01\x02\x03\x04\x05\x06\x07\x08";
const BIOS: &str = "PXEClient:Arch:00000:UNDI:002001";
const X64: &str = "PXEClient:Arch:00007:UNDI:003016";
/// iPXE's features (175) with HTTP, and without.
const IPXE: &[u8] = &[0xb1, 5, 1, 0x80, 0x86, 0x10, 0x0e, 0x13, 1, 1, 0x15, 1, 1, 0x27, 1, 1];
const IPXE_WITHOUT_HTTP: &[u8] = &[0xb1, 5, 1, 0x80, 0x86, 0x10, 0x0e, 0x15, 1, 1, 0x21, 1, 1];

fn intel() -> Packet {
    Packet::discover(MAC).secs(4).option(57, &[0x04, 0xec]).class(BIOS).arch(0).padded(548)
}

fn edk2(arch: u16, class: &str) -> Packet {
    Packet::discover(MAC).option(57, &[0x05, 0xc0]).class(class).arch(arch).guid(OF_MAC).padded(347)
}

fn pi(mac: [u8; 6]) -> Packet {
    Packet::discover(mac).flags(0).class(BIOS).arch(0)
}

fn ipxe(arch: u16, features: &[u8]) -> Packet {
    let asked = Packet::discover(MAC).flags(0).class(BIOS).arch(arch);
    asked.option(77, b"iPXE").option(175, features)
}

/// Those of x86 with a BIOS.
fn bios() -> Vec<Shape> {
    vec![
        discover(
            "Intel Boot Agent on an AMI board",
            intel().guid(DUMMY),
            "offer to everyone, flags 8000, file undionly.kpxe, 60 PXEClient, 43 060108ff, \
             97 0000020003000400050006000700080009",
        ),
        discover(
            "an Intel card of before option 97 (danderson/pixiecore#21)",
            intel(),
            "offer to everyone, flags 8000, file undionly.kpxe, 60 PXEClient, 43 060108ff",
        ),
        discover(
            "HP's BIOS, VirtualBox with Intel's ROM",
            intel().guid(OF_MAC).secs(8),
            "offer to everyone, flags 8000, file undionly.kpxe, 60 PXEClient, 43 060108ff, \
             97 0000259001020300000000000000000000",
        ),
        discover(
            "Hyper-V generation 1, whose discover has two hops",
            intel().guid(OF_MAC).hops(2),
            "offer to everyone, flags 8000, hops 2, file undionly.kpxe, 60 PXEClient, 43 060108ff, \
             97 0000259001020300000000000000000000",
        ),
        boot_server(
            "Intel's ROM on port 4011, from port 68",
            Packet::request(MAC).ciaddr([192, 0, 2, 50]).class(BIOS).arch(0).guid(DUMMY),
            "ack to its source, ciaddr 192.0.2.50, file undionly.kpxe, 60 PXEClient, 43 060108ff, \
             97 0000020003000400050006000700080009",
        ),
        boot_server(
            "Intel's ROM on port 4011 after a menu, with its boot item",
            Packet::request(MAC)
                .ciaddr([192, 0, 2, 50])
                .class(BIOS)
                .arch(0)
                .option(43, &[71, 4, 0, 7, 0, 0, 255]),
            "ack to its source, ciaddr 192.0.2.50, file undionly.kpxe, 60 PXEClient, \
             43 060108470400070000ff",
        ),
        discover(
            "Intel's ROM releases its lease to us when port 4011 was silent",
            Packet::new(7, MAC).ciaddr([192, 0, 2, 50]).class(BIOS).arch(0),
            "ignored: a message type that is the DHCP server's to answer",
        ),
        discover(
            "a boot item by inform (PXE 2.1)",
            Packet::new(8, MAC)
                .ciaddr([192, 0, 2, 50])
                .class(BIOS)
                .arch(0)
                .option(43, &[71, 4, 0, 0, 0, 0, 255]),
            "ack to its source, flags 8000, ciaddr 192.0.2.50, yiaddr 192.0.2.50, \
             file undionly.kpxe, 60 PXEClient, 43 060108470400000000ff",
        ),
        discover(
            "an inform without a boot item",
            Packet::new(8, MAC).ciaddr([192, 0, 2, 50]).class(BIOS).arch(0),
            "ignored: a message type that is the DHCP server's to answer",
        ),
        discover(
            "an inform without an address",
            Packet::new(8, MAC).class(BIOS).arch(0).option(43, &[71, 4, 0, 0, 0, 0, 255]),
            "ignored: a message type that is the DHCP server's to answer",
        ),
        discover(
            "a ROM that tells its architecture in option 60 alone",
            Packet::discover(MAC).class(BIOS),
            "offer to everyone, flags 8000, file undionly.kpxe, 60 PXEClient, 43 060108ff",
        ),
        discover(
            "a ROM that tells none",
            Packet::discover(MAC).class("PXEClient"),
            "left alone: it says neither in option 93 nor in option 60 what firmware it is",
        ),
        discover(
            "a ROM behind a DHCP relay",
            intel().giaddr([192, 0, 2, 254]),
            "ignored: it came through a DHCP relay",
        ),
    ]
}

/// Those of UEFI.
fn uefi() -> Vec<Shape> {
    vec![
        discover(
            "EDK2 on AMD's and ASRock's x64 boards",
            edk2(7, X64),
            "offer to everyone, flags 8000, file snponly.efi, 60 PXEClient, 43 060108ff, \
             97 0000259001020300000000000000000000",
        ),
        discover(
            "x64 firmware that says 9, as the RFC's errata have it",
            edk2(9, "PXEClient:Arch:00009:UNDI:003010"),
            "offer to everyone, flags 8000, file snponly.efi, 60 PXEClient, 43 060108ff, \
             97 0000259001020300000000000000000000",
        ),
        boot_server(
            "EDK2's third try on port 4011, seconds swapped, no options 50 and 54",
            Packet::request(MAC)
                .ciaddr([192, 0, 2, 50])
                .secs(512)
                .option(57, &[0xff, 0])
                .class(X64)
                .arch(7),
            "ack to its source, ciaddr 192.0.2.50, file snponly.efi, 60 PXEClient, 43 060108ff",
        ),
        discover(
            "x86 UEFI",
            edk2(6, "PXEClient:Arch:00006:UNDI:003016"),
            "offer to everyone, flags 8000, file snponly-i386.efi, 60 PXEClient, 43 060108ff, \
             97 0000259001020300000000000000000000",
        ),
        discover(
            "an ARM64 server",
            edk2(11, "PXEClient:Arch:00011:UNDI:003000"),
            "offer to everyone, flags 8000, file snponly-arm64.efi, 60 PXEClient, 43 060108ff, \
             97 0000259001020300000000000000000000",
        ),
        discover(
            "x64 UEFI HTTP Boot",
            edk2(16, "HTTPClient:Arch:00016:UNDI:003016"),
            "offer to everyone, flags 8000, file http://192.0.2.1/snponly.efi, 60 HTTPClient, \
             97 0000259001020300000000000000000000",
        ),
        discover(
            "ARM64 UEFI HTTP Boot",
            edk2(19, "HTTPClient:Arch:00019:UNDI:003000"),
            "offer to everyone, flags 8000, file http://192.0.2.1/snponly-arm64.efi, 60 HTTPClient, \
             97 0000259001020300000000000000000000",
        ),
        discover(
            "LoongArch UEFI",
            edk2(39, "PXEClient:Arch:00039:UNDI:003000"),
            "offer to everyone, flags 8000, file snponly-loong64.efi, 60 PXEClient, 43 060108ff, \
             97 0000259001020300000000000000000000",
        ),
        boot_server(
            "HTTP Boot has no boot server",
            Packet::request(MAC).class("HTTPClient:Arch:00016:UNDI:003016").arch(16),
            "ignored: a message type that is the DHCP server's to answer",
        ),
        discover(
            "an Itanium",
            edk2(2, "PXEClient:Arch:00002:UNDI:002001"),
            "left alone: Itanium (option 93 is 2): nobody builds a boot program for it any more",
        ),
    ]
}

/// Boards that boot in ways of their own.
fn boards() -> Vec<Shape> {
    const MENU: &str = "offer to everyone, file , 60 PXEClient, 43 0601030a04005058450917000014\
                        52617370626572727920506920426f6f74202020ff";
    vec![
        discover("a Raspberry Pi 3's boot ROM, which says BIOS", pi(PI_3), MENU),
        discover(
            "a Raspberry Pi 4's EEPROM, known by its GUID",
            pi(MAC).guid(RPI4),
            "offer to everyone, file , 60 PXEClient, 43 0601030a04005058450917000014\
             52617370626572727920506920426f6f74202020ff, 97 0052506934143103000102030405060708",
        ),
        discover("a Raspberry Pi 4's EEPROM, known by its address", pi(PI_4), MENU),
        discover("rpiboot", Packet::discover(MAC).flags(0).class("PXEClient").arch(41), MENU),
        boot_server(
            "a Raspberry Pi's request, which has no option 93",
            Packet::request(PI_4).ciaddr([192, 0, 2, 50]).class(BIOS),
            "ack to its source, ciaddr 192.0.2.50, file , 60 PXEClient, \
             43 0601030a0400505845091700001452617370626572727920506920426f6f74202020ff",
        ),
        discover(
            "a Raspberry Pi 4 with UEFI, which says ARM64",
            Packet::discover(PI_4).class("PXEClient:Arch:00011:UNDI:003000").arch(11),
            "offer to everyone, flags 8000, file snponly-arm64.efi, 60 PXEClient, 43 060108ff",
        ),
        discover(
            "U-Boot on ARM64",
            Packet::discover(MAC).flags(0).class("PXEClient:Arch:00022:UNDI:003000").arch(22),
            "left alone: no boot program for U-Boot ARM64: name one in [boot.programs] u-boot-arm64",
        ),
        discover(
            "U-Boot on ARM64 that looks for UEFI programs",
            Packet::discover(MAC).flags(0).class("PXEClient:Arch:00011:UNDI:003000").arch(11),
            "offer to everyone, file snponly-arm64.efi, 60 PXEClient, 43 060108ff",
        ),
        discover(
            "U-Boot on RISC-V, hexadecimal and without option 93",
            Packet::discover(MAC).flags(0).class("PXEClient:Arch:0001b:UNDI:003000"),
            "offer to everyone, file snponly-riscv64.efi, 60 PXEClient, 43 060108ff",
        ),
        discover(
            "U-Boot on RISC-V that says nothing of PXE",
            Packet::discover(MAC).flags(0).class("U-Boot.riscv"),
            "ignored: neither a PXE nor an HTTP Boot client",
        ),
    ]
}

/// iPXE.
fn of_ipxe() -> Vec<Shape> {
    vec![
        discover(
            "iPXE in a card's ROM",
            ipxe(0, IPXE),
            "offer to everyone, file http://192.0.2.1/boot.ipxe, 60 PXEClient, 43 060108ff, \
             175 01017f",
        ),
        discover(
            "iPXE without HTTP in a card's ROM",
            ipxe(0, IPXE_WITHOUT_HTTP),
            "offer to everyone, file undionly.kpxe, 60 PXEClient, 43 060108ff, 175 01017f",
        ),
        discover(
            "Debian's undionly.kpxe on a card that has an address, with a bare option 60",
            Packet::discover(MAC).class("PXEClient").arch(0).option(77, b"iPXE"),
            "offer to everyone, flags 8000, file http://192.0.2.1/boot.ipxe, 60 PXEClient, \
             43 060108ff, 175 01017f",
        ),
        discover(
            "an iPXE that was built with a name of its own",
            Packet::discover(MAC)
                .flags(0)
                .class(X64)
                .arch(7)
                .option(77, b"pixiecore")
                .option(175, IPXE),
            "offer to everyone, file http://192.0.2.1/boot.ipxe, 60 PXEClient, 43 060108ff, \
             175 01017f",
        ),
        discover(
            "iPXE on a processor that there is no boot program for",
            ipxe(35, IPXE),
            "offer to everyone, file http://192.0.2.1/boot.ipxe, 60 PXEClient, 43 060108ff, \
             175 01017f",
        ),
    ]
}

#[test]
fn each_firmware_that_was_met_gets_the_answer_it_understands() {
    let config = everyone();
    let offering = offering(&config, usual(), 80);
    let shapes: Vec<Shape> = [bios(), uefi(), boards(), of_ipxe()].into_iter().flatten().collect();
    assert!(shapes.len() > 35, "only {} shapes", shapes.len());
    for Shape { name, packet, port, answer } in shapes {
        assert_eq!(in_brief(&ask(&packet.bytes(), port, &offering)), answer, "{name}");
    }
}

/// RFC 3046 section 2.2: whole, unread, as the last option.
#[test]
fn option_82_comes_back_last_where_the_client_can_take_it() {
    let config = everyone();
    let offering = offering(&config, usual(), 80);
    let plain = Packet::discover(MAC).class(X64).arch(7);
    let last = |packet: &Packet| {
        let Answer::Reply(reply) = ask(&packet.bytes(), Port::Dhcp, &offering) else {
            panic!("no reply")
        };
        let message = Message::new(&reply.bytes).expect("we write valid DHCP");
        let codes = message.opts().map(|option| (u8::from(option.code()), option.data().to_vec()));
        codes.filter(|(code, _)| ![0, 255].contains(code)).last().expect("it has options")
    };
    let short = [1, 6, 0, 4, 0, 1, 1, 2, 2, 8, 0, 6, 0, 0x11, 0x22, 0x33, 0x44, 0x55];
    for information in [&short[..], &[], &[0xff; 150]] {
        let snooped = plain.clone().option(82, information).guid(DUMMY);
        assert_eq!(last(&snooped), (82, information.to_vec()));
    }
    // 255 octets fit where the client says so in option 57, and are left out where it does not.
    let long = plain.clone().option(82, &[7; 255]).option(57, &[0x05, 0xc0]);
    assert_eq!(last(&long), (82, vec![7; 255]));
    // The offer without it has 240 + 3 + 6 + 11 + 6 + 19 + 1 = 286 octets, and 548 are the least.
    let long = plain.option(82, &[7; 255]).guid(DUMMY).option(57, &[0, 0]);
    assert_eq!(last(&long), (82, vec![7; 255]));
}

#[test]
fn a_card_that_is_not_ethernet_is_named() {
    let config = everyone();
    let offering = offering(&config, usual(), 80);
    let bytes = edk2(7, X64).bytes();
    for (hardware_type, expected) in [
        (32, "ignored: it boots over InfiniBand, and only Ethernet machines are served"),
        (6, "ignored: hardware type 6 is not Ethernet"),
    ] {
        let mut bytes = bytes.clone();
        (bytes[1], bytes[2]) = (hardware_type, 0);
        let said = in_brief(&ask(&bytes, Port::Dhcp, &offering));
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn a_board_gets_the_file_that_is_named_for_it() {
    let text = "[boot.programs]\nu-boot-arm64 = \"boot.scr.uimg\"\nuefi-x64 = \"https://x/y.efi\"\n\
                [[profile]]\nname = \"p\"\nkernel = \"/k\"\n[[group]]\nname = \"g\"\nprofile = \"p\"";
    let config = Config::parse(text, "test").expect("the config is valid");
    let programs = Programs::new(&config.named_programs, |_| false);
    let offering = offering(&config, &programs, 80);
    let u_boot = Packet::discover(MAC).flags(0).class("PXEClient:Arch:00022:UNDI:003000").arch(22);
    for (packet, answer) in [
        (u_boot, "offer to everyone, file boot.scr.uimg, 60 PXEClient, 43 060108ff"),
        (
            edk2(7, X64),
            "left alone: its boot program is https://x/y.efi, and PXE fetches by TFTP alone; it is \
             for HTTP Boot",
        ),
        (
            edk2(16, "HTTPClient:Arch:00016:UNDI:003016"),
            "offer to everyone, flags 8000, file https://x/y.efi, 60 HTTPClient, \
             97 0000259001020300000000000000000000",
        ),
        (
            pi(PI_4),
            "left alone: no bootcode.bin for Raspberry Pi, neither built in nor in [firmware] dir",
        ),
    ] {
        assert_eq!(in_brief(&ask(&packet.bytes(), Port::Dhcp, &offering)), answer);
    }
}

#[test]
fn a_group_has_its_own_boot_program_for_the_firmware_that_it_is_made_for() {
    let text = "[[profile]]\nname = \"p\"\nkernel = \"/k\"\n\
                [[group]]\nname = \"all\"\nprofile = \"p\"\n\
                [[group]]\nname = \"g\"\nprofile = \"p\"\nboot-program = \"shimx64.efi\"\n\
                offer = \"boot-server\"\nselector.mac = \"00:25:90:*\"";
    let config = Config::parse(text, "test").expect("the config is valid");
    let offering = offering(&config, usual(), 80);
    let file = |packet: &Packet| in_brief(&ask(&packet.bytes(), Port::Dhcp, &offering));
    assert_eq!(
        file(&edk2(7, X64)),
        "offer to everyone, flags 8000, file shimx64.efi, 60 PXEClient, \
         97 0000259001020300000000000000000000"
    );
    assert!(file(&intel()).contains("file undionly.kpxe"), "shim is none of a BIOS");
    assert!(file(&ipxe(7, IPXE)).contains("/boot.ipxe"), "iPXE runs already");
    assert!(file(&Packet::discover(PI_3).class(X64).arch(7)).contains("file snponly.efi"));
}

#[test]
fn a_name_too_long_for_the_header_stands_in_option_67_with_its_nul() {
    let long = format!("{}.efi", "a".repeat(130));
    let text = format!(
        "[boot.programs]\nuefi-x64 = \"{long}\"\n\
         [[profile]]\nname = \"p\"\nkernel = \"/k\"\n[[group]]\nname = \"g\"\nprofile = \"p\""
    );
    let config = Config::parse(&text, "test").expect("the config is valid");
    let programs = Programs::new(&config.named_programs, |_| true);
    let said = in_brief(&ask(&edk2(7, X64).bytes(), Port::Dhcp, &offering(&config, &programs, 80)));
    let name: String = format!("{long}\0").bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(said.contains("file , ") && said.contains(&format!(", 67 {name}")), "{said}");
    // The longest option 82 then fits only where the client says so in option 57.
    let snooped = edk2(7, X64).option(82, &[7; 255]);
    let with_82 = |packet: &Packet| {
        in_brief(&ask(&packet.bytes(), Port::Dhcp, &offering(&config, &programs, 80)))
            .contains(", 82 07")
    };
    assert!(with_82(&snooped));
    assert!(!with_82(&Packet::discover(MAC).class(X64).arch(7).option(82, &[7; 255])));
}

#[test]
fn only_the_machines_of_the_allow_list_are_answered() {
    let text = "[network]\nallow = [\"00:25:90:*\", \"b8:27:eb:01:02:03\"]\n\
                [[profile]]\nname = \"p\"\nkernel = \"/k\"\n[[group]]\nname = \"g\"\nprofile = \"p\"";
    let config = Config::parse(text, "test").expect("the config is valid");
    let offering = offering(&config, usual(), 80);
    for (packet, expected) in [
        (intel(), "offer to everyone"),
        (pi(PI_3), "offer to everyone"),
        (pi(PI_4), "ignored: not among the machines of [network] allow"),
    ] {
        assert!(in_brief(&ask(&packet.bytes(), Port::Dhcp, &offering)).starts_with(expected));
    }
}

/// What is not as in every reply, in one line.
fn in_brief(answer: &Answer) -> String {
    let reply = match answer {
        Answer::Ignore(reason) => return format!("ignored: {reason}"),
        Answer::Learn(lease) => return format!("learned: {}", lease.address),
        Answer::LeaveAlone(_, _, reason) => return format!("left alone: {reason}"),
        Answer::Reply(reply) => reply,
    };
    let message = Message::new(&reply.bytes).expect("we write valid DHCP");
    let here = Ipv4Addr::new(192, 0, 2, 1);
    assert_eq!((message.opcode(), message.siaddr()), (Opcode::BootReply, here));
    assert_eq!(message.xid(), 0x1234_5678);
    let mut fields = Vec::new();
    let number = |what: &str, value: String, usual: &str| {
        (value != usual).then(|| format!("{what} {value}"))
    };
    fields.extend(number("flags", format!("{:04x}", u16::from(message.flags())), "0000"));
    fields.extend(number("hops", message.hops().to_string(), "0"));
    fields.extend(number("ciaddr", message.ciaddr().to_string(), "0.0.0.0"));
    fields.extend(number("yiaddr", message.yiaddr().to_string(), "0.0.0.0"));
    fields.push(format!("file {}", String::from_utf8_lossy(message.fname())));
    let mut kind = "";
    let mut options: Vec<(u8, Vec<u8>)> = message
        .opts()
        .map(|option| (u8::from(option.code()), option.data().to_vec()))
        .filter(|(code, _)| *code != 255 && *code != 0)
        .collect();
    options.sort_by_key(|(code, _)| [60, 43].iter().position(|first| first == code).unwrap_or(9));
    for (code, data) in options {
        match (code, data.as_slice()) {
            (53, [2]) => kind = "offer",
            (53, [5]) => kind = "ack",
            (54, server) => assert_eq!(server, [192, 0, 2, 1]),
            (60, class) => fields.push(format!("60 {}", String::from_utf8_lossy(class))),
            (code, data) => {
                let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
                fields.push(format!("{code} {hex}"));
            }
        }
    }
    let to = match reply.to {
        Recipient::Broadcast => "everyone",
        Recipient::Source => "its source",
    };
    format!("{kind} to {to}, {}", fields.join(", "))
}
