//! A DHCP message as it stands on the wire, read once into who asks and for what.
//!
//! dhcproto's borrowed message never decodes an option by itself, so that the hostile ones which
//! make its typed decoder panic are never given to it; only `chaddr` must be looked at first.

use dhcproto::v4::{HType, MessageType, Opcode, OptionCode, borrowed::Message};
use std::net::Ipv4Addr;

use super::{Lease, Port, Reason};
use crate::{
    firmware::{Clues, Firmware, Means, Unidentified, identify, means},
    machine::{Mac, Machine, Uuid},
    trace::Stage,
};

/// The magic cookie, RFC 2131 section 3.
const MAGIC_COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
/// Option 175 of iPXE's builds, and the feature in it that says HTTP is there (`features.h`).
const IPXE: u8 = 175;
const IPXE_HTTP: u8 = 0x13;
/// PXE 2.1 section 2.4.3: the boot item inside option 43.
const PXE_BOOT_ITEM: u8 = 71;

/// A message that says something to us.
#[derive(Debug)]
pub(super) enum Heard<'a> {
    /// A machine wants to boot.
    Boot(BootClient<'a>),
    /// A machine takes an address from the LAN's own server.
    Lease(Lease),
}

/// What a client asks with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asks {
    /// A discover, to anyone.
    Discover,
    /// A request to the boot server that it has chosen, on port 4011.
    Request,
    /// An inform that names a boot item (PXE 2.1 section 2.4): it has an address already.
    Inform,
}

/// A client that wants to boot, and what of its message the reply must repeat.
#[derive(Debug)]
pub(super) struct BootClient<'a> {
    pub(super) machine: Machine,
    pub(super) asks: Asks,
    pub(super) means: Means,
    pub(super) stage: Stage,
    pub(super) speaks_http: bool,
    pub(super) message: Message<'a>,
    /// Option 97 as it came; some cards send none (danderson/pixiecore#21).
    pub(super) client_guid: Option<Vec<u8>>,
    /// Option 82 as it came: a switch with DHCP snooping adds it and leaves giaddr 0.
    pub(super) relay_information: Option<Vec<u8>>,
    /// The longest DHCP message it takes, in octets: option 57 without the IP and UDP headers.
    pub(super) longest_message: usize,
    /// Option 43.71 as it came.
    pub(super) boot_item: Option<Vec<u8>>,
    /// What it boots with, or why that is not known.
    pub(super) firmware: Result<Firmware, Unidentified>,
}

/// The options we read, as raw octets.
#[derive(Debug, Default)]
struct Options {
    message_type: Option<u8>,
    requested_address: Option<Vec<u8>>,
    server: Option<Vec<u8>>,
    vendor_class: Vec<u8>,
    user_class: Vec<u8>,
    vendor: Vec<u8>,
    architecture: Vec<u8>,
    client_guid: Option<Vec<u8>>,
    ipxe: Option<Vec<u8>>,
    relay_information: Option<Vec<u8>>,
    longest_message: usize,
}

/// Reads a packet that came to this port.
pub(super) fn read(packet: &[u8], port: Port) -> Result<Heard<'_>, Reason> {
    let message = Message::new(packet).map_err(|_| Reason::TooShort)?;
    if message.opcode() != Opcode::BootRequest {
        return Err(Reason::NotARequest);
    }
    if packet[236..240] != MAGIC_COOKIE {
        return Err(Reason::NoMagicCookie);
    }
    if message.htype() != HType::Eth {
        return Err(Reason::NotEthernet(message.htype().into()));
    }
    let mac = hardware_address(&message).ok_or(Reason::NoMachine)?;
    let options = Options::read(&message);
    let uuid = options.client_guid.as_deref().and_then(uuid);
    let firmware = identify(&Clues {
        architecture: &options.architecture,
        vendor_class: &options.vendor_class,
        mac: mac.octets(),
        guid: options.client_guid.as_deref().and_then(|guid| guid.get(1..)),
    });
    let machine = Machine::heard(mac, uuid, firmware.ok().and_then(Firmware::platform));
    let kind = MessageType::from(options.message_type.ok_or(Reason::NoMessageType)?);
    let asks = match (port, kind) {
        (Port::Dhcp, MessageType::Request) => {
            return lease(machine, &message, &options).map(Heard::Lease);
        }
        (Port::Dhcp, MessageType::Discover) => Asks::Discover,
        (Port::BootServer, MessageType::Request) => Asks::Request,
        (_, MessageType::Inform) if !message.ciaddr().is_unspecified() => Asks::Inform,
        _ => return Err(Reason::NotOurs),
    };
    let means = means(&options.vendor_class).ok_or(Reason::NotPxeClient)?;
    // Echoed as it came, so only in the one form that is defined: a type and a layer.
    let boot_item = encapsulated(&options.vendor, PXE_BOOT_ITEM)
        .filter(|item| item.len() == 4)
        .map(<[u8]>::to_vec);
    match (asks, means, &boot_item) {
        (Asks::Discover, ..) | (Asks::Request, Means::Pxe, _) => {}
        (Asks::Inform, Means::Pxe, Some(_)) => {}
        (Asks::Inform | Asks::Request, ..) => return Err(Reason::NotOurs),
    }
    if !message.giaddr().is_unspecified() {
        return Err(Reason::Relayed);
    }
    let stage = options.stage();
    Ok(Heard::Boot(BootClient {
        machine,
        asks,
        means,
        stage,
        speaks_http: options.speaks_http(),
        message,
        boot_item,
        firmware,
        client_guid: options.client_guid,
        relay_information: options.relay_information,
        longest_message: options.longest_message,
    }))
}

fn hardware_address(message: &Message<'_>) -> Option<Mac> {
    // Before chaddr(): it slices by hlen and panics where that is over 16.
    if message.hlen() != 6 {
        return None;
    }
    let octets: [u8; 6] = message.chaddr().try_into().ok()?;
    Mac::new(octets)
}

/// Option 57 counts the IP and UDP headers (RFC 2132 section 9.10 with RFC 2131 section 2).
fn longest_message(data: &[u8]) -> usize {
    let octets = data.try_into().map_or(0, u16::from_be_bytes);
    usize::from(octets).saturating_sub(28)
}

fn uuid(client_guid: &[u8]) -> Option<Uuid> {
    let [0, guid @ ..] = client_guid else { return None };
    Uuid::from_wire(guid.try_into().ok()?)
}

/// What a request to another server tells: which address the machine takes, and whose.
fn lease(machine: Machine, message: &Message<'_>, options: &Options) -> Result<Lease, Reason> {
    let ipv4 = |octets: &Option<Vec<u8>>| -> Option<Ipv4Addr> {
        let octets: [u8; 4] = octets.as_deref()?.try_into().ok()?;
        Some(octets.into())
    };
    let renewed = Some(message.ciaddr()).filter(|address| !address.is_unspecified());
    let address = ipv4(&options.requested_address).or(renewed).ok_or(Reason::NotOurs)?;
    Ok(Lease { machine, address, server: ipv4(&options.server) })
}

impl Options {
    fn read(message: &Message<'_>) -> Self {
        let mut options = Self::default();
        for option in message.opts() {
            let data = option.data();
            #[expect(clippy::wildcard_enum_match_arm, reason = "we read eleven of 140 options")]
            match option.code() {
                OptionCode::MessageType => options.message_type = data.first().copied(),
                OptionCode::RequestedIpAddress => options.requested_address = Some(data.to_vec()),
                OptionCode::ServerIdentifier => options.server = Some(data.to_vec()),
                OptionCode::ClassIdentifier => options.vendor_class = data.to_vec(),
                OptionCode::UserClass => options.user_class = data.to_vec(),
                OptionCode::VendorExtensions => options.vendor = data.to_vec(),
                OptionCode::ClientSystemArchitecture => options.architecture = data.to_vec(),
                OptionCode::ClientMachineIdentifier => options.client_guid = Some(data.to_vec()),
                OptionCode::RelayAgentInformation => {
                    options.relay_information = Some(data.to_vec());
                }
                OptionCode::MaxMessageSize => options.longest_message = longest_message(data),
                OptionCode::Unknown(IPXE) => options.ipxe = Some(data.to_vec()),
                _ => {}
            }
        }
        // Echoed as it came, so only where it has the one form that is defined (RFC 4578 2.3).
        options.client_guid = options.client_guid.filter(|guid| guid.len() == 17);
        options
    }

    /// iPXE says so in option 77, as four raw octets or in RFC 3004's form, or by sending 175.
    fn stage(&self) -> Stage {
        let user_class = self.user_class.as_slice();
        if user_class == b"iPXE" || user_class == b"\x04iPXE" || self.ipxe.is_some() {
            Stage::Ipxe
        } else {
            Stage::Rom
        }
    }

    /// An iPXE that lists no features is taken to be whole.
    fn speaks_http(&self) -> bool {
        self.ipxe.as_deref().is_none_or(|features| {
            let told = features.len() > 2;
            !told || encapsulated(features, IPXE_HTTP).is_some_and(|value| value != [0])
        })
    }
}

/// One option inside an option that holds others (PXE's 43, iPXE's 175).
fn encapsulated(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match options {
            [0, rest @ ..] => options = rest,
            [255, ..] | [] | [_] => return None,
            [code, len, rest @ ..] => {
                let (data, rest) = rest.split_at_checked(usize::from(*len))?;
                if *code == wanted {
                    return Some(data);
                }
                options = rest;
            }
        }
    }
}
