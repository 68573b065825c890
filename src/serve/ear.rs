//! Hears what DHCP servers say to the clients of one interface, and asks them when told to.
//!
//! A raw socket: it gets copies, so that whoever owns port 68 on this machine misses nothing.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket as StdUdpSocket},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::net::UdpSocket;

use super::{drain::Drain, interface::Interface, journal::Journal};
use crate::{
    lan::{self, Survey},
    proxydhcp::Conversations,
};

/// Room for the largest DHCP message an Ethernet carries, and its IP header.
const LONGEST: usize = 2048;
/// How long answers may take; some DHCP servers first ping an address for 3 s.
const ANSWERS: Duration = Duration::from_secs(4);
/// When a question that no DHCP server has answered is asked once more.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How often a survey looks at the clock.
const LOOK_UP: Duration = Duration::from_millis(100);

/// What the kernel lets through of all UDP: a destination port of 68, but no proxy at this address.
///
/// A broadcast brings our own answers back to us, and to hear them costs as much as to give them. A
/// DHCP server on this very machine has our address and is heard where it gives addresses, its refusals
/// are not.
fn to_clients(no_proxy_at: Ipv4Addr) -> [SockFilter; 9] {
    [
        // X = length of the IP header; A = the destination port.
        SockFilter::new(0xb1, 0, 0, 0),
        SockFilter::new(0x48, 0, 0, 2),
        SockFilter::new(0x15, 0, 5, 68),
        // A = the sender.
        SockFilter::new(0x20, 0, 0, 12),
        SockFilter::new(0x15, 0, 2, no_proxy_at.to_bits()),
        // A = yiaddr.
        SockFilter::new(0x40, 0, 0, 8 + 16),
        SockFilter::new(0x15, 1, 0, 0),
        SockFilter::new(0x06, 0, 0, 0xffff),
        SockFilter::new(0x06, 0, 0, 0),
    ]
}

/// A socket that hears this on the interface. Needs CAP_NET_RAW.
fn open(interface: &Interface, no_proxy_at: Ipv4Addr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))?;
    socket.bind_device(Some(interface.name.as_bytes()))?;
    socket.attach_filter(&to_clients(no_proxy_at))?;
    Ok(socket)
}

/// The same for [`run`].
pub(super) fn listen(interface: &Interface) -> io::Result<UdpSocket> {
    let socket = open(interface, interface.address)?;
    socket.set_nonblocking(true)?;
    // tokio's UDP socket receives on any datagram socket, a raw one included.
    UdpSocket::from_std(StdUdpSocket::from(OwnedFd::from(socket)))
}

/// Listens until the drain begins.
pub(super) async fn run(
    socket: UdpSocket,
    interface: Interface,
    journal: Journal,
    conversations: Arc<Mutex<Conversations>>,
    mut drain: Drain,
) -> io::Result<()> {
    let mut buffer = [0; LONGEST];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = drain.begun() => return Ok(()),
        };
        // Hearing is a help: what ails this socket ails the others, and they tell.
        let Ok((len, _)) = received else { continue };
        match lan::read(&buffer[..len]) {
            Ok(message) => {
                if journal.hears(&interface, &message) {
                    let conversations = conversations.lock();
                    conversations.unwrap_or_else(PoisonError::into_inner).heard_dhcp_server();
                }
            }
            Err(reason) => journal.silence("lan", reason.label()),
        }
    }
}

/// Asks who answers a machine that boots, and listens for some seconds. Opens no port, and takes no
/// address.
pub fn survey(interface: &Interface, seed: u32) -> io::Result<Survey> {
    // The bootbox of this machine is one of those that answer.
    let socket = open(interface, Ipv4Addr::UNSPECIFIED)?;
    socket.set_broadcast(true)?;
    socket.set_read_timeout(Some(LOOK_UP))?;
    let socket = StdUdpSocket::from(OwnedFd::from(socket));
    let mut survey = Survey::new(&interface.name, interface.address, seed);
    let ask = |survey: &Survey| -> io::Result<()> {
        survey.probes().iter().try_for_each(|probe| {
            socket.send_to(&probe.datagram(), (Ipv4Addr::BROADCAST, 0)).map(drop)
        })
    };
    let started = Instant::now();
    ask(&survey)?;
    let (mut end, mut asked_again) = (ANSWERS, false);
    let mut buffer = [0; LONGEST];
    while started.elapsed() < end {
        if !asked_again && started.elapsed() >= ASK_AGAIN && !survey.has_dhcp_server() {
            ask(&survey)?;
            (end, asked_again) = (ASK_AGAIN + ANSWERS, true);
        }
        // Nothing has come, or the network is down for a moment: the time runs all the same.
        let Ok((len, _)) = socket.recv_from(&mut buffer) else { continue };
        if let Ok(message) = lan::read(&buffer[..len]) {
            survey.hear(message);
        }
    }
    Ok(survey)
}
