//! CoreOS and Flatcar releases: which files make one, what it lacks, and whether it may be served.
//!
//! Decides from names, texts and bytes that are handed in; `serve::releases` finds and reads the
//! files. Never opens one, never reads a clock.

mod gate;
mod keyring;
mod signature;
mod version;

use std::{collections::BTreeMap, fmt};

use crate::path::RepositoryPath;
pub use gate::{Finding, Gate, Subject, cautions, gate};
pub use keyring::{Keyring, KeyringFault};
pub use signature::{Check, Fault, LONGEST, Verdict, digest};
use version::{CURRENT, stated_in};
pub use version::{newest, version_txt};

/// What is put behind the name of a file for that of its signature.
const SIGNATURE: &str = ".sig";

/// Whose release it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Family {
    /// CoreOS Container Linux, until 2020.
    CoreOs,
    /// Its successor.
    Flatcar,
}

/// A file that a release has, besides signatures.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Piece {
    /// What PXE boots.
    Kernel,
    /// The whole system, for RAM.
    Initrd,
    /// What an installer writes to the disk.
    Disk,
    /// The same for one platform: `coreos-install -o OEM`.
    OemDisk(String),
}

/// Whether a file can be served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Presence {
    /// It is not there.
    Absent,
    /// It is there, with so many bytes.
    Found(u64),
    /// It is there, and is of no use: why.
    Useless(String),
}

/// A piece of one release, and its signature.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// Where it is, or would be.
    pub path: RepositoryPath,
    /// Whether it is there.
    pub file: Presence,
    /// Whether its signature is, beside it.
    pub signature: Presence,
}

/// One version of one family, in one folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Release {
    /// Whose.
    pub family: Family,
    /// The folder that has its files.
    pub folder: RepositoryPath,
    /// What `version.txt` says, else the folder's name.
    pub version: String,
    /// Why it cannot be relied on that it is this version.
    pub doubt: Option<String>,
    /// What `version.txt` of the folder `current` beside it says.
    pub current: Option<String>,
    /// Kernel, initrd and disk image, there or not, and the OEM images that are there.
    pub parts: BTreeMap<Piece, Part>,
}

/// What a release is good for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum State {
    /// Booting, and installing what was booted.
    Complete,
    /// Neither, or not both: what is missing.
    Incomplete(Vec<String>),
    /// Booting alone: no disk image.
    RamOnly,
}

impl Release {
    /// The releases in one folder, at most one a family, from the names of all its files.
    pub fn in_folder<'a>(
        folder: &RepositoryPath,
        files: impl IntoIterator<Item = (&'a [u8], Presence)>,
        version_txt: Option<&str>,
    ) -> Vec<Self> {
        let mut found: BTreeMap<Family, BTreeMap<(Piece, bool), Presence>> = BTreeMap::new();
        for (name, presence) in files {
            if let Some((family, piece, is_signature)) = Piece::read(name) {
                found.entry(family).or_default().insert((piece, is_signature), presence);
            }
        }
        found
            .into_iter()
            .filter_map(|(family, files)| Self::of(family, folder, files, version_txt))
            .collect()
    }

    fn of(
        family: Family,
        folder: &RepositoryPath,
        mut files: BTreeMap<(Piece, bool), Presence>,
        version_txt: Option<&str>,
    ) -> Option<Self> {
        let mut pieces = vec![Piece::Kernel, Piece::Initrd, Piece::Disk];
        pieces.extend(files.keys().map(|(piece, _)| piece.clone()));
        let mut parts = BTreeMap::new();
        for piece in pieces {
            if parts.contains_key(&piece) {
                continue;
            }
            let path = folder.join(piece.file_name(family).as_bytes()).ok()?;
            let mut presence =
                |signature| files.remove(&(piece.clone(), signature)).unwrap_or(Presence::Absent);
            let part = Part { path, file: presence(false), signature: presence(true) };
            parts.insert(piece, part);
        }
        let name = String::from_utf8_lossy(folder.file_name()).into_owned();
        let stated = version_txt.and_then(|text| stated_in(text, family));
        let doubt = match &stated {
            None if !name.starts_with(|c: char| c.is_ascii_digit()) => {
                Some(format!("no version.txt in {folder} says which version it is"))
            }
            Some(stated) if name != CURRENT && *stated != name => {
                Some(format!("version.txt in {folder} says {stated}"))
            }
            None | Some(_) => None,
        };
        let version = stated.unwrap_or(name);
        Some(Self { family, folder: folder.clone(), version, doubt, current: None, parts })
    }

    /// The family and the folder of the release that a profile's kernel belongs to.
    pub fn of_kernel(kernel: &RepositoryPath) -> Option<(Family, RepositoryPath)> {
        Self::of_piece(kernel, &Piece::Kernel)
    }

    /// Whether a machine that has booted this kernel may install this disk image: an installer asks
    /// for a version of its own family beside the kernel's. Of a kernel that is of no release, or
    /// comes from elsewhere, it is not known what it installs.
    pub fn may_install(kernel: Option<&RepositoryPath>, image: &RepositoryPath) -> bool {
        let Some((family, folder)) = kernel.and_then(Self::of_kernel) else { return true };
        match Piece::read(image.file_name()) {
            Some((other, Piece::Disk | Piece::OemDisk(_), _)) => {
                let beside = image.folder().and_then(|folder| folder.folder());
                other == family && beside == folder.folder()
            }
            Some((_, Piece::Kernel | Piece::Initrd, _)) | None => false,
        }
    }

    fn of_piece(path: &RepositoryPath, wanted: &Piece) -> Option<(Family, RepositoryPath)> {
        match Piece::read(path.file_name())? {
            (family, piece, false) if piece == *wanted => Some((family, path.folder()?)),
            _ => None,
        }
    }

    /// Adds what `version.txt` of the folder `current` beside this one says.
    pub fn with_current(mut self, version_txt: Option<&str>) -> Self {
        self.current = version_txt.and_then(|text| stated_in(text, self.family));
        self
    }

    /// Whether it stands in a folder that is named `current` and not after its version.
    pub fn is_current(&self) -> bool {
        self.folder.file_name() == CURRENT.as_bytes()
    }

    /// What it is good for.
    pub fn state(&self) -> State {
        let lacks_pxe = self.lacks_pxe();
        let has_disk = self.parts.iter().any(|(piece, part)| {
            let is_disk = matches!(piece, Piece::Disk | Piece::OemDisk(_));
            is_disk && (part.file != Presence::Absent || part.signature != Presence::Absent)
        });
        if lacks_pxe.is_empty() && !has_disk {
            return State::RamOnly;
        }
        let missing: Vec<String> = lacks_pxe.into_iter().chain(self.lacks_disk()).collect();
        match missing.is_empty() {
            true => State::Complete,
            false => State::Incomplete(missing),
        }
    }

    fn lacks_pxe(&self) -> Vec<String> {
        self.lacks(|piece| matches!(piece, Piece::Kernel | Piece::Initrd))
    }

    /// What is missing for an installer that comes for a disk image.
    fn lacks_disk(&self) -> Vec<String> {
        // Some platforms are installed only from an image of their own.
        let any_oem = self.parts.iter().any(|(piece, part)| {
            matches!(piece, Piece::OemDisk(_)) && part.file != Presence::Absent
        });
        let wanted = |piece: &Piece| match piece {
            Piece::Disk => !any_oem,
            Piece::OemDisk(_) => true,
            Piece::Kernel | Piece::Initrd => false,
        };
        let mut missing = self.lacks(wanted);
        for part in self.disks() {
            missing.extend(part.signature.lack(&part.signature_path_text()));
        }
        missing
    }

    fn lacks(&self, wanted: impl Fn(&Piece) -> bool) -> Vec<String> {
        let parts = self.parts.iter().filter(|(piece, _)| wanted(piece));
        parts.filter_map(|(_, part)| part.file.lack(&name_of(&part.path))).collect()
    }

    /// The disk images that are there.
    fn disks(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter_map(|(piece, part)| match piece {
            Piece::Disk | Piece::OemDisk(_) => part.is_there().then_some(part),
            Piece::Kernel | Piece::Initrd => None,
        })
    }

    /// What must be signed for a boot into RAM, or for an installation too.
    pub fn needed(&self, installs: bool) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter_map(move |(piece, part)| match piece {
            Piece::Kernel | Piece::Initrd => Some(part),
            Piece::Disk | Piece::OemDisk(_) => (installs && part.is_there()).then_some(part),
        })
    }
}

impl Part {
    /// Whether it can be served.
    pub fn is_there(&self) -> bool {
        matches!(self.file, Presence::Found(_))
    }

    /// Whether its signature can be verified.
    pub fn is_signed(&self) -> bool {
        self.is_there() && matches!(self.signature, Presence::Found(_))
    }

    /// Where its signature is, or would be.
    pub fn signature_path(&self) -> Option<RepositoryPath> {
        self.path.folder()?.join(self.signature_path_text().as_bytes()).ok()
    }

    fn signature_path_text(&self) -> String {
        format!("{}{SIGNATURE}", name_of(&self.path))
    }
}

fn name_of(path: &RepositoryPath) -> String {
    String::from_utf8_lossy(path.file_name()).into_owned()
}

impl Presence {
    /// What to say of a file of that name that is not to be had.
    fn lack(&self, name: &str) -> Option<String> {
        match self {
            Self::Absent => Some(name.to_owned()),
            Self::Found(_) => None,
            Self::Useless(why) => Some(format!("{name} ({why})")),
        }
    }
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::CoreOs, Self::Flatcar];

    fn prefix(self) -> &'static str {
        match self {
            Self::CoreOs => "coreos_production_",
            Self::Flatcar => "flatcar_production_",
        }
    }
}

impl Piece {
    /// What a file of this name is, and whether it is the signature of that.
    fn read(name: &[u8]) -> Option<(Family, Self, bool)> {
        let name = std::str::from_utf8(name).ok()?;
        let (name, is_signature) = match name.strip_suffix(SIGNATURE) {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (family, rest) = Family::ALL
            .into_iter()
            .find_map(|family| Some((family, name.strip_prefix(family.prefix())?)))?;
        let piece = match rest {
            "pxe.vmlinuz" => Self::Kernel,
            "pxe_image.cpio.gz" => Self::Initrd,
            "image.bin.bz2" => Self::Disk,
            _ => {
                let oem = rest.strip_suffix("_image.bin.bz2")?;
                let is_word = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
                if oem.is_empty() || !oem.chars().all(is_word) {
                    return None;
                }
                Self::OemDisk(oem.to_owned())
            }
        };
        Some((family, piece, is_signature))
    }

    /// The name of its file.
    pub fn file_name(&self, family: Family) -> String {
        let prefix = family.prefix();
        match self {
            Self::Kernel => format!("{prefix}pxe.vmlinuz"),
            Self::Initrd => format!("{prefix}pxe_image.cpio.gz"),
            Self::Disk => format!("{prefix}image.bin.bz2"),
            Self::OemDisk(oem) => format!("{prefix}{oem}_image.bin.bz2"),
        }
    }
}

/// Whether a file of this name is one that [`Release::in_folder`] asks about.
pub fn is_of_a_release(name: &[u8]) -> bool {
    Piece::read(name).is_some()
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CoreOs => "CoreOS",
            Self::Flatcar => "Flatcar",
        })
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str("kernel"),
            Self::Initrd => f.write_str("initrd"),
            Self::Disk => f.write_str("disk image"),
            Self::OemDisk(oem) => write!(f, "disk image for {oem}"),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::Incomplete(missing) => write!(f, "incomplete, lacks {}", missing.join(", ")),
            Self::RamOnly => f.write_str("RAM only: it has no disk image to install"),
        }
    }
}

#[cfg(test)]
mod tests;
