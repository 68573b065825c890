//! The other servers of a LAN: what each says to clients, and what of it keeps machines from booting.
//!
//! A packet in, a [`ServerMessage`] and at times a finding out. Never answers anyone. What anybody on
//! the LAN can forge costs no more than a bounded table and a bounded number of findings an hour.

mod message;
mod probe;
mod survey;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    time::{Duration, Instant},
};

pub use message::{Kind, Role, ServerMessage, Unreadable, read};
pub use probe::{Probe, is_probe, misses_us};
pub use survey::{Silence, Survey, Verdict};

use crate::{
    firmware::Means,
    trace::{Finding, Heard},
};

/// Servers that are remembered at once.
const MOST: usize = 64;
/// A server that was not heard for so long no longer explains anything.
const LATELY: Duration = Duration::from_secs(3600);
/// When a finding is told again; one that need not be mended, after a day.
const AGAIN: Duration = Duration::from_secs(3600);
const AGAIN_IF_HARMLESS: Duration = Duration::from_secs(24 * 3600);
/// Findings an hour: a LAN has a few servers, one that makes up hundreds is not worth the lines.
const FINDINGS: usize = 20;

/// What was heard on one interface.
#[derive(Debug)]
pub struct Lan {
    ours: Ipv4Addr,
    servers: HashMap<Ipv4Addr, Server>,
    /// When the latest findings were told.
    told: Vec<Instant>,
}

#[derive(Debug)]
struct Server {
    last: Instant,
    gives_addresses: Option<Instant>,
    claims_to_boot: Option<Instant>,
    is_rival: Option<Instant>,
    /// The kinds of findings about it, and when each was told last.
    told: BTreeMap<&'static str, Instant>,
}

impl Lan {
    /// Nothing is heard yet; `ours` is our address there.
    pub fn new(ours: Ipv4Addr) -> Self {
        Self { ours, servers: HashMap::new(), told: Vec::new() }
    }

    /// Takes in a message; what of it an operator should read now, or another time where `admit` has no
    /// room for it.
    pub fn hear(
        &mut self,
        message: &ServerMessage,
        now: Instant,
        admit: impl FnOnce() -> bool,
    ) -> Option<Finding> {
        let role = message.role(self.ours)?;
        let finding = message.finding(self.ours);
        let server = match role {
            Role::Us => return None,
            Role::Dhcp | Role::Proxy => self.server(message.server, now),
        };
        if role == Role::Dhcp {
            server.gives_addresses = Some(now);
        }
        let finding = finding?;
        let again = match &finding {
            Finding::ClaimsToBoot { by: Means::Pxe, .. } => {
                server.claims_to_boot = Some(now);
                AGAIN
            }
            // No PXE machine heeds it, so it explains none of their stops.
            Finding::ClaimsToBoot { by: Means::Http, .. } => AGAIN,
            Finding::RivalProxy { .. } => {
                server.is_rival = Some(now);
                AGAIN
            }
            Finding::OwnBootFile { .. } => AGAIN_IF_HARMLESS,
        };
        let kind = finding.kind();
        if server.told.get(kind).is_some_and(|&at| now.duration_since(at) < again) {
            return None;
        }
        // What is over the budget is still news the next time.
        self.told.retain(|&at| now.duration_since(at) < AGAIN);
        if self.told.len() >= FINDINGS || !admit() {
            return None;
        }
        self.told.push(now);
        self.server(message.server, now).told.insert(kind, now);
        Some(finding)
    }

    /// Takes in what a server says to a machine that boots, and so asks for option 60 too: one that
    /// sends none no longer claims to boot machines. What others are told says nothing of that.
    pub fn answers_booting(&mut self, message: &ServerMessage) {
        let gives = message.role(self.ours) == Some(Role::Dhcp) && message.kind != Kind::Nak;
        if let Some(server) = self.servers.get_mut(&message.server)
            && gives
            && message.boots.is_none()
        {
            server.claims_to_boot = None;
        }
    }

    /// A client named this server as the one whose address it takes.
    pub fn named(&mut self, server: Ipv4Addr, now: Instant) {
        self.server(server, now).gives_addresses = Some(now);
    }

    /// What explains a stop.
    pub fn heard(&self, now: Instant) -> Heard {
        let latest = |when: fn(&Server) -> Option<Instant>| {
            let known = self.servers.iter().filter_map(|(&address, it)| Some((when(it)?, address)));
            let lately = known.filter(|&(at, _)| now.duration_since(at) <= LATELY);
            lately.max().map(|(_, address)| address)
        };
        Heard {
            hears: true,
            dhcp_server: latest(|server| server.gives_addresses),
            claims_to_boot: latest(|server| server.claims_to_boot),
            rival_proxy: latest(|server| server.is_rival),
        }
    }

    fn server(&mut self, address: Ipv4Addr, now: Instant) -> &mut Server {
        if self.servers.len() >= MOST && !self.servers.contains_key(&address) {
            let oldest = self.servers.iter().min_by_key(|(_, server)| server.last);
            if let Some(oldest) = oldest.map(|(&address, _)| address) {
                self.servers.remove(&oldest);
            }
        }
        let server = self.servers.entry(address).or_insert(Server {
            last: now,
            gives_addresses: None,
            claims_to_boot: None,
            is_rival: None,
            told: BTreeMap::new(),
        });
        server.last = now;
        server
    }
}
