//! ProxyDHCP: a DHCP message in, an offer of a boot file or a reasoned silence out.
//!
//! Answers beside somebody else's DHCP server (PXE 2.1 section 2.2; RFC 4578): on port 67 discovers,
//! on port 4011 requests, on both an inform that names a boot item; only those of PXE and HTTP Boot
//! clients that a group matches. Never gives an address, never sends a NAK.

mod conversations;
mod reason;
mod reply;
mod request;

use std::net::Ipv4Addr;

use crate::{
    catalog::{Catalog, Choice, Group, HandOff, Install, NotTold, Offer, Pattern},
    firmware::{BootFile, Firmware, Form, Means, Platform, Programs},
    ledger::{Book, Decision},
    machine::{Mac, Machine},
    template::base_url,
    trace::{Prospect, Stage, Step},
};
pub use conversations::{Circumstances, Conversations, first_choice};
pub use reason::Reason;
use request::{Asks, BootClient, Heard};

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
    /// The machines that are answered at all; absent where all are.
    pub allow: Option<&'a [Pattern]>,
    /// The form in which boot files are offered by PXE, where a group does not say.
    pub offer: Offer,
}

/// What to do about a packet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Say nothing.
    Ignore(Reason),
    /// A client took a lease from the LAN's own server: nothing to say, something to know.
    Learn(Lease),
    /// Say nothing, and tell the operator: a machine wants to boot and will not.
    LeaveAlone(Machine, Means, Reason),
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
    /// How that machine asks.
    pub means: Means,
    /// What it says, for the log.
    pub step: Step,
    /// Whether the boot file is another server's, so that its fetching is not seen here.
    pub is_elsewhere: bool,
}

impl Reply {
    /// Whether it may be sent later. iPXE waits 2 s for a proxy and no longer; and who asks us
    /// alone waits for nobody else.
    pub fn may_wait(&self) -> bool {
        matches!(self.step, Step::Offer { stage: Stage::Rom, .. })
    }
}

/// Where a reply goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recipient {
    /// 255.255.255.255:68, as the client has no address that we know.
    Broadcast,
    /// The address and port the packet came from: 4011 or 68, as the client likes.
    Source,
}

/// A discover that is going to be answered, as far as the form of the offer depends on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Discover {
    /// Who.
    pub mac: Mac,
    /// How it asks.
    pub means: Means,
    /// The ROM or iPXE.
    pub stage: Stage,
    /// What kind of firmware it has.
    pub platform: Option<Platform>,
    /// What the operator says of the form.
    pub offer: Offer,
    /// Whether its boot file is another server's.
    pub is_elsewhere: bool,
}

/// Decides about one packet. `choose` knows what went on before with the machine of a discover, and
/// in which form its offer should be.
pub fn answer(
    packet: &[u8],
    arrival: &Arrival,
    offering: &Offering<'_>,
    choose: impl FnOnce(&Discover) -> Result<Form, Reason>,
) -> Answer {
    let client = match request::read(packet, arrival.port) {
        Ok(Heard::Boot(client)) => client,
        Ok(Heard::Lease(lease)) => return Answer::Learn(lease),
        Err(reason) => return Answer::Ignore(reason),
    };
    let (machine, means) = (client.machine.clone(), client.means);
    if !offering.allows(machine.mac) {
        return Answer::Ignore(Reason::NotAllowed);
    }
    // What it tells now, and what it has told before.
    let told = offering.book.recall(&machine);
    let found = find(&client, &told, arrival, offering);
    let found = found.and_then(|found| {
        let form = offering.form(&client, &told, &found, choose)?;
        Ok((found, form))
    });
    let (Found { firmware, boot_file, is_elsewhere }, form) = match found {
        Ok(found) => found,
        Err(reason) => return Answer::LeaveAlone(machine, means, reason),
    };
    let bytes = reply::write(&client, arrival, &boot_file, form);
    let stage = client.stage;
    let (to, step) = match client.asks {
        Asks::Discover => (Recipient::Broadcast, Step::Offer { firmware, stage, boot_file, form }),
        Asks::Inform | Asks::Request => {
            (Recipient::Source, Step::Ack { firmware, stage, boot_file })
        }
    };
    Answer::Reply(Box::new(Reply { bytes, to, machine, means, step, is_elsewhere }))
}

/// What a machine is to fetch.
struct Found {
    firmware: Option<Firmware>,
    boot_file: String,
    is_elsewhere: bool,
}

/// The boot program for a ROM, the script for iPXE: with that the chainload ends.
fn find(
    client: &BootClient<'_>,
    told: &Machine,
    arrival: &Arrival,
    offering: &Offering<'_>,
) -> Result<Found, Reason> {
    if let Some(reason) = to_disk(told, offering) {
        return Err(reason);
    }
    let base_url = || base_url(arrival.address, offering.http_port);
    if client.stage == Stage::Ipxe && client.speaks_http {
        let boot_file = format!("{}/boot.ipxe", base_url());
        return Ok(Found { firmware: client.firmware.ok(), boot_file, is_elsewhere: false });
    }
    let firmware = client.firmware.map_err(Reason::Unidentified)?;
    // An iPXE without HTTP, as some cards have in ROM, first loads one that has it.
    let group = match client.stage {
        Stage::Ipxe => None,
        Stage::Rom => offering.group_of(told),
    };
    let named = group.and_then(|group| group.boot.program.as_ref());
    let named = named.filter(|program| offering.programs.fits(program, firmware));
    // A machine that is to wait or to boot its disk is left alone by what was told earlier, too.
    if let Some(program) = named.filter(|program| asks_no_more(program, firmware)) {
        untouched(program, told, offering)?;
    }
    // Words of an earlier request choose no program which installs and asks nobody first.
    let own = &client.machine;
    let named = named.filter(|program| {
        !asks_no_more(program, firmware)
            || matches!(offering.catalog.choose(told, own, Catalog::settle), Ok(Choice::Told(_)))
    });
    let program = named.or_else(|| offering.programs.get(firmware));
    let program = program.ok_or(Reason::NoBootProgram(firmware))?;
    if asks_no_more(program, firmware) {
        untouched(program, told, offering)?;
    }
    if let Some((_, processor)) = program.stub() {
        let all = |machine: &Machine| machine.clone().told_by_uefi(processor);
        let by_firmware = Catalog::select_by_firmware;
        match offering.catalog.choose(&all(told), &all(own), by_firmware) {
            Ok(Choice::Told(Some(_))) => {}
            Ok(Choice::Told(None) | Choice::Remembered(_)) | Err(NotTold) => {
                return Err(Reason::TellsNoMore);
            }
        }
    }
    let program = program.for_machine(&client.machine);
    let boot_file = program.name(client.means, base_url);
    let boot_file = boot_file.ok_or_else(|| Reason::NotByTftp(program.to_string()))?;
    Ok(Found { firmware: Some(firmware), boot_file, is_elsewhere: program.is_elsewhere(base_url) })
}

impl Offering<'_> {
    fn allows(&self, mac: Mac) -> bool {
        Pattern::allow(self.allow, mac)
    }

    /// Whether there is nothing to tell a machine that boots its disk.
    fn has_been_told(&self, mac: Mac) -> bool {
        self.book.get(mac).is_some_and(|record| !record.has_news())
    }

    /// The boot of a machine if it were answered. Where several are open, an installation is told.
    pub fn prospect(&self, machine: &Machine) -> Option<Prospect> {
        let told = self.book.recall(machine);
        let prospects: Vec<_> = self.prospects(&told).collect();
        let is_one =
            |wanted: Decision| move |(_, decision): &&(&Group, Decision)| *decision == wanted;
        let installed = prospects.iter().find(is_one(Decision::Install));
        let (group, decision) = installed.or(prospects.iter().find(is_one(Decision::Boot)))?;
        Some(Prospect {
            group: group.name.clone(),
            profile: group.profile.name.clone(),
            installs: *decision == Decision::Install,
            is_open: self.group_of(&told).is_none(),
        })
    }

    /// The group that a machine is surely in.
    fn group_of(&self, told: &Machine) -> Option<&Group> {
        self.catalog.settle_group(told).ok().flatten()
    }

    /// What is decided for a machine in each group that it may be in.
    fn prospects(&self, told: &Machine) -> impl Iterator<Item = (&Group, Decision)> {
        let Offering { catalog, book, most_attempts, .. } = *self;
        let decide = move |group| (group, book.decide(told, group, catalog, most_attempts));
        catalog.candidates(told).map(decide)
    }

    fn form(
        &self,
        client: &BootClient<'_>,
        told: &Machine,
        &Found { firmware, is_elsewhere, .. }: &Found,
        choose: impl FnOnce(&Discover) -> Result<Form, Reason>,
    ) -> Result<Form, Reason> {
        if firmware == Some(Firmware::RaspberryPi) && client.means == Means::Pxe {
            return Ok(Form::RaspberryPi);
        }
        if client.asks != Asks::Discover {
            return Ok(Form::Direct);
        }
        let own = self.group_of(told).and_then(|group| group.boot.offer);
        choose(&Discover {
            mac: client.machine.mac,
            means: client.means,
            stage: client.stage,
            platform: firmware.and_then(Firmware::platform),
            offer: own.unwrap_or(self.offer),
            is_elsewhere,
        })
    }
}

/// Why a machine boots its own disk, as far as it has told who it is, now or before; what it has
/// not told is decided when iPXE asks.
fn to_disk(told: &Machine, offering: &Offering<'_>) -> Option<Reason> {
    let mut reason = Reason::NoGroup;
    for (group, decision) in offering.prospects(told) {
        match decision {
            // Without a record it comes once, is told why and gets one. Where its disk may not boot,
            // it is told so on its console.
            Decision::Disk(why)
                if group.hand_off == HandOff::Silence && offering.has_been_told(told.mac) =>
            {
                if reason == Reason::NoGroup {
                    reason = Reason::Installed(why);
                }
            }
            Decision::Boot | Decision::Disk(_) | Decision::Hold(_) | Decision::Install => {
                return None;
            }
        }
    }
    Some(reason)
}

/// Whether a boot program is the last that we hear of a machine. What a Raspberry Pi fetches is its
/// own choice, and may be the firmware that asks next.
fn asks_no_more(program: &BootFile, firmware: Firmware) -> bool {
    firmware != Firmware::RaspberryPi && program.asks_no_more()
}

/// Refuses a machine that is to wait, to boot its disk, or to be installed once: its boot program
/// asks nobody, so nothing would be recorded of the installation.
fn untouched(program: &BootFile, told: &Machine, offering: &Offering<'_>) -> Result<(), Reason> {
    offering.prospects(told).try_for_each(|(group, decision)| match decision {
        Decision::Disk(why) => Err(Reason::Installed(why)),
        Decision::Hold(why) => Err(Reason::Held(why)),
        Decision::Install if group.profile.install == Install::Once => {
            Err(Reason::NotRecorded(program.to_string()))
        }
        Decision::Boot | Decision::Install => Ok(()),
    })
}
