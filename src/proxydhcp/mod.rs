//! ProxyDHCP: a DHCP message in, an offer of a boot file or a reasoned silence out.
//!
//! Answers beside somebody else's DHCP server (PXE 2.1 section 2.2; RFC 4578): on port 67 only
//! discovers, on port 4011 only requests, and only those of PXE clients that a group matches.
//! Never gives an address, never sends an ACK or NAK on port 67.

mod reason;
mod reply;
mod request;

use std::net::Ipv4Addr;

use crate::{
    catalog::{Catalog, HandOff, Verdict},
    firmware::{BootFile, Firmware, Means, Programs},
    ledger::{Book, Decision},
    machine::Machine,
    template::base_url,
    trace::{Stage, Step},
};
pub use reason::Reason;
use request::{BootClient, Heard};

/// Where a packet came in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Arrival {
    /// Our address on that interface.
    pub address: Ipv4Addr,
    /// The port it was sent to.
    pub port: Port,
}

/// The ports that PXE clients send to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Port {
    /// 67, where discovers are broadcast.
    Dhcp,
    /// 4011, where a client asks the boot server it chose.
    BootServer,
}

/// What there is to offer.
#[derive(Clone, Copy, Debug)]
pub struct Offering<'a> {
    /// What each machine should boot.
    pub catalog: &'a Catalog,
    /// What each machine has done.
    pub book: &'a Book,
    /// Attempts to install a machine before it is held.
    pub most_attempts: u32,
    /// The boot program of each firmware.
    pub programs: &'a Programs,
    /// The port of HTTP.
    pub http_port: u16,
}

/// What to do about a packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Say nothing.
    Ignore(Reason),
    /// A client took a lease from the LAN's own server: nothing to say, something to know.
    Learn(Lease),
    /// Say nothing, and tell the operator: a machine wants to boot and will not.
    LeaveAlone(Machine, Reason),
    /// Send this.
    Reply(Box<Reply>),
}

/// A lease that a client asks for, heard in passing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease {
    /// Who.
    pub machine: Machine,
    /// The address it takes.
    pub address: Ipv4Addr,
    /// The server whose offer it takes.
    pub server: Option<Ipv4Addr>,
}

/// A packet to send, and what it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The message as it goes onto the wire.
    pub bytes: Vec<u8>,
    /// Where it goes.
    pub to: Recipient,
    /// Who it is for.
    pub machine: Machine,
    /// What it says, for the log.
    pub step: Step,
}

/// Where a reply goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recipient {
    /// 255.255.255.255:68, as the client has no address that we know.
    Broadcast,
    /// The address and port the packet came from: 4011 or 68, as the client likes.
    Source,
}

/// Decides about one packet.
pub fn answer(packet: &[u8], arrival: &Arrival, offering: &Offering<'_>) -> Answer {
    let client = match request::read(packet, arrival.port) {
        Ok(Heard::Boot(client)) => client,
        Ok(Heard::Lease(lease)) => return Answer::Learn(lease),
        Err(reason) => return Answer::Ignore(reason),
    };
    let machine = client.machine.clone();
    match boot_file(&client, arrival, offering) {
        Ok((firmware, boot_file)) => {
            let to = match arrival.port {
                Port::Dhcp => Recipient::Broadcast,
                Port::BootServer => Recipient::Source,
            };
            let bytes = reply::write(&client, arrival, &boot_file);
            let step = match arrival.port {
                Port::Dhcp => Step::Offer { firmware, stage: client.stage, boot_file },
                Port::BootServer => Step::Ack { firmware, stage: client.stage, boot_file },
            };
            Answer::Reply(Box::new(Reply { bytes, to, machine, step }))
        }
        Err(reason) => Answer::LeaveAlone(machine, reason),
    }
}

/// The boot program for a ROM, the script for iPXE: with that the chainload ends.
fn boot_file(
    client: &BootClient<'_>,
    arrival: &Arrival,
    offering: &Offering<'_>,
) -> Result<(Option<Firmware>, String), Reason> {
    if let Some(reason) = to_disk(&client.machine, offering) {
        return Err(reason);
    }
    let base_url = base_url(arrival.address, offering.http_port);
    if client.stage == Stage::Ipxe && client.speaks_http {
        return Ok((client.firmware.ok(), format!("{base_url}/boot.ipxe")));
    }
    let firmware = client.firmware.map_err(Reason::Unidentified)?;
    // An iPXE without HTTP, as some cards have in ROM, first loads one that has it.
    let group = match client.stage {
        Stage::Ipxe => None,
        Stage::Rom => offering.program_of_group(&client.machine, firmware),
    };
    let program = group.or_else(|| offering.programs.get(firmware));
    let program = program.ok_or(Reason::NoBootProgram(firmware))?;
    let program = program.for_machine(&client.machine);
    let name = program.name(Means::Pxe, &base_url);
    let name = name.ok_or_else(|| Reason::NotByTftp(program.to_string()))?;
    Ok((Some(firmware), name))
}

impl Offering<'_> {
    /// The boot program that the machine's group names, where it is surely in one.
    fn program_of_group(&self, machine: &Machine, firmware: Firmware) -> Option<&BootFile> {
        let machine = self.book.recall(machine);
        let group = self.catalog.settle(&machine).ok().flatten()?;
        let program = group.boot.program.as_ref()?;
        self.programs.fits(program, firmware).then_some(program)
    }
}

/// Why a machine boots its own disk, as far as it has told who it is, now or before; what it has
/// not told is decided when iPXE asks.
fn to_disk(machine: &Machine, offering: &Offering<'_>) -> Option<Reason> {
    let Offering { catalog, book, most_attempts, .. } = *offering;
    let machine = book.recall(machine);
    let mut reason = Reason::NoGroup;
    for group in catalog.groups() {
        let verdict = group.selector.matches(&machine);
        if verdict == Verdict::Mismatch {
            continue;
        }
        match book.decide(&machine, group, catalog, most_attempts) {
            // Without a record it comes once, is told why and gets one.
            Decision::Disk(why)
                if group.hand_off == HandOff::Silence && book.get(machine.mac).is_some() =>
            {
                if reason == Reason::NoGroup {
                    reason = Reason::Installed(why);
                }
            }
            Decision::Boot | Decision::Disk(_) | Decision::Hold(_) | Decision::Install => {
                return None;
            }
        }
        if verdict == Verdict::Match {
            break;
        }
    }
    Some(reason)
}
