//! The offer and the ACK, as the pickiest firmware needs them.

use std::net::Ipv4Addr;

use dhcproto::v4::{
    DhcpOption, Encodable, Flags, HType, Message, MessageType, Opcode, OptionCode, UnknownOption,
};

use super::{Arrival, Port, request::BootClient};
use crate::trace::Stage;

/// BOOTP's least message; some clients drop shorter ones (dnsmasq's MIN_PACKETSZ).
const LEAST: usize = 300;
/// PXE 2.1 section 2.4.3, PXE_DISCOVERY_CONTROL bit 3: boot the file that is offered, with no
/// discovery, menu or prompt. HP's firmware fails without it (danderson/netboot#43), and EDK2 then
/// needs no second exchange on 4011.
const BOOT_THE_OFFERED_FILE: [u8; 3] = [6, 1, 8];
const END: u8 = 255;
/// iPXE's option 175.1, its highest: our file name wins over that of another ProxyDHCP server.
const HIGHEST_PRIORITY: [u8; 3] = [1, 1, 0x7f];

/// Writes the reply to a client of this arrival's port.
pub(super) fn write(client: &BootClient<'_>, arrival: &Arrival, boot_file: &str) -> Vec<u8> {
    let request = &client.message;
    let mut message = Message::default();
    let ciaddr = match arrival.port {
        Port::Dhcp => Ipv4Addr::UNSPECIFIED,
        Port::BootServer => request.ciaddr(),
    };
    message
        .set_opcode(Opcode::BootReply)
        .set_htype(HType::Eth)
        .set_hops(request.hops())
        .set_xid(request.xid())
        .set_flags(Flags::from(u16::from(request.flags())))
        .set_ciaddr(ciaddr)
        // iPXE asks port 4011 instead when siaddr is 0, and the file name alone is not used.
        .set_siaddr(arrival.address)
        .set_chaddr(&client.machine.mac.octets())
        // In the header and not in option 67: without a NUL there, EDK2 overwrites the code of the
        // option that follows (PxeBcDhcp4.c), and shim looks only here.
        .set_fname_str(boot_file);

    let kind = match arrival.port {
        Port::Dhcp => MessageType::Offer,
        Port::BootServer => MessageType::Ack,
    };
    let mut vendor = BOOT_THE_OFFERED_FILE.to_vec();
    if let (Port::BootServer, Some(item)) = (arrival.port, &client.boot_item)
        && let Ok(len) = u8::try_from(item.len())
    {
        vendor.extend([71, len]);
        vendor.extend(item);
    }
    vendor.push(END);

    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ServerIdentifier(arrival.address));
    options.insert(DhcpOption::ClassIdentifier(b"PXEClient".to_vec()));
    options.insert(DhcpOption::VendorExtensions(vendor));
    if let Some(guid) = &client.client_guid {
        options.insert(DhcpOption::ClientMachineIdentifier(guid.clone()));
    }
    if client.stage == Stage::Ipxe {
        let priority = UnknownOption::new(OptionCode::Unknown(175), HIGHEST_PRIORITY.to_vec());
        options.insert(DhcpOption::Unknown(priority));
    }

    // Encoding into memory cannot fail: every length above is bounded by its field.
    let mut bytes = message.to_vec().unwrap_or_default();
    bytes.resize(bytes.len().max(LEAST), 0);
    bytes
}
