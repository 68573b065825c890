//! The table of histories in the ledger's file: a machine's address to its lines.
//!
//! All of them together have a bound. Beyond that, each history that is written keeps fewer lines.

use std::io;

use redb::{Database, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};
use serde::Deserialize;

use super::disk::{ABOUT, Lines, RECORDS, boxed};
use crate::{
    ledger::{Entry, Room},
    machine::Mac,
};

/// Hardware address to lines, as JSON. A release before kept them in the record, and ignores this.
const HISTORIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("histories");
/// Bytes of all of them, among what the file says about itself.
pub(super) const BYTES: &str = "histories";
/// Bytes from which on room is scarce: 1 KiB for each machine that there can be.
const SCARCE: u64 = 64 << 20;

type Failed = Box<redb::Error>;

/// The part of a record that a release before kept the history in.
#[derive(Deserialize)]
struct Old {
    history: Vec<Entry>,
}

/// The table in one transaction.
pub(super) struct Histories<'t> {
    table: Table<'t, &'static [u8], &'static [u8]>,
    /// Bytes of all histories.
    pub(super) bytes: u64,
}

impl<'t> Histories<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        let about = transaction.open_table(ABOUT)?;
        let bytes = about.get(BYTES)?.map_or(0, |bytes| bytes.value());
        drop(about);
        Ok(Self { table: transaction.open_table(HISTORIES)?, bytes })
    }

    /// Writes what a change makes of a machine's history, before its record is written.
    pub(super) fn write(
        &mut self,
        mac: Mac,
        lines: &Lines,
        records: &impl ReadableTable<&'static [u8], &'static [u8]>,
    ) -> Result<(), Failed> {
        let (stored, new) = match lines {
            Lines::All(new) => (Vec::new(), new.as_slice()),
            Lines::End(new) => (stored(mac, &self.table, records)?.unwrap_or_default(), &**new),
            Lines::Same if self.has(mac)? => return Ok(()),
            Lines::Same => (stored(mac, &self.table, records)?.unwrap_or_default(), &[][..]),
        };
        let room = if self.bytes > SCARCE { Room::SCARCE } else { Room::FULL };
        let text = serde_json::to_vec(&room.join(stored, new));
        let text = text.map_err(io::Error::other).map_err(boxed)?;
        let key = mac.octets();
        let before = self.table.insert(key.as_slice(), text.as_slice()).map_err(boxed)?;
        let before = before.map_or(0, |before| before.value().len());
        self.count(text.len(), before);
        Ok(())
    }

    pub(super) fn remove(&mut self, mac: Mac) -> Result<(), Failed> {
        let key = mac.octets();
        let before = self.table.remove(key.as_slice()).map_err(boxed)?;
        let before = before.map_or(0, |before| before.value().len());
        self.count(0, before);
        Ok(())
    }

    fn has(&self, mac: Mac) -> Result<bool, Failed> {
        Ok(self.table.get(mac.octets().as_slice()).map_err(boxed)?.is_some())
    }

    fn count(&mut self, more: usize, less: usize) {
        self.bytes = (self.bytes + more as u64).saturating_sub(less as u64);
    }
}

/// Reads a machine's history.
pub(super) fn read(database: &Database, mac: Mac) -> Result<Option<Vec<Entry>>, Failed> {
    let transaction = database.begin_read().map_err(boxed)?;
    let records = transaction.open_table(RECORDS).map_err(boxed)?;
    match transaction.open_table(HISTORIES) {
        Ok(histories) => stored(mac, &histories, &records),
        Err(TableError::TableDoesNotExist(_)) => old(mac, &records),
        Err(error) => Err(boxed(error)),
    }
}

fn stored(
    mac: Mac,
    histories: &impl ReadableTable<&'static [u8], &'static [u8]>,
    records: &impl ReadableTable<&'static [u8], &'static [u8]>,
) -> Result<Option<Vec<Entry>>, Failed> {
    match histories.get(mac.octets().as_slice()).map_err(boxed)? {
        Some(text) => {
            let history = serde_json::from_slice(text.value());
            history.map(Some).map_err(io::Error::other).map_err(boxed)
        }
        None => old(mac, records),
    }
}

/// The history as a release before kept it.
fn old(
    mac: Mac,
    records: &impl ReadableTable<&'static [u8], &'static [u8]>,
) -> Result<Option<Vec<Entry>>, Failed> {
    let Some(text) = records.get(mac.octets().as_slice()).map_err(boxed)? else { return Ok(None) };
    let old: Old = serde_json::from_slice(text.value()).map_err(io::Error::other).map_err(boxed)?;
    Ok(Some(old.history))
}
