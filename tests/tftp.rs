//! TFTP on the wire: recorded and hand-made requests, Debian's clients, loss, aborts and crowds.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails, its helpers too")]

#[path = "tftp/client.rs"]
mod client;
#[path = "tftp/clients.rs"]
mod clients;
mod fake;
#[path = "tftp/mutations.rs"]
mod mutations;
mod mutator;
#[path = "tftp/relay.rs"]
mod relay;
#[path = "tftp/service.rs"]
mod service;

use std::{
    fs, io,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use client::Fetch;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use relay::Relay;
use service::{Service, TEXT_LINES};

/// Every packet of fixtures/tftp and the start of its answer; `N` is the file's size, 3000.
#[rustfmt::skip]
const ANSWERS: [(&str, &str); 31] = [
    ("ipxe-undionly-chain_05_c2s_tftp-rrq_25579-69", "OACK blksize 1432 tsize 3000"),
    ("ipxe-undionly-chain_11_c2s_tftp-rrq_35837-69", "OACK blksize 1432 tsize 3000"),
    ("ovmf2022.11_pxe-tftp404_pxe6_httpboot_05_c2s_tftp-rrq_1538-69", "ERROR 1 no such file"),
    ("ovmf2022.11_pxe4_no43_07_c2s_tftp-rrq_1580-69", "OACK tsize 3000 blksize 1468 windowsize 4"),
    ("ovmf2022.11_pxe4_no43_08_c2s_tftp-rrq_1581-69", "OACK blksize 1468 windowsize 4"),
    ("ovmf_shim16.1_grub2.06_05_c2s_tftp-rrq_1580-69", "OACK tsize 3000 blksize 1468 windowsize 4"),
    ("ovmf_shim16.1_grub2.06_06_c2s_tftp-rrq_1581-69", "OACK blksize 1468 windowsize 4"),
    ("ovmf_shim16.1_grub2.06_07_c2s_tftp-rrq_1582-69", "ERROR 1 no such file"),
    ("ovmf_shim16.1_grub2.06_08_c2s_tftp-rrq_1583-69", "ERROR 1 no such file"),
    ("ovmf_shim16.1_grub2.06_09_c2s_tftp-rrq_1584-69", "ERROR 1 no such file"),
    ("ovmf_shim16.1_grub2.06_10_c2s_tftp-rrq_1585-69", "OACK blksize 512 windowsize 4"),
    ("ovmf_shim16.1_grub2.06_11_c2s_tftp-rrq_25300-69", "ERROR 1 no such file"),
    ("ovmf_shim16.1_grub2.06_12_c2s_tftp-rrq_25301-69", "ERROR 1 no such file"),
    ("ovmf_shim16.1_grub2.06_13_c2s_tftp-rrq_25302-69", "ERROR 1 no such file"),
    ("ovmf_shim16.1_grub2.06_14_c2s_tftp-rrq_25303-69", "ERROR 1 no such file"),
    ("ovmf_shim16.1_grub2.06_15_c2s_tftp-rrq_25304-69", "OACK blksize 1024 tsize 3000"),
    ("ovmf_shim16.1_grub2.06_16_c2s_tftp-rrq_25305-69", "ERROR 1 no such file"),
    ("ovmf_shim16.1_grub2.06_17_c2s_tftp-rrq_25306-69", "ERROR 1 no such file"),
    ("ovmf_snponly_ipxe4011_07_c2s_tftp-rrq_1049-69", "OACK tsize 3000 blksize 1468 windowsize 4"),
    ("ovmf_snponly_ipxe4011_08_c2s_tftp-rrq_1050-69", "OACK blksize 1468 windowsize 4"),
    ("tftp_rrq_backslash", "DATA 1"),
    ("tftp_rrq_blksize_dup", "OACK blksize 1432"),
    ("tftp_rrq_dotdot", "ERROR 2 the file name climbs with \"..\""),
    ("tftp_rrq_dotdot_backslash", "ERROR 2 the file name climbs with \"..\""),
    ("tftp_rrq_doubleslash", "OACK blksize 1024 tsize 3000"),
    ("tftp_rrq_huge_window", "OACK blksize 1468 windowsize 64"),
    ("tftp_rrq_multicast_empty", "OACK blksize 1432 tsize 3000"),
    ("tftp_rrq_neg_tsize", "DATA 1"),
    ("tftp_rrq_netascii", "ERROR 4 only octet mode is served here (tftp -m binary)"),
    ("tftp_rrq_no_mode_nul", "ERROR 4 the mode has no end"),
    ("tftp_rrq_odd_options", "DATA 1"),
];
const LAST_ANSWERS: [(&str, &str); 2] =
    [("tftp_rrq_trailing_ff", "OACK tsize 3000"), ("tftp_wrq", "ERROR 2 this server is read-only")];

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// Fetches a file into memory.
fn fetched(fetch: &Fetch<'_>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fetch.run(|block| bytes.extend_from_slice(block))?;
    Ok(bytes)
}

/// Receives a packet and spells it.
fn receive(socket: &UdpSocket) -> (String, std::net::SocketAddr) {
    let mut buffer = [0; 65_536];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    assert!(length <= 1500 - 28, "{length} bytes are more than one MTU");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', " ").trim().to_owned();
    let spelled = match &buffer[..length] {
        [0, 3, high, low, ..] => format!("DATA {}", u16::from_be_bytes([*high, *low])),
        [0, 5, 0, code, rest @ ..] => format!("ERROR {code} {}", text(rest)),
        [0, 6, rest @ ..] => format!("OACK {}", text(rest)),
        other => panic!("{other:?}"),
    };
    (spelled, from)
}

#[test]
fn every_recorded_and_every_odd_request_gets_its_answer() {
    let service = Service::start();
    for folder in ["boot", "debian", "grub"] {
        fs::create_dir(service.root.join(folder)).unwrap();
    }
    for name in [
        "undionly.kpxe",
        "snponly.efi",
        "ipxe.efi",
        "boot/ipxe.efi",
        "debian/shimx64.efi",
        "debian/grubx64.efi",
        "grub/grub.cfg",
    ] {
        service.file(name, 3000);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tftp");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), ANSWERS.len() + LAST_ANSWERS.len());
    for (name, answer) in ANSWERS.into_iter().chain(LAST_ANSWERS) {
        let packet = fs::read(folder.join(format!("{name}.bin"))).unwrap();
        let socket = socket();
        socket.send_to(&packet, service.address).unwrap();
        let (spelled, from) = receive(&socket);
        assert_eq!(spelled, answer, "{name}");
        socket.send_to(b"\0\x05\0\0done\0", from).unwrap();
    }
}

#[test]
fn what_is_no_file_may_be_a_text_of_ours() {
    let service = Service::start();
    let fetch = |name, block_size, window| {
        let server = service.address;
        fetched(&Fetch { server, name, block_size, window })
            .map(|text| String::from_utf8(text).unwrap())
    };
    for (name, asked) in [
        ("/grub/x86_64-efi/grub.cfg", "First(None)"),
        ("debian-installer\\amd64\\grub\\grub.cfg", "First(None)"),
        ("//grub.cfg-01-52-54-00-12-34-56\u{0}", "First(Some(Mac([82, 84, 0, 18, 52, 86])))"),
        ("/snp/autoexec.ipxe", "Autoexec"),
    ] {
        let name = name.trim_end_matches('\0');
        for (block_size, window) in [(Some(1024), None), (None, None), (Some(1468), Some(4))] {
            let line = format!("127.0.0.1 asks 127.0.0.1 for {asked}\n");
            let text = fetch(name, block_size, window).unwrap();
            assert_eq!(text, line.repeat(TEXT_LINES), "{name}");
        }
    }
    let told = fetch("/grub.cfg;mac=52:54:00:12:34:56;platform=efi;product=a b", None, None);
    assert!(told.unwrap().contains(r#""product": "a b""#));
    for lists in ["/grub/x86_64-efi/command.lst", "/grub/x86_64-efi/fs.lst", "/grub.cfg/x"] {
        let error = fetch(lists, Some(1024), None).unwrap_err();
        assert!(error.to_string().contains("no such file"), "{lists}: {error}");
    }
    for image in [
        "coreos_production_image.bin.bz2",
        "coreos_production_image.bin.bz2.sig",
        "fedora-coreos-43-metal.x86_64.raw.xz",
    ] {
        service.file(image, 3000);
        let error = fetch(image, None, None).unwrap_err().to_string();
        assert!(error.contains("over HTTP only"), "{image}: {error}");
    }
    let name = "autoexec.ipxe";
    let bytes = service.file(name, 3000);
    let (server, block_size, window) = (service.address, None, None);
    assert_eq!(fetched(&Fetch { server, name, block_size, window }).unwrap(), bytes);
}

#[test]
fn what_is_no_request_is_met_with_silence_or_error_5() {
    let service = Service::start();
    let socket = socket();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    for packet in [&b""[..], b"\0", b"\0\x09xx", b"\0\x05\0\0x\0", b"\0\x05\0\x05"] {
        socket.send_to(packet, service.address).unwrap();
        let silence = socket.recv(&mut [0; 9]).unwrap_err();
        assert_eq!(silence.kind(), io::ErrorKind::WouldBlock, "{packet:?}");
    }
    for packet in [&b"\0\x04\0\x01"[..], b"\0\x03\0\x01x"] {
        socket.send_to(packet, service.address).unwrap();
        assert_eq!(receive(&socket).0, "ERROR 5 no such transfer on this port");
    }
}

/// EDK2 and Intel's ROM ask for the size, abort, and ask again, some from the same port.
#[test]
fn a_request_right_after_an_abort_is_answered_within_50_ms() {
    let service = Service::start();
    service.file("x", 5000);
    for (code, acks) in [(0, 0), (8, 0), (0, 1), (8, 1), (8, 2)] {
        for same in [true, false] {
            let socket = socket();
            socket.send_to(b"\0\x01x\0octet\0tsize\x000\0", service.address).unwrap();
            let (_, mut from) = receive(&socket);
            for block in 0..acks {
                socket.send_to(&[0, 4, 0, block], from).unwrap();
                from = receive(&socket).1;
            }
            let started = Instant::now();
            socket.send_to(&[0, 5, 0, code, 0], from).unwrap();
            let again: &[u8] =
                if same { b"\0\x01x\0octet\0tsize\x000\0" } else { b"\0\x01x\0octet\0" };
            socket.send_to(again, service.address).unwrap();
            let (answer, port) = receive(&socket);
            assert!(started.elapsed() < Duration::from_millis(50), "{:?}", started.elapsed());
            assert_eq!(answer, if same { "OACK tsize 5000" } else { "DATA 1" });
            assert_ne!(port, from, "a new transfer has a new port");
        }
    }
}

#[test]
fn another_request_from_the_same_port_replaces_the_transfer() {
    let service = Service::start();
    service.file("a", 5000);
    service.file("b", 6000);
    let socket = socket();
    socket.send_to(b"\0\x01a\0octet\0tsize\x000\0", service.address).unwrap();
    let (_, first) = receive(&socket);
    socket.send_to(&[0, 4, 0, 0], first).unwrap();
    assert_eq!(receive(&socket).0, "DATA 1");
    socket.send_to(b"\0\x01b\0octet\0tsize\x000\0", service.address).unwrap();
    let (answer, second) = receive(&socket);
    assert_eq!(answer, "OACK tsize 6000");
    assert_ne!(first, second);
}

#[test]
fn a_repeated_request_is_answered_from_the_same_port() {
    let service = Service::start();
    service.file("a", 5000);
    let socket = socket();
    let answers = [(); 3].map(|()| {
        socket.send_to(b"\0\x01a\0octet\0tsize\x000\0", service.address).unwrap();
        receive(&socket)
    });
    assert_eq!(answers[0].0, "OACK tsize 5000");
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

/// A machine that lost its power in the middle asks again from its ROM's fixed port.
#[test]
fn a_machine_that_starts_anew_is_served_anew() {
    let service = Service::start();
    service.file("a", 5000);
    let socket = socket();
    let request = b"\0\x01a\0octet\0tsize\x000\0";
    socket.send_to(request, service.address).unwrap();
    let (_, first) = receive(&socket);
    socket.send_to(&[0, 4, 0, 0], first).unwrap();
    assert_eq!(receive(&socket).0, "DATA 1");
    let started = Instant::now();
    let second = loop {
        assert!(started.elapsed() < Duration::from_secs(5));
        thread::sleep(Duration::from_millis(200));
        socket.send_to(request, service.address).unwrap();
        if let (answer, from) = receive(&socket)
            && answer == "OACK tsize 5000"
        {
            break from;
        }
    };
    assert_ne!(first, second);
    assert!(started.elapsed() >= Duration::from_millis(900), "a retry is no restart");
}

#[test]
fn a_file_that_changes_meanwhile_ends_in_an_error() {
    let service = Service::start();
    let path = service.root.join("x");
    let truncate = || fs::write(&path, "short").unwrap();
    let rewrite = || fs::write(&path, vec![7; 20_000]).unwrap();
    let replace = || {
        fs::write(path.with_extension("new"), vec![7; 20_000]).unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
    };
    for (change, text) in [
        (&truncate as &dyn Fn(), "ERROR 0 the file was cut short"),
        (&rewrite, "ERROR 0 the file was changed or replaced"),
        (&replace, "ERROR 0 the file was changed or replaced"),
    ] {
        service.file("x", 20_000);
        let socket = socket();
        socket.send_to(b"\0\x01x\0octet\0blksize\x001000\0", service.address).unwrap();
        let (mut spelled, from) = receive(&socket);
        for block in 0_u8..=20 {
            if block == 3 {
                change();
            }
            socket.send_to(&[0, 4, 0, block], from).unwrap();
            spelled = receive(&socket).0;
            if spelled.starts_with("ERROR") {
                break;
            }
        }
        assert_eq!(spelled, text);
    }
}

#[test]
fn five_percent_loss_both_ways_only_slows_a_transfer() {
    let service = Service::start();
    let expected = service.file("lossy", 1 << 20);
    thread::scope(|scope| {
        for (block_size, window, seed) in [
            (None, None, 1),
            (Some(1468), None, 2),
            (Some(1468), Some(4), 3),
            (Some(1468), Some(16), 4),
            (Some(1468), Some(64), 5),
        ] {
            let (server, expected) = (service.address, &expected);
            scope.spawn(move || {
                let relay = Relay::start(server, 5, seed).unwrap();
                let fetch = Fetch { server: relay.address, name: "lossy", block_size, window };
                let started = Instant::now();
                assert!(fetched(&fetch).unwrap() == *expected, "{fetch:?}");
                assert!(started.elapsed() < Duration::from_secs(60), "{fetch:?}");
            });
        }
    });
}

#[test]
fn five_hundred_transfers_at_once_complete() {
    let service = Service::start();
    let expected = service.file("crowd", 200_000);
    let clients: Vec<_> = (0..500)
        .map(|number: u16| {
            let server = service.address;
            let expected = expected.clone();
            let client = move || {
                let window = Some([1, 4, 16, 64][usize::from(number % 4)]);
                let fetch = Fetch { server, name: "crowd", block_size: Some(1468), window };
                assert!(fetched(&fetch).unwrap() == expected, "client {number}");
            };
            thread::Builder::new().stack_size(256 << 10).spawn(client).unwrap()
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

/// Each of 1024 seats has a socket here and one there.
fn allow_many_sockets() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(8192), hard).unwrap();
}

#[test]
fn two_addresses_that_answer_cannot_keep_all_seats() {
    allow_many_sockets();
    let service = Service::start();
    let expected = service.file("a", 5000);
    let greedy: Vec<UdpSocket> = (0..1100)
        .map(|number| {
            let address = Ipv4Addr::new(127, 0, 0, 2 + (number % 2) as u8);
            let socket = UdpSocket::bind((address, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket.send_to(b"\0\x01a\0octet\0tsize\x000\0", service.address).unwrap();
            if number < 1024 {
                let (_, transfer) = receive(&socket);
                socket.send_to(&[0, 4, 0, 0], transfer).unwrap();
                // On a busy machine its answer may have been sent again by then.
                while receive(&socket).0 != "DATA 1" {}
            }
            socket
        })
        .collect();
    let fetch = Fetch { server: service.address, name: "a", block_size: None, window: None };
    assert!(fetched(&fetch).unwrap() == expected);
    let last = greedy.last().unwrap();
    last.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(last.recv(&mut [0; 512]).is_err(), "who has many gets none for another");
}

#[test]
fn addresses_that_never_answer_lose_their_seats_to_machines_that_do() {
    allow_many_sockets();
    // One address gets 640 of the 1024 seats.
    let service = Service::start();
    let expected = service.file("a", 5000);
    let old = socket();
    old.send_to(b"\0\x01a\0octet\0tsize\x000\0", service.address).unwrap();
    let (_, transfer) = receive(&old);
    old.send_to(&[0, 4, 0, 0], transfer).unwrap();
    assert_eq!(receive(&old).0, "DATA 1");

    let made_up: Vec<UdpSocket> = (0..1100)
        .map(|number| {
            let socket =
                UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2 + (number % 2) as u8), 0)).unwrap();
            socket.send_to(b"\0\x01a\0octet\0", service.address).unwrap();
            socket
        })
        .collect();
    thread::sleep(Duration::from_millis(1500));
    let fetch = Fetch { server: service.address, name: "a", block_size: None, window: None };
    let started = Instant::now();
    assert!(fetched(&fetch).unwrap() == expected);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    // Who has answered keeps its own, however long it pauses.
    old.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    while receive(&old).0 == "DATA 1" {
        old.send_to(&[0, 4, 0, 1], transfer).unwrap();
    }
    drop(made_up);
}

#[test]
fn a_drained_service_ends_its_transfers_first() {
    let mut service = Service::start();
    let expected = service.file("slow", 100_000);
    let server = service.address;
    let (begun, wait) = std::sync::mpsc::channel();
    let client = thread::spawn(move || {
        let fetch = Fetch { server, name: "slow", block_size: Some(1000), window: None };
        let mut bytes = Vec::new();
        let done = fetch.run(|block| {
            bytes.extend_from_slice(block);
            let _ = begun.send(());
            thread::sleep(Duration::from_millis(3));
        });
        done.map(|_| bytes)
    });
    wait.recv_timeout(Duration::from_secs(5)).unwrap();
    service.drain();
    assert!(client.join().unwrap().unwrap() == expected);
}
