//! The HTTP service over real sockets: requests as bytes, replies as bytes.
// A test that cannot go on has failed.
#![allow(clippy::unwrap_used)]

#[path = "http/busy.rs"]
mod busy;
mod fake;
#[path = "http/log.rs"]
mod log;
#[path = "http/server.rs"]
mod server;

use std::{
    fs,
    os::unix::fs::{FileExt, symlink},
};

use bootbox::serve::beneath::Lookup;
use nix::{sys::stat::Mode, unistd::mkfifo};
use server::{Server, get};

/// The two ways in which a name is looked up; this system may have one alone.
const BOTH: [Lookup; 2] = [Lookup::Kernel, Lookup::Walk];

#[test]
fn a_file_arrives_whole_with_title_case_headers() {
    let server = Server::start();
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    server.file("coreos/vmlinuz", &content);
    let answer = server.ask(&get("/coreos/vmlinuz"));
    assert_eq!(answer.status(), 200);
    assert!(answer.body == content, "the body differs");
    for field in [
        "\r\nContent-Length: 12000000\r\n",
        "\r\nContent-Type: application/octet-stream\r\n",
        "\r\nAccept-Ranges: bytes\r\n",
        "\r\nLast-Modified: ",
        "\r\nEtag: \"",
        "\r\nDate: ",
        "\r\nServer: bootbox\r\n",
    ] {
        assert!(answer.head.contains(field), "{field:?} is not in {}", answer.head);
    }
    assert!(
        !answer.head.contains("Content-Encoding") && !answer.head.contains("Transfer-Encoding")
    );
    assert_eq!(server.ask(&get("//coreos///vmlinuz")).body.len(), content.len());
}

#[test]
fn the_requests_of_real_firmware_are_answered_on_one_connection() {
    let server = Server::start();
    let shim: Vec<u8> = (0..900_000_u32).map(|n| n as u8).collect();
    server.file("debian/shimx64.efi", &shim);
    server.file("s.ipxe", b"#!ipxe\n");
    let mut client = server.connect();
    let head = client.ask(include_bytes!("fixtures/http/http_UefiHttpBoot_1.0_HEAD.txt"));
    let whole = client.ask(include_bytes!("fixtures/http/http_UefiHttpBoot_1.0_GET.txt"));
    assert!(head.head.contains("\r\nContent-Length: 900000\r\n"), "{}", head.head);
    assert!(head.head.contains("\r\nContent-Type: application/efi\r\n"));
    assert_eq!(head.without_date(), whole.without_date());
    assert!(head.body.is_empty() && whole.body == shim);
    let ipxe = include_bytes!("fixtures/http/http_iPXE_1.0.0+git-20190125.36a4c8_GET.txt");
    for _ in 0..3 {
        assert_eq!(client.ask(ipxe).body, b"#!ipxe\n");
    }
}

#[test]
fn what_is_no_file_may_be_a_text_of_ours() {
    let server = Server::start();
    let told = |path: &str| String::from_utf8(server.ask(&get(path)).body).unwrap();
    assert_eq!(told("/EFI/fedora//grub.cfg"), "named First(None)");
    assert_eq!(told("/autoexec.ipxe"), "named Autoexec");
    let own = "/grub.cfg;mac=52:54:00:12:34:56;platform=efi;product=a%20b";
    assert!(told(own).starts_with("named Machine("), "{}", told(own));
    let head = |path: &str| format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
    let length = format!("\r\nContent-Length: {}\r\n", "named First(None)".len());
    assert!(server.ask(&head(own)).head.contains(&length), "a HEAD decides nothing");
    server.file("EFI/fedora/grub.cfg", b"theirs");
    assert_eq!(told("/EFI/fedora/grub.cfg"), "theirs");
    assert_eq!(server.ask(&get("/EFI/fedora/command.lst")).status(), 404);
}

#[test]
fn a_part_is_sent_to_who_asks_for_it() {
    let server = Server::start();
    server.file("a", b"0123456789");
    let mut client = server.connect();
    let with = |field: &str| format!("GET /a HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n").into_bytes();
    let part = client.ask(&with("Range: bytes=2-4"));
    assert_eq!((part.status(), &part.body[..]), (206, &b"234"[..]));
    assert!(part.head.contains("\r\nContent-Range: bytes 2-4/10\r\n"), "{}", part.head);
    let etag = part.field("Etag").to_owned();
    assert_eq!(client.ask(&with(&format!("Range: bytes=8-\r\nIf-Range: {etag}"))).body, b"89");
    assert_eq!(client.ask(&with("Range: bytes=8-\r\nIf-Range: \"old\"")).body, b"0123456789");
    assert_eq!(client.ask(&with("Range: bytes=1-2,4-5")).body, b"0123456789");
    let known = client.ask(&with(&format!("If-None-Match: {etag}")));
    assert_eq!((known.status(), known.body.len()), (304, 0));
    let since = part.field("Last-Modified").to_owned();
    assert_eq!(client.ask(&with(&format!("If-Modified-Since: {since}"))).status(), 304);
    let behind = client.ask(&with("Range: bytes=10-"));
    assert_eq!(behind.refused(), 416);
    assert!(behind.head.contains("\r\nContent-Range: bytes */10\r\n"), "{}", behind.head);
    assert_eq!(server.ask(&with("If-Match: \"old\"")).refused(), 412);
    server.file("a", b"other");
    assert_eq!(server.ask(&with(&format!("If-None-Match: {etag}"))).body, b"other");
}

#[test]
fn a_file_above_4_gib_is_addressed_to_its_end() {
    let server = Server::start();
    let file = fs::File::create(server.root.join("big")).unwrap();
    file.set_len(5 << 30).unwrap();
    file.write_all_at(b"marker", 9 << 29).unwrap();
    let start = 9_u64 << 29;
    let request =
        format!("GET /big HTTP/1.1\r\nHost: x\r\nRange: bytes={start}-{}\r\n\r\n", start + 5);
    let part = server.ask(request.as_bytes());
    assert_eq!((part.status(), &part.body[..]), (206, &b"marker"[..]));
    let head = server.ask(b"HEAD /big HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(head.field("Content-Length"), "5368709120");
}

#[test]
fn an_empty_file_is_an_empty_body() {
    let server = Server::start();
    server.file("empty", b"");
    server.file("next", b"next");
    let mut client = server.connect();
    let empty = client.ask(&get("/empty"));
    assert_eq!((empty.status(), empty.field("Content-Length")), (200, "0"));
    assert_eq!(client.ask(&get("/next")).body, b"next");
}

#[test]
fn nothing_outside_the_root_is_served() {
    BOTH.into_iter().for_each(serves_nothing_outside_the_root);
}

fn serves_nothing_outside_the_root(lookup: Lookup) {
    let server = Server::by(lookup);
    fs::create_dir_all(server.root.join("sub")).unwrap();
    fs::write(server.root.parent().unwrap().join("secret"), "secret").unwrap();
    symlink("/etc/passwd", server.root.join("absolute")).unwrap();
    symlink("../secret", server.root.join("climbs")).unwrap();
    symlink("/", server.root.join("all")).unwrap();
    symlink("loop", server.root.join("loop")).unwrap();
    symlink("gone", server.root.join("dangling")).unwrap();
    for (target, status) in [
        ("/../secret", 400),
        ("/sub/../../secret", 400),
        ("/%2e%2e/secret", 400),
        ("/%2E%2e%2fsecret", 400),
        ("/..%2fsecret", 400),
        ("/sub%2f..%2f..%2fsecret", 400),
        ("/%252e%252e/secret", 404),
        ("/..%252fsecret", 404),
        ("/..%c0%afsecret", 404),
        ("/..\\secret", 404),
        ("/secret%00.efi", 400),
        ("/a%0d%0ab", 400),
        ("/absolute", 403),
        ("/climbs", 403),
        ("/all/etc/passwd", 403),
        ("/loop", 403),
        ("/dangling", 404),
        ("/sub", 404),
        ("/sub/", 404),
        ("/", 404),
        ("/secret", 404),
        ("http://x/%2e%2e/secret", 400),
        ("*", 400),
    ] {
        let answer = server.ask(&get(target));
        assert_eq!(answer.refused(), status, "{lookup:?} {target}: {}", answer.head);
    }
}

#[test]
fn a_symlink_inside_is_followed_and_a_fifo_is_not_opened() {
    for lookup in BOTH {
        let server = Server::by(lookup);
        server.file("v2/kernel", b"two");
        symlink("v2", server.root.join("current")).unwrap();
        symlink(server.root.join("v2"), server.root.join("absolute")).unwrap();
        symlink("../root/v2", server.root.join("out-and-in")).unwrap();
        mkfifo(&server.root.join("fifo"), Mode::S_IRWXU).unwrap();
        for target in ["/current/kernel", "/absolute/kernel", "/out-and-in/kernel"] {
            assert_eq!(server.ask(&get(target)).body, b"two", "{lookup:?} {target}");
        }
        assert_eq!(server.ask(&get("/fifo")).refused(), 404, "{lookup:?}");
    }
}

#[test]
fn every_refusal_has_words_and_closes() {
    let server = Server::start();
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(9000));
    let fat = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(40_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101));
    for (request, status) in [
        (&b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"[..], 404),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"BREW /pot HTTP/1.1\r\n\r\n", 405),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 413),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
        (b"GET /a HTTP/1.0\r\nContent-Length: nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (b"GET /a\x01b HTTP/1.1\r\n\r\n", 400),
        (b"GET  /a  HTTP/9.9\r\n\r\n", 400),
        (long.as_bytes(), 414),
        (fat.as_bytes(), 431),
        (many.as_bytes(), 431),
    ] {
        let answer = server.ask(request);
        assert_eq!(answer.refused(), status, "{}", String::from_utf8_lossy(request));
        assert!(answer.head.contains("\r\nDate: "), "{}", answer.head);
    }
    let post = server.ask(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(post.field("Allow"), "GET, HEAD");
    let head = server.ask(b"HEAD /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((head.status(), head.body.len()), (404, 0));
    assert_eq!(head.field("Connection"), "close");
}

#[test]
fn scripts_come_from_elsewhere() {
    let server = Server::start();
    server.file("boot.ipxe", b"not this one");
    let mut client = server.connect();
    let boot = client.ask(&get("/boot.ipxe"));
    assert_eq!(boot.body, format!("boot for 127.0.0.1 at {}", server.address).into_bytes());
    assert_eq!(boot.field("Content-Type"), "text/plain; charset=utf-8");
    let own = client.ask(&get("/ipxe?mac=52-54-00-12-34-56&serial=A%20B"));
    assert_eq!(own.body, b"machine 52:54:00:12:34:56 Some(\"A B\")");
    let nobody = client.ask(&get("/ipxe?mac=no"));
    assert!(nobody.body.starts_with(b"nobody: mac=no is not a hardware address"));
    for target in ["/boot.ipxe", "/ipxe?mac=52-54-00-12-34-56", "/ipxe?mac=no", "/ipxe"] {
        let head = client.ask(format!("HEAD {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        assert_eq!(head.without_date(), boot.without_date(), "nobody's is made: {target}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_turn() {
    let server = Server::start();
    let big: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    server.file("big", &big);
    server.file("small", b"small");
    let mut client = server.connect();
    client
        .send(&[get("/big"), get("/small"), get("/big"), b"no\x01sense\r\n\r\n".to_vec()].concat());
    assert!(client.hear(true).body == big);
    assert_eq!(client.hear(true).body, b"small");
    assert!(client.hear(true).body == big);
    assert_eq!(client.hear(true).refused(), 400);
}

#[test]
fn an_old_client_is_answered_too() {
    let server = Server::start();
    server.file("a", b"a");
    let old = server.ask(b"GET /a HTTP/1.0\r\n\r\n");
    assert_eq!((old.status(), &old.body[..]), (200, &b"a"[..]));
    let mut client = server.connect();
    for _ in 0..2 {
        let kept = client.ask(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(kept.body, b"a");
    }
}

#[test]
fn what_is_embedded_is_served_like_a_file() {
    let program =
        bootbox::firmware::embedded(b"snponly.efi").expect("run firmware/fetch, build again");
    let bytes = program.bytes;
    let server = Server::start();
    let mut client = server.connect();
    let head = client.ask(b"HEAD /snponly.efi HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(
        head.field("Content-Length"),
        bytes.len().to_string(),
        "HTTP Boot asks for it first"
    );
    assert_eq!(head.field("Content-Type"), "application/efi");
    let whole = client.ask(&get("/snponly.efi"));
    assert!(whole.body == bytes && whole.field("Content-Type") == "application/efi");
    let part = client.ask(b"GET /snponly.efi HTTP/1.1\r\nHost: x\r\nRange: bytes=100-199\r\n\r\n");
    assert_eq!((part.status(), &part.body[..]), (206, &bytes[100..200]));
}
