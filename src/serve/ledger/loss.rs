//! Finds what is missing of a ledger, by its mark.

use std::{fmt, path::PathBuf};

use super::{disk::Stand, mark::Marked};
use crate::ledger::Moment;

/// Why a ledger is not the one that was here, or not all of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Loss {
    /// Entries that were written are not in it.
    Behind {
        /// Its newest commit; absent where it has no numbers yet.
        commit: Option<u64>,
        /// The ledger as its mark has it.
        marked: Known,
        /// The mark's file.
        mark: PathBuf,
    },
    /// It is a symbolic link, and nothing is there.
    Link {
        /// Where it leads.
        target: PathBuf,
    },
    /// There is no file, and there has been one.
    Missing {
        /// The ledger as its mark has it.
        marked: Known,
        /// The mark's file.
        mark: PathBuf,
    },
    /// A folder, device or the like stands there.
    NoFile,
    /// It is another ledger.
    Other {
        /// The ledger as its mark has it.
        marked: Known,
        /// The mark's file.
        mark: PathBuf,
    },
    /// The mark itself cannot be read, so nobody can tell.
    Unmarked {
        /// The mark's file.
        mark: PathBuf,
    },
}

/// The ledger as a mark has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Known {
    /// The number of its newest commit.
    pub commit: u64,
    /// Machines it knew.
    pub machines: u64,
    /// When it was written last.
    pub at: Moment,
}

impl From<Marked> for Known {
    fn from(marked: Marked) -> Self {
        Self { commit: marked.commit, machines: marked.machines, at: Moment(marked.at) }
    }
}

impl Loss {
    /// Compares a ledger with its mark. One that is ahead is whole: it is written first.
    pub(super) fn between(
        marked: &Marked,
        stand: Option<Stand>,
        mark: PathBuf,
    ) -> Result<(), Self> {
        let known = Known::from(*marked);
        match stand {
            Some(stand) if stand.id != marked.id => Err(Self::Other { marked: known, mark }),
            Some(stand) if stand.commit >= marked.commit => Ok(()),
            stand => {
                let commit = stand.map(|stand| stand.commit);
                Err(Self::Behind { commit, marked: known, mark })
            }
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind { commit, marked, mark } => {
                match commit {
                    Some(commit) => write!(f, "its newest commit is {commit}")?,
                    None => f.write_str("its commits have no numbers")?,
                }
                write!(
                    f,
                    ", and commit {} was written at {}: its newest entries are lost, or it is an \
                     older copy. Nothing is installed: put the newest copy back; or, to go on with \
                     what it has, run `rm {}`; a machine that was installed since may then be \
                     installed again, and its disk wiped, unless you run `bootbox hold` for it",
                    marked.commit,
                    marked.at,
                    mark.display()
                )
            }
            Self::Link { target } => write!(
                f,
                "it is a symbolic link to {}, and nothing is there. Nothing is installed: mount \
                 the disk it is on, or change the link",
                target.display()
            ),
            Self::Missing { marked, mark } => write!(
                f,
                "it is gone; it knew {} at {}. Nothing is installed: mount the disk it is on, or \
                 put a copy back; or, to begin with an empty ledger, run `rm {}`; every machine \
                 then counts as new, and may be installed again",
                machines(marked.machines),
                marked.at,
                mark.display()
            ),
            Self::NoFile => f.write_str(
                "it is no regular file. Nothing is installed: take it away, or name another file",
            ),
            Self::Other { marked, mark } => write!(
                f,
                "it is another ledger than the one that was here, which knew {} at {}. Nothing is \
                 installed: put that one back; or, to go on with this one, run `rm {}`; a machine \
                 that it does not know counts as new, and may be installed again",
                machines(marked.machines),
                marked.at,
                mark.display()
            ),
            Self::Unmarked { mark } => write!(
                f,
                "its mark {} is damaged, so nobody can tell whether the ledger is whole. Nothing is \
                 installed: make sure that it is the right ledger, then run `rm {}`",
                mark.display(),
                mark.display()
            ),
        }
    }
}

fn machines(count: u64) -> String {
    match count {
        1 => "1 machine".to_owned(),
        count => format!("{count} machines"),
    }
}
