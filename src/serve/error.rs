//! Why the server does not start, or stops by itself.

use std::{fmt, io};

use super::{
    control,
    interface::{BindError, InterfaceError},
    ledger::LedgerError,
    site::SiteError,
};

/// Why the server does not start, or stops by itself.
#[derive(Debug)]
pub enum ServeError {
    /// A port cannot be had.
    Bind(BindError),
    /// Another server runs.
    Control(control::OpenError),
    /// It is not known where to serve.
    Interface(InterfaceError),
    /// The system refuses something that always works.
    Io(io::Error),
    /// There is no ledger to work by.
    Ledger(LedgerError),
    /// A service failed; the others were stopped.
    Service(String),
    /// The config cannot be loaded.
    Site(SiteError),
}

impl From<BindError> for ServeError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl From<InterfaceError> for ServeError {
    fn from(error: InterfaceError) -> Self {
        Self::Interface(error)
    }
}

impl From<LedgerError> for ServeError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<SiteError> for ServeError {
    fn from(error: SiteError) -> Self {
        Self::Site(error)
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Control(error) => error.fmt(f),
            Self::Interface(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Ledger(error) => error.fmt(f),
            Self::Service(what) => f.write_str(what),
            Self::Site(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind(error) => Some(error),
            Self::Control(error) => Some(error),
            Self::Interface(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::Ledger(error) => Some(error),
            Self::Service(_) => None,
            Self::Site(error) => Some(error),
        }
    }
}
