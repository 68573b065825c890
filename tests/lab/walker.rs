//! A machine that is only its packets: it walks from discover to the last byte of
//! its initrd as firmware and iPXE do, without booting anything. Quick enough to
//! have 200 of them at once, and to see each answer byte by byte.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::Failure;

/// How long any one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What stands before the options of a DHCP message, magic cookie included.
const HEADER: usize = 240;

/// Who walks.
#[derive(Clone, Copy, Debug)]
pub struct Walker {
    /// Its hardware address.
    pub mac: [u8; 6],
    /// The address it says it takes.
    pub address: Ipv4Addr,
    /// Where its packets go: a LAN's broadcast address, or a server's own.
    pub to: Ipv4Addr,
}

/// What an offer says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    /// The boot file's name.
    pub file: String,
    /// Where TFTP is, from the header.
    pub server: Ipv4Addr,
}

/// Who sends a discover.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// A BIOS ROM.
    Bios,
    /// x64 UEFI that boots by HTTP.
    Http,
    /// iPXE.
    Ipxe,
    /// An office computer that wants an address and nothing else.
    Office,
}

impl Walker {
    /// The machine of this number.
    pub fn number(number: u16, to: Ipv4Addr) -> Self {
        let [high, low] = number.to_be_bytes();
        let address = Ipv4Addr::new(10, 77, 1 + high, low);
        Self { mac: [0x52, 0x54, 0, 0xaa, high, low], address, to }
    }

    /// Its address as text, as selectors have it.
    pub fn mac_text(&self) -> String {
        self.mac.map(|octet| format!("{octet:02x}")).join(":")
    }

    /// Goes all the way; the bytes it was given.
    pub fn boot(&self, port_68: &UdpSocket, http_port: u16) -> Result<usize, Failure> {
        let rom = self.discover(port_68, Stage::Bios)?;
        self.take_lease(port_68)?;
        let program = fetch_tftp(rom.server, &rom.file)?;
        let ipxe = self.discover(port_68, Stage::Ipxe)?;
        let server = SocketAddrV4::new(rom.server, http_port);
        let first = fetch_http(server, path_of(&ipxe.file)?)?;
        let query = format!("/ipxe?mac={}&platform=pcbios", self.mac_text());
        let script = fetch_http(server, &query)?;
        let text = String::from_utf8_lossy(&script);
        let mut bytes = program.len() + first.len() + script.len();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let is_image = matches!(words.next(), Some("kernel" | "initrd"));
            if let Some(url) = words.find(|word| is_image && word.starts_with("http://")) {
                bytes += fetch_http(server, path_of(url)?)?.len();
            }
        }
        if !text.contains("\nboot") {
            return Err(Failure::new(format!("no script that boots: {text}")));
        }
        Ok(bytes)
    }

    /// Broadcasts a discover until an offer comes, as firmware does.
    pub fn discover(&self, port_68: &UdpSocket, stage: Stage) -> Result<Offer, Failure> {
        self.offer_within(port_68, stage, PATIENCE)?
            .ok_or_else(|| Failure::new(format!("{}: no offer in {PATIENCE:?}", self.mac_text())))
    }

    /// The same for so long; nothing where it is left alone.
    pub fn offer_within(
        &self,
        port_68: &UdpSocket,
        stage: Stage,
        limit: Duration,
    ) -> Result<Option<Offer>, Failure> {
        let began = Instant::now();
        port_68.set_read_timeout(Some(Duration::from_millis(500)))?;
        let message = self.message(1, stage, &[]);
        let mut buffer = [0; 2048];
        while began.elapsed() < limit {
            port_68.send_to(&message, SocketAddrV4::new(self.to, 67))?;
            while let Ok((len, _)) = port_68.recv_from(&mut buffer) {
                if let Some(offer) = self.read_offer(&buffer[..len]) {
                    return Ok(Some(offer));
                }
            }
        }
        Ok(None)
    }

    /// Broadcasts the request that takes the office server's offer.
    pub fn take_lease(&self, port_68: &UdpSocket) -> Result<(), Failure> {
        let mut options = vec![50, 4];
        options.extend(self.address.octets());
        options.extend([54, 4, 10, 77, 0, 1]);
        let message = self.message(3, Stage::Bios, &options);
        port_68.send_to(&message, SocketAddrV4::new(self.to, 67))?;
        Ok(())
    }

    /// A DHCP message of this type.
    pub fn message(&self, kind: u8, stage: Stage, options: &[u8]) -> Vec<u8> {
        let mut message = vec![0; HEADER];
        message[..3].copy_from_slice(&[1, 1, 6]);
        message[4..8].copy_from_slice(&self.xid());
        message[28..34].copy_from_slice(&self.mac);
        message[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
        message.extend([53, 1, kind]);
        match stage {
            Stage::Office => {}
            Stage::Http => {
                message.extend([60, 33]);
                message.extend(b"HTTPClient:Arch:00016:UNDI:003016");
                message.extend([93, 2, 0, 16]);
            }
            Stage::Bios | Stage::Ipxe => {
                message.extend([60, 32]);
                message.extend(b"PXEClient:Arch:00000:UNDI:002001");
                message.extend([93, 2, 0, 0]);
            }
        }
        if stage == Stage::Ipxe {
            message.extend(b"\x4d\x04iPXE\xaf\x03\x13\x01\x01");
        }
        message.extend(options);
        message.push(255);
        message.resize(message.len().max(300), 0);
        message
    }

    fn xid(&self) -> [u8; 4] {
        [self.mac[2], self.mac[3], self.mac[4], self.mac[5]]
    }

    fn read_offer(&self, message: &[u8]) -> Option<Offer> {
        let is_ours = message.len() > HEADER && message[0] == 2 && message[4..8] == self.xid();
        // The office's own offer names no file.
        if !is_ours || message[108] == 0 {
            return None;
        }
        let name = message[108..236].split(|&byte| byte == 0).next()?;
        let server: [u8; 4] = message[20..24].try_into().ok()?;
        Some(Offer { file: String::from_utf8_lossy(name).into_owned(), server: server.into() })
    }
}

/// The client's port of DHCP, which several walkers may share one after the other.
pub fn port_68() -> Result<UdpSocket, Failure> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_broadcast(true)?;
    // A desk has no route to 255.255.255.255.
    socket.bind_device(Some(b"eth0"))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 68)).into())?;
    Ok(socket.into())
}

/// Reads a file in lockstep, as a ROM does.
pub fn fetch_tftp(server: Ipv4Addr, name: &str) -> Result<Vec<u8>, Failure> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut request = b"\0\x01".to_vec();
    request.extend(format!("{name}\0octet\0blksize\x001432\0").bytes());
    socket.send_to(&request, (server, 69))?;
    let mut file = Vec::new();
    let mut block = 512;
    let mut buffer = [0; 2048];
    loop {
        let (len, from) = socket.recv_from(&mut buffer)?;
        match &buffer[..len] {
            [0, 6, options @ ..] => {
                let words: Vec<&[u8]> = options.split(|&byte| byte == 0).collect();
                if let [b"blksize", size, ..] = words[..] {
                    let size = String::from_utf8_lossy(size);
                    block = size.parse().map_err(|_| Failure::new(format!("blksize {size}")))?;
                }
                socket.send_to(&[0, 4, 0, 0], from)?
            }
            [0, 3, high, low, data @ ..] => {
                file.extend(data);
                socket.send_to(&[0, 4, *high, *low], from)?;
                if data.len() < block {
                    return Ok(file);
                }
                0
            }
            other => return Err(Failure::new(format!("TFTP {name}: {other:?}"))),
        };
    }
}

/// Reads a file; anything but a 200 with all its bytes is a failure.
pub fn fetch_http(server: SocketAddrV4, target: &str) -> Result<Vec<u8>, Failure> {
    let (head, body) = ask_http(server, target)?;
    let length =
        head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
    if !head.starts_with("HTTP/1.1 200 ") || length != Some(body.len()) {
        return Err(Failure::new(format!("GET {target}: {} bytes after {head}", body.len())));
    }
    Ok(body)
}

/// Head and body of whatever answers.
pub fn ask_http(server: SocketAddrV4, target: &str) -> Result<(String, Vec<u8>), Failure> {
    ask_http_with(server, target, "")
}

/// The same with more lines in the request's head.
pub fn ask_http_with(
    server: SocketAddrV4,
    target: &str,
    lines: &str,
) -> Result<(String, Vec<u8>), Failure> {
    let mut stream = TcpStream::connect_timeout(&server.into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {server}\r\n{lines}Connection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .ok_or_else(|| Failure::new(format!("GET {target}: no HTTP head")))?;
    let body = answer.split_off(end + 4);
    Ok((String::from_utf8_lossy(&answer).into_owned(), body))
}

fn path_of(url: &str) -> Result<&str, Failure> {
    let rest = url.strip_prefix("http://").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    rest.ok_or_else(|| Failure::new(format!("{url} is no URL of ours")))
}
