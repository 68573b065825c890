//! Whether the ports that bootbox serves on are free, and which programs hold them.
//!
//! A port is taken for a moment; of one that cannot be had, the kernel's table of sockets and the
//! descriptors of processes tell the holder.

use std::{
    collections::BTreeSet,
    fmt, fs,
    net::{Ipv4Addr, Ipv6Addr},
};

use super::interface::{Interface, Port};
use crate::{config::Config, printable};

/// A program that holds a port.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// As the kernel calls it.
    pub name: String,
}

impl Holder {
    /// Whether it is a bootbox, too.
    pub fn is_bootbox(&self) -> bool {
        // The file may have been given another name.
        let own = fs::read_to_string("/proc/self/comm").unwrap_or_default();
        self.name == "bootbox" || self.name == own.trim_end()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Anybody may call a program anything.
        let name = printable::shown(&self.name, '\u{fffd}');
        write!(f, "{name} (pid {})", self.pid)
    }
}

/// Findings about the ports.
#[derive(Debug, Default)]
pub struct Ports {
    /// The bootbox that has them already.
    pub ours: BTreeSet<Holder>,
    /// Ports that `serve` would not get.
    pub problems: Vec<String>,
    /// Why they were not tried.
    pub untried: Option<String>,
    /// Ports that it would share.
    pub warnings: Vec<String>,
}

impl Ports {
    /// Tries each port on each of these interfaces.
    pub fn of(config: &Config, interfaces: &[Interface]) -> Self {
        let mut found = Self::default();
        let ports = [Port::Udp(67), Port::Udp(69), Port::Udp(4011), Port::Tcp(config.http_port)];
        for interface in interfaces {
            for port in ports {
                found.look(interface, port);
            }
        }
        found
    }

    fn look(&mut self, interface: &Interface, port: Port) {
        let Err(error) = interface.try_port(port, false) else { return };
        if error.is_permission() {
            self.untried = Some("it takes root".to_owned());
            return;
        }
        if !error.is_taken() {
            self.problems.push(error.to_string());
            return;
        }
        let holders = holders(port, interface.address);
        if !holders.is_empty() && holders.iter().all(Holder::is_bootbox) {
            self.ours.extend(holders);
            return;
        }
        let who: Vec<String> = holders.iter().map(ToString::to_string).collect();
        let who = match who.is_empty() {
            true => "another program (`ss -lunpt` shows which)".to_owned(),
            false => who.join(" and "),
        };
        match port == Port::Udp(67) && interface.try_port(port, true).is_ok() {
            true => self.warnings.push(format!(
                "{port} on {interface} is held by {who}, too: renewals that machines send to it may \
                 come here and be lost; bootbox wants a machine of its own"
            )),
            false => self.problems.push(format!(
                "{port} on {interface} is held by {who}: stop it, or serve on an interface that it \
                 leaves alone"
            )),
        }
    }
}

/// The programs that hold a port at this address; none where that cannot be seen.
fn holders(port: Port, address: Ipv4Addr) -> BTreeSet<Holder> {
    let (tables, number) = match port {
        Port::Tcp(number) => (["tcp", "tcp6"], number),
        Port::Udp(number) => (["udp", "udp6"], number),
    };
    let mut inodes = BTreeSet::new();
    for table in tables {
        let text = fs::read_to_string(format!("/proc/self/net/{table}")).unwrap_or_default();
        let is_tcp = matches!(port, Port::Tcp(_));
        inodes.extend(text.lines().skip(1).filter_map(|row| inode(row, number, address, is_tcp)));
    }
    let mut holders = BTreeSet::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let folder = process.path();
        let open = fs::read_dir(folder.join("fd")).into_iter().flatten().flatten();
        let mut targets = open.filter_map(|fd| fs::read_link(fd.path()).ok());
        let is_one = |target: std::path::PathBuf| {
            let inode =
                target.to_str().and_then(|it| it.strip_prefix("socket:[")?.strip_suffix(']'));
            inode
                .and_then(|inode| inode.parse().ok())
                .is_some_and(|inode: u64| inodes.contains(&inode))
        };
        if targets.any(is_one) {
            let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
            holders.insert(Holder { pid, name: name.trim_end().to_owned() });
        }
    }
    holders
}

/// The socket of a row of /proc/net, where it is in the way of this port at this address.
fn inode(row: &str, port: u16, address: Ipv4Addr, is_tcp: bool) -> Option<u64> {
    /// The kernel's number of the state LISTEN.
    const LISTENS: &str = "0A";
    let words: Vec<&str> = row.split_ascii_whitespace().collect();
    let (at, number) = words.get(1)?.split_once(':')?;
    if u16::from_str_radix(number, 16).ok()? != port || (is_tcp && *words.get(3)? != LISTENS) {
        return None;
    }
    let any = match at.len() {
        8 => {
            // As the kernel's memory has it.
            let at = Ipv4Addr::from(u32::from_str_radix(at, 16).ok()?.to_ne_bytes());
            at.is_unspecified() || at == address
        }
        _ => {
            let mut octets = [0; 16];
            for (part, four) in octets.chunks_exact_mut(4).enumerate() {
                let word = u32::from_str_radix(at.get(part * 8..part * 8 + 8)?, 16).ok()?;
                four.copy_from_slice(&word.to_ne_bytes());
            }
            let at = Ipv6Addr::from(octets);
            at.is_unspecified() || at.to_ipv4_mapped() == Some(address)
        }
    };
    any.then(|| words.get(9)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn a_row_of_the_kernels_table_is_read() {
        if cfg!(target_endian = "big") {
            return;
        }
        let ours = Ipv4Addr::new(10, 77, 0, 2);
        let row = |at: &str, state: &str| {
            format!(
                "  12: {at} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 4711 2"
            )
        };
        let mapped = "0000000000000000FFFF000002004D0A:0050";
        for (row, port, is_tcp, found) in [
            (row("00000000:0043", "07"), 67, false, Some(4711)),
            (row("02004D0A:0043", "07"), 67, false, Some(4711)),
            (row("0100007F:0043", "07"), 67, false, None),
            (row("00000000:0044", "07"), 67, false, None),
            (row("02004D0A:0050", "0A"), 80, true, Some(4711)),
            (row("02004D0A:0050", "01"), 80, true, None),
            (row("00000000000000000000000000000000:0050", "0A"), 80, true, Some(4711)),
            (row(mapped, "0A"), 80, true, Some(4711)),
            (row("00000000000000000000000001000000:0050", "0A"), 80, true, None),
            ("sl local_address".to_owned(), 80, true, None),
        ] {
            assert_eq!(inode(&row, port, ours, is_tcp), found, "{row}");
        }
    }

    #[test]
    fn this_process_is_named() {
        let address = Ipv4Addr::LOCALHOST;
        let tcp = TcpListener::bind((address, 0)).unwrap();
        let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let ports = [
            Port::Tcp(tcp.local_addr().unwrap().port()),
            Port::Udp(udp.local_addr().unwrap().port()),
        ];
        for port in ports {
            let pids: Vec<u32> = holders(port, address).iter().map(|holder| holder.pid).collect();
            assert_eq!(pids, [std::process::id()], "{port}");
        }
    }
}
