//! TOML in, a [`Config`] that is valid by construction out.
//!
//! Every problem is found here, with its line and what to write instead; only what needs the disk
//! or the network (files, folders, interfaces) is left to `serve::site`. Never reads a file.

mod error;
mod patterns;
mod resolve;
mod select;
mod shape;

use std::path::PathBuf;

use crate::{catalog::Catalog, path::RepositoryPath};
pub use error::{ConfigError, Problem};
pub use shape::Solicitations;

/// Everything an operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read, as the operator calls it.
    pub name: String,
    /// Interfaces to serve on; when empty, the only one that has an IPv4 address.
    pub interfaces: Vec<String>,
    /// Whether iPXE's question for an IPv6 router is answered.
    pub answer_router_solicitations: Solicitations,
    /// TCP port of HTTP.
    pub http_port: u16,
    /// The folder that is served at `/`.
    pub repository: Folder,
    /// A folder with boot programs of the operator's own.
    pub boot_programs: Option<Folder>,
    /// What each machine should boot.
    pub catalog: Catalog,
    /// The repository files that profiles name.
    pub files: Vec<NamedFile>,
}

/// A folder, and the line that names it; the default has none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Folder {
    /// Absolute.
    pub path: PathBuf,
    /// From 1.
    pub line: Option<usize>,
}

/// A file that must be there before a machine asks for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedFile {
    /// Where in the repository.
    pub path: RepositoryPath,
    /// From 1.
    pub line: usize,
}

impl Config {
    /// Reads a config; `name` is what the operator calls it, for errors.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        match toml::from_str(text) {
            Ok(file) => resolve::resolve(file, text, name),
            Err(error) => Err(ConfigError::syntax(&error, text, name)),
        }
    }

    /// Whether going over to `next` means other sockets, which are opened only at start.
    pub fn needs_restart(&self, next: &Self) -> bool {
        self.interfaces != next.interfaces
            || self.http_port != next.http_port
            || self.answer_router_solicitations != next.answer_router_solicitations
    }

    /// What holds when there is no config file: no machine is answered.
    #[expect(clippy::expect_used, reason = "a test parses the empty text")]
    pub fn built_in() -> Self {
        Self::parse("", "built-in defaults").expect("the defaults are valid")
    }
}

#[cfg(test)]
mod tests;
