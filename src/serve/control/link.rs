//! A command's end of the socket: asks the running server, and reads what it says.

use std::{
    fmt,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::control::{Refusal, Reply, Request, Sheet};

/// How long the server may be silent: it answers once the disk has an order.
const PATIENCE: Duration = Duration::from_secs(30);
/// A machine's line is far shorter than this, in bytes.
const LONGEST_REPLY: u64 = 4 * 1024 * 1024;

/// Asks the server behind this socket; the machines that it tells of.
pub fn ask(socket: &Path, request: &Request) -> Result<Vec<Sheet>, AskError> {
    let lost = |error| AskError::Lost { path: socket.to_owned(), error };
    let mut stream = UnixStream::connect(socket).map_err(|error| {
        let path = socket.to_owned();
        match error.kind() == io::ErrorKind::PermissionDenied {
            true => AskError::Permission { path },
            false => AskError::Nobody { path, error },
        }
    })?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(lost)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(lost)?;
    let line = request.line().map_err(lost)?;
    // Whom it does not listen to, the server tells so without reading.
    let written = stream.write_all(&line);
    let mut replies = BufReader::new(stream);
    let mut sheets = Vec::new();
    loop {
        let mut line = Vec::new();
        replies.by_ref().take(LONGEST_REPLY).read_until(b'\n', &mut line).map_err(lost)?;
        if line.is_empty() {
            let end = || io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(lost(written.err().unwrap_or_else(end)));
        }
        match Reply::read(&line).map_err(AskError::Refused)? {
            Reply::End => return Ok(sheets),
            Reply::Machine(sheet) => sheets.push(*sheet),
            Reply::Refused(refusal) => return Err(AskError::Refused(refusal)),
        }
    }
}

/// Why a command got no answer.
#[derive(Debug)]
pub enum AskError {
    /// The server went away, or fell silent.
    Lost {
        /// Its socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// No server listens.
    Nobody {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The socket is another user's.
    Permission {
        /// Where it is.
        path: PathBuf,
    },
    /// The server says no.
    Refused(Refusal),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { path, error } => write!(
                f,
                "the bootbox that serves with {} did not answer to the end ({error}); \
                 `bootbox machines` shows what was done",
                path.display()
            ),
            Self::Nobody { path, error } => {
                write!(
                    f,
                    "no bootbox serves with {}: {error}; start `bootbox serve`, or name its config \
                     with --config",
                    path.display()
                )
            }
            Self::Permission { path } => write!(
                f,
                "{} is not yours to use; run this as root or as the user that bootbox runs as",
                path.display()
            ),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for AskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lost { error, .. } | Self::Nobody { error, .. } => Some(error),
            Self::Permission { .. } | Self::Refused(_) => None,
        }
    }
}
