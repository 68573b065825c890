//! Ports 67 and 4011: hears a packet, asks `proxydhcp`, sends what it says.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
};

use socket2::SockRef;
use tokio::{net::UdpSocket, sync::watch};

use super::{drain::Drain, journal::Journal, site::Site};
use crate::{
    proxydhcp::{Answer, Arrival, Lease, Recipient, answer},
    trace::{Step, Who},
};

/// Room for the largest DHCP message an Ethernet carries; a longer one is cut, and then has lost
/// only options that we do not read.
const LONGEST: usize = 2048;
/// Room for a VLAN that is powered on at once, in bytes.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Where DHCP clients without an address listen.
const BROADCAST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, 68);

/// Answers on one port of one interface until the drain begins.
pub(super) async fn run(
    socket: UdpSocket,
    arrival: Arrival,
    site: watch::Receiver<Arc<Site>>,
    journal: Journal,
    mut drain: Drain,
) -> io::Result<()> {
    // The kernel's limit may be lower: then the clients' own retries fill the gap.
    let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    let mut buffer = [0; LONGEST];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = drain.begun() => return Ok(()),
        };
        let (len, source) = match received {
            Ok(received) => received,
            // The kernel reports here that an earlier reply found nobody.
            Err(error) if is_about_a_peer(&error) => continue,
            Err(error) => return Err(error),
        };
        let decided = {
            let site = Arc::clone(&site.borrow());
            answer(&buffer[..len], &arrival, &site.offering())
        };
        match decided {
            Answer::Ignore(reason) => journal.silence("dhcp", reason.label()),
            Answer::Learn(lease) => learn(&journal, &lease),
            Answer::LeaveAlone(machine, reason) => {
                journal.silence("dhcp", reason.label());
                let step = Step::LeaveAlone { reason: reason.to_string() };
                journal.step(Who::Machine(machine.mac), &step);
            }
            Answer::Reply(reply) => {
                let to = match reply.to {
                    Recipient::Broadcast => BROADCAST.into(),
                    Recipient::Source if is_unspecified(source) => BROADCAST.into(),
                    Recipient::Source => source,
                };
                match socket.send_to(&reply.bytes, to).await {
                    Ok(_) => journal.step(Who::Machine(reply.machine.mac), &reply.step),
                    Err(error) => journal.failed_to_send("dhcp", &to, &error),
                }
            }
        }
    }
}

fn learn(journal: &Journal, lease: &Lease) {
    let step = Step::Lease { address: lease.address, server: lease.server };
    journal.lease(lease.machine.mac, lease.address, &step);
}

fn is_unspecified(source: SocketAddr) -> bool {
    source.ip().is_unspecified()
}

fn is_about_a_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}
