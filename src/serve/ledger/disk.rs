//! The ledger's file: one transactional table, a machine's address to its record.
//!
//! Never makes a new file in the place of one that is there, whatever is wrong with it: an empty
//! ledger would let every machine be installed again.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use redb::{
    Builder, Database, DatabaseError, Durability, ReadableTable as _, StorageError,
    TableDefinition, TableError,
};

use crate::{ledger::Record, machine::Mac};

/// Hardware address to record, as JSON.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("machines");
/// What the file is.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
const FORMAT: &str = "format";
/// The only format there is.
const OURS: u64 = 1;
/// The records are in memory anyway.
const CACHE: usize = 4 << 20;

/// The open file.
pub(super) struct Disk {
    path: PathBuf,
    is_new: bool,
    /// Absent after an error: what the file holds then is read again.
    database: Option<Database>,
    /// Which file that is: device and inode.
    file: (u64, u64),
}

/// Opens the file, or makes it where there is none, and reads it.
pub(super) fn open(path: &Path) -> Result<(Disk, Vec<Record>), LedgerError> {
    let is_new = !path.try_exists().map_err(|error| LedgerError::io(path, &error))?;
    if is_new {
        create(path)?;
    }
    let (database, records) = load(path)?;
    let file = identity(path).map_err(|error| LedgerError::io(path, &error))?;
    Ok((Disk { path: path.to_owned(), is_new, database: Some(database), file }, records))
}

impl Disk {
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Writes these records, all of them or none; `None` takes one away. Returns when they would
    /// outlive a power cut.
    pub(super) fn write<'a>(
        &mut self,
        records: impl Iterator<Item = (Mac, Option<&'a Record>)>,
    ) -> Result<(), String> {
        let database = self.database.take().ok_or("it is closed")?;
        // What is written to a file without its name is gone at the next start.
        self.is_in_place().map_err(|error| error.to_string())?;
        // redb takes for granted in places that a file is what it wrote, and may panic once more
        // when it is closed.
        let written = catch_unwind(AssertUnwindSafe(|| commit(&database, records)));
        let error = match written {
            Ok(Ok(())) => {
                self.database = Some(database);
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "its parts contradict each other".to_owned(),
        };
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
        Err(error)
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
    pub(super) fn recover(&mut self) -> Option<Result<Vec<Record>, LedgerError>> {
        if self.database.is_some() {
            return None;
        }
        Some(self.is_in_place().and_then(|()| {
            let (database, records) = load(&self.path)?;
            self.database = Some(database);
            Ok(records)
        }))
    }
}

fn commit<'a>(
    database: &Database,
    records: impl Iterator<Item = (Mac, Option<&'a Record>)>,
) -> Result<(), Box<redb::Error>> {
    let mut transaction = database.begin_write().map_err(boxed)?;
    transaction.set_durability(Durability::Immediate);
    let mut table = transaction.open_table(RECORDS).map_err(boxed)?;
    for (mac, record) in records {
        let key = mac.octets();
        match record {
            Some(record) => {
                let text = serde_json::to_vec(record).map_err(io::Error::other).map_err(boxed)?;
                table.insert(key.as_slice(), text.as_slice()).map_err(boxed)?;
            }
            None => drop(table.remove(key.as_slice()).map_err(boxed)?),
        }
    }
    drop(table);
    transaction.commit().map_err(boxed)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let about = fs::metadata(path)?;
    Ok((about.dev(), about.ino()))
}

fn boxed(error: impl Into<redb::Error>) -> Box<redb::Error> {
    Box::new(error.into())
}

/// Makes a whole ledger beside its name first: one that is half made never gets it.
fn create(path: &Path) -> Result<(), LedgerError> {
    let io = |error: io::Error| LedgerError::io(path, &error);
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.exists() {
        fs::create_dir_all(folder).map_err(io)?;
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

/// Opens a file that is there, and reads all of it.
fn load(path: &Path) -> Result<(Database, Vec<Record>), LedgerError> {
    // redb takes for granted in places that a file is what it wrote.
    catch_unwind(AssertUnwindSafe(|| {
        let mut database =
            builder().open(path).map_err(|error| LedgerError::opening(path, error))?;
        database.check_integrity().map_err(|error| LedgerError::opening(path, error))?;
        let records = read(path, &database)?;
        Ok((database, records))
    }))
    .unwrap_or_else(|_| Err(LedgerError::broken(path, "its parts contradict each other")))
}

fn read(path: &Path, database: &Database) -> Result<Vec<Record>, LedgerError> {
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
    let table = transaction.open_table(RECORDS).map_err(|error| broken(&error))?;
    let mut records = Vec::new();
    for entry in table.iter().map_err(|error| broken(&error))? {
        let (key, text) = entry.map_err(|error| broken(&error))?;
        let record: Record =
            serde_json::from_slice(text.value()).map_err(|error| broken(&error))?;
        if key.value() != record.machine.mac.octets() {
            return Err(broken(&format!("{} stands in another's place", record.machine.mac)));
        }
        records.push(record);
    }
    Ok(records)
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
            Self::Broken(..) | Self::Newer(..) => true,
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
                 move it away, and then every machine counts as new and may be installed again",
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
