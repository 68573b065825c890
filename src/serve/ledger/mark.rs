//! The mark: which ledger was here, and how far it had come, kept apart from the ledger's file.
//!
//! redb goes back to the commit before where the newest one is damaged, and says nothing. The mark
//! has the number of the newest commit a second time, so that lost entries, an older copy, another
//! ledger or none are noticed before any machine is answered. Two slots take turns: a mark that is
//! cut short by a power cut leaves the one before, which is never ahead of the ledger.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Bytes of a slot, which a disk writes whole.
const SLOT: usize = 512;
const TITLE: &str = "bootbox ledger mark";

/// How far a ledger has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Marked {
    /// Which ledger it is.
    pub(super) id: u64,
    /// The number of its newest commit.
    pub(super) commit: u64,
    /// Machines it knew then.
    pub(super) machines: u64,
    /// When that was, in seconds since 1970.
    pub(super) at: u64,
}

/// The open file.
pub(super) struct Mark {
    file: File,
}

/// Where the mark of this ledger is: in the state folder that systemd gives, which is there even
/// where the ledger's own disk is not; else beside the ledger.
pub(super) fn place(ledger: &Path) -> PathBuf {
    let given = env::var_os("STATE_DIRECTORY").unwrap_or_default();
    let given = env::split_paths(&given).find(|folder| folder.is_absolute());
    match given.filter(|folder| Some(folder.as_path()) != ledger.parent() && folder.is_dir()) {
        Some(folder) => folder.join("ledger.mark"),
        None => {
            let mut name = ledger.file_name().unwrap_or_default().to_owned();
            name.push(".mark");
            ledger.with_file_name(name)
        }
    }
}

/// Reads a mark; `None` where there has been no ledger yet.
pub(super) fn read(path: &Path) -> io::Result<Option<Marked>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let newest = bytes.chunks(SLOT).filter_map(parse).max_by_key(|marked| marked.commit);
    match newest {
        Some(marked) => Ok(Some(marked)),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged")),
    }
}

impl Mark {
    /// Opens the mark, or makes it, and writes this into it.
    pub(super) fn open(path: &Path, marked: &Marked) -> io::Result<Self> {
        if !path.try_exists()? {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(".new");
            let draft = path.with_file_name(name);
            fs::write(&draft, [slot(marked), slot(marked)].concat())?;
            File::open(&draft)?.sync_all()?;
            fs::rename(&draft, path)?;
            let folder = path.parent().unwrap_or(Path::new("/"));
            File::open(folder).and_then(|folder| folder.sync_all())?;
        }
        let file = OpenOptions::new().write(true).mode(0o600).open(path)?;
        let mut mark = Self { file };
        mark.write(marked)?;
        Ok(mark)
    }

    /// Returns when this would outlive a power cut.
    pub(super) fn write(&mut self, marked: &Marked) -> io::Result<()> {
        let offset = marked.commit % 2 * SLOT as u64;
        self.file.write_all_at(&slot(marked), offset)?;
        self.file.sync_data()
    }
}

fn slot(marked: &Marked) -> Vec<u8> {
    let Marked { id, commit, machines, at } = marked;
    let text = format!("{TITLE}\nid {id:016x}\ncommit {commit}\nmachines {machines}\nat {at}\n");
    let sum = sum(&text);
    let mut bytes = format!("{text}sum {sum:016x}\n").into_bytes();
    bytes.resize(SLOT, b'\n');
    bytes
}

fn parse(slot: &[u8]) -> Option<Marked> {
    let text = str::from_utf8(slot).ok()?;
    let (text, said) = text.split_at_checked(text.find("sum ")?)?;
    let said = said.strip_prefix("sum ")?.trim_end();
    if u64::from_str_radix(said, 16).ok()? != sum(text) {
        return None;
    }
    let mut lines = text.strip_prefix(TITLE)?.trim_start().lines();
    let mut number = |name: &str, radix| {
        let value = lines.next()?.strip_prefix(name)?.trim_start();
        u64::from_str_radix(value, radix).ok()
    };
    Some(Marked {
        id: number("id", 16)?,
        commit: number("commit", 10)?,
        machines: number("machines", 10)?,
        at: number("at", 10)?,
    })
}

/// FNV-1a, 64 bits: against chance, not against malice.
fn sum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(commit: u64) -> Marked {
        Marked { id: 0xfeed, commit, machines: 3, at: 1_700_000_000 }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written_and_a_damaged_slot_is_not() {
        let path = env::temp_dir().join(format!("bootbox-mark-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        assert_eq!(read(&path).unwrap(), None);
        let mut mark = Mark::open(&path, &marked(7)).unwrap();
        assert_eq!(read(&path).unwrap(), Some(marked(7)));
        mark.write(&marked(8)).unwrap();
        assert_eq!(read(&path).unwrap(), Some(marked(8)));
        let whole = fs::read(&path).unwrap();
        for at in 0..SLOT {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(&path, &bytes).unwrap();
            let read = read(&path).unwrap().unwrap();
            assert!(read == marked(7) || read == marked(8), "byte {at}: {read:?}");
        }
        fs::write(&path, vec![0; 2 * SLOT]).unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::write(&path, b"").unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::remove_file(&path).unwrap();
    }
}
