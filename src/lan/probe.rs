//! What a machine would ask that wants to boot, made up to hear who answers.

use std::{fmt, net::Ipv4Addr};

use crate::machine::Mac;

const HEADER: usize = 236;
const MAGIC_COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
/// Where an answer's flags stand, and the flag that asks for it by broadcast.
const FLAGS: usize = 10;
const BROADCAST: u8 = 0x80;
const SECS: usize = 8;
/// BOOTP's least message; some servers drop shorter ones.
const LEAST: usize = 300;
const UDP_HEADER: u16 = 8;
/// How the made-up machines' addresses begin: locally administered, so never a card's own.
const BIOS: [u8; 2] = [0x02, 0xb0];
const UEFI: [u8; 2] = [0x06, 0xb0];
/// Where the hardware address stands.
const CHADDR: usize = 28;
/// An option for private use (RFC 3942), by which a bootbox knows the question and notes no boot.
const MARK: [u8; 15] = *b"\xe0\x0dbootbox check";

/// One question: a discover that is never followed by a request, so that it takes no address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probe {
    /// As what it asks.
    pub guise: Guise,
    /// The made-up machine, the same in each run on one box: a DHCP server sets an address aside
    /// for it for a moment, and not one more with each run.
    pub mac: Mac,
    /// The number of the exchange.
    pub xid: u32,
}

/// What a probe claims to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Guise {
    /// An x86 BIOS.
    Bios,
    /// A 64-bit x86 UEFI.
    Uefi,
}

impl fmt::Display for Guise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bios => "BIOS",
            Self::Uefi => "UEFI",
        })
    }
}

impl Probe {
    /// A BIOS and a UEFI machine; `seed` tells two runs apart.
    pub fn both(ours: Ipv4Addr, seed: u32) -> Vec<Self> {
        let [a, b, c, d] = ours.octets();
        let kinds = [(BIOS, Guise::Bios, seed), (UEFI, Guise::Uefi, !seed)];
        let probe = |([x, y], guise, xid): ([u8; 2], Guise, u32)| {
            Some(Self { guise, mac: Mac::new([x, y, a, b, c, d])?, xid })
        };
        kinds.into_iter().filter_map(probe).collect()
    }

    /// The UDP datagram from port 68 to port 67, without its IP header. It has no checksum, which
    /// IPv4 leaves to the sender (RFC 768).
    pub fn datagram(&self) -> Vec<u8> {
        let message = self.message();
        let len = UDP_HEADER + u16::try_from(message.len()).unwrap_or_default();
        let mut datagram = Vec::new();
        for number in [68, 67, len, 0] {
            datagram.extend(number.to_be_bytes());
        }
        datagram.extend(message);
        datagram
    }

    fn message(&self) -> Vec<u8> {
        let (arch, class) = match self.guise {
            Guise::Bios => (0, b"PXEClient:Arch:00000:UNDI:002001"),
            Guise::Uefi => (7, b"PXEClient:Arch:00007:UNDI:003016"),
        };
        let mut message = vec![0; HEADER];
        message[..3].copy_from_slice(&[1, 1, 6]);
        message[4..8].copy_from_slice(&self.xid.to_be_bytes());
        message[FLAGS] = BROADCAST;
        message[CHADDR..CHADDR + 6].copy_from_slice(&self.mac.octets());
        message.extend(MAGIC_COOKIE);
        message.extend([53, 1, 1]);
        message.extend([57, 2, 0x05, 0xc0]);
        message.extend([55, 9, 1, 3, 6, 12, 15, 43, 60, 66, 67]);
        message.extend([93, 2, 0, arch, 94, 3, 1, 3, 16]);
        // A GUID of zeros, as QEMU's machines have: it names nobody.
        message.extend([97, 17]);
        message.extend([0; 17]);
        message.extend([60, 32]);
        message.extend(class);
        message.extend(MARK);
        message.push(255);
        message.resize(message.len().max(LEAST), 0);
        message
    }
}

/// Whether a message is the question of a `bootbox check --lan`, to be answered and not followed: no
/// boot comes of it.
pub fn is_probe(message: &[u8]) -> bool {
    let prefix = message.get(CHADDR..CHADDR + 2);
    let is_made_up = [BIOS, UEFI].iter().any(|made_up| prefix == Some(&made_up[..]));
    is_made_up && message.windows(MARK.len()).any(|window| window == MARK)
}

/// Whether iPXE says in this discover that it has heard a DHCP server's offer and no proxy's: it
/// writes so into the low bits of `secs` (dhcp.c).
pub fn misses_us(discover: &[u8]) -> bool {
    matches!(discover.get(SECS..SECS + 2), Some([_, low]) if low & 0b11 == 0b10)
}
