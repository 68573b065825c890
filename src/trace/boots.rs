//! Which boot a step belongs to, from the machine's hardware address or the address it took.
//!
//! Bounded: a LAN full of made-up machines costs the oldest boot its id, never memory.

use std::{
    collections::HashMap,
    fmt,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use super::{Stage, Step};
use crate::machine::Mac;

/// Boots that are remembered at once.
const MOST: usize = 4096;
/// After this long without a step, the next one starts a new boot.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// The short name of one boot, unique among those of one run of the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BootId(u32);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06x}", self.0)
    }
}

/// What a protocol knows of the machine behind a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Who {
    /// TFTP and HTTP: the address it took.
    Address(Ipv4Addr),
    /// DHCP, iPXE's query, a neighbour's link-layer address.
    Machine(Mac),
}

/// What stands before a step in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Heading {
    /// The boot this step belongs to.
    pub boot: BootId,
    /// The machine.
    pub mac: Mac,
    /// Time since the boot's first step.
    pub since: Duration,
}

/// The boots that go on now.
#[derive(Debug)]
pub struct Boots {
    by_mac: HashMap<Mac, Boot>,
    by_address: HashMap<Ipv4Addr, Mac>,
    next: u32,
}

#[derive(Debug)]
struct Boot {
    id: BootId,
    started: Instant,
    last: Instant,
    reached: Reached,
    address: Option<Ipv4Addr>,
}

/// How far a boot has come; a step that only an earlier point can have made starts a new boot.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Reached {
    Discover,
    BootProgram,
    Ipxe,
    Script,
}

impl Boots {
    /// Starts with no boots; `seed` keeps the ids of two runs of the server apart.
    pub fn new(seed: u32) -> Self {
        Self { by_mac: HashMap::new(), by_address: HashMap::new(), next: seed }
    }

    /// Files a step under its boot; `None` when nothing is known of who took it.
    pub fn note(&mut self, who: Who, step: &Step, now: Instant) -> Option<Heading> {
        let mac = match who {
            Who::Address(address) => *self.by_address.get(&address)?,
            Who::Machine(mac) => mac,
        };
        let reached = reached(step);
        let stale = self.by_mac.get(&mac).is_none_or(|boot| {
            now.duration_since(boot.last) > FORGOTTEN || begins_anew(step, boot.reached)
        });
        if stale {
            self.begin(mac, now);
        }
        let boot = self.by_mac.get_mut(&mac)?;
        boot.last = now;
        boot.reached = reached.map_or(boot.reached, |reached| reached.max(boot.reached));
        Some(Heading { boot: boot.id, mac, since: now.duration_since(boot.started) })
    }

    /// Learns the address a machine takes; true when it was not known before.
    ///
    /// Only machines that are booting are followed, so an office full of laptops costs nothing.
    pub fn learn(&mut self, mac: Mac, address: Ipv4Addr) -> bool {
        let Some(boot) = self.by_mac.get_mut(&mac) else { return false };
        if boot.address == Some(address) && self.by_address.get(&address) == Some(&mac) {
            return false;
        }
        if let Some(old) = boot.address.replace(address)
            && self.by_address.get(&old) == Some(&mac)
        {
            self.by_address.remove(&old);
        }
        self.by_address.insert(address, mac);
        true
    }

    /// Whether iPXE runs on this machine now, chainloaded or answered by us within `window`.
    pub fn runs_ipxe(&self, mac: Mac, now: Instant, window: Duration) -> bool {
        self.by_mac.get(&mac).is_some_and(|boot| {
            boot.reached >= Reached::Ipxe && now.duration_since(boot.last) <= window
        })
    }

    fn begin(&mut self, mac: Mac, now: Instant) {
        if self.by_mac.len() >= MOST && !self.by_mac.contains_key(&mac) {
            let oldest = self.by_mac.iter().min_by_key(|(_, boot)| boot.last).map(|(&mac, _)| mac);
            if let Some(gone) = oldest.and_then(|oldest| self.by_mac.remove(&oldest)) {
                gone.address.map(|address| self.by_address.remove(&address));
            }
        }
        let id = BootId(self.next & 0x00ff_ffff);
        self.next = self.next.wrapping_add(1);
        // The address stays known across a reboot: most DHCP servers give the same one again.
        let address = self.by_mac.get(&mac).and_then(|boot| boot.address);
        let boot = Boot { id, started: now, last: now, reached: Reached::Discover, address };
        self.by_mac.insert(mac, boot);
    }
}

fn reached(step: &Step) -> Option<Reached> {
    match step {
        Step::Ack { stage: Stage::Ipxe, .. } | Step::Offer { stage: Stage::Ipxe, .. } => {
            Some(Reached::Ipxe)
        }
        Step::Ack { stage: Stage::Rom, .. } => Some(Reached::BootProgram),
        Step::Script { .. } => Some(Reached::Script),
        Step::Transfer(_) => Some(Reached::BootProgram),
        Step::Advertise
        | Step::Lease { .. }
        | Step::LeaveAlone { .. }
        | Step::Notice { .. }
        | Step::Offer { stage: Stage::Rom, .. } => None,
    }
}

/// A ROM discovers only before its boot program, iPXE only before its script.
fn begins_anew(step: &Step, reached: Reached) -> bool {
    match step {
        Step::Offer { stage: Stage::Rom, .. } => reached > Reached::Discover,
        Step::Offer { stage: Stage::Ipxe, .. } => reached > Reached::Ipxe,
        Step::LeaveAlone { .. } => reached > Reached::Discover,
        Step::Ack { .. }
        | Step::Advertise
        | Step::Lease { .. }
        | Step::Notice { .. }
        | Step::Script { .. }
        | Step::Transfer(_) => false,
    }
}
