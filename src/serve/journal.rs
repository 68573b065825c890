//! Writes the steps of boots to the log, and counts the silences.
//!
//! The one place that decides whether a line is written: what a LAN can cause is throttled, and
//! what was held back is counted.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::interval;
use tracing::Level;

use super::{drain::Drain, interface::Interface};
use crate::{
    firmware::Firmware,
    lan::{Lan, Role, ServerMessage},
    machine::Mac,
    proxydhcp::Lease,
    trace::{Boots, Fetched, Finding, Heading, Heard, Stage, Step, Throttle, Who},
};

/// Lines that may be written at once, and then each second: room for 200 machines that boot
/// together, not for a flood.
const BURST: u32 = 4000;
const PER_SECOND: u32 = 100;
/// How long after its last step a machine still counts as one that runs iPXE with us.
const IPXE_STAGE: Duration = Duration::from_secs(60);
/// How often silences are summed up, where there were any.
const SUMMARY: Duration = Duration::from_secs(60);
/// How often boots are looked at that may have stopped.
const LOOK: Duration = Duration::from_secs(2);

/// The log of all boots. Clones write to the same one.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Mutex<Pages>>);

#[derive(Debug)]
struct Pages {
    boots: Boots,
    /// What is heard on each interface that we listen on, by our address there.
    lans: BTreeMap<Ipv4Addr, Lan>,
    /// By protocol and reason, since the last summary.
    silences: BTreeMap<(&'static str, &'static str), u64>,
    throttle: Throttle,
}

impl Journal {
    /// Starts empty.
    pub fn new() -> Self {
        let seed = RandomState::new().hash_one(0);
        let seed = u32::try_from(seed >> 32).unwrap_or_default();
        Self(Arc::new(Mutex::new(Pages {
            boots: Boots::new(seed),
            lans: BTreeMap::new(),
            silences: BTreeMap::new(),
            throttle: Throttle::new(BURST, PER_SECOND, Instant::now()),
        })))
    }

    /// Notes one step of a machine's boot.
    pub fn step(&self, who: Who, step: &Step) {
        self.file(who, step, |_| {});
    }

    /// Notes what a machine is answered; `ours` is our address where it asks.
    pub fn answers(&self, ours: Ipv4Addr, mac: Mac, step: &Step) {
        self.file(Who::Machine(mac), step, |boots| boots.discovers(mac, ours));
    }

    /// Notes what a machine is told again and again only once in a boot. It is news where the machine
    /// was switched on again: another boot.
    pub fn once(&self, mac: Mac, step: &Step, is_news: bool) {
        let (text, now) = (step.to_string(), Instant::now());
        let mut pages = self.pages();
        if is_news {
            pages.boots.starts_over(mac, now);
        }
        let repeats = pages.boots.repeats(mac, &text, now);
        drop(pages);
        if !repeats {
            // The step may begin another boot.
            self.file(Who::Machine(mac), step, |boots| {
                boots.repeats(mac, &text, now);
            });
        }
    }

    /// Files a step, and what else of its boot is known by it.
    fn file(&self, who: Who, step: &Step, also: impl FnOnce(&mut Boots)) {
        let now = Instant::now();
        let mut pages = self.pages();
        let heading = pages.boots.note(who, step, now);
        also(&mut pages.boots);
        // What is normally not written costs no line.
        let is_admitted = step.is_routine() || pages.throttle.admit(now);
        drop(pages);
        if is_admitted {
            write(heading, who, step);
        }
    }

    /// Notes the address that a booting machine takes; `ours` is our address where it was heard.
    pub fn lease(&self, ours: Ipv4Addr, lease: &Lease) {
        let now = Instant::now();
        let (mac, address, server) = (lease.machine.mac, lease.address, lease.server);
        let mut pages = self.pages();
        pages.boots.requests(mac, server, now);
        if let (Some(lan), Some(server)) = (pages.lans.get_mut(&ours), server) {
            lan.named(server, now);
        }
        let is_news = pages.boots.learn(mac, address);
        drop(pages);
        if is_news {
            self.step(Who::Machine(mac), &Step::Lease { address, server });
        }
    }

    /// From now on other servers are heard there.
    pub fn listens(&self, interface: &Interface) {
        self.pages().lans.insert(interface.address, Lan::new(interface.address));
    }

    /// Takes in what another server says to a client; true where it is the LAN's DHCP server.
    pub fn hears(&self, interface: &Interface, message: &ServerMessage) -> bool {
        let now = Instant::now();
        let mut pages = self.pages();
        let Pages { boots, lans, throttle, .. } = &mut *pages;
        let Some(lan) = lans.get_mut(&interface.address) else { return false };
        let finding = lan.hear(message, now, || throttle.take(now));
        let is_dhcp = message.role(interface.address) == Some(Role::Dhcp);
        if is_dhcp {
            if boots.asks(message.mac) {
                lan.answers_booting(message);
            }
            boots.answered(message.mac, message.server);
        }
        drop(pages);
        if let Some(finding) = finding {
            write_finding(interface, &finding);
        }
        is_dhcp
    }

    /// Notes that a machine says it has heard a DHCP server and not us.
    pub fn misses_us(&self, mac: Mac) {
        self.pages().boots.misses_us(mac);
    }

    /// Notes that whoever has this address asks for a file.
    pub fn comes(&self, address: Ipv4Addr) {
        self.pages().boots.comes(address, Instant::now());
    }

    /// Notes that the kernel of a machine's script comes from another server.
    pub fn goes_elsewhere(&self, mac: Mac) {
        self.pages().boots.goes_elsewhere(mac, Instant::now());
    }

    /// Looks for boots that have stopped, until the drain begins.
    pub async fn watch(self, mut drain: Drain) -> io::Result<()> {
        let mut look = interval(LOOK);
        loop {
            tokio::select! {
                _ = look.tick() => self.stops(),
                () = drain.begun() => return Ok(()),
            }
        }
    }

    fn stops(&self) {
        let now = Instant::now();
        let mut pages = self.pages();
        let Pages { boots, lans, throttle, .. } = &mut *pages;
        let lans: BTreeMap<Ipv4Addr, Heard> =
            lans.iter().map(|(&ours, lan)| (ours, lan.heard(now))).collect();
        // Another VLAN's servers explain nothing here.
        let heard = |ours: Option<Ipv4Addr>| {
            ours.and_then(|ours| lans.get(&ours)).copied().unwrap_or_default()
        };
        let stops = boots.stops(now, heard, || throttle.take(now));
        drop(pages);
        for (heading, stop) in stops {
            write(Some(heading), Who::Machine(heading.mac), &Step::Stop(stop));
        }
    }

    /// Learns the address that a booting machine asks from.
    pub fn learn(&self, mac: Mac, address: Ipv4Addr) {
        self.pages().boots.learn(mac, address);
    }

    /// When a machine fetched from us the last time.
    pub fn fetched(&self, mac: Mac) -> Fetched {
        self.pages().boots.fetched(mac)
    }

    /// The booting machine that took this address last, as DHCP was heard.
    pub fn machine_at(&self, address: Ipv4Addr) -> Option<Mac> {
        self.pages().boots.at(address)
    }

    /// Whether a boot of this machine is remembered.
    pub fn boots(&self, mac: Mac) -> bool {
        self.pages().boots.remembers(mac)
    }

    /// Whether this machine runs iPXE with us now.
    pub fn runs_ipxe(&self, mac: Mac) -> bool {
        self.pages().boots.runs_ipxe(mac, Instant::now(), IPXE_STAGE)
    }

    /// Counts a packet or request that gets no answer, by protocol and reason.
    pub fn silence(&self, protocol: &'static str, reason: &'static str) {
        *self.pages().silences.entry((protocol, reason)).or_default() += 1;
        tracing::debug!(protocol, reason, "ignored");
    }

    /// Tells the operator that the ledger's disk takes nothing.
    pub fn ledger_failed(&self, error: &dyn std::fmt::Display) {
        if self.pages().throttle.admit(Instant::now()) {
            tracing::error!(step = "ledger-failed", "{error}");
        }
    }

    /// Notes a reply that the network did not take.
    pub fn failed_to_send(&self, protocol: &'static str, to: &SocketAddr, error: &io::Error) {
        *self.pages().silences.entry((protocol, "send-failed")).or_default() += 1;
        tracing::debug!(protocol, %to, %error, "cannot send");
    }

    /// Sums up what was ignored or held back, once a minute, until the drain begins.
    pub async fn summarise(self, mut drain: Drain) -> io::Result<()> {
        let mut minute = interval(SUMMARY);
        minute.tick().await;
        loop {
            tokio::select! {
                _ = minute.tick() => self.summary(),
                () = drain.begun() => {
                    self.summary();
                    return Ok(());
                }
            }
        }
    }

    fn summary(&self) {
        let mut pages = self.pages();
        let silences = std::mem::take(&mut pages.silences);
        let held_back = pages.throttle.take_held_back();
        drop(pages);
        for ((protocol, reason), count) in silences {
            tracing::info!(
                step = "silence",
                protocol,
                reason,
                count,
                "{protocol}: {count} ignored, {reason}"
            );
        }
        if held_back > 0 {
            tracing::info!(
                step = "held-back",
                count = held_back,
                "{held_back} log lines held back"
            );
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // A panic elsewhere must not stop the log of every other machine.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

/// The fields of a step, in the one form that `docs/log.md` promises.
#[derive(Default)]
struct Fields<'a> {
    boot: Option<String>,
    mac: Option<String>,
    since_ms: Option<u64>,
    address: Option<String>,
    server: Option<String>,
    firmware: Option<String>,
    stage: Option<String>,
    boot_file: Option<&'a str>,
    form: Option<String>,
    group: Option<&'a str>,
    profile: Option<&'a str>,
    attempt: Option<u32>,
    protocol: Option<String>,
    file: Option<&'a str>,
    kind: Option<&'a str>,
    end: Option<&'static str>,
    bytes: Option<u64>,
    size: Option<u64>,
    took_ms: Option<u64>,
    reason: Option<&'a str>,
    diagnosis: Option<&'static str>,
}

/// A line about another server, which belongs to no boot.
fn write_finding(interface: &Interface, finding: &Finding) {
    tracing::info!(
        step = "lan",
        diagnosis = finding.name(),
        interface = interface.name,
        server = %finding.server(),
        boot_file = finding.boot_file(),
        "{}: {finding}",
        interface.name
    );
}

fn write(heading: Option<Heading>, who: Who, step: &Step) {
    let is_wanted = match step.is_routine() {
        true => tracing::enabled!(Level::DEBUG),
        false => tracing::enabled!(Level::INFO),
    };
    if !is_wanted {
        return;
    }
    let mut fields = Fields::of(step);
    if let Who::Address(address) = who {
        fields.address = Some(address.to_string());
    }
    if let Some(heading) = heading {
        fields.boot = Some(heading.boot.to_string());
        fields.mac = Some(heading.mac.to_string());
        fields.since_ms = Some(milliseconds(heading.since));
    }
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                boot = fields.boot,
                mac = fields.mac,
                since_ms = fields.since_ms,
                step = step.name(),
                address = fields.address,
                server = fields.server,
                firmware = fields.firmware,
                stage = fields.stage,
                boot_file = fields.boot_file,
                form = fields.form,
                group = fields.group,
                profile = fields.profile,
                attempt = fields.attempt,
                protocol = fields.protocol,
                file = fields.file,
                kind = fields.kind,
                end = fields.end,
                bytes = fields.bytes,
                size = fields.size,
                took_ms = fields.took_ms,
                reason = fields.reason,
                diagnosis = fields.diagnosis,
                "{step}"
            )
        };
    }
    match step.is_routine() {
        true => line!(debug),
        false => line!(info),
    }
}

impl<'a> Fields<'a> {
    fn of(step: &'a Step) -> Self {
        match step {
            Step::Ack { firmware, stage, boot_file } => Self::answer(*firmware, *stage, boot_file),
            Step::WouldOffer { firmware, stage, boot_file, then } => Self {
                group: then.as_ref().map(|then| &*then.group),
                profile: then.as_ref().map(|then| &*then.profile),
                ..Self::answer(*firmware, *stage, boot_file)
            },
            Step::Offer { firmware, stage, boot_file, form } => {
                let form = Some(form.to_string());
                Self { form, ..Self::answer(*firmware, *stage, boot_file) }
            }
            Step::Advertise | Step::DiskFails => Self::default(),
            Step::Failed { profile, reason } | Step::Installed { profile, reason } => {
                Self { profile: Some(profile), reason: Some(reason), ..Self::default() }
            }
            Step::Installing { group, profile, attempt } => Self {
                group: Some(group),
                profile: Some(profile),
                attempt: Some(*attempt),
                ..Self::default()
            },
            Step::Config { file, kind, group } => Self {
                file: Some(file),
                kind: Some(kind),
                group: group.as_deref(),
                ..Self::default()
            },
            Step::Lease { address, server } => Self {
                address: Some(address.to_string()),
                server: server.map(|server| server.to_string()),
                ..Self::default()
            },
            Step::Disk { reason }
            | Step::Held { reason }
            | Step::LeaveAlone { reason }
            | Step::Notice { reason } => Self { reason: Some(reason), ..Self::default() },
            Step::Script { group, profile } => {
                Self { group: Some(group), profile: Some(profile), ..Self::default() }
            }
            Step::Stop(stop) => Self { diagnosis: Some(stop.name()), ..Self::default() },
            Step::Transfer(transfer) => Self {
                protocol: Some(transfer.protocol.to_string()),
                file: Some(&transfer.file),
                end: Some(transfer.end.name()),
                bytes: Some(transfer.bytes),
                size: Some(transfer.size),
                took_ms: Some(milliseconds(transfer.took)),
                reason: transfer.end.reason(),
                ..Self::default()
            },
        }
    }

    fn answer(firmware: Option<Firmware>, stage: Stage, boot_file: &'a str) -> Self {
        Self {
            firmware: firmware.map(|firmware| firmware.to_string()),
            stage: Some(stage.to_string()),
            boot_file: Some(boot_file),
            ..Self::default()
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
