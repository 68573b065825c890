//! A machine that installs itself, played over the wire: what it asks for and in which order is
//! what a CoreOS of 2016 does with the post's script.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::lab::Failure;
use crate::lab::walker::{Stage, Walker};

pub(crate) const IMAGE: &str = "/coreos/1122.2.0/coreos_production_image.bin.bz2";
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 2), 80);
const PATIENCE: Duration = Duration::from_secs(20);
/// An offer comes within milliseconds.
const OFFER: Duration = Duration::from_millis(900);
/// Whoever waits so long is left alone.
const SILENCE: Duration = Duration::from_millis(400);

/// A machine, and what it has by now.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub(crate) walker: Walker,
    pub(crate) more: String,
    /// Scripts that install it that it was given.
    pub(crate) scripts: u32,
    /// The most bytes of an image that it had at once.
    pub(crate) image: usize,
    /// Images that it had all of.
    pub(crate) images: u32,
    /// Bytes of the reply that it reads now.
    pub(crate) heard: Arc<AtomicUsize>,
}

/// A reply.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) is_whole: bool,
}

impl Guest {
    /// The machine of this number, at an address that its desk has.
    pub(crate) fn number(number: u16) -> Self {
        let walker = Walker::number(number, Ipv4Addr::BROADCAST);
        let more = "&platform=pcbios".to_owned();
        Self { walker, more, scripts: 0, image: 0, images: 0, heard: Arc::default() }
    }

    /// Its firmware asks for a network boot; whether it is answered.
    pub(crate) fn powers_on(&self, port_68: &UdpSocket) -> Result<bool, Failure> {
        let offer = self.walker.offer_within(port_68, Stage::Bios, OFFER)?;
        if offer.is_some() {
            self.walker.take_lease(port_68)?;
        }
        Ok(offer.is_some())
    }

    /// The same where no answer is expected.
    pub(crate) fn is_left_alone(&self, port_68: &UdpSocket) -> Result<bool, Failure> {
        Ok(self.walker.offer_within(port_68, Stage::Bios, SILENCE)?.is_none())
    }

    /// Its script, counted where it installs.
    pub(crate) fn script(&mut self) -> Result<String, Failure> {
        let mac = self.walker.mac_text().replace(':', "-");
        let answer = self.asks("GET", &format!("/ipxe?mac={mac}{}", self.more))?;
        let script = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status != 200 || !answer.is_whole {
            return Err(Failure::new(format!("no script: {} {script}", answer.head)));
        }
        self.scripts += u32::from(installs(&script));
        Ok(script)
    }

    /// Fetches what its script names, the signature and the image.
    pub(crate) fn installs(&mut self) -> Result<(), Failure> {
        for file in ["/k", "/i"] {
            self.whole("GET", file)?;
        }
        self.whole("HEAD", IMAGE)?;
        self.whole("HEAD", &format!("{IMAGE}.sig"))?;
        self.whole("GET", &format!("{IMAGE}.sig"))?;
        let image = self.asks("GET", IMAGE)?;
        self.image = self.image.max(image.body.len());
        if !image.is_whole {
            return Err(Failure::new(format!("cut off after {}", image.body.len())));
        }
        self.images += 1;
        Ok(())
    }

    /// Power-on to the last byte.
    pub(crate) fn story(&mut self, port_68: &UdpSocket) -> Result<(), Failure> {
        if !self.powers_on(port_68)? {
            return Err(Failure::new("it is left alone"));
        }
        let script = self.script()?;
        if !installs(&script) {
            return Err(Failure::new(format!("not installed: {script}")));
        }
        self.installs()
    }

    pub(crate) fn reports(&self, query: &str) -> Result<(u16, String), Failure> {
        self.reports_with(query, "")
    }

    /// The same with more lines in the head, or another Host.
    pub(crate) fn reports_with(&self, query: &str, lines: &str) -> Result<(u16, String), Failure> {
        let answer = self.asks_with("POST", &format!("/v1/event?{query}"), lines)?;
        Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// One request whose reply must be there, and whole.
    pub(crate) fn whole(&self, method: &str, target: &str) -> Result<Answer, Failure> {
        let answer = self.asks(method, target)?;
        if answer.status != 200 || !answer.is_whole {
            let Answer { head, body, .. } = answer;
            let why = format!("{method} {target}: {} bytes after {head}", body.len());
            return Err(Failure::new(why));
        }
        Ok(answer)
    }

    /// One request from this machine's address.
    pub(crate) fn asks(&self, method: &str, target: &str) -> Result<Answer, Failure> {
        self.asks_with(method, target, "")
    }

    /// The same with more lines in its head.
    pub(crate) fn asks_with(
        &self,
        method: &str,
        target: &str,
        lines: &str,
    ) -> Result<Answer, Failure> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((self.walker.address, 0)).into())?;
        socket.connect_timeout(&SocketAddr::from(SERVER).into(), PATIENCE)?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        let host = match lines.contains("Host: ") {
            true => String::new(),
            false => format!("Host: {SERVER}\r\n"),
        };
        let head = format!("{method} {target} HTTP/1.1\r\n{host}{lines}Connection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        let mut answer = Vec::new();
        // A server that is killed may reset the connection: what came before that came.
        let mut piece = [0; 16 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            answer.extend_from_slice(&piece[..count]);
            self.heard.store(answer.len(), Ordering::Relaxed);
        }
        let end = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .ok_or_else(|| Failure::new(format!("{method} {target}: no head")))?;
        let body = answer.split_off(end + 4);
        let head = String::from_utf8_lossy(&answer).into_owned();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let length = field("Content-Length: ").and_then(|length| length.parse().ok());
        let is_whole = method == "HEAD" || length == Some(body.len());
        let status = head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
        Ok(Answer { status, head, body, is_whole })
    }
}

/// Whether a script boots a profile.
pub(crate) fn installs(script: &str) -> bool {
    script.contains("\nkernel http") && script.contains("\nboot")
}
