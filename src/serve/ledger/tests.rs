use std::{fs, path::PathBuf, sync::atomic::AtomicU32, time::Duration};

use super::*;
use crate::{
    ledger::{Found, Piece, State},
    machine::SharedUuids,
};

mod bounds;
mod damage;

/// A folder of this test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bootbox-ledger-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("below/ledger.redb")
    }

    fn open(&self) -> Result<Ledger, LedgerError> {
        Ledger::open(&self.file(), 3, Journal::new())
    }

    /// Opens it once the writer of a ledger that was let go has ended.
    fn reopen(&self) -> Ledger {
        for _ in 0..200 {
            match self.open() {
                Err(LedgerError::InUse(_)) => std::thread::sleep(Duration::from_millis(10)),
                opened => return opened.unwrap(),
            }
        }
        panic!("still in use")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn the_file_is_closed_to_other_users_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    drop(folder.open().unwrap());
    assert_eq!(mode(&folder.file()), 0o600);
    assert_eq!(mode(folder.file().parent().unwrap()), 0o700);
    // As an earlier bootbox left it.
    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o644)).unwrap();
    drop(folder.reopen());
    assert_eq!(mode(&folder.file()), 0o640);
}

fn machine(number: u8) -> Machine {
    Machine::heard(Mac::new([2, 0, 0, 0, 0, number]).unwrap(), None, None)
}

fn scripted() -> Event {
    Event::Scripted { group: "g".to_owned(), profile: "p".to_owned(), token: None }
}

#[tokio::test]
async fn what_was_noted_is_there_after_the_next_start() {
    let folder = Folder::new();
    let ledger = folder.open().unwrap();
    let (one, two) = (machine(1), machine(2));
    ledger.add(one.clone()).await.unwrap();
    ledger.add(two.clone()).await.unwrap();
    let noted = ledger.note(one.mac, scripted()).await.unwrap();
    assert!(matches!(noted.state, State::Installing(_)));
    assert!(ledger.with(|book| book.find(&one, &SharedUuids::default()) == Found::Own(&noted)));
    ledger.note_soon(one.mac, Event::Fetched(Piece::Boot));
    ledger.forget(two.mac).await.unwrap();
    assert_eq!(ledger.note(two.mac, scripted()).await, Err(NoteError::Unknown(two.mac)));
    let known = ledger.with(|book| book.get(one.mac).cloned().unwrap());
    drop(ledger);
    let again = folder.reopen();
    assert_eq!(again.with(|book| book.get(one.mac).cloned()), Some(known));
    assert_eq!(again.with(|book| book.records().count()), 1);
}

#[tokio::test]
async fn an_address_is_one_machines() {
    let folder = Folder::new();
    let ledger = folder.open().unwrap();
    let address = Event::Address([10, 0, 0, 7].into());
    let holder = |ledger: &Ledger| {
        ledger.with(|book| book.at([10, 0, 0, 7].into()).map(|it| it.machine.mac))
    };
    for number in [1, 2, 1] {
        ledger.meet(machine(number), vec![address.clone()]).await.unwrap();
        assert_eq!(holder(&ledger), Some(machine(number).mac));
    }
    // Heard of later, and without the address.
    ledger.note(machine(2).mac, scripted()).await.unwrap();
    assert_eq!(holder(&ledger), Some(machine(1).mac));
    drop(ledger);
    assert_eq!(holder(&folder.reopen()), Some(machine(1).mac));
}

#[test]
fn a_file_that_is_no_ledger_is_an_error_and_stays() {
    let folder = Folder::new();
    fs::create_dir(folder.0.join("below")).unwrap();
    for content in [&b""[..], b"not a ledger", &[0; 100_000]] {
        fs::write(folder.file(), content).unwrap();
        let error = folder.open().unwrap_err();
        assert!(matches!(error, LedgerError::Broken(..)), "{error}");
        assert!(error.to_string().contains("put a copy back, or move it away"), "{error}");
        assert_eq!(fs::read(folder.file()).unwrap(), content);
    }
}

/// A ledger of 200 machines.
async fn filled(ledger: &Ledger) {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200 {
        let ledger = ledger.clone();
        tasks.spawn(async move { ledger.meet(machine(number), vec![scripted()]).await.unwrap() });
    }
    assert_eq!(tasks.join_all().await.len(), 200);
}

#[tokio::test]
async fn a_damaged_ledger_is_an_error_or_whole_and_never_empty() {
    let folder = Folder::new();
    let ledger = folder.open().unwrap();
    filled(&ledger).await;
    drop(ledger);
    drop(folder.reopen());
    // Its writer closes the file when it likes; what is opened here is closed here.
    let is_closed = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        disk::open(&folder.file()).is_ok()
    });
    assert!(is_closed);
    let whole = fs::read(folder.file()).unwrap();
    let text = whole.windows(10).position(|bytes| bytes == b"first_seen").unwrap();
    let pages = (0..whole.len()).step_by(whole.len() / 12);
    let (mut broken, mut intact) = (0, 0);
    for (damage, len) in pages.map(|page| (page, whole.len())).chain([
        (text, whole.len()),
        (0, whole.len() / 2),
        (0, 4096),
    ]) {
        let mut bytes = whole[..len].to_vec();
        for byte in bytes.iter_mut().skip(damage).take(64) {
            *byte ^= 0xa5;
        }
        fs::write(folder.file(), &bytes).unwrap();
        match disk::open(&folder.file()) {
            Err(LedgerError::Broken(..)) => broken += 1,
            Ok((_, records)) => {
                assert_eq!(records.len(), 200, "byte {damage} of {len}");
                intact += 1;
            }
            Err(other) => panic!("byte {damage} of {len}: {other}"),
        }
    }
    assert!(broken > 1 && intact > 1, "{broken} broken, {intact} intact");
}

#[test]
fn a_later_format_is_refused_in_words() {
    let folder = Folder::new();
    fs::create_dir(folder.0.join("below")).unwrap();
    let database = redb::Database::create(folder.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    let about: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("about");
    transaction.open_table(about).unwrap().insert("format", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert_eq!(folder.open().unwrap_err(), LedgerError::Newer(folder.file(), 2));
    fs::remove_file(folder.file()).unwrap();
    drop(redb::Database::create(folder.file()).unwrap());
    let error = folder.open().unwrap_err().to_string();
    assert!(error.contains("another program's"), "{error}");
}

#[tokio::test]
async fn two_cannot_have_one_ledger() {
    let folder = Folder::new();
    let _first = folder.open().unwrap();
    assert_eq!(folder.open().unwrap_err(), LedgerError::InUse(folder.file()));
}

#[tokio::test]
async fn many_at_once_share_transactions() {
    let folder = Folder::new();
    let ledger = folder.open().unwrap();
    let began = std::time::Instant::now();
    filled(&ledger).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(ledger.with(|book| book.records().count()), 200);
}

#[tokio::test]
async fn without_a_ledger_nothing_is_remembered_and_that_is_said() {
    let ledger = Ledger::forgetful(Journal::new());
    assert_eq!(ledger.add(machine(1)).await, Err(NoteError::NoLedger));
    assert_eq!(ledger.with(|book| book.records().count()), 0);
}

#[tokio::test]
async fn a_ledger_that_is_taken_away_stops_what_installs_until_it_is_back() {
    let folder = Folder::new();
    let ledger = folder.open().unwrap();
    let one = machine(1);
    ledger.add(one.clone()).await.unwrap();
    let (file, away) = (folder.file(), folder.0.join("away"));
    fs::rename(&file, &away).unwrap();
    for replaced in [false, true] {
        if replaced {
            fs::copy(&away, &file).unwrap();
        }
        for _ in 0..2 {
            let Err(NoteError::Disk(error)) = ledger.note(one.mac, scripted()).await else {
                panic!("noted where nobody finds it again")
            };
            assert!(error.contains("was taken away or replaced"), "{error}");
        }
        tokio::time::sleep(writer::PAUSE).await;
        assert!(ledger.with(|book| book.get(one.mac).is_some_and(|it| it.state == State::New)));
    }
    fs::rename(&away, &file).unwrap();
    ledger.note(one.mac, scripted()).await.unwrap();
}

#[tokio::test]
async fn after_an_error_the_file_is_opened_once_a_second_and_no_more() {
    let folder = Folder::new();
    let ledger = folder.open().unwrap();
    let one = machine(1);
    ledger.add(one.clone()).await.unwrap();
    let (file, away) = (folder.file(), folder.0.join("away"));
    fs::rename(&file, &away).unwrap();
    let first = ledger.note(one.mac, scripted()).await.unwrap_err();
    let failed = std::time::Instant::now();
    fs::rename(&away, &file).unwrap();
    for _ in 0..1000 {
        let next = ledger.note(one.mac, scripted()).await;
        if next.is_ok() {
            break;
        }
        assert_eq!(next, Err(first.clone()), "the same words, at once");
    }
    let took = failed.elapsed();
    let is_noted = ledger.with(|book| book.get(one.mac).is_some_and(|it| it.state != State::New));
    assert!(!is_noted || took >= writer::PAUSE, "opened again after {took:?}");
    tokio::time::sleep(writer::PAUSE).await;
    ledger.note(one.mac, scripted()).await.unwrap();
}

#[tokio::test]
async fn a_ledger_that_is_damaged_in_use_ends_no_thread() {
    let folder = Folder::new();
    let ledger = folder.open().unwrap();
    filled(&ledger).await;
    let mut bytes = fs::read(folder.file()).unwrap();
    for byte in bytes.iter_mut().skip(4096).step_by(64) {
        *byte ^= 0xff;
    }
    // In place: it stays the same file.
    fs::write(folder.file(), bytes).unwrap();
    for number in [1, 2, 3, 250] {
        match ledger.meet(machine(number), vec![scripted()]).await {
            Ok(_) | Err(NoteError::Refused(_)) => {}
            Err(error) => assert_ne!(error, NoteError::stopped()),
        }
    }
}
