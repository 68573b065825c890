//! The one thread that changes the ledger: many changes, one transaction, then the book.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::{NoteError, Shared, clock, disk::Disk, now, steps::steps};
use crate::{
    ledger::{Book, Event, Full, Moment, Record},
    machine::{Mac, Machine},
    trace::Who,
};

/// Changes that share a transaction.
const AT_ONCE: usize = 512;

/// For so long after an error nothing is tried: to open the file again is to read all of it, and a
/// full disk is no emptier for that.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// One thing to write down.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) mac: Mac,
    pub(super) what: What,
    pub(super) answer: Option<oneshot::Sender<Result<Record, NoteError>>>,
}

#[derive(Debug)]
pub(super) enum What {
    Forget,
    Meet(Machine, Vec<Event>),
    Note(Vec<Event>),
    /// Only while the machine is still as it is here.
    NoteIf(Box<Record>, Vec<Event>),
}

/// What the thread owns.
pub(super) struct Writer {
    disk: Disk,
    shared: Arc<Shared>,
    changes: mpsc::Receiver<Change>,
    /// What the disk said last, and when, while it takes nothing.
    failed: Option<(Instant, NoteError)>,
    /// How far the moments of the book have followed a clock that was set.
    led: i64,
}

impl Writer {
    pub(super) fn new(disk: Disk, shared: Arc<Shared>, changes: mpsc::Receiver<Change>) -> Self {
        Self { disk, shared, changes, failed: None, led: 0 }
    }

    /// Writes until nobody is left who could ask.
    pub(super) fn run(mut self) {
        while let Some(first) = self.changes.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < AT_ONCE
                && let Ok(next) = self.changes.try_recv()
            {
                batch.push(next);
            }
            self.settle(batch);
        }
    }

    fn settle(&mut self, batch: Vec<Change>) {
        let recovered = self.recover();
        self.follow_clock();
        let mut draft = Draft::new(&self.shared);
        let mut answers = Vec::new();
        for Change { mac, what, answer } in batch {
            let outcome = match &recovered {
                Ok(()) => draft.apply(mac, what),
                Err(error) => Err(error.clone()),
            };
            answers.push((answer, outcome));
        }
        let changed = draft.changed;
        let records = changed.iter().map(|(&mac, record)| (mac, record.as_ref()));
        let written = match changed.is_empty() {
            true => Ok(()),
            false => self.disk.write(records).map_err(NoteError::Disk),
        };
        match &written {
            Ok(()) => self.publish(changed),
            Err(error) => self.fails(error),
        }
        for (answer, outcome) in answers {
            let Some(answer) = answer else { continue };
            // Who asked may have gone meanwhile.
            let _ = answer.send(written.clone().and(outcome));
        }
    }

    /// Only here, as a record that is being changed would keep its old moments.
    fn follow_clock(&mut self) {
        let mut book = self.shared.book_to_change();
        if let Some(step) = clock::follow(&mut self.led) {
            book.take(step);
            drop(book);
            tracing::info!("the system's clock was set by {} s: moments follow it", step.by);
        }
    }

    /// After an error of the disk: what the file holds is what happened.
    fn recover(&mut self) -> Result<(), NoteError> {
        if let Some((at, error)) = &self.failed
            && at.elapsed() < PAUSE
        {
            return Err(error.clone());
        }
        match self.disk.recover() {
            None => {}
            Some(Ok(records)) => {
                *self.shared.book_to_change() = book_of(records);
            }
            Some(Err(error)) => {
                let error = NoteError::Disk(error.to_string());
                self.fails(&error);
                return Err(error);
            }
        }
        self.failed = None;
        Ok(())
    }

    fn fails(&mut self, error: &NoteError) {
        self.shared.journal.ledger_failed(error);
        self.failed = Some((Instant::now(), error.clone()));
    }

    fn publish(&self, changed: HashMap<Mac, Option<Record>>) {
        let mut told = Vec::new();
        let mut book = self.shared.book_to_change();
        for (mac, record) in changed {
            let Some(record) = record else {
                book.remove(mac);
                continue;
            };
            told.extend(steps(book.get(mac), &record).into_iter().map(|step| (mac, step)));
            // There is room: the draft has counted.
            let _ = book.put(record);
        }
        drop(book);
        for (mac, step) in told {
            self.shared.journal.step(Who::Machine(mac), &step);
        }
    }
}

/// A book of these records; of two with one address, the one that was heard of later has it.
pub(super) fn book_of(mut records: Vec<Record>) -> Book {
    records.sort_by_key(|record| record.last_seen);
    let (mut book, now) = (Book::default(), now());
    for record in records {
        // As many as were put into it before.
        let _ = book.put(record.taken_up(now));
    }
    book
}

/// What a batch makes of the book, before it is written.
struct Draft<'a> {
    shared: &'a Shared,
    changed: HashMap<Mac, Option<Record>>,
    /// Addresses that changed hands in this batch.
    moved: HashMap<Ipv4Addr, Mac>,
    room: usize,
    most_attempts: u32,
    now: Moment,
}

impl<'a> Draft<'a> {
    fn new(shared: &'a Shared) -> Self {
        let room = shared.book().room();
        let most_attempts = shared.most_attempts.load(Ordering::Relaxed);
        let (changed, moved) = (HashMap::new(), HashMap::new());
        Self { shared, changed, moved, room, most_attempts, now: now() }
    }

    fn apply(&mut self, mac: Mac, what: What) -> Result<Record, NoteError> {
        let known = self.known(mac);
        let (record, events) = match what {
            What::Forget => {
                let record = known.ok_or(NoteError::Unknown(mac))?;
                self.changed.insert(mac, None);
                return Ok(record);
            }
            What::Meet(machine, events) => match known.clone() {
                // Who has told nothing yet is no news of who has.
                Some(record) if machine.labels.is_none() => (record, events),
                Some(record) => (record, [vec![Event::Told(machine)], events].concat()),
                None => (Record::new(machine, self.now), events),
            },
            What::NoteIf(expected, events) => {
                let known = known.clone().ok_or(NoteError::Unknown(mac))?;
                if !expected.says_no_more_than(&known) {
                    return Err(NoteError::Changed);
                }
                (known, events)
            }
            What::Note(events) => (known.clone().ok_or(NoteError::Unknown(mac))?, events),
        };
        if known.is_none() {
            self.room = self.room.checked_sub(1).ok_or(NoteError::Full(Full))?;
        }
        let mut next = record;
        let mut took = Vec::new();
        for event in &events {
            next = next.after(event, self.most_attempts, self.now).map_err(NoteError::Refused)?;
            if let Event::Address(address) = event {
                took.push(*address);
            }
        }
        for address in took {
            self.moves(address, mac);
        }
        // A LAN that repeats itself writes nothing.
        if known.is_none_or(|known| !next.says_no_more_than(&known)) {
            self.changed.insert(mac, Some(next.clone()));
        }
        Ok(next)
    }

    fn known(&self, mac: Mac) -> Option<Record> {
        match self.changed.get(&mac) {
            Some(changed) => changed.clone(),
            None => self.book(|book| book.get(mac).cloned()),
        }
    }

    /// An address is one machine's: who had it before loses it.
    fn moves(&mut self, address: Ipv4Addr, mac: Mac) {
        let holder = match self.moved.insert(address, mac) {
            Some(holder) => Some(holder),
            None => self.book(|book| book.at(address).map(|record| record.machine.mac)),
        };
        if let Some(holder) = holder.filter(|&holder| holder != mac)
            && let Some(record) = self.known(holder)
        {
            self.changed.insert(holder, Some(record.without_address(address)));
        }
    }

    fn book<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.shared.book())
    }
}
