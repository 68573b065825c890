//! The wire, as tcpdump wrote it: who sent which frame to whom, and which DHCP
//! replies came from where. Reads classic pcap files of an Ethernet LAN.

// How long a machine took is printed, as the boot tests print theirs.
#![allow(clippy::print_stdout)]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::Failure;
use super::cases::ARRIVAL;
use super::namespace::Namespace;
use super::process::Process;

/// tcpdump on the bridge.
pub struct Capture {
    _tcpdump: Process,
    file: PathBuf,
}

/// One IPv4 UDP datagram.
#[derive(Debug, Clone)]
pub struct Datagram {
    /// When, since 1970.
    pub at: Duration,
    /// Sender's address.
    pub from: [u8; 4],
    /// Sender's and receiver's port.
    pub ports: (u16, u16),
    /// What it carried.
    pub payload: Vec<u8>,
}

impl Capture {
    /// Starts recording `bridge` into the evidence folder.
    pub fn start(bridge: &Namespace, evidence: &Path) -> Result<Self, Failure> {
        let file = evidence.join("lan.pcap");
        let mut command = bridge.command("tcpdump");
        // Of TCP only connection set-up, ends and pushes: a kernel is many megabytes.
        command
            .args(["-i", "lan", "-n", "-U", "--immediate-mode", "-Z", "root", "-w"])
            .arg(&file)
            .arg("not tcp or tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0 or dst port 80");
        let tcpdump = Process::spawn("tcpdump", command, &evidence.join("tcpdump.log"))?;
        tcpdump.wait_for("listening on lan", Duration::from_secs(10))?;
        Ok(Self { _tcpdump: tcpdump, file })
    }

    /// Every frame so far, as captured.
    fn frames(&self) -> Result<Vec<Frame>, Failure> {
        let bytes = fs::read(&self.file)?;
        if bytes.get(..4) != Some(&0xa1b2_c3d4_u32.to_ne_bytes()) {
            return Err(Failure::new("lan.pcap is not a pcap file of this machine"));
        }
        let mut frames = Vec::new();
        let mut rest = &bytes[24..];
        // Record: seconds, microseconds, captured length, original length; then the frame.
        while let Some((header, after)) = rest.split_at_checked(16) {
            let length = u32::from_ne_bytes(header[8..12].try_into().expect("four bytes"));
            let Some((frame, after)) = after.split_at_checked(length as usize) else {
                break;
            };
            frames.push(Frame { at: time(header), bytes: frame.to_vec() });
            rest = after;
        }
        Ok(frames)
    }

    /// How many frames went from one card straight to another.
    pub fn frames_between(&self, from: &str, to: &str) -> Result<usize, Failure> {
        let (from, to) = (mac(from), mac(to));
        let frames = self.frames()?;
        let matching = frames
            .iter()
            .map(|frame| &frame.bytes)
            .filter(|frame| frame.get(..6) == Some(&to) && frame.get(6..12) == Some(&from));
        Ok(matching.count())
    }

    /// The cards that `from` sent IPv6 router advertisements to.
    pub fn advertised_to(&self, from: &str) -> Result<Vec<[u8; 6]>, Failure> {
        let from = mac(from);
        let frames = self.frames()?;
        // Ethernet type 86dd, next header 58 (ICMPv6) at once, type 134.
        let advertisements = frames.iter().map(|frame| &frame.bytes).filter(|frame| {
            frame.get(6..14) == Some(&[&from[..], &[0x86, 0xdd]].concat())
                && frame.get(20) == Some(&58)
                && frame.get(54) == Some(&134)
        });
        Ok(advertisements.filter_map(|frame| frame.get(..6)?.try_into().ok()).collect())
    }

    /// Every UDP datagram so far.
    pub fn datagrams(&self) -> Result<Vec<Datagram>, Failure> {
        let frames = self.frames()?;
        Ok(frames.iter().filter_map(datagram).collect())
    }

    /// Waits for a datagram that is `wanted`, the first of its kind.
    pub fn wait_for(
        &self,
        wanted: impl Fn(&Datagram) -> bool,
        limit: Duration,
    ) -> Result<Datagram, Failure> {
        let end = Instant::now() + limit;
        loop {
            if let Some(datagram) = self.datagrams()?.into_iter().find(&wanted) {
                return Ok(datagram);
            }
            if Instant::now() >= end {
                return Err(Failure::new(format!("no such datagram in {limit:?}")));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Holds the time from a card's first discover to the first read request.
    pub fn asks_tftp_within(&self, card: &str, limit: Duration) -> Result<(), Failure> {
        let card = mac(card);
        let asked = self.wait_for(Datagram::is_tftp, ARRIVAL)?;
        let discover = self.wait_for(|datagram| datagram.is_discover_of(card), ARRIVAL)?;
        within("discover to TFTP", discover.at, asked.at, limit)
    }

    /// Who answered the DHCP messages of this card: the senders' addresses, each
    /// once per reply, in order.
    pub fn dhcp_replies_to(&self, card: &str) -> Result<Vec<[u8; 4]>, Failure> {
        let card = mac(card);
        let replies = self.datagrams()?.into_iter().filter(|datagram| {
            [67, 4011].contains(&datagram.ports.0)
                && datagram.payload.first() == Some(&2)
                && datagram.payload.get(28..34) == Some(&card)
        });
        Ok(replies.map(|datagram| datagram.from).collect())
    }
}

/// Holds the time between two datagrams.
pub fn within(what: &str, from: Duration, to: Duration, limit: Duration) -> Result<(), Failure> {
    let took = to.saturating_sub(from);
    println!("{what}: {:.3} s", took.as_secs_f64());
    match took <= limit {
        true => Ok(()),
        false => Err(Failure::new(format!("{what}: {took:?}"))),
    }
}

impl Datagram {
    /// Whether a machine asks for a file.
    pub fn is_tftp(&self) -> bool {
        self.ports.1 == 69
    }

    /// Whether this card says something to DHCP servers; a discover comes first.
    pub fn is_discover_of(&self, card: [u8; 6]) -> bool {
        self.ports == (68, 67) && self.payload.get(28..34) == Some(&card)
    }
}

/// One frame as it was recorded.
struct Frame {
    at: Duration,
    bytes: Vec<u8>,
}

/// The time of a record: its first two fields, seconds and microseconds.
fn time(header: &[u8]) -> Duration {
    let word = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().expect("four bytes"));
    Duration::from_secs(word(0).into()) + Duration::from_micros(word(4).into())
}

fn datagram(Frame { at, bytes: frame }: &Frame) -> Option<Datagram> {
    let ip = frame.strip_prefix(frame.get(..12)?)?.strip_prefix(&[8, 0])?;
    if ip.get(9) != Some(&17) {
        return None;
    }
    let udp = ip.get(usize::from(ip[0] & 0xf) * 4..)?;
    let port = |at: usize| Some(u16::from_be_bytes(udp.get(at..at + 2)?.try_into().ok()?));
    Some(Datagram {
        at: *at,
        from: ip.get(12..16)?.try_into().ok()?,
        ports: (port(0)?, port(2)?),
        payload: udp.get(8..)?.to_vec(),
    })
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).expect("a MAC address of the lab"))
        .collect();
    bytes.try_into().expect("six bytes")
}
