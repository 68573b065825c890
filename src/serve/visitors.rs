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

/// Machines that are remembered at once.
const MOST: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// A token serves one boot, and no boot takes longer.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Clones know the same machines.
#[derive(Clone, Debug, Default)]
pub(super) struct Visitors(Arc<Mutex<Visits>>);

#[derive(Debug)]
struct Visits {
    /// The one that was given a script last comes first.
    by_mac: LruCache<Mac, Visit>,
    by_address: HashMap<Ipv4Addr, Mac>,
    by_token: HashMap<Token, Mac>,
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
    /// token is worth nothing from now on.
    pub(super) fn scripted(
        &self,
        machine: Machine,
        address: Ipv4Addr,
        token: Option<Token>,
        now: Instant,
    ) {
        let mut visits = self.visits();
        let mac = machine.mac;
        let visit = Visit { machine, address, token, since: now };
        if let Some((mac, visit)) = visits.by_mac.push(mac, visit) {
            visits.forget(mac, &visit);
        }
        visits.by_address.insert(address, mac);
        visits.by_token.extend(token.map(|token| (token, mac)));
    }

    /// The machine that has this address.
    pub(super) fn at(&self, address: Ipv4Addr) -> Option<Machine> {
        let visits = self.visits();
        visits.machine(*visits.by_address.get(&address)?)
    }

    /// The machine that this token was made for, while it is good.
    pub(super) fn by_token(&self, token: Token, now: Instant) -> Option<Machine> {
        let visits = self.visits();
        let visit = visits.by_mac.peek(visits.by_token.get(&token)?)?;
        (now.saturating_duration_since(visit.since) < TOKEN_LIFE).then(|| visit.machine.clone())
    }

    /// The machine that has this hardware address.
    pub(super) fn by_mac(&self, mac: Mac) -> Option<Machine> {
        self.visits().machine(mac)
    }

    /// The machines that have this UUID.
    pub(super) fn with_uuid(&self, uuid: Uuid) -> Vec<Machine> {
        let visits = self.visits();
        let machines = visits.by_mac.iter().map(|(_, visit)| &visit.machine);
        machines.filter(|machine| machine.has_uuid(uuid)).cloned().collect()
    }

    fn visits(&self) -> MutexGuard<'_, Visits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Visits {
    fn default() -> Self {
        let (by_address, by_token) = (HashMap::new(), HashMap::new());
        Self { by_mac: LruCache::new(MOST), by_address, by_token }
    }
}

impl Visits {
    fn machine(&self, mac: Mac) -> Option<Machine> {
        self.by_mac.peek(&mac).map(|visit| visit.machine.clone())
    }

    /// Forgets by what this visit was found.
    fn forget(&mut self, mac: Mac, visit: &Visit) {
        visit.token.map(|token| self.by_token.remove(&token));
        if self.by_address.get(&visit.address) == Some(&mac) {
            self.by_address.remove(&visit.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(last: u32) -> Machine {
        let [a, b, c, d] = last.to_be_bytes();
        Machine::heard(Mac::new([2, 0, a, b, c, d]).unwrap(), None, None)
    }

    fn token(number: u8) -> Token {
        Token::new([number; 16])
    }

    #[test]
    fn a_token_is_good_until_the_next_script_or_the_next_day() {
        let (visitors, now) = (Visitors::default(), Instant::now());
        let address = Ipv4Addr::new(192, 0, 2, 7);
        visitors.scripted(machine(1), address, Some(token(1)), now);
        visitors.scripted(machine(2), address, Some(token(2)), now);
        assert_eq!(visitors.by_token(token(1), now), Some(machine(1)));
        assert_eq!(visitors.by_token(token(9), now), None);
        visitors.scripted(machine(1), address, Some(token(3)), now);
        assert_eq!(visitors.by_token(token(1), now), None);
        assert_eq!(visitors.by_token(token(3), now + TOKEN_LIFE / 2), Some(machine(1)));
        assert_eq!(visitors.by_token(token(3), now + TOKEN_LIFE), None);
    }

    #[test]
    fn an_address_is_the_machines_that_took_it_last() {
        let (visitors, now) = (Visitors::default(), Instant::now());
        let [one, other] = [7, 8].map(|last| Ipv4Addr::new(192, 0, 2, last));
        visitors.scripted(machine(1), one, None, now);
        visitors.scripted(machine(2), one, None, now);
        assert_eq!(visitors.at(one), Some(machine(2)));
        visitors.scripted(machine(1), other, None, now);
        assert_eq!((visitors.at(one), visitors.at(other)), (Some(machine(2)), Some(machine(1))));
        visitors.scripted(machine(2), other, None, now);
        assert_eq!((visitors.at(one), visitors.at(other)), (None, Some(machine(2))));
    }

    #[test]
    fn a_lan_full_of_made_up_machines_costs_no_memory() {
        let (visitors, now) = (Visitors::default(), Instant::now());
        let count = u32::try_from(2 * MOST.get()).unwrap();
        for number in 0..count {
            let token = Token::new(u128::from(number).to_be_bytes());
            let since = now + Duration::from_secs(number.into());
            visitors.scripted(machine(number), number.into(), Some(token), since);
        }
        let visits = visitors.visits();
        assert_eq!(
            [visits.by_mac.len(), visits.by_address.len(), visits.by_token.len()],
            [MOST.get(); 3]
        );
        assert!(visits.by_mac.contains(&machine(count - 1).mac));
    }
}
