//! A machine's history: its bounds, and how new lines join those on disk.
//!
//! Memory holds the newest line alone, as a repeated event changes that line or adds nothing. The
//! lines of one change follow it; the first of them replaces the newest line on disk.

use super::{Entry, Moment, Record};

/// Bytes of one text.
const LONGEST_ENTRY: usize = 512;

/// The lines that are kept of one machine; the oldest go first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Room {
    /// How many.
    pub entries: usize,
    /// Bytes of all their texts.
    pub bytes: usize,
}

impl Room {
    /// Where there is room.
    pub const FULL: Self = Self { entries: 100, bytes: 8192 };
    /// Where all histories together have become too long.
    pub const SCARCE: Self = Self { entries: 16, bytes: 1024 };

    /// Takes away what there is no room for.
    pub fn trim(self, history: &mut Vec<Entry>) {
        for entry in history.iter_mut() {
            if entry.text.len() > LONGEST_ENTRY {
                let is_end = |at: &usize| entry.text.is_char_boundary(*at);
                let end = (0..LONGEST_ENTRY - 3).rev().find(is_end).unwrap_or_default();
                entry.text.truncate(end);
                entry.text.push('…');
            }
        }
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += entry.text.len();
            bytes <= self.bytes
        };
        let kept = history.iter().rev().take(self.entries).take_while(fits).count();
        history.drain(..history.len() - kept);
    }

    /// The history on disk after a change whose lines are `new`, the first of which is the newest
    /// line on disk as it is now.
    pub fn join(self, mut stored: Vec<Entry>, new: &[Entry]) -> Vec<Entry> {
        if !new.is_empty() {
            stored.pop();
            stored.extend_from_slice(new);
        }
        self.trim(&mut stored);
        stored
    }
}

impl Record {
    pub(super) fn note(&mut self, at: Moment, text: String) {
        self.history.push(Entry { at, text });
        self.trim_history();
    }

    /// Keeps the newest lines that there is room for.
    pub(super) fn trim_history(&mut self) {
        Room::FULL.trim(&mut self.history);
    }

    /// Takes the lines of a change out, and leaves the newest, as memory holds it.
    pub fn split_history(&mut self) -> Vec<Entry> {
        let lines = std::mem::take(&mut self.history);
        self.history = lines.last().map(|last| vec![last.clone()]).unwrap_or_default();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Mac, Machine};

    fn lines(texts: &[&str]) -> Vec<Entry> {
        let line =
            |(at, text): (usize, &&str)| Entry { at: Moment(at as u64), text: (*text).to_owned() };
        texts.iter().enumerate().map(line).collect()
    }

    fn texts(history: &[Entry]) -> Vec<&str> {
        history.iter().map(|entry| entry.text.as_str()).collect()
    }

    #[test]
    fn a_history_is_bounded_in_bytes_and_keeps_the_newest() {
        let mac = Mac::new([2, 0, 0, 0, 0, 1]).unwrap();
        let mut record = Record::new(Machine::heard(mac, None, None), Moment(0));
        for number in 0..200 {
            record.note(Moment(number), format!("{number} {}", "ä".repeat(300)));
        }
        let bytes: usize = record.history.iter().map(|entry| entry.text.len()).sum();
        assert!(bytes <= Room::FULL.bytes && bytes > Room::FULL.bytes - 2 * LONGEST_ENTRY);
        assert!(record.history.last().unwrap().text.starts_with("199 ä"));
        for number in 0..200 {
            record.note(Moment(number), number.to_string());
        }
        assert_eq!(record.history.len(), Room::FULL.entries);
    }

    #[test]
    fn a_change_replaces_the_newest_line_on_disk_and_adds_its_own() {
        let stored = lines(&["first seen", "it reports: 1 %"]);
        let joined = Room::FULL.join(stored.clone(), &lines(&["it reports: 2 %", "failed"]));
        assert_eq!(texts(&joined), ["first seen", "it reports: 2 %", "failed"]);
        assert_eq!(Room::FULL.join(stored.clone(), &[]), stored);
        assert_eq!(texts(&Room::FULL.join(Vec::new(), &lines(&["first seen"]))), ["first seen"]);
        let many: Vec<String> = (0..200).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let joined = Room::SCARCE.join(stored, &lines(&many));
        assert_eq!(texts(&joined), many[200 - Room::SCARCE.entries..]);
    }

    #[test]
    fn memory_holds_the_newest_line_alone() {
        let mac = Mac::new([2, 0, 0, 0, 0, 1]).unwrap();
        let mut record = Record::new(Machine::heard(mac, None, None), Moment(0));
        record.note(Moment(1), "second".to_owned());
        assert_eq!(texts(&record.split_history()), ["first seen", "second"]);
        assert_eq!(texts(&record.history), ["second"]);
    }
}
