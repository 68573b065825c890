//! The ledger as the services see it: a book in memory, and one writer that keeps it on disk.
//!
//! ```text
//!   dhcp, http, control ── with ──> book (memory, never waits for the disk)
//!                       └─ note ──> queue ── writer: one transaction for many ── redb
//!                                                └─ then the book, then the answer
//! ```
//!
//! The book changes only after the commit, so that nobody acts on what a crash could take back.

mod contain;
mod disk;
mod histories;
mod loss;
mod mark;
mod steps;
mod writer;

use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::{error::Elapsed, interval, timeout},
};

use super::{clock, drain::Drain, journal::Journal};
use crate::{
    ledger::{Book, Event, Full, Heard, Moment, Record, Refusal},
    machine::{Mac, Machine},
};
pub use disk::LedgerError;
pub use loss::{Known, Loss};
use writer::{Change, What, Writer};

/// How long the ledger's disk may take for what must be written first.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take for what can be done without.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);
/// Changes that may wait for the disk: a few for each machine of a VLAN that is powered on at once.
const WAITING: usize = 4096;

/// How long it is remembered what a machine told that no group matches, as long as one boot, and how
/// often that is looked at.
const STRANGERS: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_secs(60);

/// What each machine has done. Clones are the same ledger.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
    /// Absent where nothing is remembered.
    queue: Option<mpsc::Sender<Change>>,
}

struct Shared {
    book: RwLock<Book>,
    heard: Mutex<Heard>,
    most_attempts: AtomicU32,
    journal: Journal,
}

impl Ledger {
    /// Opens the file, or makes a new one where there is none.
    pub fn open(path: &Path, most_attempts: u32, journal: Journal) -> Result<Self, LedgerError> {
        let (disk, records) = disk::open(path)?;
        match records.is_empty() && disk.is_new() {
            true => tracing::info!("new ledger {}: every machine counts as new", path.display()),
            false => {
                tracing::info!("ledger {}: {} machines", path.display(), records.len());
            }
        }
        let shared = Shared::new(writer::book_of(records), most_attempts, journal);
        let (queue, changes) = mpsc::channel(WAITING);
        let writer = Writer::new(disk, Arc::clone(&shared), changes);
        std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| LedgerError::io(path, &error))?;
        Ok(Self { shared, queue: Some(queue) })
    }

    /// Looks whether the file is where one has been, without opening it.
    pub fn look(path: &Path) -> Result<(), LedgerError> {
        disk::look(path).map(drop)
    }

    /// Remembers nothing: where no profile installs, machines boot without a ledger.
    pub fn forgetful(journal: Journal) -> Self {
        Self { shared: Shared::new(Book::default(), 1, journal), queue: None }
    }

    /// Whether anything is remembered.
    pub fn remembers(&self) -> bool {
        self.queue.is_some()
    }

    /// Looks something up. Memory only.
    pub fn with<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.shared.book())
    }

    /// Attempts to install a machine before it is held.
    pub fn most_attempts(&self) -> u32 {
        self.shared.most_attempts.load(Ordering::Relaxed)
    }

    /// Follows a reload of the config.
    pub fn allow_attempts(&self, most: u32) {
        self.shared.most_attempts.store(most, Ordering::Relaxed);
    }

    /// Notes what a known machine did; the answer comes when it is on disk.
    pub async fn note(&self, mac: Mac, event: Event) -> Result<Record, NoteError> {
        self.change(mac, What::Note(vec![event])).await
    }

    /// Notes several things about a machine that is still as it was when they were decided on.
    pub async fn note_if(&self, known: Record, events: Vec<Event>) -> Result<Record, NoteError> {
        self.change(known.machine.mac, What::NoteIf(Box::new(known), events)).await
    }

    /// Notes the same of several machines; the answer comes when all of it is on disk. Who is not
    /// known by then is passed over.
    pub async fn note_each(&self, macs: Vec<Mac>, events: &[Event]) -> Result<(), NoteError> {
        let queue = self.queue.as_ref().ok_or(NoteError::NoLedger)?;
        let mut answers = Vec::new();
        for mac in macs {
            let (answer, answered) = oneshot::channel();
            let what = What::Note(events.to_vec());
            let change = Change { mac, what, answer: Some(answer) };
            queue.send(change).await.map_err(|_| NoteError::stopped())?;
            answers.push(answered);
        }
        for answered in answers {
            match answered.await.map_err(|_| NoteError::stopped())? {
                Ok(_) | Err(NoteError::Unknown(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Notes in the background what is no loss where the queue is full; that is counted.
    pub fn note_soon(&self, mac: Mac, event: Event) {
        let Some(queue) = &self.queue else { return };
        let change = Change { mac, what: What::Note(vec![event]), answer: None };
        if queue.try_send(change).is_err() {
            self.shared.journal.silence("ledger", "queue-full");
        }
    }

    /// Notes in the background what must not be lost: where the queue is full, it waits.
    pub fn note_surely(&self, mac: Mac, event: Event) {
        let Some(queue) = &self.queue else { return };
        let change = Change { mac, what: What::Note(vec![event]), answer: None };
        if let Err(mpsc::error::TrySendError::Full(change)) = queue.try_send(change) {
            let (queue, journal) = (queue.clone(), &self.shared.journal);
            match Handle::try_current() {
                // It fails only when the writer is gone, and the process with it.
                Ok(runtime) => drop(runtime.spawn(async move { queue.send(change).await })),
                Err(_) => journal.silence("ledger", "queue-full"),
            }
        }
    }

    /// Writes down a machine as it told, and what it did; makes its record where there is none.
    pub async fn meet(&self, machine: Machine, events: Vec<Event>) -> Result<Record, NoteError> {
        self.change(machine.mac, What::Meet(machine, events)).await
    }

    /// Makes a record for a machine where there is none.
    pub async fn add(&self, machine: Machine) -> Result<Record, NoteError> {
        self.meet(machine, Vec::new()).await
    }

    /// Remembers, in memory alone, what a machine told that no group matches.
    pub fn pass_by(&self, stranger: Machine) {
        self.hear(&stranger);
        self.shared.book_to_change().pass_by(stranger, now());
    }

    /// Keeps for the operator that a machine was heard to which nothing is done.
    pub fn hear(&self, machine: &Machine) {
        if self.with(|book| book.get(machine.mac).is_none()) {
            self.heard().add(machine, now());
        }
    }

    /// The machines that were heard and have no record, the newest first.
    pub fn without_a_record(&self) -> Vec<(Machine, Moment)> {
        let book = self.shared.book();
        let heard = self.heard();
        let heard = heard.newest_first().into_iter();
        let heard = heard.filter(|(machine, _)| book.get(machine.mac).is_none());
        heard.map(|(machine, at)| (machine.clone(), at)).collect()
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        // A panic leaves at worst one machine half listed.
        self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets after some minutes what such machines told, until the drain begins.
    pub async fn forget_strangers(self, mut drain: Drain) -> io::Result<()> {
        let mut look = interval(LOOK);
        loop {
            tokio::select! {
                _ = look.tick() => {
                    if clock::was_set() {
                        // The writer follows the clock, before all that it writes.
                        self.flush().await;
                    }
                    let until = Moment(now().0.saturating_sub(STRANGERS.as_secs()));
                    self.shared.book_to_change().forget_strangers(until);
                }
                () = drain.begun() => return Ok(()),
            }
        }
    }

    /// A machine's record with its history, which is on disk alone; where the disk does not answer
    /// soon, with the end of that.
    pub async fn read(&self, mac: Mac) -> Option<Record> {
        match timeout(SHORT_PATIENCE, self.change(mac, What::Read)).await {
            Ok(Ok(record)) => Some(record),
            Ok(Err(_)) | Err(_) => self.with(|book| book.get(mac).cloned()),
        }
    }

    /// Forgets a machine; the answer is what was known of it.
    pub async fn forget(&self, mac: Mac) -> Result<Record, NoteError> {
        self.change(mac, What::Forget).await
    }

    /// Waits until everything that was noted before is on disk.
    pub async fn flush(&self) {
        let Some(mac) = Mac::new([2, 0, 0, 0, 0, 0]) else { return };
        // The answer is of no interest, only that there is one.
        let _ = self.change(mac, What::Note(Vec::new())).await;
    }

    async fn change(&self, mac: Mac, what: What) -> Result<Record, NoteError> {
        let queue = self.queue.as_ref().ok_or(NoteError::NoLedger)?;
        let (answer, answered) = oneshot::channel();
        let change = Change { mac, what, answer: Some(answer) };
        queue.send(change).await.map_err(|_| NoteError::stopped())?;
        answered.await.map_err(|_| NoteError::stopped())?
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("remembers", &self.remembers()).finish_non_exhaustive()
    }
}

impl Shared {
    fn new(book: Book, most_attempts: u32, journal: Journal) -> Arc<Self> {
        let most_attempts = AtomicU32::new(most_attempts);
        let heard = Mutex::default();
        Arc::new(Self { book: RwLock::new(book), heard, most_attempts, journal })
    }

    fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn book_to_change(&self) -> RwLockWriteGuard<'_, Book> {
        self.book.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time that moments are taken from.
pub fn now() -> Moment {
    clock::now()
}

/// Why something was not written down.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoteError {
    /// Something else has happened to the machine meanwhile.
    Changed,
    /// The disk does not take it.
    Disk(String),
    /// There are too many machines.
    Full(Full),
    /// There is no ledger.
    NoLedger,
    /// It cannot have happened.
    Refused(Refusal),
    /// Nothing is known of this machine.
    Unknown(Mac),
}

/// What to say where [`PATIENCE`] is over.
pub(super) fn late<T>(_: Elapsed) -> Result<T, NoteError> {
    Err(NoteError::Disk("its disk does not answer".to_owned()))
}

impl NoteError {
    fn stopped() -> Self {
        Self::Disk("its writer has stopped".to_owned())
    }
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("something else has happened to it meanwhile"),
            Self::Disk(error) => write!(f, "the ledger cannot be written: {error}"),
            Self::Full(full) => full.fmt(f),
            Self::NoLedger => f.write_str("there is no ledger, so nothing is remembered"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Unknown(mac) => write!(f, "nothing is known of {mac}"),
        }
    }
}

impl std::error::Error for NoteError {}

#[cfg(test)]
mod tests;
