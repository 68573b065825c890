//! What a DHCP server says to a client, read from the IP packet it stands in.

use std::net::Ipv4Addr;

use dhcproto::v4::{HType, Opcode, OptionCode, borrowed::Message};

use crate::{
    firmware::{self, Means},
    machine::Mac,
    trace::Finding,
};

/// The magic cookie, RFC 2131 section 3.
const MAGIC_COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
/// Where clients listen.
const CLIENT: u16 = 68;
/// What of a boot file's name is kept.
const LONGEST_NAME: usize = 128;

/// One message of a DHCP or ProxyDHCP server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerMessage {
    /// The server: option 54, else the sender.
    pub server: Ipv4Addr,
    /// What it is.
    pub kind: Kind,
    /// Whom it answers.
    pub mac: Mac,
    /// The number of that exchange.
    pub xid: u32,
    /// The address it gives; unspecified from a proxy.
    pub address: Ipv4Addr,
    /// The boot file, printable; empty where none is named.
    pub boot_file: String,
    /// How it boots machines, as it says of itself in option 60; most say nothing there.
    pub boots: Option<Means>,
}

/// The kinds of message that servers send to clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// An offer is taken.
    Ack,
    /// A request is refused.
    Nak,
    /// Something is offered.
    Offer,
}

/// What a server is to us, as far as one message tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// It gives addresses.
    Dhcp,
    /// It names boot files and gives no address.
    Proxy,
    /// We are.
    Us,
}

/// Why a packet is no server's message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unreadable {
    /// A request.
    NotAReply,
    /// No whole UDP datagram in IPv4.
    NotADatagram,
    /// A message type that is not a server's.
    NotAServers,
    /// The DHCP magic cookie is missing.
    NoMagicCookie,
    /// It answers nothing that can be a machine.
    NoMachine,
    /// The message type is missing: BOOTP.
    NoMessageType,
    /// Fewer bytes than a DHCP message has.
    TooShort,
}

/// Reads an IPv4 packet that came to port 68.
pub fn read(packet: &[u8]) -> Result<ServerMessage, Unreadable> {
    let (source, payload) = datagram(packet).ok_or(Unreadable::NotADatagram)?;
    let message = Message::new(payload).map_err(|_| Unreadable::TooShort)?;
    if message.opcode() != Opcode::BootReply {
        return Err(Unreadable::NotAReply);
    }
    if payload.get(236..240) != Some(&MAGIC_COOKIE) {
        return Err(Unreadable::NoMagicCookie);
    }
    // Before chaddr(): it slices by hlen and panics where that is over 16.
    if message.htype() != HType::Eth || message.hlen() != 6 {
        return Err(Unreadable::NoMachine);
    }
    let octets: [u8; 6] = message.chaddr().try_into().map_err(|_| Unreadable::NoMachine)?;
    let mac = Mac::new(octets).ok_or(Unreadable::NoMachine)?;
    let mut read = ServerMessage {
        server: source,
        kind: Kind::Offer,
        mac,
        xid: message.xid(),
        address: message.yiaddr(),
        boot_file: printable(message.fname()),
        boots: None,
    };
    let mut kind = None;
    for option in message.opts() {
        let data = option.data();
        #[expect(clippy::wildcard_enum_match_arm, reason = "we read four of 140 options")]
        match option.code() {
            OptionCode::MessageType => kind = data.first().copied(),
            OptionCode::ServerIdentifier => {
                if let Ok(octets) = <[u8; 4]>::try_from(data) {
                    read.server = octets.into();
                }
            }
            OptionCode::ClassIdentifier => read.boots = firmware::means(data),
            OptionCode::BootfileName => read.boot_file = printable(data),
            _ => {}
        }
    }
    // RFC 2132 section 9.6.
    read.kind = match kind.ok_or(Unreadable::NoMessageType)? {
        2 => Kind::Offer,
        5 => Kind::Ack,
        6 => Kind::Nak,
        _ => return Err(Unreadable::NotAServers),
    };
    Ok(read)
}

/// The sender and content of a UDP datagram to clients. The kernel has put fragments together and
/// looked at the IP header; UDP's checksum may be left to the card, and is not looked at.
fn datagram(packet: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let first = *packet.first()?;
    let header = usize::from(first & 0xf) * 4;
    if first >> 4 != 4 || header < 20 || *packet.get(9)? != UDP {
        return None;
    }
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let datagram = packet.get(header..)?;
    let number = |at: usize| -> Option<u16> {
        Some(u16::from_be_bytes(datagram.get(at..at + 2)?.try_into().ok()?))
    };
    if number(2)? != CLIENT {
        return None;
    }
    Some((source.into(), datagram.get(UDP_HEADER..usize::from(number(4)?))?))
}

/// A name as far as its first NUL, fit for a log line.
fn printable(name: &[u8]) -> String {
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    let plain = |&byte: &u8| if byte.is_ascii_graphic() { char::from(byte) } else { '?' };
    name.iter().take(LONGEST_NAME).map(plain).collect()
}

impl ServerMessage {
    /// What the server is; nothing is told by, say, an offer of neither address nor boot file.
    pub fn role(&self, ours: Ipv4Addr) -> Option<Role> {
        match (self.kind, self.boots) {
            (Kind::Ack | Kind::Offer, _) if !self.address.is_unspecified() => Some(Role::Dhcp),
            (Kind::Ack | Kind::Offer, Some(_)) if self.server == ours => Some(Role::Us),
            (Kind::Ack | Kind::Offer, Some(_)) => Some(Role::Proxy),
            (Kind::Ack | Kind::Nak, _) => Some(Role::Dhcp),
            (Kind::Offer, None) => None,
        }
    }

    /// What an operator wants to know of it.
    pub fn finding(&self, ours: Ipv4Addr) -> Option<Finding> {
        let (server, boot_file) = (self.server, self.boot_file.clone());
        match (self.role(ours)?, self.boots) {
            (Role::Dhcp, Some(by)) => Some(Finding::ClaimsToBoot { server, by }),
            (Role::Dhcp, None) => {
                (!boot_file.is_empty()).then_some(Finding::OwnBootFile { server, boot_file })
            }
            (Role::Proxy, _) => Some(Finding::RivalProxy { server, boot_file }),
            (Role::Us, _) => None,
        }
    }
}

impl Unreadable {
    /// The stable name of this reason in counters and JSON logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotAReply => "not-a-reply",
            Self::NotADatagram => "not-a-datagram",
            Self::NotAServers => "not-a-servers",
            Self::NoMagicCookie => "no-magic-cookie",
            Self::NoMachine => "no-machine",
            Self::NoMessageType => "no-message-type",
            Self::TooShort => "too-short",
        }
    }
}
