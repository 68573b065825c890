//! What one client does must not be felt by another.

use std::{
    fs,
    io::Write,
    thread,
    time::{Duration, Instant},
};

use bootbox::serve::http::Limits;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::server::{Client, PATIENCE, Server, get};

/// More than the kernel buffers between two sockets on loopback.
const LONG: usize = 64 << 20;

/// Begins a download of `LONG` bytes and reads only its first.
fn begin(server: &Server) -> Client {
    let mut client = server.connect();
    client.send(&get("/long"));
    assert!(client.head().contains(&format!("\r\nContent-Length: {LONG}\r\n")));
    client.read(1);
    client
}

fn survives(change: impl FnOnce(&Server)) {
    let server = Server::start();
    server.file("long", &vec![b'a'; LONG]);
    server.file("other", &vec![b'b'; LONG]);
    let mut client = begin(&server);
    let mut other = server.connect();
    other.send(&get("/other"));
    other.head();
    change(&server);
    let rest = client.rest();
    assert!(rest.len() < LONG - 1, "the whole length arrived");
    // Zeros: pages that wait in the socket are the file's own, and cutting a file clears one.
    let strange = rest.iter().find(|&&byte| byte != b'a' && byte != 0);
    assert_eq!(strange, None, "bytes of another version arrived");
    assert!(other.read(LONG).iter().all(|&byte| byte == b'b'), "the other download was harmed");
    assert_eq!(server.ask(&get("/other")).body.len(), LONG);
}

#[test]
fn a_file_cut_short_ends_its_own_download_only() {
    survives(|server| {
        fs::File::options().write(true).open(server.root.join("long")).unwrap().set_len(9).unwrap();
    });
}

#[test]
fn a_file_replaced_ends_its_own_download_only() {
    survives(|server| {
        server.file("new", b"new");
        fs::rename(server.root.join("new"), server.root.join("long")).unwrap();
    });
}

#[test]
fn a_file_written_to_ends_its_own_download_only() {
    survives(|server| {
        // At its end, which is not sent yet.
        let mut file = fs::File::options().append(true).open(server.root.join("long")).unwrap();
        file.write_all(b"z").unwrap();
    });
}

#[test]
fn a_thousand_idle_and_slow_clients_do_not_stop_a_boot() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(8192), hard).unwrap();
    let server = Server::start();
    server.file("long", &vec![b'a'; LONG]);
    let crowd: Vec<Client> = (0..1200)
        .map(|number| {
            let mut client = server.connect_from(2 + (number % 6) as u8);
            match number % 3 {
                0 => {}
                1 => client.send(b"GET /long HTTP/1.1\r\nHost: "),
                _ => assert_eq!(client.ask(&get("/nothing.efi")).status(), 404),
            }
            client
        })
        .collect();
    let started = Instant::now();
    assert_eq!(server.ask(&get("/long")).body.len(), LONG);
    assert!(started.elapsed() < PATIENCE / 4, "{:?}", started.elapsed());
    drop(crowd);
}

#[test]
fn a_slow_head_and_an_idle_connection_are_closed() {
    let second = Duration::from_secs(1);
    let server = Server::with(Limits { head: second, idle: 2 * second, ..Limits::default() });
    server.file("a", b"a");
    let started = Instant::now();
    let mut silent = server.connect();
    let mut idle = server.connect();
    assert_eq!(idle.ask(&get("/a")).body, b"a");
    // One byte now and then must not buy more time.
    let mut slow = server.connect();
    let slow = thread::spawn(move || {
        for byte in b"GET /a HTTP/1.1\r\nHost: somewhere\r\n" {
            if slow.try_send(&[*byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        slow.rest()
    });
    assert_eq!(silent.rest(), b"");
    assert!(started.elapsed() >= second);
    assert_eq!(idle.rest(), b"");
    assert!(started.elapsed() >= 2 * second && started.elapsed() < PATIENCE / 2);
    assert_eq!(slow.join().unwrap(), b"");
}

#[test]
fn a_few_addresses_cannot_have_all_connections() {
    let limits = Limits { connections: 6, per_address_when_full: 1, ..Limits::default() };
    let server = Server::with(limits);
    server.file("a", b"a");
    let mut crowd: Vec<Client> = (0..4).map(|_| server.connect_from(2)).collect();
    // Each is served only after those before it were counted.
    for (number, client) in crowd.iter_mut().enumerate() {
        let _ = client.try_send(&get("/a"));
        let is_served = client.first_line().starts_with(b"HTTP/1.1 200");
        assert_eq!(is_served, number < 3, "{number}");
    }
    let mut other = server.connect_from(3);
    assert_eq!(other.ask(&get("/a")).body, b"a");
}

#[test]
fn a_client_that_stands_still_is_let_go() {
    let limits = Limits { stall: Duration::from_secs(1), per_address: 1, ..Limits::default() };
    let server = Server::with(limits);
    server.file("long", &vec![b'a'; LONG]);
    let client = begin(&server);
    let end = Instant::now() + PATIENCE;
    // While it holds the address's only place, everyone else is closed unheard.
    loop {
        let mut next = server.connect();
        if next.try_send(b"HEAD /long HTTP/1.1\r\nHost: x\r\n\r\n").is_ok()
            && next.first_line().starts_with(b"HTTP/1.1 200")
        {
            break;
        }
        assert!(Instant::now() < end, "still stands");
        thread::sleep(Duration::from_millis(100));
    }
    drop(client);
}

#[test]
fn a_slow_reader_is_not_let_go() {
    let server = Server::with(Limits { stall: Duration::from_secs(2), ..Limits::default() });
    server.file("long", &vec![b'a'; LONG]);
    let mut client = begin(&server);
    for _ in 0..8 {
        thread::sleep(Duration::from_millis(400));
        client.read(1 << 20);
    }
    assert_eq!(client.read(LONG - 1 - (8 << 20)).len(), LONG - 1 - (8 << 20));
}

#[test]
fn a_drain_finishes_downloads_and_closes_the_idle() {
    let mut server = Server::start();
    server.file("long", &vec![b'a'; LONG]);
    let mut busy = begin(&server);
    let mut idle = server.connect();
    assert_eq!(idle.ask(b"HEAD /long HTTP/1.1\r\nHost: x\r\n\r\n").status(), 200);
    let mut fresh = server.connect();
    server.tap.open();
    assert_eq!(idle.rest(), b"");
    assert_eq!(fresh.rest(), b"");
    assert_eq!(busy.rest().len(), LONG - 1);
    server.finish().unwrap();
    assert!(std::net::TcpStream::connect(server.address).is_err());
}

#[test]
fn a_panic_ends_its_own_connection_only() {
    let server = Server::start();
    server.file("long", &vec![b'a'; LONG]);
    let mut busy = begin(&server);
    let mut hurt = server.connect();
    hurt.send(&get("/ipxe?mac=525400123456&serial=panic"));
    assert_eq!(hurt.rest(), b"");
    assert_eq!(busy.read(LONG - 1).len(), LONG - 1);
    assert_eq!(server.ask(&get("/ipxe?mac=525400123456")).status(), 200);
}

#[test]
fn broken_heads_hurt_nobody() {
    const HEADS: [&[u8]; 3] = [
        include_bytes!("../fixtures/http/http_UefiHttpBoot_1.0_HEAD.txt"),
        include_bytes!("../fixtures/http/http_iPXE_1.0.0+git-20190125.36a4c8_GET.txt"),
        b"GET /ipxe?mac=52-54-00-12-34-56 HTTP/1.1\r\nRange: bytes=0-5\r\nExpect: 100-continue\r\n\r\n",
    ];
    let server = Server::start();
    server.file("s.ipxe", b"#!ipxe\n");
    let mut seed = 1_u64;
    let mut random = |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % bound
    };
    for round in 0..1500 {
        let mut head = HEADS[round % HEADS.len()].repeat(1 + random(3));
        for _ in 0..=random(4) {
            let at = random(head.len());
            match random(3) {
                0 => head[at] = random(256) as u8,
                1 => head.insert(at, random(256) as u8),
                _ => head.truncate(at.max(1)),
            }
        }
        let mut client = server.connect();
        client.send(&head);
        client.close_half();
        let heard = client.rest();
        let text = String::from_utf8_lossy(&heard);
        assert!(heard.is_empty() || text.starts_with("HTTP/1."), "{text}");
        assert!(heard.len() < 6 * 1500, "{} bytes", heard.len());
        let refused = text.starts_with("HTTP/1.1 4") && !head.starts_with(b"HEAD");
        assert!(!refused || text.contains("Connection: close\r\n"), "{text}");
        assert!(!refused || !text.contains("Content-Length: 0\r\n"), "{text}");
    }
    assert_eq!(server.ask(&get("/s.ipxe")).body, b"#!ipxe\n");
}

#[test]
fn a_client_that_closes_its_half_gets_its_answer() {
    let server = Server::start();
    server.file("long", &vec![b'a'; LONG]);
    let mut client = server.connect();
    client.send(&get("/long"));
    client.close_half();
    client.head();
    assert_eq!(client.rest().len(), LONG);
}

#[test]
fn clients_that_leave_midway_leave_nothing_behind() {
    let server = Server::with(Limits { connections: 4, ..Limits::default() });
    server.file("long", &vec![b'a'; LONG]);
    for _ in 0..50 {
        drop(begin(&server));
    }
    assert_eq!(server.ask(&get("/long")).body.len(), LONG);
}
