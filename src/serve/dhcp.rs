//! Ports 67 and 4011: hears a packet, asks `proxydhcp`, sends what it says.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use socket2::SockRef;
use tokio::{net::UdpSocket, sync::watch, time::sleep_until};

use super::{
    drain::Drain,
    journal::Journal,
    ledger::{Ledger, now},
    site::Site,
};
use crate::{
    config::Mode,
    firmware::{Form, Means},
    lan,
    ledger::Event,
    machine::Mac,
    proxydhcp::{
        Answer, Arrival, Circumstances, Conversations, Discover, Lease, Port, Reason, Recipient,
        Reply, answer, first_choice,
    },
    trace::{Stage, Step, Throttle, Who},
};

/// Room for the largest DHCP message an Ethernet carries; a longer one is cut, and then has lost
/// only options that we do not read.
const LONGEST: usize = 2048;
/// Room for a VLAN that is powered on at once, in bytes.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Addresses that one machine may take at once, and then each second.
const ADDRESSES: u32 = 20;
const PER_SECOND: u32 = 1;
/// Answers of port 67 a second that go to one address each: those that nobody takes must leave room in
/// the socket's buffer for offers. Each waits there 3 s.
const INFORMS: u32 = 20;
/// Offers that wait to be sent, 1.5 KiB each at most.
const MOST_HELD_BACK: usize = 4096;
/// Where DHCP clients without an address listen.
const BROADCAST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, 68);

/// One port of one interface.
pub(super) struct Service {
    pub(super) arrival: Arrival,
    pub(super) site: watch::Receiver<Arc<Site>>,
    pub(super) journal: Journal,
    pub(super) ledger: Ledger,
    /// Those of both ports of the interface.
    pub(super) conversations: Arc<Mutex<Conversations>>,
}

/// Answers on one port of one interface until the drain begins.
pub(super) async fn run(socket: UdpSocket, service: Service, mut drain: Drain) -> io::Result<()> {
    // The kernel's limit may be lower: then the clients' own retries fill the gap.
    let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    let mut buffer = [0; LONGEST];
    let mut leases = Leases::default();
    let mut informs = Throttle::new(INFORMS, INFORMS, Instant::now());
    let mut held_back = VecDeque::new();
    let mut begun = pin!(drain.begun());
    loop {
        let next = held_back.front().map(|held: &HeldBack| held.until);
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            Some(()) = until(next) => {
                if let Some(HeldBack { parcel, .. }) = held_back.pop_front() {
                    // The config may have closed the door since.
                    let turned_away = service.site.borrow().turns_away(parcel.reply.machine.mac);
                    match turned_away {
                        None => service.send(&socket, &parcel).await,
                        Some(why) => service.journal.silence("dhcp", why.label()),
                    }
                }
                continue;
            }
            () = &mut begun => return Ok(()),
        };
        let (len, source) = match received {
            Ok(received) => received,
            // The kernel reports here that an earlier reply found nobody.
            Err(error) if is_about_a_peer(&error) => continue,
            Err(error) => return Err(error),
        };
        let Some(parcel) = service.hear(&buffer[..len], source, &mut leases) else { continue };
        let is_inform = service.arrival.port == Port::Dhcp && !parcel.is_broadcast();
        if is_inform && !informs.admit(Instant::now()) {
            service.journal.silence("dhcp", "too-many-informs");
            continue;
        }
        let delay = service.site.borrow().config.reply_delay;
        // Who surveys the LAN wants to know who answers, not when.
        if delay.is_zero() || !parcel.reply.may_wait() || parcel.is_for_probe {
            service.send(&socket, &parcel).await;
        } else if held_back.len() < MOST_HELD_BACK {
            held_back.push_back(HeldBack { until: Instant::now() + delay, parcel });
        } else {
            service.journal.silence("dhcp", "too-many-held-back");
        }
    }
}

/// Waits until then; `None` at once where there is nothing to wait for.
async fn until(then: Option<Instant>) -> Option<()> {
    sleep_until(then?.into()).await;
    Some(())
}

/// An offer that is sent later.
struct HeldBack {
    until: Instant,
    parcel: Parcel,
}

/// What to send.
struct Parcel {
    reply: Box<Reply>,
    to: SocketAddr,
    /// Whether a `bootbox check --lan` asked, and no machine.
    is_for_probe: bool,
}

impl Parcel {
    fn is_broadcast(&self) -> bool {
        self.to == BROADCAST.into()
    }
}

impl Service {
    /// What to send; what is to be known is noted.
    fn hear(&self, packet: &[u8], source: SocketAddr, leases: &mut Leases) -> Option<Parcel> {
        let Self { arrival, journal, ledger, .. } = self;
        let site = Arc::clone(&self.site.borrow());
        let observes = site.config.mode == Mode::Observe;
        let is_for_probe = lan::is_probe(packet);
        let choose = |discover: &Discover| self.choose(discover, &site, is_for_probe);
        let decided = ledger.with(|book| answer(packet, arrival, &site.offering(book), choose));
        match decided {
            Answer::Ignore(reason) => journal.silence("dhcp", reason.label()),
            Answer::Learn(lease) => {
                journal.lease(arrival.address, &lease);
                let (mac, server) = (lease.machine.mac, lease.server);
                self.conversations().took_lease(mac, server, Instant::now());
                leases.note(ledger, journal, &lease);
            }
            Answer::LeaveAlone(_, _, reason) if is_for_probe => {
                journal.silence("dhcp", reason.label());
            }
            Answer::Reply(_) if is_for_probe && observes => journal.silence("dhcp", "observing"),
            Answer::LeaveAlone(machine, means, reason) => {
                ledger.hear(&machine);
                journal.silence("dhcp", reason.label());
                let is_news = !observes && powers_on(ledger, arrival, machine.mac, means);
                let step = Step::LeaveAlone { reason: reason.to_string() };
                // It asks several times before it goes on to its disk.
                match matches!(reason, Reason::Held(_) | Reason::Installed(_)) {
                    true => journal.once(machine.mac, &step, is_news),
                    false => journal.step(Who::Machine(machine.mac), &step),
                }
            }
            Answer::Reply(reply) if observes => {
                ledger.hear(&reply.machine);
                let prospect = ledger.with(|book| site.offering(book).prospect(&reply.machine));
                match reply.step.observed(prospect) {
                    Some(step) => journal.step(Who::Machine(reply.machine.mac), &step),
                    None => journal.silence("dhcp", "observing"),
                }
            }
            Answer::Reply(reply) => {
                powers_on(ledger, arrival, reply.machine.mac, reply.means);
                if arrival.port == Port::BootServer {
                    self.conversations().asked_boot_server(reply.machine.mac);
                }
                let to = match reply.to {
                    Recipient::Broadcast => BROADCAST.into(),
                    Recipient::Source if is_unspecified(source) => BROADCAST.into(),
                    Recipient::Source => source,
                };
                let is_ipxe = matches!(reply.step, Step::Offer { stage: Stage::Ipxe, .. });
                if is_ipxe && lan::misses_us(packet) {
                    journal.misses_us(reply.machine.mac);
                }
                return Some(Parcel { reply, to, is_for_probe });
            }
        }
        None
    }

    fn choose(&self, discover: &Discover, site: &Site, is_for_probe: bool) -> Result<Form, Reason> {
        let config = &site.config;
        let about = Circumstances {
            fetched: self.journal.fetched(discover.mac),
            // A made-up machine has one round, and would hear nothing.
            prefer_http: config.prefer_http && !is_for_probe,
            delay: config.reply_delay,
        };
        match config.mode {
            Mode::Serve if !is_for_probe => {
                self.conversations().choose(discover, &about, Instant::now())
            }
            // What is not sent is not remembered, nor is who is no machine.
            Mode::Observe | Mode::Serve => first_choice(discover, &about, Instant::now()),
        }
    }

    fn conversations(&self) -> MutexGuard<'_, Conversations> {
        // What a panic left half done is at worst another form of an offer.
        self.conversations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, socket: &UdpSocket, parcel: &Parcel) {
        let Parcel { reply, to, is_for_probe } = parcel;
        let sent = match parcel.is_broadcast() {
            true => socket.send_to(&reply.bytes, to).await,
            // What waits for an address that is not there fills the socket's buffer for 3 s.
            false => socket.try_send_to(&reply.bytes, *to),
        };
        match sent {
            Ok(_) if *is_for_probe => {}
            Ok(_) => {
                self.journal.answers(self.arrival.address, reply.machine.mac, &reply.step);
                if reply.is_elsewhere {
                    self.journal.goes_elsewhere(reply.machine.mac);
                }
            }
            Err(error) => self.journal.failed_to_send("dhcp", to, &error),
        }
    }
}

/// Notes that a known machine asks for a network boot; false where that is known already. What is
/// not known is noted when iPXE asks: no LAN can fill the ledger with discovers.
fn powers_on(ledger: &Ledger, arrival: &Arrival, mac: Mac, means: Means) -> bool {
    let (most, now) = (ledger.most_attempts(), now());
    let is_news = arrival.port == Port::Dhcp
        && ledger
            .with(|book| book.get(mac).is_some_and(|it| it.is_power_on_news(most, means, now)));
    if is_news {
        ledger.note_soon(mac, Event::PoweredOn);
    }
    is_news
}

/// How often each known machine may change its address.
#[derive(Default)]
struct Leases(HashMap<Mac, Throttle>);

impl Leases {
    /// Notes the address of a known machine: by it we know who fetches a file.
    fn note(&mut self, ledger: &Ledger, journal: &Journal, lease: &Lease) {
        let mac = lease.machine.mac;
        let is_news = ledger.with(|book| {
            let holder = book.at(lease.address).map(|record| record.machine.mac);
            book.get(mac).is_some() && holder != Some(mac)
        });
        if !is_news {
            return;
        }
        let now = Instant::now();
        let throttle =
            self.0.entry(mac).or_insert_with(|| Throttle::new(ADDRESSES, PER_SECOND, now));
        match throttle.admit(now) {
            true => ledger.note_surely(mac, Event::Address(lease.address)),
            false => journal.silence("dhcp", "too-many-addresses"),
        }
    }
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
