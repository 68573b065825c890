//! How far one boot has come, and when its silence means that it stopped.
//!
//! Tells only what follows surely from what was heard; each kind of stop once in a boot, and again
//! after an hour in which the boot went on.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use crate::firmware::{Form, comes_back};

use super::{
    BELONGS_TOGETHER, End, Heard, Knows, Protocol, Stage, Step, Stop, Transfer, stop::patience,
};

/// Offers before a discover counts as repeated in vain, and the time they must span: EDK2 sends
/// its own 0, 4 and 12 s after the first.
const OFFERS: u32 = 3;
const ASKING: Duration = Duration::from_secs(10);
/// iPXE asks four times within 7 s, and gives up 8 s after the last one.
const IPXE_OFFERS: u32 = 4;
const IPXE_GIVES_UP: Duration = Duration::from_secs(8);
/// How long a boot program may take to its first discover, iPXE to its kernel, and either to try
/// a broken transfer again.
const NEXT: Duration = Duration::from_secs(60);
/// So often a script's kernel arrives whole before its loader goes round.
const ROUNDS: u32 = 3;
/// When the same stop of the same boot is told again, if steps came since.
const AGAIN: Duration = Duration::from_secs(3600);

/// One boot, as far as it went.
#[derive(Debug)]
pub(super) struct Watch {
    at: At,
    /// When it came there.
    since: Instant,
    /// The last offer's.
    stage: Stage,
    boot_file: String,
    /// The forms of the offers in a row, each once, the last one last.
    forms: Vec<Form>,
    /// Offers in a row, and the first and last of them.
    offers: u32,
    first: Instant,
    last: Instant,
    /// Whose address it took since the first offer, and when.
    requested: Option<(Option<Ipv4Addr>, Instant)>,
    /// A DHCP server that was heard to answer it.
    answered: Option<Ipv4Addr>,
    misses_us: bool,
    /// The file that was fetched first by the script that it has, how often it arrived whole, and
    /// when first.
    kernel: Option<(String, u32, Instant)>,
    /// The latest step, whichever.
    stirred: Instant,
    told: BTreeMap<&'static str, Instant>,
}

/// The point that a boot has come to.
#[derive(Debug, Eq, PartialEq)]
enum At {
    /// It was told its boot file on port 4011, so many times in a row.
    Acked(u32),
    /// It discovers, or has taken an address.
    Asks,
    /// A transfer ended like this.
    Broken(String),
    /// Something is on its way to it, or nothing is known to be missing.
    Fine,
    /// It has its boot program.
    Loaded,
    /// It has its script.
    Scripted,
    /// It was sent on, or runs its system: what comes then is not ours to follow.
    Past,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            at: At::Fine,
            since: now,
            stage: Stage::Rom,
            boot_file: String::new(),
            forms: Vec::new(),
            offers: 0,
            first: now,
            last: now,
            requested: None,
            answered: None,
            misses_us: false,
            kernel: None,
            stirred: now,
            told: BTreeMap::new(),
        }
    }

    /// Of a machine that was silent for long, and did not start over: one that was sent on is so still.
    pub(super) fn after_a_pause(&self, now: Instant) -> Self {
        match self.at {
            At::Past => Self { at: At::Past, ..Self::new(now) },
            At::Acked(_) | At::Asks | At::Broken(_) | At::Fine | At::Loaded | At::Scripted => {
                Self::new(now)
            }
        }
    }

    /// Takes in a step of this boot.
    pub(super) fn note(&mut self, step: &Step, now: Instant) {
        self.stirred = now;
        match step {
            Step::Offer { stage, boot_file, form, .. } => {
                self.offer(*stage, boot_file, *form, now);
            }
            Step::Ack { stage, boot_file, .. } => {
                self.stage = *stage;
                boot_file.clone_into(&mut self.boot_file);
                let before = if let At::Acked(times) = self.at { times } else { 0 };
                self.reach(At::Acked(before.saturating_add(1)), now);
            }
            Step::Script { .. } => {
                self.kernel = None;
                self.reach(At::Scripted, now);
            }
            Step::Transfer(transfer) => self.transfer(transfer, now),
            Step::Config { .. }
            | Step::Disk { .. }
            | Step::Failed { .. }
            | Step::Held { .. }
            | Step::Installed { .. }
            | Step::LeaveAlone { .. }
            | Step::Notice { .. } => self.reach(At::Past, now),
            Step::Advertise
            | Step::DiskFails
            | Step::Installing { .. }
            | Step::Lease { .. }
            | Step::Stop(_)
            | Step::WouldOffer { .. } => {}
        }
    }

    /// It takes an address from this server.
    pub(super) fn requests(&mut self, server: Option<Ipv4Addr>, now: Instant) {
        if self.at == At::Asks && now.duration_since(self.last) <= BELONGS_TOGETHER {
            self.requested.get_or_insert((server, now));
        }
    }

    /// A DHCP server was heard to answer it.
    pub(super) fn answered(&mut self, server: Ipv4Addr) {
        self.answered = Some(server);
    }

    /// It says that it has heard a DHCP server's offer and not ours.
    pub(super) fn misses_us(&mut self) {
        self.misses_us = true;
    }

    /// It asks for a file, whichever.
    pub(super) fn comes(&mut self, now: Instant) {
        if self.at != At::Past {
            self.reach(At::Fine, now);
        }
    }

    /// Its kernel comes from another server.
    pub(super) fn goes_elsewhere(&mut self, now: Instant) {
        self.reach(At::Past, now);
    }

    /// Whether it discovers, or has taken an address.
    pub(super) fn asks(&self) -> bool {
        self.at == At::Asks
    }

    /// Where it stopped, if that is known by now and has not been told; told another time where
    /// `admit` has no room for it.
    pub(super) fn due(
        &mut self,
        now: Instant,
        heard: &Heard,
        admit: impl FnOnce() -> bool,
    ) -> Option<Stop> {
        // What is heard of option 60 is what PXE is told: HTTP Boot heeds none of it.
        let is_by_pxe = self.forms.last() != Some(&Form::Http);
        let claims_to_boot = heard.claims_to_boot.filter(|_| is_by_pxe);
        let stop = self.stop(now, &Heard { claims_to_boot, ..*heard })?;
        let told = self.told.get(stop.name());
        // A machine that is off would be told of for ever.
        let repeats = |&told: &Instant| self.stirred <= told || now.duration_since(told) < AGAIN;
        if told.is_some_and(repeats) || !admit() {
            return None;
        }
        self.told.insert(stop.name(), now);
        Some(stop)
    }

    fn stop(&self, now: Instant, heard: &Heard) -> Option<Stop> {
        let silent = now.duration_since(self.since);
        let boot_file = self.boot_file.clone();
        let late = |limit: Duration| silent >= limit;
        if let Some(stop) = self.loops(now) {
            return Some(stop);
        }
        match &self.at {
            At::Asks => self.asks_in_vain(now, heard),
            At::Acked(times) if late(patience(self.stage)) => {
                Some(self.not_fetched(Knows::Ack(*times), silent, heard))
            }
            At::Broken(transfer) if late(NEXT) => {
                Some(Stop::Broken { transfer: transfer.clone(), silent })
            }
            At::Loaded if late(NEXT) => Some(Stop::ProgramSilent { boot_file, silent }),
            At::Scripted if late(NEXT) => Some(Stop::NoKernel { silent }),
            At::Acked(_) | At::Broken(_) | At::Fine | At::Loaded | At::Past | At::Scripted => None,
        }
    }

    fn not_fetched(&self, by: Knows, silent: Duration, heard: &Heard) -> Stop {
        let (boot_file, form) = (self.boot_file.clone(), self.forms.last().copied());
        Stop::NotFetched { boot_file, form, by, silent, heard: *heard }
    }

    fn asks_in_vain(&self, now: Instant, heard: &Heard) -> Option<Stop> {
        let boot_file = self.boot_file.clone();
        if let Some((server, requested)) = self.requested {
            let silent = now.duration_since(requested);
            let by = Knows::Lease(server.or(self.answered).or(heard.dhcp_server)?);
            let is_late = silent >= patience(self.stage);
            return is_late.then_some(self.not_fetched(by, silent, heard));
        }
        let after = self.last.duration_since(self.first);
        let asked_long = self.offers >= OFFERS && after >= ASKING;
        let ipxe_gave_up = self.stage == Stage::Ipxe
            && self.offers >= IPXE_OFFERS
            && now.duration_since(self.last) >= IPXE_GIVES_UP;
        if !asked_long && !ipxe_gave_up {
            return None;
        }
        let offers = self.offers;
        // iPXE has heard one itself, even where its answer went past us.
        let named = self.misses_us.then_some(heard.dhcp_server).flatten();
        Some(match self.answered.or(named) {
            Some(server) => Stop::NotTaken {
                boot_file,
                forms: self.forms.clone(),
                offers,
                after,
                server,
                misses_us: self.misses_us,
                heard: *heard,
            },
            None => Stop::NoDhcpServer { offers, after, heard: *heard },
        })
    }

    fn offer(&mut self, stage: Stage, boot_file: &str, form: Form, now: Instant) {
        if stage == Stage::Ipxe && self.stage == Stage::Rom {
            // What answered the ROM says nothing of iPXE's card driver and its network.
            self.answered = None;
        }
        let again = self.at == At::Asks && self.stage == stage;
        self.stage = stage;
        boot_file.clone_into(&mut self.boot_file);
        self.reach(At::Asks, now);
        self.last = now;
        if again {
            self.offers = self.offers.saturating_add(1);
        } else {
            (self.offers, self.first, self.requested, self.misses_us) = (1, now, None, false);
            self.forms.clear();
        }
        self.forms.retain(|&tried| tried != form);
        self.forms.push(form);
    }

    fn transfer(&mut self, transfer: &Transfer, now: Instant) {
        let is_boot_file = self.is_boot_file(transfer);
        // The end of a boot program's transfer may be noted after the program has asked already.
        if self.at == At::Past || (self.at == At::Asks && !is_boot_file) {
            return;
        }
        // An older one that ends now breaks nothing: the machine has asked for more since.
        let is_old = now.checked_sub(transfer.took).is_some_and(|began| began < self.since);
        if is_old && transfer.end != End::Complete {
            return;
        }
        let next = match &transfer.end {
            End::Complete if is_boot_file && self.comes_back() => At::Loaded,
            // The script's own: by TFTP it is made before it is sent. A file that is asked for later
            // is heard of before it ends.
            End::Complete if self.at == At::Scripted => return,
            End::Complete => {
                self.count(&transfer.file, now);
                At::Fine
            }
            // Firmware opens with this; it stops there where the answers do not arrive.
            End::Probe if transfer.protocol == Protocol::Tftp => At::Broken(transfer.to_string()),
            End::Probe => At::Fine,
            // Programs look for files that need not be there, and go on.
            End::Refuse { .. } if !is_boot_file => return,
            End::Abort { .. } | End::Fail { .. } | End::Refuse { .. } | End::TimeOut => {
                At::Broken(transfer.to_string())
            }
        };
        self.reach(next, now);
    }

    /// A kernel that starts is not asked for again by the same script.
    fn count(&mut self, file: &str, now: Instant) {
        match &mut self.kernel {
            Some((kernel, times, _)) if kernel == file => *times = times.saturating_add(1),
            Some(_) => {}
            None => self.kernel = Some((file.to_owned(), 1, now)),
        }
    }

    fn loops(&self, now: Instant) -> Option<Stop> {
        let (kernel, times, first) = self.kernel.as_ref()?;
        let (times, after) = (*times, now.duration_since(*first));
        let is_told = self.at != At::Past && times >= ROUNDS;
        is_told.then(|| Stop::Looping { kernel: kernel.clone(), times, after })
    }

    /// Whether this transfer makes an HTTP Boot: the firmware was offered this file by URL, and has it.
    pub(super) fn boots_by_http(&self, transfer: &Transfer) -> bool {
        self.stage == Stage::Rom
            && self.forms.last() == Some(&Form::Http)
            && transfer.protocol == Protocol::Http
            && transfer.end == End::Complete
            && self.is_boot_file(transfer)
    }

    fn is_boot_file(&self, transfer: &Transfer) -> bool {
        let file = transfer.file.trim_start_matches('/');
        !file.is_empty() && self.boot_file.ends_with(file)
    }

    /// Whether the boot program asks us for more: a kernel that is its own boot program does not.
    fn comes_back(&self) -> bool {
        self.stage == Stage::Rom && comes_back(&self.boot_file)
    }

    fn reach(&mut self, at: At, now: Instant) {
        self.at = at;
        self.since = now;
    }
}

#[cfg(test)]
mod tests;
