//! Why a packet is not answered: the log's line, the counter's label and the test's expectation.

use std::fmt;

use crate::firmware::{Firmware, Unidentified};

/// The hardware type of IP over InfiniBand (RFC 4390).
const INFINIBAND: u8 = 32;

/// Why a packet is not answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// It is to wait, for this reason, and its boot program would not ask whether it may go on.
    Held(String),
    /// Its own disk is what it boots, for this reason.
    Installed(String),
    /// `[boot] prefer-http` leaves its firmware to HTTP Boot.
    LeftToHttp,
    /// Not 6 octets of Ethernet that one machine can own.
    NoMachine,
    /// There is no boot program for this firmware: not embedded, in `[firmware] dir` or named.
    NoBootProgram(Firmware),
    /// No group matches the machine.
    NoGroup,
    /// The message type is missing: BOOTP.
    NoMessageType,
    /// The DHCP magic cookie is missing.
    NoMagicCookie,
    /// It is to be installed once, and this boot program asks us for nothing: the installation would
    /// be recorded nowhere, and begin again at each boot.
    NotRecorded(String),
    /// Its boot program is a URL, and it asks by PXE, which has only TFTP.
    NotByTftp(String),
    /// The message type is one that we never answer on this port.
    NotOurs,
    /// A hardware type (RFC 1700) that is not Ethernet, as InfiniBand's.
    NotEthernet(u8),
    /// A reply, perhaps our own.
    NotARequest,
    /// It is not among the machines of `[network] allow`.
    NotAllowed,
    /// Option 60 starts neither with `PXEClient` nor with `HTTPClient`.
    NotPxeClient,
    /// It came through a relay; we serve our own link.
    Relayed,
    /// Its group, or a narrower one than that which would install it, would have to know more of it
    /// than its firmware tells, and no iPXE will.
    TellsNoMore,
    /// Fewer bytes than a DHCP message has.
    TooShort,
    /// What it boots with is not told, or nothing that we have a boot program for.
    Unidentified(Unidentified),
}

impl Reason {
    /// The stable name of this reason in counters and JSON logs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Held(_) => "held",
            Self::Installed(_) => "installed",
            Self::LeftToHttp => "left-to-http",
            Self::NoBootProgram(_) => "no-boot-program",
            Self::NoGroup => "no-group",
            Self::NoMachine => "no-machine",
            Self::NoMagicCookie => "no-magic-cookie",
            Self::NoMessageType => "no-message-type",
            Self::NotARequest => "not-a-request",
            Self::NotEthernet(INFINIBAND) => "infiniband",
            Self::NotEthernet(_) => "not-ethernet",
            Self::NotAllowed => "not-allowed",
            Self::NotByTftp(_) => "not-by-tftp",
            Self::NotOurs => "not-ours",
            Self::NotRecorded(_) => "not-recorded",
            Self::NotPxeClient => "not-pxe-client",
            Self::Relayed => "relayed",
            Self::TellsNoMore => "tells-no-more",
            Self::TooShort => "too-short",
            Self::Unidentified(Unidentified::Foreign(_)) => "foreign-architecture",
            Self::Unidentified(Unidentified::NoArchitecture) => "no-architecture",
            Self::Unidentified(Unidentified::Unregistered(_)) => "unknown-architecture",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(why) => write!(f, "held, and its boot program asks nobody: {why}"),
            Self::Installed(why) => f.write_str(why),
            Self::LeftToHttp => f.write_str(
                "it is to come by HTTP Boot ([boot] prefer-http); if it has none, it is answered from \
                 its next attempt on",
            ),
            Self::NoBootProgram(firmware) => match firmware.usual_programs().first() {
                Some(program) => {
                    write!(f, "no {program} for {firmware}, neither built in nor in [firmware] dir")
                }
                None => {
                    let word = firmware.word();
                    write!(f, "no boot program for {firmware}: name one in [boot.programs] {word}")
                }
            },
            Self::NoGroup => f.write_str("no group matches it"),
            Self::NoMachine => f.write_str("no Ethernet address that one machine can own"),
            Self::NoMagicCookie => f.write_str("no DHCP magic cookie"),
            Self::NoMessageType => f.write_str("no DHCP message type"),
            Self::NotARequest => f.write_str("a reply, not a request"),
            Self::NotEthernet(INFINIBAND) => f.write_str(
                "it boots over InfiniBand, and only Ethernet machines are served: boot it by an \
                 Ethernet card",
            ),
            Self::NotEthernet(kind) => {
                write!(f, "hardware type {kind} is not Ethernet, and only Ethernet is served")
            }
            Self::NotAllowed => f.write_str("not among the machines of [network] allow"),
            Self::NotByTftp(url) => {
                write!(
                    f,
                    "its boot program is {url}, and PXE fetches by TFTP alone; it is for HTTP Boot"
                )
            }
            Self::NotOurs => f.write_str("a message type that is the DHCP server's to answer"),
            Self::NotRecorded(program) => write!(
                f,
                "it is to be installed once, and its boot program {program} asks for no script, as \
                 far as its name tells: nothing would be recorded, and each boot would install it; \
                 name a boot program with ipxe, grub or shim in its name"
            ),
            Self::NotPxeClient => f.write_str("neither a PXE nor an HTTP Boot client"),
            Self::Relayed => f.write_str("it came through a DHCP relay"),
            Self::TellsNoMore => f.write_str(
                "no group is surely its own by what it tells by HTTP Boot without iPXE, which is mac, \
                 uuid, arch and firmware alone",
            ),
            Self::TooShort => f.write_str("shorter than a DHCP message"),
            Self::Unidentified(unidentified) => unidentified.fmt(f),
        }
    }
}
