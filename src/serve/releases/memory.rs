//! What was found good, kept until the file changes: reading 500 MB at every start helps nobody.
//!
//! A memory that is damaged, or of another keyring, is as if it were empty. It holds nothing bad:
//! that is looked at again.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::release::{Verdict, digest};

/// Files that are remembered.
const MOST: usize = 4096;
/// Kernels count time in ticks of up to 10 ms; a change in the same tick could not be told.
const SETTLED: Duration = Duration::from_millis(100);

/// Which file it was, and in which state.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file had its last change long enough before that time to tell a later one.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let (Ok(seconds), Ok(nanoseconds)) = (seconds.try_into(), nanoseconds.try_into()) else {
            return false;
        };
        UNIX_EPOCH + Duration::new(seconds, nanoseconds) + SETTLED < now
    }
}

/// One good file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Entry {
    file: Identity,
    /// SHA-256 of its signature file.
    signature: String,
    fingerprint: String,
    /// Seconds since 1970.
    made: u64,
    until: Option<u64>,
}

/// As it is written to disk, behind a line with its digest.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Written {
    /// SHA-256 of the keyring.
    keyring: String,
    files: BTreeMap<String, Entry>,
}

/// Good files, in memory and on disk.
#[derive(Debug)]
pub(super) struct Memory {
    written: Written,
    place: Option<PathBuf>,
}

impl Memory {
    /// Reads what was remembered with this keyring.
    pub(super) fn load(place: Option<&Path>, keyring: String) -> Self {
        let written = place
            .and_then(|place| fs::read(place).ok())
            .and_then(|bytes| parse(&bytes))
            .filter(|written| written.keyring == keyring)
            .unwrap_or(Written { keyring, files: BTreeMap::new() });
        Self { written, place: place.map(Path::to_owned) }
    }

    /// From now on nothing is written to its file.
    pub(super) fn is_another_ones(&mut self) {
        self.place = None;
    }

    pub(super) fn recall(&self, name: &str, file: Identity, signature: &str) -> Option<Verdict> {
        let entry = self.written.files.get(name)?;
        let time = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        if entry.file != file || entry.signature != signature {
            return None;
        }
        Some(Verdict::Good {
            fingerprint: entry.fingerprint.clone(),
            made: time(entry.made)?,
            until: match entry.until {
                Some(until) => Some(time(until)?),
                None => None,
            },
        })
    }

    /// Keeps a good verdict. In memory it is kept also when the disk refuses.
    pub(super) fn keep(
        &mut self,
        name: &str,
        file: Identity,
        signature: String,
        verdict: &Verdict,
    ) -> io::Result<()> {
        let Verdict::Good { fingerprint, made, until } = verdict else {
            return Ok(());
        };
        let seconds =
            |time: &SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (made, until) = (seconds(made), until.as_ref().map(seconds));
        let fingerprint = fingerprint.clone();
        let entry = Entry { file, signature, fingerprint, made, until };
        self.written.files.insert(name.to_owned(), entry);
        while self.written.files.len() > MOST {
            self.written.files.pop_first();
        }
        match &self.place {
            Some(place) => save(place, &self.written),
            None => Ok(()),
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Written> {
    let at = bytes.iter().position(|&byte| byte == b'\n')?;
    let (sum, rest) = (bytes.get(..at)?, bytes.get(at + 1..)?);
    if sum != digest(rest).as_bytes() {
        return None;
    }
    serde_json::from_slice(rest).ok()
}

/// Replaces the file in one step: a power cut leaves the old one or the new one.
fn save(place: &Path, written: &Written) -> io::Result<()> {
    let body = serde_json::to_vec(written)?;
    let mut beside = place.as_os_str().to_owned();
    beside.push(".new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(digest(&body).as_bytes())?;
    file.write_all(b"\n")?;
    file.write_all(&body)?;
    file.sync_all()?;
    fs::rename(&beside, place)
}
