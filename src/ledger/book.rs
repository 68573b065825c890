//! All records, and whose is whose.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt,
    net::Ipv4Addr,
};

use super::{Moment, Record};
use crate::{
    machine::{Mac, Machine, SharedUuids, Uuid},
    token::Token,
};

/// Records that are kept: more machines than one VLAN has addresses in a /16. A LAN full of made-up
/// machines ends here, and costs no known machine its record.
const MOST: usize = 65_536;
/// Records beyond those that an operator's word may make: a full ledger must not refuse a hold.
const FOR_ORDERS: usize = 4096;
/// Records of those that are expendable. Nothing is lost with one but when its machine was first
/// seen and what it told.
const MOST_EXPENDABLE: usize = 16_384;
/// So many of them go at once, as to find the oldest is to look at all.
const GO_AT_ONCE: usize = 1024;
/// Machines without a group that are remembered: each may tell some 8 KB.
const MOST_STRANGERS: usize = 1024;

/// The records of all machines, by hardware address.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Boxed, as a table that grows has room for twice as many.
    records: HashMap<Mac, Box<Record>>,
    by_address: HashMap<Ipv4Addr, Mac>,
    by_token: HashMap<Token, Mac>,
    /// Only those that something was done to: nobody else is anybody's other card.
    by_uuid: HashMap<Uuid, BTreeSet<Mac>>,
    /// Those whose attempt may still end well, and surely did not yet.
    open: BTreeSet<Mac>,
    expendable: usize,
    strangers: Strangers,
}

/// Machines that no group matches, as they told, and when; the oldest go first.
#[derive(Clone, Debug, Default)]
struct Strangers {
    told: HashMap<Mac, (Machine, Moment)>,
    order: VecDeque<Mac>,
}

impl Strangers {
    fn get(&self, mac: Mac) -> Option<&Machine> {
        self.told.get(&mac).map(|(machine, _)| machine)
    }

    fn forget(&mut self, until: Moment) {
        self.told.retain(|_, (_, told)| *told > until);
        self.order.retain(|mac| self.told.contains_key(mac));
    }

    fn add(&mut self, stranger: Machine, now: Moment) {
        let mac = stranger.mac;
        if self.told.insert(mac, (stranger, now)).is_some() {
            return;
        }
        self.order.push_back(mac);
        if self.order.len() > MOST_STRANGERS
            && let Some(oldest) = self.order.pop_front()
        {
            self.told.remove(&oldest);
        }
    }
}

/// What is known of a machine that asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found<'a> {
    /// Nothing.
    Nothing,
    /// Its record.
    Own(&'a Record),
    /// Nothing of its hardware address, but something has been done to a machine with its UUID: the
    /// same machine by another card, or a board maker who numbers badly.
    Twin(&'a Record),
}

impl Book {
    /// Finds what is known of a machine. A UUID that many machines share makes nobody its twin.
    pub fn find(&self, machine: &Machine, shared: &SharedUuids) -> Found<'_> {
        let own = self.get(machine.mac);
        let known = own.map_or(Found::Nothing, Found::Own);
        // Anybody can ask for a script in the name of a card before its machine does: a story that
        // such a script began is not looked at beside a twin whose disk may be installed.
        let begun = own.is_some_and(Record::is_only_begun);
        if !begun && own.is_some_and(Record::has_a_story) {
            return known;
        }
        let uuid = machine.uuid.or_else(|| own?.machine.uuid);
        let Some(uuid) = uuid.filter(|uuid| !shared.contains(uuid)) else { return known };
        let macs = self.by_uuid.get(&uuid.in_one_order());
        let others = macs.into_iter().flatten().filter(|&&mac| mac != machine.mac);
        let (mut first, mut count, mut unsaid) = (None, 0, 0);
        let others = others.filter_map(|&mac| self.get(mac));
        for twin in others.filter(|twin| !begun || twin.may_have_a_disk()) {
            first = first.or(Some(twin));
            count += 1;
            unsaid += u32::from(!twin.is_distinct);
            if unsaid > 1 {
                break;
            }
        }
        match first {
            // Where an operator said that two machines have it, it names none.
            Some(_) if count > 1 && unsaid <= 1 => known,
            Some(twin) => Found::Twin(twin),
            None => known,
        }
    }

    /// The machine with what it told the last time, as a ROM does not tell it. What its firmware
    /// alone told is not all that there will be, and is left out.
    pub fn recall(&self, machine: &Machine) -> Machine {
        let known = self.get(machine.mac).map(|record| &record.machine);
        let Some(known) = known.or_else(|| self.strangers.get(machine.mac)) else {
            return machine.clone();
        };
        Machine {
            mac: machine.mac,
            uuid: machine.uuid.or(known.uuid),
            platform: machine.platform.or(known.platform),
            labels: machine
                .labels
                .clone()
                .or_else(|| known.labels.clone().filter(|_| known.tells_by_ipxe())),
        }
    }

    /// The machine that tells this of itself now. One that tells nothing has not told all: of it, what
    /// it told the last time counts, and what it never told is unknown.
    pub fn hear(&self, mac: Mac, uuid: Option<Uuid>, labels: &BTreeMap<String, String>) -> Machine {
        let machine = Machine::of_request(mac, uuid, labels);
        match machine.labels {
            None => self.recall(&machine),
            Some(_) => machine,
        }
    }

    /// Remembers what a machine told that no group matches. Only here: nothing was done to it.
    pub fn pass_by(&mut self, stranger: Machine, now: Moment) {
        self.strangers.add(stranger, now);
    }

    /// Forgets what such machines told until then: an owner may have put it right since, and who
    /// spoke in a machine's name must go on doing so.
    pub fn forget_strangers(&mut self, until: Moment) {
        self.strangers.forget(until);
    }

    /// The machine that has this address.
    pub fn at(&self, address: Ipv4Addr) -> Option<&Record> {
        self.get(*self.by_address.get(&address)?)
    }

    /// The machine that this token was made for, while it is good.
    pub fn by_token(&self, token: Token, now: Moment) -> Option<&Record> {
        self.get(*self.by_token.get(&token)?).filter(|record| record.admits(token, now))
    }

    /// The record of this hardware address.
    pub fn get(&self, mac: Mac) -> Option<&Record> {
        self.records.get(&mac).map(Box::as_ref)
    }

    /// Whether it takes so many machines more, where an operator speaks of the last of them.
    pub fn has_room(&self, more: usize, is_ordered: bool) -> bool {
        let most = if is_ordered { MOST + FOR_ORDERS } else { MOST };
        self.records.len() + more <= most
    }

    /// The machines that go to make room: a number of the expendable ones that were heard of longest
    /// ago, where there are too many of them or of all.
    pub fn oldest_expendable(&self, is_full: bool) -> Vec<Mac> {
        if self.expendable <= MOST_EXPENDABLE && !(is_full && self.expendable > 0) {
            return Vec::new();
        }
        let expendable = self.records().filter(|record| record.is_expendable());
        let mut oldest: Vec<_> =
            expendable.map(|record| (record.last_seen, record.machine.mac)).collect();
        if oldest.len() > GO_AT_ONCE {
            oldest.select_nth_unstable(GO_AT_ONCE);
            oldest.truncate(GO_AT_ONCE);
        }
        oldest.into_iter().map(|(_, mac)| mac).collect()
    }

    /// The records of machines whose attempt may still end well, and surely did not yet.
    pub(super) fn open(&self) -> impl Iterator<Item = &Record> {
        self.open.iter().filter_map(|&mac| self.get(mac))
    }

    /// Every record, in no order.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values().map(Box::as_ref)
    }

    /// Every record, for what no index is made of.
    pub(super) fn records_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.records.values_mut().map(Box::as_mut)
    }

    /// When strangers were heard.
    pub(super) fn told_mut(&mut self) -> impl Iterator<Item = &mut Moment> {
        self.strangers.told.values_mut().map(|(_, told)| told)
    }

    /// Puts a record in, in the place of the one its machine had, where there is room.
    pub fn put(&mut self, record: Record) -> Result<(), Full> {
        let is_known = self.records.contains_key(&record.machine.mac);
        if !is_known && !self.has_room(1, true) {
            return Err(Full);
        }
        self.take_up(Box::new(record));
        Ok(())
    }

    /// Puts a record in that is on disk: whatever the bounds are, none of those is left out.
    pub fn take_up(&mut self, record: Box<Record>) {
        let mac = record.machine.mac;
        self.remove(mac);
        self.expendable += usize::from(record.is_expendable());
        if let Some(pass) = record.token {
            self.by_token.insert(pass.token, mac);
        }
        if let Some(uuid) = record.machine.uuid.filter(|_| record.has_a_story()) {
            self.by_uuid.entry(uuid.in_one_order()).or_default().insert(mac);
        }
        if record.unsettled().is_some() {
            self.open.insert(mac);
        }
        for &address in &record.addresses {
            // Of two machines that had one address, the one that is put in later has it now.
            self.by_address.insert(address, mac);
        }
        self.records.insert(mac, record);
    }

    /// Forgets a machine.
    pub fn remove(&mut self, mac: Mac) -> Option<Record> {
        let record = *self.records.remove(&mac)?;
        self.expendable -= usize::from(record.is_expendable());
        self.open.remove(&mac);
        for address in &record.addresses {
            if self.by_address.get(address) == Some(&mac) {
                self.by_address.remove(address);
            }
        }
        if let Some(pass) = record.token {
            self.by_token.remove(&pass.token);
        }
        if let Some(uuid) = record.machine.uuid.map(|uuid| uuid.in_one_order())
            && let Some(macs) = self.by_uuid.get_mut(&uuid)
        {
            macs.remove(&mac);
            if macs.is_empty() {
                self.by_uuid.remove(&uuid);
            }
        }
        Some(record)
    }
}

/// There is room for no more machines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the ledger holds {MOST} machines, and takes no new one; forget some")
    }
}

impl std::error::Error for Full {}
