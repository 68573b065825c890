//! Memory and file have bounds: who goes, who stays, and where a history is.

use super::*;
use crate::ledger::{Order, Report};

const ABOUT: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("about");
const RECORDS: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("machines");

fn progress(text: &str) -> Event {
    Event::Reported(Report::Progress(text.to_owned()))
}

fn texts(record: &Record) -> Vec<&str> {
    record.history.iter().map(|entry| entry.text.as_str()).collect()
}

fn made_up(number: u32) -> Machine {
    let [_, high, middle, low] = number.to_be_bytes();
    Machine::heard(Mac::new([2, 0xff, 0, high, middle, low]).unwrap(), None, None)
}

#[tokio::test]
async fn a_history_is_on_disk_and_its_end_alone_in_memory() {
    let folder = Folder::new();
    let ledger = folder.open().unwrap();
    let one = machine(1);
    ledger.meet(one.clone(), vec![scripted()]).await.unwrap();
    for text in ["10 %", "20 %"] {
        ledger.note(one.mac, progress(text)).await.unwrap();
    }
    ledger.note(one.mac, Event::Address([10, 0, 0, 7].into())).await.unwrap();
    ledger.note(one.mac, Event::Reported(Report::Installed)).await.unwrap();
    let expected = [
        "first seen",
        "attempt 1 to install p (group g)",
        "it reports: 20 %",
        "p is installed: its install script said so",
    ];
    let in_memory = |ledger: &Ledger| ledger.with(|book| book.get(one.mac).cloned().unwrap());
    assert_eq!(texts(&ledger.read(one.mac).await.unwrap())[..3], expected[..3]);
    assert_eq!(texts(&in_memory(&ledger)).len(), 1);
    drop(ledger);
    let ledger = folder.reopen();
    let whole = ledger.read(one.mac).await.unwrap();
    assert_eq!(whole.history.len(), 4, "{:?}", texts(&whole));
    assert_eq!(texts(&in_memory(&ledger)), texts(&whole)[3..]);
    assert_eq!(ledger.read(machine(9).mac).await, None);
}

#[tokio::test]
async fn who_is_forgotten_leaves_no_history() {
    let folder = Folder::new();
    let ledger = folder.open().unwrap();
    let one = machine(1);
    for _ in 0..2 {
        ledger.meet(one.clone(), vec![scripted()]).await.unwrap();
        // Both may share a transaction with what comes next.
        let (forgotten, met) =
            tokio::join!(ledger.forget(one.mac), ledger.meet(one.clone(), Vec::new()));
        forgotten.unwrap();
        met.unwrap();
        assert_eq!(texts(&ledger.read(one.mac).await.unwrap()), ["first seen"]);
        ledger.forget(one.mac).await.unwrap();
    }
}

/// A release before kept all lines in the record.
#[tokio::test]
async fn a_history_within_its_record_is_read_and_goes_on() {
    let folder = Folder::new();
    fs::create_dir(folder.0.join("below")).unwrap();
    let (one, two) = (machine(1), machine(2));
    let lines: Vec<String> = (0..40).map(|number| format!("line {number}")).collect();
    let database = redb::Database::create(folder.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(ABOUT).unwrap().insert("format", 1).unwrap();
    for machine in [&one, &two] {
        let mut record = Record::new(machine.clone(), Moment(5));
        record.history = lines
            .iter()
            .map(|text| crate::ledger::Entry { at: Moment(5), text: text.clone() })
            .collect();
        let mut text = serde_json::to_value(record).unwrap();
        text.as_object_mut().unwrap().remove("has_orders").unwrap();
        let text = serde_json::to_vec(&text).unwrap();
        let mut table = transaction.open_table(RECORDS).unwrap();
        table.insert(machine.mac.octets().as_slice(), text.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let ledger = folder.open().unwrap();
    let whole = ledger.read(one.mac).await.unwrap();
    assert_eq!(texts(&whole), lines);
    let in_memory = ledger.with(|book| book.get(one.mac).map(|record| record.history.len()));
    assert_eq!(in_memory, Some(1));
    // A change without a line must not lose those there are.
    ledger.note(one.mac, Event::Address([10, 0, 0, 7].into())).await.unwrap();
    ledger.note(two.mac, scripted()).await.unwrap();
    drop(ledger);
    let ledger = folder.reopen();
    assert_eq!(texts(&ledger.read(one.mac).await.unwrap()), lines);
    let more = ledger.read(two.mac).await.unwrap();
    assert_eq!(texts(&more)[..40], lines);
    assert_eq!(texts(&more)[40..], ["attempt 1 to install p (group g)"]);
}

/// Machines in memory alone: the disk is not what this is about.
fn fill(ledger: &Ledger, count: u32, events: &[Event]) {
    let mut book = ledger.shared.book_to_change();
    for number in 0..count {
        let new = Record::new(made_up(number), Moment(1000 + u64::from(number)));
        let after = |record: Record, event: &Event| record.after(event, 3, Moment(2000)).unwrap();
        let mut record = events.iter().fold(new, after);
        record.split_history();
        book.take_up(Box::new(record));
    }
}

#[tokio::test]
async fn a_full_ledger_keeps_whom_it_knows_and_takes_no_new_machine_but_an_operators() {
    let hold = Event::Ordered(Order::Hold("as I say".to_owned()));
    let order = Event::Ordered(Order::Installed);
    let folder = Folder::new();
    for events in [
        vec![scripted()],
        vec![scripted(), Event::Reported(Report::Failed("no disk".to_owned()))],
        vec![order],
        vec![hold.clone(), Event::Ordered(Order::Release)],
        vec![Event::Twin("another has its UUID".to_owned())],
        vec![Event::Booted { group: "g".to_owned(), profile: "p".to_owned() }],
    ] {
        let ledger = folder.reopen();
        *ledger.shared.book_to_change() = Book::default();
        fill(&ledger, 65_536, &events);
        assert_eq!(ledger.add(machine(1)).await, Err(NoteError::Full(Full)), "{events:?}");
        ledger.meet(machine(2), vec![hold.clone()]).await.unwrap();
        assert_eq!(ledger.with(|book| book.records().count()), 65_537);
        ledger.forget(machine(2).mac).await.unwrap();
    }
}

#[tokio::test]
async fn those_that_nothing_was_done_to_go_first_and_the_oldest_of_them() {
    let folder = Folder::new();
    let ledger = folder.open().unwrap();
    fill(&ledger, 16_384, &[]);
    for number in 0..64 {
        ledger.meet(machine(number), vec![scripted()]).await.unwrap();
    }
    let knows = |number| ledger.with(|book| book.get(made_up(number).mac).is_some());
    assert!(knows(0), "there is room");
    ledger.add(machine(100)).await.unwrap();
    ledger.add(machine(101)).await.unwrap();
    assert!(!knows(0) && !knows(1023) && knows(1024) && knows(16_383));
    ledger.with(|book| {
        assert!((0..64).all(|number| book.get(machine(number).mac).is_some()));
        assert!([100, 101].iter().all(|&number| book.get(machine(number).mac).is_some()));
    });
}
