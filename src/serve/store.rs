//! The files we serve, opened beneath their root whatever the name says.
//!
//! A name is looked up among the boot programs (the operator's folder, then the embedded ones) and
//! then in the repository. `beneath` keeps every lookup beneath the root, symlinks included.

use std::{
    fmt, fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt,
    path::Path,
    time::SystemTime,
};

use nix::{dir::Dir, errno::Errno, fcntl::OFlag};

use super::{
    access::advice,
    beneath::{Lookup, Root},
};
use crate::{firmware, path::RepositoryPath};

/// The folders that are served.
#[derive(Debug)]
pub struct Store {
    boot_programs: Option<Root>,
    repository: Option<Root>,
}

/// A file that is open, as it was when it was opened.
#[derive(Debug)]
pub struct Opened {
    /// Where its bytes are.
    pub content: Content,
    /// Which file it was, to see whether it still is.
    pub stamp: Stamp,
}

/// Where the bytes of an open file are.
#[derive(Debug)]
pub enum Content {
    /// In this binary.
    Embedded(&'static [u8]),
    /// On disk.
    File(fs::File),
}

/// The identity of a file's content: a file whose stamp differs was changed or replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    /// Size in bytes.
    pub len: u64,
    /// Last change of the content; `None` for what is embedded.
    pub modified: Option<SystemTime>,
    /// Inode on disk, hash of what is embedded.
    identity: u64,
}

impl Store {
    /// Opens the folders; a boot program folder or repository that cannot be opened is an error.
    pub fn open(boot_programs: Option<&Path>, repository: Option<&Path>) -> io::Result<Self> {
        let boot_programs = boot_programs.map(Self::open_folder).transpose()?;
        let repository = repository.map(Self::open_folder).transpose()?;
        Ok(Self::new(boot_programs, repository))
    }

    /// Serves folders that are open already.
    pub fn new(boot_programs: Option<Root>, repository: Option<Root>) -> Self {
        Self { boot_programs, repository }
    }

    /// Opens one folder, for lookups beneath it.
    pub fn open_folder(path: &Path) -> io::Result<Root> {
        Ok(Root::open(path)?)
    }

    /// Looks names up in this way, whatever the system allows.
    pub fn by(self, lookup: Lookup) -> Self {
        let by = |root: Root| root.by(lookup);
        Self { boot_programs: self.boot_programs.map(by), repository: self.repository.map(by) }
    }

    /// Whether there is a repository to look into.
    pub fn has_repository(&self) -> bool {
        self.repository.is_some()
    }

    /// Opens a file for reading. Never blocks on a FIFO or a device: those are refused.
    pub fn read(&self, path: &RepositoryPath) -> Result<Opened, OpenError> {
        if let Some(folder) = &self.boot_programs {
            match open_beneath(folder, path) {
                Err(OpenError::NotFound) => {}
                found => return found,
            }
        }
        if let Some(program) = firmware::embedded(path.as_bytes()) {
            return Ok(Opened::embedded(program));
        }
        match &self.repository {
            Some(folder) => open_beneath(folder, path),
            None => Err(OpenError::NotFound),
        }
    }

    /// A boot program of this binary, where no folder could have another of its name: the disk is
    /// not asked.
    pub fn read_embedded(&self, path: &RepositoryPath) -> Option<Opened> {
        match self.boot_programs {
            Some(_) => None,
            None => firmware::embedded(path.as_bytes()).map(Opened::embedded),
        }
    }

    /// Opens a folder of the repository, or its root, to list what is in it.
    pub fn list(&self, folder: Option<&RepositoryPath>) -> Result<Dir, OpenError> {
        let repository = self.repository.as_ref().ok_or(OpenError::NotFound)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let name = folder.map_or(&b"."[..], RepositoryPath::as_bytes);
        Ok(Dir::from_fd(repository.look_up(name, flags)?)?)
    }
}

impl Opened {
    fn embedded(program: firmware::Embedded) -> Self {
        let len = program.bytes.len() as u64;
        let stamp = Stamp { len, modified: None, identity: program.hash };
        Self { content: Content::Embedded(program.bytes), stamp }
    }

    /// The first so many bytes, or all where there are fewer.
    pub fn head(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        match &self.content {
            Content::Embedded(bytes) => (&bytes[..]).take(most as u64).read_to_end(&mut head)?,
            Content::File(file) => file.take(most as u64).read_to_end(&mut head)?,
        };
        Ok(head)
    }

    /// Whether the open file is still the one the stamp was taken of: same size, not written to,
    /// and not replaced in its folder.
    pub fn is_unchanged(&self) -> bool {
        match &self.content {
            Content::Embedded(_) => true,
            Content::File(file) => file
                .metadata()
                .is_ok_and(|metadata| metadata.nlink() > 0 && Stamp::of(&metadata) == self.stamp),
        }
    }

    /// Whether both are one file on disk, whatever names they were opened by.
    pub fn is_same_file(&self, other: &Self) -> bool {
        let identity = |opened: &Self| match &opened.content {
            Content::Embedded(_) => None,
            Content::File(file) => file.metadata().ok().map(|it| (it.dev(), it.ino())),
        };
        identity(self).is_some_and(|own| identity(other) == Some(own))
    }
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self { len: metadata.len(), modified: metadata.modified().ok(), identity: metadata.ino() }
    }

    /// The strong validator of this content (RFC 9110 section 8.8.3), with its quotes.
    pub fn etag(&self) -> String {
        let since = self.modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let nanoseconds = since.map_or(0, |since| since.as_nanos());
        format!("\"{:x}-{:x}-{nanoseconds:x}\"", self.identity, self.len)
    }
}

fn open_beneath(folder: &Root, path: &RepositoryPath) -> Result<Opened, OpenError> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = fs::File::from(folder.look_up(path.as_bytes(), flags)?);
    let metadata = file.metadata().map_err(OpenError::Io)?;
    if !metadata.is_file() {
        return Err(OpenError::NotAFile);
    }
    Ok(Opened { stamp: Stamp::of(&metadata), content: Content::File(file) })
}

/// Why a file is not served.
#[derive(Debug)]
pub enum OpenError {
    /// It is a config, which is made for each machine.
    Config,
    /// It exists but cannot be opened.
    Io(io::Error),
    /// It is a directory, device, socket or FIFO.
    NotAFile,
    /// There is none of that name.
    NotFound,
    /// A symlink on its way leads out of the root.
    Outside,
    /// Args name it, and it is sent only to who has a token.
    Token,
}

impl OpenError {
    /// The remedy for a file that was named by this path; begins with "; ".
    pub(super) fn remedy(&self, path: &Path) -> String {
        match self {
            Self::Io(error) => advice(path, error).unwrap_or_default(),
            Self::Outside => {
                "; a symlink must end inside: copy what it names, or name another file".to_owned()
            }
            Self::Config | Self::NotAFile | Self::NotFound | Self::Token => {
                "; put it there, or name another file".to_owned()
            }
        }
    }
}

impl From<Errno> for OpenError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "Errno has 130 variants")]
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG => Self::NotFound,
            Errno::EXDEV | Errno::ELOOP => Self::Outside,
            // What O_NONBLOCK makes of a socket or a device without a driver.
            Errno::ENXIO | Errno::ENODEV => Self::NotAFile,
            other => Self::Io(other.into()),
        }
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("is made for each machine, over HTTP only"),
            Self::Io(error) => write!(f, "cannot be read: {error}"),
            Self::NotAFile => f.write_str("is not a regular file"),
            Self::NotFound => f.write_str("no such file"),
            Self::Outside => f.write_str("leads out of the repository"),
            Self::Token => f.write_str("is named by args, and sent only to who has a token"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Config | Self::NotAFile | Self::NotFound | Self::Outside | Self::Token => None,
        }
    }
}
