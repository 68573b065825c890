//! Which boot a step belongs to, from the machine's hardware address or the address it took.
//!
//! Bounded: a LAN full of made-up machines costs the oldest boot its id, never memory.

use std::{
    collections::HashMap,
    fmt,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use super::{Heard, Stage, Step, Stop, watch::Watch};
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
    /// When it fetched a file the last time, in an earlier boot perhaps.
    fetched: Option<Instant>,
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
        if matches!(step, Step::Transfer(_)) {
            boot.fetched = Some(now);
        }
        boot.reached = reached.map_or(boot.reached, |reached| reached.max(boot.reached));
        boot.watch.note(step, now);
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

    /// A booting machine takes an address from this server.
    pub fn requests(&mut self, mac: Mac, server: Option<Ipv4Addr>, now: Instant) {
        if let Some(boot) = self.by_mac.get_mut(&mac) {
            boot.watch.requests(server, now);
        }
    }

    /// A DHCP server was heard to answer a booting machine.
    pub fn answered(&mut self, mac: Mac, server: Ipv4Addr) {
        if let Some(boot) = self.by_mac.get_mut(&mac) {
            boot.watch.answered(server);
        }
    }

    /// A booting machine says that it has heard a DHCP server and not us.
    pub fn misses_us(&mut self, mac: Mac) {
        if let Some(boot) = self.by_mac.get_mut(&mac) {
            boot.watch.misses_us();
        }
    }

    /// A booting machine asks for some file.
    pub fn comes(&mut self, address: Ipv4Addr, now: Instant) {
        let boot = self.by_address.get(&address).and_then(|mac| self.by_mac.get_mut(mac));
        if let Some(boot) = boot {
            boot.watch.comes(now);
        }
    }

    /// A machine's kernel comes from another server, where we do not see it.
    pub fn goes_elsewhere(&mut self, mac: Mac, now: Instant) {
        if let Some(boot) = self.by_mac.get_mut(&mac) {
            boot.watch.goes_elsewhere(now);
        }
    }

    /// The boots that have stopped, each told once.
    pub fn stops(&mut self, now: Instant, heard: &Heard) -> Vec<(Heading, Stop)> {
        let stopped = |(&mac, boot): (&Mac, &mut Boot)| {
            let stop = boot.watch.due(now, heard)?;
            let since = now.duration_since(boot.started);
            Some((Heading { boot: boot.id, mac, since }, stop))
        };
        self.by_mac.iter_mut().filter_map(stopped).collect()
    }

    /// When a machine fetched a file from us the last time, or tried to.
    pub fn fetched(&self, mac: Mac) -> Option<Instant> {
        self.by_mac.get(&mac)?.fetched
    }

    /// The machine that took this address.
    pub fn at(&self, address: Ipv4Addr) -> Option<Mac> {
        self.by_address.get(&address).copied()
    }

    /// Whether a machine was told this already in this boot; from now on it was.
    pub fn repeats(&mut self, mac: Mac, notice: &str, now: Instant) -> bool {
        let Some(boot) = self.by_mac.get_mut(&mac) else { return false };
        let repeats = boot.notice.as_deref() == Some(notice)
            && now.saturating_duration_since(boot.last) <= FORGOTTEN;
        if !repeats {
            boot.notice = Some(notice.to_owned());
        }
        repeats
    }

    /// Whether iPXE runs on this machine now, chainloaded or answered by us within `window`.
    pub fn runs_ipxe(&self, mac: Mac, now: Instant, window: Duration) -> bool {
        self.by_mac.get(&mac).is_some_and(|boot| {
            boot.reached >= Reached::Ipxe && now.duration_since(boot.last) <= window
        })
    }

    fn begin(&mut self, mac: Mac, now: Instant) {
        if self.by_mac.len() >= MOST && !self.by_mac.contains_key(&mac) {
            self.forget_some();
        }
        let id = BootId(self.next & 0x00ff_ffff);
        self.next = self.next.wrapping_add(1);
        // The address stays known across a reboot: most DHCP servers give the same one again.
        let before = self.by_mac.get(&mac);
        let boot = Boot {
            id,
            started: now,
            last: now,
            reached: Reached::Discover,
            address: before.and_then(|boot| boot.address),
            fetched: before.and_then(|boot| boot.fetched),
            notice: None,
            watch: Watch::new(now),
        };
        self.by_mac.insert(mac, boot);
    }

    /// The quarter without a step for longest, at once: looking for the oldest one at each new
    /// machine of a flood would cost more than the answers.
    fn forget_some(&mut self) {
        let mut last: Vec<Instant> = self.by_mac.values().map(|boot| boot.last).collect();
        let (_, &mut limit, _) = last.select_nth_unstable(MOST / 4);
        let by_address = &mut self.by_address;
        self.by_mac.retain(|mac, boot| {
            let stays = boot.last > limit;
            if let Some(address) = boot.address.filter(|_| !stays)
                && by_address.get(&address) == Some(mac)
            {
                by_address.remove(&address);
            }
            stays
        });
    }
}

fn reached(step: &Step) -> Option<Reached> {
    match step {
        Step::Ack { stage: Stage::Ipxe, .. } | Step::Offer { stage: Stage::Ipxe, .. } => {
            Some(Reached::Ipxe)
        }
        Step::Ack { stage: Stage::Rom, .. } => Some(Reached::BootProgram),
        Step::Config { .. } | Step::Disk { .. } | Step::Script { .. } => Some(Reached::Script),
        Step::Transfer(_) => Some(Reached::BootProgram),
        Step::Advertise
        | Step::DiskFails
        | Step::Failed { .. }
        | Step::Held { .. }
        | Step::Installed { .. }
        | Step::Installing { .. }
        | Step::Lease { .. }
        | Step::LeaveAlone { .. }
        | Step::Notice { .. }
        | Step::Offer { stage: Stage::Rom, .. }
        | Step::Stop(_)
        | Step::WouldOffer { .. } => None,
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
mod tests {
    use super::*;
    use crate::{
        firmware::Form,
        trace::{End, Protocol, Transfer},
    };

    const MAC: &str = "52:54:00:00:00:01";

    struct Story {
        boots: Boots,
        now: Instant,
        mac: Mac,
    }

    impl Story {
        fn new() -> Self {
            Self { boots: Boots::new(7), now: Instant::now(), mac: MAC.parse().unwrap() }
        }

        fn step(&mut self, who: Who, step: &Step) -> Option<BootId> {
            self.now += Duration::from_secs(1);
            self.boots.note(who, step, self.now).map(|heading| heading.boot)
        }

        fn machine(&mut self, step: &Step) -> BootId {
            self.step(Who::Machine(self.mac), step).unwrap()
        }
    }

    fn offer(stage: Stage) -> Step {
        Step::Offer { firmware: None, stage, boot_file: String::new(), form: Form::Direct }
    }

    fn transfer() -> Step {
        Step::Transfer(Transfer {
            protocol: Protocol::Tftp,
            file: "undionly.kpxe".to_owned(),
            end: End::Complete,
            bytes: 1,
            size: 1,
            took: Duration::ZERO,
        })
    }

    fn script() -> Step {
        Step::Script { group: "g".to_owned(), profile: "p".to_owned() }
    }

    #[test]
    fn one_boot_keeps_its_id_from_the_first_discover_to_the_kernel() {
        let mut story = Story::new();
        let address = Ipv4Addr::new(192, 0, 2, 7);
        let id = story.machine(&offer(Stage::Rom));
        assert_eq!(story.machine(&offer(Stage::Rom)), id, "a repeated discover");
        assert!(story.boots.learn(story.mac, address));
        assert_eq!(story.step(Who::Address(address), &transfer()), Some(id));
        assert_eq!(story.machine(&offer(Stage::Ipxe)), id);
        assert_eq!(story.machine(&offer(Stage::Ipxe)), id, "iPXE repeats its discover");
        assert_eq!(story.machine(&script()), id);
        assert_eq!(story.step(Who::Address(address), &transfer()), Some(id));
    }

    #[test]
    fn a_machine_that_starts_over_gets_a_new_id() {
        let mut story = Story::new();
        let first = story.machine(&offer(Stage::Ipxe));
        story.machine(&script());
        let second = story.machine(&offer(Stage::Ipxe));
        assert_ne!(first, second);
        story.boots.learn(story.mac, Ipv4Addr::new(192, 0, 2, 7));
        story.machine(&transfer());
        assert_ne!(story.machine(&offer(Stage::Rom)), second);
        let before = story.machine(&offer(Stage::Rom));
        story.now += FORGOTTEN + Duration::from_secs(1);
        assert_ne!(story.machine(&offer(Stage::Rom)), before);
    }

    #[test]
    fn an_address_belongs_to_the_machine_that_took_it_last() {
        let mut story = Story::new();
        let address = Ipv4Addr::new(192, 0, 2, 7);
        assert!(!story.boots.learn(story.mac, address), "a laptop is not followed");
        assert_eq!(story.step(Who::Address(address), &transfer()), None);
        story.machine(&offer(Stage::Rom));
        assert!(story.boots.learn(story.mac, address));
        assert!(!story.boots.learn(story.mac, address), "no news");
        let other: Mac = "52:54:00:00:00:02".parse().unwrap();
        let theirs = story.step(Who::Machine(other), &offer(Stage::Rom));
        assert!(story.boots.learn(other, address));
        assert_eq!(story.step(Who::Address(address), &transfer()), theirs);
        assert!(story.boots.learn(story.mac, Ipv4Addr::new(192, 0, 2, 8)));
        assert_eq!(story.step(Who::Address(address), &transfer()), theirs, "still theirs");
    }

    #[test]
    fn a_notice_is_repeated_within_one_boot() {
        let mut story = Story::new();
        story.machine(&offer(Stage::Rom));
        let (mac, now) = (story.mac, story.now);
        let told: Vec<bool> =
            ["a", "a", "b"].map(|notice| story.boots.repeats(mac, notice, now)).into();
        assert_eq!(told, [false, true, false]);
        assert!(!story.boots.repeats(mac, "b", now + FORGOTTEN + Duration::from_secs(1)));
        story.machine(&offer(Stage::Ipxe));
        story.machine(&offer(Stage::Rom));
        assert!(!story.boots.repeats(mac, "b", now), "another boot");
    }

    #[test]
    fn only_a_machine_in_its_ipxe_stage_runs_ipxe() {
        let mut story = Story::new();
        let window = Duration::from_secs(60);
        story.machine(&offer(Stage::Rom));
        assert!(!story.boots.runs_ipxe(story.mac, story.now, window));
        story.machine(&offer(Stage::Ipxe));
        assert!(story.boots.runs_ipxe(story.mac, story.now, window));
        assert!(!story.boots.runs_ipxe(story.mac, story.now + window * 2, window));
    }

    #[test]
    fn a_lan_full_of_made_up_machines_costs_no_memory() {
        let mut story = Story::new();
        for number in 0..=u32::try_from(2 * MOST).unwrap() {
            let [a, b, c, d] = number.to_be_bytes();
            let mac = Mac::new([2, 0, a, b, c, d]).unwrap();
            story.step(Who::Machine(mac), &offer(Stage::Rom));
            story.boots.learn(mac, number.into());
        }
        let remembered = story.boots.by_mac.len();
        assert!((MOST / 2..=MOST).contains(&remembered), "{remembered}");
        assert_eq!(story.boots.by_address.len(), remembered);
    }
}
