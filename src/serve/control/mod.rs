//! The local socket: an operator's commands, each a connection of one request.
//!
//! Nothing that a client does here ends the service or holds it up: it is bounded in number, in
//! length and in time.

pub mod link;
mod listener;

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use nix::unistd::geteuid;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use super::{
    drain::Drain,
    ledger::{Ledger, NoteError},
    releases::Proofs,
    site::Site,
};
use crate::{
    control::{Choice, LONGEST_REQUEST, Refusal, Reply, Request, Sheet, Step},
    ledger::{self, Event, Order, Record},
    machine::{Mac, Machine},
    release::Gate,
};
pub(super) use listener::Listener;
pub use listener::OpenError;

/// Commands at once.
const MOST: usize = 64;
/// How long a client may take to ask: those that say nothing keep others waiting no longer.
const QUESTION: Duration = Duration::from_secs(1);
/// How long a client may take to read a part of its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before the next try, where the system has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);
/// Machines told of in one piece: a long list must not be copied whole.
const PIECE: usize = 64;

/// What commands ask about.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) ledger: Ledger,
    pub(super) site: watch::Receiver<Arc<Site>>,
    pub(super) proofs: watch::Receiver<Arc<Proofs>>,
}

/// The site as one command sees it, and why profiles of it are not served now.
struct Snapshot {
    site: Arc<Site>,
    closed: BTreeMap<String, String>,
}

/// Answers commands until asked to finish.
pub(super) async fn run(listener: Listener, desk: Desk, mut drain: Drain) -> io::Result<()> {
    let seats = Arc::new(Semaphore::new(MOST));
    let mut visits = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = seat_next(&listener, &seats) => accepted,
            Some(_) = visits.join_next() => continue,
            () = drain.begun() => break,
        };
        let (mut stream, seat) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a command could not be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let desk = desk.clone();
        visits.spawn(async move {
            let _seat = seat;
            if let Err(error) = desk.attend(&mut stream).await {
                tracing::debug!(%error, "a command was not answered");
            }
        });
    }
    // New ones find no socket; those that were heard are answered.
    drop(listener);
    while visits.join_next().await.is_some() {}
    Ok(())
}

/// The next command, once there is a seat for it: until then it waits in the socket's queue, and
/// not for long, as those before it are bounded in time.
async fn seat_next(
    listener: &Listener,
    seats: &Arc<Semaphore>,
) -> io::Result<(UnixStream, OwnedSemaphorePermit)> {
    let seat = Arc::clone(seats).acquire_owned().await.map_err(io::Error::other)?;
    Ok((listener.accept().await?, seat))
}

impl Desk {
    async fn attend(&self, stream: &mut UnixStream) -> io::Result<()> {
        let uid = stream.peer_cred()?.uid();
        let request = if uid == 0 || uid == geteuid().as_raw() {
            match timeout(QUESTION, read(stream)).await?? {
                Some(request) => request,
                None => return Ok(()),
            }
        } else {
            Err(Refusal::NotPermitted { uid })
        };
        let last = match request {
            Ok(request) => match self.answer(stream, &request, uid).await? {
                Ok(()) => Reply::End,
                Err(refusal) => Reply::Refused(refusal),
            },
            Err(refusal) => Reply::Refused(refusal),
        };
        send(stream, &last.line()?).await
    }

    async fn answer(
        &self,
        stream: &mut UnixStream,
        request: &Request,
        uid: u32,
    ) -> io::Result<Result<(), Refusal>> {
        if !self.ledger.remembers() {
            return Ok(Err(Refusal::NoLedger));
        }
        let site = Arc::clone(&self.site.borrow());
        let shared = site.config.catalog.shared_uuids();
        let step = match self.ledger.with(|book| request.step(book, shared)) {
            Ok(step) => step,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let record = match step {
            Step::Forget(mac) => {
                return Ok(match self.ledger.forget(mac).await {
                    Ok(_) => {
                        tracing::info!("{mac}: forgotten, as user {uid} asked");
                        Ok(())
                    }
                    Err(error) => Err(refusal(mac, error)),
                });
            }
            Step::List => return self.list(stream).await.map(Ok),
            Step::Strangers => return self.strangers(stream).await.map(Ok),
            Step::Order(mac, order) => match self.order(mac, &order).await {
                Ok(record) => {
                    tracing::info!("{mac}: {}, as user {uid} asked", words(&order));
                    record
                }
                Err(error) => return Ok(Err(refusal(mac, error))),
            },
            Step::Show(mac) => match self.ledger.with(|book| book.get(mac).cloned()) {
                Some(record) => record,
                None => return Ok(Err(Refusal::Unknown(mac.into()))),
            },
        };
        let snapshot = self.snapshot().await?;
        let record = self.ledger.read(record.machine.mac).await.unwrap_or(record);
        let sheet = self.sheet(&record, &snapshot).with_history(&record);
        let sheet = self.ledger.with(|book| sheet.with_same_uuid(book));
        send(stream, &Reply::Machine(Box::new(sheet)).line()?).await?;
        Ok(Ok(()))
    }

    /// Writes an order down, for a machine that has not been seen yet, too.
    async fn order(&self, mac: Mac, order: &Order) -> Result<Record, NoteError> {
        let event = Event::Ordered(order.clone());
        match self.ledger.note(mac, event.clone()).await {
            Err(NoteError::Unknown(_)) if matches!(order, Order::Hold(_) | Order::Installed) => {
                self.ledger.meet(Machine::heard(mac, None, None), vec![event]).await
            }
            noted => noted,
        }
    }

    async fn list(&self, stream: &mut UnixStream) -> io::Result<()> {
        let mut macs: Vec<Mac> =
            self.ledger.with(|book| book.records().map(|record| record.machine.mac).collect());
        macs.sort();
        let snapshot = self.snapshot().await?;
        for piece in macs.chunks(PIECE) {
            let records: Vec<Record> = self
                .ledger
                .with(|book| piece.iter().filter_map(|&mac| book.get(mac).cloned()).collect());
            let mut lines = Vec::new();
            for record in &records {
                lines.extend(Reply::Machine(Box::new(self.sheet(record, &snapshot))).line()?);
            }
            send(stream, &lines).await?;
        }
        Ok(())
    }

    /// Looks at the releases once for all the machines of an answer, off the async threads.
    async fn snapshot(&self) -> io::Result<Snapshot> {
        let site = Arc::clone(&self.site.borrow());
        let proofs = Arc::clone(&self.proofs.borrow());
        let looked = spawn_blocking(move || {
            let closed = site.config.catalog.profiles().iter().filter_map(|profile| {
                let (Gate::Closed(reason) | Gate::Pending(reason)) = proofs.gate(profile) else {
                    return None;
                };
                Some((profile.name.clone(), reason))
            });
            let closed = closed.collect();
            Snapshot { site, closed }
        });
        looked.await.map_err(io::Error::other)
    }

    async fn strangers(&self, stream: &mut UnixStream) -> io::Result<()> {
        let heard = self.ledger.without_a_record().into_iter();
        let heard: Vec<Record> = heard.map(|(machine, at)| Record::new(machine, at)).collect();
        let snapshot = self.snapshot().await?;
        for piece in heard.chunks(PIECE) {
            let mut lines = Vec::new();
            for record in piece {
                lines.extend(Reply::Machine(Box::new(self.sheet(record, &snapshot))).line()?);
            }
            send(stream, &lines).await?;
        }
        Ok(())
    }

    fn sheet(&self, record: &Record, snapshot: &Snapshot) -> Sheet {
        let Snapshot { site, closed } = snapshot;
        let (catalog, most) = (&site.config.catalog, self.ledger.most_attempts());
        let choice = self.ledger.with(|book| Choice::of(book, catalog, &record.machine, most));
        let sheet = Sheet::of(record, choice, most).with_shared_uuids(catalog.shared_uuids());
        if let Some(why) = site.turns_away(record.machine.mac) {
            return sheet.refused(why.to_string());
        }
        match sheet.profile.as_ref().and_then(|profile| Some((profile, closed.get(profile)?))) {
            Some((profile, reason)) => {
                let reason = format!("profile {profile} is not served: {reason}");
                sheet.refused(reason)
            }
            None => sheet,
        }
    }
}

/// Why the ledger did not take it.
fn refusal(mac: Mac, error: NoteError) -> Refusal {
    match error {
        NoteError::NoLedger => Refusal::NoLedger,
        NoteError::Refused(ledger::Refusal::NotHeld) => Refusal::NotHeld(mac),
        NoteError::Unknown(mac) => Refusal::Unknown(mac.into()),
        NoteError::Changed
        | NoteError::Disk(_)
        | NoteError::Full(_)
        | NoteError::Refused(ledger::Refusal::NotInstalling | ledger::Refusal::SharesItsUuid) => {
            Refusal::Failed(error.to_string())
        }
    }
}

/// For the log.
fn words(order: &Order) -> String {
    match order {
        Order::Hold(reason) => format!("held ({reason})"),
        Order::Installed => "said to be installed".to_owned(),
        Order::Reinstall => "to be installed again".to_owned(),
        Order::Release => "released".to_owned(),
    }
}

/// The request, or why it is none; nothing from one that only looks whether we live.
async fn read(stream: &mut UnixStream) -> io::Result<Option<Result<Request, Refusal>>> {
    let mut line = Vec::new();
    let limit = LONGEST_REQUEST as u64;
    let length = BufReader::new(stream).take(limit).read_until(b'\n', &mut line).await?;
    Ok(match line.last() {
        None => None,
        Some(b'\n') => Some(Request::read(&line)),
        Some(_) if length == LONGEST_REQUEST => {
            let why = format!("no line ends within {LONGEST_REQUEST} bytes");
            Some(Err(Refusal::Unreadable(why)))
        }
        Some(_) => Some(Err(Refusal::Unreadable("the line is cut off".to_owned()))),
    })
}

async fn send(stream: &mut UnixStream, bytes: &[u8]) -> io::Result<()> {
    timeout(PATIENCE, stream.write_all(bytes)).await?
}

#[cfg(test)]
mod tests;
