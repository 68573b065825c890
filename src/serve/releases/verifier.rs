//! Reads files whole, a piece at a time, and holds them against their signatures.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Read as _},
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::{
    super::access::advice,
    super::store::{Content, Opened, Store},
    memory::{Identity, Memory},
};
use crate::{
    path::RepositoryPath,
    release::{Fault, Keyring, KeyringFault, LONGEST, Part, Presence, Verdict, digest},
};

/// What is read at once, in bytes.
const PIECE: usize = 1 << 20;

/// Verifies files against one keyring, and remembers the good ones.
#[derive(Debug)]
pub struct Verifier {
    keyring: Keyring,
    memory: Mutex<Memory>,
}

/// How far the verification of several files has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Progress {
    /// The file that is read.
    pub file: RepositoryPath,
    /// Bytes read, of all the files.
    pub done: u64,
    /// Bytes of all the files.
    pub total: u64,
}

impl Progress {
    /// In hundredths, 99 until the last byte.
    pub fn percent(&self) -> u8 {
        let percent = self.done.saturating_mul(100).checked_div(self.total).unwrap_or(100);
        u8::try_from(percent).unwrap_or(100).min(if self.done < self.total { 99 } else { 100 })
    }
}

impl Verifier {
    /// Reads a keyring, and what was found good with it before.
    pub fn new(keyring: &Path, memory: Option<&Path>) -> Result<Self, KeyringError> {
        let error = |reason| KeyringError { path: keyring.to_owned(), reason };
        let bytes = fs::read(keyring).map_err(|cause| error(Reason::Io(cause)))?;
        let parsed = Keyring::parse(&bytes, SystemTime::now());
        let memory = Mutex::new(Memory::load(memory, digest(&bytes)));
        Ok(Self { keyring: parsed.map_err(|cause| error(Reason::Fault(cause)))?, memory })
    }

    /// The same for who only looks: what is found good is not written to the server's memory.
    pub fn beside(keyring: &Path, memory: &Path) -> Result<Self, KeyringError> {
        let mut verifier = Self::new(keyring, Some(memory))?;
        verifier.memory.get_mut().unwrap_or_else(PoisonError::into_inner).is_another_ones();
        Ok(verifier)
    }

    /// The keys whose signatures count.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Verifies those of the parts that are there and signed, one after the other; what is
    /// remembered is not read again. Takes as long as reading them does: not for an async thread.
    /// `progress` is told after each MiB; where it breaks, the rest is left out.
    pub fn verify(
        &self,
        store: &Store,
        parts: &[&Part],
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> BTreeMap<RepositoryPath, Verdict> {
        let mut verdicts = BTreeMap::new();
        let mut unread = Vec::new();
        let mut total = 0;
        for part in parts.iter().filter(|part| part.is_signed()) {
            match self.recall(store, part) {
                Some(verdict) => {
                    verdicts.insert(part.path.clone(), verdict);
                }
                None => {
                    total += size(part);
                    unread.push(part);
                }
            }
        }
        let mut before = 0;
        for part in unread {
            let read = &mut |done: u64| {
                let done = (before + done).min(total);
                progress(Progress { file: part.path.clone(), done, total })
            };
            match unbroken(|| self.file(store, part, read)) {
                ControlFlow::Continue(verdict) => {
                    verdicts.insert(part.path.clone(), verdict);
                }
                ControlFlow::Break(()) => break,
            }
            before += size(part);
        }
        verdicts
    }

    /// What is remembered of a file that has not changed since; reads its signature alone.
    pub fn recall(&self, store: &Store, part: &Part) -> Option<Verdict> {
        let identity = identity(&store.read(&part.path).ok()?)?;
        let signature = digest(&signature(store, part).ok()?);
        let name = std::str::from_utf8(part.path.as_bytes()).ok()?;
        let verdict = self.memory().recall(name, identity, &signature)?;
        verdict.is_good(SystemTime::now()).then_some(verdict)
    }

    /// The verdict on a file as far as it can be known without reading the file: from memory, or
    /// from what is wrong with its signature alone.
    pub fn glance(&self, store: &Store, part: &Part) -> Option<Verdict> {
        self.recall(store, part).or_else(|| {
            let begin =
                |signature: Vec<u8>| self.keyring.begin(&signature, SystemTime::now()).map(|_| ());
            let verdict = unbroken(|| match signature(store, part).and_then(begin) {
                Ok(()) => ControlFlow::Break(()),
                Err(fault) => ControlFlow::Continue(Verdict::Bad(fault)),
            });
            verdict.continue_value()
        })
    }

    fn file(
        &self,
        store: &Store,
        part: &Part,
        read: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> ControlFlow<(), Verdict> {
        let began = SystemTime::now();
        let bad = |fault| ControlFlow::Continue(Verdict::Bad(fault));
        let signature = match signature(store, part) {
            Ok(signature) => signature,
            Err(fault) => return bad(fault),
        };
        let mut check = match self.keyring.begin(&signature, began) {
            Ok(check) => check,
            Err(fault) => return bad(fault),
        };
        let mut opened = match store.read(&part.path) {
            Ok(opened) => opened,
            Err(error) => return bad(Fault::Unreadable(error.to_string())),
        };
        let before = identity(&opened);
        let mut done = 0;
        match &mut opened.content {
            Content::Embedded(bytes) => check.update(bytes),
            Content::File(file) => {
                let mut piece = vec![0; PIECE];
                loop {
                    match file.read(&mut piece) {
                        Ok(0) => break,
                        Ok(length) => {
                            check.update(&piece[..length]);
                            done += length as u64;
                            read(done)?;
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return bad(Fault::Unreadable(error.to_string())),
                    }
                }
            }
        }
        if identity(&opened) != before || !opened.is_unchanged() {
            return bad(Fault::Unreadable("it changed while it was read".to_owned()));
        }
        let verdict = check.finish();
        let name = std::str::from_utf8(part.path.as_bytes()).ok();
        if let (Some(identity), Some(name)) = (before.filter(|file| file.is_settled(began)), name) {
            let kept = self.memory().keep(name, identity, digest(&signature), &verdict);
            if let Err(error) = kept {
                tracing::warn!("what was verified cannot be remembered on disk: {error}");
            }
        }
        ControlFlow::Continue(verdict)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A signature comes from the network and is read by a large library: should that panic, the
/// signature is bad, and whoever asked goes on.
fn unbroken(verify: impl FnOnce() -> ControlFlow<(), Verdict>) -> ControlFlow<(), Verdict> {
    let damaged = |_| ControlFlow::Continue(Verdict::Bad(Fault::Damaged));
    catch_unwind(AssertUnwindSafe(verify)).unwrap_or_else(damaged)
}

fn size(part: &Part) -> u64 {
    match part.file {
        Presence::Found(bytes) => bytes,
        Presence::Absent | Presence::Useless(_) => 0,
    }
}

pub(super) fn identity(opened: &Opened) -> Option<Identity> {
    match &opened.content {
        Content::Embedded(_) => None,
        Content::File(file) => Some(Identity::of(&file.metadata().ok()?)),
    }
}

fn signature(store: &Store, part: &Part) -> Result<Vec<u8>, Fault> {
    let unreadable = |error: &dyn fmt::Display| Fault::Unreadable(format!("its signature {error}"));
    let path = part.signature_path().ok_or(Fault::Nothing)?;
    let opened = store.read(&path).map_err(|error| unreadable(&error))?;
    if opened.stamp.len > LONGEST {
        return Err(unreadable(&format!("is longer than {LONGEST} bytes")));
    }
    match opened.content {
        Content::Embedded(bytes) => Ok(bytes.to_owned()),
        Content::File(file) => {
            let mut bytes = Vec::new();
            let read = file.take(LONGEST + 1).read_to_end(&mut bytes);
            read.map_err(|error| unreadable(&error))?;
            Ok(bytes)
        }
    }
}

/// Why there is no verifying.
#[derive(Debug)]
pub struct KeyringError {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    Fault(KeyringFault),
    Io(io::Error),
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::Fault(fault) => write!(f, "[repository] keyring {path} {fault}"),
            Reason::Io(error) => {
                let write_one = || "; write one with `gpg --export --armor KEY`".to_owned();
                let advice = advice(&self.path, error).unwrap_or_else(write_one);
                write!(f, "[repository] keyring {path} cannot be read: {error}{advice}")
            }
        }
    }
}

impl std::error::Error for KeyringError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Reason::Fault(fault) => Some(fault),
            Reason::Io(error) => Some(error),
        }
    }
}
