//! The socket itself: made so that it is its owner's from the first moment, and never taken from a
//! server that lives.

use std::{
    fmt,
    fs::{self, DirBuilder},
    io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _},
        net::UnixListener as StdListener,
    },
    path::{Path, PathBuf},
};

use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

/// Commands that wait to be accepted.
const BACKLOG: i32 = 64;

/// The open socket; its file goes when this does.
#[derive(Debug)]
pub(in crate::serve) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Device and number of the file that is ours.
    file: (u64, u64),
}

impl Listener {
    /// Opens the socket at this path, in the place of one that a killed server left.
    pub(in crate::serve) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |error| OpenError::Socket { path: path.to_owned(), error };
        if let Some(folder) = path.parent() {
            make(folder).map_err(|error| OpenError::Folder { path: folder.to_owned(), error })?;
        }
        clear(path)?;
        let socket = bind(path).map_err(failed)?;
        let file = fs::symlink_metadata(path).map_err(failed)?;
        let socket = UnixListener::from_std(socket).map_err(failed)?;
        Ok(Self { socket, path: path.to_owned(), file: (file.dev(), file.ino()) })
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.socket.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == self.file);
        if is_ours {
            // What is left behind is removed by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The folder, closed to others, where there is none.
fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // A folder that is there need not be in one that may be written to.
        Err(_) if folder.is_dir() => Ok(()),
        made => made,
    }
}

/// Takes away what a killed server left. Two that start at the same moment with one socket and two
/// ledgers could still take it from each other; with one ledger, its lock stops the second before.
fn clear(path: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::Socket { path: path.to_owned(), error };
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            return Err(OpenError::NoSocket { path: path.to_owned() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    // Not blocking: a server that is too busy to accept lives, too.
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(failed)?;
    match SockAddr::unix(path).and_then(|address| probe.connect(&address)) {
        Ok(()) => Err(OpenError::Taken { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(OpenError::Taken { path: path.to_owned() })
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

fn bind(path: &Path) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    // Linux gives the file the mode of the socket, less the umask (unix(7) is silent, af_unix.c is
    // not): so the file is closed to others before it has a name, whatever the umask.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Why there is no socket for commands.
#[derive(Debug)]
pub enum OpenError {
    /// Its folder cannot be made.
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Something else has its name.
    NoSocket {
        /// The name.
        path: PathBuf,
    },
    /// The system refuses it.
    Socket {
        /// Where it was to be.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another server listens there.
    Taken {
        /// Where.
        path: PathBuf,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, error } => write!(
                f,
                "the folder {} cannot be made ({error}); make it for the user that bootbox runs as \
                 (RuntimeDirectory= in a unit), or name another [control] socket",
                path.display()
            ),
            Self::NoSocket { path } => write!(
                f,
                "{} is there and is no socket; move it away, or name another [control] socket",
                path.display()
            ),
            Self::Socket { path, error } => write!(
                f,
                "{} cannot be opened ({error}); give its folder to the user that bootbox runs as, \
                 or name another [control] socket",
                path.display()
            ),
            Self::Taken { path } => write!(
                f,
                "another bootbox serves already with {}; stop it, or name another [control] socket \
                 in one of the two configs",
                path.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Folder { error, .. } | Self::Socket { error, .. } => Some(error),
            Self::NoSocket { .. } | Self::Taken { .. } => None,
        }
    }
}
