//! Releases on disk: finds them, verifies their signatures off the async threads, and says whether
//! a profile may be served.
//!
//! ```text
//!   scan ── Release ──┐
//!   verifier ─────────┼── release::gate ── open | closed, why | pending, how far
//!     memory: what was good once stays so until the file changes
//!   proofs: one thread that verifies what profiles with verify = true name
//! ```

mod memory;
mod preflight;
mod proofs;
mod scan;
mod verifier;

pub use preflight::Preflight;
pub use proofs::Proofs;
use std::path::{Path, PathBuf};

pub use scan::{Found, below, of_subject, scan, subject};
pub use verifier::{KeyringError, Progress, Verifier};

/// Where the server remembers which files were good, so that nobody reads them again: beside its
/// ledger.
pub fn proven(ledger: &Path) -> PathBuf {
    ledger.with_file_name("verified")
}
