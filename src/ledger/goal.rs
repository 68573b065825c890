//! The files that an attempt must have fetched before its machine may be installed, and the
//! addresses that asked for its scripts.

use std::{collections::BTreeSet, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::path::UrlPath;

/// Paths that one attempt remembers; where there are more, nothing of it is certain.
const MOST_PATHS: usize = 64;
/// Bytes of all of them: a path may have a machine's labels in it, as anybody tells them.
const MOST_BYTES: usize = 4096;

/// The files that an installer is known to fetch from this server last, as paths of URLs. A folder
/// ends in a slash, and a name stands for what lies beneath it, too.
///
/// Where nothing is named, an image by one of the names that CoreOS gives is the last.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Goal {
    /// Images that go onto the disk.
    pub images: BTreeSet<String>,
    /// Once one of these was sent, the machine may be installed.
    pub files: BTreeSet<String>,
    /// Nothing of it is fetched here but the script itself.
    pub is_script: bool,
}

impl Goal {
    /// Whether this is an image that goes onto the disk.
    pub fn has_image(&self, path: &UrlPath) -> bool {
        names(&self.images, path)
    }

    /// Whether the machine may be installed once it has this.
    pub fn has_file(&self, path: &UrlPath) -> bool {
        names(&self.files, path)
    }

    /// The goal of one of two attempts, where it is not known which of them goes on. `None` where
    /// that is too much to remember.
    pub(super) fn or(mut self, other: &Self) -> Option<Self> {
        self.images.extend(other.images.iter().cloned());
        self.files.extend(other.files.iter().cloned());
        self.is_script |= other.is_script;
        let bytes: usize = self.images.iter().chain(&self.files).map(String::len).sum();
        let fits = self.images.len() + self.files.len() <= MOST_PATHS && bytes <= MOST_BYTES;
        fits.then_some(self)
    }
}

fn names(named: &BTreeSet<String>, path: &UrlPath) -> bool {
    let path = path.to_string();
    named.iter().any(|name| {
        let below = path.strip_prefix(name.as_str());
        below.is_some_and(|below| below.is_empty() || below.starts_with('/') || name.ends_with('/'))
    })
}

/// The addresses that had a part in something.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// None that is known.
    #[default]
    Nobody,
    /// This one alone.
    One(Ipv4Addr),
    /// More than one.
    Several,
}

impl Peer {
    /// The same after this address had a part, too.
    pub fn and(self, address: Ipv4Addr) -> Self {
        match self {
            Self::Nobody => Self::One(address),
            Self::One(known) if known == address => self,
            Self::One(_) | Self::Several => Self::Several,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_names_files_and_all_that_lies_beneath_a_folder() {
        let files = ["/cfg", "/seed/", "/os"].map(str::to_owned).into();
        let goal = Goal { files, ..Goal::default() };
        for (path, is_named) in [
            ("/cfg", true),
            ("/cfg2", false),
            ("/seed/user-data", true),
            ("/seed", false),
            ("/os/images/install.img", true),
            ("/ossified", false),
        ] {
            let parsed = UrlPath::parse(path.as_bytes()).unwrap();
            assert_eq!(
                (goal.has_file(&parsed), goal.has_image(&parsed)),
                (is_named, false),
                "{path}"
            );
        }
    }

    #[test]
    fn a_goal_of_too_many_paths_is_none() {
        let of = |from: u32| Goal {
            files: (from..from + 40).map(|number| format!("/{number}")).collect(),
            ..Goal::default()
        };
        assert_eq!(of(0).or(&of(0)), Some(of(0)));
        assert_eq!(of(0).or(&of(100)), None);
        let long = |name: char| Goal {
            files: [format!("/{}", name.to_string().repeat(3000))].into(),
            ..Goal::default()
        };
        assert_eq!(long('a').or(&long('a')), Some(long('a')));
        assert_eq!(long('a').or(&long('b')), None);
    }
}
