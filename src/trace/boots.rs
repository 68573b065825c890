//! Which boot a step belongs to, from the machine's hardware address or the address it took.
//!
//! Bounded: a LAN full of made-up machines costs the boots without a step for longest their ids,
//! never memory.

use std::{
    collections::HashMap,
    fmt,
    net::Ipv4Addr,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lru::LruCache;

use super::{Heard, Stage, Step, Stop, watch::Watch};
use crate::{firmware::Form, machine::Mac};

/// Boots that are remembered at once.
const MOST: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// After this long without a step, the next one starts a new boot.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// PXE repeats its discover for 32 s at most (PXE 2.1 section 3.1): after a longer pause, the next one
/// is that of a machine that was switched on again.
const SAME_POWER_ON: Duration = Duration::from_secs(45);
/// The same for HTTP Boot, which firmware may try after all its ways of PXE.
const SAME_BY_HTTP: Duration = Duration::from_secs(180);

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

/// When a machine fetched from us the last time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Fetched {
    /// A file, or tried to.
    pub any: Option<Instant>,
    /// The whole of its boot file, by HTTP Boot.
    pub by_http_boot: Option<Instant>,
}

/// The boots that go on now.
#[derive(Debug)]
pub struct Boots {
    /// The one that took a step last comes first.
    by_mac: LruCache<Mac, Boot>,
    by_address: HashMap<Ipv4Addr, Mac>,
    next: u32,
}

#[derive(Debug)]
struct Boot {
    id: BootId,
    started: Instant,
    last: Instant,
    /// The last discover.
    discovered: Instant,
    reached: Reached,
    address: Option<Ipv4Addr>,
    /// Our address where it discovers.
    ours: Option<Ipv4Addr>,
    /// In an earlier boot perhaps.
    fetched: Fetched,
    /// What it was told last on its console.
    notice: Option<String>,
    watch: Watch,
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
        Self { by_mac: LruCache::new(MOST), by_address: HashMap::new(), next: seed }
    }

    /// Files a step under its boot; `None` when nothing is known of who took it.
    pub fn note(&mut self, who: Who, step: &Step, now: Instant) -> Option<Heading> {
        let mac = match who {
            Who::Address(address) => *self.by_address.get(&address)?,
            Who::Machine(mac) => mac,
        };
        let reached = reached(step);
        let stale = self.by_mac.peek(&mac).is_none_or(|boot| {
            now.duration_since(boot.last) > FORGOTTEN
                || begins_anew(step, boot.reached)
                || discovers_after_a_pause(step, boot, now)
        });
        if stale {
            self.begin(mac, is_discover(step), now);
        }
        let boot = self.by_mac.get_mut(&mac)?;
        boot.last = now;
        if is_discover(step) {
            boot.discovered = now;
        }
        if let Step::Transfer(transfer) = step {
            boot.fetched.any = Some(now);
            if boot.watch.boots_by_http(transfer) {
                boot.fetched.by_http_boot = Some(now);
            }
        }
        boot.reached = reached.map_or(boot.reached, |reached| reached.max(boot.reached));
        boot.watch.note(step, now);
        Some(Heading { boot: boot.id, mac, since: now.duration_since(boot.started) })
    }

    /// It is known otherwise that a machine was switched on: its steps alone do not tell where it is
    /// left alone each time.
    pub fn starts_over(&mut self, mac: Mac, now: Instant) {
        self.begin(mac, true, now);
    }

    /// Learns the address a machine takes; true when it was not known before.
    ///
    /// Only machines that are booting are followed, so an office full of laptops costs nothing.
    pub fn learn(&mut self, mac: Mac, address: Ipv4Addr) -> bool {
        let Some(boot) = self.by_mac.peek_mut(&mac) else { return false };
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

    /// A machine discovers on the interface where this address is ours.
    pub fn discovers(&mut self, mac: Mac, ours: Ipv4Addr) {
        if let Some(boot) = self.by_mac.peek_mut(&mac) {
            boot.ours = Some(ours);
        }
    }

    /// Whether a machine has discovered, and nothing came of it yet.
    pub fn asks(&self, mac: Mac) -> bool {
        self.by_mac.peek(&mac).is_some_and(|boot| boot.watch.asks())
    }

    /// A booting machine takes an address from this server.
    pub fn requests(&mut self, mac: Mac, server: Option<Ipv4Addr>, now: Instant) {
        if let Some(boot) = self.by_mac.peek_mut(&mac) {
            boot.watch.requests(server, now);
        }
    }

    /// A DHCP server was heard to answer a booting machine.
    pub fn answered(&mut self, mac: Mac, server: Ipv4Addr) {
        if let Some(boot) = self.by_mac.peek_mut(&mac) {
            boot.watch.answered(server);
        }
    }

    /// A booting machine says that it has heard a DHCP server and not us.
    pub fn misses_us(&mut self, mac: Mac) {
        if let Some(boot) = self.by_mac.peek_mut(&mac) {
            boot.watch.misses_us();
        }
    }

    /// A booting machine asks for some file.
    pub fn comes(&mut self, address: Ipv4Addr, now: Instant) {
        let boot = self.by_address.get(&address).and_then(|mac| self.by_mac.peek_mut(mac));
        if let Some(boot) = boot {
            boot.watch.comes(now);
        }
    }

    /// A machine's kernel comes from another server, where we do not see it.
    pub fn goes_elsewhere(&mut self, mac: Mac, now: Instant) {
        if let Some(boot) = self.by_mac.peek_mut(&mac) {
            boot.watch.goes_elsewhere(now);
        }
    }

    /// The boots that have stopped, each kind of stop told once. What is known of the LAN comes by
    /// our address there.
    pub fn stops(
        &mut self,
        now: Instant,
        heard: impl Fn(Option<Ipv4Addr>) -> Heard,
        mut admit: impl FnMut() -> bool,
    ) -> Vec<(Heading, Stop)> {
        let stopped = |(&mac, boot): (&Mac, &mut Boot)| {
            // What is learnt of the LAN hours later says nothing of a machine that runs by now.
            if now.duration_since(boot.last) > FORGOTTEN {
                return None;
            }
            let stop = boot.watch.due(now, &heard(boot.ours), &mut admit)?;
            let since = now.duration_since(boot.started);
            Some((Heading { boot: boot.id, mac, since }, stop))
        };
        self.by_mac.iter_mut().filter_map(stopped).collect()
    }

    /// When a machine fetched from us the last time.
    pub fn fetched(&self, mac: Mac) -> Fetched {
        self.by_mac.peek(&mac).map(|boot| boot.fetched).unwrap_or_default()
    }

    /// The machine that took this address.
    pub fn at(&self, address: Ipv4Addr) -> Option<Mac> {
        self.by_address.get(&address).copied()
    }

    /// Whether a boot of this machine is remembered.
    pub fn remembers(&self, mac: Mac) -> bool {
        self.by_mac.contains(&mac)
    }

    /// Whether a machine was told this already in this boot; from now on it was.
    pub fn repeats(&mut self, mac: Mac, notice: &str, now: Instant) -> bool {
        let Some(boot) = self.by_mac.peek_mut(&mac) else { return false };
        let repeats = boot.notice.as_deref() == Some(notice)
            && now.saturating_duration_since(boot.last) <= FORGOTTEN;
        if !repeats {
            boot.notice = Some(notice.to_owned());
        }
        repeats
    }

    /// Whether iPXE runs on this machine now, chainloaded or answered by us within `window`.
    pub fn runs_ipxe(&self, mac: Mac, now: Instant, window: Duration) -> bool {
        self.by_mac.peek(&mac).is_some_and(|boot| {
            boot.reached >= Reached::Ipxe && now.duration_since(boot.last) <= window
        })
    }

    fn begin(&mut self, mac: Mac, starts_over: bool, now: Instant) {
        let id = BootId(self.next & 0x00ff_ffff);
        self.next = self.next.wrapping_add(1);
        // The address stays known across a reboot: most DHCP servers give the same one again.
        let before = self.by_mac.peek(&mac);
        let watch = match before.filter(|_| !starts_over) {
            Some(before) => before.watch.after_a_pause(now),
            None => Watch::new(now),
        };
        let boot = Boot {
            id,
            started: now,
            last: now,
            discovered: now,
            reached: Reached::Discover,
            address: before.and_then(|boot| boot.address),
            ours: before.and_then(|boot| boot.ours),
            fetched: before.map(|boot| boot.fetched).unwrap_or_default(),
            notice: None,
            watch,
        };
        if let Some((forgotten, Boot { address: Some(address), .. })) = self.by_mac.push(mac, boot)
            && forgotten != mac
            && self.by_address.get(&address) == Some(&forgotten)
        {
            self.by_address.remove(&address);
        }
    }
}

fn reached(step: &Step) -> Option<Reached> {
    match step {
        Step::Ack { stage: Stage::Ipxe, .. } | Step::Offer { stage: Stage::Ipxe, .. } => {
            Some(Reached::Ipxe)
        }
        Step::Ack { stage: Stage::Rom, .. } => Some(Reached::BootProgram),
        // Each stands in the place of a script.
        Step::Config { .. } | Step::Disk { .. } | Step::Notice { .. } | Step::Script { .. } => {
            Some(Reached::Script)
        }
        Step::Transfer(_) => Some(Reached::BootProgram),
        Step::Advertise
        | Step::DiskFails
        | Step::Failed { .. }
        | Step::Held { .. }
        | Step::Installed { .. }
        | Step::Installing { .. }
        | Step::Lease { .. }
        | Step::LeaveAlone { .. }
        | Step::Offer { stage: Stage::Rom, .. }
        | Step::Stop(_)
        | Step::WouldOffer { .. } => None,
    }
}

fn is_discover(step: &Step) -> bool {
    matches!(step, Step::Offer { .. } | Step::LeaveAlone { .. })
}

/// Whether a machine was switched on again since its last discover. The first discover of an iPXE
/// that was loaded over a slow line goes on with the boot, however late it comes.
fn discovers_after_a_pause(step: &Step, boot: &Boot, now: Instant) -> bool {
    let late_ipxe = matches!(step, Step::Offer { stage: Stage::Ipxe, .. });
    if !is_discover(step) || (late_ipxe && boot.reached < Reached::Ipxe) {
        return false;
    }
    let by_http = matches!(step, Step::Offer { form: Form::Http, .. });
    let same = if by_http { SAME_BY_HTTP } else { SAME_POWER_ON };
    now.duration_since(boot.discovered) > same
}

/// A ROM discovers only before its boot program, iPXE only before its script.
fn begins_anew(step: &Step, reached: Reached) -> bool {
    match step {
        Step::Offer { stage: Stage::Rom, .. } => reached > Reached::Discover,
        Step::Offer { stage: Stage::Ipxe, .. } => reached > Reached::Ipxe,
        Step::LeaveAlone { .. } => reached > Reached::Discover,
        Step::Ack { .. }
        | Step::Advertise
        | Step::Disk { .. }
        | Step::DiskFails
        | Step::Failed { .. }
        | Step::Held { .. }
        | Step::Installed { .. }
        | Step::Installing { .. }
        | Step::Config { .. }
        | Step::Lease { .. }
        | Step::Notice { .. }
        | Step::Script { .. }
        | Step::Stop(_)
        | Step::Transfer(_)
        | Step::WouldOffer { .. } => false,
    }
}

#[cfg(test)]
mod tests;
