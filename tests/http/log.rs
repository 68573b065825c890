//! The log of transfers: one line each, at its end.

use std::{
    fs, io,
    sync::{Mutex, Once},
    thread,
    time::{Duration, Instant},
};

use bootbox::serve::http::Limits;
use tracing_subscriber::filter::LevelFilter;

use super::server::{PATIENCE, Server, get};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Keeps what every server of this process writes, as JSON.
pub(crate) fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let log = tracing_subscriber::fmt().json().with_max_level(LevelFilter::DEBUG);
        log.with_writer(|| Sink).init();
    });
}

struct Sink;

impl io::Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines about a file, once there is one.
fn lines(file: &str) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    let field = format!("\"file\":\"/{file}\"");
    loop {
        let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
        let found: Vec<_> = log.lines().filter(|line| line.contains(&field)).collect();
        if !found.is_empty() || Instant::now() > end {
            return found.into_iter().map(str::to_owned).collect();
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn assert_one(file: &str, parts: &[&str]) {
    let lines = lines(file);
    assert_eq!(lines.len(), 1, "{file}: {lines:?}");
    for part in parts.iter().chain(&["\"protocol\":\"http\"", "\"address\":\"127.0.0.1\""]) {
        assert!(lines[0].to_lowercase().contains(part), "{part} is not in {}", lines[0]);
    }
}

#[test]
fn a_transfer_is_one_line_at_its_end() {
    const LONG: usize = 64 << 20;
    let server = Server::with(Limits { stall: Duration::from_secs(3), ..Limits::default() });
    for name in ["log-cut", "log-left", "log-stalled", "log-whole"] {
        server.file(name, &vec![b'a'; LONG]);
    }
    server.file("log-empty", b"");
    let begin = |name: &str| {
        let mut client = server.connect();
        client.send(&get(name));
        client.head();
        client.read(1);
        client
    };
    let stalled = begin("/log-stalled");
    let mut cut = begin("/log-cut");
    drop(begin("/log-left"));
    fs::write(server.root.join("log-cut"), "new").unwrap();
    cut.rest();
    let mut client = server.connect();
    client.ask(&get("/log-whole"));
    client.ask(b"GET /log-empty HTTP/1.1\r\nHost: x\r\n\r\n");
    client.ask(b"GET /log-none HTTP/1.1\r\nHost: x\r\n\r\n");
    server.ask(&get("/log%1b%5b2Jescape"));

    let whole = format!("\"bytes\":{LONG},\"size\":{LONG}");
    assert_one("log-whole", &["\"end\":\"complete\"", &whole, "\"level\":\"info\""]);
    assert_one("log-empty", &["\"end\":\"complete\"", "\"bytes\":0,\"size\":0"]);
    assert_one("log-none", &["\"end\":\"refused\"", "no such file"]);
    assert_one("log-left", &["\"end\":\"aborted\"", &format!("\"size\":{LONG}")]);
    assert_one("log-cut", &["\"end\":\"failed\"", "changed"]);
    assert_one("log-stalled", &["\"end\":\"timed-out\""]);
    let escaped = lines("log%1b%5b2Jescape");
    assert_eq!(escaped.len(), 1, "a control character stays encoded in the log");
    drop(stalled);
}

#[test]
fn asking_about_a_file_is_a_probe_for_debugging() {
    let server = Server::start();
    server.file("log-probe", b"probe");
    server.ask(b"HEAD /log-probe HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_one("log-probe", &["\"end\":\"probed\"", "\"size\":5", "\"level\":\"debug\""]);
}
