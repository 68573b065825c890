//! The offer and the ACK, as the pickiest firmware needs them.

use std::net::Ipv4Addr;

use dhcproto::v4::{
    DhcpOption, Encodable, Flags, HType, Message, MessageType, Opcode, OptionCode, UnknownOption,
};

use super::{
    Arrival,
    request::{Asks, BootClient},
};
use crate::{firmware::Form, trace::Stage};

/// BOOTP's least message; some clients drop shorter ones (dnsmasq's MIN_PACKETSZ).
const LEAST: usize = 300;
/// What the header's field holds besides a NUL.
const LONGEST_IN_HEADER: usize = 127;
/// PXE 2.1 section 2.4.3, PXE_DISCOVERY_CONTROL bit 3: boot the file that is offered, with no
/// discovery, menu or prompt. HP's firmware fails without it (danderson/netboot#43), and EDK2 then
/// needs no second exchange on 4011.
const BOOT_THE_OFFERED_FILE: [u8; 3] = [6, 1, 8];
/// What a Raspberry Pi's boot ROM and EEPROM look for, or they take no offer: discovery control, a
/// prompt that waits for nobody, and a menu with this one name. The ROM of the Pi 3B compares the
/// three spaces behind the name, too (raspberrypi/firmware#941).
const RASPBERRY_PI_MENU: &[u8] = b"\x06\x01\x03\x0a\x04\0PXE\x09\x17\0\0\x14Raspberry Pi Boot   ";
/// Option 82, relay agent information (RFC 3046).
const RELAY_AGENT_INFORMATION: u8 = 82;
/// The longest message of a client that says nothing of it (RFC 2131 section 2): 576 octets of IP
/// without the IP and UDP headers.
const LONGEST_UNSAID: usize = 548;
const END: u8 = 255;
/// iPXE's option 175.1, its highest: our file name wins over that of another ProxyDHCP server.
const HIGHEST_PRIORITY: [u8; 3] = [1, 1, 0x7f];

/// Writes the reply to a client.
pub(super) fn write(
    client: &BootClient<'_>,
    arrival: &Arrival,
    boot_file: &str,
    form: Form,
) -> Vec<u8> {
    let mut message = header(client, arrival);
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(match client.asks {
        Asks::Discover => MessageType::Offer,
        Asks::Inform | Asks::Request => MessageType::Ack,
    }));
    options.insert(DhcpOption::ServerIdentifier(arrival.address));
    let class = match form {
        Form::Http => &b"HTTPClient"[..],
        Form::BootServer | Form::Direct | Form::RaspberryPi => b"PXEClient",
    };
    options.insert(DhcpOption::ClassIdentifier(class.to_vec()));
    if let Some(vendor) = vendor(client, form) {
        options.insert(DhcpOption::VendorExtensions(vendor));
    }
    if let Some(guid) = &client.client_guid {
        options.insert(DhcpOption::ClientMachineIdentifier(guid.clone()));
    }
    if client.stage == Stage::Ipxe {
        let priority = UnknownOption::new(OptionCode::Unknown(175), HIGHEST_PRIORITY.to_vec());
        options.insert(DhcpOption::Unknown(priority));
    }
    match form {
        Form::RaspberryPi => {}
        // In the header where it fits, as shim looks only there.
        Form::BootServer | Form::Direct | Form::Http if boot_file.len() <= LONGEST_IN_HEADER => {
            message.set_fname_str(boot_file);
        }
        // Without a NUL at its end, EDK2 overwrites the code of the option that follows
        // (PxeBcDhcp4.c).
        Form::BootServer | Form::Direct | Form::Http => {
            let name = [boot_file.as_bytes(), b"\0"].concat();
            message.opts_mut().insert(DhcpOption::BootfileName(name));
        }
    }
    // Encoding into memory cannot fail: every length above is bounded by its field.
    let mut bytes = message.to_vec().unwrap_or_default();
    echo_relay_information(&mut bytes, client);
    bytes.resize(bytes.len().max(LEAST), 0);
    bytes
}

/// A switch with DHCP snooping needs its option 82 back to find the port, as it came and as the last
/// option (RFC 3046 section 2.2). It is left out where the client could not take the longer message.
fn echo_relay_information(bytes: &mut Vec<u8>, client: &BootClient<'_>) {
    let Some(information) = &client.relay_information else { return };
    let longest = client.longest_message.max(LONGEST_UNSAID);
    let Ok(len) = u8::try_from(information.len()) else { return };
    if bytes.last() != Some(&END) || bytes.len() + 2 + information.len() > longest {
        return;
    }
    bytes.pop();
    bytes.extend([RELAY_AGENT_INFORMATION, len]);
    bytes.extend(information);
    bytes.push(END);
}

fn header(client: &BootClient<'_>, arrival: &Arrival) -> Message {
    let request = &client.message;
    let mut message = Message::default();
    let (ciaddr, yiaddr) = match client.asks {
        Asks::Discover => (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED),
        // The address that it has already, and asks with.
        Asks::Inform => (request.ciaddr(), request.ciaddr()),
        Asks::Request => (request.ciaddr(), Ipv4Addr::UNSPECIFIED),
    };
    message
        .set_opcode(Opcode::BootReply)
        .set_htype(HType::Eth)
        .set_hops(request.hops())
        .set_xid(request.xid())
        .set_flags(Flags::from(u16::from(request.flags())))
        .set_ciaddr(ciaddr)
        .set_yiaddr(yiaddr)
        // iPXE asks port 4011 instead when siaddr is 0, and the file name alone is not used.
        .set_siaddr(arrival.address)
        .set_chaddr(&client.machine.mac.octets());
    message
}

/// Option 43. The answer of port 4011 repeats what the offer would have said.
fn vendor(client: &BootClient<'_>, form: Form) -> Option<Vec<u8>> {
    let mut vendor = match (form, client.asks) {
        (Form::RaspberryPi, _) => RASPBERRY_PI_MENU.to_vec(),
        (Form::Direct, _) | (Form::BootServer, Asks::Inform | Asks::Request) => {
            BOOT_THE_OFFERED_FILE.to_vec()
        }
        (Form::BootServer, Asks::Discover) | (Form::Http, _) => return None,
    };
    if let (Asks::Inform | Asks::Request, Some(item)) = (client.asks, &client.boot_item)
        && let Ok(len) = u8::try_from(item.len())
    {
        vendor.extend([71, len]);
        vendor.extend(item);
    }
    vendor.push(END);
    Some(vendor)
}
