//! TFTP's sockets: the service's port, and one task with a socket of its own for each client.
//!
//! ```text
//! port 69 ── run ── RRQ ──▶ one task a client ── transfer ── its own connected socket ──▶ client
//!              │  again ──▶ the same task (mpsc): it reads what is waiting for it first
//!              ╰─ JoinSet: a task that ends or panics frees its seat
//! ```

mod content;
mod courier;
mod transfer;

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{
    net::UdpSocket,
    sync::{
        mpsc::{self, error::TrySendError},
        watch,
    },
    task::{AbortHandle, Id, JoinError, JoinSet},
};

use self::transfer::Client;
use super::{drain::Drain, http::Scripts, journal::Journal, neighbours::Host, site::Site};
use crate::{
    tftp::{self, Answer, ReadRequest, Refusal, file_name},
    trace::{End, Protocol, Step, Transfer, Who},
};

/// Transfers at once. A client beyond it hears nothing and asks again a second later, where an
/// ERROR would end its boot.
const SEATS: usize = 1024;
/// Transfers of one host at once, of those.
const SEATS_OF_ONE: usize = 640;
/// While all seats are taken, a host with fewer than these takes one from a host with more: no machine
/// needs so many.
const SEATS_OF_ONE_WHEN_FULL: usize = 16;
/// A client that has not answered for so long may lose its seat to another: a real one answers within
/// a round trip, and an address that is made up never does.
const UNPROVEN: Duration = Duration::from_secs(1);
/// A client that gets less than so many bytes in so long makes no progress: it loses its seat to
/// another where all are taken. A ROM on a bad line is ten times faster.
const STRIDE: u64 = 32 << 10;
const SLOW: Duration = Duration::from_secs(8);
/// How often the log hears that all seats are taken.
const NEWS: Duration = Duration::from_secs(60);
/// Room for every machine of a large site to ask in the same moment.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Requests of one client that wait for its task.
const WAITING: usize = 4;
/// A request is at most 512 bytes by RFC 1350. Of a longer one than this the rest is never seen: options
/// there are as good as not asked for, and a name that does not end before is refused.
const LONGEST_REQUEST: usize = 2048;

/// Serves read requests that come to `socket`, which is bound to `address`, on a network of `mtu`
/// bytes; what is no file, `scripts` may render. Returns when `drain` has begun and every transfer is over, or when the socket fails.
pub async fn run(
    socket: UdpSocket,
    address: Ipv4Addr,
    mtu: u16,
    site: watch::Receiver<Arc<Site>>,
    journal: Journal,
    scripts: Arc<dyn Scripts>,
    mut drain: Drain,
) -> io::Result<()> {
    // The kernel's limit may be lower: then the clients' own retries fill the gap.
    let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    let device = SockRef::from(&socket).device()?;
    let mut service = Service {
        address,
        device,
        mtu,
        site,
        journal,
        scripts,
        seats: HashMap::new(),
        clients: HashMap::new(),
        tasks: JoinSet::new(),
        told: None,
    };
    let mut begun = pin!(drain.begun());
    let mut buffer = [0; LONGEST_REQUEST];
    loop {
        tokio::select! {
            () = &mut begun => break,
            Some(ended) = service.tasks.join_next_with_id() => service.leave(ended),
            received = socket.recv_from(&mut buffer) => {
                let (length, from) = received?;
                if let SocketAddr::V4(client) = from {
                    service.receive(&socket, &buffer[..length], client);
                }
            }
        }
    }
    while let Some(ended) = service.tasks.join_next_with_id().await {
        service.leave(ended);
    }
    Ok(())
}

struct Service {
    address: Ipv4Addr,
    device: Option<Vec<u8>>,
    mtu: u16,
    site: watch::Receiver<Arc<Site>>,
    journal: Journal,
    scripts: Arc<dyn Scripts>,
    seats: HashMap<SocketAddrV4, Seat>,
    clients: HashMap<Id, SocketAddrV4>,
    tasks: JoinSet<()>,
    /// When the log heard that all seats are taken.
    told: Option<Instant>,
}

/// One client's task.
struct Seat {
    task: AbortHandle,
    requests: mpsc::Sender<ReadRequest>,
    file: String,
    taken: Instant,
    host: Host,
    progress: Arc<Progress>,
}

impl Seat {
    fn is_proven(&self) -> bool {
        self.progress.is_proven.load(Ordering::Relaxed)
    }
}

/// How far a client is, as its task tells.
#[derive(Debug)]
struct Progress {
    /// Whether the client has answered.
    is_proven: AtomicBool,
    /// When it had so many bytes.
    stride: Mutex<(Instant, u64)>,
}

impl Progress {
    fn new() -> Self {
        Self { is_proven: AtomicBool::new(false), stride: Mutex::new((Instant::now(), 0)) }
    }

    /// The client has answered, and has so many bytes.
    fn has(&self, bytes: u64, now: Instant) {
        self.is_proven.store(true, Ordering::Relaxed);
        let mut stride = self.stride.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes < stride.1 || bytes - stride.1 >= STRIDE {
            *stride = (now, bytes);
        }
    }

    /// For how long it has made no real progress.
    fn stands(&self, now: Instant) -> Duration {
        let (since, _) = *self.stride.lock().unwrap_or_else(PoisonError::into_inner);
        now.saturating_duration_since(since)
    }
}

impl Service {
    fn receive(&mut self, socket: &UdpSocket, datagram: &[u8], client: SocketAddrV4) {
        match tftp::answer(datagram) {
            Answer::Ignore(reason) => self.silence(reason.label()),
            Answer::Open(request) => self.open(request, client),
            Answer::Refuse(refusal) => self.refuse(socket, refusal, client),
        }
    }

    fn open(&mut self, request: ReadRequest, client: SocketAddrV4) {
        self.journal.comes(*client.ip());
        let request = match self.seats.get(&client) {
            Some(seat) => match seat.requests.try_send(request) {
                Ok(()) => return,
                Err(TrySendError::Full(_)) => return self.silence("too-many-requests"),
                // That task is at its very end.
                Err(TrySendError::Closed(request)) => request,
            },
            None => request,
        };
        // One host, or one that claims to be it, cannot keep the others from booting.
        let host = Host::of((*client.ip()).into());
        if self.seats_of(host) >= SEATS_OF_ONE {
            return self.silence("too-many-transfers-of-one");
        }
        if client.port() == 0 {
            return self.silence("no-port");
        }
        if self.clients.len() >= SEATS {
            let has_room = self.make_room(host);
            self.tells_full();
            if !has_room {
                return self.silence("too-many-transfers");
            }
        }
        let file = file_name(request.path.as_bytes());
        let (requests, received) = mpsc::channel(WAITING);
        let progress = Arc::new(Progress::new());
        let served = Client {
            client,
            address: self.address,
            mtu: self.mtu,
            device: self.device.clone(),
            site: self.site.clone(),
            journal: self.journal.clone(),
            scripts: Arc::clone(&self.scripts),
            progress: Arc::clone(&progress),
        };
        let task = self.tasks.spawn(served.serve(request, received));
        self.clients.insert(task.id(), client);
        let taken = Instant::now();
        self.seats.insert(client, Seat { task, requests, file, taken, host, progress });
    }

    fn seats_of(&self, host: Host) -> usize {
        self.seats.values().filter(|seat| seat.host == host).count()
    }

    /// Tells the operator, once a minute.
    fn tells_full(&mut self) {
        if self.told.is_none_or(|then| then.elapsed() >= NEWS) {
            self.told = Some(Instant::now());
            tracing::warn!(
                step = "full",
                protocol = "tftp",
                reason = "too-many-transfers",
                "TFTP: all {SEATS} transfers are taken: who makes no progress loses its own"
            );
        }
    }

    /// Takes a seat for `asker` from a client that never answered, else from one that makes no
    /// progress, else from the host with most; false where there is none to take.
    fn make_room(&mut self, asker: Host) -> bool {
        // Who has ended by now has no need of a seat.
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.leave(ended);
        }
        if self.clients.len() < SEATS {
            return true;
        }
        if let Some(client) = self.longest_silent() {
            if let Some(seat) = self.seats.remove(&client) {
                seat.task.abort();
                self.clients.remove(&seat.task.id());
                self.step(client, seat.file, End::TimeOut, seat.taken.elapsed());
            }
            return true;
        }
        let Some(client) = self.slowest().or_else(|| self.oldest_of_the_most(asker)) else {
            return false;
        };
        if let Some(seat) = self.seats.remove(&client) {
            // Its task finds the channel closed, and says how far it came.
            self.clients.remove(&seat.task.id());
        }
        true
    }

    fn longest_silent(&self) -> Option<SocketAddrV4> {
        let is_silent = |seat: &Seat| !seat.is_proven() && seat.taken.elapsed() >= UNPROVEN;
        let silent = self.seats.iter().filter(|(_, seat)| is_silent(seat));
        silent.min_by_key(|(_, seat)| seat.taken).map(|(&client, _)| client)
    }

    fn slowest(&self) -> Option<SocketAddrV4> {
        let now = Instant::now();
        let stands = |seat: &Seat| seat.progress.stands(now);
        let slow = self.seats.iter().filter(|(_, seat)| stands(seat) >= SLOW);
        slow.max_by_key(|(_, seat)| stands(seat)).map(|(&client, _)| client)
    }

    fn oldest_of_the_most(&self, asker: Host) -> Option<SocketAddrV4> {
        let has = self.seats_of(asker);
        // Who has not answered loses a seat soon; until then nobody does who has.
        if has >= SEATS_OF_ONE_WHEN_FULL || !self.seats.values().all(Seat::is_proven) {
            return None;
        }
        let mut seats_of: HashMap<Host, usize> = HashMap::new();
        for seat in self.seats.values() {
            *seats_of.entry(seat.host).or_default() += 1;
        }
        let (most, seats) = seats_of.into_iter().max_by_key(|&(_, seats)| seats)?;
        if seats <= SEATS_OF_ONE_WHEN_FULL {
            return None;
        }
        let its = self.seats.iter().filter(|(_, seat)| seat.host == most);
        its.min_by_key(|(_, seat)| seat.taken).map(|(&client, _)| client)
    }

    fn refuse(&self, socket: &UdpSocket, refusal: Refusal, client: SocketAddrV4) {
        // Whoever cannot be reached is no concern of the others.
        let _ = socket.try_send_to(&tftp::error(refusal.code, &refusal.text), client.into());
        if let Some(file) = refusal.file {
            let end = End::Refuse { reason: refusal.text.into_owned() };
            self.step(client, file, end, Duration::ZERO);
        }
    }

    fn leave(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (task, panicked) = match &ended {
            Ok((task, ())) => (*task, false),
            Err(error) => (error.id(), error.is_panic()),
        };
        let Some(client) = self.clients.remove(&task) else { return };
        if self.seats.get(&client).is_none_or(|seat| seat.task.id() != task) {
            return;
        }
        if let Some(seat) = self.seats.remove(&client)
            && panicked
        {
            let end = End::Fail { reason: "bootbox has a bug here".into() };
            self.step(client, seat.file, end, seat.taken.elapsed());
        }
    }

    fn silence(&self, reason: &'static str) {
        self.journal.silence("tftp", reason);
    }

    /// Notes a transfer of which nothing is known to have arrived.
    fn step(&self, client: SocketAddrV4, file: String, end: End, took: Duration) {
        let protocol = Protocol::Tftp;
        let transfer = Transfer { protocol, file, end, bytes: 0, size: 0, took };
        self.journal.step(Who::Address(*client.ip()), &Step::Transfer(transfer));
    }
}

#[cfg(test)]
mod tests;
