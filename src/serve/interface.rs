//! The interfaces we serve on, and the sockets that belong to each.
//!
//! One set of sockets an interface, bound to that device: what comes in on it came from its LAN, and
//! what goes out carries the address that was announced there, on hosts with several interfaces too.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::{Duration, Instant},
};

use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    net::if_::{InterfaceFlags, if_nametoindex},
    sys::socket::{getsockopt, sockopt::IpMtu},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, UdpSocket},
    time::sleep,
};

use crate::config::{NamedInterface, Place};

/// Ethernet's, where the kernel does not tell.
const USUAL_MTU: u16 = 1500;
/// How often an interface is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How long an interface may be away before the log tells, and then how often it does.
const AWAY: Duration = Duration::from_secs(10);
const STILL_AWAY: Duration = Duration::from_secs(600);
/// Connections that wait to be accepted: a VLAN that is powered on at once.
const BACKLOG: i32 = 1024;

/// A port of this machine.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Port {
    /// Of TCP.
    Tcp(u16),
    /// Of UDP.
    Udp(u16),
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "TCP port {port}"),
            Self::Udp(port) => write!(f, "UDP port {port}"),
        }
    }
}

/// An interface of this machine that has an IPv4 address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Interface {
    /// The kernel's name.
    pub name: String,
    /// Its first IPv4 address, where machines find us.
    pub address: Ipv4Addr,
    /// The largest IP packet it carries, in bytes.
    pub mtu: u16,
    /// The kernel's number for it: another one is another interface of the same name.
    index: u32,
}

impl Interface {
    /// The interfaces of these names; when none is named, the only one there is.
    pub fn choose(names: &[NamedInterface]) -> Result<Vec<Self>, InterfaceError> {
        let addresses = Self::addresses()?;
        let usable = || Self::usable(&addresses);
        if names.is_empty() {
            let mut usable = usable();
            return match usable.len() {
                0 => Err(InterfaceError::NoneHere),
                1 => Ok(vec![usable.remove(0)]),
                _ => Err(InterfaceError::Several(usable)),
            };
        }
        let mut chosen: Vec<Self> = Vec::new();
        for NamedInterface { name, place } in names {
            let interface =
                Self::find(&addresses, name).ok_or_else(|| InterfaceError::NoAddress {
                    name: name.clone(),
                    place: place.clone(),
                    exists: if_nametoindex(name.as_str()).is_ok(),
                    usable: usable(),
                })?;
            // A label names the same device once more.
            if chosen.iter().all(|other| other.name != interface.name) {
                chosen.push(interface);
            }
        }
        Ok(chosen)
    }

    /// The interface of this name, as an operator gives it on the command line.
    pub fn named(name: &str) -> Result<Self, InterfaceError> {
        let addresses = Self::addresses()?;
        Self::find(&addresses, name).ok_or_else(|| InterfaceError::NotThis {
            name: name.to_owned(),
            usable: Self::usable(&addresses),
        })
    }

    /// The device of this name with its first address, or the address with this label.
    fn find(addresses: &[Address], name: &str) -> Option<Self> {
        let by_device = addresses.iter().find(|address| address.device() == name);
        let found = by_device.or_else(|| addresses.iter().find(|address| address.label == name))?;
        Some(found.interface())
    }

    /// Each device with its first address, sorted by name. Machines are never on loopback.
    fn usable(addresses: &[Address]) -> Vec<Self> {
        let mut by_name = BTreeMap::new();
        for address in addresses.iter().filter(|address| !address.address.is_loopback()) {
            by_name.entry(address.device()).or_insert(address);
        }
        by_name.into_values().map(Address::interface).collect()
    }

    fn addresses() -> io::Result<Vec<Address>> {
        let is_up = |flags: InterfaceFlags| flags.contains(InterfaceFlags::IFF_UP);
        let entries = getifaddrs()?.filter(|entry| is_up(entry.flags));
        let address = |entry: InterfaceAddress| {
            let address = entry.address.as_ref()?.as_sockaddr_in()?.ip();
            Some(Address { label: entry.interface_name, address })
        };
        Ok(entries.filter_map(address).collect())
    }

    /// Returns when this interface has been made anew or was given another address: its sockets
    /// hear nothing any more, and what they announce is wrong. Being down for a while is neither.
    pub async fn changes(&self) -> io::Error {
        let mut absent = Absence::default();
        loop {
            sleep(LOOK).await;
            let Ok(addresses) = Self::addresses() else { continue };
            let own: Vec<&Address> =
                addresses.iter().filter(|address| address.device() == self.name).collect();
            match absent.look(own.is_empty(), Instant::now()) {
                Some(Presence::Gone) => tracing::warn!(
                    step = "interface",
                    "{self} is gone, down or has no address: nobody is served on it; bring it back, \
                     or take it out of [network] interfaces and restart bootbox"
                ),
                Some(Presence::Back) => tracing::info!(step = "interface", "{self} is back"),
                None => {}
            }
            let Some(first) = own.first() else { continue };
            if first.interface().index != self.index {
                return io::Error::other("the interface was made anew; serve again");
            }
            if own.iter().all(|address| address.address != self.address) {
                let text = format!("its address is {} now; serve again", first.address);
                return io::Error::other(text);
            }
        }
    }

    /// A UDP socket that hears what comes to this port on this interface, broadcasts included.
    ///
    /// Nobody else may have the port: of two sockets, only one would hear a unicast packet.
    pub fn udp(&self, port: u16) -> Result<UdpSocket, BindError> {
        self.bind_udp(port, false)
    }

    /// As [`udp`](Self::udp), but another server that allows it may have the port too: broadcasts
    /// reach both. True when somebody has.
    pub fn udp_beside_others(&self, port: u16) -> Result<(UdpSocket, bool), BindError> {
        match self.bind_udp(port, false) {
            Ok(socket) => Ok((socket, false)),
            Err(taken) if taken.error.kind() == io::ErrorKind::AddrInUse => {
                self.bind_udp(port, true).map(|socket| (socket, true))
            }
            Err(error) => Err(error),
        }
    }

    fn bind_udp(&self, port: u16, beside_others: bool) -> Result<UdpSocket, BindError> {
        self.bind(
            Type::DGRAM,
            Protocol::UDP,
            (Ipv4Addr::UNSPECIFIED, port),
            beside_others,
            |socket| {
                socket.set_broadcast(true)?;
                UdpSocket::from_std(socket.into())
            },
        )
    }

    /// A TCP socket that accepts at our address on this interface.
    pub fn tcp(&self, port: u16) -> Result<TcpListener, BindError> {
        // Connections of a server that has just stopped must not be in the way.
        self.bind(Type::STREAM, Protocol::TCP, (self.address, port), true, |socket| {
            socket.listen(BACKLOG)?;
            TcpListener::from_std(socket.into())
        })
    }

    /// Whether a port could be had now: takes it for a moment, and lets it go. UDP port 67 may be
    /// shared with another server, as [`udp_beside_others`](Self::udp_beside_others).
    pub fn try_port(&self, port: Port, beside_others: bool) -> Result<(), BindError> {
        match port {
            Port::Udp(port) => {
                let at = (Ipv4Addr::UNSPECIFIED, port);
                self.bind(Type::DGRAM, Protocol::UDP, at, beside_others, |_| Ok(()))
            }
            Port::Tcp(port) => {
                self.bind(Type::STREAM, Protocol::TCP, (self.address, port), true, |_| Ok(()))
            }
        }
    }

    fn bind<S>(
        &self,
        kind: Type,
        protocol: Protocol,
        (address, port): (Ipv4Addr, u16),
        reuse: bool,
        finish: impl Fn(Socket) -> io::Result<S>,
    ) -> Result<S, BindError> {
        let at = SocketAddrV4::new(address, port);
        let bound = || {
            let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
            socket.set_nonblocking(true)?;
            socket.set_reuse_address(reuse)?;
            socket.bind_device(Some(self.name.as_bytes()))?;
            socket.bind(&SocketAddr::from(at).into())?;
            finish(socket)
        };
        bound().map_err(|error| BindError { interface: self.name.clone(), protocol, port, error })
    }
}

/// An IPv4 address of an interface that is up.
#[derive(Clone, Debug)]
struct Address {
    /// The name that `getifaddrs` tells: the device's, or a label such as `eth0:1`.
    label: String,
    address: Ipv4Addr,
}

impl Address {
    /// A label is the device's name, a colon and more (netdevice(7)).
    fn device(&self) -> &str {
        self.label.split_once(':').map_or(&self.label, |(device, _)| device)
    }

    fn interface(&self) -> Interface {
        let name = self.device().to_owned();
        let (mtu, index) = (mtu(&name), if_nametoindex(name.as_str()).unwrap_or(0));
        Interface { name, address: self.address, mtu, index }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.address)
    }
}

/// Since when an interface is away, and when that is told again.
#[derive(Debug, Default)]
struct Absence {
    since: Option<Instant>,
    told: Option<Instant>,
}

/// A change of an interface that the log is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Presence {
    Back,
    Gone,
}

impl Absence {
    /// Takes in one look; what is to be told now.
    fn look(&mut self, is_away: bool, now: Instant) -> Option<Presence> {
        if !is_away {
            self.since = None;
            return self.told.take().map(|_| Presence::Back);
        }
        let since = *self.since.get_or_insert(now);
        let is_due = match self.told {
            None => now.saturating_duration_since(since) >= AWAY,
            Some(told) => now.saturating_duration_since(told) >= STILL_AWAY,
        };
        is_due.then(|| {
            self.told = Some(now);
            Presence::Gone
        })
    }
}

/// Asks the kernel by way of a socket: /sys may show another network namespace's interfaces.
fn mtu(name: &str) -> u16 {
    let told = || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_broadcast(true)?;
        socket.bind_device(Some(name.as_bytes()))?;
        // Connecting sends nothing; it only makes the kernel look for the way there.
        socket.connect(&SocketAddr::from((Ipv4Addr::BROADCAST, 9)).into())?;
        Ok::<_, io::Error>(getsockopt(&socket, IpMtu)?)
    };
    // Loopback's 65536 does not fit, and is as good as the largest that does.
    told().map_or(USUAL_MTU, |mtu| u16::try_from(mtu).unwrap_or(u16::MAX))
}

/// Why it is not known where to serve.
#[derive(Debug)]
pub enum InterfaceError {
    /// The kernel does not list its interfaces.
    Io(io::Error),
    /// An interface that the config names cannot be served on.
    NoAddress {
        /// Its name.
        name: String,
        /// The line that names it.
        place: Place,
        /// Whether there is an interface of that name at all.
        exists: bool,
        /// Those that have an address.
        usable: Vec<Interface>,
    },
    /// None has an IPv4 address.
    NoneHere,
    /// The one that was asked for is not up with an IPv4 address.
    NotThis {
        /// Its name.
        name: String,
        /// Those that are.
        usable: Vec<Interface>,
    },
    /// Several have, and the config names none.
    Several(Vec<Interface>),
}

impl From<io::Error> for InterfaceError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for InterfaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |usable: &[Interface]| -> String {
            usable.iter().map(|interface| format!("\n  {interface}")).collect()
        };
        match self {
            Self::Io(error) => write!(f, "cannot list the interfaces: {error}"),
            Self::NoAddress { name, place, exists, usable } => {
                let what = match exists {
                    true => "has no IPv4 address, or is down",
                    false => "does not exist",
                };
                if usable.is_empty() {
                    return write!(
                        f,
                        "{place}: interface {name} {what}, and no other interface has one: give it \
                         an address (ip addr add ADDRESS/24 dev {name}; ip link set {name} up)"
                    );
                }
                let usable = list(usable);
                write!(f, "{place}: interface {name} {what}; write one of these:{usable}")
            }
            Self::NoneHere => f.write_str(
                "no interface is up with an IPv4 address; give one to the \
                interface that the machines are on",
            ),
            Self::NotThis { name, usable } if usable.is_empty() => {
                write!(f, "interface {name} is not up with an IPv4 address, and no other one is")
            }
            Self::NotThis { name, usable } => write!(
                f,
                "interface {name} is not up with an IPv4 address; one of these is:{}",
                list(usable)
            ),
            Self::Several(usable) => {
                let example = usable.last().map_or("eth1", |interface| interface.name.as_str());
                write!(
                    f,
                    "several interfaces have an IPv4 address:{}\nsay in the config which to serve \
                     on, under [network]:\n  interfaces = [\"{example}\"]",
                    list(usable)
                )
            }
        }
    }
}

impl std::error::Error for InterfaceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::NoAddress { .. } | Self::NoneHere | Self::NotThis { .. } | Self::Several(_) => {
                None
            }
        }
    }
}

/// A port that cannot be had.
#[derive(Debug)]
pub struct BindError {
    interface: String,
    protocol: Protocol,
    port: u16,
    error: io::Error,
}

impl BindError {
    /// Whether somebody else has the port.
    pub fn is_taken(&self) -> bool {
        self.error.kind() == io::ErrorKind::AddrInUse
    }

    /// Whether a capability is missing.
    pub fn is_permission(&self) -> bool {
        self.error.kind() == io::ErrorKind::PermissionDenied
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = if self.protocol == Protocol::TCP { "TCP" } else { "UDP" };
        let Self { interface, port, error, .. } = self;
        write!(f, "{protocol} port {port} on {interface}: {error}")?;
        let advice = if self.is_permission() {
            "; the capability CAP_NET_BIND_SERVICE is missing (see bootbox.service)"
        } else if error.kind() == io::ErrorKind::AddrInUse {
            "; another server on this machine holds it (`ss -lunpt` shows which): stop it, or serve \
             on an interface that it leaves alone"
        } else {
            ""
        };
        f.write_str(advice)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_stays_away_is_told_of_and_a_short_absence_is_not() {
        let (mut absence, start) = (Absence::default(), Instant::now());
        let mut look =
            |is_away, seconds| absence.look(is_away, start + Duration::from_secs(seconds));
        assert_eq!([look(true, 0), look(true, 8), look(false, 9)], [None; 3]);
        assert_eq!([look(true, 20), look(true, 28)], [None; 2]);
        assert_eq!(look(true, 30), Some(Presence::Gone));
        assert_eq!(look(true, 600), None);
        assert_eq!(look(true, 631), Some(Presence::Gone));
        assert_eq!([look(false, 640), look(false, 642)], [Some(Presence::Back), None]);
    }
}
