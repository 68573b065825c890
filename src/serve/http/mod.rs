//! HTTP: accepts connections, and sends what `http` decides.
//!
//! ```text
//! run ── accept ──> connection (one task each)
//!                     hyper  <── exchange: Request -> Reply, opens files ──> Scripts
//!                       └── body: a file is a hole of its length
//!                             └── wire: fills holes with sendfile, header bytes go as they are
//! ```
//!
//! hyper parses and frames; it has no sendfile, so a file's bytes never pass through it.

mod body;
mod connection;
mod download;
mod evidence;
mod exchange;
mod room;
mod wire;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use hyper::body::Bytes;
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::sleep};

use super::{
    disk::Held, drain::Drain, journal::Journal, ledger::Ledger, neighbours::Host, site::Site,
    store::Opened,
};
use crate::{
    check::Kind,
    http::{
        reply::Refusal,
        request::Verb,
        route::{Asked, Script},
    },
    machine::Mac,
    path::RepositoryPath,
    token::Token,
    unified::{Image, Name},
};
pub(super) use evidence::Evidence;
use room::{Admission, Asker, Guest, Room};

/// After the kernel refuses a connection for want of descriptors or memory.
const BREATH: Duration = Duration::from_millis(50);

/// What the service needs to answer.
#[derive(Clone)]
pub struct Service {
    /// What is served now.
    pub site: watch::Receiver<Arc<Site>>,
    /// Where transfers are noted.
    pub journal: Journal,
    /// What each machine has done.
    pub ledger: Ledger,
    /// Who renders what is no file.
    pub scripts: Arc<dyn Scripts>,
    /// How much a LAN may take.
    pub limits: Limits,
}

/// How much a LAN may take, and how long a client may do nothing.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// Connections at once from one host: a card of our LAN, else an address; more are closed.
    pub per_address: usize,
    /// The same while more than half of all are taken: a few addresses cannot have all the rest.
    pub per_address_when_full: usize,
    /// From the first byte of a request, or from the connection, to the end of its head.
    pub head: Duration,
    /// Between two requests of one connection.
    pub idle: Duration,
    /// Without a byte acknowledged or asked for by the client. A slow disk at the other end is
    /// legitimate: this is about standstill, not speed.
    pub stall: Duration,
}

impl Limits {
    /// How many connections one address may have while so many of all are free.
    fn of_one(&self, free: usize) -> usize {
        match free < self.connections / 2 {
            true => self.per_address.min(self.per_address_when_full),
            false => self.per_address,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            per_address: 512,
            per_address_when_full: 16,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            stall: Duration::from_secs(120),
        }
    }
}

/// Renders the texts that are not files. The seam between HTTP and the catalog.
pub trait Scripts: Send + Sync {
    /// Whether this file of the repository may be sent now. Looks at the disk: not for a thread
    /// that serves.
    fn admits(&self, path: &RepositoryPath) -> Result<(), Refusal>;

    /// The config that is asked for, or what `current/version.txt` says where it is no file. Only
    /// the second looks at the disk.
    fn config(
        &self,
        verb: Verb,
        asked: &Asked,
        site: &Site,
        arrival: Arrival,
    ) -> Result<Config, Refusal>;

    /// Notes that this file of the repository was fetched from this address, all of it, by a way that
    /// shows the ledger nothing of it.
    fn has_fetched(&self, path: &RepositoryPath, site: &Site, address: Ipv4Addr);

    /// Waits until the ledger knows that this file is about to be sent to this address by TFTP,
    /// where that matters; the error is why it may not be sent now.
    fn before_tftp<'a>(
        &'a self,
        path: &'a RepositoryPath,
        site: &'a Site,
        address: Ipv4Addr,
    ) -> Noting<'a>;

    /// Whether the signature of this open file is good, by a key of the keyring. Asks the disk.
    fn is_verified(&self, path: &RepositoryPath, opened: &Opened) -> bool;

    /// The image of the machine it is named after.
    fn image<'a>(
        &'a self,
        verb: Verb,
        name: &'a Name,
        site: &'a Arc<Site>,
        arrival: Arrival,
    ) -> Composing<'a>;

    /// Whether a machine has this token now.
    fn knows(&self, token: Token) -> bool;

    /// The text that answers this request, from this site. iPXE shows only the number of a status
    /// above 299, so that what a machine's console is to show is a script like any other.
    fn render<'a>(&'a self, script: &'a Script, site: &'a Site, arrival: Arrival) -> Rendering<'a>;
}

/// A reply that may have to wait for the ledger's disk.
pub type Noting<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// A text that may have to wait for the ledger's disk.
pub type Rendering<'a> = Pin<Box<dyn Future<Output = String> + Send + 'a>>;

/// An image that may have to wait for the ledger's disk.
pub type Composing<'a> = Pin<Box<dyn Future<Output = Result<Composed, Refusal>> + Send + 'a>>;

/// Where a request came from and arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Arrival {
    /// The client.
    pub peer: SocketAddr,
    /// The address of ours it asked: what `base_url` is made of.
    pub local: SocketAddr,
}

/// A text that is made for whoever asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// What it is for.
    pub kind: Kind,
    /// The whole body.
    pub text: Bytes,
    /// The machine that it was made for, where that is known.
    pub mac: Option<Mac>,
}

/// An EFI program that is sent piece by piece, and the files that its pieces are of.
#[derive(Debug)]
pub struct Composed {
    /// Its pieces, in order.
    pub image: Image,
    /// The kernel.
    pub(super) kernel: Held,
    /// The initrds, by their index.
    pub(super) initrds: Vec<Held>,
}

/// Serves until the drain begins, then finishes what goes on: downloads to their end, idle
/// connections at once.
pub async fn run(listener: TcpListener, service: Service, mut drain: Drain) -> io::Result<()> {
    let room = Room::new(service.limits);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = drain.begun() => break,
            // A panic ends its own connection only; the runtime has reported it by then.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_passing(&error) => {
                service.journal.silence("http", "accept-failed");
                sleep(BREATH).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let admitted = tokio::select! {
            () = drain.begun() => break,
            admitted = admit(&room, &service, peer) => admitted,
        };
        let Some(guest) = admitted else { continue };
        let number = guest.number();
        let (service, drain) = (service.clone(), drain.clone());
        let task = connections.spawn(async move {
            let activity = Arc::clone(guest.activity());
            connection::serve(stream, peer, (service, activity), drain).await;
            drop(guest);
        });
        Guest::is_served_by(&room, number, task);
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// A place for this client, once there is one; others wait in the kernel's queue. `None` where its
/// host has its share.
async fn admit(room: &Room, service: &Service, peer: SocketAddr) -> Option<Guest> {
    let host = Host::of(peer.ip());
    let boots = match host {
        Host::Card(card) => service.journal.boots(card),
        Host::Address(_) => false,
    };
    loop {
        let reason = match room.admit(Asker { host, boots }) {
            Admission::Enter { guest, evicted: false } => return Some(guest),
            Admission::Enter { guest, evicted: true } => {
                tell(room, service, "connection-closed-for-another");
                return Some(guest);
            }
            Admission::TooMany => {
                tell(room, service, "too-many-connections");
                return None;
            }
            Admission::Full => "all-connections-taken",
        };
        tell(room, service, reason);
        room.freed().await;
    }
}

/// Counts it, and tells the operator once a minute.
fn tell(room: &Room, service: &Service, reason: &'static str) {
    service.journal.silence("http", reason);
    if room.is_news() {
        tracing::warn!(
            step = "full",
            protocol = "http",
            reason,
            "HTTP: {reason}: {} connections at once, fewer for each host while many are taken",
            service.limits.connections
        );
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Whether accepting may go on: errors of the one connection, and want of resources.
fn is_passing(error: &io::Error) -> bool {
    use nix::errno::Errno;
    error.raw_os_error().is_none_or(|code| {
        !matches!(Errno::from_raw(code), Errno::EBADF | Errno::EINVAL | Errno::ENOTSOCK)
    })
}
