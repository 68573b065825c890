//! Who answers on a LAN, and whether a proxy can boot machines there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

use super::{Probe, Role, ServerMessage};
use crate::{firmware::Means, trace::Finding};

/// Messages that are kept: a few servers answer two questions.
const MOST: usize = 256;

/// Questions asked on one interface, and what was answered.
#[derive(Debug)]
pub struct Survey {
    place: String,
    ours: Ipv4Addr,
    probes: Vec<Probe>,
    heard: Vec<ServerMessage>,
    silence: Silence,
}

/// Why bootbox itself may not have answered, as far as the asker knows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Silence {
    /// It runs, and no group takes a machine that nobody knows.
    NoGroup,
    /// It runs, and `[network] allow` leaves these out.
    NotAllowed,
    /// It does not run with this config.
    NotRunning,
    /// It runs in observe mode.
    Observing,
    /// It runs, and should have answered.
    Unexplained,
    /// Nothing is known of it.
    #[default]
    Unknown,
}

/// Whether machines can boot there by a proxy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// A DHCP server boots machines itself: no proxy can win.
    DhcpServerClaimsToBoot,
    /// They can.
    Fine,
    /// No DHCP server answers.
    NoDhcpServer,
}

impl Survey {
    /// Nothing is heard yet. `place` is the interface's name, `ours` our address there, and `seed`
    /// tells two surveys apart.
    pub fn new(place: &str, ours: Ipv4Addr, seed: u32) -> Self {
        let probes = Probe::both(ours, seed);
        Self { place: place.to_owned(), ours, probes, heard: Vec::new(), silence: Silence::Unknown }
    }

    /// Says why bootbox may not have answered.
    pub fn explain(&mut self, silence: Silence) {
        self.silence = silence;
    }

    /// What to ask.
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// Takes in an answer, or what a server says to somebody else meanwhile.
    pub fn hear(&mut self, message: ServerMessage) {
        if self.heard.len() < MOST && !self.heard.contains(&message) {
            self.heard.push(message);
        }
    }

    /// Whether a DHCP server has answered us.
    pub fn has_dhcp_server(&self) -> bool {
        !self.offered().is_empty()
    }

    /// What it comes to.
    pub fn verdict(&self) -> Verdict {
        let claims =
            |finding: &Finding| matches!(finding, Finding::ClaimsToBoot { by: Means::Pxe, .. });
        if self.findings().iter().any(claims) {
            Verdict::DhcpServerClaimsToBoot
        } else if self.has_dhcp_server() {
            Verdict::Fine
        } else {
            Verdict::NoDhcpServer
        }
    }

    /// One of each kind and server.
    fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = Vec::new();
        for finding in self.heard.iter().filter_map(|message| message.finding(self.ours)) {
            let same =
                |it: &Finding| (it.kind(), it.server()) == (finding.kind(), finding.server());
            if !findings.iter().any(same) {
                findings.push(finding);
            }
        }
        findings
    }

    /// The addresses that DHCP servers offer us, by server. What they say to others proves nothing of
    /// a machine that nobody knows, and who refuses offers nothing.
    fn offered(&self) -> BTreeMap<Ipv4Addr, BTreeSet<Ipv4Addr>> {
        let mut offered: BTreeMap<Ipv4Addr, BTreeSet<Ipv4Addr>> = BTreeMap::new();
        for message in &self.heard {
            let gives =
                message.role(self.ours) == Some(Role::Dhcp) && !message.address.is_unspecified();
            if gives && self.asked_by(message).is_some() {
                offered.entry(message.server).or_default().insert(message.address);
            }
        }
        offered
    }

    /// The question of ours that a message answers.
    fn asked_by(&self, message: &ServerMessage) -> Option<&Probe> {
        let asked = |probe: &&Probe| (probe.mac, probe.xid) == (message.mac, message.xid);
        self.probes.iter().find(asked)
    }

    /// The servers in one role, each with what it says.
    fn servers(&self, role: Role) -> BTreeMap<Ipv4Addr, Vec<&ServerMessage>> {
        let mut servers: BTreeMap<Ipv4Addr, Vec<&ServerMessage>> = BTreeMap::new();
        for message in self.heard.iter().filter(|it| it.role(self.ours) == Some(role)) {
            servers.entry(message.server).or_default().push(message);
        }
        servers
    }

    /// `undionly.kpxe to BIOS, snponly.efi to UEFI`.
    fn files(&self, messages: &[&ServerMessage]) -> String {
        let mut files = BTreeSet::new();
        for message in messages {
            let who = match self.asked_by(message) {
                Some(probe) => probe.guise.to_string(),
                None => format!("machine {}", message.mac),
            };
            files.insert(match message.boot_file.as_str() {
                "" => format!("no file to {who} before port 4011"),
                file => format!("{file} to {who}"),
            });
        }
        files.into_iter().collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoGroup => {
                "it runs, and no group takes a machine that nobody knows; that is as it should be \
                 where groups name machines"
            }
            Self::NotAllowed => {
                "it runs, and [network] allow leaves out a machine that nobody knows; that is as it \
                 should be where it names machines"
            }
            Self::NotRunning => "it does not run with this config",
            Self::Observing => "it runs, and [network] mode is \"observe\"",
            Self::Unexplained => {
                "it runs and should answer; look at its log, and for a firewall that drops UDP port \
                 67 or 68"
            }
            Self::Unknown => {
                "it does not run, no group takes a machine that nobody knows, [network] allow leaves \
                 it out, or [network] mode is \"observe\""
            }
        })
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, ours, .. } = self;
        writeln!(f, "the LAN at {place} ({ours}), asked as a BIOS and as a UEFI machine:")?;
        for (server, given) in self.offered() {
            let given: Vec<String> = given.iter().map(Ipv4Addr::to_string).collect();
            writeln!(f, "  DHCP server {server} offers {}", given.join(", "))?;
        }
        let here = self.servers(Role::Us);
        for messages in here.values() {
            writeln!(f, "  bootbox at {ours} answers: offers {}", self.files(messages))?;
        }
        let others = self.servers(Role::Proxy);
        for (server, messages) in &others {
            writeln!(f, "  ProxyDHCP server {server} answers: offers {}", self.files(messages))?;
        }
        if here.is_empty() {
            let macs: Vec<String> = self.probes.iter().map(|probe| probe.mac.to_string()).collect();
            writeln!(
                f,
                "  bootbox does not answer from {ours}: {} (asked as {})",
                self.silence,
                macs.join(" and ")
            )?;
        }
        for finding in self.findings() {
            match finding {
                // A single one may be the bootbox that is meant, looked at from elsewhere.
                Finding::RivalProxy { server, .. } if here.is_empty() && others.len() == 1 => {
                    writeln!(f, "  look: if {server} is not your bootbox, turn it off there")?;
                }
                Finding::OwnBootFile { .. } => writeln!(f, "  note: {finding}")?,
                Finding::ClaimsToBoot { by: Means::Pxe, .. } => {
                    writeln!(f, "  problem: {finding}")?;
                }
                Finding::ClaimsToBoot { by: Means::Http, .. } | Finding::RivalProxy { .. } => {
                    writeln!(f, "  warning: {finding}")?;
                }
            }
        }
        match self.verdict() {
            Verdict::Fine => writeln!(f, "  fine: a proxy can boot machines here"),
            Verdict::DhcpServerClaimsToBoot => {
                writeln!(f, "  no proxy can boot machines here until that is mended")
            }
            Verdict::NoDhcpServer => writeln!(
                f,
                "  problem: no DHCP server answers. A proxy alone boots no machine: there must be a \
                 DHCP server on this VLAN, or a relay to one, with addresses left"
            ),
        }
    }
}
