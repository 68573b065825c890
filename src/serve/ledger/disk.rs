//! The ledger's file: transactional tables, a machine's address to its record and its history.
//!
//! Never makes a new file in the place of one that is there or was there, whatever is wrong with
//! it: an empty ledger would let every machine be installed again. Each commit has a number, which
//! the mark has a second time: a ledger that is behind its mark is an error.

use std::{
    fmt, fs, io,
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use redb::{
    Builder, Database, DatabaseError, Durability, ReadableTable as _, ReadableTableMetadata as _,
    StorageError, TableDefinition, TableError,
};

use super::{
    contain::{Panicked, contain},
    histories,
    loss::Loss,
    mark::{self, Mark, Marked},
    now,
};
use crate::{
    ledger::{Entry, Moment, Record},
    machine::Mac,
};

/// Hardware address to record, as JSON.
pub(super) const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("machines");
/// What the file is.
pub(super) const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const FORMAT: &str = "format";
/// Which ledger it is, at random.
const ID: &str = "id";
/// The number of the newest commit.
const COMMIT: &str = "commit";
/// The only format there is.
const OURS: u64 = 1;
/// The records are in memory anyway.
const CACHE: usize = 4 << 20;
/// A file is made smaller at a start where it is larger than this, and so many times what is in it.
const LARGE: u64 = 32 << 20;
const TIMES: u64 = 3;

/// Records as they are read, and when each machine was last heard of.
pub(super) type Records = Vec<(Moment, Box<Record>)>;

/// A machine's part in a commit.
pub(super) struct Row {
    pub(super) record: Box<Record>,
    pub(super) lines: Lines,
}

/// A change of a machine's history.
pub(super) enum Lines {
    /// It begins with these.
    All(Vec<Entry>),
    /// It ends in these, the first of which replaces the newest line.
    End(Vec<Entry>),
    /// It stays.
    Same,
}

/// The open file.
pub(super) struct Disk {
    path: PathBuf,
    is_new: bool,
    /// Absent after an error: what the file holds then is read again.
    database: Option<Database>,
    /// Which file that is: device and inode.
    file: (u64, u64),
    mark: Mark,
    /// The commit and the ledger that the mark names.
    marked: Marked,
}

/// Opens the file, or makes it where there is none and none has been, and reads it.
pub(super) fn open(path: &Path) -> Result<(Disk, Records), LedgerError> {
    let marked = look(path)?;
    let is_new = !path.try_exists().map_err(|error| LedgerError::io(path, &error))?;
    if is_new {
        create(path)?;
    }
    let Loaded { mut database, records, stand, bytes } = load(path)?;
    let lost = |loss| LedgerError::Lost(path.to_owned(), loss);
    if let Some(marked) = marked {
        Loss::between(&marked, stand, mark::place(path)).map_err(lost)?;
    }
    let stand = match stand {
        Some(stand) => stand,
        // Written by a bootbox that numbered nothing.
        None => number(path, &database)?,
    };
    let Stand { id, commit } = stand;
    let marked = Marked { id, commit, machines: records.len() as u64, at: now().0 };
    let place = mark::place(path);
    let mark = Mark::open(&place, &marked).map_err(|error| LedgerError::io(&place, &error))?;
    close_to_others(path);
    shrink(path, &mut database, bytes)?;
    let file = identity(path).map_err(|error| LedgerError::io(path, &error))?;
    let path = path.to_owned();
    Ok((Disk { path, is_new, database: Some(database), file, mark, marked }, records))
}

/// Looks whether a ledger is where one has been, without opening it; another process may have it.
pub(super) fn look(path: &Path) -> Result<Option<Marked>, LedgerError> {
    let lost = |loss| LedgerError::Lost(path.to_owned(), loss);
    let place = mark::place(path);
    let marked = match mark::read(&place) {
        // A ledger that knew nobody is no loss.
        Ok(marked) => marked.filter(|marked| marked.machines > 0),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(lost(Loss::Unmarked { mark: place }));
        }
        Err(error) => return Err(LedgerError::io(&place, &error)),
    };
    match (fs::metadata(path), marked) {
        (Ok(about), _) if !about.is_file() => Err(lost(Loss::NoFile)),
        (Ok(_), marked) => Ok(marked),
        (Err(error), _) if error.kind() != io::ErrorKind::NotFound => {
            Err(LedgerError::io(path, &error))
        }
        (Err(_), _) if path.is_symlink() => {
            let target = fs::read_link(path).map_err(|error| LedgerError::io(path, &error))?;
            Err(lost(Loss::Link { target }))
        }
        (Err(_), Some(marked)) => Err(lost(Loss::Missing { marked: marked.into(), mark: place })),
        (Err(_), None) => Ok(None),
    }
}

/// Which ledger a file is, and its newest commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stand {
    pub(super) id: u64,
    pub(super) commit: u64,
}

/// An earlier bootbox left the file as open as the umask had it. Group is the operator's to decide.
fn close_to_others(path: &Path) {
    let others = fs::metadata(path).map_or(0, |about| about.mode() & 0o007);
    if others == 0 {
        return;
    }
    let close = |path: &Path| {
        let mut permissions = fs::metadata(path)?.permissions();
        permissions.set_mode(permissions.mode() & !0o007);
        fs::set_permissions(path, permissions)
    };
    match close(path) {
        Ok(()) => tracing::info!("ledger {}: closed to other users", path.display()),
        Err(error) => tracing::warn!(
            "ledger {}: every user of this machine may open it ({error}); chmod o= {}",
            path.display(),
            path.display()
        ),
    }
}

impl Disk {
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Writes these records, all of them or none; `None` takes one away. Returns when they would
    /// outlive a power cut.
    pub(super) fn write<'a>(
        &mut self,
        records: impl Iterator<Item = (Mac, Option<&'a Row>)>,
    ) -> Result<(), String> {
        let database = self.database.take().ok_or("it is closed")?;
        // What is written to a file without its name is gone at the next start.
        self.is_in_place().map_err(|error| error.to_string())?;
        let next = self.marked.commit + 1;
        // After a panic it may panic once more when it is closed.
        let written = contain(|| commit(&database, next, records));
        let error = match written {
            Ok(Ok(machines)) => {
                self.marked = Marked { commit: next, machines, at: now().0, ..self.marked };
                // Nobody acts on a commit that could be lost without a word.
                match self.mark.write(&self.marked) {
                    Ok(()) => {
                        self.database = Some(database);
                        return Ok(());
                    }
                    Err(error) => {
                        format!("the mark {}: {error}", mark::place(&self.path).display())
                    }
                }
            }
            Ok(Err(error)) => error.to_string(),
            Err(Panicked) => "its parts contradict each other".to_owned(),
        };
        let _ = contain(|| drop(database));
        Err(error)
    }

    /// A machine's history, where the disk has it.
    pub(super) fn history(&self, mac: Mac) -> Option<Vec<Entry>> {
        let database = self.database.as_ref()?;
        match contain(|| histories::read(database, mac)) {
            Ok(Ok(history)) => history,
            Ok(Err(error)) => {
                tracing::debug!("the history of {mac} cannot be read: {error}");
                None
            }
            Err(Panicked) => None,
        }
    }

    /// Whether the file that was opened still has its name. Another one is not taken over: it knows
    /// less of the machines than we do.
    fn is_in_place(&self) -> Result<(), LedgerError> {
        match identity(&self.path) {
            Ok(file) if file == self.file => Ok(()),
            Ok(_) => Err(LedgerError::Gone(self.path.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(LedgerError::Gone(self.path.clone()))
            }
            Err(error) => Err(LedgerError::io(&self.path, &error)),
        }
    }

    /// After an error: opens the file once more; what it holds is what happened.
    pub(super) fn recover(&mut self) -> Option<Result<Records, LedgerError>> {
        if self.database.is_some() {
            return None;
        }
        Some(self.is_in_place().and_then(|()| {
            let Loaded { database, records, stand, .. } = load(&self.path)?;
            let place = mark::place(&self.path);
            Loss::between(&self.marked, stand, place)
                .map_err(|loss| LedgerError::Lost(self.path.clone(), loss))?;
            // A commit that failed half way may be there all the same.
            self.marked.commit = stand.map_or(self.marked.commit, |stand| stand.commit);
            self.database = Some(database);
            Ok(records)
        }))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // redb panics where it closes a file whose header is damaged.
        let database = self.database.take();
        let _ = contain(|| drop(database));
    }
}

/// The answer is how many machines there are then.
fn commit<'a>(
    database: &Database,
    number: u64,
    records: impl Iterator<Item = (Mac, Option<&'a Row>)>,
) -> Result<u64, Box<redb::Error>> {
    let mut transaction = database.begin_write().map_err(boxed)?;
    transaction.set_durability(Durability::Immediate);
    let mut table = transaction.open_table(RECORDS).map_err(boxed)?;
    let mut histories = histories::Histories::open(&transaction).map_err(boxed)?;
    for (mac, row) in records {
        let key = mac.octets();
        match row {
            Some(Row { record, lines }) => {
                histories.write(mac, lines, &table)?;
                let text = serde_json::to_vec(record).map_err(io::Error::other).map_err(boxed)?;
                table.insert(key.as_slice(), text.as_slice()).map_err(boxed)?;
            }
            None => {
                histories.remove(mac)?;
                drop(table.remove(key.as_slice()).map_err(boxed)?);
            }
        }
    }
    let written = histories.bytes;
    drop(histories);
    let machines = table.len().map_err(boxed)?;
    drop(table);
    let mut about = transaction.open_table(ABOUT).map_err(boxed)?;
    about.insert(COMMIT, number).map_err(boxed)?;
    about.insert(histories::BYTES, written).map_err(boxed)?;
    drop(about);
    transaction.commit().map_err(boxed)?;
    Ok(machines)
}

/// Gives a ledger that has none an id, and its commits numbers.
fn number(path: &Path, database: &Database) -> Result<Stand, LedgerError> {
    let stand = Stand { id: fresh_id(path)?, commit: 1 };
    let transaction = database.begin_write().map_err(|error| LedgerError::broken(path, error))?;
    transaction
        .open_table(ABOUT)
        .and_then(|mut about| {
            about.insert(ID, stand.id)?;
            about.insert(COMMIT, stand.commit)?;
            Ok(())
        })
        .map_err(|error| LedgerError::broken(path, error))?;
    transaction.commit().map_err(|error| LedgerError::broken(path, error))?;
    Ok(stand)
}

fn fresh_id(path: &Path) -> Result<u64, LedgerError> {
    getrandom::u64().map_err(|error| LedgerError::Io(path.to_owned(), error.to_string()))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let about = fs::metadata(path)?;
    Ok((about.dev(), about.ino()))
}

pub(super) fn boxed(error: impl Into<redb::Error>) -> Box<redb::Error> {
    Box::new(error.into())
}

/// Makes a whole ledger beside its name first: one that is half made never gets it.
fn create(path: &Path) -> Result<(), LedgerError> {
    let io = |error: io::Error| LedgerError::io(path, &error);
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    }
    let draft = path.with_extension("new");
    let made = match make(&draft) {
        // Left by a process that was killed here; it never was a ledger.
        Err(LedgerError::Broken(..)) => {
            fs::remove_file(&draft).map_err(io)?;
            make(&draft)
        }
        made => made,
    };
    made?;
    fs::rename(&draft, path).map_err(io)?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

fn make(draft: &Path) -> Result<(), LedgerError> {
    // Machines' tokens stand in it: it is closed to others, whatever the umask.
    let mut private = fs::OpenOptions::new();
    private.create(true).truncate(false).write(true).mode(0o600);
    private.open(draft).map_err(|error| LedgerError::io(draft, &error))?;
    let database = builder()
        .create_with_file_format_v3(true)
        .create(draft)
        .map_err(|error| LedgerError::opening(draft, error))?;
    let transaction = database.begin_write().map_err(|error| LedgerError::broken(draft, error))?;
    transaction
        .open_table(ABOUT)
        .and_then(|mut about| Ok(about.insert(FORMAT, OURS).map(drop)?))
        .and_then(|()| transaction.open_table(RECORDS).map(drop))
        .map_err(|error| LedgerError::broken(draft, error))?;
    transaction.commit().map_err(|error| LedgerError::broken(draft, error))
}

/// A ledger as it was read from its file.
struct Loaded {
    database: Database,
    records: Records,
    stand: Option<Stand>,
    /// Bytes of all records and histories.
    bytes: u64,
}

/// Opens a file that is there, and reads all records.
fn load(path: &Path) -> Result<Loaded, LedgerError> {
    contain(|| {
        let mut database =
            builder().open(path).map_err(|error| LedgerError::opening(path, error))?;
        database.check_integrity().map_err(|error| LedgerError::opening(path, error))?;
        let (records, stand, bytes) = read(path, &database)?;
        Ok(Loaded { database, records, stand, bytes })
    })
    .unwrap_or_else(|Panicked| Err(LedgerError::broken(path, "its parts contradict each other")))
}

/// Gives back what a flood of made-up machines left of a file.
fn shrink(path: &Path, database: &mut Database, bytes: u64) -> Result<(), LedgerError> {
    let size = fs::metadata(path).map_err(|error| LedgerError::io(path, &error))?.len();
    if size < LARGE || size / TIMES < bytes {
        return Ok(());
    }
    let shrunk = contain(|| database.compact());
    match shrunk {
        Ok(Ok(_)) => {
            let now = fs::metadata(path).map_or(size, |about| about.len());
            tracing::info!("ledger {}: from {size} to {now} bytes", path.display());
            Ok(())
        }
        Ok(Err(error)) => Err(LedgerError::broken(path, error)),
        Err(Panicked) => Err(LedgerError::broken(path, "its parts contradict each other")),
    }
}

fn read(path: &Path, database: &Database) -> Result<(Records, Option<Stand>, u64), LedgerError> {
    let broken = |error: &dyn fmt::Display| LedgerError::broken(path, error);
    let transaction = database.begin_read().map_err(|error| broken(&error))?;
    let about = match transaction.open_table(ABOUT) {
        Ok(about) => about,
        Err(TableError::TableDoesNotExist(_)) => return Err(broken(&"it is another program's")),
        Err(error) => return Err(broken(&error)),
    };
    let format = about.get(FORMAT).map_err(|error| broken(&error))?.map(|format| format.value());
    match format {
        Some(OURS) => {}
        Some(newer) if newer > OURS => return Err(LedgerError::Newer(path.to_owned(), newer)),
        Some(_) | None => return Err(broken(&"it does not say its format")),
    }
    let number = |name| about.get(name).map(|found| found.map(|number| number.value()));
    let id = number(ID).map_err(|error| broken(&error))?;
    let commit = number(COMMIT).map_err(|error| broken(&error))?;
    let stand = id.zip(commit).map(|(id, commit)| Stand { id, commit });
    let histories = number(histories::BYTES).map_err(|error| broken(&error))?.unwrap_or_default();
    let table = transaction.open_table(RECORDS).map_err(|error| broken(&error))?;
    let (mut records, mut bytes) = (Vec::new(), histories);
    for entry in table.iter().map_err(|error| broken(&error))? {
        let (key, text) = entry.map_err(|error| broken(&error))?;
        let mut record: Record =
            serde_json::from_slice(text.value()).map_err(|error| broken(&error))?;
        if key.value() != record.machine.mac.octets() {
            return Err(broken(&format!("{} stands in another's place", record.machine.mac)));
        }
        // The history stays on disk; an earlier release kept it in the record.
        record.split_history();
        bytes += text.value().len() as u64;
        records.push((record.last_seen, Box::new(record)));
    }
    Ok((records, stand, bytes))
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    builder
}

/// Why there is no ledger.
#[derive(Debug, Eq, PartialEq)]
pub enum LedgerError {
    /// The file is not what was written.
    Broken(PathBuf, String),
    /// Somebody took it away while it was in use.
    Gone(PathBuf),
    /// Another process has it.
    InUse(PathBuf),
    /// The system does not let us at it.
    Io(PathBuf, String),
    /// It is not what was here the last time, or its newest entries are gone.
    Lost(PathBuf, Loss),
    /// A later bootbox wrote it.
    Newer(PathBuf, u64),
    /// Anyone may read it: symlinks lead it into a folder that is served.
    Served(PathBuf),
}

impl LedgerError {
    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        Self::Io(path.to_owned(), error.to_string())
    }

    fn broken(path: &Path, error: impl fmt::Display) -> Self {
        Self::Broken(path.to_owned(), error.to_string())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "DatabaseError is not exhaustive")]
    fn opening(path: &Path, error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse(path.to_owned()),
            DatabaseError::Storage(StorageError::Io(error))
                if error.kind() != io::ErrorKind::InvalidData
                    && error.kind() != io::ErrorKind::UnexpectedEof =>
            {
                Self::io(path, &error)
            }
            error => Self::broken(path, error),
        }
    }

    /// Whether it is the file that is wrong, not the system.
    pub fn is_about_the_file(&self) -> bool {
        match self {
            Self::Broken(..) | Self::Lost(..) | Self::Newer(..) => true,
            Self::Gone(_) | Self::InUse(_) | Self::Io(..) | Self::Served(_) => false,
        }
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(path, error) => write!(
                f,
                "[install] ledger {}: it cannot be read as a ledger ({error}); put a copy back, or \
                 move it away with its mark, and then every machine counts as new and may be \
                 installed again",
                path.display()
            ),
            Self::Gone(path) => write!(
                f,
                "[install] ledger {}: it was taken away or replaced while it was in use, and \
                 nothing is installed; move it back, or put a copy there and start again",
                path.display()
            ),
            Self::InUse(path) => write!(
                f,
                "[install] ledger {}: another process has it open; stop the other bootbox, or name \
                 another file",
                path.display()
            ),
            Self::Io(path, error) => write!(
                f,
                "[install] ledger {}: {error}; its folder must be one that bootbox may write to",
                path.display()
            ),
            Self::Lost(path, loss) => {
                write!(f, "[install] ledger {}: {loss}", path.display())
            }
            Self::Served(path) => write!(
                f,
                "[install] ledger {}: it lies in a folder that is served, and anyone may read it; \
                 name another one",
                path.display()
            ),
            Self::Newer(path, format) => write!(
                f,
                "[install] ledger {}: its format {format} is a later bootbox's, this one knows \
                 {OURS}; start that one again",
                path.display()
            ),
        }
    }
}

impl std::error::Error for LedgerError {}
