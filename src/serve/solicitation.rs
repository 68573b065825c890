//! Hears router solicitations on one interface and answers those of machines that run iPXE with us.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket as StdUdpSocket},
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, sync::watch, time::interval};

use super::{drain::Drain, interface::Interface, journal::Journal, site::Site};
use crate::{
    solicitation::{Heard, IS_THERE_A_ROUTER, NO_ROUTER, read},
    trace::{Step, Who},
};

const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// RFC 4861 section 6.1: neighbour discovery is only believed with this hop limit.
const HOP_LIMIT: u32 = 255;
/// A router advertises at least this often (RFC 4861 section 6.2.1, MaxRtrAdvInterval).
const ROUTER_SILENT: Duration = Duration::from_secs(1800);
/// RFC 4861 section 10: MAX_RTR_SOLICITATIONS, RTR_SOLICITATION_INTERVAL.
const QUESTIONS: u32 = 3;
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(4);

/// A socket that hears this interface's router solicitations. Needs CAP_NET_RAW.
pub(super) fn listen(interface: &Interface) -> io::Result<UdpSocket> {
    let index = if_nametoindex(interface.name.as_str())?;
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(interface.name.as_bytes()))?;
    socket.set_unicast_hops_v6(HOP_LIMIT)?;
    socket.set_multicast_hops_v6(HOP_LIMIT)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_loop_v6(false)?;
    socket.join_multicast_v6(&ALL_ROUTERS, index)?;
    // tokio's UDP socket sends and receives on any datagram socket, a raw one included.
    UdpSocket::from_std(StdUdpSocket::from(OwnedFd::from(socket)))
}

/// Answers until the drain begins.
pub(super) async fn run(
    socket: UdpSocket,
    interface: Interface,
    site: watch::Receiver<Arc<Site>>,
    journal: Journal,
    mut drain: Drain,
) -> io::Result<()> {
    let everyone = SocketAddrV6::new(ALL_ROUTERS, 0, 0, if_nametoindex(interface.name.as_str())?);
    let mut buffer = [0; 1500];
    let mut router_heard: Option<Instant> = None;
    let mut question = interval(BETWEEN_QUESTIONS);
    let mut questions = 0;
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            _ = question.tick(), if questions < QUESTIONS => {
                questions += 1;
                // Without an IPv6 address of its own the interface cannot ask, nor be asked.
                let _ = socket.send_to(&IS_THERE_A_ROUTER, SocketAddr::from(everyone)).await;
                continue;
            }
            () = drain.begun() => return Ok(()),
        };
        let Ok((len, source)) = received else { continue };
        // Neighbour discovery is spoken by neighbours: no router forwards a link-local source.
        let SocketAddr::V6(neighbour) = source else { continue };
        if !neighbour.ip().is_unicast_link_local() {
            continue;
        }
        let now = Instant::now();
        match read(&buffer[..len]) {
            Heard::Router => {
                if router_heard.replace(now).is_none() {
                    tracing::info!(
                        "{interface}: an IPv6 router is there, it answers solicitations"
                    );
                }
            }
            Heard::Solicitation(mac) => {
                let silent = router_heard.is_none_or(|heard| now - heard > ROUTER_SILENT);
                let turned_away = site.borrow().turns_away(mac);
                if let Some(why) = turned_away {
                    journal.silence("solicitation", why.label());
                } else if !silent {
                    journal.silence("solicitation", "router-heard");
                } else if !journal.runs_ipxe(mac) {
                    journal.silence("solicitation", "not-in-ipxe");
                } else {
                    match socket.send_to(&NO_ROUTER, source).await {
                        Ok(_) => journal.step(Who::Machine(mac), &Step::Advertise),
                        Err(error) => journal.failed_to_send("solicitation", &source, &error),
                    }
                }
            }
            Heard::Nothing => {}
        }
    }
}
