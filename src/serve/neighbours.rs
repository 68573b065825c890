//! Which card an address belongs to, by the kernel's neighbour table: one card may claim a hundred
//! addresses, and is one host all the same.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::machine::Mac;

/// The table of this process's network namespace: memory of the kernel, which never hangs.
const TABLE: &str = "/proc/self/net/arp";
/// How old the table may be, for an address that is in it and for one that is not.
const KNOWN: Duration = Duration::from_secs(2);
const UNKNOWN: Duration = Duration::from_millis(200);
/// The flag of an entry whose card has answered.
const COMPLETE: u32 = 2;

static NEIGHBOURS: LazyLock<Mutex<Neighbours>> = LazyLock::new(Mutex::default);

/// The unit that shares of places are counted by: a card, or an address that is not ours.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Host {
    /// All addresses of a card on our LAN.
    Card(Mac),
    /// An address behind a router, or of this machine.
    Address(IpAddr),
}

#[derive(Debug, Default)]
struct Neighbours {
    cards: HashMap<Ipv4Addr, Mac>,
    read: Option<Instant>,
}

impl Host {
    /// That of an address which talks to us now.
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => card(v4).map_or(Self::Address(IpAddr::V4(v4)), Self::Card),
            v6 @ IpAddr::V6(_) => Self::Address(v6),
        }
    }
}

/// The card that has this address, by the kernel.
pub(super) fn card(address: Ipv4Addr) -> Option<Mac> {
    let mut table = NEIGHBOURS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = table.cards.get(&address).copied();
    let patience = if known.is_some() { KNOWN } else { UNKNOWN };
    if address.is_loopback() || table.read.is_some_and(|then| then.elapsed() < patience) {
        return known;
    }
    table.read = Some(Instant::now());
    // Without the table each address is a host of its own.
    table.cards = fs::read_to_string(TABLE).map(|text| parse(&text)).unwrap_or_default();
    table.cards.get(&address).copied()
}

fn parse(table: &str) -> HashMap<Ipv4Addr, Mac> {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        let flags = u32::from_str_radix(words.nth(1)?.strip_prefix("0x")?, 16).ok()?;
        let card = words.next()?.parse().ok()?;
        (flags & COMPLETE != 0).then_some((address, card))
    };
    table.lines().skip(1).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read_and_what_is_incomplete_left_out() {
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     10.77.0.9        0x1         0x2         02:00:00:00:77:09     *        eth0\n\
                     10.77.0.10       0x1         0x0         00:00:00:00:00:00     *        eth0\n\
                     10.77.0.11       0x1         0x6         02:00:00:00:77:09     *        eth0\n\
                     nonsense\n";
        let card: Mac = "02:00:00:00:77:09".parse().unwrap();
        let expected = [9, 11].map(|last| (Ipv4Addr::new(10, 77, 0, last), card));
        assert_eq!(parse(table), HashMap::from(expected));
        assert_eq!(Host::of([127, 0, 0, 1].into()), Host::Address([127, 0, 0, 1].into()));
    }
}
