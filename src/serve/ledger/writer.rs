//! The one thread that changes the ledger: many changes, one transaction, then the book.

use std::{
    collections::{HashMap, HashSet, hash_map},
    net::Ipv4Addr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    NoteError, Shared, clock,
    disk::{Disk, Lines, Row},
    now,
    steps::steps,
};
use crate::{
    ledger::{Book, Entry, Event, Full, Moment, Record},
    machine::{Mac, Machine},
    trace::Who,
};

/// Changes that share a transaction.
const AT_ONCE: usize = 512;

/// For so long after an error nothing is tried: to open the file again is to read all of it, and a
/// full disk is no emptier for that.
pub(super) const PAUSE: Duration = Duration::from_secs(1);
/// How often it is told that machines were forgotten to make room.
const TELL: Duration = Duration::from_secs(60);

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
    /// Nothing changes: the answer is the record with the history that is on disk.
    Read,
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
    /// Machines that were forgotten to make room since that was told last, and when that was.
    made_room: (usize, Option<Instant>),
}

impl Writer {
    pub(super) fn new(disk: Disk, shared: Arc<Shared>, changes: mpsc::Receiver<Change>) -> Self {
        Self { disk, shared, changes, failed: None, led: 0, made_room: (0, None) }
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
        let (mut answers, mut reads) = (Vec::new(), Vec::new());
        for Change { mac, what, answer } in batch {
            if matches!(what, What::Read) {
                reads.push((mac, answer));
                continue;
            }
            let outcome = match &recovered {
                Ok(()) => draft.apply(mac, what),
                Err(error) => Err(error.clone()),
            };
            answers.push((answer, outcome));
        }
        let gone = draft.gone;
        let mut rows = draft.rows();
        let changed = rows.iter().map(|(&mac, row)| (mac, row.as_ref()));
        let written = match rows.is_empty() {
            true => Ok(()),
            false => self.disk.write(changed).map_err(NoteError::Disk),
        };
        match &written {
            Ok(()) => {
                self.publish(rows.drain().map(|(mac, row)| (mac, row.map(|row| row.record))));
                self.tell_who_went(gone);
            }
            Err(error) => self.fails(error),
        }
        for (answer, outcome) in answers {
            let Some(answer) = answer else { continue };
            // Who asked may have gone meanwhile.
            let _ = answer.send(written.clone().and(outcome));
        }
        for (mac, answer) in reads {
            let Some(answer) = answer else { continue };
            let _ = answer.send(self.read(mac));
        }
    }

    /// The record with its history; where the disk is in the way, with the end of that.
    fn read(&self, mac: Mac) -> Result<Record, NoteError> {
        let mut record = self.shared.book().get(mac).cloned().ok_or(NoteError::Unknown(mac))?;
        if let Some(history) = self.disk.history(mac) {
            record.history = history;
        }
        Ok(record)
    }

    /// Tells how many machines were forgotten to make room, now and then: anybody can make them up.
    fn tell_who_went(&mut self, gone: usize) {
        let (count, told) = &mut self.made_room;
        *count += gone;
        if *count > 0 && told.is_none_or(|told| told.elapsed() >= TELL) {
            let count = std::mem::take(count);
            *told = Some(Instant::now());
            tracing::warn!(
                "the ledger forgot {count} machines that nothing was done to, those that were \
                 heard of longest ago, to make room for new ones"
            );
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

    fn publish(&self, changed: impl Iterator<Item = (Mac, Option<Box<Record>>)>) {
        let mut told = Vec::new();
        let mut book = self.shared.book_to_change();
        for (mac, record) in changed {
            let Some(record) = record else {
                book.remove(mac);
                continue;
            };
            told.extend(steps(book.get(mac), &record).into_iter().map(|step| (mac, step)));
            // There is room: the draft has counted.
            book.take_up(record);
        }
        drop(book);
        for (mac, step) in told {
            self.shared.journal.step(Who::Machine(mac), &step);
        }
    }
}

/// A book of these records; of two with one address, the one that was heard of later has it.
pub(super) fn book_of(mut records: Vec<(Moment, Box<Record>)>) -> Book {
    records.sort_by_key(|(last_seen, _)| *last_seen);
    let (mut book, now) = (Book::default(), now());
    for (_, record) in records {
        book.take_up(Box::new(record.taken_up(now)));
    }
    book
}

/// What a batch makes of the book, before it is written.
struct Draft<'a> {
    shared: &'a Shared,
    changed: HashMap<Mac, Option<Box<Record>>>,
    /// Machines whose record begins anew in this batch.
    begun: HashSet<Mac>,
    /// Addresses that changed hands in this batch.
    moved: HashMap<Ipv4Addr, Mac>,
    /// Records that there are more than in the book.
    more: usize,
    /// Records that went to make room.
    gone: usize,
    most_attempts: u32,
    now: Moment,
}

impl<'a> Draft<'a> {
    fn new(shared: &'a Shared) -> Self {
        let most_attempts = shared.most_attempts.load(Ordering::Relaxed);
        let (changed, begun, moved) = (HashMap::new(), HashSet::new(), HashMap::new());
        Self { shared, changed, begun, moved, more: 0, gone: 0, most_attempts, now: now() }
    }

    /// The rows to write: each record, and the change of its history.
    fn rows(self) -> HashMap<Mac, Option<Row>> {
        let book = self.shared.book();
        let row = |(mac, record): (Mac, Option<Box<Record>>)| {
            let row = record.map(|mut record| {
                let end: Vec<Entry> = record.split_history();
                let lines = match book.get(mac) {
                    _ if self.begun.contains(&mac) => Lines::All(end),
                    Some(known) if known.history == end => Lines::Same,
                    Some(_) | None => Lines::End(end),
                };
                Row { record, lines }
            });
            (mac, row)
        };
        self.changed.into_iter().map(row).collect()
    }

    /// Makes room for one record more, at the cost of those that nothing is lost with.
    fn make_room(&mut self, is_ordered: bool) -> Result<(), NoteError> {
        let is_full = !self.shared.book().has_room(self.more + 1, false);
        // Once a batch: what is gone is in the book until it is written.
        if self.gone == 0 {
            for mac in self.book(|book| book.oldest_expendable(is_full)) {
                if let hash_map::Entry::Vacant(place) = self.changed.entry(mac) {
                    place.insert(None);
                    self.gone += 1;
                }
            }
        }
        let more = (self.more + 1).saturating_sub(self.gone);
        match self.shared.book().has_room(more, is_ordered) {
            true => Ok(()),
            false => Err(NoteError::Full(Full)),
        }
    }

    fn apply(&mut self, mac: Mac, what: What) -> Result<Record, NoteError> {
        let known = self.known(mac);
        let (record, events) = match what {
            What::Forget => {
                let record = known.ok_or(NoteError::Unknown(mac))?;
                self.changed.insert(mac, None);
                self.begun.remove(&mac);
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
            What::Read => return known.ok_or(NoteError::Unknown(mac)),
        };
        if known.is_none() {
            self.make_room(events.iter().any(|event| matches!(event, Event::Ordered(_))))?;
        }
        let mut next = record;
        let mut took = Vec::new();
        for event in &events {
            next = next.after(event, self.most_attempts, self.now).map_err(NoteError::Refused)?;
            if let Event::Address(address) = event {
                took.push(*address);
            }
        }
        if known.is_none() {
            self.more += 1;
            self.begun.insert(mac);
        }
        for address in took {
            self.moves(address, mac);
        }
        // A LAN that repeats itself writes nothing.
        if known.is_none_or(|known| !next.says_no_more_than(&known)) {
            self.changed.insert(mac, Some(Box::new(next.clone())));
        }
        // As the book has it once it is written.
        next.split_history();
        Ok(next)
    }

    fn known(&self, mac: Mac) -> Option<Record> {
        match self.changed.get(&mac) {
            Some(changed) => changed.as_deref().cloned(),
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
            self.changed.insert(holder, Some(Box::new(record.without_address(address))));
        }
    }

    fn book<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.shared.book())
    }
}
