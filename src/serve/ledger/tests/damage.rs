//! A ledger that was damaged, replaced or lost since it was written.

use super::*;
use crate::ledger::Report;

/// Writes a machine's story into a ledger: its last commit is `installed`. The answer is the file
/// as a power cut leaves it, and as a stop leaves it.
async fn installed(folder: &Folder) -> [Vec<u8>; 2] {
    let ledger = folder.open().unwrap();
    for number in 0..20 {
        ledger.meet(machine(number), vec![scripted()]).await.unwrap();
    }
    let event = Event::Reported(Report::Installed);
    ledger.note(machine(7).mac, event).await.unwrap();
    let cut = fs::read(folder.file()).unwrap();
    drop(ledger);
    folder.wait_until_closed();
    [cut, fs::read(folder.file()).unwrap()]
}

impl Folder {
    /// Its writer closes the file when it likes; what is opened here is closed here.
    fn wait_until_closed(&self) {
        let is_closed = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            disk::open(&self.file()).is_ok()
        });
        assert!(is_closed);
    }

    fn mark(&self) -> PathBuf {
        mark::place(&self.file())
    }
}

/// Every byte of the header that is in use, and some of each page that is.
fn places(whole: &[u8]) -> Vec<usize> {
    let header = (0..320).step_by(7);
    let pages = (1..whole.len() / 4096).filter(|page| {
        let bytes = &whole[page * 4096..][..4096];
        bytes.iter().any(|&byte| byte != 0)
    });
    let mut places: Vec<usize> = header.collect();
    for page in pages.take(16) {
        places.extend([12, 80].map(|at| page * 4096 + at));
    }
    places
}

#[tokio::test]
async fn a_damaged_file_never_hides_that_a_machine_is_installed() {
    let folder = Folder::new();
    let copies = installed(&folder).await;
    let mark = fs::read(folder.mark()).unwrap();
    let (mut broken, mut lost, mut intact) = (0, 0, 0);
    for (nth, whole) in copies.into_iter().enumerate() {
        for place in places(&whole).into_iter().skip(nth).step_by(2) {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (place % 7);
            fs::write(folder.file(), &bytes).unwrap();
            fs::write(folder.mark(), &mark).unwrap();
            match disk::open(&folder.file()) {
                Ok((_, records)) => {
                    let is_seven = |record: &&Record| record.machine.mac == machine(7).mac;
                    let mut records = records.iter().map(|(_, record)| &**record);
                    let seven = records.find(is_seven).unwrap();
                    assert!(matches!(seven.state, State::Installed(_)), "byte {place}: {seven:?}");
                    intact += 1;
                }
                Err(LedgerError::Lost(_, Loss::Behind { .. })) => lost += 1,
                Err(LedgerError::Broken(..) | LedgerError::Lost(..)) => broken += 1,
                Err(other) => panic!("byte {place}: {other}"),
            }
        }
    }
    // Without the mark, those that are lost would have started.
    assert!(lost > 1 && broken > 1 && intact > 1, "{lost} {broken} {intact}");
}

#[tokio::test]
async fn an_older_copy_is_told_until_the_mark_is_taken_away() {
    let folder = Folder::new();
    let ledger = folder.open().unwrap();
    ledger.add(machine(1)).await.unwrap();
    drop(ledger);
    folder.wait_until_closed();
    let older = fs::read(folder.file()).unwrap();
    drop(installed(&folder).await);
    fs::write(folder.file(), older).unwrap();
    for _ in 0..2 {
        let error = folder.open().unwrap_err().to_string();
        assert!(error.contains("it is an older copy"), "{error}");
        assert!(error.contains(&format!("run `rm {}`", folder.mark().display())), "{error}");
    }
    fs::remove_file(folder.mark()).unwrap();
    assert_eq!(folder.open().unwrap().with(|book| book.records().count()), 1);
}

#[tokio::test]
async fn another_ledger_is_not_taken_for_the_one_that_was_here() {
    let (folder, other) = (Folder::new(), Folder::new());
    drop(installed(&folder).await);
    drop(installed(&other).await);
    fs::copy(other.file(), folder.file()).unwrap();
    let error = folder.open().unwrap_err();
    assert!(matches!(error, LedgerError::Lost(_, Loss::Other { .. })), "{error}");
}

#[tokio::test]
async fn a_ledger_that_is_gone_is_not_begun_anew() {
    let folder = Folder::new();
    drop(installed(&folder).await);
    fs::remove_file(folder.file()).unwrap();
    for _ in 0..2 {
        let error = folder.open().unwrap_err().to_string();
        assert!(error.contains("it is gone; it knew 20 machines"), "{error}");
        assert!(Ledger::look(&folder.file()).is_err());
        assert!(!folder.file().exists());
    }
    fs::remove_file(folder.mark()).unwrap();
    assert_eq!(Ledger::look(&folder.file()), Ok(()));
    assert_eq!(folder.open().unwrap().with(|book| book.records().count()), 0);
}

#[test]
fn what_is_no_file_is_never_replaced() {
    let folder = Folder::new();
    fs::create_dir_all(folder.file()).unwrap();
    let error = folder.open().unwrap_err();
    assert_eq!(error, LedgerError::Lost(folder.file(), Loss::NoFile));
    fs::remove_dir(folder.file()).unwrap();
    let target = folder.0.join("unmounted/ledger.redb");
    std::os::unix::fs::symlink(&target, folder.file()).unwrap();
    let error = folder.open().unwrap_err();
    assert_eq!(error, LedgerError::Lost(folder.file(), Loss::Link { target }));
    assert!(folder.file().is_symlink());
    fs::remove_file(folder.file()).unwrap();
    nix::unistd::mkfifo(&folder.file(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(folder.open().unwrap_err(), LedgerError::Lost(folder.file(), Loss::NoFile));
}

#[tokio::test]
async fn a_damaged_mark_is_told_and_one_that_is_behind_is_not() {
    let folder = Folder::new();
    let ledger = folder.open().unwrap();
    ledger.add(machine(1)).await.unwrap();
    let behind = fs::read(folder.mark()).unwrap();
    ledger.add(machine(2)).await.unwrap();
    drop(ledger);
    folder.wait_until_closed();
    fs::write(folder.mark(), behind).unwrap();
    drop(folder.reopen());
    folder.wait_until_closed();
    fs::write(folder.mark(), b"").unwrap();
    let error = folder.open().unwrap_err();
    assert!(matches!(error, LedgerError::Lost(_, Loss::Unmarked { .. })), "{error}");
}
