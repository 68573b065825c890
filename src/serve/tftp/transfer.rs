//! One client's task: its transfers, one after the other, as their sessions decide.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsRawFd,
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::socket::{MsgFlags, recv};
use socket2::SockRef;
use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
    time::Sleep,
};

use super::{
    Progress,
    content::Sent,
    courier::{Courier, is_lost},
};
use crate::{
    http::{named::Named, route::Script},
    ledger::Piece,
    path::RepositoryPath,
    serve::{
        disk::{Area, Held},
        http::{Arrival, Scripts},
        journal::Journal,
        site::Site,
        store::OpenError,
    },
    tftp::{self, Action, Code, ReadRequest, Session, file_name},
    trace::{End, Protocol, Step, Transfer, Who},
};

/// The same request from the same port after this long is a machine that started anew; before, it
/// is a retry that crossed our answer.
const RESTARTED: Duration = Duration::from_secs(1);
/// Longer datagrams are cut: an ACK has 4 bytes, an ERROR a text for the log.
const LONGEST_DATAGRAM: usize = 256;
/// Of images and signatures: what the ledger knows of them it sees over HTTP.
const OVER_HTTP_ONLY: &str = "what goes onto a disk, and its signature, are sent over HTTP only";
/// More than a socket's queue holds.
const MOST_QUEUED: usize = 512;

/// The error that a client is told in place of a file.
type Failure = (Code, String);

/// Who is served, and with what.
pub(super) struct Client {
    pub(super) client: SocketAddrV4,
    pub(super) address: Ipv4Addr,
    pub(super) mtu: u16,
    /// The interface its socket belongs to, where the service's does.
    pub(super) device: Option<Vec<u8>>,
    pub(super) site: watch::Receiver<Arc<Site>>,
    pub(super) journal: Journal,
    /// Who renders what is no file.
    pub(super) scripts: Arc<dyn Scripts>,
    /// How far it is.
    pub(super) progress: Arc<Progress>,
}

impl Client {
    /// Serves this request, and those that come from the same port meanwhile.
    pub(super) async fn serve(self, first: ReadRequest, mut again: mpsc::Receiver<ReadRequest>) {
        let mut request = Some(first);
        while let Some(now) = request {
            request = self.transfer(&now, &mut again).await;
            if request.is_none() {
                // What came in this moment is not lost: the service finds the channel closed.
                again.close();
                request = again.try_recv().ok();
            }
        }
    }

    /// One transfer; returns the request that ended it, if one did.
    async fn transfer(
        &self,
        request: &ReadRequest,
        again: &mut mpsc::Receiver<ReadRequest>,
    ) -> Option<ReadRequest> {
        let started = Instant::now();
        let socket = match self.socket().await {
            Ok(socket) => socket,
            Err(error) => {
                let reason = format!("no socket for it: {error}");
                self.report(request, End::Refuse { reason }, 0, 0, started);
                return None;
            }
        };
        let site = Arc::clone(&self.site.borrow());
        let sent = match self.find(request, &site).await {
            Ok(sent) => sent,
            Err((code, reason)) => {
                let _ = socket.send(&tftp::error(code, &reason)).await;
                self.report(request, End::Refuse { reason }, 0, 0, started);
                return None;
            }
        };
        drop(site);
        let size = sent.len();
        // A text may have taken its time; the client's clock began with its request all the same.
        let (session, first) = Session::start(request, size, self.mtu, Instant::now());
        let (end, bytes, next) =
            Ride::new(request, session, socket, sent, &self.progress).run(first, again).await;
        if matches!(end, End::Complete) {
            self.scripts.has_fetched(&request.path, &self.site.borrow(), *self.client.ip());
        }
        self.report(request, end, bytes, size, started);
        next
    }

    /// The file, or where there is none, the text of ours that goes by its name.
    async fn find(&self, request: &ReadRequest, site: &Arc<Site>) -> Result<Sent, Failure> {
        let path = &request.path;
        match self.open(path, site).await? {
            Ok(held) => {
                let noted = self.scripts.before_tftp(path, site, *self.client.ip()).await;
                noted.map_err(|reason| (Code::NotDefined, reason))?;
                Ok(Sent::File(Arc::new(held)))
            }
            Err(error) => match (&error, Named::read(path)) {
                (OpenError::NotFound, Some(named)) => {
                    let local = (self.address, 0).into();
                    let arrival = Arrival { peer: self.client.into(), local };
                    let script = Script::Named(named);
                    Ok(Sent::Text(self.scripts.render(&script, site, arrival).await))
                }
                _ => Err((code(&error), error.to_string())),
            },
        }
    }

    /// Opens a file on the disk's threads; the inner error is of the file, the outer of all else.
    async fn open(
        &self,
        path: &RepositoryPath,
        site: &Arc<Site>,
    ) -> Result<Result<Held, OpenError>, Failure> {
        let area = Area::of(path);
        // A boot program of our own is no part of a release, and needs no disk.
        if path.folder().is_none()
            && let Some(opened) = site.store.read_embedded(path)
        {
            return Ok(Ok(area.hold(opened)));
        }
        let open = {
            let (area, path) = (area.clone(), path.clone());
            let (site, scripts) = (Arc::clone(site), Arc::clone(&self.scripts));
            move || {
                let opened = match site.read(&path) {
                    Ok(opened) => area.hold(opened),
                    Err(error) => return Ok(Err(error)),
                };
                if Piece::of(path.as_bytes()) != Piece::Boot {
                    return Err((Code::AccessViolation, OVER_HTTP_ONLY.to_owned()));
                }
                let admitted = scripts.admits(&path);
                admitted.map_err(|refusal| (Code::NotDefined, refusal.to_string()))?;
                Ok(Ok(opened))
            }
        };
        area.look(open).await.map_err(|stall| {
            self.journal.silence("disk", stall.label());
            (Code::NotDefined, stall.to_string())
        })?
    }

    async fn socket(&self) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((self.address, 0)).await?;
        // The answer stays on the LAN the request came from, whatever source it claims.
        SockRef::from(&socket).bind_device(self.device.as_deref())?;
        socket.connect(self.client).await?;
        Ok(socket)
    }

    fn report(&self, request: &ReadRequest, end: End, bytes: u64, size: u64, started: Instant) {
        let file = file_name(request.path.as_bytes());
        let took = started.elapsed();
        let transfer = Transfer { protocol: Protocol::Tftp, file, end, bytes, size, took };
        self.journal.step(Who::Address(*self.client.ip()), &Step::Transfer(transfer));
    }
}

/// A session that goes on, with all it needs.
struct Ride<'a> {
    request: &'a ReadRequest,
    session: Session,
    courier: Courier,
    progress: &'a Progress,
}

impl<'a> Ride<'a> {
    fn new(
        request: &'a ReadRequest,
        session: Session,
        socket: UdpSocket,
        sent: Sent,
        progress: &'a Progress,
    ) -> Self {
        let courier = Courier::new(socket, sent, &session);
        Self { request, session, courier, progress }
    }

    /// Runs the session to its end: how, how many bytes arrived, and the request that cut in.
    async fn run(
        mut self,
        first: Action,
        again: &mut mpsc::Receiver<ReadRequest>,
    ) -> (End, u64, Option<ReadRequest>) {
        let mut sleep = pin!(tokio::time::sleep_until(self.session.deadline().into()));
        let mut action = first;
        let mut next = None;
        let end = loop {
            match self.act(action).await {
                Some(end) => break end,
                None => rearm(sleep.as_mut(), self.session.deadline()),
            }
            action = tokio::select! {
                biased;
                ready = self.courier.socket.readable() => self.read(ready),
                request = again.recv() => {
                    let Some(request) = request else { break seat_taken() };
                    let (end, request) = self.asked_again(request).await;
                    match end {
                        Some(end) => {
                            next = request;
                            break end;
                        }
                        None => self.session.repeat(Instant::now()),
                    }
                }
                () = &mut sleep => self.session.time_out(Instant::now()),
            };
        };
        (end, self.session.acknowledged(), next)
    }

    /// Does what the session says; returns the end where that ends it.
    async fn act(&mut self, action: Action) -> Option<End> {
        match action {
            Action::End(end) => Some(end),
            Action::Send(flight) => self.courier.send(&self.session, flight).await.err(),
            Action::Wait => None,
        }
    }

    /// Takes one datagram off the socket, if there is one.
    fn read(&mut self, ready: io::Result<()>) -> Action {
        let mut buffer = [0; LONGEST_DATAGRAM];
        let received = ready.and_then(|()| self.courier.socket.try_recv(&mut buffer));
        self.take(&buffer, received).unwrap_or(Action::Wait)
    }

    /// What the session says to what was received; `None` where nothing was.
    fn take(&mut self, buffer: &[u8], received: io::Result<usize>) -> Option<Action> {
        match received {
            Ok(length) => {
                let action = self.session.take(&buffer[..length], Instant::now());
                if self.session.is_proven() {
                    self.progress.has(self.session.acknowledged(), Instant::now());
                }
                Some(action)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_lost(&error) => None,
            Err(error) => Some(Action::End(Courier::unreachable(&error))),
        }
    }

    /// The client sent a request again. What it sent before that, an ERROR perhaps, is read first,
    /// so that an abort with a request right behind it is a new transfer.
    async fn asked_again(&mut self, request: ReadRequest) -> (Option<End>, Option<ReadRequest>) {
        for _ in 0..MOST_QUEUED {
            // Past tokio, which knows of what came only after it has polled the next time.
            let mut buffer = [0; LONGEST_DATAGRAM];
            let received =
                recv(self.courier.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT);
            let Some(action) = self.take(&buffer, received.map_err(io::Error::from)) else { break };
            if let Some(end) = self.act(action).await {
                return (Some(end), Some(request));
            }
        }
        let restarted = self.session.is_proven() && self.session.started().elapsed() >= RESTARTED;
        if restarted || request != *self.request {
            let reason = "another request from the same port".to_owned();
            return (Some(End::Abort { reason }), Some(request));
        }
        (None, None)
    }
}

/// Nobody can ask again where the service has given the seat to another.
fn seat_taken() -> End {
    let reason = "all seats are taken, and it makes no progress or its host has most of them";
    End::Fail { reason: reason.to_owned() }
}

/// Moves the alarm only where it would ring too late: one that rings early asks the session again,
/// which is cheaper than moving it for every ACK.
fn rearm(sleep: Pin<&mut Sleep>, deadline: Instant) {
    if sleep.is_elapsed() || deadline < sleep.deadline().into_std() {
        sleep.reset(deadline.into());
    }
}

fn code(error: &OpenError) -> Code {
    match error {
        OpenError::Io(_) => Code::NotDefined,
        OpenError::NotAFile | OpenError::NotFound => Code::NotFound,
        OpenError::Config | OpenError::Outside | OpenError::Token => Code::AccessViolation,
    }
}
