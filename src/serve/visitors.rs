//! The machines that were given a script, so that it is known who asks for a config.
//!
//! Forgotten when the process ends. Then the ledger knows who has an address, and whose the token of
//! an installer is; only a machine that boots into RAM with a token gets 403 until it boots again.
//! Where the ledger cannot be written, this is all that RAM boots are known by.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use lru::LruCache;

use crate::{
    machine::{Mac, Machine, Uuid},
    token::Token,
};

/// Strangers that are remembered at once, in all and of one address.
const MOST: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
const MOST_OF_ONE: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// Machines of our own LAN that are remembered at once.
const MOST_LOCAL: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
/// A token serves one boot, and no boot takes longer.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How sure it is that a machine is the one that asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// The kernel knows its card at the address that it asks from.
    Local,
    /// Anybody could have said so. A stranger never takes the place of a machine of our LAN.
    Stranger,
}

/// Clones know the same machines.
#[derive(Clone, Debug, Default)]
pub(super) struct Visitors(Arc<Mutex<Visits>>);

#[derive(Debug)]
struct Visits {
    /// Those of our LAN; the one that was given a script last comes first.
    locals: LruCache<Mac, Visit>,
    /// The same of strangers, and by the address they asked from.
    strangers: LruCache<Mac, Visit>,
    strangers_at: HashMap<Ipv4Addr, LruCache<Mac, ()>>,
    by_address: HashMap<Ipv4Addr, Mac>,
    by_token: HashMap<Token, Mac>,
    /// When a token that may still be good was dropped for want of room.
    dropped: Option<Instant>,
}

#[derive(Debug)]
struct Visit {
    machine: Machine,
    address: Ipv4Addr,
    token: Option<Token>,
    since: Instant,
}

impl Visitors {
    /// Notes the script that this machine is given at this address; what its last one had for a
    /// token is worth nothing from now on. A stranger in the name of a machine of our LAN changes
    /// nothing.
    pub(super) fn scripted(
        &self,
        (machine, standing): (Machine, Standing),
        address: Ipv4Addr,
        token: Option<Token>,
        now: Instant,
    ) {
        let mut visits = self.visits();
        let mac = machine.mac;
        let is_local = |visit: &Visit| visit.is_good(now);
        if standing == Standing::Stranger && visits.locals.peek(&mac).is_some_and(is_local) {
            visits.dropped = Some(now);
            return;
        }
        let visit = Visit { machine, address, token, since: now };
        visits.take(mac);
        visits.make_room(standing, address, now);
        match standing {
            Standing::Local => visits.locals.push(mac, visit),
            Standing::Stranger => {
                let of_one = visits.strangers_at.entry(address);
                of_one.or_insert_with(|| LruCache::new(MOST_OF_ONE)).push(mac, ());
                visits.strangers.push(mac, visit)
            }
        };
        visits.by_address.insert(address, mac);
        visits.by_token.extend(token.map(|token| (token, mac)));
    }

    /// Whether a token that nobody has may have been dropped, and be good all the same.
    pub(super) fn has_dropped(&self, now: Instant) -> bool {
        let dropped = self.visits().dropped;
        dropped.is_some_and(|then| now.saturating_duration_since(then) < TOKEN_LIFE)
    }

    /// The machine that has this address.
    pub(super) fn at(&self, address: Ipv4Addr) -> Option<Machine> {
        let visits = self.visits();
        visits.machine(*visits.by_address.get(&address)?)
    }

    /// The machine that this token was made for, while it is good.
    pub(super) fn by_token(&self, token: Token, now: Instant) -> Option<Machine> {
        let visits = self.visits();
        let visit = visits.visit(*visits.by_token.get(&token)?)?;
        visit.is_good(now).then(|| visit.machine.clone())
    }

    /// The machine that has this hardware address.
    pub(super) fn by_mac(&self, mac: Mac) -> Option<Machine> {
        self.visits().machine(mac)
    }

    /// The machines that have this UUID.
    pub(super) fn with_uuid(&self, uuid: Uuid) -> Vec<Machine> {
        let visits = self.visits();
        let all = visits.locals.iter().chain(&visits.strangers);
        let machines = all.map(|(_, visit)| &visit.machine);
        machines.filter(|machine| machine.has_uuid(uuid)).cloned().collect()
    }

    fn visits(&self) -> MutexGuard<'_, Visits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Visits {
    fn default() -> Self {
        Self {
            locals: LruCache::new(MOST_LOCAL),
            strangers: LruCache::new(MOST),
            strangers_at: HashMap::new(),
            by_address: HashMap::new(),
            by_token: HashMap::new(),
            dropped: None,
        }
    }
}

impl Visit {
    fn is_good(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < TOKEN_LIFE
    }
}

impl Visits {
    fn visit(&self, mac: Mac) -> Option<&Visit> {
        self.locals.peek(&mac).or_else(|| self.strangers.peek(&mac))
    }

    fn machine(&self, mac: Mac) -> Option<Machine> {
        self.visit(mac).map(|visit| visit.machine.clone())
    }

    /// Lets the oldest go where one more would be too many.
    fn make_room(&mut self, standing: Standing, address: Ipv4Addr, now: Instant) {
        let of_one =
            self.strangers_at.get(&address).filter(|of_one| of_one.len() == of_one.cap().get());
        let oldest = match standing {
            Standing::Local if self.locals.len() < MOST_LOCAL.get() => None,
            Standing::Local => self.locals.peek_lru().map(|(&mac, _)| mac),
            Standing::Stranger => {
                of_one.and_then(LruCache::peek_lru).map(|(&mac, ())| mac).or_else(|| {
                    let is_full = self.strangers.len() == MOST.get();
                    self.strangers.peek_lru().filter(|_| is_full).map(|(&mac, _)| mac)
                })
            }
        };
        let gone = oldest.and_then(|mac| self.take(mac));
        if gone.is_some_and(|visit| visit.token.is_some() && visit.is_good(now)) {
            self.dropped = Some(now);
        }
    }

    /// Takes a visit out, and that by which it was found.
    fn take(&mut self, mac: Mac) -> Option<Visit> {
        let visit = self.locals.pop(&mac).or_else(|| self.strangers.pop(&mac))?;
        visit.token.map(|token| self.by_token.remove(&token));
        if self.by_address.get(&visit.address) == Some(&mac) {
            self.by_address.remove(&visit.address);
        }
        if let Some(of_one) = self.strangers_at.get_mut(&visit.address) {
            of_one.pop(&mac);
            if of_one.is_empty() {
                self.strangers_at.remove(&visit.address);
            }
        }
        Some(visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(last: u32) -> Machine {
        let [a, b, c, d] = last.to_be_bytes();
        Machine::heard(Mac::new([2, 0, a, b, c, d]).unwrap(), None, None)
    }

    fn stranger(number: u32) -> (Machine, Standing) {
        (machine(number), Standing::Stranger)
    }

    fn token(number: u8) -> Token {
        Token::new([number; 16])
    }

    #[test]
    fn a_token_is_good_until_the_next_script_or_the_next_day() {
        let (visitors, now) = (Visitors::default(), Instant::now());
        let address = Ipv4Addr::new(192, 0, 2, 7);
        visitors.scripted(stranger(1), address, Some(token(1)), now);
        visitors.scripted(stranger(2), address, Some(token(2)), now);
        assert_eq!(visitors.by_token(token(1), now), Some(machine(1)));
        assert_eq!(visitors.by_token(token(9), now), None);
        visitors.scripted(stranger(1), address, Some(token(3)), now);
        assert_eq!(visitors.by_token(token(1), now), None);
        assert_eq!(visitors.by_token(token(3), now + TOKEN_LIFE / 2), Some(machine(1)));
        assert_eq!(visitors.by_token(token(3), now + TOKEN_LIFE), None);
    }

    #[test]
    fn an_address_is_the_machines_that_took_it_last() {
        let (visitors, now) = (Visitors::default(), Instant::now());
        let [one, other] = [7, 8].map(|last| Ipv4Addr::new(192, 0, 2, last));
        visitors.scripted(stranger(1), one, None, now);
        visitors.scripted(stranger(2), one, None, now);
        assert_eq!(visitors.at(one), Some(machine(2)));
        visitors.scripted(stranger(1), other, None, now);
        assert_eq!((visitors.at(one), visitors.at(other)), (Some(machine(2)), Some(machine(1))));
        visitors.scripted(stranger(2), other, None, now);
        assert_eq!((visitors.at(one), visitors.at(other)), (None, Some(machine(2))));
    }

    #[test]
    fn a_lan_full_of_made_up_machines_costs_no_memory() {
        let (visitors, now) = (Visitors::default(), Instant::now());
        let count = u32::try_from(2 * MOST.get()).unwrap();
        for number in 0..count {
            let token = Token::new(u128::from(number).to_be_bytes());
            let since = now + Duration::from_secs(number.into());
            visitors.scripted(stranger(number), number.into(), Some(token), since);
        }
        let visits = visitors.visits();
        assert_eq!(
            [visits.strangers.len(), visits.by_address.len(), visits.by_token.len()],
            [MOST.get(); 3]
        );
        assert!(visits.strangers.contains(&machine(count - 1).mac));
        assert_eq!(visits.strangers_at.len(), MOST.get());
    }

    #[test]
    fn made_up_machines_take_no_token_of_a_machine_of_the_lan_nor_of_other_addresses() {
        let (visitors, now) = (Visitors::default(), Instant::now());
        let [lan, far, flood] = [7, 8, 9].map(|last| Ipv4Addr::new(192, 0, 2, last));
        visitors.scripted((machine(1), Standing::Local), lan, Some(token(1)), now);
        visitors.scripted(stranger(2), far, Some(token(2)), now);
        assert!(!visitors.has_dropped(now));
        for number in 10..5010_u32 {
            let other = Token::new(u128::from(number).to_be_bytes());
            visitors.scripted(stranger(number), flood, Some(other), now);
        }
        // In the name of the machine itself, too.
        visitors.scripted(stranger(1), flood, Some(token(3)), now);
        assert_eq!(visitors.by_token(token(1), now), Some(machine(1)));
        assert_eq!(visitors.by_token(token(2), now), Some(machine(2)));
        assert_eq!(visitors.at(lan), Some(machine(1)));
        assert_eq!(visitors.visits().strangers.len(), 1 + MOST_OF_ONE.get());
        assert!(visitors.has_dropped(now) && !visitors.has_dropped(now + TOKEN_LIFE));
    }
}
