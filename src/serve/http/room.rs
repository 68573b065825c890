//! Decides which host gets a connection, and which one loses one where there are too many.
//!
//! Each host has a share, and idle connections of strangers go first. An address of our own LAN is
//! not a host: its card is, by the kernel's neighbour table.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task::AbortHandle};

use super::{super::neighbours::Host, Limits};

/// A part of all connections that only machines which boot here may have: one in so many.
const RESERVED: usize = 8;
/// How often the log hears that all connections are taken.
const NEWS: Duration = Duration::from_secs(60);

/// All connections of one port. Clones are of the same port.
#[derive(Clone)]
pub(super) struct Room(Arc<Shared>);

struct Shared {
    limits: Limits,
    table: Mutex<Table>,
    freed: Notify,
}

#[derive(Default)]
struct Table {
    seats: BTreeMap<u64, Seat>,
    /// How many of them each host has.
    hosts: HashMap<Host, usize>,
    strangers: usize,
    next: u64,
    told: Option<Instant>,
}

/// A host that asks for a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Asker {
    pub(super) host: Host,
    /// Whether it is a machine that boots here.
    pub(super) boots: bool,
}

struct Seat {
    asker: Asker,
    activity: Arc<Activity>,
    task: Option<AbortHandle>,
}

/// Whether a connection waits for a request, rather than for an answer.
#[derive(Default)]
pub(super) struct Activity(AtomicBool);

/// One connection; its place is free when this is dropped.
pub(super) struct Guest {
    room: Room,
    number: u64,
    activity: Arc<Activity>,
}

/// The answer to a host that asks.
pub(super) enum Admission {
    /// It has a place, perhaps of another.
    Enter {
        /// The place.
        guest: Guest,
        /// Whether another lost its place.
        evicted: bool,
    },
    /// Its host has its share.
    TooMany,
    /// Nobody loses a place for it: it waits.
    Full,
}

impl Activity {
    pub(super) fn begins(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn ends(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    fn is_idle(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

impl Room {
    pub(super) fn new(limits: Limits) -> Self {
        let (table, freed) = (Mutex::default(), Notify::new());
        Self(Arc::new(Shared { limits, table, freed }))
    }

    pub(super) fn admit(&self, asker: Asker) -> Admission {
        let limits = &self.0.limits;
        let mut table = self.table();
        let own = table.hosts.get(&asker.host).copied().unwrap_or_default();
        if own >= limits.of_one(limits.connections.saturating_sub(table.seats.len() + 1)) {
            return Admission::TooMany;
        }
        let for_strangers = limits.connections - limits.connections / RESERVED;
        let is_full = table.seats.len() >= limits.connections
            || !asker.boots && table.strangers >= for_strangers;
        if is_full {
            let Some(victim) = table.victim(asker, own) else { return Admission::Full };
            if let Some(task) = table.leave(victim).and_then(|seat| seat.task) {
                task.abort();
            }
        }
        let guest = self.enter(&mut table, asker);
        Admission::Enter { guest, evicted: is_full }
    }

    /// Waits until a place may be free.
    pub(super) async fn freed(&self) {
        self.0.freed.notified().await;
    }

    /// Whether the log is to hear now that all places are taken.
    pub(super) fn is_news(&self) -> bool {
        let mut table = self.table();
        let is_news = table.told.is_none_or(|then| then.elapsed() >= NEWS);
        if is_news {
            table.told = Some(Instant::now());
        }
        is_news
    }

    fn enter(&self, table: &mut Table, asker: Asker) -> Guest {
        let number = table.next;
        table.next += 1;
        let activity = Arc::<Activity>::default();
        let seat = Seat { asker, activity: Arc::clone(&activity), task: None };
        table.seats.insert(number, seat);
        *table.hosts.entry(asker.host).or_default() += 1;
        table.strangers += usize::from(!asker.boots);
        Guest { room: self.clone(), number, activity }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The connection whose place a host with so many takes: an idle one, of a
    /// stranger and of the host with most before others, the oldest of those; a busy one only where
    /// its host has more than the asker's.
    fn victim(&self, asker: Asker, own: usize) -> Option<u64> {
        let of = |seat: &Seat| self.hosts.get(&seat.asker.host).copied().unwrap_or_default();
        let may_lose = |seat: &Seat| match seat.activity.is_idle() {
            true => asker.boots || !seat.asker.boots,
            false => of(seat) > own + 1 && (asker.boots || !seat.asker.boots),
        };
        let rank = |number: u64, seat: &Seat| {
            (seat.activity.is_idle(), !seat.asker.boots, of(seat), Reverse(number))
        };
        let losers = self.seats.iter().filter(|(_, seat)| may_lose(seat));
        losers.max_by_key(|&(&number, seat)| rank(number, seat)).map(|(&number, _)| number)
    }

    fn leave(&mut self, number: u64) -> Option<Seat> {
        let seat = self.seats.remove(&number)?;
        self.strangers -= usize::from(!seat.asker.boots);
        if let Some(count) = self.hosts.get_mut(&seat.asker.host) {
            *count -= 1;
            if *count == 0 {
                self.hosts.remove(&seat.asker.host);
            }
        }
        Some(seat)
    }
}

impl Guest {
    /// From now on this task can be ended for another's sake.
    pub(super) fn is_served_by(room: &Room, number: u64, task: AbortHandle) {
        if let Some(seat) = room.table().seats.get_mut(&number) {
            seat.task = Some(task);
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.room.table().leave(self.number);
        self.room.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn room(connections: usize) -> Room {
        Room::new(Limits {
            connections,
            per_address: connections,
            per_address_when_full: connections,
            ..Limits::default()
        })
    }

    fn asker(last: u8, boots: bool) -> Asker {
        Asker { host: Host::Address(Ipv4Addr::new(192, 0, 2, last).into()), boots }
    }

    fn enter(room: &Room, asker: Asker, is_busy: bool) -> Guest {
        let Admission::Enter { guest, .. } = room.admit(asker) else { panic!("{asker:?}") };
        if is_busy {
            guest.activity().begins();
        }
        guest
    }

    fn has(room: &Room, last: u8) -> usize {
        room.table().hosts.get(&asker(last, false).host).copied().unwrap_or_default()
    }

    #[test]
    fn idle_strangers_go_first_and_a_part_is_for_machines_that_boot() {
        let room = room(16);
        let crowd: Vec<Guest> = (0..14).map(|_| enter(&room, asker(1, false), false)).collect();
        // Strangers have 14 of 16: another one takes the place of the host that has most.
        let neighbour = enter(&room, asker(2, false), true);
        assert_eq!([has(&room, 1), has(&room, 2)], [13, 1]);
        let booting: Vec<Guest> = (0..2).map(|_| enter(&room, asker(3, true), true)).collect();
        assert_eq!([has(&room, 1), has(&room, 2), has(&room, 3)], [13, 1, 2]);
        let more = enter(&room, asker(4, true), true);
        assert_eq!([has(&room, 1), has(&room, 2), has(&room, 4)], [12, 1, 1]);
        drop((crowd, neighbour, booting, more));
        assert!(room.table().hosts.is_empty() && room.table().strangers == 0);
    }

    #[test]
    fn the_busy_lose_places_only_to_hosts_that_have_fewer() {
        let room = room(8);
        let _crowd: Vec<Guest> = (0..7).map(|_| enter(&room, asker(1, false), true)).collect();
        let _one = enter(&room, asker(2, false), true);
        assert_eq!([has(&room, 1), has(&room, 2)], [6, 1]);
        let _others: Vec<Guest> = (3..8).map(|it| enter(&room, asker(it, false), true)).collect();
        assert!(matches!(room.admit(asker(9, false)), Admission::Full));
        let _booting = enter(&room, asker(9, true), true);
        assert!(matches!(room.admit(asker(10, true)), Admission::Full));
    }
}
