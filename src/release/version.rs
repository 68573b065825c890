//! Versions: what `version.txt` says, and which is the newest.

use super::{Family, Presence, Release};

/// The folder whose name is no version.
pub(super) const CURRENT: &str = "current";

impl Family {
    /// The word in `version.txt` that installers look for.
    fn version_word(self) -> &'static str {
        match self {
            Self::CoreOs => "COREOS_VERSION",
            Self::Flatcar => "FLATCAR_VERSION",
        }
    }
}

/// The text of a `current/version.txt`, as much of it as installers read.
pub fn version_txt(family: Family, version: &str) -> String {
    let word = family.version_word();
    format!("{word}={version}\n{word}_ID={version}\n")
}

/// What a `version.txt` says of this family. A version that cannot be a folder's name is none.
pub(super) fn stated_in(text: &str, family: Family) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    text.lines()
        .filter_map(|line| line.strip_prefix(family.version_word())?.strip_prefix('='))
        .map(str::trim_end)
        .find(|version| !version.is_empty() && version.chars().all(is_plain))
        .map(str::to_owned)
}

/// The release of the highest version that can be installed: what `current` would name.
///
/// Installers look in one folder, so hand in the releases of one [`Release::base`].
pub fn newest<'a>(
    releases: impl IntoIterator<Item = &'a Release>,
    family: Family,
) -> Option<&'a Release> {
    releases
        .into_iter()
        .filter(|release| release.family == family && !release.is_current())
        .filter(|release| release.doubt.is_none() && release.is_installable())
        .max_by(|one, other| order(&one.version).cmp(&order(&other.version)))
}

impl Release {
    /// The folder that has the folders of versions, as `coreos-install -b` names it; none for `/`.
    pub fn base(&self) -> Option<crate::path::RepositoryPath> {
        self.folder.folder()
    }

    /// Whether there is a disk image with its signature.
    pub fn is_installable(&self) -> bool {
        self.lacks_disk().is_empty() && self.disks().next().is_some()
    }

    /// The bytes of all that is there, signatures left out.
    pub fn size(&self) -> u64 {
        let bytes = self.parts.values().map(|part| match part.file {
            Presence::Found(bytes) => bytes,
            Presence::Absent | Presence::Useless(_) => 0,
        });
        bytes.sum()
    }
}

/// 1122.10.0 comes after 1122.2.0, and 1122.2.0+nightly after both of its own number's.
fn order(version: &str) -> (Vec<u64>, &str) {
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    let (numbers, rest) = version.split_at(end);
    (numbers.split('.').map(|number| number.parse().unwrap_or(0)).collect(), rest)
}
